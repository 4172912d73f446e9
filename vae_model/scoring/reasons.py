"""Why a row was flagged: the source columns that made its score, what was observed, what the model expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.spec import FeatureSpec

TYPE = pa.list_(
    pa.struct([("feature", pa.string()), ("share", pa.float64()), ("observed", pa.string()), ("expected", pa.string())])
)


class Reasons:
    """The reasons of a batch's flagged rows, gathered block by block.

    Shapes: Q flagged rows, R residuals, F numeric units, C categories.
    """

    def __init__(self, spec: FeatureSpec, max_reasons: int) -> None:
        self.spec, self.max_reasons = spec, max_reasons
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
        largest_QD = np.argsort(-by_feature_QD, axis=1, kind="stable")[:, : self.max_reasons]
        with np.errstate(over="ignore"):  # of values near the end of the floats
            expected_QF = self.spec.center_F + self.spec.scale_F * mean_QF
        expected_QR = np.concatenate([expected_QF, likeliest_QC], axis=1)
        for q, row in enumerate(rows.tolist()):
            before = len(self._entries[0])
            for index in largest_QD[q].tolist():
                if by_feature_QD[q, index] <= 0:
                    break
                feature, own = features[index], self.spec.residuals[index]
                observed, expected = self.spec.kinds[index].words(
                    feature, arrays[index][row], expected_QR[q, own], positive_QR[q, own]
                )
                share = float(by_feature_QD[q, index] / total_Q[q])
                for entries, part in zip(self._entries, (feature.name, share, observed, expected), strict=True):
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
