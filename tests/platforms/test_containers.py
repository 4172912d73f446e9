"""The images' files and the manifests. There is no Docker and no cluster in a test: what a Dockerfile installs is
installed in a new environment, and what a container would start is started there.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import DELTA_CONF, ROOT, delta_package, free_port
from tests.platforms.wheels import environment, outside, wheel
from vae_model.config.load import parse_config
from vae_model.config.text import parse

pytestmark = pytest.mark.platforms

PROGRAMS = Path(sys.executable).parent
DOCKERFILES = [ROOT / "containers" / name for name in ("Dockerfile", "Dockerfile.spark")]
MANIFESTS = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
DELTA = ROOT / "containers" / "spark-defaults.conf"
TORCH = "https://download.pytorch.org/whl/cpu"


def steps(file):
    """The instructions of a Dockerfile, each on one line."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def installed(file, folder):
    """A new environment with what the one `pip install` of a Dockerfile installs, but for torch's build for CPUs, whose
    index is not the package index: its folder of programs.
    """
    (line,) = (step for step in steps(file) if "pip install" in step)
    (extras,) = (step.partition("=")[2] for step in steps(file) if step.startswith("ARG EXTRAS="))
    command = line.removeprefix("RUN ").replace("$(echo /install/*.whl)", str(wheel())).replace("$EXTRAS", extras)
    command = command.replace("/install/constraints.txt", str(ROOT / "constraints.txt"))
    pip, install, *arguments = shlex.split(command)
    assert (pip, install) == ("pip", "install")
    index = arguments.index("--extra-index-url")
    assert arguments.pop(index + 1) == TORCH and arguments.pop(index)
    arguments.remove("--no-cache-dir")
    return environment(folder, *arguments)


