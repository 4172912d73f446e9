"""Tables, models and configs on a real S3 API: each engine in a process of its own, as Sail and the JVM read their
variables when they start.
"""

import io
import json
import subprocess
import sys
from contextlib import nullcontext

import fsspec
import numpy as np
import pandas as pd
import pytest

from tests.conftest import DELTA_CONF, clean_environment
from tests.places.test_files import SECONDS, only_allowed
from tests.places.test_marks import other
from tests.s3 import BUCKET, KEY_ID, SECRET
from vae_model.config.tables import Output, Source
from vae_model.errors import JobError, OutputError, SourceError, StorageError
from vae_model.places import files, marks
from vae_model.places.staging import STAGED, STAMP
from vae_model.runs.stamp import Stamp
from vae_model.spark.engines.engine import Engine
from vae_model.spark.engines.own import marked
from vae_model.spark.sinks import parquet as parquet_sink
from vae_model.spark.sinks import sink, sliced, staged_files
from vae_model.spark.sinks.parquet import Parquet
from vae_model.spark.sinks.writing import Writing
from vae_model.spark.source.table import open_source

pytestmark = pytest.mark.slow

ROWS = 300
LAKE = f"s3://{BUCKET}"
CONFIG = f"""
name: far
source: {{path: {LAKE}/rows}}
key: [id]
model: {{path: {LAKE}/models/far.vae, steps: 20}}
decision: {{false_alarm_rate: 0.05}}
output: {{path: {LAKE}/scored}}
"""
COMMANDS = """
import json, sys, time
from contextlib import nullcontext
from vae_model import cli
from vae_model.spark.engines.session import session

def run(commands):
    for command in commands:
        started = time.monotonic()
        code = cli.guarded(lambda: cli.app(command))
        sys.stdout.flush(), sys.stderr.flush()
        print(f"## {code} {time.monotonic() - started:.1f}", flush=True)

engine, commands = sys.argv[1], json.loads(sys.argv[2])
if engine == "sail":
    run(commands)
else:  # one session for all commands: each new one copies the 700 MB of S3A's jars
    with session(engine, needs_delta=True, needs_s3=True) as spark:
        cli._session = lambda settings: nullcontext(spark)
        run(commands)
"""
NOT_OURS = ("AWS_", "PYSPARK_", "RUST_LOG")


class Said(str):
    """What a process printed for one command, with the command's exit code and seconds."""

    code: int
    seconds: float


def commands(store, engine, folder, *arguments, **environment):
    """Run commands one after the other in a new process; what each one said."""
    clean = {name: value for name, value in clean_environment().items() if not name.startswith(NOT_OURS)}
    conf = {**DELTA_CONF, "spark.master": "local[2]", "spark.driver.memory": "1g"}
    kept = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")  # the package's own to set
    submit = " ".join(f"--conf {name}={value}" for name, value in conf.items() if name not in kept)
    environment = clean | store.environment(**environment) | {"PYSPARK_SUBMIT_ARGS": f"{submit} pyspark-shell"}
    environment = {name: value for name, value in environment.items() if value}
    given = [[*command, "--set", f"engine={engine}"] if "--config" in command else command for command in arguments]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, engine, json.dumps(given)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    secrets = {KEY_ID, SECRET, environment.get("AWS_SECRET_ACCESS_KEY", SECRET)}
    assert not [secret for secret in secrets if secret in done.stdout]
    answers, text = [], ""
    for line in done.stdout.splitlines():
        if line.startswith("## "):
            answer = Said(text)
            answer.code, answer.seconds = int(line.split()[1]), float(line.split()[2])
            answers.append(answer)
            text = ""
        else:
            text += line + "\n"
    return answers


def on(**places):
    """Options that change a config's keys; dots are written as double underscores."""
    return [part for name, value in places.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]


