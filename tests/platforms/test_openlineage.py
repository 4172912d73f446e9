"""OpenLineage: what a server on loopback, and a file, are told of runs."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.test_cli import CONFIG, cli, model, place, pumps, trained  # noqa: F401 - fixtures
from vae_model.scoring.output import OUTPUT

pytestmark = pytest.mark.platforms


@pytest.fixture
def events(monkeypatch):
    """What a server has been told."""
    told = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *about):
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
    yield told
    server.shutdown()
    server.server_close()


ON = ["--set", "tracking.openlineage.namespace=plant"]


def test_a_run_starts_and_completes(trained, cli, events):  # noqa: F811
    """Two events of one run, with the source's columns, the output's, and which come of which."""
    code, _, err = cli("score", "--config", trained / "pumps.yaml", *ON)
    assert code == 0, err
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    start, end = events
    assert start["run"]["runId"] == end["run"]["runId"]
    assert end["job"]["namespace"] == "plant" and end["job"]["name"] == "pumps.score"
    (source,), (output,) = end["inputs"], end["outputs"]
    assert (source["namespace"], source["name"]) == ("file", f"{trained}/pumps.parquet")
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 600
    assert source["facets"]["version"]["datasetVersion"].startswith("files:")
    assert [own["name"] for own in source["facets"]["schema"]["fields"]] == list(pumps().columns)
    assert (output["namespace"], output["name"]) == ("file", f"{trained}/scored")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 600
    named = [own["name"] for own in output["facets"]["schema"]["fields"]]
    assert named == [*pumps().columns, *OUTPUT.names]
    lineage = output["facets"]["columnLineage"]["fields"]
    assert [own["field"] for own in lineage["flow"]["inputFields"]] == ["flow"]
    assert {own["field"] for own in lineage["anomaly_score"]["inputFields"]} == {
        "flow",
        "pressure",
        "valve",
        "constant",
    }


def test_each_try_is_a_run_of_its_own(trained, cli, events):  # noqa: F811
    """Though it is the same run to us."""
    for _ in range(2):
        assert cli("score", "--config", trained / "pumps.yaml", "--run-id", "day", *ON)[0] == 0
    assert len({event["run"]["runId"] for event in events}) == 2


def test_a_run_that_fails_says_why(trained, cli, events):  # noqa: F811
    """The message a person gets, in the facet for it."""
    code, _, _ = cli("score", "--config", trained / "pumps.yaml", *ON, "--set", "source.where=no_such = 1")
    assert code == 2
    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    assert "no_such" in events[1]["run"]["facets"]["errorMessage"]["message"]


def test_a_training_makes_the_model(place, cli, events):  # noqa: F811
    """The model file is its output."""
    assert cli("train", "--config", place / "pumps.yaml", *ON)[0] == 0
    assert events[-1]["eventType"] == "COMPLETE" and events[-1]["job"]["name"] == "pumps.train"
    assert [own["name"] for own in events[-1]["outputs"]] == [f"{place}/pumps.vae"]


def test_a_server_that_is_gone_stops_nothing(trained, cli, monkeypatch):  # noqa: F811
    """The rows are written; a warning says that it was not told."""
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    code, out, err = cli("score", "--config", trained / "pumps.yaml", *ON)
    assert code == 0 and "Scored 600 rows" in out
    assert "OpenLineage could not be told that this run begins" in err
    assert "OpenLineage could not be told all of this run" in err


def test_a_file_does_too(trained, cli, monkeypatch):  # noqa: F811
    """By OpenLineage's own variables, a line an event."""
    for name, value in {"TYPE": "file", "LOG_FILE_PATH": f"{trained}/events.json", "APPEND": "true"}.items():
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    assert cli("score", "--config", trained / "pumps.yaml", *ON)[0] == 0
    (file,) = trained.glob("events.json*")
    told = [json.loads(line)["eventType"] for line in file.read_text().splitlines()]
    assert told == ["START", "COMPLETE"]
