"""A job that is killed anywhere, and then done again, leaves the output that one undisturbed run leaves."""

import random
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

import pytest

from tests.conftest import REMOTE
from tests.reliability.jobs import Ended, Job, ended, performed
from tests.reliability.outputs import leftovers, tell
from tests.reliability.readings import NO_DAY, ROWS, configured, days, of_day, pumps, stored

AT_ONCE = 2
"""Jobs that are killed at a time."""
RUN = "killed"
ONE, TWO, THREE = days(3)


class Case(NamedTuple):
    """What the killed job does, and what was there before."""

    format: str
    mode: str
    there: str = "other runs"
    """Or ``nothing``, or ``its own``: rows of the same run, of an earlier version of the source."""


CASES = [
    Case("delta", "replace"), Case("delta", "replace_where"), Case("delta", "append"), Case("delta", "merge"),
    Case("parquet", "replace"), Case("parquet", "replace_where"), Case("parquet", "append"),
    Case("delta", "append", "nothing"), Case("parquet", "append", "nothing"),
    Case("parquet", "replace_where", "nothing"),
    Case("delta", "append", "its own"), Case("parquet", "append", "its own"),
]  # fmt: skip
MODES = CASES[:7]
"""Those of the issue's table."""


@dataclass
class Scene:
    """A case with an output as it is before the job, and as an undisturbed run leaves it."""

    job: Job
    undisturbed: Ended
    numbers: count
    earlier: Callable[[Job], Job] | None = None
    """Has the same run done before, on an earlier version of a source of its own."""

    def trial(self):
        """The same job on a copy of the output."""
        folder = self.job.folder.parent / f"trial{next(self.numbers)}"
        if self.job.folder.exists():
            shutil.copytree(self.job.folder, folder)
        moved = {
            name: self.job.settings[name] | {"path": str(folder / place)}
            for name, place in (("output", "out"), ("alerts", "alerts"))
            if name in self.job.settings
        }
        job = Job(self.job.settings | moved, self.job.run_id)
        return job if self.earlier is None else self.earlier(job)


@pytest.fixture
def scene(model, tmp_path):
    """Make the scene of a case on an engine; outputs are made by the embedded one."""

    def made(case, engine="sail", again=ended, alerts=False, gates=None, model=model):
        first = stored(tmp_path / "first.parquet", *map(pumps, (ONE, TWO, None)))
        second = stored(tmp_path / "second.parquet", pumps(TWO, 1), pumps(THREE))
        within = {"partition_by": ["day"]} if case.mode == "replace_where" else {}
        output = {"path": str(tmp_path / "base" / "out"), "format": case.format, **within}
        more = {"alerts": {"path": str(tmp_path / "base" / "alerts"), "format": case.format}} if alerts else {}
        if case.there != "nothing":
            for name, where in (("one", of_day(ONE)), ("two", of_day(TWO)), ("none", NO_DAY)):
                settings = configured(model, first, output | {"mode": "append"}, where) | more
                assert ended(Job(settings, name)).code == 0
        where = {"append": of_day(THREE), "merge": None}.get(case.mode, of_day(TWO))
        gated = {"gates": gates} if gates else {}
        settings = configured(model, second, output | {"mode": case.mode}, where, engine) | more | gated

        def earlier(job):
            own = stored(tmp_path / f"{job.folder.name}.parquet", pumps(THREE, 1))
            own_settings = job.settings | {"source": job.settings["source"] | {"path": own}}
            assert ended(Job(own_settings | {"runs": "none"}, RUN)).code == 0
            stored(own, pumps(TWO, 1), pumps(THREE))
            return Job(own_settings, RUN)

        found = Scene(Job(settings, RUN), Ended(0), count(), earlier if case.there == "its own" else None)
        found.undisturbed = again(found.trial())
        assert found.undisturbed.code == 0, found.undisturbed.said
        assert found.undisturbed.after["rows"] == expected(case)
        return found

    return made


