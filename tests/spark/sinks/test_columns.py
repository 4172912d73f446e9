"""A source whose columns have moved since the output was written: what still fits, and what is refused."""

import pytest
from pyspark.sql import functions as F

from tests.spark.sinks.days import OLD, ONE, OWN_NAMES, by, found, frame_of, output_at, save
from vae_model.config.tables import Source
from vae_model.errors import OutputError
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.thorough

MODES = pytest.mark.parametrize(
    ("kind", "format_", "mode"),
    [
        ("path", "delta", "append"), ("path", "delta", "replace_where"), ("path", "delta", "merge"),
        ("table", "delta", "append"), ("table", "delta", "replace_where"), ("table", "delta", "merge"),
        ("path", "parquet", "append"), ("path", "parquet", "replace_where"), ("table", "parquet", "append"),
    ],
)  # fmt: skip
WHERE = "day = DATE '2026-01-01'"
NEW = [(1, ONE, 10.0), (2, ONE, 20.0)]
WIDE = "id bigint, day date, value double"


@pytest.fixture
def start(engine, tmp_path):
    """An output in which ``OLD`` stands already."""

    def make(kind, format_, mode, columns=WIDE):
        sliced = format_ == "parquet" and mode == "replace_where"
        output = output_at(tmp_path, kind, format_, mode, partition_by=["day"] if sliced else [])
        save(
            engine,
            frame_of(engine, OLD, columns).withColumn("more", F.expr("if(id > 0, 'm', NULL)")),
            output,
            "old",
            where=WHERE,
        )
        return output

    return make


def source(engine, rows, columns=WIDE):
    """A source's columns alone."""
    return engine.createDataFrame(rows, columns)


def checked(engine, frame, output):
    """Check a source against an output, as a job does before any work."""
    sink.check_output(engine, Source(path="/elsewhere"), output, frame, ["id"])


def after(mode, new=NEW):
    """What the output holds once the new rows are written."""
    kept = OLD if mode == "append" else OLD[2:]
    return sorted([*by("new", new), *by("old", kept)], key=lambda row: (row[0], row[-1]))


@pytest.mark.soak_on("connect")
@pytest.mark.slow
@MODES
def test_columns_go_by_their_names(engine, tmp_path, start, kind, format_, mode, caplog):
    """In another order, of a narrower type, one that is gone: each value is in its column, and what is not there is
    null, which a warning says.
    """
    output = start(kind, format_, mode)
    frame = source(engine, NEW).selectExpr("CAST(value AS FLOAT) AS value", "day", "CAST(id AS INT) AS id")
    checked(engine, frame, output)
    assert "no more are null in the new rows" in caplog.text and "more" in caplog.text
    save(engine, frame_of(engine, NEW).select("value", "day", F.col("id").cast("int"), *OWN_NAMES), output, "new",
         where=WHERE)  # fmt: skip
    rows = sorted(found(engine, output), key=lambda row: (row[0], row[-1]))
    assert rows == after(mode)
    by_run = read_output(engine, output).groupBy("anomaly_run").agg(F.count("more"), F.min("more")).collect()
    assert {row[0]: (row[1], row[2]) for row in by_run} == {"new": (0, None), "old": (len(after(mode)) - 2, "m")}
    assert dict(read_output(engine, output).dtypes)["id"] == "bigint"


@pytest.mark.slow
@MODES
def test_what_does_not_fit_is_refused_before_any_work(engine, tmp_path, start, kind, format_, mode):
    """A column more, a wider one, one of another type: all are named, exit code 2, and the output is as it was."""
    output = start(kind, format_, mode, "id int, day date, value float")
    before = found(engine, output)
    frame = source(engine, NEW).selectExpr("id", "day", "value", "id AS extra", "1 AS more")
    with pytest.raises(OutputError, match="its columns differ") as caught:
        checked(engine, frame, output)
    assert caught.value.exit_code == 2
    for words in ("'extra' (bigint) is not in the output", "'id' is bigint, and int in the output",
                  "'value' is double, and float in the output", "'more' is int, and string in the output"):  # fmt: skip
        assert words in str(caught.value)
    assert found(engine, output) == before


