"""The types of a CSV file's columns, by all of its values: the same on every engine, and none of them lost.

A column whose every value is written as a number, a truth value, a date or a time is that; any other is text. So digits
with leading zeros stay text, and a column of numbers with an ``N/A`` among them does too, which is told.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vae_model.config.tables import Source
from vae_model.errors import SourceError
from vae_model.places.listing import Listing
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, is_transient, reason
from vae_model.spark.source import overrides
from vae_model.spark.source.scan import Scan
from vae_model.spark.source.survey import Written, survey

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

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
        names = [name for name in frame.columns if name not in listing.partition_columns]
        given = {name: type_ for name, type_ in source.types.items() if name in names}
        overrides.cast(frame, source, given)
        try:
            written = survey(frame, names)
        except ENGINE_ERRORS as error:
            raise _reading_error(source, error, scan.odd_row()) from None
        if names and written[names[-1]].returns and not engine_of(frame.sparkSession).can.line_ends:
            raise SourceError(
                f"The lines of {source} end in two ways, which {engine_of(frame.sparkSession).name} does not take.",
                "all lines with a carriage return at their end, or none",
                f"{written[names[-1]].returns:,} values of {names[-1]} that end in one",
                "Convert the files (dos2unix), or use engine: sail.",
            )
        doubtful = {name: type_ for name, type_ in given.items() if not _holds(type_, written[name].ways)}
        overrides.check_values(frame, source, doubtful, scan.unfit)
        kept[key] = _types(source, {name: written[name] for name in names if name not in given}) | given
    return overrides.cast(frame, source, kept[key])


def _reading_error(source: Source, error: Exception, odd: str) -> SourceError:
    """The error for files that an engine cannot read, by what was found in them."""
    if not odd:
        return SourceError(f"The source {source} cannot be read.", found=reason(error), transient=is_transient(error))
    return SourceError(
        f"A row of {source} has more or fewer values than its file's first row.",
        found=odd,
        hint="Correct it. A value with a separator or a line break in it stands in double quotes, and a double quote "
        "within these is written twice; source.options names others: {quote: …, escape: …}.",
    )


def _holds(type_: str, ways: set[str]) -> bool:
    """Whether a type is known to hold all that is written in some ways."""
    mine = overrides.spelled(type_)
    return mine == "string" or any(mine == wide and ways <= own for own, wide in TYPES.items())


def _types(source: Source, written: Mapping[str, Written]) -> dict[str, str]:
    """The types of columns, by how their values are written."""
    infer = next((value for name, value in source.options.items() if name.lower() == "inferschema"), "true")
    types = {}
    for name, own in written.items():
        types[name] = TYPES.get(frozenset(own.ways), "string") if infer.lower() == "true" else "string"
        if own.unknown:
            log.warning(
                "%s: %s values of %s hold letters that are not UTF-8. If they are of another encoding, name it: "
                "source.options: {encoding: ISO-8859-1}, with engine: spark",
                source, f"{own.unknown:,}", name,
            )  # fmt: skip
        if own.ways & set("in") and types[name] == "string" and 0 < own.texts <= MOSTLY * own.present:
            log.warning(
                "%s: %s is read as text: %s of its %s values are no numbers. If they stand for null, say so: "
                "source.options: {nullValue: …}",
                source, name, f"{own.texts:,}", f"{own.present:,}",
            )  # fmt: skip
    return types
