"""Scores of rows that come one after the other: the row as it is, and the course of its numbers, joined.

A row's evidence is its score as a row of a table, by the ensemble, and the courses of its numbers, each statistic of
each (``networks.course``). What they come to is the row's score, in nats (``scoring.evidence``): e to its power is the
odds against an ordinary row. A number that strays (a counter, a tank that heats up) will be where it has never been:
the ensemble sees it less the mean of its window, and so all others that wander, to which it may have a relation.

Shapes: N rows, D features, V numbers that have a course, T statistics of each, U numbers that say when a row is, Q
chosen rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.features.sequence import Sequence, window_of
from vae_model.features.spec import LIMIT, FeatureSpec
from vae_model.networks.course import STATISTICS, Course, Courses
from vae_model.networks.stored import Stored, within
from vae_model.scoring.evidence import Evidence, joined

KINDS = ("numeric", "vector")
"""Kinds of features whose numbers have a course. A time is a moment; a category is judged by the row."""
OF_ROW = 0.5
"""The weight of the row as it is."""


class Numbers(NamedTuple):
    """The varying numbers of a spec that have a course, and those that say when a row is."""

    unit_V: NDArray[np.intp]
    """Their places among the units of the spec."""
    feature_V: NDArray[np.intp]
    """The feature of each."""
    moment_U: NDArray[np.intp]
    """The units of times."""

    @classmethod
    def of(cls, spec: FeatureSpec) -> Self:
        """Of a fitted spec."""
        feature_F = spec.feature_of_unit[: len(spec.scale_F)]
        has_F = np.array([spec.features[index].kind in KINDS for index in feature_F], dtype=bool)
        unit_V = np.flatnonzero(has_F & (spec.scale_F != 0))
        return cls(unit_V, feature_F[unit_V], np.flatnonzero(~has_F & (spec.scale_F != 0)))


@dataclass(frozen=True)
class Along:
    """Encoded rows in the order of their series, ready for their courses to be looked at. The first ones may be there
    only to be looked back at: rows are counted from ``first`` on.
    """

    windows: Windows
    batch: Batch
    x_NV: NDArray[np.float64]
    """The numbers that have a course, standardised; NaN where missing."""
    moment_NU: NDArray[np.float64]
    window_N: NDArray[np.intp]
    """Of how many rows each row's window is made, those before ``first`` included."""
    first: int = 0

    def rows(self, begin: int, stop: int) -> Batch:
        """Some of the rows, as the ensemble sees them: numbers that stray less the mean of their window."""
        found = self.batch.take(slice(self.first + begin, self.first + stop))
        if not self.windows.course.strays_V.any():
            return found
        x_NF, own_NV = found.x_NF.copy(), self.x_NV[self.first + begin : self.first + stop]
        own_NV = np.clip(own_NV - self.middles(begin, stop), -LIMIT, LIMIT)
        x_NF[:, self.windows.numbers.unit_V] = own_NV
        return replace(found, x_NF=x_NF)

    def middles(self, begin: int, stop: int) -> NDArray[np.float64]:
        """(N, V) what is taken off the numbers of some rows."""
        own = slice(max(self.first + begin - self.windows.sequence.length + 1, 0), self.first + stop)
        return self.windows.course.middles(self.x_NV[own], self.first + begin - own.start)

    def is_short_N(self, begin: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """(N,) whether a row's window is cut short by a break: such a row has no score."""
        own_N = self.window_N[self.first :][begin:stop]
        return np.asarray(own_N < self.windows.sequence.length)

    def courses(self, begin: int, stop: int) -> Courses:
        """The courses of some rows."""
        begin, stop = self.first + begin, self.first + stop
        lead = max(begin - self.windows.sequence.length + 1, 0)
        return self.windows.course(self.x_NV[lead:stop], self.moment_NU[lead:stop], begin - lead)

    def judged(self, begin: int, stop: int, row_score_N: NDArray[np.float64]) -> Judged:
        """Some rows with their scores; ``row_score_N`` are those as rows of a table."""
        courses, windows = self.courses(begin, stop), self.windows
        evidence_NJ = windows.evidence(courses)
        score_N = windows.join(row_score_N, joined(evidence_NJ, windows.weight_J))
        return Judged(windows, score_N, evidence_NJ, courses, self.middles(begin, stop))


@dataclass(frozen=True)
class Windows:
    """How rows follow each other, and what is usual of the courses of their numbers."""

    sequence: Sequence
    numbers: Numbers
    course: Course
    of_course: Evidence
    """Of each statistic of each number, T times V."""
    of_row: Evidence
    """Of the row's score as a row of a table."""

    def along(
        self, spec: FeatureSpec, arrays: Listed[pa.Array], order: pa.Array, follows_N: NDArray[np.bool_], first: int = 0
    ) -> Along:
        """Rows in the order of their series, one array for each feature of the spec; ``follows_N`` says which rows
        follow the one before them in the same series.
        """
        batch, is_break_N = spec.encode(arrays), self.sequence.is_break(order, ~follows_N)
        own_NU = np.nan_to_num(batch.x_NF[:, self.numbers.moment_U].astype(np.float64))
        moment_NU = np.hstack([self.sequence.moment(order), own_NU])
        x_NV = spec.standardised(arrays, self.numbers.unit_V)
        return Along(self, batch, x_NV, moment_NU, window_of(is_break_N, self.sequence.length), first)

    def evidence(self, courses: Courses) -> NDArray[np.float64]:
        """(N, T V) the evidence of each statistic of each number."""
        flat = courses.statistic_NTV.reshape(len(courses.expected_NV), -1)
        return self.of_course(flat)

    @property
    def weight_J(self) -> NDArray[np.float64]:
        """(T V,) the weight of each statistic of a course, among those of courses."""
        count = len(STATISTICS) * len(self.numbers.unit_V)
        return np.full(count, 1 / max(count, 1))

    def join(self, row_score_N: NDArray[np.float64], of_course_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) what the row's score and the evidence of its courses, joined, come to."""
        of_row_N = self.of_row(row_score_N[:, None])[:, 0]
        return joined(np.stack([of_row_N, of_course_N], axis=1), np.array([OF_ROW, 1 - OF_ROW]))

    @cached_property
    def feature_J(self) -> NDArray[np.intp]:
        """(T V,) the feature that each statistic is of."""
        return np.tile(self.numbers.feature_V, len(STATISTICS))

    @staticmethod
    def stored(sequence: Sequence, spec: FeatureSpec) -> dict[str, Stored]:
        """The arrays that belong to windows in a model file."""
        numbers = Numbers.of(spec)
        varying, units = len(numbers.unit_V), sequence.units + len(numbers.moment_U)
        parts = {
            "course": Course.stored(sequence.length, varying, units),
            "evidence": Evidence.stored(len(STATISTICS) * varying),
            "row": Evidence.stored(1),
        }
        return {f"sequence.{part}.{name}": one for part, own in parts.items() for name, one in own.items()}

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        parts = {"course": self.course.arrays(), "evidence": self.of_course.arrays(), "row": self.of_row.arrays()}
        return {f"sequence.{part}.{name}": one for part, own in parts.items() for name, one in own.items()}

    @classmethod
    def from_arrays(cls, sequence: Sequence, spec: FeatureSpec, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        own = {part: within(arrays, f"sequence.{part}.") for part in ("course", "evidence", "row")}
        course = Course.from_arrays(sequence.length, own["course"])
        return cls(
            sequence, Numbers.of(spec), course, *(Evidence.from_arrays(own[part]) for part in ("evidence", "row"))
        )


@dataclass(frozen=True)
class Judged:
    """Rows of series, and what made their scores."""

    windows: Windows
    score_N: NDArray[np.float64]
    evidence_NJ: NDArray[np.float64]
    """(N, T V) the evidence of each statistic of each number."""
    courses: Courses
    middle_NV: NDArray[np.float64]
    """What was taken off the numbers of each row before the ensemble saw them."""

    @classmethod
    def of(cls, several: Listed[Self]) -> Self:
        """The rows of several, one after the other."""
        return cls(
            several[0].windows,
            np.concatenate([one.score_N for one in several]),
            np.concatenate([one.evidence_NJ for one in several]),
            Courses(*(np.concatenate(own) for own in zip(*(one.courses for one in several), strict=True))),
            np.concatenate([one.middle_NV for one in several]),
        )

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Some of the rows."""
        courses = Courses(*(own[rows] for own in self.courses))
        return type(self)(self.windows, self.score_N[rows], self.evidence_NJ[rows], courses, self.middle_NV[rows])

    @cached_property
    def share_NJ(self) -> NDArray[np.float64]:
        """(N, T V) the share that each statistic has in a row's odds; what is left is the row's as it is."""
        weight_J = (1 - OF_ROW) * self.windows.weight_J
        return np.asarray(weight_J * np.exp(self.evidence_NJ - self.score_N[:, None]))

    def in_place(self, mean_NF: NDArray[Any]) -> NDArray[Any]:
        """(N, F) what the ensemble expects of the rows, with what was taken off the numbers again."""
        out_NF = mean_NF.copy()
        out_NF[:, self.windows.numbers.unit_V] += self.middle_NV.astype(mean_NF.dtype)
        return out_NF
