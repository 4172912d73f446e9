"""The sink: what is refused before any work, and what a failed job leaves behind."""

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from tests.spark.conftest import ODD
from tests.spark.sinks import orders
from vae_model import Detector
from vae_model.config.tables import Output, Source
from vae_model.errors import OutputError
from vae_model.scoring.output import OUTPUT
from vae_model.spark import frames, score
from vae_model.spark.engines.engine import Capabilities
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.sinks.writing import Mode

pytestmark = pytest.mark.slow


def output_at(tmp_path, kind, format_, mode="replace"):
    """An output of the given kind."""
    place = {"path": str(tmp_path / "out")} if kind == "path" else {"table": f"scored_{tmp_path.name.lower()}"}
    return Output.model_validate({**place, "format": format_, "mode": mode})


def read(engine, output):
    """An output as pandas, by id."""
    return frames.to_arrow(read_output(engine, output)).to_pandas().sort_values("id", ignore_index=True)


@pytest.fixture(scope="module")
def plain_detector(rows, config):
    """Of the columns that need no quotes."""
    return Detector(config).fit(rows.drop(columns=ODD))


def write(frame, output, run="a run"):
    """Write as a run, and give what was written as pandas, by id."""
    found = frames.to_arrow(orders.write(frame, output, run)).to_pandas()
    return found.sort_values("id", ignore_index=True)


def failing(frame, detector):
    """The scored frame, but for one row that fails on a worker."""
    bad = F.when(F.col("id") == 900, F.slice("vector", 1, 2)).otherwise(F.col("vector"))
    return score(frame.withColumn("vector", bad), detector)


SINKS = pytest.mark.parametrize(
    ("kind", "format_"), [("path", "delta"), ("path", "parquet"), ("table", "delta"), ("table", "parquet")]
)


@SINKS
def test_replace_writes_what_was_scored(frame, engine, detector, tmp_path, kind, format_):
    """What is read back from a replaced output is the scored frame, odd names and nested reasons included."""
    output = output_at(tmp_path, kind, format_)
    scored = score(frame, detector, run_id="a run")
    write(scored, output)
    write(scored, output)
    expected = frames.to_arrow(scored).to_pandas().sort_values("id", ignore_index=True)
    found = read(engine, output)
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found.drop(columns="at"), expected.drop(columns="at"), rtol=1e-6)


@SINKS
def test_append_adds_rows(frame, engine, detector, tmp_path, kind, format_):
    """Appending twice leaves both runs' rows."""
    output = output_at(tmp_path, kind, format_, "append")
    scored = score(frame, detector)
    for times in (1, 2):
        write(scored, output, f"run {times}")
        assert len(read(engine, output)) == times * 1200


@pytest.mark.parametrize(
    ("kind", "format_", "mode"),
    [
        ("path", "delta", "replace"),
        ("path", "parquet", "replace"),
        ("path", "parquet", "append"),
        ("table", "delta", "append"),
        ("table", "parquet", "replace"),
    ],
)
def test_a_failed_job_leaves_the_previous_output_as_it_was(frame, engine, detector, tmp_path, kind, format_, mode):
    """A row that fails on a worker, late in the job, changes nothing of what could be read before."""
    write(score(frame.where("id < 500"), detector), output_at(tmp_path, kind, format_))
    before = read(engine, output_at(tmp_path, kind, format_))
    with pytest.raises(frames.ENGINE_ERRORS, match="Column 'vector' holds arrays of different lengths"):
        write(failing(frame, detector), output_at(tmp_path, kind, format_, mode))
    after = read(engine, output_at(tmp_path, kind, format_))
    assert len(before) == 500
    pd.testing.assert_frame_equal(after, before)
    if kind == "path":
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("out")) == ["out"]


def check(engine, frame, path, output, source=None):
    """``check_output`` for a Parquet source."""
    sink.check_output(engine, Source.model_validate(source or {"path": path}), output, frame, ["id"])


