"""Names of tables and columns: quoted whatever their letters, on every engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.spark.jobs.scoring import run_score
from tests.spark.jobs.test_jobs import job
from vae_model.config.tables import Source
from vae_model.errors import ConfigError, OutputError, SourceError
from vae_model.places import identifiers
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.source.table import open_source

ANY = st.text(min_size=1, max_size=12)


@given(st.lists(ANY, min_size=1, max_size=4))
def test_a_quoted_name_has_the_parts_it_was_made_of(parts):
    """Quoting each part and taking the name apart again gives the parts, whatever their letters."""
    assert identifiers.parts(".".join(map(identifiers.quote, parts))) == parts


@pytest.mark.parametrize(
    ("given_", "quoted", "beside", "schema"),
    [
        ("scored", "`scored`", "`scored_x`", ""),
        ("main.my-schema.a b", "`main`.`my-schema`.`a b`", "`main`.`my-schema`.`a b_x`", "`main`.`my-schema`"),
        ("a.`b.c`.`d``; DROP e`", "`a`.`b.c`.`d``; DROP e`", "`a`.`b.c`.`d``; DROP e_x`", "`a`.`b.c`"),
    ],
)  # fmt: skip
def test_each_part_of_a_tables_name_is_quoted(given_, quoted, beside, schema):
    """A table's name, the name beside it, and its schema are one quoted identifier a part."""
    assert (identifiers.table(given_), identifiers.table(given_, "_x"), identifiers.schema(given_)) == (
        quoted,
        beside,
        schema,
    )


@pytest.mark.parametrize("name", ["a..b", ".a", "a.", "`a", "a`b", "``"])
def test_what_is_no_table_name_is_refused_in_the_config(name, path, tmp_path):
    """An empty part or an open backtick is an error of the config, before any engine."""
    with pytest.raises(ConfigError, match=r"output: .* is no table name"):
        job(path, tmp_path, output={"table": name})


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_tables_by_full_name_are_read_and_written(engine, path, detector, tmp_path, format_, request):
    """Source and output as catalog.schema.table, with letters SQL would take for its own where the catalog allows."""
    place = f"{engine.catalog.currentCatalog()}.default"
    odd = "sail" in request.node.callspec.id  # Spark's session catalog allows word characters only
    source = f"{place}.rows; a ``b`` -{format_}`".replace("rows", "`rows") if odd else f"{place}.rows_{format_}"
    output = f"{place}.scored {format_} -- x" if odd else f"{place}.scored_{format_}"
    engine.read.parquet(path).write.format("parquet").mode("overwrite").saveAsTable(identifiers.table(source))
    config = job(path, tmp_path, source={"table": source}, output={"table": output, "format": format_})
    for _ in range(2):  # replaced, not added to
        assert run_score(engine, config, detector).rows == 1200
    appended = config.model_copy(update={"output": config.output.model_copy(update={"mode": "append"})})
    assert run_score(engine, appended, detector, "another run").rows == 1200
    assert read_output(engine, config.output).count() == 2400
    for table in (source, output):
        engine.sql(f"DROP TABLE {identifiers.table(table)}")


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_short_and_a_longer_name_of_one_table_are_the_same_place(engine, path, detector, tmp_path, parts):
    """An output that is the source under another name is refused: with its schema, and with its catalog too."""
    engine.range(3).write.mode("overwrite").format("parquet").saveAsTable("same_place")
    full = [engine.catalog.currentCatalog(), engine.catalog.currentDatabase(), "SAME_place"]
    config = job(path, tmp_path, source={"table": "same_place"}, output={"table": ".".join(full[-parts:])})
    with pytest.raises(OutputError, match="the same place as source"):
        sink.check_output(engine, config.source, config.output, engine.table("same_place"), [])
    engine.sql("DROP TABLE same_place")


def test_a_schema_that_is_not_there_is_told_before_any_work(engine, path, detector, tmp_path):
    """An output table in a schema that does not exist is refused before anything is scored."""
    config = job(path, tmp_path, output={"table": "no_such_schema.scored"})
    with pytest.raises(OutputError, match="no_such_schema"):
        run_score(engine, config, detector)


def test_a_table_that_is_not_there_is_told(engine):
    """A source table nobody made is a message that names it."""
    with pytest.raises(SourceError, match="no_such_table"):
        open_source(engine, Source(table="default.no_such_table"))
