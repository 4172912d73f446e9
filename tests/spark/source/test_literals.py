"""Values as SQL literals: each engine gives back what went in, and takes none of it for SQL."""

import math
from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vae_model.config.parameters import from_options, from_values
from vae_model.places import literals
from vae_model.spark.source.table import where

NASTY = [
    "O'Brien", "''", "\\", "\\'", "a\\nb", "\\u0041", "\n\r\t\x00", "-- x", "/* x", '"', "`", "%_\\%", "${x}", "",
    "' OR '1' = '1", "\\' OR 1 = 1 --", "\x85\u2028\ufeff", "é\U0001f600", "{{ x }}", ";",
]  # fmt: skip
"""Quotes and escapes of one engine or another, comments, and the variables of Spark's SQL."""
few = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def asked(engine, parts):
    """The one row of a SELECT."""
    return engine.sql("SELECT " + ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(parts))).collect()[0]


@few
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=40))
@example(texts=NASTY)
def test_a_text_is_read_as_it_was(engine, texts):
    """Whatever letters a text has, its literal is that text."""
    assert list(asked(engine, map(literals.text, texts))) == texts


@few
@given(days=st.lists(st.dates(), min_size=1, max_size=20))
@example(days=[date(1, 1, 1), date(9999, 12, 31), date(1582, 10, 10)])
def test_a_date_is_read_as_it_was(engine, days):
    """A date of any year is that date."""
    assert list(asked(engine, map(literals.day, days))) == days


@few
@given(
    moments=st.lists(
        st.datetimes(
            datetime(1, 1, 2),
            datetime(9999, 12, 30),
            timezones=st.integers(-18 * 60, 18 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_timestamp_is_the_moment_it_was(engine, moments):
    """A timestamp with an offset is that moment, to the microsecond."""
    micros = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in moments]
    assert list(asked(engine, (f"unix_micros({literals.timestamp(moment)})" for moment in moments))) == micros


@few
@given(numbers=st.lists(st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example(numbers=[1e16, 1e-5, 5e-324, 1.7976931348623157e308, -0.0, 10**38 - 1])
def test_a_number_is_read_as_it_was(engine, numbers):
    """A number of any size is that number, whichever type the engine gives it."""
    found = asked(engine, (from_values({"x": number})["x"].sql for number in numbers))
    assert all(math.isclose(float(one), number, rel_tol=1e-15) for one, number in zip(found, numbers, strict=True))


def test_a_value_is_never_sql(engine):
    """A predicate with a hostile value matches the rows that have the value, and no others."""
    frame = engine.createDataFrame([(text,) for text in NASTY], "t string")
    for text in NASTY:
        sql = from_options([f"x:text={text}"])["x"].sql
        assert [row.t for row in where(frame, f"t = {sql}", "source.where").collect()] == [text]
