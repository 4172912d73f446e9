"""What scoring needs of a model file's header, and the arrays that it implies: both checked before they are used.

The digest says that a file is as it was written, not that what was written makes sense. Here every part has to be what
training could have made: the fields, the names and shapes of the arrays and no others, the range of every number.
Nothing is made by a number of the header before an array of that size is known to be in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from vae_model.decisions.calibration import Rule
from vae_model.drift.reference import Reference
from vae_model.errors import ModelFileError
from vae_model.features.fields import REMEDY, Fields
from vae_model.features.sequence import Sequence
from vae_model.features.spec import LIMIT, FeatureSpec
from vae_model.networks.landmarks import Landmarks
from vae_model.networks.stored import Stored
from vae_model.printable import printable
from vae_model.scoring.ensemble import LEAST_ORDINARY, NETWORKS, constants_of, shape_of
from vae_model.scoring.evidence import Evidence
from vae_model.scoring.pictures import StoredPicture
from vae_model.scoring.residuals import ResidualDistance
from vae_model.scoring.segments import Segments
from vae_model.scoring.windows import Windows

MAX_REMOTENESS = 100.0
"""No log-distance to the landmarks is larger, by far."""


@dataclass(frozen=True)
class Header:
    """The checked header of a model file."""

    spec: FeatureSpec
    rows: int
    """Rows trained on."""
    members: Listed[Fields]
    calibration_rows: int
    name: str
    """The model's name with the first digits of its digest."""
    rule: Rule
    """The decision that it was trained with."""
    segments: Segments | None
    """Without their arrays."""
    reference: Reference
    """Without its arrays."""
    sequence: Sequence | None
    """How rows follow each other; None where each is by itself."""
    pictures: Listed[StoredPicture]
    """The columns of pictures; most models have none."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From a header as ``model_file.loads`` gives it. Raises ModelFileError."""
        whole = Fields(values, "")
        spec = FeatureSpec.from_json(whole.inner("spec").values)
        training, config = whole.inner("training"), whole.inner("config")
        pictures = whole.objects("pictures") if spec.pictures else []
        if len(pictures) != len(spec.pictures):
            raise whole.wrong("pictures", f"{len(spec.pictures)}, one for each column of pictures", len(pictures))
        members = training.objects("members") if spec.features else training.sequence("members")
        if members and not spec.features:
            raise training.wrong("members", "none, as there are pictures alone", members)
        needs_imputed = [NETWORKS[member.one_of("kind", list(NETWORKS))].needs_imputed for member in members]
        if spec.features and all(needs_imputed):
            raise training.wrong("members", "one that can do without the others", "none")
        for told in training.objects("pictures") if pictures else ():
            told.text("column")
            told.count("steps")
            told.count("held_out", 0)
        rows = training.count("rows")
        training.count("trimmed", 0, rows)
        training.texts("columns")
        if "source_rows" in training.values:
            training.count("source_rows")
        whole.named_texts("versions")
        rule = _rule(config)
        segments = Segments.from_json(whole.inner("segments")) if "segments" in whole.values else None
        if rule.by != (segments.by if segments else ()):
            raise config.wrong("decision.by", "the columns of the segments", list(rule.by))
        return cls(
            spec,
            rows,
            members,
            training.count("calibration_rows"),
            f"{config.text('name')}@{whole.text('sha256')[:12]}",
            rule,
            segments,
            Reference.from_json(whole.inner("drift"), spec),
            Sequence.from_json(whole.inner("sequence")) if "sequence" in whole.values else None,
            [StoredPicture.of(own, feature) for own, feature in zip(pictures, spec.pictures, strict=True)],
        )

    @property
    def kinds(self) -> list[str]:
        """The kind of each member."""
        return [member.text("kind") for member in self.members]

    def arrays(self) -> Iterator[tuple[str, Stored]]:
        """The arrays that belong to the header, one after the other: it may speak of more than any file holds."""
        yield "calibration_scores", Stored((self.calibration_rows,), dtype="float64")
        if self.segments:
            yield from self.segments.stored(self.calibration_rows).items()
        yield from self.reference.stored().items()
        if self.sequence:
            yield from Windows.stored(self.sequence, self.spec).items()
        for p, picture in enumerate(self.pictures):
            yield from picture.arrays(p)
        if self.pictures and self.spec.features:
            for name, one in Evidence.stored(1).items():
                yield f"picture.row.{name}", one
        if self.spec.features:
            yield from self._of_ensemble()

    def _of_ensemble(self) -> Iterator[tuple[str, Stored]]:
        shape, constant_R = shape_of(self.spec), constants_of(self.spec)
        yield "landmark.ordinary", Stored((1,), -MAX_REMOTENESS, MAX_REMOTENESS, dtype="float64")
        for name, one in Landmarks.stored(shape):
            yield f"landmark.{name}", one
        yield "gap_score", Stored((len(self.spec.features),), 0, dtype="float64")
        yield "unseen_score", Stored((len(self.spec.categorical),), 0, dtype="float64")
        yield "rise", Stored((len(self.spec.features), 2), 1, dtype="float64")
        yield "margin", Stored((len(self.spec.scale_F), 2), -2 * LIMIT, 2 * LIMIT, dtype="float64")
        for m, sizes in enumerate(self.members):
            yield f"member.{m}.ordinary", Stored((1,), LEAST_ORDINARY, dtype="float64")
            for name, one in ResidualDistance.stored(constant_R).items():
                yield f"member.{m}.{name}", one
            for name, one in NETWORKS[sizes.text("kind")].stored(shape, sizes):
                yield f"member.{m}.{name}", one

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hold the arrays of the file against the header. Raises ModelFileError, naming the first that cannot be."""
        implied = set()
        for name, stored in self.arrays():
            if name not in arrays:
                raise _wrong(name, f"{stored.dtype} {stored.shape}", "nothing")
            _check_array(name, stored, arrays[name])
            implied.add(name)
        for name in arrays.keys() - implied:
            raise _wrong(name, "none of this name", "one")
        scores = arrays["calibration_scores"]
        if (scores[1:] < scores[:-1]).any():
            raise _wrong("calibration_scores", "ascending numbers", "others")
        if fault := self.reference.with_arrays(arrays).fault():
            raise _wrong("drift", "edges that rise, and shares that add up to 1", fault)
        constant_R = constants_of(self.spec)
        for m in range(len(self.members)):
            own = {name: arrays[f"member.{m}.{name}"] for name in ResidualDistance.stored(constant_R)}
            if fault := ResidualDistance.from_arrays(own).fault(constant_R):
                raise _wrong(f"member.{m}.residual", "arrays that agree", fault)


def _rule(config: Fields) -> Rule:
    """The decision of a config: by one of the keys that say how."""
    decision = config.inner("decision")
    given = [name for name in ("false_alarm_rate", "expected_alerts", "threshold") if name in decision.values]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        raise config.wrong("decision", "one of false_alarm_rate, expected_alerts and threshold", found)
    rate, threshold, alerts = 1.0, None, None
    if given == ["false_alarm_rate"]:
        rate = decision.share("false_alarm_rate")
    elif given == ["threshold"]:
        threshold = decision.number("threshold")
    else:
        own = decision.inner("expected_alerts")
        alerts = own.number("alerts", math.ulp(0)), own.count("rows")
        rate = alerts[0] / alerts[1]
        if not 0 < rate < 1:
            raise own.wrong("alerts", "fewer than rows", alerts[0])
    by = decision.texts("by") if "by" in decision.values else ()
    if by and threshold is not None:
        raise decision.wrong("by", "none with a threshold", list(by))
    return Rule(rate, threshold, decision.count("reasons", 0), decision.share("max_missing"), alerts, by)


def _check_array(name: str, stored: Stored, array: NDArray[Any]) -> None:
    if array.shape != stored.shape or array.dtype != stored.dtype:
        raise _wrong(name, f"{stored.dtype} {stored.shape}", f"{array.dtype} {array.shape}")
    if array.size:
        low, high = float(array.min()), float(array.max())  # NaN where any number is
        if not stored.low <= low <= high <= stored.high:
            raise _wrong(name, f"numbers from {stored.low:g} to {stored.high:g}", f"from {low:g} to {high:g}")


def _wrong(name: str, expected: str, found: str) -> ModelFileError:
    return ModelFileError(f"The array {printable(repr(name))} of the model cannot be.", expected, found, REMEDY)
