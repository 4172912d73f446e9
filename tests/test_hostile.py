"""Names and values that would command a terminal, a log or a config: every command shows them, none obeys."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from itertools import cycle, islice

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_model import Config, Detector, load_config
from vae_model.cli import app, guarded, main
from vae_model.runs.versions import CURRENT, Versions
from vae_model.scoring.scorer import Scorer

pytestmark = pytest.mark.slow

FORGED = "12:00:00 ERROR forged by a column"
HOSTILE = [
    "\x1b[2Jcleared",
    f"line\n{FORGED}",
    f"return\r{FORGED}",
    f"separator\u2028{FORGED}",
    f"next line\x85{FORGED}",
    f"item\n  - {FORGED}",
    "gro\u202eßer",
    "zero\u200bwidth\ufeff",
    "\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\",
    "bell\x07\x08\x7f\x9b2J",
    "`tick` \"quote\" 'single'",
    "comment # a: b, [c] {d} {}",
    "%s %d %(message)s {0.__class__}",
    "[red]markup[/red] [/] :smile:",
    "x" * 10_000,
]
"""Each a name of a column, and a value of the key and of a category."""
FOLDER = f"data # \u202e :smile: %s \x85{FORGED} \u2028{FORGED}"
"""Sail reads no path with a control character of ASCII."""
KEY, CURVE = f"id\n{FORGED}", f"curve\n  - \x1b[2J{FORGED}"
ROWS = 120
OWN = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]|\r?\x1b\[(2K|1A)|\r(?=\x1b|$)")
"""What rich draws with: colours, the cursor hidden and shown, a line erased, the line above."""


def table(ragged=False, rows=ROWS):
    """A number under each hostile name, hostile keys and categories, and arrays, of which one may be too short."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({name: draw.normal(size=rows) for name in HOSTILE})
    frame[HOSTILE[0]] = 1.5  # a constant is told of, by its name
    frame["category"] = [text[:900] for text in islice(cycle(HOSTILE), rows)]  # longer ones are no categories
    frame["constant"] = HOSTILE[1]
    frame[KEY] = [f"{i} {text}" for i, text in zip(range(rows), cycle(HOSTILE), strict=False)]
    frame.iloc[:12, 1:9] += 1000  # found, so that they are shown
    curves = pa.array([[1.0, i % 7] if i or not ragged else [1.0] for i in range(rows)])
    return pa.Table.from_pandas(frame, preserve_index=False).append_column(CURVE, curves)


