"""The ensemble: what each member makes of encoded rows, and how they are combined into one score.

Shapes: N rows, F numeric units, V of them varying, C categories, R = F + C residuals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.features.spec import Batch, FeatureSpec
from vae_model.networks.codebook import Codebook
from vae_model.networks.forward import Forward
from vae_model.networks.layout import BLOCK, Expected, Inputs, Layout, Member
from vae_model.residuals import MAX_ROWS, ResidualDistance

NETWORKS: dict[str, type[Forward | Codebook]] = {"vae": Forward, "codebook": Codebook}
"""The kinds of members."""


@dataclass(frozen=True)
class Residuals:
    """What the ensemble makes of a block of rows."""

    parts_NR: NDArray[np.float32]
    """Each residual's part of R times the score; 1, that of an ordinary row, where missing."""
    missing_NR: NDArray[np.bool_]
    squared_NR: NDArray[np.float64]
    """Squared residuals of the VAEs' mean, in units of the column's training variance; NaN where missing."""
    mean_NF: NDArray[np.float32]
    """The expected value of each unit, standardised: the VAEs' mean."""
    likeliest_NC: NDArray[np.intp]
    """The likeliest slot of each category, other than the one observed: what would have fitted instead."""

    @property
    def score_N(self) -> NDArray[np.float64]:
        """The scores."""
        return np.asarray(self.parts_NR.mean(axis=1, dtype=np.float64))


