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

from collections.abc import Iterable, Mapping
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
NAMES = ("weight", "deviation", "center", "wanders", "strays", "reach")
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
    reach_V: NDArray[np.float64]
    """Standard deviation of a number that wanders about the mean of its window; 1 of others. Ten times this is as far
    as one value counts in what is made of several."""

    @property
    def steps(self) -> Steps:
        """How many rows are looked back for what."""
        return Steps.of(self.length, len(self.deviation_V))

    def __call__(self, x_NV: NDArray[np.float64], moment_NU: NDArray[np.float64], first: int) -> Courses:
        """The courses of the rows from ``first`` on, each with a whole window before it among the rows: of others the
        numbers mean nothing. NaN where a number is missing.
        """
        window = Window.of(x_NV, first, self.length, self.wanders_V, self.reach_V)
        own_NV, moment_NU = x_NV[first:], moment_NU[first:]
        expected_NV = np.empty(own_NV.shape)
        for start in range(0, len(own_NV), BLOCK):
            own = slice(start, start + BLOCK)
            given = window.past(own, moment_NU[own], self.steps.lags)
            expected_NV[own] = _rounded(given.inputs_NI @ self.weight_IV) + given.middle_NV
        usual_NV = self.wanders_V * window.mean(self.length) + self.center_V
        # of which few are known, the mean is that of the others: they are taken to be as usual
        mean_NV = usual_NV + (window.mean(self.steps.level) - usual_NV) * window.known(self.steps.level)
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
        if not self.strays_V.any():
            return np.zeros(x_NV[first:].shape)
        return self.strays_V * Window.of(x_NV, first, self.length, self.strays_V, self.reach_V).mean(self.length)

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
            "reach": Stored((varying,), 0, INPUT_CLIP, dtype="float64"),
        }

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        own = self.weight_IV, self.deviation_V, self.center_V, self.wanders_V, self.strays_V, self.reach_V
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
    wander about the median of three of the window, wherever they are.
    """

    padded: NDArray[np.float64]
    """(L - 1 + N, V) the rows and those before them; NaN where there are none."""
    length: int
    anchor_NV: NDArray[np.float64]
    """Of a number that wanders the median of three values of its past: the oldest, one amid, and the newest; else 0.
    One of them may be wild."""
    wanders_V: NDArray[np.float64]
    clip_V: NDArray[np.float64]
    """How far a number counts, about its anchor."""

    @classmethod
    def of(
        cls,
        x_NV: NDArray[np.float64],
        first: int,
        length: int,
        wanders_V: NDArray[np.float64],
        reach_V: NDArray[np.float64],
    ) -> Self:
        """Of the rows from ``first`` on."""
        rows, lead = len(x_NV) - first, length - 1
        padded = np.full((lead + rows, x_NV.shape[1]), np.nan)
        known = x_NV[max(first - lead, 0) :]
        padded[len(padded) - len(known) :] = known
        anchor_NV = np.zeros((rows, x_NV.shape[1]))
        if wanders_V.any():
            orders = (range(length), [*range(lead // 2, length), *range(lead // 2)], [*range(lead)[::-1], lead])
            three_3NV = np.sort([_first_known(padded, rows, order) for order in orders], axis=0)
            anchor_NV = np.where(wanders_V > 0, np.nan_to_num(three_3NV[1]), 0.0)
        return cls(padded, length, anchor_NV, wanders_V, INPUT_CLIP * reach_V)

    def mean(self, span: int, back: int = 0) -> NDArray[np.float64]:
        """(N, V) means of the ``span`` rows that end ``back`` rows before each, of what is known of them, added up in
        the same order wherever a row lies. The anchor where nothing is.
        """
        rows, stop = len(self.anchor_NV), self.length - back
        total_NV, count_NV = np.zeros(self.anchor_NV.shape), np.zeros(self.anchor_NV.shape)
        for start in range(stop - span, stop):
            own_NV = np.clip(self.padded[start : start + rows] - self.anchor_NV, -self.clip_V, self.clip_V)
            known_NV = ~np.isnan(own_NV)
            total_NV += np.where(known_NV, own_NV, 0)
            count_NV += known_NV
        return self.anchor_NV + total_NV / np.maximum(count_NV, 1)

    def known(self, span: int) -> NDArray[np.float64]:
        """(N, V) which share of the last ``span`` rows is known."""
        rows, count_NV = len(self.anchor_NV), np.zeros(self.anchor_NV.shape)
        for start in range(self.length - span, self.length):
            count_NV += ~np.isnan(self.padded[start : start + rows])
        return count_NV / span

    def past(self, own: slice, moment_NU: NDArray[np.float64], lags: int) -> Past:
        """What lies before some of the rows, ``lags`` rows of it."""
        rows, varying, lead = len(moment_NU), self.padded.shape[1], self.length - 1
        part = Window(
            self.padded[own.start : own.start + lead + rows],
            self.length,
            self.anchor_NV[own],
            self.wanders_V,
            self.clip_V,
        )
        middle_NV = self.wanders_V * part.mean(lags, back=1)
        before = part.padded[lead - lags : -1]
        window = sliding_window_view(before, lags, axis=0)[:, :, ::-1].transpose(0, 2, 1)  # (N, P, V)
        near = np.clip(np.nan_to_num(window - middle_NV[:, None], copy=False), -self.clip_V, self.clip_V)
        return Past(np.hstack([near.reshape(rows, lags * varying), moment_NU, np.ones((rows, 1))]), middle_NV)


def _first_known(padded: NDArray[np.float64], rows: int, order: Iterable[int]) -> NDArray[np.float64]:
    """(N, V) of each row's window the first value that is known, its places looked through in an order."""
    found_NV = np.full((rows, padded.shape[1]), np.nan)
    for start in order:
        np.copyto(found_NV, padded[start : start + rows], where=np.isnan(found_NV))
        if not np.isnan(found_NV).any():
            break
    return found_NV


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
