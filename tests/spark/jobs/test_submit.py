"""spark-submit: the jobs as a scheduler starts them, and the README's own words."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import DELTA_CONF, REMOTE, delta_package
from tests.test_cli import CONFIG, pumps
from vae_model.spark.engines import classic

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.classic


@pytest.fixture
def submit(tmp_path):
    """Run spark-submit on a job, with or without Delta's jars."""

    def call(job, *arguments, delta=True):
        pumps().to_parquet(tmp_path / "pumps.parquet", index=False)
        (tmp_path / "pumps.yaml").write_text(CONFIG.format(tmp=tmp_path).replace("engine: sail", "engine: auto"))
        conf = {k: v for k, v in DELTA_CONF.items() if delta or "delta" not in f"{k} {v}"}
        command = [str(Path(sys.executable).parent / "spark-submit"), "--master", "local[2]"]
        command += ["--packages", delta_package()] if delta else []
        command += [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
        clean = {k: v for k, v in os.environ.items() if k not in ("SPARK_REMOTE", REMOTE)}
        return subprocess.run(
            [*command, str(ROOT / "jobs" / f"{job}.py"), "--config", "pumps.yaml", *arguments],
            cwd=tmp_path, env=clean | {"PYSPARK_PYTHON": sys.executable}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


@pytest.mark.parametrize(
    ("spark", "installed", "expected"),
    [
        ("3.5.9", "3.3.3", "io.delta:delta-spark_2.12:3.3.3"),
        ("4.0.2", "4.0.1", "io.delta:delta-spark_2.13:4.0.1"),
        ("4.0.2", "4.2.0", "io.delta:delta-spark_4.0_2.13:4.2.0"),
        ("4.1.1", "4.1.0", "io.delta:delta-spark_4.1_2.13:4.1.0"),
        ("4.2.0", "4.4.0", "io.delta:delta-spark_4.2_2.13:4.4.0"),
        ("3.5.9", None, "io.delta:delta-spark_2.12:3.3.3"),
        ("4.1.1", None, "io.delta:delta-spark_4.1_2.13:4.4.0"),
    ],
)
def test_deltas_jars_are_named_for_the_spark_that_is_there(monkeypatch, spark, installed, expected):
    """The coordinates are the installed delta-spark's, as its releases name them; without it, a fitting one's."""

    def version(name):
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(classic, "version", version)
    assert classic.delta_package(spark) == expected


@pytest.mark.heavy
def test_spark_submit_trains_and_scores_into_delta(submit, tmp_path):
    """jobs/run.py uses the session that spark-submit set up, and ends with the summary and exit code 0."""
    done = submit("run", "--set", "output.format=delta", "--log", "plain")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Scored 600 rows: " in done.stdout
    assert "Engine: Spark " in done.stdout  # spark-submit sends its Python's stderr there
    assert (tmp_path / "scored" / "_delta_log").exists()
    assert (tmp_path / "pumps.vae").exists()


@pytest.mark.soak
def test_spark_submit_without_delta_says_what_to_pass(submit, tmp_path):
    """Without Delta's jars a Delta output is refused before any work, with the options to pass; Parquet needs none."""
    done = submit("run", "--set", "output.format=delta", delta=False)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Delta's jars are not on Spark's class path" in done.stdout
    assert "--packages io.delta:delta-spark_" in done.stdout
    assert not (tmp_path / "pumps.vae").exists()
    done = submit("run", delta=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(pd.read_parquet(tmp_path / "scored")) == 600