def config(place):
    """The config, every place and name in it hostile."""
    return {
        "engine": "sail",
        "source": {"path": str(place / "table.parquet")},
        "key": [KEY],
        "train": {"normal": "`category` IS NOT NULL", "rows": 1000},
        "model": {"path": str(place / "model.vae"), "steps": 20, "hidden": [8]},
        "decision": {"false_alarm_rate": 0.2},
        "output": {"path": str(place / "scored"), "format": "parquet"},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of a hostile name with the table and its config."""
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    folder.mkdir()
    pq.write_table(table(), folder / "table.parquet")
    struct = pa.array([dict.fromkeys(HOSTILE, 1.0)] * ROWS)
    pq.write_table(table().append_column("struct", struct), folder / "struct.parquet")
    pq.write_table(table(rows=1000), folder / "longer.parquet")
    pq.write_table(table(ragged=True), folder / "ragged.parquet")
    (folder / "config.yaml").write_text(json.dumps(config(folder)))
    Detector(Config.model_validate(config(folder))).fit(table()).save(str(folder / "model.vae"))
    return folder


@pytest.fixture
def cli(capfd, no_session):
    """Run the command line in this process: exit code, and what it and the engine within it write to either stream."""

    def call(*arguments):
        code = guarded(lambda: app([str(a) for a in arguments]))
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def terminal(cli, monkeypatch):
    """Run the command line on a terminal; what it has drawn, without its colours and its moves of the cursor."""

    def call(*arguments):
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        code, out, err = cli(*arguments)
        assert OWN.search(err)
        return code, OWN.sub("", out), OWN.sub("", err)

    for name, value in {"TERM": "xterm-256color", "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return call


def assert_harmless(text):
    """Nothing in a text is obeyed but its own line breaks, and no line is forged."""
    obeyed = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not obeyed, (obeyed, text[:3000])
    assert not any(line.startswith(FORGED[:14]) for line in text.splitlines())


COMMANDS = ["validate", "train", "score", "run"]


@pytest.mark.parametrize("command", COMMANDS)
def test_plain_lines_are_lines_of_ours(place, cli, command):
    """In a log each line begins with its time, and standard output holds no line that a name has made."""
    code, out, err = cli(command, "--config", place / "config.yaml", "--log", "plain")
    assert code == 0, err
    assert_harmless(out)
    assert_harmless(err)
    assert err and all(re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) \S", line) for line in err.splitlines())
    assert command != "train" or ("\\x1b[2Jcleared" in out and "\\x1b[2Jcleared: constant" in err)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_obeys_only_our_own_colours(place, terminal, command):
    """On a terminal, what is left without the drawing of bars and colours is letters and line breaks."""
    code, out, err = terminal(command, "--config", place / "config.yaml")
    assert code == 0, err
    assert_harmless(out)
    assert_harmless(err)
    assert command != "train" or "[red]markup[/red] [/] :smile:" in out


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_json_lines_hold_the_data_as_they_are(place, cli, command):
    """Each line is one JSON object in ASCII; the message is safe to show, the data are unchanged."""
    code, out, err = cli(command, "--config", place / "config.yaml", "--log", "json")
    assert code == 0 and out == ""
    assert err.isascii()
    assert_harmless(err)
    records = [json.loads(line) for line in err.splitlines()]
    for record in records:
        assert_harmless(record["message"])
    if command != "train":
        top = next(record for record in records if record["message"] == "Scored")["top"]
        assert {key for anomaly in top for key in anomaly["key"]} == {KEY}
        assert {reason["feature"] for anomaly in top for reason in anomaly["reasons"]} & set(HOSTILE)


def test_evaluate_shows_columns_of_hostile_names(place, terminal, tmp_path):
    """Its tables have them as text that commands nothing, and what it writes as they are."""
    pytest.importorskip("sklearn", reason="an extra that not every environment has")
    longer = {"source": {"path": str(place / "longer.parquet")}, "train": {"rows": 500}}
    (tmp_path / "longer.yaml").write_text(json.dumps(config(place) | longer))
    options = ("--set", f"model.path={tmp_path}/other.vae", "--result", tmp_path / "found.json", "--what-if")
    code, out, err = terminal("evaluate", "--config", tmp_path / "longer.yaml", *options)
    assert code == 0, err
    assert_harmless(out)
    assert_harmless(err)
    assert "\\x1b[2Jcleared" in out
    found = json.loads((tmp_path / "found.json").read_text())["evaluation"]["decided"]["by_column"]
    assert HOSTILE[1] in {column["name"] for column in found}


def test_inspect_shows_a_model_of_hostile_names(place, cli):
    """`inspect` prints names, values and the config that a model file holds, and each line is its own."""
    code, out, _ = cli("inspect", place / "model.vae")
    assert code == 0
    assert_harmless(out)
    assert "\\x1b[2Jcleared" in out and '"normal": "' in out and "%s %d %(message)s {0.__class__}" in out


def test_models_shows_what_stands_in_the_files_of_versions(place, cli, tmp_path):
    """`models` prints why a version came into use, which anyone may have written to current.json, on its own line."""
    detector = Detector.load(str(place / "model.vae"))
    kept, digest = Versions(str(tmp_path / "models")), detector.header["sha256"]
    kept.promote(kept.add(detector.to_bytes(), digest), digest, "a test")
    told = json.loads((tmp_path / "models" / CURRENT).read_text())
    (tmp_path / "models" / CURRENT).write_text(json.dumps(told | {"by": NAME}))
    options = ("--config", place / "config.yaml", "--set", f"model.path={tmp_path}/models/")
    for more in ([], ["--json"]):
        code, out, _ = cli("models", *options, *more)
        assert code == 0 and ("\\x1b[2J" in out or "\\u001b[2J" in out)
        assert_harmless(out)
    (tmp_path / "models" / CURRENT).write_text(json.dumps(told | {"file": NAME}))
    code, out, err = cli("models", *options)
    assert code == 2 and out == ""
    assert_harmless(err)


NAME = f"\x1b[2J\n  - \n{FORGED} \u202e"
ERRORS = {
    "column": ["--set", f"features.include={json.dumps([NAME])}"],
    "key of the config": ["--set", f"decision={json.dumps({NAME: 1})}"],
    "value of the config": ["--set", f"engine={json.dumps(NAME)}"],
    "setting": ["--set", NAME],
    "YAML": ["--set", f"name=[{NAME}"],
    "predicate": ["--set", f"source.where={json.dumps('`' + NAME + '` > 1')}"],
    "struct": ["--set", 'source.path="{place}/struct.parquet"'],
    "source": ["--set", f"source.path={json.dumps('none' + NAME)}"],
    "model": ["--set", f"model.path={json.dumps('none' + NAME)}"],
    "output": ["--set", f"output.path={json.dumps('{place}/table.parquet/' + NAME)}"],
    "worker": ["--set", 'source.path="{place}/ragged.parquet"'],
    "config file": ["--config", NAME],
    "option": [f"--{NAME}"],
    "argument": [NAME],
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_shows_what_it_is_about(place, cli, case):
    """Whatever an error names, its lines are those of its layout."""
    more = [argument.replace("{place}", json.dumps(str(place))[1:-1]) for argument in ERRORS[case]]
    command = "train" if case in ("column", "struct") else "score"
    code, out, err = cli(command, "--config", place / "config.yaml", "--log", "plain", *more)
    assert code == 2 and out == ""
    assert_harmless(err)
    layout = r"\d\d:\d\d:\d\d INFO |Error: |  (expected|found|to do): |  - |Usage: |Try |$"
    assert all(re.match(layout, line) for line in err.splitlines()), err
    assert "\\x1b[2J" in err or case == "YAML"


def test_an_engines_words_are_shown(place, cli, monkeypatch):
    """What an engine says of a failure is told on the lines of the error's layout."""

    def fail(*_):
        raise RuntimeError(NAME)

    monkeypatch.setattr(Scorer, "__call__", fail)
    code, _, err = cli("score", "--config", place / "config.yaml", "--log", "plain")
    assert code == 1 and "Error: Scoring" in err
    assert_harmless(err)


def test_a_failure_that_nobody_expected_is_shown_too(capsys, monkeypatch):
    """The stack of an unexpected error stands indented under a line of ours, its text escaped; exit code 1."""

    def fail(*_):
        raise RuntimeError(NAME)

    monkeypatch.setattr("vae_model.cli.load_config", fail)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--config", "x"])
    title, *stack = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and title == "Unexpected failure:"
    assert any("RuntimeError: \\x1b[2J" in line for line in stack) and all(line.startswith("  ") for line in stack)
    assert_harmless("\n".join(stack))


def test_letters_that_a_terminal_has_not_are_no_failure(place):
    """Where standard output takes ASCII alone, all else is written as escapes, and the command ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "vae_model.cli", "inspect", place / "model.vae"],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"gro\\u202e\\xdfer" in done.stdout and done.stdout.isascii()


def test_init_writes_a_config_that_is_read_as_it_was_meant(place, cli, tmp_path):
    """No name breaks out of its quotes or its comment: the config is read, and the names are the table's."""
    written = tmp_path / f"new {FORGED}\n.yaml"
    code, out, err = cli("init", "--source", place / "struct.parquet", "--output", written, "--engine", "sail")
    assert code == 0
    assert_harmless(out)
    assert_harmless(err)
    assert_harmless(written.read_text())
    config = load_config(written)
    assert config.source.path == str(place / "struct.parquet")
    assert {*config.key, *config.features.exclude, *config.features.kinds} == {*table().column_names, "struct"}
