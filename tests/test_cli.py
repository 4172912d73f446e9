"""The command line on the embedded engine: what a person gets, and what bad input is answered with."""

import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from vae_model import Config, Detector
from vae_model import cli as cli_module
from vae_model.cli import app, guarded
from vae_model.runs.versions import Versions
from vae_model.scoring.scorer import Scorer

CONFIG = """
name: pumps
engine: sail
source: {{path: {tmp}/pumps.parquet}}
key: [id]
train: {{normal: pressure < 100, rows: 1000}}
model: {{path: {tmp}/pumps.vae, steps: 60}}
decision: {{false_alarm_rate: 0.01}}
output: {{path: {tmp}/scored, format: parquet}}
"""


def pumps(rows=600):
    """A pump's readings, with one pressure no pump has."""
    random = np.random.default_rng(0)
    flow = random.normal(10, 2, rows)
    pressure = 3 * flow + random.normal(0, 0.3, rows)
    pressure[17] = 4000
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "flow": flow,
            "pressure": pressure,
            "valve": random.choice(["open", "shut"], rows),
            "constant": 1,
        }
    )


@pytest.fixture
def place(tmp_path, monkeypatch, no_session):
    """A folder with a table and a config."""
    monkeypatch.chdir(tmp_path)
    pumps().to_parquet(tmp_path / "pumps.parquet", index=False)
    (tmp_path / "pumps.yaml").write_text(CONFIG.format(tmp=tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def model():
    """The bytes of a model of the pumps: what `train` makes, without an engine."""
    settings = {"name": "pumps", "key": ["id"], "model": {"steps": 60}, "decision": {"false_alarm_rate": 0.01}}
    return Detector(Config.model_validate(settings)).fit(pumps().query("pressure < 100")).to_bytes()


@pytest.fixture
def trained(place, model):
    """The folder with the model file in it."""
    (place / "pumps.vae").write_bytes(model)
    return place


@pytest.fixture
def cli(capsys):
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments):
        code = guarded(lambda: app([str(a) for a in arguments]))
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.slow
def test_run_ends_with_a_summary_a_person_understands(place, cli):
    """`run` trains, scores, and says rows, anomalies, rate, the top rows with reasons, the place and the SQL."""
    code, out, _ = cli("run", "--config", place / "pumps.yaml")
    assert code == 0
    scored = pd.read_parquet(place / "scored")
    flagged = int(scored["is_anomaly"].sum())
    counted = "1 anomaly" if flagged == 1 else f"{flagged} anomalies"
    assert f"Scored 600 rows: {counted} ({flagged / 600:.3%}). Status: 600 ok." in out
    assert scored.sort_values("anomaly_score").iloc[-1]["id"] == 17
    first = out.split("share of the score")[1].strip().splitlines()[0]
    assert first.startswith("17 ") and "pressure 4000 (" in first
    assert f"Output: {place}/scored" in out
    assert "SELECT `id`, anomaly_score, anomaly_reasons FROM parquet.`" in out
    assert "constant" in out and "constant 1" in out


@pytest.mark.slow
def test_the_same_run_gives_the_same_model_and_the_same_scores(place, cli):
    """Running again changes neither the model's bytes nor a score."""
    cli("run", "--config", place / "pumps.yaml")
    model, scored = (place / "pumps.vae").read_bytes(), pd.read_parquet(place / "scored")
    cli("run", "--config", place / "pumps.yaml")
    assert (place / "pumps.vae").read_bytes() == model
    again = pd.read_parquet(place / "scored")
    for frame in (scored, again):
        frame.sort_values("id", inplace=True, ignore_index=True)
    pd.testing.assert_frame_equal(again, scored)


@pytest.mark.slow
def test_train_then_score_in_two_steps(place, cli):
    """`train` writes the model alone, `score` uses it, and `inspect` tells what is in it."""
    assert cli("train", "--config", place / "pumps.yaml")[0] == 0
    assert not (place / "scored").exists()
    assert cli("score", "--config", place / "pumps.yaml")[0] == 0
    code, out, _ = cli("inspect", place / "pumps.vae")
    assert code == 0
    digest = pd.read_parquet(place / "scored")["anomaly_model"].iloc[0].partition("@")[2]
    assert f"SHA-256 {digest}" in out
    for word in ("pressure < 100", "numeric", "valve", "categorical", "2 values (", "format version 6", "torch"):
        assert word in out


def test_set_overrides_the_file(place, cli):
    """--set changes one key, the value in YAML; several add up."""
    options = ("--set", "output.prefix=vae_", "--set", "decision.false_alarm_rate=0.05", "--set", "model.steps=50")
    assert cli("run", "--config", place / "pumps.yaml", *options)[0] == 0
    scored = pd.read_parquet(place / "scored")
    assert {"vae_is_anomaly", "vae_anomaly_score"} <= set(scored.columns)
    assert 600 * 0.05 / 3 < scored["vae_is_anomaly"].sum() < 600 * 0.05 * 3


@pytest.mark.slow
def test_a_run_that_flags_nothing_says_what_would(place, cli):
    """Where no row is flagged the summary says so, and `score` with another decision flags some without training."""
    strict = "decision={threshold: 1e9}"
    code, out, _ = cli("run", "--config", place / "pumps.yaml", "--set", strict)
    assert code == 0 and "Scored 600 rows: 0 anomalies (0.000%)" in out
    assert re.search(r"No row is flagged: the highest score, [\d,.]+, is not above the cut of 1e\+09\.", out)
    first = out.split("share of the score")[1].strip().splitlines()[0]
    assert re.match(r"17 +[\d,.]+ +no +pressure 4000 \(", first)
    code, out, _ = cli("score", "--config", place / "pumps.yaml", "--set", "decision={false_alarm_rate: 0.05}")
    assert code == 0 and "No row is flagged" not in out and "17 " in out


def test_json_logs_are_json(place, cli):
    """With --log json every line is a JSON object, the summary among them, and nothing else is printed."""
    code, out, err = cli("run", "--config", place / "pumps.yaml", "--log", "json")
    assert code == 0 and out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    scored = next(line for line in lines if line["message"] == "Scored")
    assert scored["rows"] == 600
    assert scored["top"][0]["reasons"][0]["feature"] == "pressure"
    assert [row["is_anomaly"] for row in scored["top"]] == [True] * scored["anomalies"] + [False] * (
        10 - scored["anomalies"]
    )
    trained = next(line for line in lines if line["message"] == "Trained")
    assert all(trained[name] == scored[name] for name in ("cut", "resulting_rate", "finest_rate"))
    stages = {line["stage"]: line for line in lines if "stage" in line}
    assert {stage: line["rows"] for stage, line in stages.items()} == {
        "sampling": 599, "training": 467, "drift": 600, "scoring": 600,
    }  # fmt: skip
    assert all(line["seconds"] >= 0 and line["rows_per_second"] > 0 for line in stages.values())


@pytest.mark.slow
def test_init_writes_a_config_that_runs(place, cli):
    """`init` looks at a table, takes its key and leaves constants out with the reason; the config runs as it is."""
    code, out, _ = cli("init", "--source", place / "pumps.parquet", "--output", place / "new.yaml")
    assert code == 0 and "Wrote" in out
    text = (place / "new.yaml").read_text()
    assert "key: [id]  # looks like an identifier: " in text
    assert "    - constant  # constant" in text
    assert "    valve: categorical  # string, 2 distinct values" in text
    assert cli("run", "--config", place / "new.yaml", "--set", "model.steps=50")[0] == 0
    assert (place / "scored" / "pumps" / "_delta_log").exists()
    code, _, err = cli("init", "--source", place / "pumps.parquet", "--output", place / "new.yaml")
    assert code == 2 and "--force" in err
    assert (place / "new.yaml").read_text() == text


def test_init_quotes_odd_names(place, cli):
    """Column names with colons, hashes, quotes and words that YAML reads otherwise come back as they are."""
    from vae_model import load_config

    odd = ["a: b", "#c", 'quo"te', "no", "null", "1", "ümlaut", "line\nbreak"]
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=50) for name in odd})
    frame["same: #1"] = 1
    frame["{{ day }}"] = 1
    frame.to_parquet(place / "odd.parquet")
    assert cli("init", "--source", place / "odd.parquet", "--output", place / "odd.yaml", "--engine", "sail")[0] == 0
    config = load_config(place / "odd.yaml")
    assert list(config.features.kinds) == odd
    assert config.features.exclude == ["same: #1", "{{ day }}"]


