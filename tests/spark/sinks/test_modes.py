"""The promise of each mode, on Delta and Parquet, by path and by name, on each engine."""

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from tests.spark.sinks.days import OLD, ONE, THREE, TWO, by, found, frame_of, output_at, save
from vae_model.errors import JobError
from vae_model.places import identifiers, literals
from vae_model.spark.sinks import commits, delta, sink
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.thorough

SLICED = pytest.mark.parametrize(
    ("kind", "format_", "partition_by"),
    [("path", "delta", []), ("path", "delta", ["day"]), ("table", "delta", []), ("path", "parquet", ["day"])],
)
APPENDED = pytest.mark.parametrize(
    ("kind", "format_"), [("path", "delta"), ("table", "delta"), ("path", "parquet"), ("table", "parquet")]
)
DELTA = pytest.mark.parametrize("kind", ["path", "table"])
NEW = [(1, ONE, 10.0), (7, ONE, 7.0)]


@pytest.mark.slow
@SLICED
def test_a_slice_is_replaced_and_nothing_else(engine, tmp_path, kind, format_, partition_by):
    """However often it is run; rows of other days and of none stay, of whichever run they are."""
    output = output_at(tmp_path, kind, format_, "replace_where", partition_by=partition_by)
    where = "day = DATE '2026-01-01'"
    save(engine, frame_of(engine, OLD), output, "old", where=where)
    assert found(engine, output) == by("old", OLD)
    for _ in range(3):
        save(engine, frame_of(engine, NEW), output, "new", where=where)
        assert found(engine, output) == sorted([*by("new", NEW), *by("old", OLD[2:])])


PREDICATES = {
    "day <> DATE '2026-01-02'": [1, 2],
    "NOT (day = DATE '2026-01-02')": [1, 2],
    "day IN (DATE '2026-01-02', DATE '2026-01-09')": [3],
    "day IS NULL": [4, 5],
    "if(day IS NULL, DATE '2026-01-01', day) = DATE '2026-01-01' -- and more": [1, 2, 4, 5],
    "day = DATE '2026-01-01' OR day IS NULL": [1, 2, 4, 5],
    "year(day) = 2026 /* all */": [1, 2, 3],
    "day > DATE '2026-01-09'": [],
    "NULL": [],
}


@pytest.mark.soak_on("connect")
@pytest.mark.slow
@pytest.mark.parametrize("where", PREDICATES)
@pytest.mark.parametrize(("format_", "partition_by"), [("delta", []), ("parquet", ["day"])])
def test_a_null_neither_matches_nor_is_lost(engine, tmp_path, format_, partition_by, where):
    """A row is replaced where the predicate is true of it; where it is null, as where it is false, the row stays."""
    output = output_at(tmp_path, "path", format_, "replace_where", partition_by=partition_by, allow_empty=True)
    save(engine, frame_of(engine, OLD), output, "old", where=where)
    save(engine, frame_of(engine, OLD).where(f"({where}\n) IS TRUE"), output, "new", where=where)
    expected = [(*row, "new" if row[0] in PREDICATES[where] else "old") for row in OLD]
    assert found(engine, output) == expected
    save(engine, frame_of(engine, OLD).where("false"), output, "none", where=where)
    assert found(engine, output) == [row for row in expected if row[-1] == "old"]


@pytest.mark.soak_on("spark", "connect")
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replace_where", "append", "merge"])
@pytest.mark.parametrize("partition_by", [[], ["day"]])
def test_nan_beside_one_value_stays_when_its_file_is_written_anew(engine, tmp_path, mode, partition_by):
    """Sail goes by statistics, which pass over NaN, and made it the value of the rows beside it."""
    rows = [(1, ONE, 1.0), (2, ONE, float("nan")), (3, ONE, 1.0), (4, TWO, float("nan"))]
    output = output_at(tmp_path, "path", "delta", mode, partition_by=partition_by)
    save(engine, frame_of(engine, rows).coalesce(1), output, "old", where="id = 3")
    for _ in range(2):
        save(engine, frame_of(engine, [(3, ONE, 1.0)]), output, "new", where="id = 3")
        values = read_output(engine, output).where("anomaly_run = 'old'").select("id", F.isnan("value")).collect()
        assert {(row[0], row[1]) for row in values} >= {(1, False), (2, True), (4, True)}