def expected(case):
    """How many rows of each run an undisturbed run leaves. It has five more of the second day than the first had."""
    more = {"replace": ROWS + 5, "replace_where": ROWS + 5, "append": ROWS, "merge": 2 * ROWS + 5}[case.mode]
    gone = {"replace": {"one", "two", "none"}, "replace_where": {"two"}, "append": set(), "merge": {"two"}}[case.mode]
    others = {"one", "two", "none"} - gone if case.there != "nothing" else set()
    return dict.fromkeys(others, ROWS) | {RUN: more}


def outcome(scene, moments, again=ended):
    """Kill the job at one moment, or at one and the next try at another; do it again, and say what came of it."""
    job = scene.trial()
    killed = [ended(job.killed(*moment)) for moment in moments][-1]
    last = again(job)
    whole, seen = scene.undisturbed, last.before
    found = {"killed": killed.code == -signal.SIGKILL, "between": between(seen, whole)}
    found |= {"same": last.after == whole.after, "left": leftovers(job)}
    if not found["same"] or found["left"] or killed.code not in (0, -signal.SIGKILL):
        found |= {"at": moments, "codes": [killed.code, last.code], "said": [killed.said, last.said]}
        found |= {"seen": seen, "after": last.after, "expected": whole.after}
    shutil.rmtree(job.folder)
    return found


def between(seen, whole):
    """What a reader finds after the kill: the rows of before or after, both, or too few."""
    for name, there in (("old", whole.before), ("new", whole.after)):
        if seen["digest"] == there["digest"]:
            return name
    found = seen["rows"]
    enough = (all(found.get(run, 0) >= n for run, n in there["rows"].items()) for there in (whole.before, whole.after))
    return "both" if any(enough) else "too few"


