"""One Python evaluation per row: feature columns in, one struct out, flattened beside the original columns.

The functions that travel are closures, pickled by value; all they name is ``vae_model.scoring.scorer``, so that a
worker imports numpy, pandas, pyarrow and that part of this package, and neither this module nor the job's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F

from vae_model.scoring.output import COMPUTED, EXPLAINED, OUTPUT
from vae_model.scoring.scorer import Scorer, load_scorer
from vae_model.spark.frames import column, columns, free_name, from_arrow
from vae_model.spark.workers import transport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.decisions.calibration import Rule

RETURN_TYPE, EXPLAINED_TYPE = from_arrow(COMPUTED), from_arrow(EXPLAINED)
"""Spark's types of the struct; as text they would be parsed by whichever Connect session is active."""


def _arrow_scoring(
    digest: str, rule: Rule, model: Callable[[], bytes], observe: Callable[[], None], explains: bool
) -> Any:
    """The scorer over Arrow batches (Spark 4.1 and later)."""

    def score(batches: Iterator[Any]) -> Iterator[pa.Array]:
        scorer = load_scorer(digest, rule, model)
        call = scorer.explain if explains else scorer
        for arrays in batches:
            yield call(arrays if isinstance(arrays, tuple) else (arrays,))  # a single column comes bare
            observe()

    return score


def _pandas_scoring(
    digest: str, rule: Rule, model: Callable[[], bytes], observe: Callable[[], None], explains: bool
) -> Any:
    """The same through pandas, for Spark 3.5 and 4.0, which have no Arrow UDF. Its columns are ``_for_pandas``'s."""

    def array(family: str, given: Iterator[Any]) -> pa.Array:
        values = pa.Array.from_pandas(next(given), next(given).to_numpy() if family in _SPOILED else None)
        if family != "timestamp":
            return values
        return values.cast(pa.timestamp("us", "UTC" if pa.types.is_integer(values.type) else None))

    def score(batches: Iterator[Any]) -> Iterator[pd.DataFrame]:
        scorer = load_scorer(digest, rule, model)
        call = scorer.explain if explains else scorer
        for batch in batches:
            given = iter(batch if isinstance(batch, tuple) else (batch,))
            families = [feature.family for feature in scorer.spec.columns]
            texts = ["string"] * (len(scorer.names) - len(families))
            struct = call([array(family, given) for family in families + texts])
            yield pa.Table.from_struct_array(struct).to_pandas()
            observe()

    return score


_SPOILED = ("integer", "timestamp")
"""What pandas cannot hold as it is: whole numbers among which one is missing become floats, times lose their zone (and
Spark gives them in the session's), and years before 1678 or after 2261 do not fit."""


def _for_pandas(frame: DataFrame, scorer: Scorer) -> list[Any]:
    """The columns for a pandas UDF: features, a ``_SPOILED`` one as a whole number or text, and whether it is missing;
    those that segments alone are by as text, as which they are compared.
    """
    types = {found.name: found.type for found in columns(frame)}
    given = []
    for feature in scorer.spec.columns:
        value = column(feature.name)
        carried = value
        if types[feature.name] == "timestamp_ntz":
            carried = value.cast("string")
        elif feature.family == "timestamp":
            carried = F.coalesce(F.unix_micros(value), F.lit(0))
        elif feature.family == "integer":
            carried = F.coalesce(value, F.lit(0))
        given += [carried, value.isNull()] if feature.family in _SPOILED else [value]
    return given + [column(name).cast("string") for name in scorer.names[len(scorer.spec.columns) :]]


def scoring_udf(
    spark: SparkSession,
    data: bytes,
    scorer: Scorer,
    observe: Callable[[], None] | None = None,
    use_pandas: bool | None = None,
    explains: bool = False,
) -> Any:
    """The one Python evaluation: feature columns in, a struct out. The package and the model are sent to the workers.

    ``data`` is the model's bytes, ``scorer`` the driver's own copy, whose rule decides; ``observe`` is called by the
    workers after every batch. ``explains``: every row gets reasons, flagged or not. What is pickled with the function
    stays under 50 KB on classic Spark, whatever the model's size.
    """
    transport.ship_package(spark)
    if use_pandas is None:
        use_pandas = not hasattr(F, "arrow_udf")
    scoring = _pandas_scoring if use_pandas else _arrow_scoring
    digest = hashlib.sha256(data).hexdigest()
    function = scoring(digest, scorer.rule, transport.ship_model(spark, data), observe or (lambda: None), explains)
    # Spark reads the hints to learn the kind of UDF: real types, and a tuple only where there are several columns.
    one: Any = pd.Series if use_pandas else pa.Array
    several = len(scorer.names) > 1 or (use_pandas and scorer.spec.columns[0].family in _SPOILED)
    given: Any = Iterator[tuple[one, ...]] if several else Iterator[one]
    returned: Any = Iterator[pd.DataFrame] if use_pandas else Iterator[pa.Array]
    function.__annotations__ = {"batches": given, "return": returned}
    return (F.pandas_udf if use_pandas else F.arrow_udf)(function, EXPLAINED_TYPE if explains else RETURN_TYPE)


def add_scores(
    frame: DataFrame, udf: Any, scorer: Scorer, prefix: str = "", run: str | None = None, explains: bool = False
) -> DataFrame:
    """``frame`` with the output columns after its own, in order, the last of them only where the rows are of a run; of
    a function that ``explains`` the sentence ``reason`` too. No shuffle, no join, one Python evaluation.
    """
    by_pandas = udf.evalType == F.PandasUDFType.SCALAR_ITER
    features = _for_pandas(frame, scorer) if by_pandas else [column(name) for name in scorer.names]
    struct = free_name(frame.columns, "__vae")
    scored = frame.withColumn(struct, udf(*features))
    constants = dict(zip(OUTPUT.names[-2:], (scorer.name, run), strict=True))
    return scored.select(
        *(column(name) for name in frame.columns),
        *(column(struct).getField(name).alias(prefix + name) for name in (EXPLAINED if explains else COMPUTED).names),
        *(F.lit(value).alias(prefix + name) for name, value in constants.items() if value is not None),
    )