@pytest.mark.slow
@APPENDED
def test_a_runs_rows_are_there_once(engine, tmp_path, kind, format_):
    """The same id again replaces its own rows, also when others were added meanwhile; other ids add."""
    output = output_at(tmp_path, kind, format_, "append")
    for run, rows in (("a", OLD), ("a", OLD), ("b's \\ run", NEW), ("a", OLD[1:]), ("b's \\ run", NEW)):
        save(engine, frame_of(engine, rows), output, run)
    assert found(engine, output) == sorted([*by("a", OLD[1:]), *by("b's \\ run", NEW)], key=lambda r: (r[0], str(r)))


@pytest.mark.slow
@APPENDED
def test_a_run_that_has_no_rows_any_more_takes_its_own_away(engine, tmp_path, kind, format_):
    """And none of another's."""
    output = output_at(tmp_path, kind, format_, "append", allow_empty=True)
    save(engine, frame_of(engine, OLD), output, "a")
    save(engine, frame_of(engine, NEW), output, "b")
    save(engine, frame_of(engine, OLD).where("false"), output, "a")
    save(engine, frame_of(engine, OLD).where("false"), output, "c")
    assert found(engine, output) == by("b", NEW)


@pytest.mark.slow
@APPENDED
def test_a_replaced_output_may_be_empty(engine, tmp_path, kind, format_):
    """With its columns, so that it can be read and written to again."""
    output = output_at(tmp_path, kind, format_, "replace", allow_empty=True)
    save(engine, frame_of(engine, OLD), output, "a")
    save(engine, frame_of(engine, OLD).where("false"), output, "b")
    assert found(engine, output) == []
    save(engine, frame_of(engine, NEW), output, "c")
    assert found(engine, output) == by("c", NEW)


@pytest.mark.slow
@DELTA
def test_rows_are_merged_by_their_key(engine, tmp_path, kind):
    """Those with a key that is there are updated, a null key like any other; the others are added. Again: the same."""
    output = output_at(tmp_path, kind, "delta", "merge")
    save(engine, frame_of(engine, [*OLD, (None, TWO, 9.0)]), output, "old")
    new = [(1, TWO, 10.0), (6, THREE, 6.0), (None, ONE, 90.0)]
    for _ in range(3):
        save(engine, frame_of(engine, new), output, "new")
        assert found(engine, output) == [
            *by("new", new[:1]), *by("old", OLD[1:]), *by("new", new[1:])]  # fmt: skip


@pytest.mark.slow
@DELTA
@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (None, []),
        ("day = DATE '2026-01-01'", [3, 4, 5]),
        ("day <> DATE '2026-01-02'", [3, 4, 5]),
        ("value > 4", [2, 3, 4]),
    ],
)
def test_what_is_gone_from_the_source_is_removed(engine, tmp_path, kind, where, kept):
    """Of the whole output, or of the slice that was scored; where its predicate is null a row stays."""
    output = output_at(tmp_path, kind, "delta", "merge", delete_missing=True)
    save(engine, frame_of(engine, OLD), output, "old")
    for _ in range(2):
        save(engine, frame_of(engine, NEW), output, "new", where=where)
        assert found(engine, output) == sorted(
            [*by("new", NEW), *by("old", [row for row in OLD if row[0] in kept])])  # fmt: skip


def test_a_merge_by_odd_names(engine, tmp_path):
    """A key of two columns whose names have dots, ticks, spaces and umlauts, in a table of more than 32 columns."""
    output = output_at(tmp_path, "path", "delta", "merge", prefix="x_")
    odd = ["a.b `c` d", "é;--"]
    wide = [f"F.{i}" for i in range(40)]
    columns = [
        F.lit(i).alias(name) for i, name in enumerate(wide)
    ]  # for each such column Sail's MERGE takes twice as long
    frame = frame_of(engine, OLD).select(*columns, "*").withColumn(odd[0], F.col("id")).withColumn(odd[1], F.lit("k"))
    save(engine, frame, output, "old", key=odd)
    save(engine, frame.where("id < 3").withColumn("value", F.lit(0.0)), output, "new", key=odd)
    assert found(engine, output) == [(1, ONE, 0.0, "new"), (2, ONE, 0.0, "new"), *by("old", OLD[2:])]


