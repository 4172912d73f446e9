"""What networks take and give: blocks of encoded rows, and what is expected of them.

Shapes: N rows, B tiles of W rows (``tiles``), V varying numeric columns, C categorical columns, K_c + 1 slots of
category c (the last one is shared by rare values), I inputs = 2 V + sum of slots, O outputs = V + sum of slots, H units
of a first layer, S slots of one category.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks import tiles
from vae_model.networks.buffers import Buffers
from vae_model.networks.products import multiply
from vae_model.networks.stored import Sizes, Stored

INPUT_CLIP = 10.0
"""Inputs stop at this many standard deviations: one wild value must not blur the other columns."""


@dataclass(frozen=True)
class TableShape:
    """Which columns of a table a network sees, and where they stand in its input and its output.

    The input: V numbers (0 where missing), V missing flags, then the slots of each category (all 0: missing). The
    output: V numbers, then the slots of each category.
    """

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

    @property
    def categories(self) -> list[slice]:
        """Where the slots of each category stand in the output."""
        return [
            slice(self.varying + start, self.varying + start + slots)
            for start, slots in zip(self.starts, self.slots, strict=True)
        ]


Expected = NDArray[np.float32]
"""(B, O, W) what a member expects: the numbers, then the log-probabilities of each category's slots."""


def symlog(x: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """sign(x) log(1 + |x|): near x about 0, and ever slower outwards (Webber, "A bi-symmetric log transformation for
    wide-range data", 2012). NaN stays NaN.
    """
    size = np.abs(x, out=out)
    size += 1
    return np.asarray(np.copysign(np.log(size, out=size), x, out=size))


@dataclass(frozen=True)
class TableBlock:
    """A block of a table's encoded rows, as tiles."""

    x_BVW: NDArray[np.float32]
    """Numbers as encoded; NaN where missing."""
    numbers_BVW: NDArray[np.float32]
    """Clipped, 0 where missing."""
    missing_BVW: NDArray[np.bool_] | None
    """Where a number is missing; None where none is."""
    codes_BCW: NDArray[np.intp]
    """Slot of each category; -1 where missing."""
    buffers: Buffers

    @classmethod
    def of(cls, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], buffers: Buffers) -> Self:
        """From encoded rows: NaN and -1 where missing."""
        size = tiles.count(len(x_NV))
        shape = (size, x_NV.shape[1], tiles.TILE)
        x_BVW = tiles.fill(buffers("x", *shape), x_NV)
        codes_BCW = tiles.fill(buffers("codes", size, codes_NC.shape[1], tiles.TILE, dtype=np.intp), codes_NC)
        numbers_BVW = np.clip(x_BVW, -INPUT_CLIP, INPUT_CLIP, out=buffers("numbers", *shape))
        missing_BVW = np.isnan(x_BVW, out=buffers("missing numbers", *shape, dtype=np.bool_))
        if not missing_BVW.any():
            return cls(x_BVW, numbers_BVW, None, codes_BCW, buffers)
        np.copyto(numbers_BVW, 0, where=missing_BVW)
        return cls(x_BVW, numbers_BVW, missing_BVW, codes_BCW, buffers)

    @cached_property
    def flags_BVW(self) -> NDArray[np.float32] | None:
        """1 where a number is missing, else 0; None where none is."""
        if self.missing_BVW is None:
            return None
        flags_BVW = self.buffers("flags", *self.x_BVW.shape)
        np.copyto(flags_BVW, self.missing_BVW)
        return flags_BVW

    @property
    def has_gaps(self) -> bool:
        """Whether anything is missing."""
        return self.missing_BVW is not None or bool((self.codes_BCW < 0).any())

    @property
    def symlog_BVW(self) -> NDArray[np.float32]:
        """Symlogs of the numbers as encoded; NaN where missing."""
        return self.symlog_and_ones[:, :-1]

    @cached_property
    def symlog_and_ones(self) -> NDArray[np.float32]:
        """(B, V + 1, W) the symlogs, and a 1 for each row: an input whose weights are biases."""
        size, varying, rows = self.x_BVW.shape
        out = self.buffers("symlog", size, varying + 1, rows)
        symlog(self.x_BVW, out[:, :-1])
        out[:, -1] = 1
        return out


