"""Two jobs that write one output at the same time, and readers that look while a job writes."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pyspark.sql import functions as F

from tests.reliability.jobs import Job, ended, performed, together
from tests.reliability.outputs import state, tell
from tests.reliability.readings import ROWS, configured, days, of_day, pumps, stored
from vae_model.spark.engines.connect import is_remote
from vae_model.spark.sinks.reading import read_output

REASONS = ("Another run wrote to", "Another job writes", "is going on already", "was started twice")
"""What one is told that cannot be."""
ONE, TWO, THREE = days(3)
KINDS = {
    "same slice": ("replace_where", TWO, TWO, "ab"),
    "disjoint slices": ("replace_where", TWO, THREE, "ab"),
    "appends": ("append", TWO, THREE, "ab"),
    "one run twice": ("append", TWO, TWO, "aa"),
    "merges": ("merge", TWO, TWO, "ab"),
    "replaces": ("replace", TWO, TWO, "ab"),
}
"""The mode, the two days, and the letters of the two runs."""
PAIRS = [(format_, kind, Job.tries) for format_ in ("delta", "parquet") for kind in KINDS]
PAIRS = [pair for pair in PAIRS if pair[:2] != ("parquet", "merges")]
PAIRS += [("delta", kind, 1) for kind in ("same slice", "disjoint slices", "merges", "replaces")]
"""Format, kind, and how often one tries: with one try it is told at once."""
FEW_OR_MANY = [pytest.param(2, marks=pytest.mark.heavy), pytest.param(20, marks=pytest.mark.soak)]


@pytest.fixture
def writer(model, tmp_path):
    """Make a job that writes a day, or all of them as they were at first, to one output."""
    first = stored(tmp_path / "first.parquet", *map(pumps, (ONE, TWO, THREE)))
    second = stored(tmp_path / "second.parquet", *(pumps(day, 1) for day in (TWO, THREE)))
    (tmp_path / "place").mkdir()

    def made(format_, mode, day, run_id):
        output = {"path": str(tmp_path / "place" / "out"), "format": format_, "mode": mode}
        output["partition_by"] = ["day"] if format_ == "parquet" else []
        return Job(configured(model, second if day else first, output, day and of_day(day)), run_id)

    return made


SAIL_AND_CLASSIC = pytest.mark.parametrize(
    "engine", ["sail", pytest.param("spark", marks=pytest.mark.classic)], indirect=True
)


def at_once(engine, *jobs_):
    """Do jobs at the same time: on Sail in two processes, on classic Spark in two sessions of one."""
    if is_remote(engine):
        return together(*jobs_)
    with ThreadPoolExecutor(len(jobs_)) as pool:
        return list(pool.map(lambda job: performed(engine.newSession(), job, counted=False), jobs_))


@pytest.mark.parametrize(
    ("engine", "format_", "kind", "tries", "rounds"),
    [pytest.param("sail", *pair, *few_or_many.values, marks=few_or_many.marks)
     for pair in PAIRS for few_or_many in FEW_OR_MANY]
    + [pytest.param("spark", *pair, 2, marks=[pytest.mark.classic, pytest.mark.heavy])
       for pair in PAIRS if pair[0] == "delta" and pair[2] > 1]
    + [pytest.param("spark", *pair, 20, marks=[pytest.mark.classic, pytest.mark.soak]) for pair in PAIRS],
    indirect=["engine"],
)  # fmt: skip
def test_two_writers(engine, writer, format_, kind, tries, rounds):
    """Whoever ends well has its rows there, whole and once, but for those that the other has replaced; whoever does not
    ends with exit code 4 and the reason, and has none.
    """
    mode, *two, letters = KINDS[kind]
    base = ended(writer(format_, "append", None, "base"))
    assert base.code == 0, base.said
    codes, before, rewritten = [], base.after["rows"], set()
    for number in range(rounds):
        ids = [f"{number}.{letter}" for letter in letters]
        pair = [replace(writer(format_, mode, *each), tries=tries) for each in zip(two, ids, strict=True)]
        found = at_once(engine, *pair)
        codes.append(sorted(one.code for one in found))
        for one in found:
            assert one.code == 0 or (one.code == 4 and any(reason in one.said for reason in REASONS)), one.said
        won = {job.run_id for job, one in zip(pair, found, strict=True) if one.code == 0}
        rewritten |= {day for day, run in zip(two, ids, strict=True) if run in won}
        now = state(engine, pair[0].config)
        own = {run for run in now["rows"] if run.startswith(f"{number}.")}
        assert own <= won
        assert len(own) == min(len(won), 1 if two[0] == two[1] else 2)
        assert {now["rows"][run] for run in own} <= {ROWS + 5}
        if mode == "append":
            assert now["rows"] == before | dict.fromkeys(own, ROWS + 5)
        elif mode == "replace":
            assert set(now["rows"]) == own or not own
        else:
            assert now["doubled"] == 0
            assert sum(now["rows"].values()) == 3 * ROWS + 5 * len(rewritten)
        before = now["rows"]
    tell(f"{format_} {kind}, {tries} tries: exit codes of {rounds} rounds", codes)


@SAIL_AND_CLASSIC
@pytest.mark.parametrize("rounds", FEW_OR_MANY)
@pytest.mark.parametrize("mode", ["replace_where", "merge", "append"])
def test_readers_find_whole_slices(engine, writer, mode, rounds):
    """A reader that looks again and again while jobs rewrite a slice of a Delta table finds one run's rows, all of
    them.
    """
    job = writer("delta", mode, TWO, "0")
    assert ended(job).code == 0
    seen = Counter()
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds):
            again = job if mode == "append" else writer("delta", mode, TWO, f"{number + 1}")
            writing = pool.submit(lambda job=again: at_once(engine, job)[0])
            while not writing.done():
                rows = read_output(engine, job.config.output).where(F.expr(of_day(TWO)))
                seen[tuple(sorted(map(tuple, rows.groupBy("anomaly_run").count().collect())))] += 1
            assert writing.result().code == 0, writing.result().said
    print(f"\n{mode}: {sum(seen.values())} looks in {rounds} rounds found", dict(seen))
    assert {rows for ((_, rows),) in seen} == {ROWS + 5}
    assert mode == "append" or len(seen) > 1
