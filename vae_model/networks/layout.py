"""Where each column sits in a network's input and output, and encoded rows as such an input.

Shapes: N rows, V varying numeric columns, C categorical columns, K_c + 1 slots of category c (the last one is
shared by rare values), I inputs = 2 V + sum of slots, O outputs = V + sum of slots, H units of a first layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Rows per forward pass. Blocks are padded to this size, so that a matrix product always has one shape and a row's
score does not depend on how many neighbours it was sent with."""
CLIP = 10.0
"""Inputs stop at this many standard deviations: one wild value must not blur the other columns."""


@dataclass(frozen=True)
class Layout:
    """Inputs: V numbers (0 where missing), V missing flags, then the slots of each category (all 0: missing)."""

    varying: int
    """V"""
    slots: tuple[int, ...]
    """Slots per category, the shared one included."""

    @property
    def inputs(self) -> int:
        """Width of the input."""
        return 2 * self.varying + sum(self.slots)

    @property
    def outputs(self) -> int:
        """Width of the output."""
        return self.varying + sum(self.slots)

    @property
    def starts(self) -> list[int]:
        """Where the slots of each category begin, counted from the first category."""
        return list(accumulate(self.slots[:-1], initial=0)) if self.slots else []


def symlog(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """sign(x) log(1 + |x|): near x about 0, and ever slower outwards (Webber, "A bi-symmetric log transformation for
    wide-range data", 2012). NaN stays NaN.
    """
    size = np.abs(x)
    size += 1
    return np.asarray(np.copysign(np.log(size, out=size), x, out=size))


Expected = tuple[NDArray[np.float32], list[NDArray[np.float32]]]
"""Expected numbers (N, V), and the log-probabilities of each category's slots (N, K_c + 1)."""


@dataclass(frozen=True)
class Inputs:
    """Encoded rows on their way into any number of networks."""

    x_NV: NDArray[np.float32]
    """As encoded; NaN where missing."""
    numbers_NV: NDArray[np.float32]
    """Clipped, 0 where missing."""
    missing_NV: NDArray[np.float32] | None
    """1 where missing; None where nothing is."""
    codes_NC: NDArray[np.int32]
    guess: tuple[NDArray[np.float32], list[NDArray[np.float32]]] | None = None
    """What others expect, for a member that cannot do without what is missing: numbers (N, V), and the probabilities of
    each category's slots (N, K_c + 1)."""

    @classmethod
    def of(cls, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]) -> Inputs:
        """From encoded rows: NaN and -1 where missing."""
        numbers = np.clip(x_NV, -CLIP, CLIP)
        missing = np.isnan(numbers)
        if not missing.any():
            return cls(x_NV, numbers, None, codes_NC)
        numbers[missing] = 0
        return cls(x_NV, numbers, missing.astype(np.float32), codes_NC)

    @cached_property
    def symlog_NV(self) -> NDArray[np.float32]:
        """Symlogs of the numbers as encoded."""
        return symlog(self.x_NV)

    def through(self, weight_IH: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
        """(N, H) the product of the input and a weight matrix, without making the input.

        Where nothing is missing the flags cost nothing, and where something is they change no other row.
        """
        h_NH = self.numbers_NV @ weight_IH[: layout.varying]
        if self.missing_NV is not None:
            h_NH += self.missing_NV @ weight_IH[layout.varying : 2 * layout.varying]
        for category, start in enumerate(layout.starts):
            first = 2 * layout.varying + start
            rows = np.vstack([weight_IH[first : first + layout.slots[category]], np.zeros_like(weight_IH[:1])])
            h_NH += rows[self.codes_NC[:, category]]  # -1, missing: the last row, zeros
        return h_NH


class Member(Protocol):
    """One of the networks whose expectations make the score."""

    def __call__(self, inputs: Inputs) -> Expected:
        """What it expects of the rows."""

    def residuals(self, inputs: Inputs, mean_NV: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, V) how far the numbers are from the expected ones; NaN where missing."""