def test_validate_writes_nothing(place, cli, model):
    """`validate` says what is in order before and after training, and leaves no file."""
    before = sorted(place.rglob("*"))
    code, out, _ = cli("validate", "--config", place / "pumps.yaml")
    assert code == 0 and "model   none yet" in out and "output  ok" in out
    assert sorted(place.rglob("*")) == before
    (place / "pumps.vae").write_bytes(model)
    assert "model   ok: pumps@" in cli("validate", "--config", place / "pumps.yaml")[1]


def test_a_parameter_chooses_rows_and_place(trained, cli):
    """`--param` fills a predicate with a literal and a path with a name: a day's rows go to the day's folder."""
    options = [
        "--set",
        "source.where=valve = {{ valve }} AND flow > {{ low }}",
        "--set",
        "output.path=scored/{{ valve }}",
    ]
    code, _, err = cli(
        "score", "--config", trained / "pumps.yaml", *options, "--param", "valve=shut", "--param", "low=10"
    )
    assert code == 0, err
    scored = pd.read_parquet(trained / "scored" / "shut")
    expected = pumps().query("valve == 'shut' and flow > 10")
    assert sorted(scored["id"]) == sorted(expected["id"])


BAD = {
    "unknown key": (["--set", "decision.false_alarm_rat=0.1"], ["unknown key; did you mean 'false_alarm_rate'?"]),
    "wrong type": (["--set", "train.rows=many"], ["train.rows:", "'many'"]),
    "contradiction": (["--set", "source.table=x"], ["either 'path' or 'table'"]),
    "no source": (["--set", "source.path=nowhere.parquet"], ["cannot be opened", "Nothing is there"]),
    "predicate": (["--set", "train.normal='pressure <> <'"], ["train.normal", "'pressure <> <'"]),
    "too few normal": (["--set", "train.normal=pressure > 100"], ["Too few normal rows", "found: 1 row"]),
    "missing column": (["--set", "features.include=[flwo]"], ["'flwo' is not in the table; did you mean 'flow'?"]),
    "kind": (["--set", "features.kinds={valve: numeric}"], ["'valve' cannot be numeric", "found string"]),
    "same place": (["--set", "output.path=pumps.parquet"], ["same place as source"]),
    "format": (["--set", "output.format=delta"], ["expected: delta, or nothing", "found: parquet"]),
    "output not writable": (["--set", "output.path=pumps.yaml/x"], ["cannot be written"]),
    "model not writable": (["--set", "model.path=pumps.yaml/x"], ["cannot be written"]),
    "no parameter": (["--set", "source.where=flow > {{ low }}"], ["source.where: no value is given for {{ low }}"]),
    "idle parameter": (["--param", "ds=2026-01-01"], ["parameter 'ds': nothing in the config has {{ ds }}"]),
    "quoted parameter": (
        ["--set", "source.where=\"valve = '{{ v }}'\"", "--param", "v=open"],
        ["source.where: {{ v }}", "without quotes"],
    ),
    "connect without address": (["--set", "engine=connect"], ["SPARK_REMOTE"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_exit_code_2(place, cli, monkeypatch, case):
    """Bad input ends with exit code 2 and a message; the previous model and output are as they were."""
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    (place / "pumps.vae").write_bytes(b"the previous model")
    (place / "scored").mkdir()
    pd.DataFrame({"previous": [1]}).to_parquet(place / "scored" / "part.parquet")
    options, words = BAD[case]
    code, out, err = cli("run", "--config", place / "pumps.yaml", *options)
    assert code == 2
    message = out + err
    for word in words:
        assert word in message
    assert "Traceback" not in message and "\tat org." not in message
    assert (place / "pumps.vae").read_bytes() == b"the previous model"
    assert pd.read_parquet(place / "scored").to_dict("list") == {"previous": [1]}


def test_a_connect_server_that_is_not_there_is_told_within_seconds(place, cli, monkeypatch):
    """Nobody at the address in SPARK_REMOTE is an error at once, and a token in the address is not shown."""
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:9/;token=secret")
    code, out, err = cli("run", "--config", place / "pumps.yaml", "--set", "engine=connect")
    assert code == 4 and "Error (try again): The Spark Connect server does not answer" in err
    assert "secret" not in out + err


@pytest.mark.slow
def test_a_row_that_cannot_be_scored_is_bad_input(place, cli):
    """A fault of the data that only a worker meets ends with exit code 2, in the worker's words, each once."""
    rows = pumps().assign(curve=[[1.0, 2.0 + i % 7, 3.0] for i in range(600)])
    rows.to_parquet(place / "pumps.parquet", index=False)
    assert cli("run", "--config", place / "pumps.yaml")[0] == 0
    before = pd.read_parquet(place / "scored")
    rows["curve"] = [curve if i != 400 else curve[:2] for i, curve in enumerate(rows["curve"])]
    rows.to_parquet(place / "pumps.parquet", index=False)
    code, _, err = cli("score", "--config", place / "pumps.yaml", "--log", "plain")
    assert code == 2
    assert "Error: Column 'curve' holds arrays of different lengths.\n  expected: arrays of 3 numbers\n" in err
    assert err.count("found:") == 1 and f"{place}/scored is as it was." in err
    pd.testing.assert_frame_equal(pd.read_parquet(place / "scored"), before)


def test_a_job_that_fails_while_it_runs_exits_with_1(trained, cli, monkeypatch):
    """A fault of the job itself, in the midst of scoring, is neither bad input nor worth another try."""

    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Scorer, "__call__", fail)  # the embedded engine's workers are this process
    code, _, err = cli("score", "--config", trained / "pumps.yaml")
    assert code == 1
    assert "Error: Scoring" in err and "a bug" in err and "is as it was before" in err
    assert not (trained / "scored").exists()


@pytest.mark.slow
def test_a_commit_lost_to_another_writer_is_worth_another_try(trained, cli, monkeypatch):
    """What an engine says of a conflict is tried again a few times, each said, and ends with exit code 4."""

    def fail(*_):
        raise RuntimeError("Failed to commit transaction: 0")

    monkeypatch.setattr(Scorer, "__call__", fail)
    monkeypatch.setattr("vae_model.spark.jobs.tries.WAIT", 0.01)
    code, _, err = cli("score", "--config", trained / "pumps.yaml", "--log", "plain")
    assert code == 4 and f"Error (try again): Another run wrote to {trained}/scored while this one did" in err
    assert re.findall(r"try (\d) of 5", err) == ["2", "3", "4", "5"]


def test_lost_workers_are_worth_another_try(trained, cli, monkeypatch):
    """What an engine says of lost workers or of a server that is silent ends with exit code 4, at once."""

    def fail(*_):
        raise RuntimeError("Connection refused")

    monkeypatch.setattr(Scorer, "__call__", fail)
    code, _, err = cli("score", "--config", trained / "pumps.yaml", "--log", "plain")
    assert code == 4 and "Error (try again): Scoring" in err and "try 2 of" not in err


def test_rows_that_are_written_are_no_failure(trained, cli, monkeypatch):
    """A summary that cannot be read, after the rows are written, is a warning: trying again would write them twice."""

    def fail(*_):
        raise RuntimeError("Connection refused")

    monkeypatch.setattr("vae_model.spark.jobs.score.summarise", fail)
    code, out, err = cli("score", "--config", trained / "pumps.yaml", "--log", "plain")
    assert code == 0 and f"Output: {trained}/scored" in out
    assert "No summary: the rows are written" in err and "Stage scoring: seconds" in err
    assert len(pd.read_parquet(trained / "scored")) == 600


def test_the_config_file_itself(place, cli):
    """A missing, malformed or half-written config file is named; no engine is started for it."""
    assert "does not exist" in cli("run", "--config", place / "none.yaml")[2]
    (place / "bad.yaml").write_text("source: [")
    code, _, err = cli("run", "--config", place / "bad.yaml")
    assert code == 2 and "is not valid YAML" in err
    (place / "half.yaml").write_text("name: x\nsource: {path: pumps.parquet}\n")
    code, _, err = cli("run", "--config", place / "half.yaml")
    assert code == 2 and "The config lacks 'model.path'" in err and "'output'" in err


def test_a_model_file_that_cannot_be_used(place, cli, model):
    """A missing, truncated, altered or foreign model file is an error before an engine starts."""
    score = ("score", "--config", place / "pumps.yaml")
    assert "does not exist" in cli(*score)[2]
    flipped = bytearray(model)
    flipped[len(model) // 2] ^= 1
    cases = {"truncated": model[:-100], "altered": bytes(flipped), "not a model file": pickle.dumps({"a": 1})}
    for word, data in cases.items():
        (place / "pumps.vae").write_bytes(data)
        code, _, err = cli(*score)
        assert code == 2 and word in err
    assert not (place / "scored").exists()


def test_a_retyped_column_at_scoring_time(trained, cli):
    """A column that changed its type since training is named with expected and found; nothing is written."""
    changed = pumps().astype({"flow": str}).rename(columns={"valve": "valves"})
    changed.to_parquet(trained / "pumps.parquet", index=False)
    code, _, err = cli("score", "--config", trained / "pumps.yaml")
    assert code == 2
    assert "column 'flow': expected float (numeric when the model was trained), found string" in err
    assert "column 'valve' is not in the table; did you mean 'valves'?" in err
    assert not (trained / "scored").exists()


@pytest.mark.slow
def test_one_row_is_scored_and_no_row_is_nothing_to_score(trained, cli):
    """A table of one row is scored; an empty one ends with the exit code that schedulers take for "skip"."""
    score = ("score", "--config", trained / "pumps.yaml", "--set")
    code, out, _ = cli(*score, "source.where=id = 17")
    assert code == 0 and "Scored 1 row: 1 anomaly (100.000%)" in out and "\nThe highest score:\n" in out
    code, _, err = cli(*score, "source.where=id < 0")
    assert code == 99 and "There is no row to score" in err


@pytest.mark.slow
def test_odd_columns_are_trained_around_and_reported(place, cli):
    """All-null columns, constants, infinities and NaN are no error: they are named in the log and the row's status."""
    odd = pumps()
    odd["nothing"] = pd.Series([None] * len(odd), dtype="float64")
    odd.loc[3, "flow"], odd.loc[4, "flow"] = np.inf, np.nan
    odd.to_parquet(place / "pumps.parquet", index=False)
    code, _, err = cli("run", "--config", place / "pumps.yaml", "--log", "plain")
    assert code == 0
    for word in ("nothing: not used, all null", "constant: constant in the training rows", "flow inf (expected"):
        assert word in err
    scored = pd.read_parquet(place / "scored").set_index("id")
    assert scored.loc[[3, 4, 5], "anomaly_status"].tolist() == ["non_finite", "ok", "ok"]
    assert scored["is_anomaly"].notna().all()


@pytest.mark.slow
def test_help_names_every_command(cli):
    """The installed script shows its commands, and an unknown option ends with exit code 2."""
    script = [sys.executable, "-m", "vae_model.cli"]
    shown = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^\W*([a-z]+)  +\w", shown.partition("Commands")[2], re.MULTILINE)
    names = ["evaluate", "init", "inspect", "models", "report", "run", "runs", "score", "train", "validate", "views"]
    assert sorted(listed) == names
    assert cli("run", "--confg", "x")[0] == 2


@pytest.mark.slow
def test_scoring_in_a_fresh_process_imports_no_torch(trained, cli):
    """`score` with the embedded engine never loads torch."""
    code = (
        "import sys; from vae_model.cli import main; main(sys.argv[1:]);print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", "--config", "pumps.yaml"], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().splitlines()[-1] == "False"


# --- Versions of a model


@pytest.fixture
def versions(place, model):
    """The folder with a config whose model is a folder of two versions, the second in use."""
    text = (place / "pumps.yaml").read_text().replace("pumps.vae", "models/")
    (place / "pumps.yaml").write_text(text)
    kept = Versions(str(place / "models"))
    settings = {"name": "pumps", "key": ["id"], "model": {"steps": 5}, "decision": {"threshold": 7}}
    other = Detector(Config.model_validate(settings)).fit(pumps().query("pressure < 100")).to_bytes()
    for data in (other, model):
        digest = Detector.from_bytes(data).header["sha256"]
        kept.promote(kept.add(data, digest), digest, "a test")
    return place


def test_models_lists_the_versions(versions, cli):
    """The newest first: which is in use, of what model, on how many rows, by which decision, in which file."""
    code, out, _ = cli("models", "--config", versions / "pumps.yaml")
    assert code == 0
    second, first = (line.split() for line in out.splitlines()[2:4])
    assert second[:2] == ["2", "current"] and first[:2] == ["1", "previous"]
    assert {"false_alarm_rate", "0.01"} < set(second) and {"threshold", "7"} < set(first)
    for line in (first, second):
        digits = line[2].partition("@")[2]
        assert line[-1] == f"00000{line[0]}-{digits}.vae" and (versions / "models" / line[-1]).exists()
    assert re.search(r"^Current: version 2, since \d{4}-\d\d-\d\d \d\d:\d\d UTC: a test\.$", out, re.MULTILINE)


def test_models_of_a_config_with_parameters(versions, cli):
    """The config of a daily job is filled for this command too."""
    config = versions / "daily.yaml"
    config.write_text((versions / "pumps.yaml").read_text().replace("name: pumps", 'name: "{{ site }}"'))
    assert cli("models", "--config", config)[0] == 2
    code, out, _ = cli("models", "--config", config, "--param", "site=north")
    assert code == 0 and "Current: version 2" in out


def test_models_as_json(versions, cli):
    """--json prints the same as one JSON document."""
    code, out, _ = cli("models", "--config", versions / "pumps.yaml", "--json")
    told = json.loads(out)
    assert code == 0
    assert [(one["number"], one["use"]) for one in told["versions"]] == [(2, "current"), (1, "previous")]
    assert told["current"]["file"] == told["versions"][0]["file"]
    assert told["versions"][1]["decision"] == "threshold 7" and told["versions"][0]["rows"] > 400
    assert pd.Timestamp(told["current"]["since"]).tz is not None


@pytest.mark.slow
def test_a_version_is_promoted_and_rolled_back(versions, cli):
    """--promote takes a version into use by number or digest, --rollback the one that was before; `score` uses it."""
    config = versions / "pumps.yaml"

    def used():
        assert cli("score", "--config", config)[0] == 0
        (name,) = set(pd.read_parquet(versions / "scored")["anomaly_model"])
        return name

    before = used()
    assert cli("models", "--config", config, "--promote", 1)[0] == 0
    after = used()
    assert after != before
    assert cli("models", "--config", config, "--rollback")[0] == 0
    assert used() == before
    assert cli("models", "--config", config, "--promote", after)[0] == 0
    assert used() == after
    assert cli("score", "--config", config, "--set", "model.version=2")[0] == 0
    assert set(pd.read_parquet(versions / "scored")["anomaly_model"]) == {before}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--promote", "3"], ["no version 3", "found: 000001-"]),
        (["--promote", "../m"], ["no version of a model"]),
        (["--promote", "1", "--rollback"], ["two things"]),
        (["--set", "model.path=m.vae"], ["model.path is one file"]),
        (["--set", "model.path=null"], ["lacks 'model.path'"]),
    ],
)
def test_what_models_cannot_do(versions, cli, options, words):
    """What is not there, or no version, is an error; what is in use stays."""
    before = (versions / "models" / "current.json").read_bytes()
    code, out, err = cli("models", "--config", versions / "pumps.yaml", *options)
    assert code == 2 and out == ""
    assert all(word in err for word in words)
    assert (versions / "models" / "current.json").read_bytes() == before


def test_a_damaged_version_is_told_and_never_used(versions, cli):
    """It is listed with what is wrong, and neither promoted nor gone back to."""
    (damaged,) = (versions / "models").glob("000001-*.vae")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    config = versions / "pumps.yaml"
    code, out, _ = cli("models", "--config", config)
    assert code == 0 and f"Version 1 cannot be used: Model file {damaged} is truncated." in out
    for options in (["--promote", "1"], ["--rollback"]):
        code, _, err = cli("models", "--config", config, *options)
        assert code == 2 and "is truncated" in err
    assert "Current: version 2" in cli("models", "--config", config)[1]


def test_an_empty_folder_has_no_versions(place, cli):
    """Before the first training the list says how to come by one."""
    code, out, _ = cli("models", "--config", place / "pumps.yaml", "--set", "model.path=models/")
    assert code == 0 and "No version of the model in models yet. `vae-anomaly train" in out


@pytest.mark.slow
def test_a_run_whose_version_is_refused_scores_nothing(versions, cli):
    """`run` ends with exit code 3 and one message with the figures; output and version in use are as they were."""
    config = versions / "pumps.yaml"
    assert cli("score", "--config", config)[0] == 0
    before = {file: file.stat().st_mtime_ns for file in (versions / "scored").iterdir()}
    code, out, err = cli(
        "run", "--config", config, "--set", "model.steps=1", "--set", "train.accept_if.max_score_loss=0.05"
    )
    assert code == 3 and out == ""
    assert re.search(r"Error: The new version 000003-\w{12}\.vae is not taken into use: pumps@\w{12} stays\.", err)
    assert "nats a value" in err and "--promote" in err
    assert {file: file.stat().st_mtime_ns for file in (versions / "scored").iterdir()} == before
    assert "Current: version 2" in cli("models", "--config", config)[1]


def test_a_pinned_version_scores_whatever_is_trained(versions, cli):
    """`run` with model.version trains a new version and takes it into use, but scores with the pinned one."""
    config = versions / "pumps.yaml"
    assert cli("run", "--config", config, "--set", "model.version=1", "--set", "model.steps=3")[0] == 0
    (first,) = (versions / "models").glob("000001-*.vae")
    assert set(pd.read_parquet(versions / "scored")["anomaly_model"]) == {f"pumps@{first.stem[7:]}"}
    assert "Current: version 3" in cli("models", "--config", config)[1]


# --- Runs and their records


@pytest.mark.slow
def test_runs_shows_what_ran(trained, cli):
    """`runs` prints a line for each run, the latest first, and why one came to nothing; with --json a record a line."""
    config = ("--config", trained / "pumps.yaml")
    assert cli("runs", *config)[1] == "No run yet.\n"
    cli("score", *config, "--run-id", "monday")
    cli("score", *config, "--run-id", "tuesday", "--set", "source.where=id < 0")
    code, out, _ = cli("runs", *config)
    assert code == 0
    lines = [line for line in out.splitlines() if "day" in line]
    assert [re.search("(tues|mon)day", line)[0] for line in lines[:2]] == ["tuesday", "monday"]
    assert re.search(r"monday +score +succeeded +600 +\d+ +pumps@", lines[1]) and " skipped " in lines[0]
    assert "tuesday: There is no row to score." in out
    code, out, _ = cli("runs", *config, "--last", "1", "--json")
    assert [json.loads(line)["run_id"] for line in out.splitlines()] == ["tuesday"]
    code, _, err = cli("runs", *config, "--set", "runs=none")
    assert code == 2 and "keeps no record of runs" in err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "score", "run"])
