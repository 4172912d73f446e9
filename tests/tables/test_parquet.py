"""Parquet as people have it: every engine gives the same columns and values, or says what it lacks."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_model.config.tables import Source
from vae_model.errors import EngineError, SchemaError, SourceError
from vae_model.spark.source.table import open_source

DAY, AT = dt.date(2024, 3, 1), dt.datetime(2024, 3, 1, 12, 30, 0, 123456)
LONG = [Decimal("123456789012345678901234567890"), None]


def stamps(zone=None):
    """A moment to the nanosecond, one before 1970, and none."""
    moments = pd.array(["2024-03-01 12:30:00.123456789", "1900-01-01", None], dtype="datetime64[ns]")
    return pa.array(moments, pa.timestamp("ns")).cast(pa.timestamp("ns", zone))


NTZ = [AT, dt.datetime(1900, 1, 1), None]
TYPES = {  # the column; the type that it has on every engine; its values
    # pandas' default for a time (sail-spark and Spark both refuse it: SPARK-40819)
    "timestamp[ns]": (stamps(), "timestamp_ntz", NTZ),
    "timestamp[ns], UTC": (stamps("UTC"), "timestamp", NTZ),
    # what pandas writes for a `category` column
    "category": (pa.array(["a", None, "b"]).dictionary_encode(), "string", ["a", None, "b"]),
    "category of numbers": (pa.array([5, None, 6]).dictionary_encode(), "bigint", [5, None, 6]),
    "uint8": (pa.array([255, None], pa.uint8()), "smallint", [255, None]),
    "uint16": (pa.array([65535, None], pa.uint16()), "int", [65535, None]),
    "uint32": (pa.array([2**32 - 1, None], pa.uint32()), "bigint", [2**32 - 1, None]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), "decimal(20,0)", [Decimal(2**64 - 1), None]),
    "date64": (pa.array([DAY, None], pa.date64()), "date", [DAY, None]),
    "time64[ns]": (pa.array([dt.time(1, 2, 3), None], pa.time64("ns")), "string", ["01:02:03.000000000", None]),
    "time32[ms]": (pa.array([dt.time(1, 2, 3), None], pa.time32("ms")), "string", ["01:02:03.000", None]),
    "duration": (pa.array([1500, None], pa.duration("ms")), "bigint", [1500, None]),
    "decimal256": (pa.array(LONG, pa.decimal256(30, 0)), "decimal(30,0)", LONG),
    "float16": (pa.array(np.array([1.5, -2], np.float16)), "float", [1.5, -2.0]),
    "UUID": (pa.array([UUID(int=7).bytes, None], pa.binary(16)).cast(pa.uuid()), "binary", [UUID(int=7).bytes, None]),
    "null": (pa.nulls(2), "int", [None, None]),
    "large string": (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
    "string view": (pa.array(["a", None], pa.string_view()), "string", ["a", None]),
    "fixed-size list": (pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)), "array<double>", [[1.0, 2.0], None]),
    "list of nanoseconds": (pa.array([[0], None], pa.list_(pa.timestamp("ns"))), "array<timestamp_ntz>",
                            [[dt.datetime(1970, 1, 1)], None]),
    "struct": (pa.array([{"a": 1}, None]), "struct<a:bigint>", [(1,), None]),
}  # fmt: skip
UNREAD = ["time64[ns]", "time32[ms]", "float16", "list of nanoseconds"]
"""What classic Spark reads from copies only: Spark Connect, which may be on another machine, not at all."""


def opened(spark, place, **more):
    """A source, opened."""
    return open_source(spark, Source.model_validate({"path": str(place), **more}))


def rows(frame, *by):
    """Its rows, as tuples, in the order of some columns."""
    return [tuple(row) for row in frame.orderBy(*by).collect()]


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["alone", "beside nanoseconds"])
@pytest.mark.parametrize("stored", [True, False], ids=["with Arrow's schema", "without"])
@pytest.mark.parametrize("name", TYPES)
def test_a_type_of_arrows_is_the_same_column_on_every_engine(here, request, tmp_path, name, stored, beside):
    """Every type that pandas, Polars or Arrow write has one type and the same values; also where a schema must be given
    for another column's sake. An engine on another machine says which column it is that it cannot read.
    """
    array, type_, values = TYPES[name]
    table = pa.table({"n": range(len(array)), "x": array})
    if beside != "alone":
        table = table.append_column("t", pa.array([0] * len(array), pa.timestamp("ns")))
    pq.write_table(table, tmp_path / "t.parquet", store_schema=stored)
    if request.node.callspec.params["engine"] == "connect" and name in UNREAD:
        with pytest.raises(SchemaError, match=r"Spark Connect cannot read(.|\n)*x \("):
            opened(here, tmp_path)
        return
    frame = opened(here, tmp_path)
    assert dict(frame.dtypes)["x"] == type_
    assert [row[0] for row in rows(frame.select("x", "n"), "n")] == values


def test_a_decimal_that_no_engine_holds_is_named(here, tmp_path):
    """More than 38 digits: the column, its type, and what to do."""
    pq.write_table(pa.table({"x": pa.array([Decimal(10) ** 45], pa.decimal256(50, 0))}), tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"'x'(.|\n)*at most 38 digits(.|\n)*decimal256\(50, 0\)(.|\n)*to do"):
        opened(here, tmp_path)


def test_old_timestamps_are_instants(here, tmp_path):
    """INT96, as Hive, Impala and Spark 2 write it: UTC on every engine."""
    table = pa.table({"t": pa.array([AT], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    frame = opened(here, tmp_path)
    assert frame.dtypes == [("t", "timestamp")]
    assert rows(frame, "t") == [(AT,)]


def test_digits_beyond_microseconds_are_told(here, tmp_path, caplog):
    """Nanoseconds are cut, and where that loses something, and only there, the log says so."""
    pq.write_table(pa.table({"fine": stamps(), "round": stamps().cast(pa.timestamp("us"), safe=False)
                             .cast(pa.timestamp("ns"))}), tmp_path / "t.parquet")  # fmt: skip
    with caplog.at_level("WARNING"):
        opened(here, tmp_path)
        opened(here, tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: fine holds nanoseconds, and is read in microseconds"
    ]


def write(folder, **files):
    """Parquet files of columns."""
    for name, columns in files.items():
        path = folder / name.replace("__", "/").replace("-", "=")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path.with_suffix(".parquet"))


def test_files_that_differ_are_put_together_by_name(here, tmp_path, caplog):
    """A column more or less is null elsewhere, whole numbers beside fractions are fractions, order does not matter."""
    write(tmp_path, a={"k": [1], "x": pa.array([1], pa.int32()), "s": ["a"]}, b={"s": ["b"], "x": [2.5], "k": [2]},
          c={"k": [3], "x": pa.nulls(1), "new": [True]})  # fmt: skip
    with caplog.at_level("INFO"):
        frame = opened(here, tmp_path)
    assert frame.dtypes == [("k", "bigint"), ("x", "double"), ("s", "string"), ("new", "boolean")]
    assert rows(frame, "k") == [(1, 1.0, "a", None), (2, 2.5, "b", None), (3, None, None, True)]
    assert "new is in 1 of 3 files, null in the others" in caplog.text
    assert "x is int32 or double or null, read as double" in caplog.text


def test_files_that_differ_within_folders_keep_the_folders_columns(here, tmp_path):
    """Hive's folders and different schemas together."""
    write(tmp_path, **{"year-2023__a": {"x": [1]}, "year-2024__b": {"x": [2.5]}})
    frame = opened(here, tmp_path)
    assert frame.dtypes == [("x", "double"), ("year", "int")]
    assert rows(frame, "x") == [(1.0, 2023), (2.5, 2024)]


