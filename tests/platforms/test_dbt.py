"""examples/dbt on a table that was scored for real, and on copies of it that break the contract."""

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.platforms
DBT = ROOT / ".venv" / "dbt" / "bin"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, with DuckDB's extension in place: dbt fetches nothing."""
    place = "from duckdb_extensions import import_extension; import_extension('delta')"
    subprocess.run([DBT / "python", "-c", place], check=True, timeout=60)
    ours = ("target", "logs", "*.duckdb*", ".user.yml")
    return shutil.copytree(
        ROOT / "examples" / "dbt", tmp_path_factory.mktemp("dbt") / "dbt", ignore=shutil.ignore_patterns(*ours)
    )


def build(project, scored, runs):
    """What `dbt build` says of each model and test, by its name, and what it ends with."""
    told = {"scored": scored, "runs": f"read_parquet('{runs}/*.parquet')", "key": ["id", "day"], "day": "day"}
    done = subprocess.run(
        [DBT / "dbt", "--no-use-colors", "build", "--profiles-dir", ".", "--vars", json.dumps(told)],
        cwd=project, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    results = json.loads((project / "target" / "run_results.json").read_text())["results"]
    names = {one["unique_id"].split(".")[2]: one["status"] for one in results}
    assert {"pass", "success"} & {*names.values()}, done.stdout
    return names, done.returncode


def query(project, sql):
    """Rows of the database that dbt has made, by dbt's own DuckDB."""
    code = f"import duckdb, json; print(json.dumps(duckdb.connect('anomalies.duckdb').execute({sql!r}).fetchall()))"
    return json.loads(subprocess.run([DBT / "python", "-c", code], cwd=project, check=True, capture_output=True).stdout)


def changed(table, column, place, value):
    """A table with another value in a row."""
    values = table[column].to_pylist()
    values[place] = value
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), [values])


def broken(table):
    """One break of each rule, each in a row of its own that was in order. What the rows' places are need not be known:
    the first ones that are not flagged and have a score.
    """
    ok = pc.and_(pc.equal(table["anomaly_status"], "ok"), pc.invert(table["is_anomaly"]))
    places = pc.indices_nonzero(ok.fill_null(False)).to_pylist()
    reason = {"feature": "flow", "share": 2.0, "observed": "", "expected": ""}
    plants = [
        ("anomaly_status", "fine"), ("anomaly_p_value", 1.5), ("anomaly_score", float("inf")),
        ("reconstruction_error", float("nan")), ("is_anomaly", None), ("anomaly_model", "no digest"),
        ("anomaly_run", "nobody's"), ("anomaly_reasons", [reason]),
    ]  # fmt: skip
    for place, (column, value) in zip(places, plants, strict=False):
        table = changed(table, column, place, value)
    return pa.concat_tables([table, table.slice(places[len(plants)], 1)])  # and a row that stands twice


def test_the_contract_holds_and_its_breaks_are_found(project, two_days, tmp_path):
    """Every test passes on what the job has written, and its models count what is there; in a copy in which every rule
    is broken once, every rule is found broken, nothing is built on it, and dbt says so by its exit code.
    """
    import deltalake

    names, code = build(project, f"delta_scan('{two_days / 'scored'}')", two_days / "scored_runs")
    assert ({*names.values()}, code) == ({"pass", "success"}, 0), names
    table = deltalake.DeltaTable(str(two_days / "scored")).to_pyarrow_table()
    flagged = pc.sum(table["is_anomaly"]).as_py()
    ((alerts, told),) = query(project, "SELECT count(*), count(top_feature) FROM alerts")
    assert alerts == told == flagged > 0
    days = query(project, "SELECT CAST(day AS VARCHAR), rows, scored, flagged FROM daily_counts ORDER BY day")
    assert [row[:3] for row in days] == [["2026-01-01", 40, 38], ["2026-01-02", 40, 40]]
    assert sum(row[3] for row in days) == flagged

    deltalake.write_deltalake(str(tmp_path / "broken"), broken(table))
    names, code = build(project, f"delta_scan('{tmp_path / 'broken'}')", two_days / "scored_runs")
    rules = {name for name in names if name.partition("_")[0] not in ("alerts", "daily", "not", "unique", "source")}
    assert len(rules) == 10
    assert {name for name, status in names.items() if status == "fail"} == rules
    assert (names["alerts"], names["daily_counts"], code) == ("skipped", "skipped", 1)


def test_it_tells_nobody_that_it_was_used():
    """Usage statistics are off in the project itself."""
    text = Path(ROOT / "examples" / "dbt" / "dbt_project.yml").read_text(encoding="utf-8")
    assert "send_anonymous_usage_stats: false" in text
