"""Numbers and arrays of numbers as matrix columns: missing is NaN, scales resist heavy tails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.errors import SchemaError

TAIL = 0.005
"""Share of each tail that is winsorised before a column's scale is taken."""

HUGE = 1e150
"""Values beyond this are measured in units of the largest: their squares would not fit."""


def matrix(array: pa.Array) -> NDArray[np.float64]:
    """An Arrow column of numbers as (N, 1) float64; null becomes NaN."""
    return _float64(array).reshape(-1, 1)


def vectors(array: pa.Array, width: int, name: str) -> NDArray[np.float64]:
    """An Arrow column of number arrays as (N, width) float64; a null array becomes a row of NaN.

    Raises SchemaError where an array has another length.
    """
    lengths = pc.list_value_length(array)
    bounds = pc.min_max(lengths)
    if bounds["min"].is_valid and {bounds["min"].as_py(), bounds["max"].as_py()} != {width}:
        raise SchemaError(
            f"Column {name!r} holds arrays of different lengths.",
            f"arrays of {width} numbers",
            f"lengths from {bounds['min']} to {bounds['max']}",
        )
    out = np.full((len(array), width), np.nan)
    out[lengths.is_valid().to_numpy(zero_copy_only=False)] = _float64(array.flatten()).reshape(-1, width)
    return out


def width_of(array: pa.Array) -> int:
    """The length of the first array that is not null; 0 where there is none."""
    return int(pc.max(pc.list_value_length(array)).as_py() or 0)


def location_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values, the outer 0.5 % of each tail pulled in.

    A constant column has scale 0. A column that is constant but for its tails is measured with them.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return (float(finite[0]) if finite.size else 0.0), 0.0
    largest = float(np.abs(finite).max())
    if largest > HUGE:
        center, scale = location_scale(finite / largest)
        return center * largest, scale * largest
    inner = np.clip(finite, *np.quantile(finite, [TAIL, 1 - TAIL]))
    if inner.min() == inner.max():
        inner = finite
    return float(inner.mean()), float(inner.std())


def _float64(array: Any) -> NDArray[np.float64]:
    if pa.types.is_decimal(array.type) or pa.types.is_boolean(array.type):
        array = array.cast(pa.float64())
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    if array.null_count and not np.issubdtype(values.dtype, np.floating):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)
