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

from vae_model.features.batch import Batch
from vae_model.features.spec import FeatureSpec
from vae_model.networks.buffers import Buffers
from vae_model.networks.codebook import Codebook
from vae_model.networks.dense import Forward
from vae_model.networks.layout import BLOCK, Expected, Inputs, Layout, Member
from vae_model.scoring.residuals import MAX_ROWS, ResidualDistance

NETWORKS: dict[str, type[Forward | Codebook]] = {"vae": Forward, "codebook": Codebook}
"""The kinds of members."""


@dataclass(frozen=True)
class Residuals:
    """What the ensemble makes of a block of rows. The arrays are the buffers' own: the next block overwrites them."""

    parts_NR: NDArray[np.float32]
    """Each residual's part of R times the score; 1, that of an ordinary row, where missing."""
    missing_NR: NDArray[np.bool_] | None
    """None where nothing is."""
    squared_NR: NDArray[np.float32]
    """Squared residuals of the VAEs' mean, in units of the column's training variance; NaN where missing."""
    mean_NV: NDArray[np.float32]
    """The expected value of each varying unit, standardised: the VAEs' mean."""
    shares: Sequence[NDArray[np.float32]]
    """The probability of each category's slots (N, K_c + 1): the VAEs' mean."""

    @property
    def score_N(self) -> NDArray[np.float64]:
        """The scores."""
        # Not a product with ones: its last bits depend on a row's place in the block.
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
            parts = (distance.parts(own_NR) for distance, own_NR in zip(self.distances, residuals, strict=True))
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

    @cached_property
    def _measures(self) -> list[ResidualDistance]:
        """The distances of plain differences, so weighted that they add up to the score."""
        each = zip(self.distances, self.members, self.weights, self.ordinary, strict=True)
        return [d.scaled(self._deviation(member), weight / ordinary) for d, member, weight, ordinary in each]

    def __call__(self, batch: Batch, buffers: Buffers | None = None) -> Residuals:
        """Residuals of at most ``BLOCK`` encoded rows."""
        rows, buffers = len(batch), buffers or Buffers()
        batch = batch.padded(BLOCK)
        inputs, expected, (mean_NV, shares) = self._expected(batch, buffers)
        squared_NR = self._squared(batch, mean_NV, shares, buffers)
        missing_NR = np.isnan(squared_NR) if inputs.has_gaps or self.constant_F.any() else None

        parts_NR = buffers("parts", *squared_NR.shape)
        parts_NR.fill(0)
        for member, measure, one in zip(self.members, self._measures, expected, strict=True):
            parts_NR += measure.parts(self._differences(batch, inputs, member, one), buffers)
        if missing_NR is not None:
            np.copyto(parts_NR, 1, where=missing_NR)
        return Residuals(
            parts_NR[:rows],
            None if missing_NR is None else missing_NR[:rows],
            squared_NR[:rows],
            mean_NV[:rows],
            [share_NS[:rows] for share_NS in shares],
        )

    def scores(self, batch: Batch) -> NDArray[np.float64]:
        """(N,) scores of any number of encoded rows."""
        buffers = Buffers()
        blocks = [self(block, buffers).score_N for block in batch.blocks(BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def expectation(
        self, batch: Batch, residuals: Residuals, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Of some rows, the expected numbers (Q, F), standardised, and the likeliest slot of each category (Q, C) other
        than the one observed: what would have fitted instead.
        """
        mean_QF = np.zeros((len(rows), len(self.constant_F)), dtype=np.float32)
        mean_QF[:, ~self.constant_F] = residuals.mean_NV[rows]
        likeliest_QC = np.empty((len(rows), len(residuals.shares)), dtype=np.intp)
        for c, share_NS in enumerate(residuals.shares):
            share_QS, code_Q = share_NS[rows], batch.codes_NC[rows, c]
            share_QS[code_Q >= 0, code_Q[code_Q >= 0]] = -1
            likeliest_QC[:, c] = share_QS.argmax(axis=1)
        return mean_QF, likeliest_QC

    def _expected(self, batch: Batch, buffers: Buffers) -> tuple[Inputs, list[Expected], Expected]:
        """What each member expects, and the VAEs' mean: shares in place of log-probabilities. The VAEs come first; in
        place of what is missing, a codebook sees their mean.
        """
        inputs = Inputs.of(self._varying(batch), batch.codes_NC, buffers)
        expected = [member(inputs) for member in self.members if isinstance(member, Forward)]
        mean = _mean(expected, buffers)
        if inputs.has_gaps:
            inputs = replace(inputs, guess=mean)
        expected += [member(inputs) for member in self.members if not isinstance(member, Forward)]
        return inputs, expected, mean

    def _varying(self, batch: Batch) -> NDArray[np.float32]:
        return batch.x_NF[:, ~self.constant_F] if self.constant_F.any() else batch.x_NF

    def _residuals(self, batch: Batch) -> Iterator[list[NDArray[np.float32]]]:
        """Each member's Pearson residuals (N, R), block by block."""
        for block in batch.blocks(BLOCK):
            padded, buffers = block.padded(BLOCK), Buffers()
            inputs, expected, _ = self._expected(padded, buffers)
            yield [
                self._differences(padded, inputs, member, one)[: len(block)] / self._deviation(member)
                for member, one in zip(self.members, expected, strict=True)
            ]

    def _deviation(self, member: Member) -> NDArray[np.float32]:
        """(R,) what makes a member's differences Pearson residuals; those of constants and categories are."""
        deviation_R = np.ones(len(self.constant_R), dtype=np.float32)
        deviation_R[: len(self.constant_F)][~self.constant_F] = member.deviation_V
        return deviation_R

    def _differences(self, batch: Batch, inputs: Inputs, member: Member, expected: Expected) -> NDArray[np.float32]:
        """(N, R) numbers less what a member expects, and Pearson residuals of constants and categories; NaN where
        missing.
        """
        mean_NV, log_probabilities = expected
        units, shape = len(self.constant_F), (len(batch), len(self.constant_R))
        out_NR = inputs.buffers("difference", *shape)
        if mean_NV.shape == shape:  # nothing but numbers: no parts to put together
            np.subtract(member.numbers(inputs), mean_NV, out=out_NR)
            return out_NR
        out_NR[:, :units][:, ~self.constant_F] = member.numbers(inputs) - mean_NV
        # A constant column is encoded as 0 where equal to its constant, 1 where not, NaN where missing. Something
        # with a chance of 1 / (n + 1) has deviation 1 / sqrt(n + 1): the limit of a column that hardly ever varies.
        out_NR[:, :units][:, self.constant_F] = batch.x_NF[:, self.constant_F] * math.sqrt(self.rarest)
        rows = np.arange(len(batch))
        for c, log_p in enumerate(log_probabilities):
            code = batch.codes_NC[:, c]
            odds = np.where(batch.unseen_NC[:, c], np.inf, np.expm1(np.minimum(-log_p[rows, code], 80)))
            out_NR[:, units + c] = np.where(code < 0, np.nan, np.sqrt(np.clip(odds, 0, self.rarest)))
        return out_NR

    def _squared(
        self, batch: Batch, mean_NV: NDArray[np.float32], shares: Sequence[NDArray[np.float32]], buffers: Buffers
    ) -> NDArray[np.float32]:
        """(N, R) squared residuals: of numbers, and Brier scores of categories; NaN where missing."""
        units, shape = len(self.constant_F), (len(batch), len(self.constant_R))
        out_NR = buffers("squared", *shape)
        if mean_NV.shape == shape:
            np.subtract(batch.x_NF, mean_NV, out=out_NR)
            out_NR *= out_NR
            return out_NR
        out_NR[:, :units][:, ~self.constant_F] = (self._varying(batch) - mean_NV) ** 2
        out_NR[:, :units][:, self.constant_F] = batch.x_NF[:, self.constant_F]
        rows = np.arange(len(batch))
        for c, (feature, share_NS) in enumerate(zip(self.spec.categorical, shares, strict=True)):
            code = batch.codes_NC[:, c]
            own = np.where(batch.unseen_NC[:, c], 0, share_NS[rows, code])
            brier = 1 - 2 * own + (share_NS * share_NS).sum(axis=1)
            out_NR[:, units + c] = np.where(code < 0, np.nan, brier / max(feature.gini, 1 / self.training_rows))
        return out_NR


def _mean(expected: Sequence[Expected], buffers: Buffers) -> Expected:
    """The mean of what several members expect: numbers, and the probabilities of each category's slots."""
    (first_NV, _), *others = expected
    mean_NV = buffers("mean", *first_NV.shape)
    np.copyto(mean_NV, first_NV)
    for other_NV, _ in others:
        mean_NV += other_NV
    if others:
        mean_NV *= np.float32(1 / len(expected))
    of_each = zip(*(log_probabilities for _, log_probabilities in expected), strict=True)
    return mean_NV, [np.mean([np.exp(log_p) for log_p in of_one], axis=0) for of_one in of_each]


def layout(spec: FeatureSpec) -> Layout:
    """The networks' layout for a spec: constants stay outside them."""
    return Layout(int(np.sum(spec.scale_F != 0)), tuple(f.slots + 1 for f in spec.categorical))