def test_types_that_no_one_type_holds_are_refused_or_read_as_text(here, tmp_path):
    """Text in one file, numbers in another: both files are named; source.schema decides."""
    write(tmp_path, a={"x": [1]}, b={"x": ["one"]})
    with pytest.raises(SchemaError, match=r"int64 in a\.parquet(.|\n)*string in b\.parquet(.|\n)*source\.schema"):
        opened(here, tmp_path)
    assert rows(opened(here, tmp_path, schema={"x": "string"}), "x") == [("1",), ("one",)]


NULL = "__HIVE_DEFAULT_PARTITION__"


@pytest.mark.parametrize(
    ("names", "type_", "values"),
    [
        (["2023", "2024"], "int", [2023, 2024]),
        (["2023", NULL], "int", [None, 2023]),
        (["3000000000", "1"], "bigint", [1, 3000000000]),
        (["1.5", "2"], "double", [1.5, 2.0]),
        (["2024-03-01", "2024-03-02"], "date", [DAY, dt.date(2024, 3, 2)]),
        (["New%20York", "a%2Fb"], "string", ["New York", "a/b"]),
        (["x", NULL], "string", [None, "x"]),
    ],
)
def test_folders_names_are_typed_columns(here, tmp_path, names, type_, values):
    """Hive's layout: one type and one null on every engine (Sail gives text, and its folder of nulls as a value)."""
    for i, name in enumerate(names):
        folder = tmp_path / f"k={name}"
        folder.mkdir()
        pq.write_table(pa.table({"x": [i]}), folder / "f.parquet")
    frame = opened(here, tmp_path)
    assert frame.dtypes == [("x", "bigint"), ("k", type_)]
    assert [row[0] for row in rows(frame.select("k"), "k")] == values
    assert frame.where(frame["k"] == values[-1]).count() == 1


