"""Whether a new version of a model is taken into use: both versions are held against the rows held out of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.config.sections import AcceptIf
from vae_model.features.sequence import PLACE
from vae_model.features.spec import combine
from vae_model.scoring.likelihood import log_likelihoods
from vae_model.scoring.scorer import Scorer
from vae_model.training.windows import along_of

TRIMMED = 0.01
"""Of the rows' differences this share is left out at each end: a gross error is many thousand times less likely than
any other row, and would be all that is compared."""


class Refusal(NamedTuple):
    """Why a new version of a model is not taken into use."""

    words: str
    """All limits that it passes, in one sentence."""
    gate: str
    """The config's key of the first of them."""
    limit: float
    number: float | None
    """What was found where that limit is; None where nothing could be compared."""


@dataclass(frozen=True)
class Comparison:
    """What two versions say of the same rows; a figure is None where there is none."""

    rows: int
    gain: float | None
    """By how much likelier the rows are under the new version: nats a value, of the columns that both know."""
    flagged: float
    """The share of the rows that the new version flags."""
    flagged_before: float | None
    """The share that the current one flags by the same decision; None where it needs a column that is not there."""

    @classmethod
    def of(cls, new: Scorer, current: Scorer, rows: pa.Table) -> Comparison:
        """Hold the two against some rows, which are to be of the new version's columns."""
        if PLACE in rows.column_names:
            rows = rows.sort_by(PLACE)
        shared = {name for name, taken in new.spec.trained.items() if current.spec.trained.get(name) == taken}
        gains_N = _values(new, rows, shared) - _values(current, rows, shared)
        gains_N = np.sort(gains_N[~np.isnan(gains_N)])
        cut = int(TRIMMED * len(gains_N))
        gain = float(gains_N[cut : len(gains_N) - cut].mean()) if len(gains_N) else None
        is_known = shared == set(current.spec.names) and (current.windows is None or _is_in_order(rows, current))
        before = _flagged(current, rows) if is_known else None
        return cls(len(rows), gain, _flagged(new, rows), before)

    def refusal(self, limits: AcceptIf) -> Refusal | None:
        """Why the new version is not taken into use; None where it is."""
        reasons: list[tuple[str, str, float, float | None]] = []
        if limits.max_score_loss is not None:
            if self.gain is None:
                words = "has no value that could be compared with the current version's"
                reasons.append((words, "max_score_loss", limits.max_score_loss, None))
            elif self.gain < -limits.max_score_loss:
                words = (
                    f"loses {-self.gain:.3g} nats a value of log-likelihood against the current version "
                    f"(train.accept_if.max_score_loss: {limits.max_score_loss:g})"
                )
                reasons.append((words, "max_score_loss", limits.max_score_loss, -self.gain))
        if limits.max_share_flagged is not None and self.flagged > limits.max_share_flagged:
            before = "" if self.flagged_before is None else f", the current version {self.flagged_before:.3%}"
            key = f"(train.accept_if.max_share_flagged: {limits.max_share_flagged:.3%})"
            words = f"flags {self.flagged:.3%} of them{before} {key}"
            reasons.append((words, "max_share_flagged", limits.max_share_flagged, self.flagged))
        if not reasons:
            return None
        told = f"On {self.rows:,} held-out rows it {', and '.join(words for words, *_ in reasons)}."
        _, gate, limit, number = reasons[0]
        return Refusal(told, f"train.accept_if.{gate}", limit, number)

    def describe(self) -> str:
        """The figures, in one sentence."""
        likelier = "" if self.gain is None else f"{self.gain:+.3g} nats a value, "
        before = "" if self.flagged_before is None else f" (the version before: {self.flagged_before:.3%})"
        return f"on {self.rows:,} held-out rows {likelier}{self.flagged:.3%} flagged{before}"


def _values(scorer: Scorer, rows: pa.Table, names: set[str]) -> NDArray[np.float64]:
    """(N,) mean log-likelihood of a row's values in some columns; NaN where it has none."""
    known = [feature.name for feature in scorer.spec.features]
    if scorer.ensemble is None:  # pictures have no values that were likely or not
        return np.full(len(rows), np.nan)
    if scorer.windows:
        if not (names == set(known) and _is_in_order(rows, scorer)):  # what the model sees of a row is not known
            return np.full(len(rows), np.nan)
        along = along_of(scorer.windows, scorer.spec, rows)
        batch, is_short_N = along.rows(0, len(rows)), along.is_short_N()
    else:
        batch, is_short_N = scorer.spec.encode(_arrays(known, rows, names)), np.zeros(len(rows), dtype=bool)
    own = np.array([name in names for name in known], dtype=bool)
    means = []
    for values_ND in log_likelihoods(scorer.ensemble, batch):
        known_N = (~np.isnan(values_ND[:, own])).sum(axis=1)
        means.append(np.where(known_N, np.nansum(values_ND[:, own], axis=1) / np.maximum(known_N, 1), np.nan))
    return np.where(is_short_N, np.nan, np.concatenate(means))


def _flagged(scorer: Scorer, rows: pa.Table) -> float:
    if scorer.windows:
        flagged = scorer.of_table(rows).field("is_anomaly")
    else:
        flagged = scorer(_arrays(scorer.names, rows, set(scorer.names))).field("is_anomaly")
    return float(flagged.true_count / len(rows))


def _is_in_order(rows: pa.Table, scorer: Scorer) -> bool:
    """Whether the rows are said to follow each other, and by the column that a model has them in the order of."""
    return {PLACE, *scorer.names} <= {*rows.column_names}


def _arrays(known: Sequence[str], rows: pa.Table, names: set[str]) -> list[pa.Array]:
    """A model's columns; nothing but gaps for those that the rows have not, or have as something else."""
    gaps = pa.nulls(len(rows))
    return [combine(rows.column(name)) if name in names else gaps for name in known]
