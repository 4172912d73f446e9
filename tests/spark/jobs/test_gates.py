"""Gates on every engine: each closes and opens, and a gated run leaves the output as it was."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.places.test_marks import other
from tests.spark.conftest import mixed_rows
from tests.spark.jobs.test_drift import stored
from tests.spark.jobs.test_jobs import job
from vae_model import Detector
from vae_model.errors import GateClosed, NothingToScore, OutputError
from vae_model.places import files, marks
from vae_model.runs.ledger import Folder
from vae_model.scoring.scorer import Scorer
from vae_model.spark import run
from vae_model.spark.frames import to_arrow
from vae_model.spark.jobs import run as module
from vae_model.spark.jobs.validate import validate
from vae_model.spark.sinks.delta import Delta
from vae_model.spark.sinks.reading import existing, read_output

pytestmark = pytest.mark.thorough

PLACES = [("delta", "replace"), ("delta", "append"), ("delta", "merge"), ("delta", "replace_where"),
          ("parquet", "replace"), ("parquet", "append"), ("parquet", "replace_where")]  # fmt: skip
CLOSED = {"max_anomaly_rate": 0.0005, "max_unscored": 0.01, "max_drift": 0.3, "max_missing_increase": 0.05,
          "min_rows": 10_000}  # fmt: skip
OPEN = {"max_anomaly_rate": 0.9, "max_unscored": 0.9, "max_drift": 30, "max_missing_increase": 0.9, "min_rows": 10}
UNSCORED = ("max_drift", "max_missing_increase", "min_rows")
"""Those that need no score."""


@pytest.fixture
def odd(tmp_path):
    """Rows that every gate of ``CLOSED`` is closed to."""
    rows = mixed_rows(800, 3)
    rows["count"] += 9
    rows.loc[rows.index % 5 == 0, "a"] = np.nan
    names = ["a", next(name for name in rows if name.startswith("dotted")), "colour", "at", "Day", "vector"]
    rows.loc[rows.index % 20 == 0, names] = None
    return stored(rows, tmp_path / "odd")


@pytest.fixture
def configured(path, tmp_path, detector):
    """A job with its model, on a source; some of its keys changed."""
    detector.save(str(tmp_path / "models" / "mixed.vae"))

    def make(source=path, format_="delta", mode="replace", gates=None, output=None, **changes):
        within = {"partition_by": ["flag"], "where": "flag"} if mode == "replace_where" else {}
        own = {"path": str(tmp_path / "scored"), "format": format_, "mode": mode, **within, **(output or {})}
        where = {"where": "flag"} if mode == "replace_where" else {}
        return job(source, tmp_path, source={"path": source, **where}, output=own, gates=gates or {}, **changes)

    return make


def tree(folder):
    """All files of a folder, with their bytes and times; hidden ones, and what lies beside it too."""
    found = [path for path in sorted(Path(folder).parent.rglob("*")) if path.is_file() and "_runs" not in str(path)]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.fixture
def scored(monkeypatch):
    """How many rows the embedded engine, whose workers are threads of this process, gives to a scorer; not those that
    are explained once more.
    """
    rows, parts = [], Scorer._parts

    def counted(scorer, arrays, explain=False):
        rows.append(0 if explain else len(arrays[0]))
        return parts(scorer, arrays, explain)

    monkeypatch.setattr(Scorer, "_parts", counted)
    return rows


@pytest.mark.soak_on("connect")
@pytest.mark.slow
@pytest.mark.parametrize("gate", CLOSED)
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_each_gate_closes_and_opens(engine, configured, odd, gate, format_):
    """Past its limit the run ends as gated, with the gate and the number in its record, and the output, to the last
    byte and with all that lies beside it, is as it was; within the limit it is published.
    """
    before = configured(format_=format_)
    run(engine, before, "before", train=False)
    kept = tree(before.output.path)
    gated = configured(odd, format_, gates={gate: CLOSED[gate]})
    with pytest.raises(GateClosed) as caught:
        run(engine, gated, "gated", train=False)
    assert caught.value.exit_code == 3
    assert f"gates.{gate} is closed" in str(caught.value) and gated.output.path in str(caught.value)
    assert tree(before.output.path) == kept
    record = Folder(gated.output.path + "_runs").find("gated")
    assert (record.status, record.gate, record.gate_limit) == ("gated", f"gates.{gate}", CLOSED[gate])
    assert record.gate_found < record.gate_limit if gate == "min_rows" else record.gate_found > record.gate_limit
    assert record.message == str(caught.value) and record.drift[0].moved and record.rejected is None
    assert (record.rows_read is None) == (gate in UNSCORED)
    done = run(engine, configured(odd, format_, gates={gate: OPEN[gate]}), "gated", train=False)
    assert (done.status, done.gate) == ("succeeded", None)
    assert {row["anomaly_run"] for row in to_arrow(read_output(engine, gated.output)).to_pylist()} == {"gated"}


@pytest.mark.slow
@pytest.mark.parametrize(("format_", "mode"), PLACES)
def test_every_mode_stays_as_it_was_and_is_published_as_ever(engine, configured, odd, format_, mode):
    """By a gate that needs scores: closed, nothing has changed; open, the rows are those of a run without a gate."""
    run(engine, configured(format_=format_, mode=mode), "before", train=False)
    plain = configured(odd, format_, mode)
    kept = tree(plain.output.path)
    with pytest.raises(GateClosed):
        run(engine, configured(odd, format_, mode, {"max_anomaly_rate": 0.0005}), "gated", train=False)
    assert tree(plain.output.path) == kept
    run(engine, configured(odd, format_, mode, {"max_anomaly_rate": 0.999}), "a run", train=False)
    gated = to_arrow(read_output(engine, plain.output)).sort_by([("id", "ascending"), ("anomaly_run", "ascending")])
    elsewhere = {"path": plain.output.path + "_other"}
    run(engine, configured(format_=format_, mode=mode, output=elsewhere), "before", train=False)
    run(engine, configured(odd, format_, mode, output=elsewhere), "a run", train=False)
    other = to_arrow(read_output(engine, configured(odd, format_, mode, output=elsewhere).output))
    assert gated.to_pylist() == other.sort_by([("id", "ascending"), ("anomaly_run", "ascending")]).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["max_anomaly_rate", "min_rows"])
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_rejected_rows_are_kept_where_the_config_says(engine, configured, odd, tmp_path, gate, format_):
    """Scored, whether the gate was asked before or after; those of the next gated run take their place."""
    kept = {"path": str(tmp_path / "rejected"), "format": format_}
    config = configured(odd, format_, gates={gate: CLOSED[gate], "keep_rejected": kept})
    for name in ("one", "two"):
        with pytest.raises(GateClosed, match="They are in"):
            run(engine, config, name, train=False)
        record = Folder(config.output.path + "_runs").find(name)
        assert (record.status, record.rejected) == ("gated", kept["path"])
        rows = to_arrow(read_output(engine, config.rejected_output)).to_pylist()
        assert len(rows) == 800 and {row["anomaly_run"] for row in rows} == {name}
        assert existing(engine, config.output) is None
    assert not [name for name in files.names_in(str(tmp_path), r"\..*") if "staged" in name]


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
@pytest.mark.parametrize(
    ("gate", "limit", "is_kept", "times"),
    [("max_anomaly_rate", 0.9, False, 1), ("max_anomaly_rate", 0.0005, False, 1), ("max_anomaly_rate", 0.0005, True, 1),
     ("min_rows", 10_000, False, 0), ("min_rows", 10_000, True, 1), ("max_drift", 0.3, False, 0)],
)  # fmt: skip
def test_rows_are_scored_once(on_sail, configured, odd, tmp_path, scored, format_, gate, limit, is_kept, times):
    """Published, gated, or gated and kept; and not at all where a gate needs no score and nothing is kept."""
    kept = {"keep_rejected": {"path": str(tmp_path / "rejected")}} if is_kept else {}
    config = configured(odd, format_, gates={gate: limit, **kept})
    with suppress(GateClosed):
        on_sail(lambda sail: run(sail, config, "a run", train=False))
    assert sum(scored) == 800 * times


@pytest.mark.slow
def test_alerts_are_of_published_runs(engine, configured, odd, tmp_path):
    """A gated run writes none, and does not take those of the run before away."""
    alerts = {"path": str(tmp_path / "alerts"), "format": "delta"}
    record = run(engine, configured(alerts=alerts), "before", train=False)
    kept = tree(tmp_path / "alerts")
    with pytest.raises(GateClosed):
        run(engine, configured(odd, gates={"max_anomaly_rate": 0.0005}, alerts=alerts), "gated", train=False)
    assert record.alerts > 0 and tree(tmp_path / "alerts") == kept


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_table_by_name_is_gated_too(engine, configured, odd, format_, request):
    """Its rows are staged in a table beside it, which is gone then."""
    name = f"gated_{format_}_{request.node.callspec.id.split('-')[0]}"
    place = {"path": None, "table": name}
    engine.sql(f"DROP TABLE IF EXISTS {name}")
    more = {"runs": "none"}
    try:
        run(engine, configured(format_=format_, output=place, **more), "before", train=False)
        config = configured(odd, format_, gates={"max_anomaly_rate": 0.0005}, output=place, **more)
        before = to_arrow(read_output(engine, config.output)).sort_by("id")
        with pytest.raises(GateClosed):
            run(engine, config, "gated", train=False)
        assert to_arrow(read_output(engine, config.output)).sort_by("id") == before
        run(engine, configured(odd, format_, gates={"max_anomaly_rate": 1}, output=place, **more), "ok", train=False)
        assert read_output(engine, config.output).count() == 800
        assert not [row for row in engine.sql("SHOW TABLES").collect() if f"{name}_staged" in row["tableName"]]
    finally:
        engine.sql(f"DROP TABLE IF EXISTS {name}")


@pytest.mark.parametrize("place", ["source", "output", "alerts", "runs", "model"])
def test_rejected_rows_have_a_place_of_their_own(engine, configured, path, tmp_path, place):
    """Not at, nor within, another table of the job: exit code 2, before any work."""
    alerts = {"path": str(tmp_path / "alerts"), "format": "delta"}
    taken = {"source": path, "output": str(tmp_path / "scored"), "alerts": alerts["path"] + "/within",
             "runs": str(tmp_path / "scored_runs"), "model": str(tmp_path / "models")}[place]  # fmt: skip
    with pytest.raises(Exception, match="keep_rejected") as caught:
        gates = {"min_rows": 1, "keep_rejected": {"path": taken}}
        run(engine, configured(gates=gates, alerts=alerts), "a run", train=False)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "scored").exists()


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_what_a_killed_run_left_beside_rejected_rows_goes(on_sail, configured, tmp_path, format_):
    """With the next run, whatever comes of it."""
    kept = {"path": str(tmp_path / "rejected"), "format": format_}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = Path(marks.beside(kept["path"], other(marks.new(), pid=str(ended.pid)), "staged"))
    left.mkdir()
    (left / "part-0.parquet").write_bytes(b"")
    on_sail(lambda spark: run(spark, configured(gates={"min_rows": 1, "keep_rejected": kept}), train=False))
    assert not left.exists()


def test_rejected_rows_that_cannot_be_kept_leave_the_gate_closed(engine, configured, odd, tmp_path, monkeypatch):
    """The gate is what a scheduler has to know; the message says that the rows are lost too."""
    kept = {"path": str(tmp_path / "rejected"), "format": "delta"}
    config = configured(odd, "parquet", gates={"max_anomaly_rate": 0.0005, "keep_rejected": kept})

    def fails(*_):
        raise OutputError("There is no room.")

    monkeypatch.setattr(Delta, "write", fails)
    with pytest.raises(GateClosed, match=r"could not be kept at .*: There is no room"):
        run(engine, config, "a run", train=False)
    assert Folder(config.output.path + "_runs").find("a run").rejected is None


@pytest.mark.slow
@pytest.mark.parametrize("place", ["mixed.vae", "versions/"])
@pytest.mark.parametrize(("format_", "gate"), [("delta", "max_anomaly_rate"), ("parquet", "max_anomaly_rate"),
                                               ("parquet", "min_rows")])  # fmt: skip
def test_a_model_whose_rows_are_not_published_is_not_in_use(on_sail, configured, tmp_path, format_, gate, place):
    """A run that trains leaves the model as it was, too, until its rows may be published."""
    path = str(tmp_path / "models" / place)

    def go(steps, **gates):
        model = {"path": path, "hidden": [8], "steps": steps}
        return on_sail(lambda spark: run(spark, configured(format_=format_, gates=gates, model=model)))

    first = go(20, **OPEN)
    assert Detector.load(path).scorer.name == first.model
    with pytest.raises(GateClosed):
        go(30, **{gate: {"min_rows": 10_000, "max_anomaly_rate": 1e-9}[gate]})
    assert Detector.load(path).scorer.name == first.model
    second = go(30, **{gate: OPEN[gate]})
    assert Detector.load(path).scorer.name == second.model != first.model


@pytest.mark.slow
def test_a_run_that_is_done_keeps_its_record(on_sail, configured, tmp_path):
    """Tried again with a gate that closes it is another run: its rows are there, and its record says so."""
    done = on_sail(lambda spark: run(spark, configured(), train=False))
    kept = {"path": str(tmp_path / "rejected")}
    again = configured(gates={"max_anomaly_rate": 1e-9, "keep_rejected": kept})
    with pytest.raises(GateClosed):
        on_sail(lambda spark: run(spark, again, train=False))
    records = Folder(again.output.path + "_runs").records()
    assert {one.run_id for one in records} > {done.run_id}
    assert {one.status: one.run_id == done.run_id for one in records} == {"succeeded": True, "gated": False}
    (gated,) = (one for one in records if one.status == "gated")
    rejected = on_sail(lambda spark: to_arrow(read_output(spark, again.rejected_output).select("anomaly_run")))
    assert set(rejected.column(0).to_pylist()) == {gated.run_id}


def test_too_few_rows_are_told_before_any_training(on_sail, configured, monkeypatch):
    """Where there is nothing to keep of them."""
    monkeypatch.setattr(module, "train_for", None)
    with pytest.raises(GateClosed, match="min_rows"):
        on_sail(lambda spark: run(spark, configured(gates={"min_rows": 10_000})))


@pytest.mark.slow
@pytest.mark.parametrize("allow_empty", [True, False])
def test_no_rows_are_gated_by_their_number(engine, configured, allow_empty):
    """A run of no rows is not done, nor skipped, where it is to have some."""
    output = {"allow_empty": allow_empty}
    for gates, closes in (({"min_rows": 1}, True), ({"max_anomaly_rate": 0.1, "max_drift": 0.1}, False)):
        config = configured(gates=gates, output=output)
        config = config.model_copy(update={"source": config.source.model_copy(update={"where": "id < 0"})})
        if closes:
            with pytest.raises(GateClosed, match="0 rows"):
                run(engine, config, "a run", train=False)
        elif allow_empty:
            assert run(engine, config, "a run", train=False).rows_read == 0
        else:
            with pytest.raises(NothingToScore):
                run(engine, config, "a run", train=False)


def test_validate_tells_the_gates(engine, configured, tmp_path):
    """Which there are, and where rejected rows go."""
    kept = {"path": str(tmp_path / "rejected"), "format": "delta"}
    lines = list(validate(engine, configured(gates={"min_rows": 5, "max_drift": 0.25, "keep_rejected": kept})))
    assert f"gates   ok: max_drift 0.25, min_rows 5; rejected rows go to {kept['path']} (delta)" in lines
