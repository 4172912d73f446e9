"""A run: a config's job from start to end, with its identity, its record and what a person is told of it."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from vae_model import __version__
from vae_model.config.config import Config
from vae_model.decisions.calibration import Alerts, Calibration
from vae_model.detector import Detector
from vae_model.errors import GateClosed, InputError, NothingToScore, VaeAnomalyError
from vae_model.evaluation.gates import before_scoring
from vae_model.platforms.tracking import Trackers
from vae_model.runs.identity import checked_id, derived_id
from vae_model.runs.ledger import Ledger
from vae_model.runs.record import RunRecord, Stage, Status
from vae_model.runs.recording import Recording
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.jobs import alerts
from vae_model.spark.jobs.drift import Compared, compare, count
from vae_model.spark.jobs.gating import Gating
from vae_model.spark.jobs.last import is_done, last
from vae_model.spark.jobs.listener import Listener, Nobody
from vae_model.spark.jobs.prepare import Prepared, prepare
from vae_model.spark.jobs.report import report
from vae_model.spark.jobs.score import Scored, decide_as_configured, read_back, score_prepared
from vae_model.spark.jobs.train import Trained, train_for
from vae_model.spark.sinks.runs_table import ledger
from vae_model.spark.sinks.summary import Summary
from vae_model.spark.source.table import listed, open_source
from vae_model.spark.source.version import source_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

_Page = Callable[[RunRecord], str | None]
"""Makes a run's report."""


def run(
    spark: SparkSession,
    config: Config,
    run_id: str | None = None,
    *,
    train: bool = True,
    full: bool = False,
    listener: Listener | None = None,
    model: Detector | None = None,
) -> RunRecord:
    """Do a config's job: train (or, with ``train=False``, load the model), score the source, write the output. The
    record of the run says what came of it; it is in the runs table too.

    ``model`` is the one to score by, where it is loaded already.

    ``run_id`` is the id that a scheduler gives the run, the same for each try; without it the id is derived from
    config, model, source version and slice. ``full`` scores everything anew where ``source.incremental`` would score
    what is new. Raises what ``errors`` has: InputError and NothingToScore with the output as it was, JobError.
    """
    with _recorded(spark, config, run_id, "run" if train else "score", listener or Nobody()) as state:
        if model is None and (not train or config.model.is_pinned):
            model = Detector.load(config.for_model(), config.model.version)
        if not full and is_done(spark, config, run_id):
            state.done_before(spark, config, model)
        else:
            try:
                _do(state, spark, config, model, train, full)
            except NothingToScore:  # what the last run was killed at is all that there is to do
                alerts.make_up(spark, config, model, state.record.run_id)
                raise
    return state.record


def _do(state: _Run, spark: SparkSession, config: Config, chosen: Detector | None, train: bool, full: bool) -> None:
    """The work of a run: train, score by what was trained, or the version that was chosen, and write."""
    state.note(slice=config.for_scoring().source.where)  # what comes to nothing was of a slice too
    prepared = prepare(spark, config, chosen, full=full)  # nothing may fail after minutes of training
    state.note(source_version=prepared.version, slice=prepared.slice)
    state.trackers.reads(partial(frames.columns, prepared.rows))
    if train and config.rejected_output is None:
        gating = Gating(config, state.record.run_id)
        gating.closed = before_scoring(config.gates, count(prepared.rows, config), None)
        gating.refuse(config.for_scoring().output)
    trained = state.train(spark, config) if train else None
    detector = decide_as_configured(chosen or cast(Trained, trained).detector, config)
    state.trackers.scores_by(detector)
    if chosen is None and config.for_scoring().source.incremental:  # what is new may be everything, by another model
        prepared = prepare(spark, config, detector, mending=False, full=full)
        state.note(source_version=prepared.version, slice=prepared.slice)
    _score(state, config, prepared, detector, trained)


