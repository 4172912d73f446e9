"""The ensemble: what each member makes of encoded rows, and how they are combined into one score.

Shapes: N rows, B tiles of W rows (``networks.tiles``), F numeric units, V of them varying, C categories, R = F + C
residuals, O outputs of a network (``networks.inputs``), Q chosen rows.
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
from vae_model.networks import tiles
from vae_model.networks.buffers import Buffers
from vae_model.networks.codebook import Codebook
from vae_model.networks.dense import DenseVAE
from vae_model.networks.inputs import Expected, Inputs, Member, TableShape
from vae_model.networks.landmarks import Landmarks
from vae_model.networks.products import one_thread
from vae_model.networks.stored import within
from vae_model.networks.tiles import BLOCK
from vae_model.scoring.block import Array, Beside, Block, Residuals
from vae_model.scoring.residuals import FITTED_ROWS, ResidualDistance

NETWORKS: dict[str, type[DenseVAE] | type[Codebook]] = {network.kind: network for network in (DenseVAE, Codebook)}
"""The kinds of members, by their name in a model file."""
OWN = ("gap_score", "unseen_score", "margin", "rise")
"""The arrays of a model file that are of no member: what is added for what is new in a row, and what to expect of rows
of which a column is hidden."""
LEAST_ORDINARY = 1e-6
"""No ordinary distance is taken for less."""
REMOTENESS, WIDE = 0.3, 30
"""How much the distance to the landmarks counts beside what the members say; with more residuals than WIDE less, as it
knows no relations, and tells the less by itself the more columns there are."""


@dataclass(frozen=True)
class Ordinary:
    """What is measured on an ordinary row: the median of rows that were not trained on."""

    distances: Sequence[float]
    """Of each member's residuals."""
    remoteness: float = 0.0
    """Log-distance to the landmarks."""

    @classmethod
    def median_of(cls, several: Sequence[Ordinary]) -> Self:
        """The medians over several ensembles of the same members."""
        distances = np.median([one.distances for one in several], axis=0).tolist()
        return cls(distances, float(np.median([one.remoteness for one in several])))