@pytest.fixture
def lake(s3):
    """The bucket with a table of two files, and a config."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "a": random.normal(size=ROWS),
            "b": random.normal(size=ROWS),
            "c": random.choice(["x", "y"], ROWS),
        }
    )
    for i, part in enumerate((frame[: ROWS // 2], frame[ROWS // 2 :])):
        data = io.BytesIO()
        part.to_parquet(data, index=False)
        s3.put(f"rows/part{i}.parquet", data.getvalue())
    s3.put("job.yaml", CONFIG.encode())
    return s3


def parquet(store, keys):
    """The rows of Parquet objects, by id."""
    parts = [pd.read_parquet(io.BytesIO(store.get(key))) for key in keys if key.endswith(".parquet")]
    return pd.concat(parts).sort_values("id", ignore_index=True)


def delta(store, folder):
    """The rows of a Delta table, by its log."""
    live = set()
    for key in store.keys(f"{folder}/_delta_log/"):
        if key.endswith(".json"):
            for action in map(json.loads, store.get(key).splitlines()):
                live |= {action["add"]["path"]} if "add" in action else set()
                live -= {action["remove"]["path"]} if "remove" in action else set()
    return parquet(store, [f"{folder}/{name}" for name in live])


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("engine", ["sail", pytest.param("spark", marks=pytest.mark.classic)])
def test_train_score_and_read_again(lake, engine, tmp_path):
    """Config, source, model and output on S3, in both spellings: Delta and Parquet are trained, replaced, added to and
    read back; a missing bucket is told at once; and the credentials are nowhere to be found.
    """
    job = ("--config", f"s3a://{BUCKET}/job.yaml")
    near = {"output__path": f"{LAKE}/parquet", "output__format": "parquet"}
    far = {**near, "output__path": f"s3a://{BUCKET}/parquet"}
    closed = {"gates__max_anomaly_rate": "1e-9", "gates__keep_rejected": f"{{path: {LAKE}/rejected}}"}
    trained, replaced, again, gated, refused, added, inspected, *failed = commands(
        lake, engine, tmp_path,
        ["run", *job, *on(source__path=f"s3a://{BUCKET}/rows", output__path=f"s3a://{BUCKET}/delta")],
        ["score", *job, *on(**near)],
        ["score", *job, *on(**near, gates__max_anomaly_rate=1)],
        ["score", *job, *on(output__path=f"s3a://{BUCKET}/delta", gates__max_anomaly_rate=1)],
        ["score", *job, *on(**near, **closed)],
        ["score", *job, *on(**far, output__mode="append")],
        ["inspect", f"{LAKE}/models/far.vae"],
        ["score", *job, *on(source__path="s3://attic/rows")],
        ["score", *job, *on(output__path="s3a://attic/out")],
    )  # fmt: skip
    assert refused.code == 3 and "gates.max_anomaly_rate is closed" in refused
    for answer in (trained, replaced, again, gated, added):
        assert answer.code == 0, answer
        assert f"Scored {ROWS} rows: " in answer
    assert inspected.code == 0 and "Model far@" in inspected

    once, twice = delta(lake, "delta"), parquet(lake, lake.keys("parquet/"))
    assert list(once["id"]) == list(range(ROWS))
    assert once["anomaly_status"].eq("ok").all()
    assert list(twice["id"]) == sorted([*range(ROWS), *range(ROWS)])
    pd.testing.assert_series_equal(
        twice.groupby("id")["anomaly_score"].mean(), once.set_index("id")["anomaly_score"], rtol=1e-6
    )
    keys = lake.keys()
    assert not [key for key in keys if STAGED in key or ".staged" in key or files.PROBE in key]
    assert list(delta(lake, "rejected")["id"]) == list(range(ROWS))
    assert {key.partition("/")[0] for key in keys} == {
        "rows", "models", "delta", "delta_runs", "parquet", "parquet_runs", "rejected", "job.yaml"
    }  # fmt: skip

    for answer in failed:
        assert answer.code == 2, answer
        assert "found: there is no bucket attic" in answer
        assert "Traceback" not in answer and "\tat " not in answer
        assert answer.seconds < SECONDS

    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for data in [*map(lake.get, keys), *contents]:
        assert KEY_ID.encode() not in data and SECRET.encode() not in data


FAILURES = {
    "nobody there": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer", 4),
    "no credentials": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials", 2),
    "no rights": (None, "is denied", 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FAILURES)
def test_a_source_out_of_reach_is_told_at_once(lake, tmp_path, case):
    """No server (try again), no credentials or no rights: one message within seconds, no secret in it."""
    change, words, code = FAILURES[case]
    (tmp_path / "job.yaml").write_text(CONFIG)
    job = ["run", "--config", "job.yaml", *on(model__path="m.vae", output__path="out")]
    with lake.user() if change is None else nullcontext(change) as variables:
        (answer,) = commands(lake, "sail", tmp_path, job, **variables)
    assert answer.code == code, answer
    assert answer.seconds < SECONDS
    assert f"The source {LAKE}/rows cannot be opened." in answer
    assert words in answer and "to do: " in answer
    assert "Traceback" not in answer
    assert len(answer.splitlines()) < 8
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


# --- What this process looks at, and what it leaves to an engine that is not its own


def test_an_engine_of_our_own_is_looked_out_for(s3):
    """A missing bucket of the source is found before such an engine is asked."""
    spark = object()
    with marked(spark), pytest.raises(SourceError, match="there is no bucket attic"):
        open_source(spark, Source(path="s3://attic/rows"))


def test_an_engine_with_rights_of_its_own_may_write_delta(s3, caplog, monkeypatch):
    """What this process cannot reach, a given session's engine may: a Delta output is left to it, with a warning."""
    monkeypatch.setattr(sink, "check_types", lambda frame, output: None)  # there is no frame here
    delta, other = (Output(path="s3://attic/out", format=format_) for format_ in ("delta", "parquet"))
    spark, source = object(), Source(path="s3://attic/rows")
    caplog.set_level("WARNING", "vae_model")
    sink.check_output(spark, source, delta, None, [])
    assert "there is no bucket attic" in caplog.text
    with pytest.raises(OutputError, match="there is no bucket attic"):
        sink.check_output(spark, source, other, None, [])  # a folder of Parquet is swapped in by this process
    with marked(spark), pytest.raises(OutputError, match="there is no bucket attic"):
        sink.check_output(spark, source, delta, None, [])


