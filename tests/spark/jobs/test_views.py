"""The views of `vae-anomaly views`, asked by the engines themselves and by DuckDB: they say what the tables hold."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.reliability.readings import configured, days, of_day, pumps, stored
from vae_model.cli import app, guarded
from vae_model.config.load import parse_config
from vae_model.errors import ConfigError
from vae_model.report.views import DIALECTS, sql
from vae_model.spark.frames import to_arrow
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks.reading import read_output

ONE, TWO = days(2)
NAMES = ["runs", "alerts_latest", "alerts_by_day", "reasons_by_column", "rate_by_segment"]


def config(folder, day=ONE, format_="delta", **changes):
    """Score a day of readings into a slice; odd letters in every name."""
    path = str(folder / "source.parquet")
    partitions = {"partition_by": ["day"]} if format_ == "parquet" else {}
    output = {"path": str(folder / "it's_scored"), "format": format_, "mode": "replace_where", **partitions}
    settings = configured(str(folder / "pumps.vae"), path, output, of_day(day), "auto")
    settings |= {"key": ["id", "day"], "alerts": {"path": str(folder / "alerts"), "format": format_, "budget": 2},
                 "decision": {"by": ["note"], "false_alarm_rate": 0.1}}  # fmt: skip
    settings["model"] |= {"hidden": [8], "codes": 8, "members": 1}
    return parse_config({**settings, **changes})


@pytest.fixture
def scored(engine, tmp_path):
    """Two days scored by two runs, in a format: the config, and the scored rows."""

    def made(format_, **changes):
        stored(tmp_path / "source.parquet", *map(pumps, days(6)))
        run(engine, config(tmp_path, ONE, format_, **changes), "one", train=True)
        run(engine, own := config(tmp_path, TWO, format_, **changes), "two", train=False)
        return own, to_arrow(read_output(engine, own.output)).to_pandas()

    return made


def statements(text):
    """The statements of a text, without its comments."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";\n") if one.strip()]


def check(ask, rows):
    """What the views say, asked by a function, against the scored rows."""
    flagged = rows[rows.is_anomaly]
    runs = {row["run_id"]: row for row in ask("SELECT * FROM runs WHERE command = 'score' OR command = 'run'")}
    assert {name: row["anomalies"] for name, row in runs.items()} == flagged.groupby("anomaly_run").size().to_dict()
    latest = ask("SELECT * FROM alerts_latest ORDER BY rank")
    worst = flagged[flagged.anomaly_run == "two"].sort_values(
        ["anomaly_p_value", "anomaly_score"], ascending=[True, False]
    )
    assert [row["id"] for row in latest] == worst.id[:2].tolist()
    assert {row["anomaly_run"] for row in latest} == {"two"}
    (day,) = ask("SELECT * FROM alerts_by_day")
    assert (day["alerts"], day["runs"]) == (4, 2)
    why = {row["feature"]: row for row in ask("SELECT * FROM reasons_by_column")}
    named = [[reason["feature"] for reason in reasons] for reasons in flagged.anomaly_reasons]
    for feature, row in why.items():
        assert row["named"] == sum(feature in names for names in named)
        assert row["first"] == sum(names[:1] == [feature] for names in named)
    assert sum(row["share"] for row in why.values()) == pytest.approx(
        sum(reason["share"] for reasons in flagged.anomaly_reasons for reason in reasons)
    )
    (rate,) = ask("SELECT * FROM rate_by_segment")
    assert (rate["note"], rate["rows"], rate["flagged"]) == ("v0", len(rows), len(flagged))
    assert rate["rate"] == pytest.approx(len(flagged) / len(rows))


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_spark_sql_and_sail_answer(engine, scored, format_):
    """The statements of the dialect spark are taken by every engine, here as views of the session."""
    own, rows = scored(format_)
    for statement in statements(sql(own, "spark")):
        engine.sql(statement.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMPORARY VIEW"))
    check(lambda query: [row.asDict() for row in engine.sql(query).collect()], rows)


@pytest.mark.slow
def test_tables_by_name(engine, scored):
    """Of a table of runs by name, the latest state of each run counts."""
    places = {"output": {"table": "lake_scored", "format": "delta", "mode": "replace_where"},
              "alerts": {"table": "lake_alerts", "format": "delta", "budget": 2}}  # fmt: skip
    try:
        own, rows = scored("delta", **places)
        for statement in statements(sql(own, "spark")):
            engine.sql(statement.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMPORARY VIEW"))
        check(lambda query: [row.asDict() for row in engine.sql(query).collect()], rows)
    finally:
        for name in ("lake_scored", "lake_alerts", "lake_scored_runs"):
            engine.sql(f"DROP TABLE IF EXISTS {name}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sail"], indirect=True)
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_duckdb_answers(scored, format_):
    """The statements of the dialect duckdb, on Delta by its extension and on partitioned Parquet."""
    import duckdb  # in the development environment alone

    own, rows = scored(format_)
    with duckdb.connect() as lake:
        if format_ == "delta":
            from duckdb_extensions import import_extension

            import_extension("delta")
            lake.load_extension("delta")
        for statement in statements(sql(own, "duckdb")):
            lake.execute(statement)
        check(lambda query: lake.execute(query).to_arrow_table().to_pylist(), rows)


@pytest.mark.slow
def test_a_folder_with_odd_letters_is_no_pattern(tmp_path):
    """What is in the folder of that name is read, and nothing beside it."""
    import duckdb

    for name, value in (("rows[1]*", 1), ("rows1x", 2)):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"x": [value]}), tmp_path / name / "part.parquet")
    place = DIALECTS["duckdb"].files("parquet", str(tmp_path / "rows[1]*"), 0)
    assert duckdb.sql(f"FROM {place}").fetchall() == [(1,)]