def test_a_scheduler_reads_the_record(trained, cli, command):
    """`--result` writes the run's record as one JSON document, and it is the last line of `--log json`."""
    options = ("--run-id", "it's `1`", "--result", trained / "record.json", "--log", "json")
    code, _, err = cli(command, "--config", trained / "pumps.yaml", *options)
    assert code == 0
    record = json.loads((trained / "record.json").read_text())
    assert (record["run_id"], record["status"], record["command"]) == ("it's `1`", "succeeded", command)
    last = json.loads(err.splitlines()[-1])
    assert {name: last[name] for name in record} == {**record, "message": "Run succeeded"}  # the line's own
    if command != "train":
        assert (record["rows_read"], record["rows_scored"]) == (600, 600)
        assert set(pd.read_parquet(trained / "scored")["anomaly_run"]) == {"it's `1`"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "status", "code"), [("source.where=id < 0", "skipped", 99), ("source.path=nowhere", "failed", 2)]
)
def test_a_run_that_comes_to_nothing_has_a_result_too(trained, cli, option, status, code):
    """The record says how it ended and why; the exit code is as ever."""
    ended = cli("score", "--config", trained / "pumps.yaml", "--set", option, "--result", trained / "r.json")
    record = json.loads((trained / "r.json").read_text())
    assert (ended[0], record["status"]) == (code, status)
    assert record["message"] and record["run_id"]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["source.where=id < 0", "source.path=nowhere", "model.path=nowhere.vae"])
