"""A feature as it stands in a model file, checked: it may say only what fitting could have said."""

from __future__ import annotations

import re
from dataclasses import fields
from decimal import Decimal

import pyarrow as pa

from vae_model.errors import ModelFileError
from vae_model.features.families import FAMILIES
from vae_model.features.feature import Feature
from vae_model.features.fields import Fields
from vae_model.features.kinds import KINDS
from vae_model.features.units import UnitsKind
from vae_model.printable import printable

NAMES = {field.name for field in fields(Feature)}
MAX_DIGITS = 76
"""Of the longest decimal there is."""
DIGITS = re.compile(r"-?[0-9]{1,99}(\.[0-9]{1,99})?(E[-+][0-9]{1,2})?")
"""How a number is written that is taken off a unit."""


def features_of(spec: Fields) -> tuple[tuple[Feature, ...], tuple[Feature, ...]]:
    """The features of a spec, and the pictures, of which most have none. Raises ModelFileError where one cannot be, or
    a kind is not known.
    """
    sound: set[tuple[str, str, int]] = set()
    pictures = tuple(_feature(own, sound) for own in spec.objects("pictures")) if "pictures" in spec.values else ()
    listed = spec.objects("features") if spec.sequence("features") or not pictures else []
    features = tuple(_feature(own, sound) for own in listed)
    names = [feature.name for feature in features + pictures]
    if len(set(names)) < len(names):
        raise spec.wrong("features", "each name once", next(name for name in names if names.count(name) > 1))
    for part, own, is_picture in (("features", features, False), ("pictures", pictures, True)):
        if odd := [feature.kind for feature in own if KINDS[feature.kind].is_picture != is_picture]:
            raise spec.wrong(part, "other kinds" if not is_picture else "pictures alone", odd[0])
    if (features or not pictures) and all(feature.is_constant for feature in features):
        raise spec.wrong("features", "a feature that varied in training", "constants")
    return features, pictures


def _feature(own: Fields, sound: set[tuple[str, str, int]]) -> Feature:
    """A feature of its fields. ``sound`` are kinds, families and numbers of units that are known to fit."""
    name, kind_name = own.text("name"), own.text("kind")
    if kind_name not in KINDS:
        raise ModelFileError(
            "The model has a kind of feature that this version of spark-vae-anomaly does not know.",
            f"one of {', '.join(KINDS)}",
            f"{printable(kind_name)} for column {printable(repr(name))}",
            "Upgrade spark-vae-anomaly.",
        )
    kind = KINDS[kind_name]
    feature = Feature(
        name, kind_name, own.one_of("family", kind.families),
        own.numbers("center"), own.numbers("scale", low=0),
        own.texts("values"), own.count("slots", low=0), own.number("gini", 0, 1),
        own.number("missing", 0, 1), own.numbers("low"), own.numbers("high"),
        own.count("decimals", 0, MAX_DIGITS) if "decimals" in own.values else None, _offset(own),
    )  # fmt: skip
    if unknown := [key for key in own.values if key not in NAMES]:
        raise own.wrong(unknown[0], "nothing", own.values[unknown[0]])
    if len(set(feature.values)) < len(feature.values):
        raise own.wrong("values", "each value once", "one twice")
    if feature.slots > len(feature.values):
        raise own.wrong("slots", f"at most {len(feature.values)}, one for each value", feature.slots)
    for what in ("scale", "low", "high"):
        if len(getattr(feature, what)) != len(feature.center):
            raise own.wrong(what, f"{len(feature.center)} numbers, one for each center", len(getattr(feature, what)))
    if any(low > high for low, high in zip(feature.low, feature.high, strict=True)):
        raise own.wrong("low", "numbers that are no larger than those of high", feature.low)
    if kind.is_picture:
        bare = Feature(name, kind_name, feature.family, missing=feature.missing)
        if feature != bare:
            raise own.wrong("kind", "nothing fitted on a column of pictures", "numbers or values")
        return feature
    if not isinstance(kind, UnitsKind):
        if feature.center or feature.offset:
            raise own.wrong("center" if feature.center else "offset", "no numbers for a category", "some")
        if not feature.values:
            raise own.wrong("values", "at least one value of a category", feature.values)
        return feature
    if feature.values or feature.gini:
        raise own.wrong("values" if feature.values else "gini", f"none for a {kind.name} feature", "some")
    if feature.offset and len(feature.offset) != len(feature.center):
        raise own.wrong("offset", f"{len(feature.center)} numbers, one for each center", len(feature.offset))
    shape = (kind_name, feature.family, len(feature.center))
    if shape not in sound:
        # A missing value is encoded to as many units as any other.
        units = kind.encode(feature, pa.nulls(1, FAMILIES[feature.family].type)).shape[1]
        if not units or units != len(feature.center):
            raise own.wrong("center", f"{units or 'some'} numbers", len(feature.center))
        sound.add(shape)
    return feature


def _offset(own: Fields) -> tuple[str, ...]:
    """The numbers that are taken off the units, in digits; most features have none."""
    if "offset" not in own.values:
        return ()
    offset = own.texts("offset")
    if not offset or not all(map(_is_decimal, offset)):
        raise own.wrong("offset", f"decimals of at most {MAX_DIGITS} digits", offset)
    return offset


def _is_decimal(text: str) -> bool:
    """Whether a text is a number that Arrow has a decimal for."""
    if not DIGITS.fullmatch(text):
        return False
    number = Decimal(text)
    return max(number.adjusted() + 1, 0) + max(-int(number.as_tuple().exponent), 0) <= MAX_DIGITS
