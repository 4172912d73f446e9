"""What the model sees, how it is trained and how it decides: every key, its default and its meaning."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from vae_model.config.image import Image
from vae_model.config.section import KindName, PathName, Predicate, Section, Share, VersionName
from vae_model.config.sequence import Sequence


class Features(Section):
    """Which columns the model sees, and as what. By default every column but the key, its kind inferred."""

    include: list[str] | None = Field(default=None, min_length=1)
    """The columns to use; all but the key when left out."""
    exclude: list[str] = Field(default_factory=list)
    """Columns to leave out of the model. They still pass through to the output."""
    kinds: dict[str, KindName] = Field(default_factory=dict)
    """Kinds set by hand: numeric, boolean, categorical, datetime, vector or image. For example {origin: categorical,
    photo: image}."""
    image: Image | None = None
    """The size of the pictures, where `kinds` has an image: a column of files (PNG, JPEG, …) or of arrays."""
    sequence: Sequence | None = None
    """Where the rows of the table come one after the other. By default each is scored by itself."""

    @model_serializer(mode="wrap")
    def _dump_what_is_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        return {key: value for key, value in values.items() if key not in ("image", "sequence") or value is not None}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        both = sorted(set(self.include or ()) & set(self.exclude))
        if both:
            raise ValueError(f"columns both included and excluded: {', '.join(both)}")
        idle = sorted(set(self.kinds) & set(self.exclude))
        if self.include is not None:
            idle += sorted(set(self.kinds) - set(self.include) - set(idle))
        if idle:
            raise ValueError(f"kinds are set for columns that are not features: {', '.join(idle)}")
        pictures = [name for name, kind in self.kinds.items() if kind == "image"]
        if pictures and self.image is None:
            raise ValueError(f"what size the pictures of {', '.join(pictures)} are brought to is missing: "
                             "image: {height: 64, width: 64, channels: 1}")  # fmt: skip
        if self.image is not None and not pictures:
            raise ValueError("'image' goes with a column of pictures, kinds: {photo: image}")
        if pictures and self.sequence is not None:
            raise ValueError("pictures are scored one by one: 'sequence' does not go with a column of kind image")
        return self


class AcceptIf(Section):
    """What a new version of the model must keep to, to be taken into use: how it does on the rows held out."""

    max_score_loss: Annotated[float, Field(ge=0)] | None = None
    """By how much less likely than the current version the new one may find the values of held-out rows, once it has
    seen the row: nats a value, in the mean over values and rows. Models that differ in their seed are up to 0.05 apart,
    a badly trained one 0.2 or more; by default they are not compared. Of under 500 rows all are taken, held out or
    not. Pictures have no part in it."""
    max_share_flagged: Share | None = None
    """The largest share of the held-out rows that the new version may flag, gross errors among them. They are meant to
    be normal: far more than decision.false_alarm_rate says that the sample, or a threshold, is not right."""


class Train(Section):
    """The sample the model learns from."""

    normal: Predicate | None = None
    """SQL predicate for rows known to be normal. All rows by default."""
    rows: Annotated[int, Field(ge=100, le=2**30)] = 200_000
    """At most this many rows are brought to the driver, training and calibration together."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sample, the initial weights and the batches."""
    calibration: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the sample held out of training, to turn scores into p-values. Under 500 rows, each serves for both."""
    trim: Literal["auto"] | Annotated[float, Field(ge=0, le=0.5)] = "auto"
    """auto: gross errors of the sample are set aside, and rows far from most others are left out of training, as many
    as stand out. A number leaves out up to this share of the training rows instead, those farthest from most others. 0
    trusts every row: gross errors are kept too."""
    accept_if: AcceptIf = AcceptIf()
    """Where model.path is a folder: what a new version must keep to."""


class Model(Section):
    """The model file and the network's settings. Sizes left out follow from the number of columns."""

    path: PathName | None = None
    """The model: one file, or a folder of versions. What ends in .vae is a file; what ends in / (models/weather/), or
    is a folder, holds versions. There train adds one, and takes it into use if train.accept_if agrees."""
    version: VersionName = "current"
    """Which version scores: the one in use, or always the one of a number (7) or a digest ("2795c7e0127f", as in
    anomaly_model, in quotes)."""
    keep: Annotated[int, Field(ge=2)] = 10
    """So many versions are kept. Older ones are removed, but for the current one, the one before it, and a pinned
    one."""
    hidden: list[PositiveInt] | None = Field(default=None, min_length=1)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    latent: PositiveInt | None = None
    """Number of latent dimensions, the same in every VAE."""
    members: Annotated[int, Field(ge=1, le=32)] = 2
    """Dense VAEs in the ensemble, trained together."""
    codes: Annotated[int, Field(ge=0, le=4096)] = 128
    """Codes of the codebook in the ensemble; fewer where rows are few. 0 for no codebook."""
    kl_weight: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Weight of the KL term (1 is the plain ELBO)."""
    steps: PositiveInt | None = None
    """Optimiser steps; by default 300, fewer under 500 rows and more from 24,000 on."""
    batch_size: Annotated[int, Field(ge=8)] = 1024
    """Rows per step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-2
    """Peak of the learning-rate schedule."""

    @property
    def is_pinned(self) -> bool:
        """Whether one version scores, whatever is trained and taken into use."""
        return self.version != "current"