def test_what_lies_on_a_store_is_seen(lake):
    """Parquet, Delta, single files and nothing are told apart, and so is the output from the source."""
    lake.put("delta/_delta_log/0.json", b"")
    lake.put("delta/x.parquet", b"")
    for path, format_ in {
        "rows": "parquet",
        "delta": "delta",
        "job.yaml": "yaml",
        "rows/part0.parquet": "parquet",
    }.items():
        assert files.present_format(f"{LAKE}/{path}") == format_
    assert files.present_format(f"{LAKE}/nothing") is None
    with pytest.raises(OutputError, match="same place"):
        sink.check_output(None, Source(path=f"{LAKE}/rows"), Output(path=f"s3a://{BUCKET}/rows/"), None, [])


# --- The swap of a Parquet folder where nothing can be renamed


class Frame:
    """As much of a DataFrame as is written: an engine that puts files in a folder, or fails after the first."""

    def __init__(self, *names, fails=False):
        self.names, self.fails = names, fails
        self.write = self.read = self.sparkSession = self
        self.columns = ["id"]

    def format(self, *_):
        """Of Spark's writer."""
        return self

    mode = option = parquet = load = format

    def save(self, path):
        """Put the files."""
        fs, inner = files.locate(path)
        for name in self.names:
            fs.pipe_file(f"{inner}/{name}", name.encode())
            if self.fails:
                raise RuntimeError("a task failed")


@pytest.fixture
def without_an_engine(monkeypatch):
    """Frames here are no engine's, and have no columns to put in order."""
    monkeypatch.setattr(staged_files, "engine_of", lambda _: Engine())
    monkeypatch.setattr(parquet_sink, "existing", lambda *_: None)
    monkeypatch.setattr(sliced, "as_folders", lambda frame, _: frame)


def write(frame, output, run="a run"):
    """Write as the sink does."""
    Parquet().write(frame, Writing(output, Stamp(run)))


