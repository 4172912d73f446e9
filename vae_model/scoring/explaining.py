"""The reasons of a batch's rows: those of the ensemble, and beside them those of their courses or of their pictures.

Shapes: Q rows that need reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.spec import FeatureSpec
from vae_model.networks.buffers import Buffers
from vae_model.scoring import reasons
from vae_model.scoring.course_reasons import in_their_course
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.masking import Suspects, find_culprits
from vae_model.scoring.picture_reasons import in_their_pictures
from vae_model.scoring.pictures import Judged as JudgedPictures
from vae_model.scoring.reasons import Explained
from vae_model.scoring.windows import Judged


class Part(NamedTuple):
    """What came of scoring a part of a batch: the computed columns but for the reasons, and the rows that need them."""

    numbers: list[pa.Array]
    status: pa.Array
    rows: NDArray[np.intp]
    suspects: Suspects | None
    """These rows as the ensemble sees them, where it has a column to see."""
    judged: Judged | JudgedPictures | None
    """What made the scores of these rows, where they are of series, or have pictures."""


def joined(several: Sequence[Judged | JudgedPictures]) -> Judged | JudgedPictures:
    """The rows of several, one after the other: all are of series, or all have pictures."""
    kind: Any = type(several[0])
    found: Judged | JudgedPictures = kind.of(several)
    return found


def explained(
    arrays: Sequence[pa.Array],
    parts: Sequence[Part],
    in_sentences: bool,
    spec: FeatureSpec,
    ensemble: Ensemble | None,
    most: int,
    buffers: Buffers,
) -> reasons.Columns:
    """The reasons of a whole batch's rows, at most so many each, looked for at once: a few rows take as long as a few
    hundred.
    """
    why = reasons.Columns(len(arrays[0]), in_sentences)
    rows_Q, done = np.concatenate([part.rows for part in parts]), 0
    several = [part.judged for part in parts if part.judged is not None]
    judged = joined(several) if several else None
    suspects = [part.suspects for part in parts if part.suspects is not None]
    for some in _chunks(suspects, ensemble, len(rows_Q)):
        own_Q = rows_Q[done : done + len(some.rows)] if some else rows_Q
        own = judged.take(np.arange(done, done + len(own_Q))) if judged else None
        done += len(own_Q)
        found: Sequence[Explained] = [Explained(row, [], False, True) for row in own_Q.tolist()]
        if ensemble and some:
            culprits = find_culprits(ensemble, some, most, buffers)
            if isinstance(own, Judged):
                culprits = replace(culprits, mean_QF=own.in_place(culprits.mean_QF))
            found = reasons.put_into_words(ensemble, arrays, own_Q, some, culprits, in_sentences)
        if isinstance(own, Judged):
            found = in_their_course(own, found, spec, arrays, most)
        elif own:
            found = in_their_pictures(own, found, spec, most)
        why.add(found)
    return why


def _chunks(several: Sequence[Suspects], ensemble: Ensemble | None, rows: int) -> Iterator[Suspects | None]:
    """A few rows after the other, as the ensemble sees them; all at once (None) where it has no column to see."""
    if several:
        yield from Suspects.of(several).chunks()
    elif ensemble is None and rows:
        yield None