def test_the_record_of_a_failure_is_the_last_line_of_a_json_log(trained, cli, option):
    """No other text comes after it, nor stands between the lines."""
    code, _, err = cli("score", "--config", trained / "pumps.yaml", "--set", option, "--log", "json", "--run-id", "a")
    lines = [json.loads(line) for line in err.splitlines()]
    assert code in (2, 99) and lines[-1]["run_id"] == "a" and lines[-1]["status"] in ("failed", "skipped")
    assert lines[-1]["message"].split("\\n")[0]


def test_a_result_that_cannot_be_written_is_told_before_any_work(trained, cli):
    """Not by a run that is done and cannot say so."""
    code, out, err = cli("score", "--config", trained / "pumps.yaml", "--result", trained / "pumps.yaml" / "r.json")
    assert code == 2 and out == "" and "cannot be written" in err
    assert not (trained / "scored").exists()


@pytest.mark.slow
def test_validate_says_what_a_mode_promises(trained, cli):
    """For the pair of format and mode that the config has; and where the runs are recorded."""
    out = cli("validate", "--config", trained / "pumps.yaml")[1]
    assert "promise Where folders can be exchanged, one step" in out and f"runs    ok: {trained}/scored_runs" in out
    code, out, _ = cli("validate", "--config", trained / "pumps.yaml", "--set", "output.mode=append")
    assert code == 0 and "promise A run's rows are there once" in out
    code, _, err = cli("validate", "--config", trained / "pumps.yaml", "--set", "output.mode=merge")
    assert code == 2 and "expected: for parquet paths on Sail: replace or append or replace_where" in err


