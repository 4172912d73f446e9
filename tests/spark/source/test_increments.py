"""Only what is new: each run scores the rows that the one before it has not, on each engine."""

import datetime as dt
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from vae_model import Config, Detector
from vae_model.config.load import parse_config
from vae_model.errors import NothingToScore, OutputError, SourceError
from vae_model.places import delta_log
from vae_model.spark.jobs import run as running
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.source import watermark

pytestmark = pytest.mark.thorough

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SCHEMA = "id bigint, a double, at timestamp"


def trained(seed=0):
    """A detector of one column, trained in an instant."""
    values = {"name": "small", "key": ["id"], "features": {"exclude": ["at"]}, "model": {"steps": 10}}
    rows = pd.DataFrame({"id": np.arange(100), "a": np.random.default_rng(seed).normal(size=100), "at": START})
    return Detector(Config.model_validate(values)).fit(rows)


@pytest.fixture(scope="module")
def models():
    """Two detectors that differ."""
    return [trained(seed) for seed in (0, 1)]


class Job:
    """A source that grows, and the runs that follow it."""

    def __init__(self, spark, folder, model, by, mode, **more):
        self.spark, self.source, self.folder = spark, f"{folder}/source", folder
        format_ = "delta" if "version" in str(by) else more.pop("format", "delta")
        self.config = parse_config({
            "name": "small", "key": ["id"], "features": {"exclude": ["at"]},
            "source": {"path": self.source, "format": "delta", "incremental": by, **more.pop("source", {})},
            "model": {"path": f"{folder}/m.vae"},
            "output": {"path": f"{folder}/out", "format": format_, "mode": mode, **more},
        })  # fmt: skip
        model.save(f"{folder}/m.vae")

    def add(self, *ids, minute=None, a=0.5):
        """Rows in a commit of their own, of one value or each of its own; a row's time is its number."""
        values = a if isinstance(a, list) else [a] * len(ids)
        times = [START + dt.timedelta(minutes=i if minute is None else minute) for i in ids]
        rows = list(zip(ids, values, times, strict=True))
        self.spark.createDataFrame(rows, SCHEMA).coalesce(1).write.format("delta").mode("append").save(self.source)

    def sql(self, text):
        """A statement on the source."""
        self.spark.sql(text.format(f"delta.`{self.source}`")).collect()

    def run(self, run_id=None, **how):
        """A run that loads its model."""
        return run(self.spark, self.config, run_id, train=False, **how)

    @property
    def ids(self):
        """The keys in the output."""
        return sorted(row[0] for row in read_output(self.spark, self.config.output).select("id").collect())


@pytest.fixture
def job(engine, tmp_path, models):
    """Makes a job in the test's folder."""
    return lambda by, mode="append", **more: Job(engine, tmp_path, models[0], by, mode, **more)


