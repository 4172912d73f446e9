"""Drift on every engine: the same rows are compared, the same columns named, and the record says so."""

import numpy as np
import pyarrow as pa
import pytest

from tests.spark.conftest import mixed_rows
from tests.spark.jobs.test_jobs import job
from vae_model.runs.ledger import Folder
from vae_model.spark import run
from vae_model.spark.jobs.drift import SEED, compare
from vae_model.spark.source import sampling


def stored(rows, folder):
    """A table as a Parquet folder of two files."""
    folder.mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), 2)):
        rows.iloc[part].to_parquet(folder / f"part{i}.parquet", index=False, coerce_timestamps="us")
    return str(folder)


@pytest.fixture
def shifted(tmp_path):
    """Other rows of the table, of which three columns have moved."""
    rows = mixed_rows(1500, 3)
    rows["count"] += 4
    rows.loc[rows.index % 5 == 0, "a"] = np.nan
    rows.loc[rows.index % 25 == 0, "colour"] = "violet"
    return stored(rows, tmp_path / "shifted")


@pytest.mark.slow
def test_counts_are_those_of_the_detector(engine, frame, rows, detector, config):
    """Each engine gives the counts of the table in pandas, of all kinds of columns: all of the rows, where they are no
    more than are asked for.
    """
    found = compare(frame, config, detector)
    assert found.rows == found.comparison.rows == len(rows)
    assert found.comparison == detector.drift(rows)
    assert [stage.stage for stage in found.stages] == ["drift"]


def test_every_engine_draws_the_same_rows(engine, on_sail, path, config, detector):
    """Of a larger run a sample by the hash of the key: of the asked size, wherever the rows lie."""
    few = config.model_copy(update={"drift": config.drift.model_copy(update={"rows": 400})})
    one = compare(engine.read.parquet(path), few, detector)
    assert one.rows == 1200 and 380 < one.comparison.rows < 600
    other, _ = sampling.look(engine.read.parquet(path), ["id"], ["id"], 400, SEED + 1)
    same, _ = sampling.look(engine.read.parquet(path), ["id"], ["id"], 400, SEED)
    assert set(other["id"].to_pylist()) != set(same["id"].to_pylist())
    assert one.comparison == on_sail(
        lambda sail: compare(sail.read.parquet(path).repartition(5), few, detector).comparison
    )


@pytest.mark.parametrize("copies", [3, 40])
def test_rows_that_repeat_are_drawn_all_the_same(engine, tmp_path, copies):
    """Where each row is there several times, and where there are few different ones: about as many as asked for."""
    table = pa.table({"x": np.repeat(np.arange(6000 // copies) % 150, copies)})
    path = stored(table.to_pandas(), tmp_path / "repeats")
    sample, total = sampling.look(engine.read.parquet(path), [], ["x"], 600, SEED)
    assert total == 6000 and 300 <= len(sample) <= 1200
    assert len(set(sample["x"].to_pylist())) > 5


def test_the_record_says_what_moved(engine, tmp_path, shifted, detector):
    """Column by column, most first; in words; from the table of runs too."""
    config = job(shifted, tmp_path)
    detector.save(config.model.path)
    record = run(engine, config, "moved", train=False)
    moved = [one.column for one in record.drift if one.moved]
    assert moved[0] == "count" and set(moved) == {"count", "a", "colour"}
    assert {one.column for one in record.drift} == set(detector.spec.names)
    words = {one.column: one.moved for one in record.drift}
    assert words["a"] == "a: missing 6.4 % -> 24.6 %"
    assert "colour: values that training has not seen 0 % -> 4 %" in words["colour"]
    assert (record.drift_rows, record.drift_small) == (1500, False)
    assert record.largest_drift == record.drift[0].psi > 1
    assert record.p_values_moved and record.p_value_distance > 0.1
    assert Folder(config.output.path + "_runs").find("moved") == record


@pytest.mark.slow
def test_rows_that_do_not_hang_together_are_seen(engine, tmp_path, rows, detector):
    """Each column by itself is as before: the p-values are not."""
    odd = next(name for name in rows if name.startswith("dotted"))
    shuffled = rows.assign(**{odd: np.random.default_rng(0).permutation(rows[odd])})
    records = []
    for name, table in (("same", rows), ("shuffled", shuffled)):
        config = job(stored(table, tmp_path / name), tmp_path)
        detector.save(config.model.path)
        records.append(run(engine, config, name, train=False))
    assert [record.p_values_moved for record in records] == [False, True]
    assert not any(one.moved for record in records for one in record.drift)


def test_nothing_is_compared_where_the_config_says_so(engine, tmp_path, path, detector):
    """drift.rows: 0. The record has no drift, and the p-values, which cost nothing, all the same."""
    config = job(path, tmp_path, drift={"rows": 0})
    detector.save(config.model.path)
    record = run(engine, config, "a run", train=False)
    assert record.drift is None and record.drift_rows is None and record.p_values_moved is False
    assert "drift" not in [stage.stage for stage in record.stages]


def test_a_small_run_says_that_it_is_small(engine, tmp_path, detector):
    """Thirty rows: none of them is named for what chance does."""
    config = job(stored(mixed_rows(30, 5), tmp_path / "few"), tmp_path)
    detector.save(config.model.path)
    record = run(engine, config, "few", train=False)
    assert record.drift_small and not any(one.moved for one in record.drift) and record.largest_drift == 0
