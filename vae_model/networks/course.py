"""The course of a row's numbers: what each is after the rows before it, and in three ways how odd that is.

Of each varying number, given a window of the row and the L - 1 rows before it:

- its surprise: by how many deviations it lies off what a linear autoregression expects of it (Lutkepohl, "New
  Introduction to Multiple Time Series Analysis", 2005, 3.2, ridge-regularised), from the P rows before the row, all of
  their numbers, and the time of the row;
- its level: how far the mean of the last M rows is from where it usually is; of a number that wanders, whose level is
  no matter, from the mean of the window;
- its run: how many rows before the row, without a break, have the same value to the last digit.

What is missing in a window is passed over; in the past of a row it is taken for the mean, of a number that wanders that
of the past itself.

On the tables tried a recurrent network and a dilated causal convolution found no more than the linear one, at several
times its cost (docs/sequences.md).

Shapes: N rows, V varying numbers, L rows of a window, P lags, M steps of a level, U numbers that say when a row is,
I = P V + U + 1 inputs, T = 3 statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vae_model.networks.inputs import INPUT_CLIP
from vae_model.networks.stored import Stored

STATISTICS = ("surprise", "level", "run")
MAX_INPUTS = 1024
"""A wide table has fewer lags: so many inputs are enough, and take a microsecond or two a row."""
LEVEL = 4
"""A level is that of so many parts of a window: the mean of L / 4 rows."""
NAMES = ("weight", "deviation", "center", "wanders", "strays")
MOST = 1e30
"""Deviations: no number is farther off."""
BLOCK = 512
"""Rows whose inputs are laid out at once: 4 MB at the most."""


class Steps(NamedTuple):
    """How many rows are looked back for what."""

    lags: int
    """P"""
    level: int
    """M"""

    @classmethod
    def of(cls, length: int, varying: int) -> Self:
        """Those of a window of ``length`` rows of so many varying numbers."""
        return cls(max(1, min(length - 1, MAX_INPUTS // max(varying, 1))), max(1, length // LEVEL))


class Courses(NamedTuple):
    """What the numbers of some rows have been up to."""

    expected_NV: NDArray[np.float64]
    """What is expected of each number after the rows before it, standardised as the numbers are."""
    mean_N2V: NDArray[np.float64]
    """The mean of the last M rows, and what it is held against."""
    statistic_NTV: NDArray[np.float64]
    """Surprise, level and run, each at least 0; NaN where the row's number is missing."""


