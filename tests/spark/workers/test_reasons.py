"""The same rows have the same reasons, in the same words, on every engine and however they are spread."""

import datetime as dt
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.spark.workers.test_udf import awkward, collected
from vae_model import Config, Detector
from vae_model.features.spec import combine
from vae_model.spark.workers import udf

pytestmark = pytest.mark.slow

BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
"""Sail knows no such limit: its batches get smaller by the partitions."""
WAYS = [(1, 10_000, None), (3, 64, None), (11, 5, None), (11, 5, True)]
"""Partitions, rows that a batch has at most, and whether through pandas, as on Spark 3.5."""
ENTRY = ("feature", "observed", "expected")


def every_kind():
    """Columns of every kind of feature, with gaps, and in every sixth row a value that is wrong."""
    table, random = awkward(), np.random.default_rng(2)
    rows = len(table)
    level = random.normal(size=rows)
    twice = 2 * level + random.normal(scale=0.1, size=rows)
    colour = random.choice(["red", "green", "blue"], rows).tolist()
    wild = random.permutation(rows)[:70].reshape(7, 10)
    level[wild[0]], level[wild[1, :3]], level[wild[1, 3:6]] = 9.25, np.inf, np.nan
    twice[wild[2]] *= -3
    for row in wild[3]:
        colour[row] = "café"
    listed = {name: table[name].to_pylist() for name in ("whole", "vector", "day")}
    for i, j, k in wild[4:].T.tolist():
        listed["whole"][i], listed["vector"][j], listed["day"][k] = -(10**9) - i, [j, 77], dt.date(2019, 10, 1 + k % 31)
    changed = {
        **{name: pa.array(values, table[name].type) for name, values in listed.items()},
        "level": pa.array(level), "twice": pa.array(twice, pa.float32()),
        "colour": pa.array(colour, mask=random.random(rows) < 0.05),
    }  # fmt: skip
    return pa.table({name: table[name] for name in table.column_names if name not in changed} | changed)


@pytest.fixture(scope="module")
def table():
    """The rows."""
    return every_kind()


@pytest.fixture(scope="module")
def detector(table):
    """Trained on them, to flag many."""
    settings = {
        "features": {"exclude": ["id"], "kinds": {"code": "categorical"}}, "model": {"steps": 100},
        "decision": {"false_alarm_rate": 0.3},
    }  # fmt: skip
    return Detector(Config.model_validate(settings)).fit(table)


@pytest.fixture(scope="module")
def expected(table, detector):
    """What the detector gives without an engine, of flagged rows and of all, by id."""
    arrays = [combine(table.column(name)) for name in detector.scorer.names]
    flagged, every = detector.scorer(arrays).to_pylist(), detector.scorer.explain(arrays).to_pylist()
    assert {reason["feature"] for row in every for reason in row["anomaly_reasons"]} == set(detector.spec.names)
    assert sum(len(row["anomaly_reasons"]) for row in flagged) > 50
    return {False: flagged, True: every}


@contextmanager
def batches_of(session, rows):
    """An engine that gives a worker so many rows at most at a time, as far as it can be told."""
    before = session.conf.get(BATCH, "10000")
    session.conf.set(BATCH, str(rows))
    try:
        yield
    finally:
        session.conf.set(BATCH, before)


@pytest.mark.parametrize("explains", [False, True])
@pytest.mark.parametrize(("partitions", "batch", "use_pandas"), WAYS)
def test_every_engine_gives_the_reasons_of_the_detector(
    engine, tmp_path, table, detector, expected, partitions, batch, use_pandas, explains
):
    """Features, values and sentences to the letter, shares to 1e-6: of flagged rows as they are scored, and of all rows
    as alerts are explained, in any partitioning and batches of any size.
    """
    pq.write_table(table, tmp_path / "rows.parquet")
    frame = engine.read.parquet(str(tmp_path / "rows.parquet")).repartition(partitions)
    function = udf.scoring_udf(engine, detector.to_bytes(), detector.scorer, use_pandas=use_pandas, explains=explains)
    with batches_of(engine, batch):
        found = collected(udf.add_scores(frame, function, detector.scorer, explains=explains))
    for row, own in zip(found.to_dict("records"), expected[explains], strict=True):
        reasons, others = row["anomaly_reasons"], own["anomaly_reasons"]
        assert [[one[name] for name in ENTRY] for one in reasons] == [[one[name] for name in ENTRY] for one in others]
        assert [one["share"] for one in reasons] == pytest.approx([one["share"] for one in others], rel=1e-6, abs=1e-9)
        assert row.get("reason") == own.get("reason")
