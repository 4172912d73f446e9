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


class Reasons:
    """The reasons of a batch's flagged rows, gathered block by block.

    Shapes: Q flagged rows, R residuals, F numeric units, C categories.
    """

    def __init__(self, spec: FeatureSpec, most: int) -> None:
        self.spec, self.most = spec, most
        self._counts: list[tuple[int, int]] = []
        self._entries: tuple[list[Any], ...] = ([], [], [], [])

    def add(
        self,
        arrays: Sequence[pa.Array],
        rows: NDArray[np.intp],
        parts_QR: NDArray[np.float32],
        mean_QF: NDArray[np.float32],
        likeliest_QC: NDArray[np.intp],
    ) -> None:
        """Reasons of the rows with index ``rows``.

        ``arrays`` are the feature columns as they came, ``parts_QR`` each residual's part of the score (0: no reason),
        ``mean_QF`` what the decoder expects of each unit, ``likeliest_QC`` the likeliest slot of each category. A
        feature's share is its residuals' part of the sum of all positive parts.
        """
        features = self.spec.features
        positive_QR = np.maximum(parts_QR, 0)
        by_feature_QD = np.zeros((len(rows), len(features)))
        np.add.at(by_feature_QD.T, self.spec.feature_of_unit, positive_QR.T)
        total_Q = by_feature_QD.sum(axis=1)
        largest_QD = np.argsort(-by_feature_QD, axis=1, kind="stable")[:, : self.most]
        for q, row in enumerate(rows.tolist()):
            before = len(self._entries[0])
            for index in largest_QD[q].tolist():
                if by_feature_QD[q, index] <= 0:
                    break
                feature, value = features[index], arrays[index][row]
                own = self.spec.units[index]
                if feature.is_category:
                    slot = likeliest_QC[q, own.start - len(self.spec.center_F)]
                    observed = value.as_py() if feature.kind == "categorical" else str(value.as_py()).lower()
                    expected = feature.values[slot] if slot < feature.slots else "(a rare value)"
                else:
                    center, scale = self.spec.center_F[own], self.spec.scale_F[own]
                    worst = int(np.argmax(positive_QR[q, own]))
                    observed, expected = _words(feature, value, center + scale * mean_QF[q, own], worst)
                share = float(by_feature_QD[q, index] / total_Q[q])
                for entries, part in zip(self._entries, (feature.name, share, str(observed), expected), strict=True):
                    entries.append(part)
            self._counts.append((row, len(self._entries[0]) - before))

    def build(self, rows: int) -> pa.ListArray:
        """A list for each row of the batch, empty for those that were not added."""
        counts = np.zeros(rows + 1, dtype=np.int32)
        for row, count in self._counts:
            counts[row + 1] = count
        fields = list(TYPE.value_type)
        columns = [pa.array(entries, one.type) for entries, one in zip(self._entries, fields, strict=True)]
        entries = pa.StructArray.from_arrays(columns, fields=fields)
        return pa.ListArray.from_arrays(pa.array(np.cumsum(counts, dtype=np.int32)), entries, type=TYPE)


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
