"""A BI tool's way to the scored tables: Hive's protocol, spoken by Spark's own Thrift server, asked by PyHive."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import DELTA_CONF, clean_environment, delta_package, free_port, spark_home
from tests.platforms.scored import TWO, config
from tests.spark.jobs.test_views import statements
from tests.test_readme import SQL, blocks
from vae_model.report.views import sql
from vae_model.scoring.output import MEANINGS

pytestmark = pytest.mark.platforms


def delta_jars(folder):
    """Delta's jars, as a class path: where they are not there yet, Spark fetches them for a program of nothing."""
    _, name, version = delta_package().split(":")
    place = Path(DELTA_CONF["spark.jars.ivy"], "jars")
    jars = [place / f"io.delta_{one}-{version}.jar" for one in (name, "delta-storage")]
    if not all(jar.exists() for jar in jars):
        (folder / "nothing.py").touch()
        conf = ("--conf", f"spark.jars.ivy={place.parent}", "--packages", delta_package())
        command = [spark_home() / "bin" / "spark-submit", *conf, folder / "nothing.py"]
        subprocess.run(command, env=clean_environment(SPARK_HOME=str(spark_home())), check=True, timeout=180)
    return ":".join(map(str, jars))


@pytest.fixture(scope="module")
def thrift_server(tmp_path_factory):
    """The port of a Thrift server with Delta, on loopback. Its jars are on the class path, as docs/sql.md has it."""
    folder, port, home = tmp_path_factory.mktemp("thrift"), free_port(), spark_home()
    conf = {
        **DELTA_CONF,
        "spark.hadoop.hive.server2.thrift.port": str(port),
        "spark.hadoop.hive.server2.thrift.bind.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:views;create=true",
    }
    command = [
        str(home / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
        "--master", "local[2]", "--driver-memory", "1g", "--driver-class-path", delta_jars(folder),
        *(part for key, value in conf.items() for part in ("--conf", f"{key}={value}")), "spark-internal",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=clean_environment(SPARK_HOME=str(home), PYSPARK_PYTHON=sys.executable),
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the Thrift server did not come up"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyHive's own
def test_a_bi_client_reads_table_and_views(thrift_server, two_days):
    """The query of docs/sql.md names the reason of each flagged row; views that one connection makes are there for the
    next, and count what the table holds.
    """
    from pyhive import hive

    @contextmanager
    def connected():
        """What asks: the rows of a query, or None of a statement."""
        with closing(hive.connect("127.0.0.1", thrift_server)) as connection, closing(connection.cursor()) as cursor:

            def ask(query, rows=True):
                cursor.execute(query)
                names = [column[0].rpartition(".")[2] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if rows else None

            yield ask

    table = f"delta.`{two_days / 'scored'}`"
    (query,) = blocks(SQL, "sql", "to_json")
    own = {"origin, time_hour": "id, day", "delta.`scored/weather`": table}
    for theirs, ours in own.items():
        assert theirs in query
        query = query.replace(theirs, ours)
    with connected() as ask:
        flagged = ask(f"SELECT * FROM {table} WHERE is_anomaly ORDER BY anomaly_score DESC")  # noqa: S608
        flat = ask(query)
        told = {row["col_name"]: row["comment"] for row in ask(f"DESCRIBE TABLE {table}")}
        for statement in statements(sql(config(two_days, TWO), "spark")):
            ask(statement, rows=False)
    reasons = [json.loads(row["anomaly_reasons"]) for row in flagged]
    assert [reason[0]["feature"] for reason in reasons[:2]] == ["pressure"] * 2
    assert flagged[0]["pressure"] == 4000 and flagged[0]["is_anomaly"] is True
    assert [row["first_reason"] for row in flat] == [reason[0]["feature"] for reason in reasons]
    assert [json.loads(row["reasons"]) for row in flat] == reasons
    assert told["anomaly_score"] == MEANINGS["anomaly_score"]

    with connected() as ask:  # another session
        names = {row["viewName"] for row in ask("SHOW VIEWS")}
        runs = ask("SELECT * FROM runs WHERE rows_scored IS NOT NULL")
        latest = ask("SELECT * FROM alerts_latest ORDER BY rank")
        (rate,) = ask("SELECT * FROM rate_by_segment")
        why = ask("SELECT * FROM reasons_by_column")
    assert names == {"runs", "alerts_latest", "alerts_by_day", "reasons_by_column", "rate_by_segment"}
    own_runs = [row["anomaly_run"] for row in flagged]
    assert {row["run_id"]: row["anomalies"] for row in runs} == {run: own_runs.count(run) for run in ("one", "two")}
    assert [row["anomaly_run"] for row in latest] == ["two"] * 2
    assert all(row["reason"].endswith(".") for row in latest)
    assert (rate["rows"], rate["flagged"], rate["unscored"]) == (80, len(flagged), 2)
    assert sum(row["first"] for row in why) == len(flagged)
