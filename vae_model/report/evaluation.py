"""What `vae-anomaly evaluate --result FILE` has written, read for the page. The file may come from anywhere."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vae_model.errors import ConfigError

Share = Annotated[float, Field(ge=-1e-9, le=1 + 1e-9)]
"""Of sums that may be off by their last bits."""
Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """Part of the document; what later versions add is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Figure(_Part):
    """A figure with its interval."""

    value: Share
    low: Share
    high: Share


class Standing(_Part):
    """What one detector finds."""

    name: str
    recall: Figure | None = None
    auc_roc: Figure | None = None
    auc_pr: Figure | None = None


class Kind(_Part):
    """What the model's own decision finds of the errors of a kind, or in a column."""

    name: str
    rows: Count
    recall: Share
    first_reason: Share | None = None


class Decided(_Part):
    """What the model's own decision does."""

    false_alarms: Share
    recall: Figure
    precision: Figure | None = None
    first_reason: Share | None = None
    by_kind: list[Kind] = []
    by_column: list[Kind] = []


class Evaluated(_Part):
    """An evaluation, as far as the page tells it."""

    model: str
    place: str
    held_out: str
    label: str | None = None
    notes: list[str] = []
    verdict: str
    rate: Rate
    measure: str
    detectors: list[Standing]
    decided: Decided


class _Document(_Part):
    evaluation: Evaluated


def read(data: bytes, origin: str) -> Evaluated:
    """The evaluation in a result file. Raises ConfigError where it holds something else."""
    try:
        return _Document.model_validate(json.loads(data)).evaluation
    except (ValueError, RecursionError) as error:
        found = "no JSON"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            found = f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}"
        raise ConfigError(
            f"{origin} is no evaluation.", "what `vae-anomaly evaluate --result FILE` writes", found,
            "Evaluate again, or leave --evaluation out.",
        ) from None  # fmt: skip