@pytest.mark.parametrize("case", ["README.md", "broken.parquet", "short.parquet"])
def test_a_file_that_is_no_parquet_is_named(here, tmp_path, case):
    """A README, a download that broke off: its name, and what to do. Never "check source.path" of what is there."""
    write(tmp_path, good={"x": [1]})
    whole = (tmp_path / "good.parquet").read_bytes()
    contents = {"README.md": b"# About", "broken.parquet": whole[:-20], "short.parquet": b"PAR1"}
    (tmp_path / case).write_bytes(contents[case])
    with pytest.raises(SourceError, match=f"{case} is no Parquet file that can be read(.|\n)*Move the file") as error:
        opened(here, tmp_path)
    assert "Check source.path" not in str(error.value)


def test_files_that_are_no_data_are_passed_over(here, tmp_path, caplog):
    """_SUCCESS, dot files and hidden folders are no rows; a file without a byte is none either, and is told."""
    write(tmp_path, good={"x": [1]})
    for name in ("_SUCCESS", ".good.parquet.swp", "_temporary/0/part.parquet", "empty.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.parquet" else b"x")
    assert rows(opened(here, tmp_path), "x") == [(1,)]
    assert "empty.parquet is empty" in caplog.text


def test_a_delta_table_is_not_read_as_parquet(here, tmp_path):
    """Files that the table has given up would be rows again."""
    write(tmp_path, a={"x": [1]})
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(SourceError, match=r"is a Delta table(.|\n)*source\.format: delta"):
        opened(here, tmp_path)


@pytest.mark.parametrize("pattern", ["*.parquet", "[ab].parquet", "{a,b}.parquet"])
def test_a_pattern_names_files(here, tmp_path, pattern):
    """A pattern's files are looked at as a folder's are."""
    write(tmp_path, a={"t": pa.array([0], pa.timestamp("ns"))}, b={"t": pa.array([10**9], pa.timestamp("ns"))})
    assert [row[0].second for row in rows(opened(here, tmp_path / pattern), "t")] == [0, 1]


def test_a_relative_path_starts_at_this_process_working_directory(here, tmp_path, monkeypatch):
    """The engine's own may be another: a notebook's, after os.chdir, or a JVM's."""
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", a={"x": [1]})
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rows(opened(here, "a.parquet"), "x") == [(1,)]


SCHEMAS = {  # the column; source.schema's type; its values, or the error
    "codes as text": ([1, 2], "string", ["1", "2"]),
    "text as numbers": (["1.5", None], "double", [1.5, None]),
    "text as dates": (["2024-03-01", None], "date", [DAY, None]),
    "a narrower number": ([1, 2], "smallint", [1, 2]),
    "text that is no number": (["1", "N/A"], "double", "1 other value"),
    "a fraction as a whole number": ([1.0, 1.5], "int", "1 other value"),
    "a fraction with too many digits": ([1.25, 1.5], "decimal(3,1)", "1 other value"),
    "fractions as decimals": ([1.25, None], "decimal(5,2)", [Decimal("1.25"), None]),
    "a number too large": ([1, 70000], "smallint", "1 other value"),
    "no type": ([1], "strng", "source.schema does not fit"),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_columns_are_read_as_source_schema_says(here, tmp_path, case):
    """The types of source.schema; a value that does not fit is an error with the count, never null in silence."""
    values, type_, expected = SCHEMAS[case]
    pq.write_table(pa.table({"n": range(len(values)), "x": values}), tmp_path / "t.parquet")
    if isinstance(expected, str):
        with pytest.raises((SourceError, SchemaError), match=expected):
            opened(here, tmp_path, schema={"x": type_})
        return
    frame = opened(here, tmp_path, schema={"x": type_})
    assert dict(frame.dtypes)["x"] == type_
    assert [row["x"] for row in frame.orderBy("n").collect()] == expected


def test_source_schema_names_columns_that_are_there(here, tmp_path):
    """A name that is not there is an error with the nearest one."""
    write(tmp_path, a={"price": [1]})
    with pytest.raises(SchemaError, match=r"'prise'(.|\n)*did you mean 'price'"):
        opened(here, tmp_path, schema={"prise": "double"})


def test_what_pandas_writes_by_default_is_read(here, request, tmp_path):
    """A frame with times, categories, nullable numbers and an index, as `to_parquet` leaves it."""
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2024-03-01 12:30:00.123456", None]),
            "kind": pd.Categorical(["a", "b"]),
            "count": pd.array([1, None], dtype="Int64"),
            "text": pd.array(["x", None], dtype="string"),
        },
        index=pd.Index([10, 20], name="row"),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    found = opened(here, tmp_path / "t.parquet")
    types = {"at": "timestamp_ntz", "kind": "string", "count": "bigint", "text": "string", "row": "bigint"}
    assert dict(found.dtypes) == types
    assert rows(found, "row") == [(AT, "a", 1, "x", 10), (None, "b", None, None, 20)]


