"""Arrow numbers as float64: taken off an offset first, exactly, where floats would not tell them apart."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.features.units import location_scale

EXACT_STEPS = 2**53
"""Up to so many steps from 0, of one or of a decimal's last digit, a float64 is within half a step."""
COARSE = 2.0**-43
"""Floats are too coarse where a standard deviation is less than this share of the largest value: a thousand floats."""
EXACT = Context(prec=200)
"""Arithmetic that keeps all digits of what Arrow can hold; Python's own keeps 28."""


def as_float64(array: Any, offset: Decimal | None = None) -> NDArray[np.float64]:
    """An Arrow column of numbers as (N,) float64, less ``offset``; null becomes NaN."""
    if offset is not None:
        return _less(array, offset)
    if pa.types.is_decimal(array.type) or pa.types.is_boolean(array.type):
        array = array.cast(pa.float64())
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    if array.null_count and not np.issubdtype(values.dtype, np.floating):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)


def offset_of(array: Any) -> Decimal | None:
    """A number amid a column's, to take off them before they become floats; None where floats tell them apart."""
    is_decimal = pa.types.is_decimal(array.type)
    if not (is_decimal or pa.types.is_integer(array.type)):
        return None
    bounds = pc.min_max(array)
    if not bounds["min"].is_valid:
        return None
    largest = max(Decimal(bounds[end].as_py()).copy_abs() for end in ("min", "max"))
    if EXACT.scaleb(largest, array.type.scale if is_decimal else 0) <= EXACT_STEPS:
        return None
    _, scale = location_scale(as_float64(array))
    if scale > COARSE * float(largest):
        return None
    ordered = array.drop_null().sort()
    return Decimal(ordered[len(ordered) // 2].as_py())


def _less(array: Any, offset: Decimal) -> NDArray[np.float64]:
    """The differences, rounded once. A column of floats, which has lost digits already, is taken as it is."""
    number, exact = pa.scalar(offset), None
    if pa.types.is_integer(array.type):
        exact = pa.decimal256(20, 0)
    elif pa.types.is_decimal(array.type):
        exact = pa.decimal256(array.type.precision, array.type.scale)
    if exact is not None and _digits_of_difference(exact, number.type) <= pa.decimal256(76).precision:
        return as_float64(pc.subtract(array.cast(exact), number))
    values, near = as_float64(array), float(offset)
    rest = float(EXACT.subtract(offset, Decimal(near)))
    return np.where(values == near, 0.0, (values - near) - rest)


def _digits_of_difference(one: Any, other: Any) -> int:
    """How many digits the difference of two types of decimals may have."""
    whole = max(one.precision - one.scale, other.precision - other.scale)
    return int(whole + max(one.scale, other.scale) + 1)