# --- What the model finds, and what other decisions would flag


@pytest.fixture
def evaluating():
    """The detectors that a model is held against come with an extra."""
    pytest.importorskip("sklearn", reason="an extra that not every environment has")


@pytest.mark.slow
def test_evaluate_says_what_is_found(place, cli, evaluating):
    """A table of detectors, kinds and columns, a verdict, and all of it in one document; no file but that."""
    code, out, err = cli("evaluate", "--config", "pumps.yaml", "--result", "found.json")
    assert code == 0, err
    assert "trained for this and not kept" in out and re.search(r"^ this model +\d+ %", out, re.MULTILINE)
    assert [line for line in out.splitlines() if line.startswith("Verdict: On this table ")]
    assert {file.name for file in place.iterdir()} == {"pumps.parquet", "pumps.yaml", "found.json"}
    told = json.loads((place / "found.json").read_text())
    assert (told["command"], told["status"], "what_if" in told) == ("evaluate", "succeeded", False)
    own = told["evaluation"]
    assert f"Verdict: {own['verdict']}" in out
    assert {one["name"] for one in own["decided"]["by_column"]} == {"flow", "pressure", "valve", "constant"}
    assert own["detectors"][0]["by_kind"]["x1000"] == 1


def test_evaluate_by_a_label(trained, cli, evaluating):
    """By a value that is named; the model is another than the config's."""
    bad = pumps().assign(state=["broken" if i % 50 == 0 else "fine" for i in range(600)])
    bad.loc[::50, "pressure"] += 40
    bad.to_parquet(trained / "pumps.parquet", index=False)
    (trained / "pumps.vae").rename(trained / "other.vae")
    options = ("--label", "state", "--anomalous", "broken", "--model", "other.vae", "--log", "json")
    code, out, err = cli("evaluate", "--config", "pumps.yaml", *options, "--set", "train.normal=null")
    assert code == 0 and out == "", err
    own = json.loads(err.splitlines()[-1])["evaluation"]
    assert own["label"] == "state" and own["verdict"].startswith("By the label this model has an AUC-PR of ")
    assert own["detectors"][0]["auc_roc"]["value"] > 0.95 and own["decided"]["precision"]["value"] > 0.5