WAYS = [
    ({"by": "version"}, "append", "delta"), ({"by": "version"}, "merge", "delta"),
    ({"column": "at"}, "append", "delta"), ({"column": "at"}, "append", "parquet"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("by", "mode", "format_"), WAYS)
def test_each_run_scores_what_the_one_before_has_not(job, by, mode, format_):
    """The first run scores all rows, the next one only those that came after it, and then there is nothing."""
    own = job(by, mode)
    own.config = own.config.model_copy(update={"output": own.config.output.model_copy(update={"format": format_})})
    own.add(1, 2)
    assert own.run().rows_read == 2
    own.add(3)
    own.add(4, 5)
    record = own.run()
    assert record.rows_read == 3
    assert record.slice == ("versions 1 to 2" if "by" in by else
                            "at after 2026-01-01 00:02:00+00:00 up to 2026-01-01 00:05:00+00:00")  # fmt: skip
    with pytest.raises(NothingToScore, match="nothing new"):
        own.run()
    assert own.ids == [1, 2, 3, 4, 5]


@pytest.mark.soak_on("spark", "connect")
@pytest.mark.slow
@pytest.mark.parametrize("statement", ["DELETE FROM {} WHERE id = 1", "UPDATE {} SET a = 9 WHERE id = 1"])
def test_changed_rows_are_told_where_rows_are_only_added(job, statement):
    """Rows that were updated or deleted in the source are an error with ``append``, which offers ``merge``."""
    own = job({"by": "version"})
    own.add(1, 2)
    own.run()
    own.sql(statement)
    with pytest.raises(SourceError, match=r"1 files with rows updated or deleted\n.*mode: merge"):
        own.run()
    assert own.ids == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("delete_missing", [True, False])
def test_merge_follows_updates_and_deletes(job, delete_missing):
    """Updated rows are scored again, and deleted ones leave the output where that is asked for."""
    own = job({"by": "version"}, "merge", delete_missing=delete_missing)
    own.add(1, 2, 3)
    own.run()
    own.add(4)
    own.run()
    own.sql("DELETE FROM {} WHERE id = 1")
    own.sql("UPDATE {} SET a = 9 WHERE id = 2")
    own.add(5)
    own.run()
    assert own.ids == ([2, 3, 4, 5] if delete_missing else [1, 2, 3, 4, 5])
    out = read_output(own.spark, own.config.output)
    assert [row[0] for row in out.where("id = 2").select("a").collect()] == [9.0]


@pytest.mark.slow
def test_late_rows_are_found_again_and_those_that_were_scored_are_not(job):
    """With ``lag`` a row that came late is added, and no row twice."""
    own = job({"column": "at", "lag": "10m"})
    own.add(1, 20)
    own.run()
    own.add(15)
    own.add(16, minute=20)
    own.add(5)  # too late
    own.run()
    assert own.ids == [1, 15, 16, 20]
    with pytest.raises(NothingToScore):
        own.run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("minute", "words"),
    [(None, "1 rows with null"), (60 * 24 * 365 * 1000, "1 later ones, the latest 3025")],
)
def test_values_that_would_lose_rows_are_told(job, minute, words):
    """Rows with null or of the future are an error with their number, unless ``source.where`` leaves them out."""
    own = job({"column": "at"})
    own.add(1)
    later = F.lit(None if minute is None else START + dt.timedelta(minutes=minute)).cast("timestamp")
    own.spark.range(1).select("id", F.lit(1.0).alias("a"), later.alias("at")).write.format("delta").mode("append").save(
        own.source
    )
    with pytest.raises(SourceError) as error:
        own.run()
    assert words in str(error.value)
    source = own.config.source.model_copy(update={"where": "at < TIMESTAMP '2030-01-01 00:00:00'"})
    own.config = own.config.model_copy(update={"source": source})
    assert own.run().rows_read == 1