def outcomes(scene, case, moments, again=ended):
    """The outcomes of all moments, told and checked."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda each: outcome(scene, each, again), moments))
    tell(f"{' '.join(case)}: {len(moments)} moments", found)
    allowed = {"old", "new"} if case.format == "delta" or case.mode == "replace" else {"old", "new", "both"}
    assert [one for one in found if not one["same"] or one["left"] or one["between"] not in allowed] == []
    return found


def named(case):
    """A case as pytest shows it."""
    return "-".join(case).replace(" ", "_")


def heavy(*numbers, soak=()):
    """Cases of the heavy tests, by their numbers, and others that only ``make soak`` goes through."""
    marked = [(CASES[n], pytest.mark.heavy) for n in numbers] + [(CASES[n], pytest.mark.soak) for n in soak]
    return [pytest.param(case, marks=mark, id=named(case)) for case, mark in marked]


@pytest.mark.parametrize("case", heavy(6, soak=[1]))
@pytest.mark.parametrize("shape", ["series", "pictures"])
def test_killed_at_every_call_by_a_model_of_another_shape(case, shape, scene, request):
    """A slice that is scored with the rows before it, or by its pictures, is there whole and once, as any other."""
    found = scene(case, model=request.getfixturevalue(f"{shape}_model"))
    moments = [[("call", n + 1)] for n in range(len(found.undisturbed.calls))]
    assert all(one["killed"] for one in outcomes(found, case, moments))


@pytest.mark.parametrize("case", heavy(0, 3, 5, 6, 9, soak=(1, 2, 4, 7, 8, 10, 11)))
def test_killed_at_every_call(case, scene):
    """Killed before each call that writes, renames or removes a file, and before and after each commit."""
    found = scene(case)
    moments = [[("call", n + 1)] for n in range(len(found.undisturbed.calls))]
    assert len(moments) > 7
    assert all(one["killed"] for one in outcomes(found, case, moments))


@pytest.mark.parametrize("case", heavy(0, 8, soak=(2, 3, 4, 6)))
def test_killed_anywhere_with_alerts(case, scene):
    """Killed at every second call, at each that comes after the rows, and twice: the alerts are those of the rows."""
    found = scene(case, alerts=True)
    assert found.undisturbed.after["alerts"] == found.undisturbed.after["flagged"] != []
    number, draw = len(found.undisturbed.calls), random.Random(str(case))
    moments = [[("call", n + 1)] for n in range(number) if n % 2 or n > number // 2]
    moments += [[("call", draw.randint(number // 2, number)) for _ in range(2)] for _ in range(3)]
    assert sum(one["killed"] for one in outcomes(found, case, moments)) >= len(moments) - 3


@pytest.mark.parametrize("case", heavy(2, soak=(0, 3, 4, 6)))
def test_killed_at_every_call_with_an_open_gate(case, scene):
    """Where rows are staged for a gate and then published, a job that is killed anywhere leaves what any does."""
    found = scene(case, gates={"max_anomaly_rate": 1.0})
    moments = [[("call", n + 1)] for n in range(len(found.undisturbed.calls))]
    assert all(one["killed"] for one in outcomes(found, case, moments))


GATES = {"after": {"max_anomaly_rate": 1e-9}, "before": {"min_rows": 10**6}}
"""Gates that are closed, by whether that is known before or after rows are scored."""


@pytest.mark.parametrize(
    ("case", "gate"),
    [
        pytest.param(CASES[number], GATES[when], marks=mark, id=f"{named(CASES[number])}-{when}")
        for when, mark, numbers in (
            ("after", pytest.mark.heavy, (0, 4)),
            ("after", pytest.mark.soak, (3, 6, 8)),
            ("before", pytest.mark.heavy, (0,)),
            ("before", pytest.mark.soak, (3, 4, 6, 8)),
        )
        for number in numbers
    ],
)
def test_killed_at_every_call_with_a_closed_gate(case, gate, scene):
    """Killed anywhere and done again, a gated run changes nothing and leaves nothing but its record."""
    found = scene(case)

    def trial():
        job = found.trial()
        return replace(job, settings=job.settings | {"gates": gate})

    def outcome(number):
        job = trial()
        killed, last = ended(job.killed("call", number)), ended(job)
        left = leftovers(job)
        shutil.rmtree(job.folder)
        return killed.code, last.code, last.before["digest"], left

    whole = ended(trial())
    assert whole.code == 3
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = [*pool.map(outcome, range(1, len(whole.calls) + 1))]
    assert {*map(str, seen)} == {str((-signal.SIGKILL, 3, found.undisturbed.before["digest"], []))}


@pytest.mark.parametrize("case", heavy(0, 3, 5, soak=range(len(MODES))))
def test_killed_at_random(case, scene, request):
    """Killed at random, and as soon as the engine has changed a file for the first time, the second and so on; and
    killed twice, the next try too.
    """
    times = 20 if request.node.get_closest_marker("soak") else 3
    found = scene(case)
    draw = random.Random(f"{case} {times}")
    moments = [[("second", draw.uniform(0, found.undisturbed.seconds))] for _ in range(times)]
    moments += [[("change", n + 1)] for n in range(found.undisturbed.changes)]
    moments += [[("call", draw.randint(1, len(found.undisturbed.calls))) for _ in range(2)] for _ in range(times)]
    killed = [one["killed"] for one in outcomes(found, case, moments)]
    assert sum(killed) > len(moments) / 3  # the others were done before


@pytest.mark.classic
@pytest.mark.parametrize("case", heavy(0, 3, soak=range(4)))
def test_classic_killed_at_its_commit(case, scene, request, monkeypatch):
    """Driver and JVM killed before and after the commit, and so often at random and when files have changed; done again
    in a JVM that has run for some time.
    """
    times = 10 if request.node.get_closest_marker("soak") else 0
    spark = request.getfixturevalue("_classic")
    monkeypatch.delenv(REMOTE, raising=False)

    def again(job):
        return performed(spark, job)

    found = scene(case, "spark", again)
    moments = [[("call", n + 1)] for n, call in enumerate(found.undisturbed.calls) if call in ("commit", "committed")]
    assert len(moments) == 2
    if times:
        draw, cold = random.Random(f"{case} {times}"), ended(found.trial())
        moments += [[("second", draw.uniform(0, cold.seconds))] for _ in range(times)]
        moments += [[("change", draw.randint(1, cold.changes))] for _ in range(times)]
    killed = [one["killed"] for one in outcomes(found, case, moments, again)]
    assert all(killed[:2])
    assert sum(killed) > len(moments) / 3