def _score(state: _Run, config: Config, prepared: Prepared, detector: Detector, trained: Trained | None) -> None:
    """Score rows and write them, if the gates let them pass; what was trained for them comes into use with them."""
    state.begin_by(detector)
    gating = Gating(config, state.id_if_refused, trained.adopt if trained else None)
    try:
        with state.listener.progress() as display:
            compared = compare(prepared.rows, config, detector, display.tasks)
            state.compared(compared)
            gating.closed = before_scoring(config.gates, compared.rows, compared.comparison)
            if not (gating.closed or config.gates.needs_scores):
                gating.let_pass()
            scored = score_prepared(prepared, config, detector, state.record.run_id, display.tasks, gating)
    except GateClosed:
        state.rejected(gating)
        raise
    state.scored(scored)


def run_prepared(
    spark: SparkSession, config: Config, run_id: str, prepared: Prepared, model: Detector, listener: Listener
) -> RunRecord:
    """Score rows that are prepared, as a run of its own: a batch of a stream. Raises what ``run`` raises."""
    with _recorded(spark, config, run_id, "score", listener) as state:
        state.note(source_version=prepared.version, slice=prepared.slice)
        state.trackers.reads(partial(frames.columns, prepared.rows))
        state.trackers.scores_by(model)
        _score(state, config, prepared, model, None)
    return state.record


def run_training(
    spark: SparkSession, config: Config, run_id: str | None = None, listener: Listener | None = None
) -> RunRecord:
    """Train on a config's source and write the model file, as a run with a record."""
    with _recorded(spark, config, run_id, "train", listener or Nobody()) as state:
        source, _ = config.for_training()
        state.note(source_version=source_version(spark, source, listed(spark, source)), slice=config.train.normal)
        state.trackers.reads(lambda: frames.columns(open_source(spark, source)))
        state.begin()
        state.train(spark, config).adopt()
    return state.record


class _Run(Recording):
    """A run that goes on."""

    def __init__(
        self, record: RunRecord, ledger: Ledger | None, listener: Listener, trackers: Trackers, page: _Page
    ) -> None:
        super().__init__(record, ledger)
        self.listener, self.trackers, self._page = listener, trackers, page
        self.summary: Summary | None = None

    def begin(self) -> None:
        """Give the run its id, if it has none yet, and write its record. Once."""
        if not self.has_begun:
            self._name()
            super().begin()

    def begin_by(self, detector: Detector) -> None:
        """The model is known, and with it what the run does."""
        self._by(detector)
        self.begin()

    def train(self, spark: SparkSession, config: Config) -> Trained:
        """Train; what was trained is not in use yet.

        A run without an id of its own begins when its model is known, which is a part of what it is.
        """
        if self.record.run_id:
            self.begin()
        started = time.monotonic()
        with self.listener.progress() as display:
            found = train_for(spark, config, display.step, display.tasks)
        detector = found.detector
        rows = detector.header["training"]["rows"]
        self._by(detector)
        self._deciding(detector.calibration, detector.alerts)
        self.note(stages=[*self.record.stages, Stage("training", round(time.monotonic() - started, 2), rows)])
        self.listener.trained(detector)
        self.trackers.trained(detector)

        def adopt() -> None:
            found.adopt()
            self.trackers.adopted(detector)

        return Trained(detector, adopt)

    def compared(self, found: Compared) -> None:
        """The rows were held against those that the model learnt from."""
        self.note(stages=[*self.record.stages, *found.stages])
        if found.comparison is not None:
            own = found.comparison
            self.note(drift=list(own.columns), drift_rows=own.rows, drift_small=own.is_small)
            self.note(largest_drift=own.drift)

    def rejected(self, gating: Gating) -> None:
        """The rows are not published."""
        self.note(rejected=gating.rejected)
        self.counted(gating.summary)

    def scored(self, scored: Scored) -> None:
        """The rows are written."""
        self.note(stages=[*self.record.stages, *scored.stages], alerts=scored.alerts)
        self.counted(scored.summary)

    def counted(self, summary: Summary | None) -> None:
        """What the output holds of the run."""
        self.summary = summary
        if summary is not None:
            self.note(
                rows_read=summary.rows,
                rows_scored=summary.scored,
                statuses=summary.statuses,
                anomalies=summary.anomalies,
                threshold=summary.cut,
                effective_rate=summary.resulting_rate,
                finest_rate=summary.finest_rate,
                expected_alerts=summary.expected.expected,
                p_value_distance=summary.p_values.distance if summary.p_values else None,
                p_values_moved=summary.p_values.has_moved if summary.p_values else None,
            )

    def over(self, status: Status, message: str | None = None, recorded: bool = True) -> None:
        """The run has ended."""
        self._name(*([] if self.has_begun else [self.record.started.isoformat()]))  # what came to nothing is of its own
        record = self.end(status, message, recorded)
        self.trackers.ended(record, partial(self._page, record))
        self.listener.ended(record, self.summary)

    def done_before(self, spark: SparkSession, config: Config, detector: Detector | None) -> None:
        """The run was cut off when its rows were written: what it did is read back."""
        log.info("The run %s has written its rows before: it is done", self.record.run_id)
        loaded = detector or Detector.load(config.for_model(), config.model.version)
        scored_by = last(spark, config.for_scoring().output).stamp
        self.note(model=scored_by.model if scored_by and scored_by.run == self.record.run_id else None)
        self.begin()
        decided = decide_as_configured(loaded, config)
        self.note(alerts=alerts.made_up(spark, config, decided, self.record.run_id))
        self.counted(read_back(spark, config, decided, self.record.run_id))

    def _deciding(self, calibration: Calibration, alerts: Alerts | None) -> None:
        """What a trained model would flag of the source."""
        self.note(
            threshold=calibration.cut,
            effective_rate=calibration.resulting_rate,
            finest_rate=calibration.finest_rate,
            expected_alerts=alerts.expected if alerts else None,
        )

    def _by(self, detector: Detector) -> None:
        self.note(model=detector.scorer.name, model_digest=detector.header["sha256"])

    def _name(self, *more: str) -> None:
        record = self.record
        if not record.run_id:
            parts = [record.command if record.command == "train" else "score", record.config_digest]
            parts += [record.model_digest, record.source_version, record.slice]
            if record.source_version is None:  # it cannot be told whether the source is what it was
                parts += [record.started.isoformat()]
            self.note(run_id=derived_id(record.name, [*parts, *more]))


