"""Why a row was flagged: the source columns that made its score, what was observed, what the model expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features import times
from vae_model.features.spec import Feature, FeatureSpec

TYPE = pa.list_(
    pa.struct([("feature", pa.string()), ("share", pa.float64()), ("observed", pa.string()), ("expected", pa.string())])
)


def build(
    spec: FeatureSpec,
    arrays: Sequence[pa.Array],
    rows: NDArray[np.intp],
    parts_NR: NDArray[np.float32],
    missing_NR: NDArray[np.bool_],
    mean_NF: NDArray[np.float32],
    likeliest_NC: NDArray[np.intp],
    most: int,
) -> pa.Array:
    """Reasons for the rows with index ``rows``; an empty list for every other row.

    ``arrays`` are the feature columns as they came, ``parts_NR`` each residual's part of the score, ``missing_NR``
    whether it is missing, ``mean_NF`` what the decoder expects of each unit, ``likeliest_NC`` the likeliest slot of
    each category. A feature's share is its residuals' part of the sum of all positive parts.
    """
    if not len(rows):
        return pa.ListArray.from_arrays(
            pa.array(np.zeros(len(parts_NR) + 1, np.int32)), pa.array([], TYPE.value_type), type=TYPE
        )
    entries: list[dict[str, Any]] = []
    counts = np.zeros(len(parts_NR), dtype=np.int32)
    of_unit, features = spec.feature_of_unit, spec.features
    category = {f.name: i for i, f in enumerate(spec.categorical)}
    for row in rows:
        parts_R = np.where(missing_NR[row], 0, np.maximum(parts_NR[row], 0))  # what is missing is no reason
        by_feature = np.bincount(of_unit, weights=parts_R, minlength=len(features))
        total = by_feature.sum()
        for index in np.argsort(-by_feature, kind="stable")[:most]:
            value = arrays[index][row]
            if by_feature[index] <= 0:
                break
            feature = features[index]
            if feature.is_category:
                slot = likeliest_NC[row, category[feature.name]]
                observed = value.as_py() if feature.kind == "categorical" else str(value.as_py()).lower()
                expected = feature.values[slot] if slot < feature.slots else "(a rare value)"
            else:
                units = np.flatnonzero(of_unit == index)
                worst = int(np.argmax(parts_R[units]))
                center, scale = np.array(feature.center), np.array(feature.scale)
                observed, expected = _words(feature, value, center + scale * mean_NF[row, units], worst)
            share = float(by_feature[index] / total)
            entries.append({"feature": feature.name, "share": share, "observed": str(observed), "expected": expected})
            counts[row] += 1
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(entries, TYPE.value_type), type=TYPE)


def _words(feature: Feature, value: Any, expected: NDArray[np.float64], worst: int) -> tuple[str, str]:
    """Observed and expected of one numeric, datetime or array feature; ``worst`` is the unit that deviates most."""
    if feature.kind == "datetime":
        part = worst // 2
        is_date = feature.family == "date"
        point = times.describe(part, expected[2 * part], expected[2 * part + 1], is_date)
        return _moment(value), f"{times.PARTS[part + is_date]}: {point}"
    if feature.kind == "vector":
        return f"[{worst}]: {_number(value[worst].as_py())}", f"[{worst}]: {_number(expected[worst])}"
    whole = feature.family in ("integer", "boolean") and (feature.scale[0] >= 1 or not feature.scale[0])
    return _number(value.as_py()), _number(round(float(expected[0])) if whole else float(expected[0]))


def _moment(value: Any) -> str:
    if getattr(value.type, "tz", None):  # Spark gives them in its session's zone
        value = value.cast(pa.timestamp(value.type.unit, "UTC"))
    try:
        return str(value.as_py().isoformat())
    except (OverflowError, ValueError):  # beyond the years Python's calendar knows
        return f"{value.cast(pa.int64()).as_py()} {getattr(value.type, 'unit', 'days')} since 1970"


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.6g}"
