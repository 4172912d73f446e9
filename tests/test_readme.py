"""The README's code blocks do what it says: each of them is run, or (make, pip) held against what it names."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import DELTA_CONF, REMOTE
from vae_model.cli import app, guarded

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language, word):
    """The blocks of a language that hold a word."""
    return [text for name, text in BLOCKS if name == language and word in text]


@pytest.fixture(scope="module")
def weather(tmp_path_factory):
    """A folder with the repository's conf and jobs, and the example tables."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("conf", "jobs"):
        shutil.copytree(ROOT / name, folder / name)
    module = runpy.run_path(str(folder / "conf" / "nycflights13_tables.py"))
    module["main"](folder / "data")
    return folder


@pytest.fixture
def here(weather, monkeypatch, no_session):
    """That folder as the working directory, and no session about."""
    monkeypatch.chdir(weather)
    return weather


def test_every_block_is_known():
    """No block stands in the README that the tests below do not look at."""
    kinds = [(language, text.split()[0]) for language, text in BLOCKS]
    assert kinds == [
        ("sh", "make"),
        ("text", "Scored"),
        ("sh", "pip"),
        ("sh", "vae-anomaly"),
        ("sql", "SELECT"),
        ("sh", "spark-submit"),
        ("python", "import"),
        ("python", "from"),
    ]


def test_make_targets_and_extras_exist():
    """The commands' targets stand in the Makefile, and the extras in the project file."""
    targets = re.findall(r"^make (\w+)", blocks("sh", "make")[0], re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"\[([\w,]+)\]", blocks("sh", "pip install")[0])
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


def test_the_walk_over_an_own_table(here, capsys):
    """`init`, `validate`, `run` and `inspect`, as the README has them, end well; the 1,048 mph wind is first."""
    for line in blocks("sh", "vae-anomaly init")[0].splitlines():
        script, *arguments = shlex.split(line)
        assert script == "vae-anomaly"
        assert guarded(lambda given=arguments: app(given)) == 0, capsys.readouterr()
    out = capsys.readouterr().out
    assert "wind_speed 1048.36 (" in out.split("share of the score")[1].strip().splitlines()[0]


def test_the_example_finds_the_recording_error(here, _sail, monkeypatch, capsys):
    """conf/weather.yaml puts the 1,048 mph wind first among 26,115 rows, and the README's SQL finds it so."""
    assert guarded(lambda: app(["run", "--config", "conf/weather.yaml", "--set", "engine=sail"])) == 0
    assert "Scored 26,115 rows: " in capsys.readouterr().out
    monkeypatch.setenv(REMOTE, "1")
    rows = _sail.sql(blocks("sql", "SELECT")[0]).collect()
    assert (rows[0]["origin"], rows[0]["first_reason"]) == ("EWR", "wind_speed")
    assert rows[0]["time_hour"].strftime("%m-%d %H") == "02-12 08"
    assert 5 <= len(rows) <= 52


def test_the_python_blocks(here, _sail, monkeypatch, capsys):
    """Both Python blocks run as they stand, and show the recording error on top."""
    frames, dataframe = (text for language, text in BLOCKS if language == "python")
    exec(compile(frames, "README", "exec"), {})
    assert "1048.36" in capsys.readouterr().out.splitlines()[1]
    monkeypatch.setenv(REMOTE, "1")
    exec(compile(dataframe, "README", "exec"), {"spark": _sail})
    assert "1048.36" in capsys.readouterr().out.splitlines()[3]


@pytest.mark.classic
def test_the_spark_submit_block(here, tmp_path):
    """The spark-submit line trains, scores and writes Delta (an Ivy folder of its own is all that is added)."""
    own = {key: DELTA_CONF[key] for key in ("spark.jars.ivy", "spark.driver.host", "spark.sql.shuffle.partitions")}
    (tmp_path / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in own.items()))
    clean = {key: value for key, value in os.environ.items() if key not in ("SPARK_REMOTE", REMOTE)}
    environment = clean | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SPARK_CONF_DIR": str(tmp_path),
        "PYSPARK_PYTHON": sys.executable,
    }
    command = blocks("sh", "spark-submit")[0].rstrip() + " --set output.path=scored/submitted"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wind_speed 1048.36 (" in done.stdout
    assert (here / "scored" / "submitted" / "_delta_log").exists()


def test_no_path_of_a_machine_stands_in_the_examples():
    """Configs and README name no absolute path."""
    for file in (*ROOT.glob("conf/*.yaml"), ROOT / "README.md"):
        assert not re.search(r"(^|[\s:'\"`])/(home|root|work|Users|tmp)/", file.read_text(encoding="utf-8")), file
