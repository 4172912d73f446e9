"""One Python evaluation per row: feature columns in, one struct out, flattened beside the original columns.

The functions that travel are closures, pickled by value; all they name is ``vae_model.scoring``, so that a worker
imports numpy, pandas, pyarrow and that part of this package, and neither this module nor the job's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql import types as T

from vae_model.reasons import TYPE
from vae_model.scoring import COMPUTED, OUTPUT, Scorer, load_scorer
from vae_model.spark.tables import column

_REASON = T.StructType(
    [
        T.StructField(field.name, T.DoubleType() if field.name == "share" else T.StringType())
        for field in TYPE.value_type
    ]
)
_TYPES = [T.DoubleType(), T.DoubleType(), T.DoubleType(), T.BooleanType(), T.ArrayType(_REASON), T.StringType()]
RETURN_TYPE = T.StructType([T.StructField(*pair) for pair in zip(COMPUTED.names, _TYPES, strict=True)])
"""Spark's type of the struct; as text it would be parsed by whichever Connect session is active."""
_STRUCT = "__vae"


def _arrow_scoring(model: Callable[[], bytes]) -> Any:
    """The scorer over Arrow batches (Spark 4.1 and later); ``model`` gives the model's bytes."""

    def score(batches: Iterator[Any]) -> Iterator[pa.Array]:
        scorer = load_scorer(model())
        for arrays in batches:
            yield scorer(arrays if isinstance(arrays, tuple) else (arrays,))  # a single column comes bare

    return score


def _pandas_scoring(model: Callable[[], bytes]) -> Any:
    """The same through pandas, for Spark 4.0, which has no Arrow UDF."""

    def score(batches: Iterator[Any]) -> Iterator[pd.DataFrame]:
        scorer = load_scorer(model())
        for columns in batches:
            series = columns if isinstance(columns, tuple) else (columns,)
            struct = scorer([pa.Array.from_pandas(one) for one in series])
            yield pa.Table.from_struct_array(struct).to_pandas()

    return score


def add_scores(frame: Any, data: bytes, scorer: Scorer, prefix: str = "", use_pandas: bool | None = None) -> Any:
    """``frame`` with the seven output columns after its own, in order. No shuffle, no join, one Python evaluation.

    On classic Spark the bytes travel as a broadcast, once an executor; elsewhere in the function's closure.
    """
    spark = frame.sparkSession
    if hasattr(spark, "_jsc"):
        broadcast = spark.sparkContext.broadcast(data)

        def model() -> bytes:
            return bytes(broadcast.value)
    else:

        def model() -> bytes:
            return data

    if use_pandas is None:
        use_pandas = not hasattr(F, "arrow_udf")
    function = _pandas_scoring(model) if use_pandas else _arrow_scoring(model)
    # Spark reads the hints to learn the kind of UDF: real types, and a tuple only where there are several columns.
    one: Any = pd.Series if use_pandas else pa.Array
    given: Any = Iterator[tuple[one, ...]] if len(scorer.names) > 1 else Iterator[one]
    returned: Any = Iterator[pd.DataFrame] if use_pandas else Iterator[pa.Array]
    function.__annotations__ = {"batches": given, "return": returned}
    udf = (F.pandas_udf if use_pandas else F.arrow_udf)(function, RETURN_TYPE)
    scored = frame.withColumn(_STRUCT, udf(*(column(name) for name in scorer.names)))
    return scored.select(
        *(column(name) for name in frame.columns),
        *(F.col(f"{_STRUCT}.{name}").alias(prefix + name) for name in COMPUTED.names),
        F.lit(scorer.name).alias(prefix + OUTPUT.names[-1]),
    )