TYPES = [  # of the source now, of the output, and whether it fits
    ("TINYINT", "SMALLINT", True), ("SMALLINT", "INT", True), ("INT", "BIGINT", True), ("BIGINT", "INT", False),
    ("FLOAT", "DOUBLE", True), ("DOUBLE", "FLOAT", False), ("INT", "DOUBLE", False), ("BIGINT", "STRING", False),
    ("DECIMAL(5,2)", "DECIMAL(10,2)", True), ("DECIMAL(5,2)", "DECIMAL(10,4)", True),
    ("DECIMAL(5,2)", "DECIMAL(5,3)", False), ("DECIMAL(10,2)", "DECIMAL(5,2)", False),
    ("DATE", "TIMESTAMP", False), ("STRING", "DATE", False),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_narrower_type_fits_and_no_other(engine, tmp_path, format_):
    """Only a type whose values the output's all holds: the others are named, and what fits is there with its value."""
    output = output_at(tmp_path, "path", format_, "append")
    old = [F.expr(f"CAST(NULL AS {old}) AS c{i}") for i, (_, old, _) in enumerate(TYPES)]
    save(engine, frame_of(engine, OLD[:1]).select("*", *old), output, "old")
    new = ["DATE '2026-01-01'" if now == "DATE" else f"CAST(5 AS {now})" for now, _, _ in TYPES]
    moved = source(engine, OLD[:1]).select("*", *(F.expr(f"{value} AS c{i}") for i, value in enumerate(new)))
    with pytest.raises(OutputError, match="its columns differ") as caught:
        checked(engine, moved, output)
    told = [f"'c{i}' is " in str(caught.value) for i in range(len(TYPES))]
    assert told == [not fits for _, _, fits in TYPES]
    fitting = [i for i, (_, _, fits) in enumerate(TYPES) if fits]
    kept = [F.expr(f"{new[i]} AS c{i}") if i in fitting else old[i] for i in range(len(TYPES))]
    checked(engine, source(engine, OLD[:1]).select("*", *kept), output)
    save(engine, frame_of(engine, OLD[:1]).select("*", *kept), output, "new")
    (row,) = read_output(engine, output).where("anomaly_run = 'new'").collect()
    assert [row[f"c{i}"] for i in range(len(TYPES))] == [5 if i in fitting else None for i in range(len(TYPES))]


@pytest.mark.parametrize(
    ("format_", "mode"),
    [
        ("delta", "append"),
        ("delta", "replace_where"),
        ("delta", "merge"),
        ("parquet", "append"),
        ("parquet", "replace_where"),
    ],
)
def test_an_output_of_the_contract_before_is_recognised(engine, tmp_path, format_, mode):
    """Rows that do not say which run wrote them are added to by no run; replacing them is the way, and is said."""
    partition_by = ["day"] if (format_, mode) == ("parquet", "replace_where") else []
    output = output_at(tmp_path, "path", format_, mode, partition_by=partition_by)
    frame_of(engine, OLD).write.format(format_).partitionBy(*partition_by).save(output.path)
    with pytest.raises(OutputError, match="written by an earlier version") as caught:
        checked(engine, source(engine, NEW), output)
    assert caught.value.exit_code == 2 and "mode: replace" in str(caught.value)
    checked(engine, source(engine, NEW), output.model_copy(update={"mode": "replace"}))


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_rows_of_another_key_are_not_mixed(engine, tmp_path, format_):
    """Two configs with one output and different keys: the second is told, before any work."""
    output = output_at(tmp_path, "path", format_, "append")
    save(engine, frame_of(engine, OLD), output, "old", key=["id", "day"])
    with pytest.raises(OutputError, match="with another key") as caught:
        checked(engine, source(engine, NEW), output)
    assert caught.value.exit_code == 2
