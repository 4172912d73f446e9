"""Why a row was flagged: the columns that made its score, what was observed, what was expected; and that as a sentence.

Shapes: Q rows, S reasons, R residuals, F numeric units, C categories, U units of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.categories import RARE
from vae_model.features.feature import MISSING, Expectation, Feature, Words
from vae_model.printable import printable, quoted
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.masking import Culprits, Suspects

TYPE = pa.list_(
    pa.struct([("feature", pa.string()), ("share", pa.float64()), ("observed", pa.string()), ("expected", pa.string())])
)
SAID = 3
"""A sentence names so many columns at most."""
ALONE, ALMOST_ALL, LEAST_TOLD = 0.5, 0.9, 0.01
"""Of a row that is not ordinary without its reasons: from this share on the first one explains most of the score;
from this on its reasons explain almost all of it; and a smaller one than this is not told in figures."""


class Reason(NamedTuple):
    """A column that made a row's score."""

    feature: str
    share: float
    words: Words
    clause: str
    """What the row's sentence says of it; empty where none is asked for."""


class Explained(NamedTuple):
    """The reasons of a row, most first."""

    row: int
    reasons: list[Reason]
    is_ordinary: bool
    """Whether the row would be ordinary without them."""
    is_all: bool
    """Whether there is no other, as far as was looked; not where so many were asked for and no more."""


def put_into_words(
    ensemble: Ensemble,
    arrays: Sequence[pa.Array],
    rows_Q: NDArray[np.intp],
    suspects: Suspects,
    found: Culprits,
    in_sentences: bool,
) -> list[Explained]:
    """The culprits of some rows in words; ``arrays`` are the feature columns as they came, ``rows_Q`` the rows' places
    in them.
    """
    spec, units = ensemble.spec, len(ensemble.spec.scale_F)
    with np.errstate(over="ignore"):  # of values near the end of the floats
        expected_Q3F = [
            spec.center_F + spec.scale_F * (found.mean_QF + margin_F)
            for margin_F in (0.0, *ensemble.margin_F2.T)
        ]  # fmt: skip
    expected_QR4 = np.stack(
        [np.concatenate([own_QF, found.likeliest_QC], axis=1) for own_QF in expected_Q3F]
        + [np.maximum(found.parts_QR, 0)],
        axis=2,
    )
    reasons: dict[tuple[int, int], Reason] = {}
    for index in np.unique(found.feature_QS[found.feature_QS >= 0]).tolist():  # column by column: much is the same
        feature, kind, own = spec.features[index], spec.kinds[index], spec.residuals[index]
        of_Q, of_S = np.nonzero(found.feature_QS == index)
        is_unseen = suspects.rows.unseen_NC[of_Q, own.start - units].tolist() if own.start >= units else None
        each = zip(
            zip(of_Q.tolist(), of_S.tolist(), strict=True), arrays[index].take(pa.array(rows_Q[of_Q])),
            found.share_QS[of_Q, of_S].tolist(), expected_QR4[of_Q, own].transpose(0, 2, 1).tolist(),
            found.has_range_QS[of_Q, of_S].tolist(), is_unseen or [False] * len(of_Q), strict=True,
        )  # fmt: skip
        for place, value, share, numbers, has_range, unseen in each:
            expected = Expectation(*numbers)
            words, told = kind.words(feature, value, expected), ""
            if in_sentences:
                interval = kind.interval(feature, value, expected) if has_range else ""
                told = clause(feature, value.is_valid, words, interval, unseen)
            reasons[place] = Reason(feature.name, share, words, told)
    counts_Q, most = (found.feature_QS >= 0).sum(axis=1).tolist(), found.feature_QS.shape[1]
    return [
        Explained(row, [reasons[q, s] for s in range(counts_Q[q])], is_ordinary, counts_Q[q] < most)
        for q, (row, is_ordinary) in enumerate(zip(rows_Q.tolist(), found.is_all_Q.tolist(), strict=True))
    ]