def test_the_output_must_not_be_the_source(engine, frame, path):
    """The source itself, a folder in it, a folder around it, and other spellings of them are refused."""
    around = str(Path(path).parent)
    for place in (path, path + "/", f"file://{path}", f"{path}/inside", around, f"{around}/x/../source"):
        output = Output.model_validate({"path": place, "format": "parquet"})
        with pytest.raises(OutputError, match="same place as source"):
            check(engine, frame, path, output)
    named = Output.model_validate({"table": "Rows", "format": "parquet"})
    with pytest.raises(OutputError, match="same place as source"):
        check(engine, frame, path, named, {"table": "rows"})


def test_the_output_must_have_the_format_that_is_there(engine, frame, path, detector, tmp_path):
    """Parquet where Delta is, Delta where Parquet is, and anything where CSV is, are refused before any work."""
    write(score(frame, detector), output_at(tmp_path, "path", "delta"))
    with pytest.raises(OutputError, match=r"expected: parquet, or nothing\n  found: delta"):
        check(engine, frame, path, output_at(tmp_path, "path", "parquet"))
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("a\n1\n")
    with pytest.raises(OutputError, match=r"expected: delta, or nothing\n  found: csv"):
        check(engine, frame, path, output_at(tmp_path, "path", "delta"))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(engine, frame, path, tmp_path):
    """A path below a file cannot be written, and says so."""
    (tmp_path / "file").write_text("")
    output = Output.model_validate({"path": str(tmp_path / "file" / "out"), "format": "parquet"})
    with pytest.raises(OutputError, match="cannot be written"):
        check(engine, frame, path, output)


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_appending_other_columns_is_refused(engine, frame, path, detector, tmp_path, format_):
    """Rows are not appended to an output whose columns differ; the differing ones are named."""
    write(score(frame.drop("note"), detector), output_at(tmp_path, "path", format_))
    with pytest.raises(OutputError, match="its columns differ") as error:
        check(engine, frame, path, output_at(tmp_path, "path", format_, "append"))
    assert "column 'note' (string) is not in the output" in str(error.value)


def test_the_odd_column_is_among_the_scored(detector):
    """The tests above do train on a column with dots, spaces, backticks and umlauts in its name."""
    assert ODD in detector.spec.names
    assert len(OUTPUT) == 8


@pytest.mark.classic
def test_an_interrupt_ends_what_the_block_does_and_nothing_else(_classic):
    """On classic Spark a job of the block is cancelled, and another of the same session ends as it would have."""
    pyspark = pytest.importorskip("pyspark")
    context, ended = _classic.sparkContext, {}

    def sleep(name, seconds):
        try:
            ended[name] = context.parallelize([0], 1).map(lambda _: time.sleep(seconds)).count()
        except Exception as error:
            ended[name] = error

    def running(jobs):
        deadline = time.monotonic() + 30
        while len(context.statusTracker().getActiveJobsIds()) < jobs and time.monotonic() < deadline:
            time.sleep(0.05)

    other = pyspark.InheritableThread(target=sleep, args=("other", 6))
    other.start()
    running(1)
    with pytest.raises(KeyboardInterrupt), engine_of(_classic).cancelling(_classic):
        ours = pyspark.InheritableThread(target=sleep, args=("ours", 120))
        ours.start()
        running(2)
        raise KeyboardInterrupt
    ours.join(60)
    other.join(60)
    assert "cancelled" in str(ended["ours"])
    assert ended["other"] == 1


@SINKS
def test_what_was_written_is_this_runs_rows(frame, engine, detector, tmp_path, kind, format_):
    """Whoever appended before, and whatever names the columns have: the rows of a run are those it wrote."""
    output = output_at(tmp_path, kind, format_, "append")
    for low, high in ((0, 300), (300, 500), (500, 1200)):
        scored = score(frame.where(f"id >= {low} AND id < {high}"), detector, run_id=f"from {low}")
        written = write(scored, output, f"from {low}")
        assert written["id"].tolist() == list(range(low, high))
        expected = frames.to_arrow(scored).to_pandas().sort_values("id", ignore_index=True)
        assert list(written.columns) == list(expected.columns)
        pd.testing.assert_frame_equal(written.drop(columns="at"), expected.drop(columns="at"), rtol=1e-6)
    assert len(read(engine, output)) == 1200