VALUES = [
    ("timestamp", dt.datetime(2026, 1, 1, 2, 3, 4, 56789, tzinfo=dt.UTC)),
    ("timestamp_ntz", dt.datetime(2024, 3, 10, 2, 30, 0, 1)),
    ("date", dt.date(2024, 2, 29)), ("bigint", 2**63 - 1), ("tinyint", -7), ("decimal(38,18)", Decimal("1.1")),
    ("double", 0.1 + 0.2), ("float", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value"), VALUES)
def test_a_position_is_kept_to_the_last_digit(engine, type_, value):
    """A value written as text and read again is the same to the engine, in any time zone."""
    text = watermark._to_text(value)
    assert watermark._from_text(text, type_) == value
    before = engine.conf.get("spark.sql.session.timeZone")
    frame = engine.range(1).select(watermark.literal(value, type_).alias("v")).withColumn("v", F.col("v").cast(type_))
    try:
        engine.conf.set("spark.sql.session.timeZone", "America/New_York")
        same = frame.where(F.col("v") == watermark.literal(watermark._from_text(text, type_), type_))
        assert same.count() == 1
        (found,) = watermark.to_arrow(same).column(0).to_pylist()
        assert watermark._to_text(watermark._in_utc(found)) == watermark._to_text(watermark._in_utc(value)) or (
            Decimal(str(found)) == Decimal(str(value))
        )
    finally:
        engine.conf.set("spark.sql.session.timeZone", before)


@pytest.mark.soak_on("spark", "connect")
@pytest.mark.slow
@pytest.mark.parametrize(("choice", "rows"), [("refuse", None), ("rescore", {"1": 3}), ("continue", {"0": 2, "1": 1})])
def test_another_model_is_noticed(job, models, choice, rows):
    """A model that is not the last run's is refused, scores everything anew, or goes on, as the config says."""
    own = job({"by": "version", "on_model_change": choice})
    own.add(1, 2)
    own.run()
    own.add(3)
    models[1].save(f"{own.folder}/m.vae")
    if rows is None:
        with pytest.raises(OutputError, match="on_model_change"):
            own.run()
        return
    own.run()
    found = read_output(own.spark, own.config.output).groupBy("anomaly_model").count().collect()
    names = {model.scorer.name: str(i) for i, model in enumerate(models)}
    assert {names[row[0]]: row[1] for row in found} == rows


@pytest.mark.slow
def test_an_output_without_a_position_is_replaced_only_if_asked(job):
    """Rows of a run that did not say how far it read are an error, and ``full`` scores everything anew."""
    own = job({"by": "version"})
    own.add(1, 2)
    plain = own.config.source.model_copy(update={"incremental": None})
    run(own.spark, own.config.model_copy(update={"source": plain}), train=False)
    with pytest.raises(OutputError, match="--full"):
        own.run()
    own.add(3)
    assert own.run(full=True).rows_read == 3
    assert own.ids == [1, 2, 3]
    with pytest.raises(NothingToScore):
        own.run()


@pytest.mark.slow
def test_a_second_source_does_not_go_on_from_the_first(job, tmp_path):
    """A column's value in one source says nothing of another: its rows up to that would never be scored."""
    own = job({"column": "at"})
    own.add(1, 5)
    own.run()
    own.source = f"{tmp_path}/other"
    own.add(2, 3)
    other = own.config.source.model_copy(update={"path": own.source})
    own.config = own.config.model_copy(update={"source": other})
    with pytest.raises(OutputError, match=r"follows another source[.]\n.*/source, up to whose at .*\n.*/other"):
        own.run()
    assert own.ids == [1, 5]
    own.run(full=True)
    assert own.ids == [2, 3]


@pytest.mark.soak_on("spark", "connect")
@pytest.mark.slow
@pytest.mark.parametrize("by", [{"column": "at"}, {"by": "version"}])
def test_another_predicate_is_told(job, caplog, by):
    """Rows that the last run's ``source.where`` has passed over are not looked at again, which is not silent."""
    own = job(by, source={"where": "id < 5"})
    own.add(1, 7)
    own.run()
    own.add(8)
    own.config = own.config.model_copy(update={"source": own.config.source.model_copy(update={"where": None})})
    own.run()
    assert "source.where is another than at the last run (None, before id < 5)" in caplog.text
    caplog.clear()
    own.add(9)
    own.run()
    assert "source.where is another" not in caplog.text
    assert own.ids == [1, *([7] if "column" in by else []), 8, 9]


def test_a_version_whose_log_is_gone_is_told(job, monkeypatch):
    """Where a commit since the last run was cleaned up, nothing is skipped in silence."""
    own = job({"by": "version"})
    own.add(1)
    own.run()
    own.add(2)
    own.add(3)
    real = delta_log.commit

    def cleaned(folder, version):
        if version == 1:
            raise FileNotFoundError(version)
        return real(folder, version)

    monkeypatch.setattr(delta_log, "commit", cleaned)
    with pytest.raises(SourceError, match=r"The version 0 of .* is gone"):
        own.run()


@pytest.mark.slow
def test_a_version_whose_files_are_gone_is_told(job):
    """Where rows of the version that the last run read were vacuumed, it cannot be told which are gone."""
    own = job({"by": "version"}, "merge")
    own.add(1, 2)
    own.run()
    (file,) = Path(own.source).glob("*.parquet")
    own.sql("DELETE FROM {} WHERE id = 1")
    own.add(3)
    file.unlink()
    with pytest.raises(SourceError, match=r"The version 0 of .* is gone"):
        own.run()
    assert own.run(full=True).rows_read == 2


@pytest.mark.slow
def test_a_table_made_anew_is_told(job):
    """A source that was dropped and made again is not taken for the one that was read before."""
    own = job({"by": "version"})
    own.add(1)
    own.run()
    shutil.rmtree(own.source)
    own.add(1)
    own.add(2)
    with pytest.raises(SourceError, match=r"is not the table that the last run read"):
        own.run()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_run_that_was_cut_off_after_its_commit_is_done(job, mode, monkeypatch):
    """Tried again by its id it goes well and says what it did, even where there is more by now; then it is taken up."""
    own = job({"by": "version"}, mode)
    own.add(1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(running._Run, "scored", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            own.run("first")
    own.add(3)
    record = own.run("first")
    assert (record.status, record.rows_read) == ("succeeded", 2)
    assert own.run("second").rows_read == 1
    assert own.ids == [1, 2, 3]
