"""Why a row of a series was flagged: its own reasons, and those that lie in the courses of its numbers.

A row's odds are a weighted sum (``scoring.windows``). A column's share is that of its statistics in the sum, and what
the reasons of the row as it is say of the rest.

Shapes: Q rows, D features, T statistics of V numbers, J = T V.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vae_model.features.feature import MISSING, Expectation, Feature, Words
from vae_model.features.numbers import unit_in_words, whole
from vae_model.features.spec import FeatureSpec
from vae_model.networks.course import STATISTICS
from vae_model.scoring.reasons import LEAST_TOLD, Explained, Reason
from vae_model.scoring.windows import Judged

_RUN = STATISTICS.index("run")


def in_their_course(
    judged: Judged, explained: Sequence[Explained], spec: FeatureSpec, arrays: Sequence[pa.Array], most: int
) -> list[Explained]:
    """The reasons of some rows, those of their courses among them, the largest share first."""
    return [_of_row(judged, q, own, spec, arrays, most) for q, own in enumerate(explained)]


def _of_row(
    judged: Judged, q: int, explained: Explained, spec: FeatureSpec, arrays: Sequence[pa.Array], most: int
) -> Explained:
    share_J, feature_J = judged.share_NJ[q], judged.windows.feature_J
    of_row = max(1 - float(share_J.sum()), 0.0)
    found = {reason.feature: reason._replace(share=reason.share * of_row) for reason in explained.reasons}
    for index in np.unique(feature_J).tolist():
        own_J = np.flatnonzero(feature_J == index)
        share, feature = float(share_J[own_J].sum()), spec.features[index]
        if share < LEAST_TOLD:
            continue
        before = found.get(feature.name)
        total = share + (before.share if before else 0.0)
        if before is not None and before.share >= share:
            found[feature.name] = before._replace(share=total)
            continue
        worst = int(own_J[np.argmax(share_J[own_J])])
        words = _in_words(judged, q, worst, spec, index, arrays[index][explained.row])
        found[feature.name] = Reason(feature.name, total, words, "")
    reasons = sorted(found.values(), key=lambda reason: -reason.share)
    kept = [reason for reason in reasons if reason.share >= LEAST_TOLD or reason is reasons[0]]
    return explained._replace(reasons=kept[:most])


def _in_words(judged: Judged, q: int, worst: int, spec: FeatureSpec, index: int, value: pa.Scalar) -> Words:
    """What is odd about a number's course, as observed and expected."""
    windows, courses, feature = judged.windows, judged.courses, spec.features[index]
    kind, v = divmod(worst, len(windows.numbers.unit_V))
    unit = int(windows.numbers.unit_V[v])
    own = unit - spec.residuals[index].start
    element = f"[{own}]" if feature.family == "array" else ""
    observed = value[own].as_py() if element and value.is_valid else value.as_py()
    if STATISTICS[kind] == "surprise":
        told = _numbers(feature, own, observed, _raw(spec, unit, courses.expected_NV[q, v]))
        seen, usual = told.observed, f"{told.expected} after the rows before it"
    elif STATISTICS[kind] == "level":
        mean, middle = (_raw(spec, unit, one) for one in courses.mean_N2V[q, :, v])
        told = _numbers(feature, own, whole(mean, feature.offset_of(own)), middle)
        seen, usual = f"{told.observed} on average over {windows.course.steps.level} rows", told.expected
    else:
        rows = int(courses.statistic_NTV[q, _RUN, v]) + 1
        longest = math.floor(windows.of_course.knot_JK[worst, -1]) + 1
        shown = MISSING if observed is None else _numbers(feature, own, observed, feature.center[own]).observed
        seen, usual = f"{shown} in {rows} rows in a row", f"at most {longest} in a row"
    prefix = f"{element}: " if element else ""
    return Words(prefix + seen, prefix + usual)


def _raw(spec: FeatureSpec, unit: int, standardised: float) -> float:
    """A number as it stands in the table."""
    return float(spec.center_F[unit] + spec.scale_F[unit] * standardised)


def _numbers(feature: Feature, unit: int, observed: object, expected: float) -> Words:
    """Two numbers of a unit, with as many digits as tell them apart."""
    value_U = [expected] * len(feature.center)
    return unit_in_words(feature, unit, observed, Expectation(value_U, value_U, value_U, value_U))