@pytest.mark.parametrize("kind", ["path", "table"])
def test_another_writers_rows_are_not_counted(frame, engine, detector, tmp_path, kind):
    """Rows that another job appends to a table between this run's commit and its summary are not this run's."""
    output = output_at(tmp_path, kind, "delta", "append")
    own, other = (score(frame.where(w), detector) for w in ("id >= 300 AND id < 400", "id >= 400"))
    rows = orders.write(own, output, "one")
    orders.write(other, output, "other")
    assert rows.count() == 100


@pytest.mark.parametrize("kind", ["path", "table"])
def test_a_partitioned_table_is_added_to(frame, engine, plain_detector, tmp_path, kind):
    """Columns that a Delta table is partitioned by, which its files lack, are in the rows of a run; the column is last,
    and one is called Location.
    """
    output = output_at(tmp_path, kind, "delta", "append")
    odd = frame.drop(ODD).withColumnRenamed("note", "Location")
    part = F.when(F.col("id") % 3 == 0, F.lit("a b%")).otherwise("c")
    scored = score(odd, plain_detector, run_id="sooner").withColumn("part", part)
    saver = scored.where("id < 100").write.format("delta").partitionBy("part")
    saver.save(output.path) if output.path else saver.saveAsTable(output.table)
    written = write(scored.where("id >= 100 AND id < 400"), output, "later")
    assert written["id"].tolist() == list(range(100, 400))
    assert written["part"].tolist() == ["a b%" if i % 3 == 0 else "c" for i in range(100, 400)]
    assert len(read(engine, output)) == 400


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_mode_that_an_engine_lacks_is_refused(frame, engine, tmp_path, monkeypatch, format_):
    """A mode that needs what the engine cannot do, or that the format has not, is an error that lists the others."""
    output = output_at(tmp_path, "path", format_, "append")
    needy = type(sink.SINKS[format_])()
    monkeypatch.setattr(
        needy, "modes", lambda _: {"replace": Mode((), "whole"), "append": Mode(("replace_where",), "added")}
    )
    monkeypatch.setitem(sink.SINKS, format_, needy)
    assert sink.check_mode(engine, output) == "added"
    monkeypatch.setattr(type(engine_of(engine)), "can", Capabilities(replace_where=False))
    with pytest.raises(OutputError) as caught:
        sink.check_mode(engine, output)
    name = engine_of(engine).name
    assert str(caught.value) == (
        f"output.mode append cannot be had here.\n  expected: for {format_} paths on {name}: replace\n"
        f"  found: {name} cannot do: replace where\n  to do: Change output.mode, output.format or engine."
    )
    monkeypatch.setattr(needy, "modes", lambda _: {"replace": Mode((), "whole")})
    with pytest.raises(OutputError, match="found: no such mode"):
        sink.check_mode(engine, output)


@pytest.mark.parametrize("name", ["two words", "50%", "rows[1]", "größe", "a~b"])
def test_a_delta_table_is_written_where_its_path_says(frame, engine, detector, tmp_path, name):
    """A path with a space or other odd letters is where Spark writes; on Sail, which would write elsewhere, refused."""
    output = Output.model_validate({"path": str(tmp_path / name), "format": "delta"})
    if engine_of(engine).name == "Sail":
        with pytest.raises(OutputError, match="Sail cannot write Delta at"):
            sink.check_output(engine, Source(path=str(tmp_path / "source")), output, frame, ["id"])
        assert not (tmp_path / name).exists()
    else:
        sink.check_output(engine, Source(path=str(tmp_path / "source")), output, frame, ["id"])
        assert len(write(score(frame.where("id < 50"), detector), output)) == 50
        assert (tmp_path / name / "_delta_log").is_dir()
