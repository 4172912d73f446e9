"""What is new in a source since the last run: by the versions of a Delta table, or by a column that grows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vae_model.config.config import Config
from vae_model.config.tables import Incremental, Source
from vae_model.errors import OutputError
from vae_model.printable import printable
from vae_model.runs.stamp import Stamp
from vae_model.spark.source import new_versions, watermark

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger(__name__)

SOURCE = "source"
"""In a position: the source that was read so far."""
WHERE = "where"
"""In a position: the predicate of its rows that were looked at."""


@dataclass(frozen=True)
class Increment:
    """Rows that are new, and how far the source is read with them."""

    rows: DataFrame
    """Those of ``source.where`` alone."""
    position: dict[str, Any]
    words: str
    """Which rows of the source, from where to where."""
    gone: DataFrame | None = None
    """Keys of rows that are gone from the source, where the output's mode follows that."""
    condition: Column | None = None
    """What makes them of the rows of ``source.where``, where a condition does."""
    anew: bool = False
    """These are all rows of the source, to take the place of those that the output has."""


def increment(
    config: Config, frame: DataFrame, version: str | None, stamp: Stamp | None, there: DataFrame | None,
    model: str | None, full: bool,
) -> Increment:  # fmt: skip
    """The new rows of a source: ``frame``, at its version. The output is ``there``, and says by its ``stamp`` how far
    the last run came. ``model`` is the one to score by, where it is known yet.

    All rows are new where there is no output, or ``full`` says so. Raises an InputError where it cannot be told what is
    new.
    """
    source, output = config.for_scoring()
    how = source.incremental
    if how is None:
        raise ValueError("the source is not incremental")
    start = None
    if there is not None and not full and not (stamp is None and there.isEmpty()):
        start = _start(source, how, stamp, output.path or str(output))
        full = stamp is not None and _is_other_model(how, stamp, model)
    start = None if full else start
    if how.column is None:
        (rows, position, words, gone), condition = new_versions.find(config, frame, version, start), None
    else:
        rows, position, words, condition = watermark.find(config, frame, start, there)
        gone = None
    position |= {SOURCE: str(source), WHERE: source.where}
    return replace(Increment(rows, position, words, gone, condition), anew=there is not None and full)


def _start(source: Source, how: Incremental, stamp: Stamp | None, output: str) -> dict[str, Any]:
    """How far the last run came. Raises OutputError where that is not known, or not in these terms.

    A value of a column says nothing of another source, whose rows up to it would never be scored; a version is of a
    table that it names itself.
    """
    position = (stamp.position if stamp else None) or {}
    wanted = "version" if how.column is None else "column"
    if wanted not in position or (how.column is not None and position["column"] != how.column):
        found = f"the column {position['column']}" if "column" in position else ""
        found = found or ("a version of the source" if "version" in position else "no position")
        raise OutputError(
            f"It is not known how far {output} follows the source.",
            f"rows whose last run left how far it read, by {how.column or 'versions'}",
            found,
            "Run once with --full: the whole output is then replaced.",
        )
    if how.column is not None and position.get(SOURCE, str(source)) != str(source):
        raise OutputError(
            f"The output {output} follows another source.",
            printable(f"{position[SOURCE]}, up to whose {how.column} {position.get('value')} it was read"),
            str(source),
            "Give each source an output of its own. Or run once with --full: the whole output is then replaced.",
        )
    if position.get(WHERE, source.where) != source.where:
        log.warning(
            "source.where is another than at the last run (%s, before %s): rows that the last run has passed over are "
            "not looked at again, but with --full", source.where, printable(str(position[WHERE])),
        )  # fmt: skip
    return position


def _is_other_model(how: Incremental, stamp: Stamp, model: str | None) -> bool:
    """Whether all is to be scored anew by another model. Raises OutputError where that is not said."""
    if model is None or stamp.model in (None, model) or how.on_model_change == "continue":
        return False
    if how.on_model_change == "refuse":
        raise OutputError(
            "The model is another than the one that scored the output's rows.",
            f"{stamp.model}",
            model,
            "Set source.incremental.on_model_change: rescore, to score everything anew, or continue, to score what is "
            "new by this one; or run once with --full.",
        )
    log.warning("The model has changed (%s, before %s): everything is scored anew", model, stamp.model)
    return True
