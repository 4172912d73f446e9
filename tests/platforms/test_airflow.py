"""The DAGs of examples/airflow in a real Airflow, which has an environment of its own, by `airflow dags test`."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.conftest import DELTA_CONF, ROOT, clean_environment

pytestmark = [pytest.mark.platforms, pytest.mark.timeout(1200)]

BIN, AIRFLOW = (ROOT / ".venv" / name / "bin" for name in ("platforms", "airflow"))
SUNDAY = date(2026, 2, 1)
"""The training takes the four weeks before it."""
EMPTY, *BAD = (SUNDAY + timedelta(number) for number in (5, 6, 7))
"""A day without readings, and two whose readings a gate stops."""
ROWS = 150
"""Of a day."""
QUICK = {"VAE_ANOMALY__MODEL__STEPS": "150", "VAE_ANOMALY__MODEL__MEMBERS": "1"}
POOR = {"VAE_ANOMALY__MODEL__STEPS": "1", "VAE_ANOMALY__MODEL__CODES": "0"}
COMMANDS = """
import json, os, sys
from airflow.__main__ import main
for arguments, environment in json.load(sys.stdin):
    os.environ.update(environment)
    sys.argv = ["airflow", "dags", "test", *arguments]
    try:
        main()
    except SystemExit:  # a run that failed; the database says so too
        pass
    for name in environment:
        del os.environ[name]
"""
"""Several `airflow dags test` by one process, for it takes long to start."""
KILLER = """
import os, signal, sys, threading, time
from pathlib import Path

here = Path(__file__).parent
lake = Path(os.environ["AIRFLOW_VAR_VAE_ANOMALY_LAKE"])

def written():
    return set(lake.glob("scored/readings/day=*/*.parquet"))

def kill():
    while not written() - before:
        time.sleep(0.001)
    (here / "killed").touch()
    os.kill(os.getpid(), signal.SIGKILL)

if "vae-anomaly" in " ".join(sys.orig_argv[1:2]) and not (here / "killed").exists():
    before = written()
    threading.Thread(target=kill, daemon=True).start()
"""
"""A sitecustomize.py that kills the job, once, when its rows are written and no commit names them."""


def readings(day):
    """The readings of a day, one of them wild; of a bad day half of the pressures are missing."""
    random = np.random.default_rng(day.toordinal())
    flow = random.normal(10, 2, ROWS)
    pressure = 3 * flow + random.normal(0, 0.3, ROWS)
    pressure[0] += 500
    began = datetime(day.year, day.month, day.day)
    at = [began + timedelta(minutes=9 * number) for number in range(ROWS)]
    return pa.table({
        "sensor": [f"s{number % 3}" for number in range(ROWS)], "at": pa.array(at, pa.timestamp("us")),
        "day": pa.array([day] * ROWS, pa.date32()), "flow": flow,
        "pressure": pa.array(pressure, mask=(np.arange(ROWS) % 2 == 0) & (day in BAD)),
    })  # fmt: skip


@dataclass
class Ended:
    """What came of a DAG's one task."""

    state: str
    tries: int
    record: dict | None
    """Its XCom."""
    event: dict | None
    """What is known of the event of its asset."""