@contextmanager
def _recorded(
    spark: SparkSession, config: Config, run_id: str | None, command: str, listener: Listener
) -> Iterator[_Run]:
    """Around a run: whatever happens in it, its record says so."""
    record = RunRecord(
        run_id=checked_id(run_id) if run_id is not None else "",
        name=config.name,
        command=command,
        config_digest=config.digest,
        decision_digest=config.decision.digest,
        source=str(config.source) if config.source else None,
        output=str(config.output) if config.output else None,
        alerts_output=str(config.alerts) if config.alerts else None,
        mode=config.output.mode if config.output else None,
        engine=engine_of(spark).name,
        versions=_versions(spark),
    )
    trackers = Trackers(config)
    trackers.began(record)
    state = _Run(record, ledger(spark, config), listener, trackers, partial(_page, spark, config))
    try:
        yield state
    except NothingToScore as error:
        state.over("skipped", str(error))
        raise
    except GateClosed as error:
        limit, found = (None if number is None else float(number) for number in (error.limit, error.number))
        state.note(gate=error.gate, gate_limit=limit, gate_found=found)
        state.over("gated", str(error))
        raise
    except VaeAnomalyError as error:  # what is wrong before any work changes nothing, the runs table neither
        state.over("failed", str(error), recorded=state.has_begun or not isinstance(error, InputError))
        raise
    except (KeyboardInterrupt, SystemExit):
        state.over("failed", "interrupted")
        raise
    except Exception as error:
        state.over("failed", f"unexpected: {frames.reason(error)}")
        raise
    state.over("succeeded")


def _page(spark: SparkSession, config: Config, record: RunRecord) -> str | None:
    """The report of a run for who keeps it; None where what makes it is not installed."""
    if not find_spec("jinja2"):
        return None
    return report(spark, config, record=record)


def _versions(spark: SparkSession) -> dict[str, str]:
    """Versions of what made the scores."""
    found = {"spark-vae-anomaly": __version__, "python": platform.python_version(), "engine": spark.version}
    for package in ("pyspark", "pyspark-client", "pysail", "numpy", "pyarrow"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
