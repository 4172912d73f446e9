"""Why a row with pictures was flagged: its own reasons, and those that lie in its pictures.

Shapes: Q rows, P columns of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vae_model.features.feature import MISSING, Words
from vae_model.features.images import ORDINARY as USUAL
from vae_model.features.spec import FeatureSpec
from vae_model.printable import printable
from vae_model.scoring.masking import ORDINARY
from vae_model.scoring.pictures import Judged
from vae_model.scoring.reasons import LEAST_TOLD, Explained, Reason

AS_A_WHOLE = 0.5
"""A picture is odd as a whole where so much of its score is that of the whole."""
_LEAST = -math.log(ORDINARY)
"""Evidence of less than this is ordinary."""


def in_their_pictures(judged: Judged, explained: Sequence[Explained], spec: FeatureSpec, most: int) -> list[Explained]:
    """The reasons of some rows, those of their pictures among them, the largest share first."""
    return [_of_row(judged, q, own, spec, most) for q, own in enumerate(explained)]


def _of_row(judged: Judged, q: int, explained: Explained, spec: FeatureSpec, most: int) -> Explained:
    share_P, evidence_P = judged.share_NP[q].tolist(), judged.evidence_NP[q].tolist()
    of_row = max(1 - sum(share_P), 0.0) if spec.features else 0.0
    found = [reason._replace(share=reason.share * of_row) for reason in explained.reasons]
    for p, feature in enumerate(spec.pictures):
        words = _in_words(judged, q, p)
        clause = f"{printable(feature.name)} is {words.observed}, expected {words.expected}"
        found.append(Reason(feature.name, min(share_P[p], 1.0), words, clause))
    found.sort(key=lambda reason: -reason.share)
    kept = [reason for reason in found if reason.share >= LEAST_TOLD or reason is found[0]][:most]
    told = {reason.feature for reason in kept}
    left = [evidence for feature, evidence in zip(spec.pictures, evidence_P, strict=True) if feature.name not in told]
    others = {reason.feature for reason in explained.reasons}
    row_is_ordinary = judged.of_row_N[q] <= _LEAST or (explained.is_ordinary and others <= told)
    is_ordinary = row_is_ordinary and all(evidence <= _LEAST for evidence in left)
    return explained._replace(reasons=kept, is_ordinary=is_ordinary)


def _in_words(judged: Judged, q: int, p: int) -> Words:
    """What is odd about a picture, as observed and expected."""
    oddness = judged.oddness
    if oddness.missing_NP[q, p]:
        return Words(MISSING, USUAL)
    if oddness.unreadable_NP[q, p]:
        return Words("no picture that can be read", USUAL)
    top, left, bottom, right = oddness.where_NP4[q, p].tolist()
    if bottom == top:
        return Words("odd as a whole", USUAL)
    place = f"{bottom - top} x {right - left} pixels from row {top}, column {left} on"
    if oddness.whole_NP[q, p] >= AS_A_WHOLE * oddness.score_NP[q, p]:
        return Words(f"odd as a whole, most of all in {place}", USUAL)
    return Words(f"odd in {place}", USUAL)