class ExpectedAlerts(Section):
    """How many alerts are welcome among how many normal rows."""

    alerts: Annotated[float, Field(gt=0)]
    """So many alerts are welcome, fewer than rows."""
    rows: PositiveInt
    """Among so many normal rows."""

    @model_validator(mode="after")
    def _fewer_than_rows(self) -> Self:
        if self.alerts >= self.rows:
            raise ValueError(f"alerts must be fewer than rows, found {self.alerts:g} of {self.rows:,}")
        return self


RULES = ("false_alarm_rate", "expected_alerts", "threshold")
"""The keys of a decision of which one is given."""


class Decision(Section):
    """When a row is called an anomaly: by a rate of false alarms, by the number of alerts that are welcome, or by a
    fixed score, one of the three.
    """

    false_alarm_rate: Share = 0.001
    """Share of normal rows that may be flagged: a row is flagged when its p-value is at most this."""
    expected_alerts: ExpectedAlerts | None = None
    """The same share in other words: {alerts: 20, rows: 1000000} is a rate of 20 / 1,000,000."""
    threshold: float | None = None
    """A fixed score instead: a row is flagged when its anomaly_score is at least this."""
    by: list[str] = Field(default_factory=list)
    """Columns whose values are segments of the table, such as [carrier]: the rate then holds in each of them as in the
    whole. Of strings, whole numbers, booleans or dates; features or not. They are learnt when the model is trained."""
    reasons: NonNegativeInt = 5
    """How many columns anomaly_reasons names at most. Reasons are given for flagged rows, and take longer than their
    scores; 0 for none."""
    max_missing: Share = 0.5
    """A row with a larger share of its features missing is not scored (anomaly_status: too_many_missing, or
    unreadable_image where a picture could not be read)."""

    @model_serializer(mode="wrap")
    def _dump_one_rule(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        idle = {*RULES, *(() if self.by else ("by",))} - {self.rule}
        return {key: value for key, value in values.items() if key not in idle}

    @property
    def rule(self) -> str:
        """The key of the rule that decides."""
        return next((key for key in RULES[1:] if getattr(self, key) is not None), RULES[0])

    @property
    def rate(self) -> float:
        """The share of normal rows that may be flagged; 1 where a threshold decides."""
        if self.threshold is not None:
            return 1.0
        alerts = self.expected_alerts
        return alerts.alerts / alerts.rows if alerts else self.false_alarm_rate

    @property
    def digest(self) -> str:
        """Twelve digits that tell it from another decision: a run's record has them beside the model's name."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        given = [key for key in RULES if key in self.model_fields_set and getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one rule, found {' and '.join(map(repr, given))}")
        if self.by and self.threshold is not None:
            raise ValueError("'by' goes with a rate or with expected alerts: a 'threshold' is one for all segments")
        twice = sorted({name for name in self.by if self.by.count(name) > 1})
        if twice:
            raise ValueError(f"columns named twice in 'by': {', '.join(twice)}")
        return self
