"""Runs that are repeated, and days that come in any order: the output is that of one run each, in order."""

import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import REMOTE
from tests.reliability.jobs import Job, ended, performed
from tests.reliability.outputs import tell
from tests.reliability.readings import ROWS, configured, days, of_day, pumps, stored

TRIES = 8
"""How often a scheduler starts a job again that ends with exit code 4, or was killed."""
MODES = [
    ("delta", "replace"), ("delta", "replace_where"), ("delta", "append"), ("delta", "merge"),
    ("parquet", "replace"), ("parquet", "replace_where"), ("parquet", "append"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("format_", "mode", "run_id"),
    [*((*pair, "same") for pair in MODES), ("delta", "append", None), ("parquet", "replace_where", None)],
)
def test_the_same_run_three_times(engine, model, tmp_path, format_, mode, run_id):
    """A run that comes three times, by a scheduler's id or its own, with another run's rows there: the same rows, and
    one record.
    """
    one, two = days(2)
    path = stored(tmp_path / "source.parquet", *map(pumps, (one, two, None)))
    within = {"partition_by": ["day"]} if (format_, mode) == ("parquet", "replace_where") else {}
    output = {"path": str(tmp_path / "place" / "out"), "format": format_, "mode": mode, **within}
    (tmp_path / "place").mkdir()
    other = performed(engine, Job(configured(model, path, output, of_day(one)), "other"))
    assert other.code == 0, other.said
    again = [performed(engine, Job(configured(model, path, output, of_day(two)), run_id)) for _ in range(3)]
    assert [(each.code, each.said) for each in again] == [(0, "")] * 3
    assert again[0].after == again[1].after == again[2].after
    last = again[2].after
    assert ("other" in last["rows"]) == (mode != "replace")
    assert [*last["rows"].values()] == [ROWS] * len(last["rows"])
    assert {"other", *last["rows"]} == {run for run, _ in last["records"]}
    assert len(last["records"]) == 2


BACKFILLS = [
    ("delta", "append", []), ("parquet", "append", []), ("parquet", "append", ["day"]),
    ("delta", "replace_where", []), ("delta", "replace_where", ["day"]), ("parquet", "replace_where", ["day"]),
    ("delta", "merge", []),
]  # fmt: skip


@pytest.mark.parametrize("number", [pytest.param(8, marks=pytest.mark.heavy), pytest.param(30, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("format_", "mode", "partition_by"), BACKFILLS)
def test_days_in_any_order(_sail, monkeypatch, model, tmp_path, format_, mode, partition_by, number):
    """Days in random order, four at a time, a third of them twice and a third killed, each started again until it goes
    well: what all of them leave one after another.
    """
    monkeypatch.setenv(REMOTE, "1")
    path = stored(tmp_path / "source.parquet", *map(pumps, days(number)))

    def job(place, day):
        output = {"path": str(tmp_path / place / "out"), "format": format_, "mode": mode, "partition_by": partition_by}
        return Job(configured(model, path, output, of_day(day)), f"{day}")

    (tmp_path / "sequence").mkdir()
    (tmp_path / "random").mkdir()
    sequence = [performed(_sail, job("sequence", day)) for day in days(number)]
    assert {one.code for one in sequence} == {0}, [one.said for one in sequence]
    draw = random.Random(f"{format_} {mode} {partition_by} {number}")
    starts = [(day, draw.choice([None, None, "second", "call"])) for day in days(number)]
    starts += [(day, None) for day in draw.sample(days(number), number // 3)]
    draw.shuffle(starts)
    moments = [
        (day, at and (at, draw.uniform(0, 0.5) if at == "second" else draw.randint(1, 12))) for day, at in starts
    ]

    def scheduled(moment):
        """The exit codes of a day's tries."""
        day, kill = moment
        tries = [ended(job("random", day).killed(*kill))] if kill else []
        while (not tries or tries[-1].code) and len(tries) < TRIES:
            tries.append(ended(job("random", day)))
        assert {one.code for one in tries} <= {0, 4, -signal.SIGKILL}, tries
        return [one.code for one in tries]

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(scheduled, moments))
    tell(f"{format_} {mode} {partition_by}, {number} days, {len(moments)} jobs: exit codes", codes)
    assert {tries[-1] for tries in codes} == {0}
    last = performed(_sail, job("random", days(number)[0]))  # once more: it changes nothing, and tells what is there
    assert last.before["doubled"] == 0
    assert last.before == last.after == sequence[-1].after
