"""Scoring rows that come one after the other: batches in the order of their series, each with the last rows of the one
before it to look back at.

The function that travels is a closure, pickled by value; all it names is ``vae_model.scoring.scorer`` and Arrow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from vae_model.scoring.output import COMPUTED, OUTPUT
from vae_model.scoring.scorer import Scorer, load_scorer
from vae_model.spark.frames import column, from_arrow
from vae_model.spark.source.series import numbered
from vae_model.spark.workers import transport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from vae_model.decisions.calibration import Rule


def _scoring(
    digest: str,
    rule: Rule,
    model: Callable[[], bytes],
    observe: Callable[[], None],
    given: list[int],
    number: int,
    own: int | None,
    passed: list[int],
    names: list[str],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The scorer over batches of whole rows: columns by their places, ``given`` to the scorer, ``passed`` on."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = load_scorer(digest, rule, model)
        look_back = scorer.look_back
        before: list[pa.Array] | None = None
        for batch in batches:
            if not batch.num_rows:
                continue
            arrays = [batch.column(place) for place in given]
            numbers = batch.column(number)
            if before is not None:
                arrays = [pa.concat_arrays(pair) for pair in zip(before, [*arrays, numbers], strict=True)]
                numbers = arrays.pop()
            first = len(numbers) - batch.num_rows
            before = [array.slice(max(len(numbers) - look_back, 0)) for array in [*arrays, numbers]]
            wanted = None if own is None else batch.column(own)
            if wanted is not None and not wanted.true_count:
                continue
            follows_N = np.diff(numbers.to_numpy(), prepend=-1) == 1
            struct = scorer.along(arrays, follows_N, first)
            columns = [*(batch.column(place) for place in passed), *struct.flatten()]
            scored = pa.RecordBatch.from_arrays(columns, names)
            yield scored if wanted is None else scored.filter(wanted)
            observe()

    return score


def add_scores(
    frame: DataFrame,
    data: bytes,
    scorer: Scorer,
    key: list[str],
    prefix: str = "",
    run: str | None = None,
    observe: Callable[[], None] | None = None,
    own: str | None = None,
) -> DataFrame:
    """``frame`` with the output columns after its own. The rows of a series come together by one shuffle; lazy.

    ``own`` names a column of ``frame`` that says which rows are wanted: the others are there to be looked back at, and
    go; and so does it.
    """
    spark = frame.sparkSession
    transport.ship_package(spark)
    if scorer.windows is None:
        raise ValueError(f"{scorer.name} scores each row by itself")
    ordered, number = numbered(frame, scorer.windows.sequence, key, scorer.spec.names)
    places = {name: place for place, name in enumerate(ordered.columns)}
    passed = [place for name, place in places.items() if name not in (own, number)]
    kept = [ordered.schema.fields[place] for place in passed]
    fields = [*kept, *(StructField(prefix + field.name, field.dataType) for field in from_arrow(COMPUTED))]
    names = [f"c{place}" for place in range(len(fields))]  # pyspark takes a dot in a name for a field of a struct here
    function = _scoring(
        hashlib.sha256(data).hexdigest(), scorer.rule, transport.ship_model(spark, data), observe or (lambda: None),
        [places[name] for name in scorer.names], places[number], None if own is None else places[own], passed, names,
    )  # fmt: skip
    given = ordered.select(*(column(name).alias(f"c{place}") for name, place in places.items()))
    told = StructType([StructField(name, field.dataType) for name, field in zip(names, fields, strict=True)])
    scored: Any = given.mapInArrow(function, told)
    constants = dict(zip(OUTPUT.names[-2:], (scorer.name, run), strict=True))
    return scored.select(
        *(column(name).alias(field.name) for name, field in zip(names, fields, strict=True)),
        *(F.lit(value).alias(prefix + name) for name, value in constants.items() if value is not None),
    )
