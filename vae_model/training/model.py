"""From a sample to a model file: gross errors are set aside, everything is fitted in turn, and made one file of."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vae_model.config.config import Config
from vae_model.drift.reference import Reference
from vae_model.errors import TrainingError
from vae_model.features.families import family
from vae_model.features.feature import Chosen
from vae_model.features.sequence import PLACE
from vae_model.scoring import model_file
from vae_model.scoring.segments import Segments
from vae_model.training import fit, gross_errors
from vae_model.training.gross_errors import Screened

if TYPE_CHECKING:
    from vae_model.training.loop import TrainingProgress

MIN_ROWS = 20
"""Fewer normal rows than this cannot be trained on."""
ELSEWHERE: Any = {
    **dict.fromkeys(("engine", "source", "output", "alerts", "drift", "gates", "runs", "tracking"), True),
    "model": {"path", "version", "keep"},
    "train": {"accept_if"},
}
"""What a config says of where rows and files lie, who reads them and which model is used. It is no part of a model: the
same rows give the same bytes, and the same name in ``anomaly_model``, wherever they come from and go to."""


def trained(
    rows: pa.Table,
    held_out: pa.Table,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    cross: bool = True,
    source_rows: int | None = None,
) -> bytes:
    """The model file of normal rows, of the chosen columns; those of ``decision.by`` are beside them. Where ``cross``
    allows, few rows are cross-fitted. ``source_rows``: so many normal rows there are in the table that they are of.

    Raises TrainingError where the rows are too few, hold nothing to learn from, or none of those held out has a score.
    """
    _check_enough(rows, held_out)
    by, given, columns = config.decision.by, [rows, held_out], [n for n in rows.column_names if n != PLACE]
    sequence, own = None, config.features.sequence
    if own:
        sequence = own.fitted(str(family(rows.schema.field(own.order).type)))
    segments = Segments.of([rows, held_out], by) if by else None
    sample = Screened(rows, held_out)
    if config.train.trim != 0:
        sample = gross_errors.screen(rows, held_out, chosen)
        rows, held_out = sample.training, sample.held_out
        _check_enough(rows, held_out, sum(sample.rows))
    is_crossed = cross and len(rows) + len(held_out) < fit.SMALL
    if is_crossed:
        rows = held_out = pa.concat_tables([rows, held_out])
        found = fit.cross_fit(rows, chosen, config, progress, segments, sequence)
    else:
        found = fit.fit(rows, held_out, chosen, config, progress, segments, sequence)
    if not len(found.scores):
        before = f"{sequence.length - 1} rows before them in an unbroken series, and " if sequence else ""
        raise TrainingError(
            "No held-out row can be scored.",
            f"rows with {before}at most {config.decision.max_missing:.0%} of their features missing",
            f"none of {len(held_out)} rows",
            "Lower features.sequence.length, raise max_gap, or train on more rows."
            if sequence
            else "Exclude columns that are mostly null, or raise decision.max_missing.",
        )
    reference = Reference.fit(found.spec, rows, given, None if is_crossed else given[1])
    header: dict[str, Any] = {
        "config": config.model_dump(mode="json", exclude=ELSEWHERE),
        "spec": found.spec.to_json(),
        **({"segments": segments.to_json()} if segments else {}),
        **({"sequence": sequence.to_json()} if sequence else {}),
        **({"pictures": found.pictures.header} if found.pictures else {}),
        "drift": reference.to_json(),
        "training": {
            "columns": columns,
            "rows": len(rows),
            "trimmed": len(rows) - found.rows,
            "set_aside": {
                "training": sample.rows[0],
                "held_out": sample.rows[1] + found.apart,
                "worst": [error._asdict() for error in sample.worst],
            },
            "calibration_rows": len(found.scores),
            **({} if source_rows is None else {"source_rows": source_rows}),
            **found.trained.summary,
            **({"pictures": found.pictures.summary} if found.pictures else {}),
        },
        "versions": _versions(),
    }
    return model_file.dumps(header, found.arrays | reference.arrays)


def _check_enough(rows: pa.Table, held_out: pa.Table, set_aside: int = 0) -> None:
    """Raise TrainingError where rows are too few to train on, or none is left to calibrate by."""
    if len(rows) + len(held_out) < MIN_ROWS or not len(held_out):
        others = f", {set_aside} more set aside as not normal" if set_aside else ""
        raise TrainingError(
            "Too few normal rows to train on.",
            f"at least {MIN_ROWS} rows",
            f"{len(rows)} to train on and {len(held_out)} held out{others}",
            "Widen train.normal, or give a larger table.",
        )


def _versions() -> dict[str, str]:
    """Versions of what shaped the model."""
    found = {"python": platform.python_version()}
    for package in ("spark-vae-anomaly", "torch", "numpy", "pandas", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