@dataclass(frozen=True)
class Inputs:
    """What a member is given of a block of rows. A member takes the parts it understands."""

    table: TableBlock
    imputed_BOW: NDArray[np.float32] | None = None
    """What other members expect, for one that cannot do without what is missing: the numbers, then the probabilities
    (not their logarithms) of each category's slots. None where nothing is missing."""
    buffers: Buffers = field(default_factory=Buffers)
    """Where members compute."""

    @classmethod
    def of(cls, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], buffers: Buffers | None = None) -> Self:
        """From encoded rows of a table: NaN and -1 where missing."""
        buffers = buffers or Buffers()
        return cls(TableBlock.of(x_NV, codes_NC, buffers), buffers=buffers)


@dataclass(frozen=True)
class FirstLayer:
    """The weights that a table's input meets, part by part: the input itself is never made.

    Where nothing is missing the flags cost nothing, and where something is they change no other row. A category's slot
    is a row of weights, found by its number.
    """

    numbers_HV: NDArray[np.float32]
    flags_HV: NDArray[np.float32]
    slots_SH: tuple[NDArray[np.float32], ...]
    """Of each category, with a row of zeros at the end, where the code -1 points: missing."""

    @classmethod
    def of(cls, weight_IH: NDArray[np.float32], shape: TableShape) -> Self:
        """From the weights of a whole input."""
        numbers_VH, flags_VH, categories = np.split(weight_IH, [shape.varying, 2 * shape.varying])
        none = np.zeros_like(weight_IH[:1])
        slots = np.split(categories, shape.starts[1:]) if shape.slots else []
        return cls(
            np.ascontiguousarray(numbers_VH.T),
            np.ascontiguousarray(flags_VH.T),
            tuple(np.vstack([own, none]) for own in slots),
        )

    def __call__(
        self,
        numbers_BVW: NDArray[np.float32],
        flags_BVW: NDArray[np.float32] | None,
        codes_BCW: NDArray[np.intp],
        out_BHW: NDArray[np.float32],
        buffers: Buffers,
    ) -> NDArray[np.float32]:
        """Multiply numbers, flags and categories by their weights, and add it all up in ``out_BHW``."""
        multiply(self.numbers_HV, numbers_BVW, out_BHW)
        if flags_BVW is not None:
            out_BHW += multiply(self.flags_HV, flags_BVW, buffers("of flags", *out_BHW.shape))
        if self.slots_SH:
            # Rows of weights are copied whole, and turned once they are added up: one by one would take far longer.
            turned = (len(out_BHW), out_BHW.shape[2], out_BHW.shape[1])
            total_BWH, own_BWH = buffers("of slots", *turned), buffers("of slot", *turned)
            for category, slots_SH in enumerate(self.slots_SH):
                into = own_BWH if category else total_BWH
                np.take(slots_SH, codes_BCW[:, category], axis=0, out=into, mode="wrap")
                if category:
                    total_BWH += own_BWH
            out_BHW += total_BWH.transpose(0, 2, 1)
        return out_BHW


class Member(Protocol):
    """One of the networks whose expectations make the score."""

    kind: ClassVar[str]
    """Its name in a model file. All kinds weigh the same in a score."""
    needs_imputed: ClassVar[bool]
    """Whether it has to be given what the other members expect in place of what is missing."""

    @classmethod
    def stored(cls, shape: TableShape, sizes: Sizes) -> Iterator[tuple[str, Stored]]:
        """Its arrays in a model file, one after the other: a header may speak of more than there are."""

    @property
    def deviation_V(self) -> NDArray[np.float32]:
        """One standard deviation of each number about its expectation."""

    def __call__(self, inputs: Inputs) -> Expected:
        """What it expects of the rows. The array is a buffer, which the next member overwrites."""

    def numbers(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, V, W) the numbers as it sees them, to hold against what it expects; NaN where missing."""
