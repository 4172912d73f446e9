"""Engines' errors in a person's words: the telling line, and nothing of the row that it was about."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_model.spark import frames

STREAM = """<_MultiThreadedRendezvous of RPC that terminated with:
\tstatus = StatusCode.{status}
\tdetails = "{details}"
\tdebug_error_string = "{debug}"
>"""
STACK = "\tat org.apache.spark.sql.errors.QueryExecutionErrors$.cannotReadFilesError(QueryExecutionErrors.scala:940)\n"
TASK = (
    "Job aborted due to stage failure: Task 0 in stage 5.0 failed 1 times, most recent failure: Lost task 0.0 in stage "
    "5.0 (TID 7) (192.0.2.1 executor driver): "
)

REASONS = {
    "sail, a message over gRPC's limit": (
        STREAM.format(
            status="RESOURCE_EXHAUSTED",
            details="Stream removed (CLIENT: Received message larger than max (160000620 vs. 134217728))",
            debug="RESOURCE_EXHAUSTED:Stream removed",
        ),
        "RESOURCE_EXHAUSTED: Stream removed (CLIENT: Received message larger than max (160000620 vs. 134217728))",
    ),
    "sail, a panic while a broken Parquet file is read": (
        STREAM.format(
            status="CANCELLED",
            details="Stream removed (RST_STREAM (Received RST_STREAM with error code 8))",
            debug="CANCELLED:Stream removed",
        ),
        "CANCELLED: Stream removed (RST_STREAM (Received RST_STREAM with error code 8)); the engine broke off without "
        "a word, its own log may say more",
    ),
    "gRPC, no details": (
        STREAM.format(status="INTERNAL", details="", debug="UNKNOWN:Error received from peer"),
        "INTERNAL: UNKNOWN:Error received from peer",
    ),
    "gRPC, not a word": (STREAM.format(status="INTERNAL", details="", debug=""), "INTERNAL"),
    "connect, memory": (
        STREAM.format(status="UNKNOWN", details="Java heap space", debug="UNKNOWN:Java heap space"),
        "UNKNOWN: Java heap space",
    ),
    "sail, a cast": (
        "Cannot cast string 'Jane Doe' to value of Int32 type",
        "Cannot cast string '…' to value of Int32 type",
    ),
    "sail, a row of CSV": (
        "Parser error: Error while parsing value 'Jane\nDoe' as type 'Int64' for column 0 at line 2001. "
        "Row data: '[Jane\nDoe,12]'",
        "Parser error: Error while parsing value '…' as type 'Int64' for column 0 at line 2001. Row data: …",
    ),
    "spark, a row of CSV": (
        "An error occurred while calling o50.collectToPython.\n"
        ": org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file "
        f"file:///d/a.csv.  SQLSTATE: KD001\n{STACK}"
        "Caused by: org.apache.spark.SparkException: [MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION] Malformed "
        "records are detected in record parsing: [Jane\nDoe,null].\nParse Mode: FAILFAST. To process malformed records "
        "as null result, try setting the option 'mode' as 'PERMISSIVE'.  SQLSTATE: 22023\n\t... 1 more\n"
        'Caused by: java.lang.NumberFormatException: For input string: "Jane"\n\t... 26 more\n',
        "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///d/a.csv. "
        "[MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION] Malformed records are detected in record parsing: ….",
    ),
    "spark, a broken footer": (
        "An error occurred while calling o212.parquet.\n"
        ": org.apache.spark.SparkException: [FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] Encountered error while reading "
        "file file:/d/a.parquet. Could not read footer. Please ensure that the file is in either ORC or Parquet "
        f"format.\nIf not, please convert it to a valid format. SQLSTATE: KD001\n{STACK}"
        "\tSuppressed: org.apache.spark.SparkException: Exception thrown in awaitResult\n\t\t... 1 more\n"
        "Caused by: java.lang.RuntimeException: corrupted file: the footer index is not within the file: -117900663\n",
        "[FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] Encountered error while reading file file:/d/a.parquet. "
        "java.lang.RuntimeException: corrupted file: the footer index is not within the file: -117900663",
    ),
    "connect, a cast": (
        '[CAST_INVALID_INPUT] The value \'Jane Doe\' of the type "STRING" cannot be cast to "INT" because it is '
        "malformed. SQLSTATE: 22018\n== SQL (line 1, position 8) ==\nselect cast('Jane Doe' as int)\n       ^^^^\n\n\n"
        f"JVM stacktrace:\norg.apache.spark.SparkNumberFormatException\n{STACK}",
        '[CAST_INVALID_INPUT] The value … of the type "STRING" cannot be cast to "INT" because it is malformed.',
    ),
    "connect, a predicate that does not parse": (
        "\n[PARSE_SYNTAX_ERROR] Syntax error at or near '<'. SQLSTATE: 42601 (line 1, pos 5)\n\n== SQL ==\nid <<< 3\n",
        "[PARSE_SYNTAX_ERROR] Syntax error at or near '<'.",
    ),
    "spark, a worker that died": (
        f"An error occurred while calling o183.collectToPython.\n: org.apache.spark.SparkException: {TASK}"
        f"org.apache.spark.SparkException: Python worker exited unexpectedly (crashed).\n{STACK}"
        "Caused by: java.io.EOFException\n\t... 24 more\n\nDriver stacktrace:\n",
        "Python worker exited unexpectedly (crashed).",
    ),
    "connect, Python on a worker": (
        "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n[PYTHON_EXCEPTION] An "
        "exception was thrown from the Python worker: Traceback (most recent call last):\n"
        '  File "errs.py", line 53, in f\nValueError: worker says no\n second line\n SQLSTATE: 38000',
        "ValueError: worker says no",
    ),
    "delta, a constraint": (
        "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint c (a < 5) violated by row with values:\n - a : Jane",
        "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint c (a < 5) violated by row with values:…",
    ),
    "a heading first": ("External error:\nObject store: 404", "Object store: 404"),
    "a heading alone": ("External error:", "External error:"),
    "nothing": ("", "Exception"),
    "line breaks": ("\n \n", "Exception"),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_telling_line_is_found(case):
    """Of what an engine raised (as it was seen, shortened) the telling line is given, without the row's own data."""
    text, told = REASONS[case]
    assert frames.reason(Exception(text)) == told