def readings(rows=1500):
    """Small table of a week, with a row that is off on its last day."""
    table = pd.DataFrame({"at": pd.date_range("2026-01-25", periods=rows, freq="6min", unit="us", tz="UTC")})
    table["sensor"] = [f"s{number % 3}" for number in range(rows)]
    table["speed"] = [100.0 + (number * 37 % 23) for number in range(rows)]
    table["flow"] = table["speed"] * 3 + [number * 11 % 7 for number in range(rows)]
    table["day"] = table["at"].dt.date
    table.loc[table.index[-10], "flow"] = 9999.0
    return table


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_dockerfiles_are_linted(file):
    """The linter, hadolint, finds nothing; the image is not root's, and its torch is the one for CPUs."""
    done = subprocess.run([PROGRAMS / "hadolint", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    own = steps(file)
    assert [step for step in own if step.startswith("USER ")] == ["USER 1000"]
    assert not any(step.startswith("RUN") for step in own[own.index("USER 1000") :])


def test_what_is_copied_is_let_through():
    """Each path that an image copies is there, or made by `make dist`, and .dockerignore leaves it in."""
    let = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    copied = [
        one for file in DOCKERFILES for step in steps(file) if step.startswith("COPY ") for one in step.split()[1:-1]
    ]
    assert len(copied) > 5
    for one in (one for one in copied if not one.startswith("--")):
        assert any(one == name or one.startswith(f"{name}/") for name in let), one
        assert one.startswith("dist/") or (ROOT / one).exists(), one


def test_the_manifests_are_valid():
    """kubernetes-validate finds each manifest to be of its schema, with no unknown field; scripts are valid bash."""
    assert len(MANIFESTS) == 3
    command = [PROGRAMS / "kubernetes-validate", "--strict", *MANIFESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for script in (ROOT / "containers" / "entrypoint.sh", ROOT / "examples" / "kubernetes" / "submit.sh"):
        subprocess.run(["bash", "-n", script], check=True)
        assert os.access(script, os.X_OK)


@pytest.mark.slow
def test_the_embedded_image(tmp_path):
    """What containers/Dockerfile installs runs its entry point, and the CronJob's own command with its own config: a
    day's rows are scored, the error among them is the first alert, and a day without rows is no failure.
    """
    programs = installed(DOCKERFILES[0], tmp_path / "environment")
    (entry,) = (json.loads(step.partition(" ")[2]) for step in steps(DOCKERFILES[0]) if step.startswith("ENTRYPOINT"))
    told = subprocess.run([programs / entry[0], "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == wheel().name.split("-")[1]
    documents = [parse(text, "cronjob.yaml") for text in MANIFESTS[0].read_text(encoding="utf-8").split("---\n")]
    config = documents[0]["data"]["sensors.yaml"]
    parse_config(parse(config, "sensors.yaml"))
    folder = tmp_path / "job"
    for name in ("conf", "data/sensors"):
        (folder / name).mkdir(parents=True)
    (folder / "conf" / "sensors.yaml").write_text(config)
    readings().to_parquet(folder / "data" / "sensors" / "part.parquet", index=False)
    (job,) = documents[2]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    codes = {}
    for day in ("2026-01-31", "2030-01-01"):
        done = subprocess.run(
            [*job["command"], *job["args"]], cwd=folder, env=outside(programs, DAY=day),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        codes[day] = (done.returncode, done.stderr[-2000:] + done.stdout[-2000:])
        if day == "2026-01-31":
            records = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [code for code, _ in codes.values()] == [0, 0], codes
    assert (records[-1]["status"], records[-1]["run_id"]) == ("succeeded", "sensors-2026-01-31")
    from deltalake import DeltaTable

    alerts = DeltaTable(str(folder / "alerts" / "sensors")).to_pandas()
    assert "flow 9999" in alerts.set_index("rank").loc[1, "reason"]


@pytest.fixture(scope="module")
def spark_image(tmp_path_factory):
    """What containers/Dockerfile.spark makes of a new environment: programs, Spark's home, with Delta's jars in it."""
    folder = tmp_path_factory.mktemp("spark")
    programs = installed(DOCKERFILES[1], folder / "environment")
    (home,) = (folder / "environment").glob("lib/python*/site-packages/pyspark")
    cache = Path(DELTA_CONF["spark.jars.ivy"])
    fetch(cache)
    for checksum, file in added():
        (jar,) = cache.glob(f"jars/*_{file}")
        assert sha256(jar.read_bytes()).hexdigest() == checksum, file
        shutil.copy(jar, home / "jars" / file)
    (home / "conf").mkdir()
    shutil.copy(DELTA, home / "conf")
    return programs, home


def added():
    """The checksum and the name of each file that Dockerfile.spark takes from Maven."""
    text = " ".join(steps(DOCKERFILES[1]))
    return re.findall(
        r"ADD --chmod=644 --checksum=sha256:(\w{64}) https://repo1\.maven\.org/\S+/(\S+\.jar) \$SPARK_HOME", text
    )


def fetch(cache):
    """Have Ivy fetch Delta's jars, where the other tests keep them, if they are not there."""
    if all(list(cache.glob(f"jars/*_{file}")) for _, file in added()):
        return
    command = [
        PROGRAMS / "spark-submit",
        "--packages",
        delta_package(),
        "--conf",
        f"spark.jars.ivy={cache}",
        "--version",
    ]
    subprocess.run([*command[:-1], ROOT / "jobs" / "run.py", "--help"], check=True, capture_output=True)


def test_the_jars_are_those_of_the_tests():
    """Dockerfile.spark adds the Delta that goes with the pinned Spark and delta-spark."""
    names = [file for _, file in added()]
    group, artifact, version = delta_package().split(",")[0].split(":")
    assert names == [f"{artifact}-{version}.jar", f"delta-storage-{version}.jar"]
    assert group == "io.delta"


@pytest.mark.slow
@pytest.mark.classic
@pytest.mark.timeout(1200)
def test_the_spark_image(spark_image, tmp_path):
    """Its entry point, started as Spark on Kubernetes starts a driver, trains, scores and writes Delta; started as an
    executor, it is Spark's backend of Kubernetes, which looks for the driver that it was told of.
    """
    programs, home = spark_image
    entry = ROOT / "containers" / "entrypoint.sh"
    readings(800).to_parquet(tmp_path / "sensors.parquet", index=False)
    (tmp_path / "small.yaml").write_text(
        "name: small\nsource: {path: sensors.parquet}\nkey: [sensor, at]\nfeatures: {exclude: [day]}\n"
        "model: {path: small.vae}\noutput: {path: scored}\n"
    )
    small = {name: value for name, value in DELTA_CONF.items() if "artitions" in name or name == "spark.ui.enabled"}
    local = small | {"spark.master": "local[2]", "spark.driver.host": "127.0.0.1"}
    (tmp_path / "spark.properties").write_text(
        DELTA.read_text(encoding="utf-8") + "".join(f"{name} {value}\n" for name, value in local.items())
    )
    clean = outside(programs, SPARK_HOME=str(home), PYSPARK_PYTHON=str(programs / "python"))
    job = ["--properties-file", "spark.properties", "--class", "org.apache.spark.deploy.PythonRunner"]
    driver = subprocess.run(
        [entry, "driver", *job, f"local://{ROOT}/jobs/run.py", "--config", "small.yaml"],
        cwd=tmp_path, env=clean | {"SPARK_DRIVER_BIND_ADDRESS": "127.0.0.1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert driver.returncode == 0, re.sub(r"^.* INFO .*\n", "", driver.stderr, flags=re.MULTILINE)[-3000:]
    assert "flow 9999" in driver.stdout
    assert (tmp_path / "scored" / "_delta_log").exists()
    port = free_port()
    told = {
        "SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@127.0.0.1:{port}", "SPARK_EXECUTOR_ID": "1",
        "SPARK_EXECUTOR_CORES": "1", "SPARK_EXECUTOR_MEMORY": "256m", "SPARK_APPLICATION_ID": "app",
        "SPARK_EXECUTOR_POD_IP": "127.0.0.1", "SPARK_RESOURCE_PROFILE_ID": "0", "SPARK_EXECUTOR_POD_NAME": "pod",
        "SPARK_JAVA_OPT_1": "-Dtold=second", "SPARK_JAVA_OPT_0": "-XshowSettings:properties",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip
    executor = subprocess.run([entry, "executor"], env=clean | told, capture_output=True, text=True, check=False)
    assert executor.returncode != 0
    assert f"Failed to connect to /127.0.0.1:{port}" in executor.stdout + executor.stderr
    assert "told = second" in executor.stdout + executor.stderr


@pytest.fixture
def api_server():
    """Something that takes what is sent to a Kubernetes API, says yes to it, and keeps it. It starts nothing."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            """Take an object."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path.partition("?")[0], body))
            own = body.setdefault("metadata", {})
            own.setdefault("uid", f"uid-{len(taken)}")
            self.answer(201, body)

        def do_GET(self):
            """What lies at a path: what was put there, or nothing."""
            found = [
                body for path, body in taken if self.path.partition("?")[0] == f"{path}/{body['metadata']['name']}"
            ]
            self.answer(
                200 if found else 404, found[-1] if found else {"kind": "Status", "status": "Failure", "code": 404}
            )

        do_PATCH = do_PUT = do_POST

        def answer(self, code, body):
            """Send a document."""
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.classic
def test_the_submission(api_server, tmp_path):
    """examples/kubernetes/submit.sh, by the real spark-submit, asks a cluster for a driver's pod that is valid, is in
    the namespace and of the account of rbac.yaml, is not root's, mounts the config, and starts the job with its
    arguments.
    """
    address, taken = api_server
    options = "--conf spark.kubernetes.submission.waitAppCompletion=false"
    given = {"KUBERNETES_API": address, "IMAGE": "registry.example/spark-vae-anomaly:spark", "SPARK_OPTIONS": options}
    done = subprocess.run(
        [ROOT / "examples" / "kubernetes" / "submit.sh", "--config", "conf/daily.yaml", "--param", "ds=2026-01-31"],
        env=outside(PROGRAMS, SPARK_LOCAL_IP="127.0.0.1", KUBECONFIG=str(tmp_path / "none"), **given),
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (pod,) = (body for path, body in taken if path == "/api/v1/namespaces/anomaly/pods")
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    checked = subprocess.run(
        [PROGRAMS / "kubernetes-validate", tmp_path / "pod.json"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (sent,) = (
        body["data"]["spark.properties"]
        for path, body in taken
        if "/configmaps" in path and "spark.properties" in body["data"]
    )
    for name, value in (line.split() for line in DELTA.read_text(encoding="utf-8").splitlines() if line[0] != "#"):
        assert f"{name}={value}" in sent
    spec = pod["spec"]
    (container,) = spec["containers"]
    rbac = [parse(text, "rbac.yaml") for text in MANIFESTS[-1].read_text(encoding="utf-8").split("---\n")]
    assert spec["serviceAccountName"] in {one["metadata"]["name"] for one in rbac if one["kind"] == "ServiceAccount"}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["image"] == given["IMAGE"]
    assert {"name": "config", "mountPath": "/job/conf", "readOnly": True} in container["volumeMounts"]
    arguments = container["args"]
    assert arguments[0] == "driver"
    end = arguments.index("local:///opt/job/run.py")
    assert arguments[end + 1 :] == ["--config", "conf/daily.yaml", "--param", "ds=2026-01-31"]
    assert "/opt/job/" in " ".join(steps(DOCKERFILES[1])) and (ROOT / "jobs" / "run.py").exists()
