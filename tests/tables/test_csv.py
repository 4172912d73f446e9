"""CSV as it comes: every engine gives the same columns, types and rows, or an error with file and line."""

import datetime as dt
import gzip

import pytest

from tests.tables.test_parquet import opened, rows
from vae_model.errors import EngineError, SchemaError, SourceError, VaeAnomalyError

DAY, AT = dt.date(2024, 3, 1), dt.datetime(2024, 3, 1, 12, 30)
LATE = "id,x\n" + "".join(f"{i},{i}.5\n" for i in range(3000)) + "3000,N/A\n"
INSIDE = 'id,text\n1,"a\nb"\n2,"say ""hi"", he said"\n3,C:\\new\n'

FILES = {  # the file; its columns; its rows
    "plain": ("id,x\n1,a\n2,b\n", {"id": "bigint", "x": "string"}, [(1, "a"), (2, "b")]),
    "semicolons, decimal commas": ("id;x\n1;1,5\n2;2,5\n", {"id": "bigint", "x": "string"}, [(1, "1,5"), (2, "2,5")]),
    "pipes": ("id|x\n1|a,b\n2|c,d\n", {"id": "bigint", "x": "string"}, [(1, "a,b"), (2, "c,d")]),
    "line breaks, quotes, backslashes": (INSIDE, {"id": "bigint", "text": "string"},
        [(1, "a\nb"), (2, 'say "hi", he said'), (3, "C:\\new")]),
    "Windows": ("id,x\r\n1,a\r\n\r\n", {"id": "bigint", "x": "string"}, [(1, "a")]),
    "a mark of byte order": ("\ufeffid,x\n1,a\n", {"id": "bigint", "x": "string"}, [(1, "a")]),
    "leading zeros": ("id,zip\n1,00500\n2,90210\n", {"id": "bigint", "zip": "string"}, [(1, "00500"), (2, "90210")]),
    "long digits": ("id,x\n1,12345678901234567890123\n", {"id": "bigint", "x": "string"},
        [(1, "12345678901234567890123")]),
    "nothing between": ('id,x,y\n1,,""\n2,1.5,z\n', {"id": "bigint", "x": "double", "y": "string"},
        [(1, None, None), (2, 1.5, "z")]),
    "numbers": ("id,x\n1,1e3\n2,-.5\n3,NaN\n", {"id": "bigint", "x": "double"}, None),
    "truth": ("id,x\n1,true\n2,False\n", {"id": "bigint", "x": "boolean"}, [(1, True), (2, False)]),
    "dates": ("id,x\n1,2024-03-01\n2,\n", {"id": "bigint", "x": "date"}, [(1, DAY), (2, None)]),
    "no such date": ("id,x\n1,2024-02-31\n", {"id": "bigint", "x": "string"}, [(1, "2024-02-31")]),
    "times": ("id,x\n1,2024-03-01T12:30:00\n2,2024-03-01\n", {"id": "bigint", "x": "timestamp_ntz"},
        [(1, AT), (2, dt.datetime(2024, 3, 1))]),
    "instants": ("id,x\n1,2024-03-01 12:30:00Z\n2,2024-03-01T14:30:00+02:00\n", {"id": "bigint", "x": "timestamp"},
        [(1, AT), (2, AT)]),
    "codes that are digits": ("id,x,y\n1,+491701234567,12345678901234561.07\n", {"id": "bigint", "x": "string",
        "y": "string"}, [(1, "+491701234567", "12345678901234561.07")]),
    "what no type keeps": ("id,x,y,z\n1,1e400,2024-03-01 00:00:00.123456789,2024-03-01T10:00Z\n", {"id": "bigint",
        "x": "string", "y": "string", "z": "string"}, None),
    "signs and exponents": ("id,x\n1,+1.5\n2,-1e-170\n3,1e307\n", {"id": "bigint", "x": "double"},
        [(1, 1.5), (2, -1e-170), (3, 1e307)]),
    "an N/A after three thousand numbers": (LATE, {"id": "bigint", "x": "string"}, None),
    "pandas' index": (",x\n0,a\n1,b\n", {"_c0": "bigint", "x": "string"}, [(0, "a"), (1, "b")]),
    "a separator at the end of each line": ("id,x,\n1,a,\n2,b,\n", {"id": "bigint", "x": "string", "_c2": "string"},
        [(1, "a", None), (2, "b", None)]),
    "an empty line at the start": ("\nid,x\n1,a\n", {"id": "bigint", "x": "string"}, [(1, "a")]),
    "a header alone": ("id,x\n", {"id": "string", "x": "string"}, []),
    "one column": ("x\n1\n2\n", {"x": "bigint"}, [(1,), (2,)]),
    "odd names": ('"a.b","c`d","e f"\n1,2,3\n', {"a.b": "bigint", "c`d": "bigint", "e f": "bigint"}, [(1, 2, 3)]),
    "a header of 80 KB": (",".join(f"column_{i:072d}" for i in range(1000)) + "\n" + ",".join("1" * 1000) + "\n",
        {f"column_{i:072d}": "bigint" for i in range(1000)}, [(1,) * 1000]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_same_table_on_every_engine(here, tmp_path, name):
    """Separator, header, quotes and types are found out: as many rows as in the file, with their values."""
    text, types, expected = FILES[name]
    (tmp_path / "t.csv").write_bytes(text.encode())
    frame = opened(here, tmp_path / "t.csv", format="csv")
    assert dict(frame.dtypes) == types
    if expected is not None:
        assert sorted(tuple(row) for row in frame.collect()) == expected


def test_a_number_of_rows_as_in_the_file(here, tmp_path, caplog):
    """A late N/A makes no column of numbers, loses no row, and is told, without its value."""
    (tmp_path / "t.csv").write_text(LATE)
    frame = opened(here, tmp_path, format="csv")
    assert frame.count() == 3001
    assert "x is read as text: 1 of its 3,001 values are no numbers" in caplog.text
    assert "N/A" not in caplog.text.replace("source.options", "")
    cleaned = opened(here, tmp_path, format="csv", options={"nullValue": "N/A"})
    assert dict(cleaned.dtypes)["x"] == "double"
    assert cleaned.where("x is null").count() == 1


ERRORS = {  # the files; the source's other keys; what the error says
    "a value too many": ({"a.csv": "id,x\n1,a\n", "b.csv": "id,x\n1,secret\n2,b,c\n"}, {},
        ["3 values instead of 2 in b.csv, line 3"]),
    "a value too few": ({"a.csv": 'id,x\n1,"secret\nb"\n2\n'}, {}, ["1 values instead of 2 in a.csv, line 4"]),
    "two equal headers": ({"a.csv": "id,x,X\n1,2,3\n"}, {}, ["header of a.csv", "twice", "x"]),
    "Latin letters": ({"a.csv": "id,x\n1,Z\xfcrich\n".encode("latin-1")}, {},
        ["not in UTF-8: a.csv", "encoding: ISO-8859-1"]),
    "gzip by no name": ({"a.csv": gzip.compress(b"id,x\n1,a\n")}, {}, ["is gzip", "a.csv", ".gz"]),
    "a zip archive": ({"a.csv": b"PK\x03\x04rest"}, {}, ["is a zip archive", "Unpack it"]),
    "UTF-16": ({"a.csv": "id,x\n1,a\n".encode("utf-16")}, {}, ["not in UTF-8: a.csv", "encoding: UTF-16"]),
    "a README": ({"a.csv": "id,x\n1,a\n", "README.md": "# About\n"}, {}, ["no CSV: README.md", "pattern"]),
    "no text": ({"a.csv": "id,x\n1,a\n", "b.parquet": "PAR1"}, {}, ["no CSV: b.parquet"]),
    "no header, two widths": ({"a.csv": "1,2\n", "b.csv": "1,2,3\n"}, {}, ["2 columns, as in a.csv", "3 in b.csv"]),
    "a value of another type": ({"a.csv": LATE}, {"schema": {"x": "double"}},
        ["'x'", "as double", "1 other value, the first in a.csv, line 3002"]),
    "a column that is not there": ({"a.csv": "id,x\n1,a\n"}, {"schema": {"y": "double"}}, ["'y'", "one of id, x"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_read_is_named_before_any_work(here, tmp_path, name):
    """File and line, and what to do; the row's own values are not printed."""
    files, more, words = ERRORS[name]
    for file, text in files.items():
        (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((SourceError, SchemaError)) as error:
        opened(here, tmp_path, format="csv", **more)
    for word in words:
        assert word in str(error.value)
    assert "secret" not in str(error.value)


def test_another_encoding_is_read_or_refused(here, request, tmp_path):
    """An encoding that is named is read, by Spark; Sail would ignore it, and says so."""
    (tmp_path / "t.csv").write_bytes("id,x\n1,Z\xfcrich\n".encode("latin-1"))
    options = {"encoding": "ISO-8859-1"}
    if request.node.callspec.params["engine"] == "sail":
        with pytest.raises(EngineError, match=r"Sail reads CSV in UTF-8 only(.|\n)*engine: spark"):
            opened(here, tmp_path, format="csv", options=options)
        return
    assert rows(opened(here, tmp_path, format="csv", options=options), "id") == [(1, "Z\xfcrich")]


def test_lines_that_end_in_two_ways_are_read_or_refused(here, request, tmp_path):
    """Spark would keep the carriage returns of some lines in the last column's values."""
    (tmp_path / "t.csv").write_bytes(b"id,x\n1,2\r\n3,4\n")
    if request.node.callspec.params["engine"] == "sail":
        assert rows(opened(here, tmp_path, format="csv"), "id") == [(1, 2), (3, 4)]
        return
    with pytest.raises(SourceError, match=r"end in two ways(.|\n)*dos2unix"):
        opened(here, tmp_path, format="csv")


def test_columns_in_another_order_are_matched_by_name(here, tmp_path, caplog):
    """Two columns of a folder's files do not swap in silence; a column that one lacks is null there."""
    (tmp_path / "a.csv").write_text("id,x\n1,a\n")
    (tmp_path / "b.csv").write_text("x,id\nb,2\n")
    (tmp_path / "c.csv").write_text("id,x,y\n3,c,0.5\n")
    frame = opened(here, tmp_path, format="csv")
    assert frame.dtypes == [("id", "bigint"), ("x", "string"), ("y", "double")]
    assert rows(frame, "id") == [(1, "a", None), (2, "b", None), (3, "c", 0.5)]
    assert "matched by name: y is in 1 of 3 files" in caplog.text


HEADERS = {  # the first lines; whether the first one names columns
    "1,a\n2,b\n": False,
    "a,a\na,b\n": False,
    "2024-01-01,x\n2024-01-02,y\n": False,
    "name,town\nAnn,Rome\nBob,Oslo\n": True,
    "id,name\n1,Ann\n": True,
}


@pytest.mark.parametrize("text", HEADERS)
def test_a_file_without_a_header_is_noticed(here, tmp_path, text, caplog):
    """Its first row is a row, and the log says that there are no names; an option decides otherwise."""
    (tmp_path / "t.csv").write_text(text)
    frame = opened(here, tmp_path, format="csv")
    assert (frame.columns[0] == "_c0") is not HEADERS[text]
    assert frame.count() == text.count("\n") - HEADERS[text]
    assert ("names no columns" in caplog.text) is not HEADERS[text]
    forced = opened(here, tmp_path, format="csv", options={"header": "false"})
    assert forced.count() == text.count("\n")


@pytest.mark.parametrize(("name", "separator"), [("t.tsv", "\t"), ("t.psv", "|"), ("t.txt", ";"), ("t.csv.gz", ",")])
def test_other_endings_are_csv(here, tmp_path, name, separator):
    """What a file is called by says how it is separated; compressed ones are read."""
    data = f"id{separator}x\n1{separator}a\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert rows(opened(here, tmp_path / name, format="csv"), "id") == [(1, "a")]


def test_types_can_be_left_to_the_reader_of_the_table(here, tmp_path):
    """inferSchema: "false" leaves all text, source.schema sets some."""
    (tmp_path / "t.csv").write_text("id,x\n1,2\n")
    frame = opened(here, tmp_path, format="csv", options={"inferSchema": "false"}, schema={"x": "double"})
    assert rows(frame, "id") == [("1", 2.0)]


@pytest.mark.slow
def test_a_large_file_with_line_breaks_in_quotes_is_whole(here, tmp_path):
    """Engines read large files in parts; a part must not begin within a value."""
    (tmp_path / "t.csv").write_text(
        "id,text\n" + "".join(f'{i},"line {i}\nand, ""more"" {"x" * 80}"\n' for i in range(100_000))
    )
    frame = opened(here, tmp_path, format="csv")
    assert frame.count() == frame.where("text like 'line %'").count() == 100_000


def test_folders_names_are_columns_of_csv_too(here, tmp_path):
    """Hive's layout, with its null."""
    for name in ("2023", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"year={name}").mkdir()
        (tmp_path / f"year={name}" / "t.csv").write_text("x\n1\n")
    frame = opened(here, tmp_path, format="csv")
    assert frame.dtypes == [("x", "bigint"), ("year", "int")]
    assert rows(frame, "year") == [(1, None), (1, 2023)]
    texts = opened(here, tmp_path, format="csv", schema={"year": "string", "x": "double"})
    assert texts.dtypes == [("x", "double"), ("year", "string")]


def test_a_file_that_changes_is_looked_at_again(here, tmp_path):
    """What was found out of a file holds as long as it is the same one."""
    (tmp_path / "t.csv").write_text("x\n1\n")
    assert opened(here, tmp_path, format="csv").dtypes == [("x", "bigint")]
    (tmp_path / "t.csv").write_text("x\none\n")
    assert opened(here, tmp_path, format="csv").dtypes == [("x", "string")]


def test_no_error_of_reading_is_a_traceback(here, tmp_path):
    """Whatever bytes are called CSV: rows, or an error of ours."""
    for i, data in enumerate([b"\x00\x01\x02", b"\xff" * 100, b'"', b'a,"b\n', b",,,\n", b"\n\n\n", b"PAR1\x15\x04"]):
        place = tmp_path / f"{i}.csv"
        place.write_bytes(data)
        try:
            opened(here, place, format="csv").collect()
        except VaeAnomalyError:
            continue
