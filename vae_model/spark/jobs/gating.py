"""The gates of a run: asked before its rows are scored and again before they are published; what is rejected is kept
where the config says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.config.config import Config
from vae_model.errors import GateClosed, OutputError, VaeAnomalyError
from vae_model.evaluation.gates import Closed, Counts, after_scoring
from vae_model.spark import frames
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.summary import Summary, summarise
from vae_model.spark.sinks.types import check_types
from vae_model.spark.sinks.writing import RUN, Writing
from vae_model.spark.workers import transport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.config.tables import Output
    from vae_model.scoring.scorer import Scorer

log = logging.getLogger(__name__)


def check_gates(spark: SparkSession, config: Config, frame: DataFrame) -> None:
    """Before any work: what a gate rejects can be kept, in a place of its own, and the rows can be staged for a gate
    that needs their scores. ``frame`` is the source. Raises OutputError.
    """
    source, output = config.for_scoring()
    if config.gates.needs_scores:
        check_types(frame, output.model_copy(update={"format": "parquet"}))
    kept = config.rejected_output
    if kept is None:
        return
    others = {"source": source, "output": output, "alerts": config.alerts_output, "runs": config.runs_place}
    sink.check_apart(spark, "gates.keep_rejected", kept, others)
    try:
        sink.check_output(spark, source, kept, frame, config.key)
    except OutputError as error:
        raise error.as_kind(OutputError, f"gates.keep_rejected: {error.problem}") from None


class Gating:
    """The gates of one run: whether one has closed, and what it counted.

    ``adopt`` takes the model into use that was trained for the run: when all gates have let its rows pass. ``run_id``
    is the one that rejected rows have.
    """

    def __init__(self, config: Config, run_id: str, adopt: Callable[[], None] | None = None) -> None:
        self._config, self._run_id, self._adopt = config, run_id, adopt
        self.closed: Closed | None = None
        self.summary: Summary | None = None
        """Of rows that were scored and are not published."""
        self.rejected: str | None = None
        """Where the rejected rows are, when they are kept."""

    def hook(self, writing: Writing, scorer: Scorer) -> Callable[[DataFrame], None] | None:
        """What is to see the scored rows before they are published; None where no gate needs to."""
        if not self._config.gates.needs_scores:
            return None

        def see(rows: DataFrame) -> None:
            self._count(rows, writing.output.prefix)
            if self.closed:
                self._summarise(rows, writing.output, scorer)
            self.reject(rows, writing)
            self.let_pass()

        return see

    def let_pass(self) -> None:
        """No gate has closed: what was trained for the run is the model from now on."""
        if self._adopt is not None:
            self._adopt()

    def reject(self, rows: DataFrame, writing: Writing) -> None:
        """Where a gate is closed, keep the rows as the config says, and raise GateClosed."""
        kept, lost = self._config.rejected_output, ""
        if self.closed and kept is not None:
            stamp = replace(writing.stamp, run=self._run_id, position=None, mode=kept.mode, alerts=False)
            own = rows.withColumn(writing.output.prefix + RUN, F.lit(self._run_id))
            try:
                with transport.as_rows(rows.sparkSession):
                    sink.write(own, Writing(kept, stamp))
                self.rejected = str(kept)
            except (VaeAnomalyError, *frames.ENGINE_ERRORS) as error:  # what the gate says counts for more
                found = str(error) if isinstance(error, VaeAnomalyError) else frames.reason(error)
                lost = f" They could not be kept at {kept}: {found}"
                log.warning("The rejected rows could not be kept at %s: %s", kept, found)
        self.refuse(writing.output, lost)

    def refuse(self, output: Output, lost: str = "") -> None:
        """Raise GateClosed where a gate is closed. ``lost``: what came of keeping the rows."""
        closed = self.closed
        if closed is None:
            return
        place = f" They are in {self.rejected}." if self.rejected else lost
        place += " The model that was trained for them is not taken into use." if self._adopt else ""
        raise GateClosed(
            f"The gate gates.{closed.gate} is closed: the rows are not published, and {output} is as it was.{place}",
            f"at least {closed.limit:,.0f}" if closed.gate == "min_rows" else f"at most {closed.limit:g}",
            closed.words,
            f"Look into the source. Where it is right, run again with another gates.{closed.gate}.",
        ).at(f"gates.{closed.gate}", closed.limit, closed.found)

    def _count(self, rows: DataFrame, prefix: str) -> None:
        flag, score = (frames.column(prefix + name) for name in ("is_anomaly", "anomaly_score"))
        counted = rows.agg(F.count(F.lit(1)), F.count(score), F.count(F.when(flag, 1))).collect()[0]
        self.closed = after_scoring(self._config.gates, Counts(*map(int, counted)))

    def _summarise(self, rows: DataFrame, output: Output, scorer: Scorer) -> None:
        try:
            self.summary = summarise(rows, output, self._config.key, scorer)
        except frames.ENGINE_ERRORS as error:  # what the gate says counts for more
            log.warning("The rows that are not published could not be counted: %s", frames.reason(error))