def test_a_rows_data_makes_no_error_transient():
    """What may go well the next time is read from the engine's words, not from a row that it quotes."""
    quoted = "Error while parsing value 'Service Unavailable' as type 'Int64'. Row data: '[Connection refused]'"
    assert not frames.is_transient(Exception(quoted))
    assert frames.is_transient(Exception("Service Unavailable"))


def test_an_error_of_the_engine_has_a_reason(engine, tmp_path):
    """A file that is no Parquet file, a function that fails on a row: no reason is empty, and none shows a stack."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(100))
    failing = (
        lambda: engine.read.parquet(str(tmp_path / "broken.parquet")).collect(),
        lambda: engine.sql("SELECT CAST(s AS int) FROM VALUES ('Jane Doe') AS t(s)").collect(),
    )
    if engine.version.startswith("3."):  # by itself it makes null of such a value
        failing = failing[:1]
    for fails in failing:
        with pytest.raises(frames.ENGINE_ERRORS) as error:
            fails()
        reason = frames.reason(error.value)
        assert len(reason) > 20 and not reason.endswith(":")
        assert "\n" not in reason and "Jane" not in reason and "An error occurred" not in reason


def test_a_value_without_room_here_is_a_read_error(engine, tmp_path):
    """A year beyond 9999 is no date of Python's: what pyspark raises then is known as an error of reading."""
    far = pa.array([dt.date(9999, 12, 31).toordinal() * 86_400_000_000 * 10], pa.timestamp("us"))
    pq.write_table(pa.table({"t": far}), tmp_path / "far.parquet")
    with pytest.raises(frames.READ_ERRORS):
        engine.read.parquet(str(tmp_path / "far.parquet")).collect()
