"""What a report is made of: plain records of a run, its model, and counts of its rows. Bounded, whatever the table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_model.config.config import Config
from vae_model.detector import Detector
from vae_model.report.evaluation import Evaluated
from vae_model.runs.record import RunRecord

PER_DECADE = 10
"""Bins of scores from one power of ten to the next."""
LOWEST, HIGHEST = -30, 40
"""Bins end there: a score of nothing, or beyond all measure, is in the outermost."""
TOP = 15
"""Rows that are shown one by one."""
SEGMENTS = 20
"""Segments that are shown, those with the most flagged rows first."""
DAYS = 20_000
"""Days that are counted at most: fifty years, about the one that half of the rows come before."""


class Reason(NamedTuple):
    """A column that made a row's score."""

    feature: str
    share: float
    observed: str
    expected: str


class Shown(NamedTuple):
    """A picture of a row, as two JPEG files (``heat``)."""

    feature: str
    picture: bytes
    heat: bytes


class Top(NamedTuple):
    """A row that is shown: its key as text, its score and why."""

    key: Mapping[str, str]
    score: float
    p_value: float | None
    is_flagged: bool
    reasons: tuple[Reason, ...]
    sentence: str | None
    """The reasons in a sentence; None where the row, as it is kept, does not give its score any more."""
    pictures: tuple[Shown, ...] = ()


class Day(NamedTuple):
    """The rows of a day."""

    day: date
    rows: int
    flagged: int


class Segment(NamedTuple):
    """The rows that have the same values in some columns."""

    values: tuple[str | None, ...]
    rows: int
    flagged: int


class Blamed(NamedTuple):
    """A column among the reasons of the flagged rows."""

    feature: str
    first: int
    """So many rows have it as their first reason."""
    named: int
    """And so many as one of their reasons."""
    share: float
    """What it made of their scores, added up."""


@dataclass(frozen=True)
class Rows:
    """What was counted of the rows that a run has scored."""

    place: str
    rows: int
    scores: Mapping[int, int]
    """How many scores are in each bin (``bin_of``); of a decision by segments, over the levels of these."""
    top: tuple[Top, ...]
    """The worst first: the alerts among them come first."""
    blamed: tuple[Blamed, ...]
    """Those that are named most first."""
    time: str | None = None
    """The column that says which day a row is of."""
    days: tuple[Day, ...] = ()
    """In order. A row may have none of them."""
    by: tuple[str, ...] = ()
    """The columns whose values make segments."""
    segments: tuple[Segment, ...] = ()
    are_all_segments: bool = True


@dataclass(frozen=True)
class Facts:
    """All that a report tells. What is not known is None, and ``lacks`` says why."""

    record: RunRecord
    config: Config | None = None
    model: Detector | None = None
    """The model that the run scored by, deciding as it did where that is known."""
    rows: Rows | None = None
    evaluation: Evaluated | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Why there is no ``model``, no ``rows``, no ``decision``; what is to be said of ``time``, of rows that later runs
    have ``replaced`` and of the ``config``."""
    command: str = ""
    """What does the run again, for a shell."""


def bin_of(score: float) -> int:
    """The bin of a score: a part of the decade in which it lies."""
    if not score > 0:
        return LOWEST * PER_DECADE
    return max(LOWEST * PER_DECADE, min(math.floor(math.log10(score) * PER_DECADE), HIGHEST * PER_DECADE))


def binned(scores: NDArray[np.float64]) -> dict[int, int]:
    """How many of some scores are in each bin."""
    return dict(Counter(map(bin_of, scores.tolist())))


def start_of(place: int) -> float:
    """The score at which a bin begins."""
    return float(10 ** (place / PER_DECADE))
