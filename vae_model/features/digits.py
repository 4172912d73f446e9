"""Numbers in words: in the digits that their column has, and that tell them apart."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import MISSING, is_missing
from vae_model.features.floats import EXACT

DIGITS = 6
"""What has no decimals of its own is written with so many digits, or with as many as tell it from another number."""
MAX_DECIMALS = 6
"""A column with more decimals than this has none of its own."""
MOST_DIGITS = 9
"""So many digits before the point are written out of a column that is not rounded."""
SHORT = 2
"""So many decimals are written out, as of money; of more, the first digits do."""
ODD = 0.001
"""So many values may have more decimals than their column."""
LOOKED_AT = 10_000
"""The values of a column that are looked at for their decimals."""
WHOLE = 1e15
"""Larger numbers are written by their first digits."""


def decimals_of(array: Any, raw_N: NDArray[np.float64]) -> int | None:
    """How many decimals a column's numbers have, those of a decimal by its type; None of one that is not rounded."""
    if pa.types.is_decimal(array.type):
        return max(int(array.type.scale), 0)
    if not pa.types.is_floating(array.type):
        return 0
    finite_N = raw_N[np.isfinite(raw_N)]
    values = finite_N[:: max(1, -(-len(finite_N) // LOOKED_AT))]
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the end of the floats
        for decimals in range(MAX_DECIMALS + 1):
            is_odd = np.abs(np.round(values, decimals) - values) > 1e-9 * np.abs(values) * 10.0**-decimals
            if np.count_nonzero(is_odd) <= ODD * len(values):
                return decimals
    return None


def places(width: float, decimals: int | None) -> int:
    """The decimals to which a number is said that is known to within ``width``, no more than its column has; less than
    0 for tens and hundreds.
    """
    needed = 2 - math.floor(math.log10(width))
    return needed if decimals is None else min(needed, decimals)


def about(number: float | Decimal, width: float, decimals: int | None) -> str:
    """A number that is known to within ``width``; where that is 0, in the digits of its column."""
    if 0 < width < math.inf:
        return rounded(number, places(width, decimals))
    return in_words(number) if decimals is None else rounded(number, decimals)


def interval(
    low: float | Decimal, high: float | Decimal, width: float, decimals: int | None, outside: Any = None
) -> str:
    """A range in words, its ends to a tenth of its width or finer, and as fine as it takes to leave out what lies
    ``outside``. Of values that have no finer digits, those nearest to its ends, one of them from within if it takes
    that; empty if there are no such two.
    """
    seen = None if is_missing(outside) else Decimal(own(outside, decimals))
    coarse = places(10 * width, decimals)
    finest = coarse + DIGITS if decimals is None else decimals
    nearest = [(digits, ROUND_HALF_EVEN, ROUND_HALF_EVEN) for digits in range(coarse, finest + 1)]
    inwards = [(finest, up, down) for up, down in ((ROUND_HALF_EVEN, ROUND_FLOOR), (ROUND_CEILING, ROUND_HALF_EVEN))]
    for digits, up, down in [*nearest, *inwards]:
        texts = rounded(low, digits, up), rounded(high, digits, down)
        first, last = map(Decimal, texts)
        if first < last and (seen is None or not first <= seen <= last):
            return " to ".join(texts)
    return ""


def rounded(number: float | Decimal, decimals: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """A number to so many decimals; less than 0: to tens, hundreds, …."""
    if not isinstance(number, Decimal):
        if not math.isfinite(number) or abs(number) >= WHOLE or decimals > 12:
            return in_words(number)
        if decimals > 0 and rounding == ROUND_HALF_EVEN:  # many times as fast
            text = f"{number:.{decimals}f}"
            return text if text[0] != "-" or text.strip("-0.") else text[1:]
        number = Decimal(number)
    text = f"{number.quantize(Decimal(1).scaleb(-decimals), rounding, EXACT):f}"
    return text if text.strip("-0.") else text.lstrip("-")  # no -0.00


def own(number: Any, decimals: int | None) -> str:
    """A value as its column writes it: in full where that has few decimals, else by its first digits. True is 1."""
    if isinstance(number, int | Decimal):
        return f"{number:f}" if isinstance(number, Decimal) else str(int(number))
    if not math.isfinite(number) or abs(number) >= WHOLE:
        return in_words(number)
    if decimals is not None and decimals <= SHORT and math.isclose(round(number, decimals), number, abs_tol=0):
        return rounded(number, decimals)
    before = len(str(abs(int(number))))
    return in_words(number, max(DIGITS, min(before, MOST_DIGITS) if decimals is None else before + SHORT))


def told_apart(one: Any, other: float | Decimal, scale: float, decimals: int | None, width: float) -> tuple[str, str]:
    """What was observed and what was expected, known to within ``width``. They are written in as many digits as tell
    them apart if they differ by more than a hundredth of ``scale``. What was observed may be missing.
    """
    expected = about(other, width, decimals)
    if is_missing(one):
        return MISSING, expected
    observed = own(one, decimals)
    digits = DIGITS
    while observed == expected and one != other and digits <= EXACT.prec:
        if not math.isfinite(one) or EXACT.subtract(Decimal(one), Decimal(other)).copy_abs() <= scale / 100:
            break
        observed, expected = in_words(one, digits), in_words(other, digits)
        digits += 3
    return observed, expected


def in_words(number: Any, digits: int = DIGITS) -> str:
    """A whole number in full, any other to so many digits."""
    if isinstance(number, int) or number == 0:
        return str(int(number))
    if digits <= 17:
        return f"{float(number):.{digits}g}"
    return f"{Context(prec=digits).create_decimal(number).normalize(EXACT):f}"