@dataclass(frozen=True)
class Ensemble:
    """Members, the distance of each one's residuals, and its distance on an ordinary row, which makes them comparable.

    The score is a weighted mean of two. The first is the weighted mean over the members of distance / ordinary
    distance: about 1 for an ordinary row, and a sum over columns. The second says how far the row is from where most
    rows are, its squared distance to ``landmarks`` over that of an ordinary row: what the members have learnt by heart
    is still remote. What is new in a row, a gap or a value that never was in training, is added.
    """

    spec: FeatureSpec
    training_rows: int
    members: Sequence[Member]
    distances: Sequence[ResidualDistance]
    landmarks: Landmarks
    ordinary: Ordinary
    gap_score_D: NDArray[np.float64]
    """Of each feature, what it adds to a row's score that it is missing (``Batch.gap_N``); see ``training.novelty``."""
    unseen_score_C: NDArray[np.float64]
    """Of each category, what it adds that its value never occurred in training."""
    margin_F2: NDArray[np.float64]
    """Of each unit, standardised, how far below and above what the VAEs expect that do not see it its value may lie;
    see ``training.hiding``."""
    rise_D2: NDArray[np.float64]
    """How many times as high rows score without a feature: of the highest tenth, and of half of them."""

    @classmethod
    def fit(
        cls,
        spec: FeatureSpec,
        members: Sequence[Member],
        measures: Sequence[Member],
        landmarks: Landmarks,
        rows: Batch,
        training_rows: int,
    ) -> Self:
        """Fit the distance of each member's residuals on training rows. What is ordinary is not known yet, nor
        what gaps say.

        A member's measure is the network whose residuals the distance is fitted on: the member itself, or for a
        codebook a coarser one, as the residuals of the rows it was fitted on are too small.
        """
        features, units = len(spec.features), len(spec.scale_F)
        nothing = np.zeros(features), np.zeros(len(spec.categorical)), np.zeros((units, 2)), np.ones((features, 2))
        bare = cls(spec, training_rows, measures, [], landmarks, Ordinary([1.0] * len(members)), *nothing)
        sample = rows.take(slice(None, None, max(1, -(-len(rows) // FITTED_ROWS))))
        distances = []
        for m in range(len(measures)):  # one after the other: of a wide table, one member's residuals are large enough
            own_NR, stop = np.empty((len(sample), len(bare.constant_R)), dtype=np.float32), 0
            for residuals, _ in bare.member_residuals(sample):
                start, stop = stop, stop + len(residuals[m])
                own_NR[start:stop] = residuals[m]
            distances.append(ResidualDistance.fit(own_NR, bare.constant_R))
        return replace(bare, members=members, distances=distances)

    def ordinary_of(self, rows: Batch) -> Ordinary:
        """The medians of rows that no member has seen: on its own training rows a member that has learnt them by heart
        would look better than it is.
        """
        blocks, remoteness = [], []
        for residuals, remoteness_N in self.member_residuals(rows):
            remoteness.append(remoteness_N)
            seen_N = np.maximum((~np.isnan(residuals[0])).sum(axis=1), 1)
            parts = (distance.parts(own_NR) for distance, own_NR in zip(self.distances, residuals, strict=True))
            blocks.append([own_NR.sum(axis=1, dtype=np.float64) / seen_N for own_NR in parts])
        distances = [max(float(np.median(own_N)), LEAST_ORDINARY) for own_N in np.concatenate(blocks, axis=1)]
        return Ordinary(distances, float(np.median(np.concatenate(remoteness))))

    @classmethod
    def from_arrays(
        cls, spec: FeatureSpec, training_rows: int, kinds: Sequence[str], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """From a model file's arrays: those of member m begin with ``member.m.``."""
        members, distances, ordinary = [], [], []
        for m, kind in enumerate(kinds):
            own = within(arrays, f"member.{m}.")
            members.append(NETWORKS[kind].from_arrays(shape_of(spec), own))
            distances.append(ResidualDistance.from_arrays(own))
            ordinary.append(float(own["ordinary"][0]))
        own = within(arrays, "landmark.")
        landmarks = Landmarks.from_arrays(shape_of(spec), own)
        measured = Ordinary(ordinary, float(own["ordinary"][0]))
        return cls(spec, training_rows, members, distances, landmarks, measured, *(arrays[name] for name in OWN))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Of the distances, the landmarks and what is new, for a model file."""
        out: dict[str, NDArray[Any]] = {f"landmark.{name}": array for name, array in self.landmarks.arrays().items()}
        out["landmark.ordinary"] = np.array([self.ordinary.remoteness])
        out |= dict(zip(OWN, (self.gap_score_D, self.unseen_score_C, self.margin_F2, self.rise_D2), strict=True))
        for m, (distance, ordinary) in enumerate(zip(self.distances, self.ordinary.distances, strict=True)):
            out |= {f"member.{m}.{name}": array for name, array in distance.arrays().items()}
            out[f"member.{m}.ordinary"] = np.array([ordinary])
        return out

    @cached_property
    def weights(self) -> list[float]:
        """Of each member: the kinds weigh the same, and so do the members of a kind. They add up to 1."""
        kinds = [member.kind for member in self.members]
        return [1 / (len(set(kinds)) * kinds.count(kind)) for kind in kinds]

    @property
    def remoteness_weight(self) -> float:
        """How much the distance to the landmarks counts beside 1 for the members."""
        return REMOTENESS * min(1.0, WIDE / len(self.constant_R))

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
        return constants_of(self.spec)

    @cached_property
    def _measures(self) -> list[ResidualDistance]:
        """The members' distances, taken from differences instead of Pearson residuals, and so weighted that their parts
        add up to R times the score.
        """
        each = zip(self.distances, self.members, self.weights, self.ordinary.distances, strict=True)
        return [d.scaled(self.deviation(member), weight / ordinary) for d, member, weight, ordinary in each]

    @one_thread
    def __call__(self, batch: Batch, buffers: Buffers | None = None) -> Residuals:
        """Residuals of at most ``BLOCK`` encoded rows."""
        buffers = buffers or Buffers()
        block = self._block(batch, buffers)
        size, _, rows = block.inputs.table.x_BVW.shape
        mean_BOW = buffers("mean", size, self._shape.outputs, rows)
        parts_BRW = buffers("parts", size, len(self.constant_R), rows)
        for i, (m, expected_BOW) in enumerate(self._expected(block.inputs, mean_BOW)):
            differences_BRW = self._differences(block, self.members[m], expected_BOW)
            own_BRW = self._measures[m].parts_in_tiles(differences_BRW, block.missing_BRW, buffers)
            np.add(parts_BRW, own_BRW, out=parts_BRW) if i else np.copyto(parts_BRW, own_BRW)
        squared_BRW = self._squared(block, mean_BOW)
        if block.missing_BRW is not None:
            np.copyto(parts_BRW, 1, where=block.missing_BRW)
            np.copyto(squared_BRW, 0, where=block.missing_BRW)
        remoteness_BW = self._remoteness(block, mean_BOW)
        remoteness_BW -= np.float32(self.ordinary.remoteness)
        gap_score_N = np.append(self.gap_score_D, 0)[batch.gap_N] if block.missing_BRW is not None else None
        unseen_NC = np.where(batch.unseen_NC, self.unseen_score_C, 0) if batch.unseen_NC.any() else None
        told = remoteness_BW, self.remoteness_weight, gap_score_N, unseen_NC
        return Residuals(block, parts_BRW, squared_BRW, mean_BOW, *told)

    @one_thread
    def scores(self, batch: Batch) -> NDArray[np.float64]:
        """(N,) scores of any number of encoded rows."""
        buffers = Buffers()
        blocks = [self(block, buffers).score_N for block in batch.blocks(BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def expectation(self, residuals: Residuals, observed_NC: NDArray[np.int32]) -> tuple[Array, NDArray[np.intp]]:
        """The expected numbers (N, F), standardised, and the likeliest slot of each category (N, C) other than the one
        observed: what would have fitted instead.
        """
        mean_NO = tiles.to_rows(residuals.mean_BOW, len(observed_NC))
        likeliest_NC = np.empty(observed_NC.shape, dtype=np.intp)
        for c, own in enumerate(self._shape.categories):
            share_NS, code_N = mean_NO[:, own], observed_NC[:, c]
            share_NS[code_N >= 0, code_N[code_N >= 0]] = -1
            likeliest_NC[:, c] = share_NS.argmax(axis=1)
        return self.numbers(mean_NO), likeliest_NC

    @cached_property
    def _shape(self) -> TableShape:
        return shape_of(self.spec)

    def _block(self, batch: Batch, buffers: Buffers) -> Block:
        """Turn at most ``BLOCK`` encoded rows into tiles."""
        x_NV = batch.x_NF[:, ~self.constant_F] if self.constant_F.any() else batch.x_NF
        inputs = Inputs.of(x_NV, batch.codes_NC, buffers)
        table = inputs.table
        if x_NV.shape[1] == len(self.constant_R):
            return Block(len(batch), inputs, table.missing_BVW, None)
        size, _, rows = table.x_BVW.shape
        constants_BXW = tiles.of_rows(batch.x_NF[:, self.constant_F])
        start_C1 = np.array([own.start for own in self._shape.categories], dtype=np.intp)[:, None]
        output_BCW = np.maximum(table.codes_BCW, 0) + start_C1 + self._shape.outputs * np.arange(size)[:, None, None]
        beside = Beside(constants_BXW, tiles.of_rows(batch.unseen_NC), output_BCW * rows + np.arange(rows))
        numbers_BVW = np.zeros(table.x_BVW.shape, dtype=bool) if table.missing_BVW is None else table.missing_BVW
        gaps = numbers_BVW, np.isnan(constants_BXW), table.codes_BCW < 0
        missing_BRW = self._side_by_side("missing", *gaps, buffers) if any(gap.any() for gap in gaps) else None
        return Block(len(batch), inputs, missing_BRW, beside)

    def _side_by_side(
        self,
        name: str,
        numbers_BVW: NDArray[Any],
        constants_BXW: NDArray[Any],
        categories_BCW: NDArray[Any],
        buffers: Buffers,
    ) -> NDArray[Any]:
        """(B, R, W) what belongs to varying numbers, to constants and to categories, in the order of the residuals."""
        size, _, rows = numbers_BVW.shape
        units = len(self.constant_F)
        out_BRW = buffers(name, size, len(self.constant_R), rows, dtype=numbers_BVW.dtype)
        if constants_BXW.shape[1]:
            out_BRW[:, np.flatnonzero(~self.constant_F)] = numbers_BVW
            out_BRW[:, np.flatnonzero(self.constant_F)] = constants_BXW
        else:
            out_BRW[:, :units] = numbers_BVW
        out_BRW[:, units:] = categories_BCW
        return out_BRW

    def _expected(self, inputs: Inputs, mean_BOW: Array) -> Iterator[tuple[int, Expected]]:
        """Each member's number and what it expects, one after the other, as each overwrites what the one before it
        expected.

        The members that need no imputed cells come first. Their mean, with probabilities in place of log-probabilities,
        is written to ``mean_BOW``, and is what the others see in place of what is missing.
        """
        independent = [m for m, member in enumerate(self.members) if not member.needs_imputed]
        numbers, shares = (slice(None), slice(self._shape.varying)), (slice(None), slice(self._shape.varying, None))
        mean_BOW.fill(0)
        for m in independent:
            expected_BOW = self.members[m](inputs)
            mean_BOW[numbers] += expected_BOW[numbers]
            if self._shape.slots:
                share_BSW = inputs.buffers("shares", *expected_BOW[shares].shape)
                mean_BOW[shares] += np.exp(expected_BOW[shares], out=share_BSW)
            yield m, expected_BOW
        mean_BOW *= np.float32(1 / len(independent))
        if inputs.table.has_gaps:
            inputs = replace(inputs, imputed_BOW=mean_BOW)
        for m, member in enumerate(self.members):
            if member.needs_imputed:
                yield m, member(inputs)

    def numbers(self, mean_NO: Array) -> Array:
        """(N, F) the units of what is expected of rows, standardised; 0 for each that never varied."""
        mean_NF = np.zeros((len(mean_NO), len(self.constant_F)), dtype=np.float32)
        mean_NF[:, ~self.constant_F] = mean_NO[:, : self._shape.varying]
        return mean_NF

    def _remoteness(self, block: Block, mean_BOW: Array) -> Array:
        """(B, W) log-distance to the landmarks, with what the members expect in place of what is missing."""
        has_gaps = block.inputs.table.has_gaps
        return self.landmarks(replace(block.inputs, imputed_BOW=mean_BOW) if has_gaps else block.inputs)

    def member_residuals(self, batch: Batch) -> Iterator[tuple[list[Array], Array]]:
        """Each member's Pearson residuals (N, R), NaN where missing, and log-distances to the landmarks (N,), block by
        block.
        """
        for rows in batch.blocks(BLOCK):
            with one_thread:
                block = self._block(rows, Buffers())
                size, _, width = block.inputs.table.x_BVW.shape
                found = {}
                mean_BOW = np.empty((size, self._shape.outputs, width), dtype=np.float32)
                for m, expected_BOW in self._expected(block.inputs, mean_BOW):
                    differences_BRW = self._differences(block, self.members[m], expected_BOW)
                    differences_BRW /= self.deviation(self.members[m])[:, None]
                    found[m] = tiles.to_rows(differences_BRW, len(rows))
                remoteness_N = tiles.values(self._remoteness(block, mean_BOW), len(rows))
            yield [found[m] for m in range(len(self.members))], remoteness_N

    def deviation(self, member: Member) -> Array:
        """(R,) divisor that turns a member's differences into Pearson residuals; 1 for constants and categories, which
        already are.
        """
        deviation_R = np.ones(len(self.constant_R), dtype=np.float32)
        deviation_R[: len(self.constant_F)][~self.constant_F] = member.deviation_V
        return deviation_R

    def _differences(self, block: Block, member: Member, expected_BOW: Expected) -> Array:
        """(B, R, W) numbers less what a member expects, and Pearson residuals of constants and categories; NaN where
        missing. Overwrites ``expected_BOW``.
        """
        expected_BVW = expected_BOW[:, : self._shape.varying]
        numbers_BVW = np.subtract(member.numbers(block.inputs), expected_BVW, out=expected_BVW)
        beside = block.beside
        if beside is None:
            return numbers_BVW
        # A constant column is encoded as 0 where equal to its constant, 1 where not, NaN where missing. Something
        # with a chance of 1 / (n + 1) has deviation 1 / sqrt(n + 1): the limit of a column that hardly ever varies.
        constants_BXW = beside.constants_BXW * np.float32(math.sqrt(self.rarest))
        log_p_BCW = np.take(expected_BOW, beside.observed_BCW)
        odds_BCW = np.expm1(np.minimum(-log_p_BCW, 80))
        odds_BCW[beside.unseen_BCW] = np.inf
        odds_BCW[block.inputs.table.codes_BCW < 0] = np.nan
        categories_BCW = np.sqrt(np.clip(odds_BCW, 0, self.rarest))
        return self._side_by_side("differences", numbers_BVW, constants_BXW, categories_BCW, block.inputs.buffers)

    def _squared(self, block: Block, mean_BOW: Array) -> Array:
        """(B, R, W) squared residuals of the mean: of numbers, and Brier scores of categories."""
        table, beside = block.inputs.table, block.beside
        numbers_BVW = block.inputs.buffers("squared numbers", *table.x_BVW.shape)
        np.subtract(table.x_BVW, mean_BOW[:, : self._shape.varying], out=numbers_BVW)
        numbers_BVW *= numbers_BVW
        if beside is None:
            return numbers_BVW
        brier_BCW = np.take(mean_BOW, beside.observed_BCW)
        brier_BCW[beside.unseen_BCW] = 0
        brier_BCW *= -2
        brier_BCW += 1
        for c, (feature, own) in enumerate(zip(self.spec.categorical, self._shape.categories, strict=True)):
            share_BSW = mean_BOW[:, own]
            brier_BCW[:, c] += np.einsum("bsw,bsw->bw", share_BSW, share_BSW)
            brier_BCW[:, c] /= max(feature.gini, 1 / self.training_rows)
        return self._side_by_side("squared", numbers_BVW, beside.constants_BXW, brier_BCW, block.inputs.buffers)


def shape_of(spec: FeatureSpec) -> TableShape:
    """What the networks see of a table: constants stay outside them."""
    return TableShape(int(np.sum(spec.scale_F != 0)), tuple(f.slots + 1 for f in spec.categorical))


def constants_of(spec: FeatureSpec) -> NDArray[np.bool_]:
    """(R,) which residuals never varied in training."""
    single = [feature.gini == 0 for feature in spec.categorical]
    return np.concatenate([spec.scale_F == 0, np.array(single, dtype=bool)])
