"""How all the values of text columns are written, in one pass: an Arrow function on the workers, a batch at a time.

Not SQL: a condition for each way of writing and each column takes an engine longer to plan than the rows to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from vae_model.spark.frames import column
from vae_model.spark.source.dialect import BOOLEAN, DATE, FRACTION, TIME, WHOLE, ZONED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WAYS = (("i", WHOLE), ("n", FRACTION), ("b", BOOLEAN), ("d", DATE), ("s", TIME), ("z", ZONED))
"""The letter of each way to write a value, and what is written so. ``t`` stands for any other text."""
DATED = "dsz"
"""The ways that begin with a date, which must be one."""


@dataclass
class Written:
    """How a column's values are written."""

    ways: set[str] = field(default_factory=set)
    """The letters of ``WAYS`` that occur."""
    present: int = 0
    """Values that are not null."""
    texts: int = 0
    """Those of them that are none of ``WAYS``."""
    unknown: int = 0
    """Those that hold a letter which was not understood (U+FFFD)."""
    returns: int = 0
    """Those that end in a carriage return."""


def survey(frame: DataFrame, names: Sequence[str]) -> dict[str, Written]:
    """How the values of some text columns are written. Raises what the engine raises."""
    found = {name: Written() for name in names}
    plain = frame.select(*(column(name).alias(f"c{i}") for i, name in enumerate(names)))  # Sail trips over a dot
    counted = plain.mapInArrow(_counting(WAYS, DATED), "c int, w string, n bigint, u bigint, r bigint")
    sums = [F.sum(name).alias(name) for name in "nur"]
    for c, way, number, unknown, returns in counted.groupBy("c", "w").agg(*sums).collect():
        own = found[names[c]]
        own.ways.add(way)
        own.present += number
        own.texts += number if way == "t" else 0
        own.unknown += unknown
        own.returns += returns
    return found


def _counting(ways: Sequence[tuple[str, str]], dated: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """A function over Arrow batches. It is pickled by value: a worker needs pyarrow, and nothing of this package."""

    def count(batches: Iterator[Any]) -> Iterator[Any]:
        from datetime import date

        import pyarrow as pa
        import pyarrow.compute as pc

        def is_day(text: str) -> bool:
            try:
                date.fromisoformat(text)
            except ValueError:
                return False
            return True

        def days(values: Any) -> Any:
            first = pc.utf8_slice_codeunits(values, 0, 10)
            different = pc.unique(first)
            real = [day for day in different.to_pylist() if is_day(day)]
            return pc.is_in(first, value_set=pa.array(real, pa.string()))

        total: dict[tuple[int, str], list[int]] = {}
        for batch in batches:
            for c, array in enumerate(batch.columns):
                left = array.cast(pa.string()).drop_null()
                for way, rule in ways:
                    if not len(left):
                        break
                    matches = pc.match_substring_regex(left, f"^({rule})$")
                    if way in dated and pc.any(matches).as_py():
                        matches = pc.and_(matches, days(left))
                    number = pc.sum(matches).as_py() or 0
                    if number:
                        total.setdefault((c, way), [0, 0, 0])[0] += number
                        left = left.filter(pc.invert(matches))
                if len(left):
                    own = total.setdefault((c, "t"), [0, 0, 0])
                    own[0] += len(left)
                    own[1] += pc.sum(pc.match_substring(left, "\ufffd")).as_py()
                    own[2] += pc.sum(pc.ends_with(left, "\r")).as_py()
        keys = list(total)
        yield pa.record_batch(
            [
                pa.array([c for c, _ in keys], pa.int32()),
                pa.array([way for _, way in keys], pa.string()),
                *(pa.array([total[key][i] for key in keys], pa.int64()) for i in range(3)),
            ],
            names=["c", "w", "n", "u", "r"],
        )

    return count