@dataclass(frozen=True)
class Course:
    """A fitted autoregression, and the usual level of each number."""

    length: int
    """L"""
    weight_IV: NDArray[np.float64]
    """Of the lags, the last row's numbers first; then of the time, and a constant."""
    deviation_V: NDArray[np.float64]
    """Standard deviation of what is left, 0 where nothing varies: there is no surprise."""
    center_V: NDArray[np.float64]
    """Mean level in training: of a number that wanders, less that of the window."""
    wanders_V: NDArray[np.float64]
    """1 where a number wanders, else 0."""
    strays_V: NDArray[np.float64]
    """1 where a number wanders, and one of those goes beyond where it has been; else 0."""

    @property
    def steps(self) -> Steps:
        """How many rows are looked back for what."""
        return Steps.of(self.length, len(self.deviation_V))

    def __call__(self, x_NV: NDArray[np.float64], moment_NU: NDArray[np.float64], first: int) -> Courses:
        """The courses of the rows from ``first`` on, each with a whole window before it among the rows: of others the
        numbers mean nothing. NaN where a number is missing.
        """
        window = Window.of(x_NV, first, self.length, self.wanders_V)
        own_NV, moment_NU = x_NV[first:], moment_NU[first:]
        expected_NV = np.empty(own_NV.shape)
        for start in range(0, len(own_NV), BLOCK):
            own = slice(start, start + BLOCK)
            given = window.past(own, moment_NU[own], self.steps.lags)
            expected_NV[own] = _rounded(given.inputs_NI @ self.weight_IV) + given.middle_NV
        mean_NV, usual_NV = window.mean(self.steps.level), self.wanders_V * window.mean(self.length) + self.center_V
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            surprise_NV = np.abs(own_NV - expected_NV) / self.deviation_V
        surprise_NV = np.minimum(surprise_NV, MOST)
        surprise_NV[:, self.deviation_V == 0] = 0
        run_NV = _runs(x_NV, first, self.length - 1)
        statistic_NTV = np.stack([surprise_NV, np.abs(mean_NV - usual_NV), run_NV], axis=1)
        np.copyto(statistic_NTV, np.nan, where=np.isnan(own_NV)[:, None])
        return Courses(expected_NV, np.stack([mean_NV, usual_NV], axis=1), statistic_NTV)

    def middles(self, x_NV: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """(N, V) of the rows from ``first`` on the mean of each number over the row's window, where it strays; else
        0.
        """
        return self.strays_V * Window.of(x_NV, first, self.length, self.strays_V).mean(self.length)

    @classmethod
    def stored(cls, length: int, varying: int, units: int) -> dict[str, Stored]:
        """Its arrays in a model file."""
        lags = Steps.of(length, varying).lags
        return {
            "weight": Stored((lags * varying + units + 1, varying), -1e6, 1e6, dtype="float64"),
            "deviation": Stored((varying,), 0, dtype="float64"),
            "center": Stored((varying,), -2 * INPUT_CLIP, 2 * INPUT_CLIP, dtype="float64"),
            "wanders": Stored((varying,), 0, 1, dtype="float64"),
            "strays": Stored((varying,), 0, 1, dtype="float64"),
        }

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        own = self.weight_IV, self.deviation_V, self.center_V, self.wanders_V, self.strays_V
        return dict(zip(NAMES, own, strict=True))

    @classmethod
    def from_arrays(cls, length: int, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        return cls(length, *(arrays[name] for name in NAMES))


class Past(NamedTuple):
    """What lies before some rows, as the autoregression takes it."""

    inputs_NI: NDArray[np.float64]
    """The numbers of the rows before each row, the last of them first, less their middle and 0 where missing; its time,
    and 1."""
    middle_NV: NDArray[np.float64]
    """What the numbers are taken from, and what is expected is added to: of a number that wanders the mean of these
    rows, else 0."""


@dataclass(frozen=True)
class Window:
    """The windows of some rows. Numbers are clipped, so that one that is wild does not drown the others; those that
    wander about the first that is known in the window, wherever that is.
    """

    padded: NDArray[np.float64]
    """(L - 1 + N, V) the rows and those before them; NaN where there are none."""
    length: int
    anchor_NV: NDArray[np.float64]
    """Of a number that wanders the first that is known in the window, else 0."""
    wanders_V: NDArray[np.float64]

    @classmethod
    def of(cls, x_NV: NDArray[np.float64], first: int, length: int, wanders_V: NDArray[np.float64]) -> Self:
        """Of the rows from ``first`` on."""
        rows, lead = len(x_NV) - first, length - 1
        padded = np.full((lead + rows, x_NV.shape[1]), np.nan)
        known = x_NV[max(first - lead, 0) :]
        padded[len(padded) - len(known) :] = known
        anchor_NV = np.zeros((rows, x_NV.shape[1]))
        if wanders_V.any():
            anchor_NV.fill(np.nan)
            for start in range(length):
                np.copyto(anchor_NV, padded[start : start + rows], where=np.isnan(anchor_NV))
                if not np.isnan(anchor_NV).any():
                    break
            anchor_NV = np.where(wanders_V > 0, np.nan_to_num(anchor_NV), 0.0)
        return cls(padded, length, anchor_NV, wanders_V)

    def mean(self, span: int, back: int = 0) -> NDArray[np.float64]:
        """(N, V) means of the ``span`` rows that end ``back`` rows before each, of what is known of them, added up in
        the same order wherever a row lies. The anchor where nothing is.
        """
        rows, stop = len(self.anchor_NV), self.length - back
        total_NV, count_NV = np.zeros(self.anchor_NV.shape), np.zeros(self.anchor_NV.shape)
        for start in range(stop - span, stop):
            own_NV = np.clip(self.padded[start : start + rows] - self.anchor_NV, -INPUT_CLIP, INPUT_CLIP)
            known_NV = ~np.isnan(own_NV)
            total_NV += np.where(known_NV, own_NV, 0)
            count_NV += known_NV
        return self.anchor_NV + total_NV / np.maximum(count_NV, 1)

    def past(self, own: slice, moment_NU: NDArray[np.float64], lags: int) -> Past:
        """What lies before some of the rows, ``lags`` rows of it."""
        rows, varying, lead = len(moment_NU), self.padded.shape[1], self.length - 1
        part = Window(
            self.padded[own.start : own.start + lead + rows], self.length, self.anchor_NV[own], self.wanders_V
        )
        middle_NV = self.wanders_V * part.mean(lags, back=1)
        before = part.padded[lead - lags : -1]
        window = sliding_window_view(before, lags, axis=0)[:, :, ::-1].transpose(0, 2, 1)  # (N, P, V)
        near = np.clip(np.nan_to_num(window - middle_NV[:, None], copy=False), -INPUT_CLIP, INPUT_CLIP)
        return Past(np.hstack([near.reshape(rows, lags * varying), moment_NU, np.ones((rows, 1))]), middle_NV)


def _rounded(product_NV: NDArray[np.float64]) -> NDArray[np.float64]:
    """To single precision: what becomes of a row in a product depends in its last digits on the rows beside it
    (``networks.products``), and its score must not.
    """
    return product_NV.astype(np.float32).astype(np.float64)


def _runs(x_NV: NDArray[np.float64], first: int, most: int) -> NDArray[np.float64]:
    """(N, V) how many rows before each, from ``first`` on, have the row's value, at most ``most``."""
    begin = max(first - most, 0)
    own = x_NV[begin:]
    place = np.arange(len(own))[:, None]
    is_new = np.ones(own.shape, dtype=bool)
    is_new[1:] = own[1:] != own[:-1]
    since = np.maximum.accumulate(np.where(is_new, place, 0), axis=0)
    return np.minimum(place - since, most)[first - begin :].astype(np.float64)