def test_what_there_is_no_view_of_is_said(tmp_path):
    """Without alerts, records or segments a comment stands in the place of the view."""
    bare = config(tmp_path, runs="none", alerts=None, decision={"false_alarm_rate": 0.01})
    text = sql(bare, "spark")
    assert len(statements(text)) == 1
    for told in ("keeps no record of runs", "keeps no alerts table", "decision.by names no columns"):
        assert told in text


@pytest.mark.parametrize("dialect", ["spark", "duckdb"])
def test_names_are_never_sql(tmp_path, dialect):
    """Whatever letters a table's, a column's or a folder's name has: one quoted identifier, or one literal."""
    import duckdb

    odd = "x`; DROP TABLE y; --\"'"
    own = config(tmp_path, output={"path": str(tmp_path / odd), "format": "delta", "prefix": "vae_"},
                 decision={"by": [odd], "false_alarm_rate": 0.01})  # fmt: skip
    quoted = {"spark": odd.replace("`", "``"), "duckdb": odd.replace('"', '""')}[dialect]
    text = sql(own, dialect)
    assert quoted in text
    assert "vae_is_anomaly" in text
    if dialect == "duckdb":
        for statement in duckdb.extract_statements(text):
            assert statement.type == duckdb.StatementType.CREATE


def test_the_command_prints_or_writes(tmp_path, capsys):
    """To the console as it is, or to a file; an unknown dialect is told."""
    (tmp_path / "c.yaml").write_text(
        "name: w\nkey: [id]\nsource: {path: in}\nmodel: {path: m.vae}\noutput: {table: main.ops.scored}\n"
        "alerts: {table: main.ops.alerts}\n"
    )
    arguments = ["views", "--config", str(tmp_path / "c.yaml")]
    assert guarded(lambda: app(arguments)) == 0
    printed = capsys.readouterr().out
    assert "FROM `main`.`ops`.`alerts`" in printed
    assert guarded(lambda: app([*arguments, "--dialect", "duckdb", "--output", str(tmp_path / "v.sql")])) == 0
    written = (tmp_path / "v.sql").read_text()
    assert 'FROM "main"."ops"."scored"' in written
    assert guarded(lambda: app([*arguments, "--dialect", "oracle"])) == 2
    assert "one of spark, duckdb" in capsys.readouterr().err


def test_a_config_without_an_output_has_no_views():
    """There is nothing to make them of."""
    with pytest.raises(ConfigError, match="no output"):
        sql(parse_config({"name": "w"}), "spark")