def test_orc_on_sail_is_an_error_with_the_remedy(here, request, tmp_path):
    """Sail has no ORC: another engine is the remedy."""
    if request.node.callspec.params["engine"] != "sail":
        pytest.skip("other engines read it")
    with pytest.raises(EngineError, match=r"does not read ORC(.|\n)*engine: spark"):
        opened(here, tmp_path, format="orc")


@pytest.mark.parametrize("name", ["[red]", "a{b,c}", "a*b", "a?b", "a b %20 ü"])
def test_a_name_that_looks_like_a_pattern_is_a_name(here, tmp_path, name):
    """A folder of that very name is read, and not those that a pattern would match (Sail: other rows, in silence)."""
    for folder, value in ((name, 1), ("r", 2), ("ab", 3), ("axb", 4)):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"x": [value]}), tmp_path / folder / "f.parquet")
    assert rows(opened(here, tmp_path / name), "x") == [(1,)]
    assert rows(opened(here, tmp_path / name / "f.parquet"), "x") == [(1,)]


def test_files_of_one_name_in_several_folders_are_all_read(here, request, tmp_path):
    """A pattern over folders, with a type that must be copied for the engine: no file takes another's place."""
    kind = pa.array(["a", "b"]).dictionary_encode()
    for folder in ("d0", "d1", "d2"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"x": kind}), tmp_path / folder / "part.parquet")
    assert opened(here, tmp_path / "*" / "part.parquet").count() == 6
    assert opened(here, tmp_path).count() == 6


def test_a_folder_with_a_file_of_its_own_name_is_read_once(here, tmp_path):
    """`same.parquet/same.parquet` is a file of the folder, not the folder."""
    folder = tmp_path / "same.parquet"
    folder.mkdir()
    write(folder, same={"x": [1]}, other={"x": [2], "y": [1]})
    assert rows(opened(here, folder), "x") == [(1, None), (2, 1)]


@pytest.mark.parametrize("names", [["1700000000000000001", "1700000000000000002"], ["1" * 23, "1" * 22 + "2"],
                                   ["0.1234567890123456789"]])  # fmt: skip
def test_folders_names_keep_their_digits(here, tmp_path, names):
    """No name becomes another for having more digits than a type holds."""
    for name in names:
        (tmp_path / f"k={name}").mkdir()
        pq.write_table(pa.table({"x": [1]}), tmp_path / f"k={name}" / "f.parquet")
    assert {str(row["k"]) for row in opened(here, tmp_path).collect()} == set(names)


def test_a_column_in_the_files_and_in_the_folders_is_named(here, tmp_path):
    """Which of the two counts, no engine says alike."""
    write(tmp_path, **{"year-2023__a": {"x": [1], "Year": [2024]}})
    with pytest.raises(SchemaError, match=r"in the files, and in the names of the folders too: Year"):
        opened(here, tmp_path)


def test_files_beside_folders_of_a_column_are_named(here, tmp_path):
    """A file outside the folders has no value for their column."""
    write(tmp_path, **{"year-2023__a": {"x": [1]}, "stray": {"x": [2]}})
    with pytest.raises(SourceError, match=r"folders of different columns(.|\n)*year=2023/a\.parquet"):
        opened(here, tmp_path)


def test_two_columns_of_one_name_are_refused(here, tmp_path):
    """Equal to the last letter, and of one type."""
    pq.write_table(pa.table([[1], [2]], names=["x", "x"]), tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"differ only in case, or not at all: x, x"):
        opened(here, tmp_path)