@dataclass(frozen=True)
class Ensemble:
    """Members, the distance of each one's residuals, and its distance on an ordinary row, which makes them comparable.

    The score is the weighted mean over the members of distance / ordinary distance: about 1 for an ordinary row. Every
    term is a sum over columns, and so is the mean.
    """

    spec: FeatureSpec
    training_rows: int
    members: Sequence[Member]
    distances: Sequence[ResidualDistance]
    ordinary: Sequence[float]

    @classmethod
    def fit(
        cls,
        spec: FeatureSpec,
        members: Sequence[Member],
        measures: Sequence[Member],
        rows: Batch,
        training_rows: int,
    ) -> Self:
        """Fit each member's distance on the training rows' residuals from its measure: itself, or a coarser codebook.
        What is ordinary is not known yet.
        """
        bare = cls(spec, training_rows, measures, [], [1.0] * len(members))
        sample = rows.take(slice(None, None, max(1, -(-len(rows) // MAX_ROWS))))
        distances = []
        for m in range(len(measures)):  # one after the other: of a wide table, one member's residuals are large enough
            own_NR = np.concatenate([residuals[m] for residuals in bare._residuals(sample)])
            distances.append(ResidualDistance.fit(own_NR, bare.constant_R))
        return replace(bare, members=members, distances=distances)

    def ordinary_of(self, rows: Batch) -> list[float]:
        """Each member's median distance on rows that no member has seen: on its own training rows a member that has
        learnt them by heart would look better than it is.
        """
        blocks = []
        for residuals in self._residuals(rows):
            seen_N = np.maximum((~np.isnan(residuals[0])).sum(axis=1), 1)
            parts = [distance.parts(own_NR) for distance, own_NR in zip(self.distances, residuals, strict=True)]
            blocks.append([own_NR.sum(axis=1, dtype=np.float64) / seen_N for own_NR in parts])
        return [max(float(np.median(own_N)), 1e-6) for own_N in np.concatenate(blocks, axis=1)]

    @classmethod
    def from_arrays(
        cls, spec: FeatureSpec, training_rows: int, kinds: Sequence[str], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """From a model file's arrays: those of member m begin with ``member.m.``."""
        members, distances, ordinary = [], [], []
        for m, kind in enumerate(kinds):
            prefix = f"member.{m}."
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            members.append(NETWORKS[kind].from_arrays(layout(spec), own))
            distances.append(ResidualDistance.from_arrays(own))
            ordinary.append(float(own["ordinary"][0]))
        return cls(spec, training_rows, members, distances, ordinary)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Of the distances, for a model file."""
        out: dict[str, NDArray[Any]] = {}
        for m, (distance, ordinary) in enumerate(zip(self.distances, self.ordinary, strict=True)):
            out |= {f"member.{m}.{name}": array for name, array in distance.arrays().items()}
            out[f"member.{m}.ordinary"] = np.array([ordinary])
        return out

    @cached_property
    def weights(self) -> list[float]:
        """Of each member: the kinds weigh the same, and so do the members of a kind. They add up to 1."""
        kinds = [type(member) for member in self.members]
        return [1 / (len(set(kinds)) * kinds.count(kind)) for kind in kinds]

    @property
    def rarest(self) -> float:
        """Odds against something never seen in n training rows, n + 1 to 1 (the rule of succession).

        No seen category is ever held for rarer than an unseen one.
        """
        return self.training_rows + 1

    @cached_property
    def constant_F(self) -> NDArray[np.bool_]:
        """Which units never varied in training."""
        return np.asarray(self.spec.scale_F == 0)

    @cached_property
    def constant_R(self) -> NDArray[np.bool_]:
        """Which residuals never varied in training."""
        single = [feature.gini == 0 for feature in self.spec.categorical]
        return np.concatenate([self.constant_F, np.array(single, dtype=bool)])

    def __call__(self, batch: Batch) -> Residuals:
        """Residuals of at most ``BLOCK`` encoded rows."""
        rows = len(batch)
        batch = batch.padded(BLOCK)
        inputs, expected = self._expected(batch)
        parts_NR = np.zeros((len(batch), len(self.constant_R)), dtype=np.float32)
        for (mean_NV, log_p), member, distance, ordinary, weight in zip(
            expected, self.members, self.distances, self.ordinary, self.weights, strict=True
        ):
            pearson_NR = self._pearson(batch, member.residuals(inputs, mean_NV), log_p)
            own_NR = distance.parts(pearson_NR)
            own_NR *= np.float32(weight / ordinary)
            parts_NR += own_NR
        missing_NR = np.isnan(pearson_NR)
        np.copyto(parts_NR, 1, where=missing_NR)
        dense = [e for e, member in zip(expected, self.members, strict=True) if isinstance(member, Forward)]
        squared, mean_NF, likeliest = self._expectation(batch, dense)
        return Residuals(parts_NR[:rows], missing_NR[:rows], squared[:rows], mean_NF[:rows], likeliest[:rows])

    def scores(self, batch: Batch) -> NDArray[np.float64]:
        """(N,) scores of any number of encoded rows."""
        blocks = [self(block).score_N for block in batch.blocks(BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def _expected(self, batch: Batch) -> tuple[Inputs, list[Expected]]:
        """What each member expects. The VAEs come first: in place of what is missing, a codebook sees their mean."""
        inputs = Inputs.of(self._varying(batch), batch.codes_NC)
        expected: list[Expected] = []
        has_gaps = inputs.missing_NV is not None or bool((batch.codes_NC < 0).any())
        for member in self.members:
            if isinstance(member, Codebook) and has_gaps and expected:
                inputs = replace(inputs, guess=_mean(expected))
            expected.append(member(inputs))
        return inputs, expected

    def _varying(self, batch: Batch) -> NDArray[np.float32]:
        return batch.x_NF[:, ~self.constant_F] if self.constant_F.any() else batch.x_NF

    def _residuals(self, batch: Batch) -> Iterator[list[NDArray[np.float32]]]:
        """Each member's Pearson residuals (N, R), block by block."""
        for block in batch.blocks(BLOCK):
            padded = block.padded(BLOCK)
            inputs, expected = self._expected(padded)
            yield [
                self._pearson(padded, member.residuals(inputs, mean_NV), log_p)[: len(block)]
                for member, (mean_NV, log_p) in zip(self.members, expected, strict=True)
            ]

    def _pearson(
        self, batch: Batch, number_NV: NDArray[np.float32], log_probabilities: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """(N, R) Pearson residuals of numbers and categories; NaN where missing."""
        if not self.spec.categorical and not self.constant_F.any():  # nothing but numbers: no parts to put together
            return number_NV
        units = len(self.constant_F)
        pearson = np.empty((len(batch), len(self.constant_R)), dtype=np.float32)
        pearson[:, :units][:, ~self.constant_F] = number_NV
        # A constant column is encoded as 0 where equal to its constant, 1 where not, NaN where missing. Something
        # with a chance of 1 / (n + 1) has deviation 1 / sqrt(n + 1): the limit of a column that hardly ever varies.
        pearson[:, :units][:, self.constant_F] = batch.x_NF[:, self.constant_F] * math.sqrt(self.rarest)
        rows = np.arange(len(batch))
        for c, log_p in enumerate(log_probabilities):
            code = batch.codes_NC[:, c]
            odds = np.where(batch.unseen_NC[:, c], np.inf, np.expm1(np.minimum(-log_p[rows, code], 80)))
            pearson[:, units + c] = np.where(code < 0, np.nan, np.sqrt(np.clip(odds, 0, self.rarest)))
        return pearson

    def _expectation(
        self, batch: Batch, expected: Sequence[Expected]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.intp]]:
        """Squared residuals (N, R), expected numbers (N, F) and likeliest slots (N, C) of a mean of members."""
        mean_NV = expected[0][0].copy()
        for other_NV, _ in expected[1:]:
            mean_NV += other_NV
        mean_NV /= len(expected)
        units, count = len(self.constant_F), len(self.spec.categorical)
        difference = np.subtract(self._varying(batch), mean_NV, dtype=np.float64)
        likeliest = np.empty((len(batch), count), dtype=np.intp)
        if not count and not self.constant_F.any():
            return difference**2, mean_NV, likeliest
        squared = np.empty((len(batch), len(self.constant_R)))
        squared[:, :units][:, ~self.constant_F] = difference**2
        squared[:, :units][:, self.constant_F] = batch.x_NF[:, self.constant_F]
        rows = np.arange(len(batch))
        for c, feature in enumerate(self.spec.categorical):
            p = np.mean([np.exp(log_p[c]) for _, log_p in expected], axis=0)
            code = batch.codes_NC[:, c]
            own = np.where(batch.unseen_NC[:, c], 0, p[rows, code])
            brier = 1 - 2 * own.astype(np.float64) + (p * p).sum(axis=1)
            squared[:, units + c] = np.where(code < 0, np.nan, brier / max(feature.gini, 1 / self.training_rows))
            p[rows, code] = np.where(code < 0, p[rows, code], -1)
            likeliest[:, c] = p.argmax(axis=1)
        mean_NF = np.zeros((len(batch), units), dtype=np.float32)
        mean_NF[:, ~self.constant_F] = mean_NV
        return squared, mean_NF, likeliest


def _mean(expected: Sequence[Expected]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """The mean of what several members expect: numbers, and the probabilities of each category's slots."""
    numbers, log_probabilities = zip(*expected, strict=True)
    shares = [np.mean([np.exp(log_p) for log_p in of_one], axis=0) for of_one in zip(*log_probabilities, strict=True)]
    return np.mean(numbers, axis=0), shares


def layout(spec: FeatureSpec) -> Layout:
    """The networks' layout for a spec: constants stay outside them."""
    return Layout(int(np.sum(spec.scale_F != 0)), tuple(f.slots + 1 for f in spec.categorical))
