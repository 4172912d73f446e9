"""The one rule on the zoo of tables: a row's score does not depend on its place, its partition or the engine."""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tables.makers import PASSED, ZOO, made
from tests.tables.test_parquet import opened
from vae_model import Config, Detector
from vae_model.scoring.output import SCORED
from vae_model.spark import score
from vae_model.spark.frames import to_arrow

pytestmark = pytest.mark.slow

ROWS, LEARNT = 40_000, 3_000
ZOO = [pytest.param(make, id=make.__name__) for make in ZOO]


@cache
def case(make):
    """A table, a detector that has learnt from its first rows, and what it makes of all rows here."""
    table = made(make, ROWS)
    settings = {
        "key": ["id"],
        "features": {"exclude": [name for name in table.column_names if name.startswith(PASSED)]},
        "model": {"steps": 30, "hidden": [16], "codes": 16},
        "decision": {"false_alarm_rate": 0.02},
    }
    detector = Detector(Config.model_validate(settings)).fit(table.slice(0, LEARNT))
    return table, detector, detector.score(table)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A function that gives the file of a table of the zoo: its rows as they are, or in another order."""
    folder = tmp_path_factory.mktemp("zoo")

    @cache
    def file(make, is_mixed):
        table = case(make)[0]
        if is_mixed:
            table = table.take(np.random.default_rng(1).permutation(ROWS))
        path = folder / f"{make.__name__}{'_mixed' * is_mixed}.parquet"
        pq.write_table(table, path, row_group_size=ROWS // 4)
        return path

    return file


def assert_same(found, expected):
    """Two scored tables are the same to the last bit."""
    for name in SCORED.names:
        ours, theirs = (table[name].combine_chunks().cast(SCORED.field(name).type) for table in (found, expected))
        if not ours.equals(theirs):
            pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
            differing = [(i, *pair) for i, pair in enumerate(pairs) if pair[0] != pair[1]]
            pytest.fail(f"{name} differs in {len(differing)} rows: {differing[:3]}")


WAYS = [("as they lie", None), ("as they lie", 1), ("as they lie", 3), ("mixed", 7),
        pytest.param("mixed", None, marks=pytest.mark.soak)]  # fmt: skip


@pytest.mark.parametrize(("order", "partitions"), WAYS)
@pytest.mark.parametrize("make", ZOO)
def test_a_row_has_one_score_wherever_it_lies(here, files, make, order, partitions):
    """Scored by an engine, in partitions and orders of any kind, rows have to the last bit the scores, statuses, flags
    and reasons that they have in this process; columns that are no features are beside them as they were.
    """
    table, detector, expected = case(make)
    frame = opened(here, files(make, order == "mixed"))
    if partitions:
        frame = frame.repartition(partitions)
    found = to_arrow(score(frame, detector).drop(*detector.spec.names)).sort_by("id")
    assert found["id"].equals(table["id"])
    assert_same(found, expected)
    for name in found.column_names:
        if name.startswith(PASSED):
            assert found[name].combine_chunks().cast(table[name].type).equals(table[name].combine_chunks())


@pytest.mark.parametrize("make", ZOO)
def test_a_row_alone_has_the_score_that_it_has_among_all(make):
    """Flagged rows, rows of each status and others, each by itself: the same to the last bit (elsewhere it is not:
    github.com/PriorLabs/TabPFN/issues/800).
    """
    table, detector, expected = case(make)
    flagged = pa.compute.fill_null(expected["is_anomaly"], False)
    statuses = expected["anomaly_status"].to_pylist()
    chosen = {statuses.index(status) for status in statuses} | {*np.flatnonzero(flagged)[:20].tolist()}
    chosen |= {*np.random.default_rng(2).integers(0, ROWS, 40).tolist()}
    for i in sorted(chosen):
        assert_same(detector.score(table.slice(i, 1)), expected.slice(i, 1))


@pytest.mark.parametrize("make", ZOO)
def test_rows_like_those_learnt_are_scored_like_them(make):
    """What is compared is no one number: scores differ, and of rows like those of training few are flagged."""
    _, _, expected = case(make)
    assert 0 < pa.compute.mean(expected["is_anomaly"]).as_py() < 0.1
    assert len(expected["anomaly_score"].unique()) > 2