TEXTS = ["it's", "a b", "50%", "a/b", "x=y", "ü", "{[*?]}", "\\", "null", " "]


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_slice_of_any_text(engine, tmp_path, format_):
    """Whatever letters the column's name and its values have; as the last of many, which has no statistics."""
    name = "k; x" if format_ == "parquet" else "k `ä`.x"
    partition_by = [name] if format_ == "parquet" else []
    output = output_at(tmp_path, "path", format_, "replace_where", partition_by=partition_by)
    wide = [F.lit(i).alias(f"w{i}") for i in range(35)]
    days = [(i, ONE, 1.0) for i in range(len(TEXTS) + 2)]
    texts = F.array(*(F.expr(literals.text(text)) for text in [*TEXTS, "another"]))
    frame = frame_of(engine, days).select(*wide, "*", F.get(texts, F.col("id").cast("int")).alias(name))
    where = f"{identifiers.quote(name)} IN ({', '.join(map(literals.text, TEXTS))})"
    save(engine, frame, output, "old", where=where)
    save(engine, frame.where("id < 9").withColumn("value", F.lit(0.5)), output, "new", where=where)
    assert found(engine, output) == [*((i, ONE, 0.5, "new") for i in range(9)), *by("old", days[10:])]


@pytest.mark.slow
@SLICED
def test_another_runs_rows_of_another_slice_stay_untouched(engine, tmp_path, kind, format_, partition_by):
    """A backfill in any order: each day is its own run's."""
    output = output_at(tmp_path, kind, format_, "replace_where", partition_by=partition_by)
    days = {"r3": THREE, "r1": ONE, "r2": TWO}
    for run, day in [*days.items(), ("r1", ONE)]:
        save(engine, frame_of(engine, [(day.day, day, 1.0)]), output, run, where=f"day = DATE '{day}'")
    assert found(engine, output) == [(d.day, d, 1.0, f"r{d.day}") for d in (ONE, TWO, THREE)]


@pytest.mark.soak_on("connect")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "format_", "mode", "stamped"),
    [
        ("path", "delta", "append", True), ("path", "delta", "replace_where", True), ("path", "delta", "merge", True),
        ("table", "delta", "replace", True), ("table", "delta", "merge", True), ("table", "delta", "append", True),
        ("path", "parquet", "append", True), ("path", "parquet", "replace_where", True),
        ("path", "parquet", "replace", True),
        ("table", "parquet", "replace", False),
    ],
)  # fmt: skip
def test_the_output_says_which_run_wrote_last(engine, tmp_path, kind, format_, mode, stamped):
    """With its key, by whatever commit and whether it is the first or a later one."""
    partition_by = ["day"] if format_ == "parquet" and kind == "path" else []
    output = output_at(tmp_path, kind, format_, mode, partition_by=partition_by)
    for run, rows in (("one", OLD), ("two", OLD[:2]), ("three", OLD[:1])):
        save(engine, frame_of(engine, rows), output, run, where="day = DATE '2026-01-01'")
        stamp = sink.stamp(engine, output)
        assert (stamp.run, stamp.key, stamp.contract) == (run, ["id"], 2) if stamped else stamp is None
    assert read_output(engine, output).columns[-1] == "anomaly_run" or partition_by


@pytest.mark.parametrize("engine", ["sail"], indirect=True)  # others have MERGE
def test_a_merge_that_another_commit_came_before_is_done_upon_that(engine, tmp_path, monkeypatch):
    """Where Sail's newest version is a later one than ours looked at, the other run's rows are there all the same."""
    output = output_at(tmp_path, "path", "delta", "merge")
    save(engine, frame_of(engine, OLD[:2]), output, "old")
    save(engine, frame_of(engine, OLD[2:]), output, "another")
    newest = commits.newest(engine, output)
    monkeypatch.setattr(commits, "newest", lambda *_: newest - 1)
    save(engine, frame_of(engine, [(1, ONE, 0.0)]), output, "new")
    assert found(engine, output) == [(1, ONE, 0.0, "new"), *by("old", OLD[1:2]), *by("another", OLD[2:])]


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
@pytest.mark.parametrize("conflict", [True, False])
def test_a_merge_that_would_lose_anothers_rows_says_so(engine, tmp_path, monkeypatch, conflict):
    """Where that is overtaken in its turn, nothing is begun anew in silence: the version to restore is named."""
    output = output_at(tmp_path, "path", "delta", "merge")
    save(engine, frame_of(engine, OLD), output, "old")
    calls = iter([9, PySparkException("Failed to commit transaction: 0") if conflict else 12])

    def rewritten(*_):
        version = next(calls)
        if isinstance(version, Exception):
            raise version
        return version

    monkeypatch.setattr(delta, "_rewritten", rewritten)
    with pytest.raises(JobError, match="Version 8 of the table has rows that it lacks now") as caught:
        save(engine, frame_of(engine, NEW), output, "new")
    assert caught.value.exit_code == 1
    assert ("Failed to commit" in str(caught.value)) == conflict
