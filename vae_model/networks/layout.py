"""Where each column sits in a network's input and output, and encoded rows as such an input.

Shapes: N rows, V varying numeric columns, C categorical columns, K_c + 1 slots of category c (the last one is
shared by rare values), I inputs = 2 V + sum of slots, O outputs = V + sum of slots, H units of a first layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.buffers import Buffers

BLOCK = 2048
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


def symlog(x: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """sign(x) log(1 + |x|): near x about 0, and ever slower outwards (Webber, "A bi-symmetric log transformation for
    wide-range data", 2012). NaN stays NaN.
    """
    size = np.abs(x, out=out)
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
    buffers: Buffers = field(default_factory=Buffers)
    """Where members compute: what they expect is overwritten by their next block."""

    @classmethod
    def of(cls, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], buffers: Buffers | None = None) -> Inputs:
        """From encoded rows: NaN and -1 where missing."""
        buffers = buffers or Buffers()
        numbers = np.clip(x_NV, -CLIP, CLIP, out=buffers("numbers", *x_NV.shape))
        missing = np.isnan(numbers)
        if not missing.any():
            return cls(x_NV, numbers, None, codes_NC, buffers=buffers)
        numbers[missing] = 0
        return cls(x_NV, numbers, missing.astype(np.float32), codes_NC, buffers=buffers)

    @property
    def has_gaps(self) -> bool:
        """Whether anything is missing."""
        return self.missing_NV is not None or bool((self.codes_NC < 0).any())

    @cached_property
    def symlog_NV(self) -> NDArray[np.float32]:
        """Symlogs of the numbers as encoded."""
        return symlog(self.x_NV, self.buffers("symlog", *self.x_NV.shape))


@dataclass(frozen=True)
class FirstLayer:
    """The weights that an input meets, part by part: the input itself is never made.

    Where nothing is missing the flags cost nothing, and where something is they change no other row. A category's slot
    is a row of weights, found by its number.
    """

    numbers_VH: NDArray[np.float32]
    flags_VH: NDArray[np.float32]
    slots_KH: tuple[NDArray[np.float32], ...]
    """Of each category, with a row of zeros at the end, where the code -1 points: missing."""

    @classmethod
    def of(cls, weight_IH: NDArray[np.float32], layout: Layout) -> Self:
        """From the weights of a whole input."""
        numbers_VH, flags_VH, categories = np.split(weight_IH, [layout.varying, 2 * layout.varying])
        none = np.zeros_like(weight_IH[:1])
        slots_KH = np.split(categories, layout.starts[1:]) if layout.slots else []
        return cls(numbers_VH, flags_VH, tuple(np.vstack([own, none]) for own in slots_KH))

    def __call__(self, inputs: Inputs, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H) the product of the input and the weights, in ``out``."""
        np.matmul(inputs.numbers_NV, self.numbers_VH, out=out)
        if inputs.missing_NV is not None:
            out += inputs.missing_NV @ self.flags_VH
        for category, slots_KH in enumerate(self.slots_KH):
            out += slots_KH[inputs.codes_NC[:, category]]
        return out


class Member(Protocol):
    """One of the networks whose expectations make the score."""

    @property
    def deviation_V(self) -> NDArray[np.float32]:
        """One standard deviation of each number about its expectation."""

    def __call__(self, inputs: Inputs) -> Expected:
        """What it expects of the rows."""

    def numbers(self, inputs: Inputs) -> NDArray[np.float32]:
        """(N, V) the numbers as it sees them, to hold against what it expects; NaN where missing."""