@pytest.mark.slow
def test_what_if_before_and_after_the_rows_are_scored(trained, cli, evaluating):
    """`evaluate --what-if` counts the source, or the output once it is there: the same, as many as `score` flags."""
    options = ("--what-if", "--config", trained / "pumps.yaml", "--by", "valve", "--result", trained / "what.json")
    code, before, err = cli("evaluate", *options)
    assert code == 0, err
    assert not (trained / "scored").exists() and "scored for this and not written" in before
    first = json.loads((trained / "what.json").read_text())
    assert cli("score", "--config", trained / "pumps.yaml")[0] == 0
    files = sorted(trained.rglob("*"))
    code, after, _ = cli("evaluate", *options)
    assert code == 0 and sorted(trained.rglob("*")) == files and f"the scored rows of {trained}/scored" in after
    told = json.loads((trained / "what.json").read_text())
    assert (told["command"], told["status"], told["what_if"]["is_output"]) == ("evaluate", "succeeded", True)
    assert told["what_if"]["cuts"] == first["what_if"]["cuts"]
    assert told["what_if"]["segments"] == first["what_if"]["segments"]
    flagged = int(pd.read_parquet(trained / "scored")["is_anomaly"].sum())
    (chosen,) = (cut for cut in told["what_if"]["cuts"] if cut["configured"])
    assert (chosen["rate"], chosen["alerts"]) == (0.01, flagged)
    (marked,) = (line.split() for line in after.splitlines() if line.startswith(" * "))
    assert marked[1:3] == ["1", "%"] and marked[-1] == str(flagged)