@pytest.fixture(params=["memory", "s3"])
def output(request, without_an_engine):
    """A Parquet output on a store without renames, with a previous run's rows in it."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        path = f"{LAKE}/out"
    else:
        fsspec.filesystem("memory").store.clear()
        path = "memory://out"
    write(Frame("old0.parquet", "old1.parquet", "_SUCCESS"), Output(path=path, format="parquet"), "an earlier run")
    return Output(path=path, format="parquet")


def holds(output):
    """What lies in the output beside a run's stamp, whatever the run's prefix; the bytes are as the names say."""
    fs, inner = files.locate(output.path)
    names = [name.removeprefix(f"{inner}/") for name in fs.find(inner)]
    names.remove(STAMP)
    for name in names:
        assert fs.cat_file(f"{inner}/{name}") == name.rpartition("-")[2].encode()
    return sorted(name.rpartition("-")[2] for name in names)


def added(output):
    """The same output, to be added to."""
    return output.model_copy(update={"mode": "append"})


def test_the_new_rows_take_the_place_of_the_old(output):
    """Replacing leaves the new files alone, under names of their own, and the mark of success; appending adds a run's
    files once.
    """
    write(Frame("new.parquet", "_SUCCESS", "_temporary/x"), output)
    assert holds(output) == ["_SUCCESS", "new.parquet"]
    for _ in range(2):
        write(Frame("new.parquet", "more.parquet"), added(output), "another run")
        assert holds(output) == ["_SUCCESS", "more.parquet", "new.parquet", "new.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("append", [False, True])
def test_an_engine_that_fails_changes_nothing(output, append):
    """A task that fails half-way leaves the previous rows, and nothing staged."""
    with pytest.raises(RuntimeError, match="a task failed"):
        write(Frame("new0.parquet", "new1.parquet", fails=True), added(output) if append else output)
    assert holds(output) == ["_SUCCESS", "old0.parquet", "old1.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("failure", [OSError("the store is gone"), KeyboardInterrupt()])
def test_a_swap_that_fails_is_undone(output, append, failure, monkeypatch):
    """Copies that fail, or are interrupted, are taken back: the previous rows are there, and nothing else."""
    fs, _ = files.locate(output.path)
    real = fs.cp_file

    def cp_file(source, target):
        if source.endswith("new3.parquet"):
            raise failure
        real(source, target)

    monkeypatch.setattr(fs, "cp_file", cp_file)
    with pytest.raises(StorageError if isinstance(failure, OSError) else KeyboardInterrupt):
        write(Frame(*(f"new{i}.parquet" for i in range(5))), added(output) if append else output)
    assert holds(output) == ["_SUCCESS", "old0.parquet", "old1.parquet"]


@pytest.mark.slow
def test_someone_who_may_not_delete_is_told_what_was_left(s3, without_an_engine, monkeypatch):
    """Previous rows that may not be deleted stay beside the new ones, and the message says so."""
    output = Output(path=f"{LAKE}/out", format="parquet")
    write(Frame("old.parquet"), output)
    with only_allowed(s3, "s3:GetObject", "s3:ListBucket", "s3:PutObject"), pytest.raises(JobError) as caught:
        write(Frame("new.parquet"), output)
    message = str(caught.value)
    assert message.startswith(f"The previous rows of {LAKE}/out could not all be removed")
    assert "Access Denied" in message and "then run again" in message
    kept = [key for key in s3.keys("out/") if STAGED not in key and STAMP not in key]
    assert sorted(key.rpartition("-")[2] for key in kept) == ["new.parquet", "old.parquet"]
    monkeypatch.setattr(marks, "_is_running", lambda *_: False)  # its process has ended
    write(Frame("newer.parquet"), output)  # with all rights again
    assert holds(output) == ["newer.parquet"]


@pytest.mark.parametrize("append", [False, True])
def test_leftovers_of_dead_runs_are_swept(output, append):
    """What a dead run was adding is taken back, what it was to remove is removed; a live run's folder stays."""
    fs, inner = files.locate(output.path)
    half, whole = (other(marks.new(), pid=pid) for pid in ("999999998", "999999999"))
    live = f"{inner}/{STAGED}{marks.new()}/x.parquet"
    left = {f"{inner}/{STAGED}{half}/_adding": b"", f"{inner}/{half}-half.parquet": b"half.parquet", live: b""}
    left |= {f"{inner}/{STAGED}{whole}/{name}": b'["gone.parquet"]' for name in ("_adding", "_added")}
    left |= {f"{inner}/{whole}-whole.parquet": b"whole.parquet", f"{inner}/gone.parquet": b""}
    for name, data in left.items():
        fs.pipe_file(name, data)
    write(Frame("new.parquet"), added(output) if append else output)
    assert fs.exists(live)
    fs.rm_file(live)
    before = ["_SUCCESS", "new.parquet", "old0.parquet", "old1.parquet", "whole.parquet"]
    assert holds(output) == (before if append else ["new.parquet"])


def test_two_jobs_at_once_are_told(output, monkeypatch):
    """Where another run's files appear while this one's are put in place, this one's are taken back: try again."""
    fs, inner = files.locate(output.path)
    real = fs.cp_file

    def cp_file(source, target):
        fs.pipe_file(f"{inner}/another.parquet", b"another.parquet")
        real(source, target)

    monkeypatch.setattr(fs, "cp_file", cp_file)
    with pytest.raises(JobError, match="Another job writes") as caught:
        write(Frame("new.parquet"), output)
    assert caught.value.exit_code == 4
    assert holds(output) == ["_SUCCESS", "another.parquet", "old0.parquet", "old1.parquet"]