class Columns:
    """The reasons of a batch's rows as Arrow columns, a few rows after the other."""

    def __init__(self, rows: int, with_sentences: bool) -> None:
        self._with_sentences = with_sentences
        self._counts = np.zeros(rows + 1, dtype=np.int32)
        self._entries = [pa.array([], TYPE.value_type)]
        self._said: list[pa.Array] = [pa.array([], pa.string())]
        self._places = np.full(rows, -1)

    def add(self, explained: Sequence[Explained]) -> None:
        """The reasons of some rows, which come after those before."""
        rows = [one.row for one in explained]
        self._places[rows] = sum(map(len, self._said)) + np.arange(len(rows))
        self._counts[np.array(rows) + 1] = [len(one.reasons) for one in explained]
        reasons = [reason for one in explained for reason in one.reasons]
        entries: list[list[Any]] = [
            [reason.feature for reason in reasons], [reason.share for reason in reasons],
            [reason.words.observed for reason in reasons], [reason.words.expected for reason in reasons],
        ]  # fmt: skip
        fields = list(TYPE.value_type)
        columns = [pa.array(values, one.type) for values, one in zip(entries, fields, strict=True)]
        self._entries.append(pa.StructArray.from_arrays(columns, fields=fields))
        if self._with_sentences:
            self._said.append(pa.array(map(sentence, explained), pa.string()))

    def lists(self) -> pa.ListArray:
        """A list for each row, empty for those that were not added."""
        offsets = pa.array(np.cumsum(self._counts, dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, pa.concat_arrays(self._entries), type=TYPE)

    def sentences(self) -> pa.Array:
        """A sentence for each row, null for those that were not added."""
        return pa.concat_arrays(self._said).take(pa.array(self._places, mask=self._places < 0))


def sentence(explained: Explained) -> str:
    """The reasons of a row as one sentence."""
    reasons = explained.reasons
    parts = [reason.clause for reason in reasons[:SAID]]
    if (more := len(reasons) - SAID) > 0:
        parts.append(f"and {more} more column{'s' if more > 1 else ''}")
    return "; ".join([*parts, _what_is_left(explained)]) + "."


def clause(feature: Feature, is_there: bool, words: Words, interval: str, is_unseen: bool) -> str:
    """A reason in a sentence. Texts stand in quotes, so that no value reads as the sentence's own words."""
    name, (observed, expected) = feature.name, words
    if feature.family == "string" and is_there:
        observed = quoted(observed)
    if feature.family == "string" and expected != RARE:
        expected = quoted(expected)
    if feature.family == "array":
        if not is_there:
            return f"{name} is {observed}, expected {expected}"
        element, observed = observed.split(": ", 1)
        name, expected = name + element, expected.removeprefix(f"{element}: ")
    verb = "is " if observed == MISSING else ""
    never = " (never seen in training)" if is_unseen else ""
    about = "about " if feature.kind in ("numeric", "vector") and feature.scale[0] else ""
    return f"{printable(name)} {verb}{observed}{never}, expected {about}{expected}{f' ({interval})' * bool(interval)}"


def _what_is_left(explained: Explained) -> str:
    reasons = explained.reasons
    if explained.is_ordinary:
        return f"without {('it', 'both')[len(reasons) - 1] if len(reasons) < 3 else 'them'} the row is ordinary"
    total = sum(reason.share for reason in reasons)
    share = f"{total:.0%}" if total >= LEAST_TOLD else f"less than {LEAST_TOLD:.0%}"
    they_make = f"{'it makes' if len(reasons) == 1 else 'they make'} up {share} of its score"
    if reasons[0].share < ALONE:
        return f"no column alone explains it ({they_make})"
    is_told = total >= ALMOST_ALL or not explained.is_all
    return they_make if is_told else f"{they_make}, and no other column alone explains the rest"