@pytest.mark.slow
def test_what_if_as_a_json_log(trained, cli, evaluating):
    """The last line of the log holds all of it, or what went wrong, which is in the result too."""
    options = ("--what-if", "--config", trained / "pumps.yaml", "--log", "json", "--result", trained / "what.json")
    code, _, err = cli("evaluate", *options)
    record = json.loads(err.splitlines()[-1])
    assert code == 0 and record["what_if"] == json.loads((trained / "what.json").read_text())["what_if"]
    code, _, err = cli("evaluate", *options, "--by", "valv")
    record = json.loads((trained / "what.json").read_text())
    assert code == 2 and record["status"] == json.loads(err.splitlines()[-1])["status"] == "failed"
    assert "did you mean 'valve'?" in record["message"]
    assert cli("evaluate", *options, "--set", "source.where=id < 0")[0] == 99
    assert json.loads((trained / "what.json").read_text())["status"] == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--by", "valve"], 2, ["--time and --by say what --what-if tells"]),
        (["--anomalous", "1"], 2, ["--anomalous is a value of --label"]),
        (["--label", "valve"], 2, ["'valve' is a column that the model sees", "features: {exclude: [valve]}"]),
        (["--label", "id"], 2, ["'id' has too many values"]),
        (["--what-if", "--time", "flow"], 2, ["--time cannot take the column 'flow'"]),
        (["--model", "none.vae"], 2, ["none.vae does not exist"]),
        (["--set", "model={path: pumps.vae, version: 3}"], 2, ["model.version is 3, but model.path is one file"]),
        (["--set", "output=null", "--set", "source=null"], 2, ["lacks 'source'"]),
        (["--set", "source.where=id < 0"], 99, ["no row to evaluate"]),
        (["--what-if", "--result", "pumps.yaml/r.json"], 2, ["cannot be written"]),
    ],
)
def test_what_evaluate_cannot_do(trained, cli, evaluating, options, code, words):
    """What is lacking or will not do is a message, and an exit code as of every command."""
    ended, out, err = cli("evaluate", "--config", trained / "pumps.yaml", *options)
    assert (ended, out) == (code, "")
    for word in words:
        assert word in err


