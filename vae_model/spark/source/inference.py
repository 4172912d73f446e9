"""The types of a CSV file's columns, by all of its values: the same on every engine, and none of them lost.

A column whose every value is written as a number, a truth value, a date or a time is that; any other is text. So digits
with leading zeros stay text, and a column of numbers with an ``N/A`` among them does too, which is told.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from vae_model.config.sections import Source
from vae_model.errors import SourceError
from vae_model.places.identifiers import quote
from vae_model.places.listing import Listing
from vae_model.spark.frames import ENGINE_ERRORS, column, is_transient, reason
from vae_model.spark.source import overrides
from vae_model.spark.source.dialect import BOOLEAN, DATE, FRACTION, TIME, WHOLE, ZONED
from vae_model.spark.source.scan import Scan

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

log = logging.getLogger(__name__)

COLUMNS_AT_ONCE = 200
"""Columns that are looked at in one pass."""
MOSTLY = 0.05
"""A column with fewer values than this share that are no numbers looks like numbers with something in between."""
TYPES = {
    frozenset("i"): "bigint",
    frozenset("n"): "double",
    frozenset("in"): "double",
    frozenset("b"): "boolean",
    frozenset("d"): "date",
    frozenset("s"): "timestamp_ntz",
    frozenset("ds"): "timestamp_ntz",
    frozenset("z"): "timestamp",
}
"""A column's type, by how its values are written; of all other mixtures it is text."""
_seen: weakref.WeakKeyDictionary[SparkSession, dict[Any, dict[str, str]]] = weakref.WeakKeyDictionary()
"""The types found in a session; files that have changed are looked at again."""


def typed(source: Source, listing: Listing, frame: DataFrame, scan: Scan) -> DataFrame:
    """A DataFrame of text columns as what they are, or as ``source.schema`` says.

    Raises SourceError where a row has another number of values than the first, or a value does not fit what
    ``source.schema`` asks for: with file and line, without the value.
    """
    kept = _seen.setdefault(frame.sparkSession, {})
    key = (source.model_dump_json(), listing.files)
    if key not in kept:
        overrides.check_known(source, frame.columns)
        given = {name: type_ for name, type_ in source.types.items() if name not in listing.partition_columns}
        overrides.cast(frame, source, given)
        try:
            found = _types(source, frame, [n for n in frame.columns if n not in {*given, *listing.partition_columns}])
            overrides.check_values(frame, source, given, scan.unfit)
        except SourceError as error:
            if odd := scan.odd_row():
                raise SourceError(
                    f"A row of {source} has more or fewer values than the header has names.",
                    found=odd,
                    hint="Correct it. A value with a separator or a line break in it stands in double quotes, and a "
                    "double quote within these is written twice; source.options names others: {quote: …, escape: …}.",
                ) from None
            raise error
        kept[key] = found | given
    return overrides.cast(frame, source, kept[key])


def _written(name: str) -> Column:
    """How a column's values are written, each by a letter; null where there is none."""
    value = quote(name)
    return F.expr(f"""case
        when {value} is null then null
        when {value} rlike '^({WHOLE})$' then 'i'
        when {value} rlike '^({FRACTION})$' then 'n'
        when {value} rlike '^({BOOLEAN})$' then 'b'
        when {value} rlike '^({DATE})$' and try_cast({value} as date) is not null then 'd'
        when {value} rlike '^({TIME})$' and try_cast({value} as timestamp_ntz) is not null then 's'
        when {value} rlike '^({ZONED})$' and try_cast({value} as timestamp) is not null then 'z'
        else 't' end""")


def _types(source: Source, frame: DataFrame, names: list[str]) -> dict[str, str]:
    """The types of columns, by their values. Reads every row, if only to see that it can be read."""
    infer = next((v for name, v in source.options.items() if name.lower() == "inferschema"), "true").lower() == "true"
    types = {}
    for start in range(0, max(len(names), 1), COLUMNS_AT_ONCE):
        some = names[start : start + COLUMNS_AT_ONCE] if infer else []
        sums = [F.count(column(frame.columns[-1]))]
        for name in some:
            sums += [F.collect_set(_written(name)), F.count(column(name)),
                     F.sum(F.when(_written(name) == "t", 1).otherwise(0)),
                     F.sum(F.when(column(name).contains("\ufffd"), 1).otherwise(0))]  # fmt: skip
        try:
            row = frame.select(*(one.alias(f"c{i}") for i, one in enumerate(sums))).collect()[0]
        except ENGINE_ERRORS as error:
            raise SourceError(
                f"The source {source} cannot be read.", found=reason(error), transient=is_transient(error)
            ) from error
        for i, name in enumerate(some):
            written, present, texts, unknown = row[1 + 4 * i : 5 + 4 * i]
            types[name] = TYPES.get(frozenset(written), "string")
            _tell(source, name, set(written), present, texts or 0, unknown or 0)
    return types


def _tell(source: Source, name: str, written: set[str], present: int, texts: int, unknown: int) -> None:
    """Log what a person should know of a column."""
    if unknown:
        log.warning("%s: %s values of %s hold letters that are not UTF-8", source, f"{unknown:,}", name)
    if written & set("in") and 0 < texts <= MOSTLY * present:
        log.warning(
            "%s: %s is read as text: %s of its %s values are no numbers. If they stand for null, say so: "
            "source.options: {nullValue: …}",
            source, name, f"{texts:,}", f"{present:,}",
        )  # fmt: skip