class Airflow:
    """An Airflow of its own, with the project's folder of DAGs in it, and a lake with readings."""

    def __init__(self, folder):
        self.home, self.lake = folder / "airflow", folder / "lake"
        shutil.copytree(ROOT / "examples" / "airflow", self.home / "dags")
        shared = self.home / "dags" / "vae_anomaly_airflow.py"
        text = shared.read_text()
        assert "minutes=5" in text
        shared.write_text(text.replace("minutes=5", "seconds=1"))  # nobody waits here
        (self.lake / "readings").mkdir(parents=True)
        for number in range(-28, 8):
            day = SUNDAY + timedelta(number)
            if day != EMPTY:
                pq.write_table(readings(day), self.lake / "readings" / f"{day}.parquet")
        conf = {name: DELTA_CONF[name] for name in DELTA_CONF if not name.startswith("spark.sql.catalog")}
        (folder / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in conf.items()))
        self.environment = clean_environment(
            PATH=f"{AIRFLOW}:{BIN}:{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
            AIRFLOW_HOME=str(self.home),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW_VAR_VAE_ANOMALY_ENVIRONMENT=str(BIN.parent),
            AIRFLOW_VAR_VAE_ANOMALY_LAKE=str(self.lake),
            AIRFLOW_VAR_VAE_ANOMALY_JOBS=str(ROOT / "jobs"),
            AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}',
            SPARK_CONF_DIR=str(folder),
            SPARK_LOCAL_IP="127.0.0.1",
            RUST_LOG="error",
        )
        self.call("airflow", "db", "migrate")

    def call(self, *command, text=""):
        """Run a command in Airflow's environment; what it says. It is ended with all that it has started."""
        with subprocess.Popen(
            command, env=self.environment, cwd=self.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(text, timeout=900)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert process.returncode == 0, said[-5000:]
        return said

    def test(self, *runs):
        """Run DAGs, each for a day: (id, day), or with the run's own configuration and environment. What came of each
        in turn. No DAG twice for one day: the second run takes the place of the first.
        """
        known = self._ended()
        full = [(*run, *({}, {})[len(run) - 2 :]) for run in runs]
        text = json.dumps([
            [[dag, str(day), *(["--conf", json.dumps(conf)] if conf else [])], more] for dag, day, conf, more in full
        ])  # fmt: skip
        self.said = self.call("python", "-c", COMMANDS, text=text)
        new = [ended for key, ended in self._ended().items() if key not in known]
        assert len(new) == len(runs), self.said[-5000:]
        return new

    def _ended(self):
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            tasks = database.execute(
                "SELECT dag_id, run_id, t.state, try_number FROM task_instance t JOIN dag_run USING (dag_id, run_id) "
                "ORDER BY dag_run.id"
            ).fetchall()
            xcoms = database.execute("SELECT dag_id, run_id, value FROM xcom WHERE key = 'return_value'").fetchall()
            events = database.execute("SELECT source_dag_id, source_run_id, extra FROM asset_event").fetchall()
        records, known = ({(dag, run): json.loads(value) for dag, run, value in rows} for rows in (xcoms, events))
        return {
            (dag, run): Ended(state, tries, records.get((dag, run)), known.get((dag, run)))
            for dag, run, state, tries in tasks
        }

    def scored(self, *days, lake=None):
        """The output's rows: those of these days are there, and no others."""
        from deltalake import DeltaTable

        table = DeltaTable(str((lake or self.lake) / "scored" / "readings")).to_pyarrow_table()
        table = table.sort_by([("at", "ascending")])
        expected = pa.concat_tables(map(readings, sorted(days)))
        assert table.select(expected.column_names).cast(expected.schema).equals(expected)
        return table

    @property
    def current(self):
        """Name of the model in use, as rows have it."""
        current = json.loads((self.lake / "models" / "readings" / "current.json").read_text())
        return f"readings@{current['digest'][:12]}"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Airflow, where the weekly DAG has trained the first version."""
    assert (AIRFLOW / "airflow").exists(), "make test-airflow makes the environment that is needed"
    own = Airflow(tmp_path_factory.mktemp("airflow"))
    (ended,) = own.test(("readings_training", SUNDAY, {}, QUICK))
    assert (ended.state, ended.tries) == ("success", 1), own.said[-5000:]
    assert ended.record["command"] == "train"
    assert ended.record["model"] == own.current
    assert ended.event == ended.record
    return own


def check(ended, way, day, model):
    """The XCom of a way is the record of a run that went well, and so is what the asset's event knows."""
    record = ended.record
    assert ended.state == "success"
    assert record == ended.event
    assert (record["status"], record["command"], record["model"]) == ("succeeded", "score", model)
    assert (record["rows_read"], record["rows_scored"]) == (ROWS, ROWS)
    assert record["slice"] == f"day = DATE '{day}'"
    assert record["run_id"].startswith(f"readings_by_{way}.manual__")
    assert 1 <= record["anomalies"] <= 5


def test_a_day_scored_twice_and_by_python(airflow):
    """By the command, again, and by the Python API: the day's rows are there once, with the same scores and the last
    run's id, and each XCom tells of its own run.
    """
    (first,) = airflow.test(("readings_by_command", SUNDAY))
    scored = airflow.scored(SUNDAY)
    again, python = airflow.test(("readings_by_command", SUNDAY), ("readings_by_python", SUNDAY))
    rescored = airflow.scored(SUNDAY)
    for ended, way in ((first, "command"), (again, "command"), (python, "python")):
        check(ended, way, SUNDAY, airflow.current)
        assert ended.record["engine"] == "Sail"
    assert first.record.keys() == python.record.keys()
    assert len({ended.record["run_id"] for ended in (first, again, python)}) == 3
    assert set(rescored["anomaly_run"].to_pylist()) == {python.record["run_id"]}
    assert scored["anomaly_score"].equals(rescored["anomaly_score"])
    assert scored["is_anomaly"][0].as_py()


def test_days_backfilled_of_which_one_is_killed_half_way(airflow, tmp_path):
    """Three days in any order, one of them killed when it has written rows, and tried again: each day is there once,
    and nothing else is.
    """
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    days = [SUNDAY + timedelta(number) for number in (3, 1, 2)]
    killed = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    airflow.environment |= killed
    try:
        ended = airflow.test(*(("readings_by_command", day) for day in days))
    finally:
        airflow.environment["PYTHONPATH"] = str(ROOT)
    assert (tmp_path / "killed").exists()
    assert [one.tries for one in ended] == [2, 1, 1]
    for one, day in zip(ended, days, strict=True):
        check(one, "command", day, airflow.current)
    table = airflow.scored(*(day for day in (SUNDAY, *days) if day in days or has(airflow, day)))
    for one, day in zip(ended, days, strict=True):
        own = table.filter(pc.equal(table["day"], pa.scalar(day)))
        assert set(own["anomaly_run"].to_pylist()) == {one.record["run_id"]}
    assert {path.name for path in (airflow.lake / "scored").iterdir()} == {"readings", "readings_runs"}


def has(airflow, day):
    """Whether the output has rows of a day, by its folder."""
    return (airflow.lake / "scored" / "readings" / f"day={day}").exists()


def state(lake):
    """The output's log and files: whatever a run writes changes it."""
    return sorted(str(path) for path in (lake / "scored" / "readings").rglob("*"))


def test_nothing_to_score_skips(airflow):
    """A day without rows ends in 99: the task is skipped at once, and neither output nor asset has news."""
    before = state(airflow.lake)
    for ended in airflow.test(("readings_by_command", EMPTY), ("readings_by_python", EMPTY)):
        assert (ended.state, ended.tries, ended.record, ended.event) == ("skipped", 1, None, None)
    assert state(airflow.lake) == before


def test_a_closed_gate_fails_or_skips_as_the_run_says(airflow):
    """A day with too many gaps fails its task, without another try; with on_closed_gate: skip it is skipped. The
    output is as it was.
    """
    before = state(airflow.lake)
    skip = {"on_closed_gate": "skip"}
    ways = ("readings_by_command", "readings_by_python")
    ended = airflow.test(*((way, BAD[0]) for way in ways), *((way, BAD[1], skip) for way in ways))
    assert [(one.state, one.tries) for one in ended] == [("failed", 1)] * 2 + [("skipped", 1)] * 2
    assert all(one.event is None for one in ended)
    assert airflow.said.count("Exit code 3: a gate is closed") == 2
    assert state(airflow.lake) == before


def test_what_is_not_usable_fails_at_once(airflow, tmp_path):
    """Where there is no model the exit code is 2, and no try follows."""
    nowhere = {"AIRFLOW_VAR_VAE_ANOMALY_LAKE": str(tmp_path)}
    ended = airflow.test(("readings_by_command", SUNDAY, {}, nowhere), ("readings_by_python", SUNDAY, {}, nowhere))
    assert [(one.state, one.tries) for one in ended] == [("failed", 1)] * 2
    assert airflow.said.count("Exit code 2: config, input or model") == 2


def test_the_weekly_training_refuses_a_worse_version(airflow):
    """A version that explains the readings worse is refused, and the one before goes on scoring; one that is as good is
    taken into use, and scores.
    """
    first, day = airflow.current, SUNDAY + timedelta(4)
    refused, skipped, scored = airflow.test(
        ("readings_training", SUNDAY, {}, POOR),
        ("readings_training", SUNDAY + timedelta(1), {"on_closed_gate": "skip"}, POOR),
        ("readings_by_command", day),
    )
    assert (refused.state, refused.tries, refused.event) == ("failed", 1, None)
    assert "or the new version was refused" in airflow.said
    assert (skipped.state, skipped.event) == ("skipped", None)
    assert airflow.current == first
    check(scored, "command", day, first)
    other = QUICK | {"VAE_ANOMALY__TRAIN__SEED": "1"}
    trained, scored = airflow.test(("readings_training", SUNDAY, {}, other), ("readings_by_command", day))
    assert trained.event == trained.record
    assert trained.record["model"] == airflow.current != first
    check(scored, "command", day, airflow.current)


@pytest.mark.classic
def test_a_day_by_spark_submit(airflow, tmp_path):
    """spark-submit gives a record and the same rows; a day that a gate stops is skipped, and so is one without rows."""
    for name in ("readings", "models"):
        shutil.copytree(airflow.lake / name, tmp_path / name)
    own = {"AIRFLOW_VAR_VAE_ANOMALY_LAKE": str(tmp_path)}
    skip = {"on_closed_gate": "skip"}
    ways = ("readings_by_spark_submit", "readings_by_command")
    submitted, gated, empty, command = airflow.test(
        (ways[0], SUNDAY, {}, own), (ways[0], BAD[0], skip, own), (ways[0], EMPTY, {}, own),
        (ways[1], SUNDAY, {}, own | {"VAE_ANOMALY__OUTPUT__PATH": str(tmp_path / "other" / "scored" / "readings")}),
    )  # fmt: skip
    check(submitted, "spark_submit", SUNDAY, airflow.current)
    assert submitted.record["engine"] == "classic Spark"
    assert submitted.record.keys() == command.record.keys()
    assert [(one.state, one.tries, one.event) for one in (gated, empty)] == [("skipped", 1, None)] * 2
    by_spark, by_sail = (airflow.scored(SUNDAY, lake=lake)["anomaly_score"] for lake in (tmp_path, tmp_path / "other"))
    np.testing.assert_allclose(by_spark.to_numpy(), by_sail.to_numpy(), rtol=1e-6)