@pytest.mark.slow
def test_a_job_with_alerts_trains_and_scores(place, cli):
    """One command; the alerts are no part of the model."""
    code, out, err = cli("run", "--config", "pumps.yaml", "--set", "alerts={path: alerts, budget: 2}")
    assert code == 0, err
    assert "Alerts: 2 in alerts" in out and Detector.load("pumps.vae").config.alerts is None


@pytest.mark.parametrize(
    ("place_of", "expected"),
    [({"path": "a", "format": "delta"}, (True, False)), ({"path": "s3://a/b", "format": "parquet"}, (False, True))],
)
def test_a_session_has_what_the_alerts_need(monkeypatch, place_of, expected):
    """Delta's jar and the object store's, where only the alerts are there."""
    asked = []
    monkeypatch.setattr("vae_model.spark.engines.session.session", lambda engine, *needs: asked.append(needs))
    parquet = {"path": "a.parquet", "format": "parquet"}
    cli_module._session(
        Config.model_validate({"key": ["id"], "source": parquet, "output": parquet, "alerts": place_of})
    )
    assert asked == [expected]


@pytest.mark.slow
def test_a_run_and_its_report(trained, cli):
    """`score --report` writes a page beside the run, `report` one of a run that is over, the same but for when."""
    page, later = trained / "pages" / "run.html", trained / "later.html"
    code, out, _ = cli("score", "--config", trained / "pumps.yaml", "--report", page)
    assert code == 0 and out.splitlines()[-1] == f"Report: {page}"
    code, out, _ = cli("report", "--config", trained / "pumps.yaml", "--output", later, "--by", "valve")
    assert code == 0 and f"Report: {later}" in out
    for file in (page, later):
        text = file.read_text(encoding="utf-8")
        assert "pressure 4000, expected about" in text and f"vae-anomaly score --config {trained}/pumps.yaml" in text
    assert ">valve</th>" in later.read_text() and ">valve</th>" not in page.read_text()


def test_a_failed_run_has_a_report(place, cli):
    """Also one that ended before there was an engine: exit code 2, and a page that says why."""
    code, _, err = cli("score", "--config", place / "pumps.yaml", "--report", place / "failed.html")
    assert code == 2 and "pumps.vae does not exist" in err
    assert "pumps.vae does not exist" in (place / "failed.html").read_text()


def test_a_report_says_how_to_reproduce_what_is_not_even_read(place, cli, monkeypatch):
    """The command as it was given, and which variables set keys: their names, as their values may be secrets."""
    monkeypatch.setenv("VAE_ANOMALY__SOURCE__NOSUCH", "hidden")
    code, _, _ = cli("run", "--config", place / "pumps.yaml", "--full", "--report", place / "failed.html")
    page = (place / "failed.html").read_text()
    told = page.partition('id="again"')[2]
    assert code == 2 and f"vae-anomaly run --config {place}/pumps.yaml --full" in told
    assert "# where these are set: VAE_ANOMALY__SOURCE__NOSUCH" in told and "hidden" not in page


@pytest.mark.parametrize(
    "options",
    [
        ["score", "--report", "./pumps.yaml"],
        ["score", "--report", "one", "--result", "one"],
        ["run", "--result", "pumps.yaml"],
        ["train", "--result", "pumps.yaml"],
        ["evaluate", "--result", "pumps.yaml"],
        ["report", "--output", "pumps.yaml"],
    ],
    ids=" ".join,
)
def test_no_file_is_to_be_two(place, cli, options):
    """A result or a page that would overwrite the config, or each other, is refused."""
    before = (place / "pumps.yaml").read_text()
    code, _, err = cli(options[0], "--config", place / "pumps.yaml", *options[1:])
    assert code == 2 and "are one file" in err
    assert (place / "pumps.yaml").read_text() == before and not (place / "one").exists()


def test_a_report_in_the_log_of_machines(trained, cli):
    """With --log json the record of the run is the last line all the same."""
    code, out, err = cli("score", "--config", trained / "pumps.yaml", "--report", trained / "r.html", "--log", "json")
    assert (code, out) == (0, "") and json.loads(err.splitlines()[-1])["message"] == "Run succeeded"
    assert (trained / "r.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--output", "r.html", "--run", "none such"], "The run none such is not in"),
        (["--output", "pumps.yaml/r.html"], "cannot be written"),
        (["--output", "r.html", "--evaluation", "nowhere.json"], "The evaluation nowhere.json cannot be read"),
        (["--output", "r.html", "--evaluation", "pumps.yaml"], "pumps.yaml is no evaluation"),
        (["--output", "r.html", "--time", "flow"], "--time cannot take the column 'flow'"),
    ],
)
def test_a_report_that_cannot_be(trained, cli, options, problem):
    """What is asked for and not there is told, and no page is written."""
    cli("score", "--config", trained / "pumps.yaml")
    code, _, err = cli("report", "--config", trained / "pumps.yaml", *options)
    assert code == 2 and problem in err
    assert not (trained / "r.html").exists()
