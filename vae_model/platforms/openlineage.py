"""OpenLineage: events of a run's start and end, with the tables it read and wrote, and which column comes of which.

Where the events go, the client's own settings say: OPENLINEAGE_URL and OPENLINEAGE_API_KEY, openlineage.yml or
OPENLINEAGE__TRANSPORT__…. The events are those of https://openlineage.io/docs/spec/object-model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from openlineage.client import OpenLineageClient, set_producer
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
)

from vae_model import __version__
from vae_model.places import files, identifiers
from vae_model.scoring.output import OUTPUT

if TYPE_CHECKING:
    from vae_model.config.config import Config
    from vae_model.config.tables import Place
    from vae_model.config.tracking import OpenLineage
    from vae_model.detector import Detector
    from vae_model.features.schema import Column
    from vae_model.runs.record import RunRecord

log = logging.getLogger(__name__)

PRODUCER = f"spark-vae-anomaly/{__version__}"
STATES = {"succeeded": RunState.COMPLETE, "skipped": RunState.COMPLETE, "gated": RunState.FAIL, "failed": RunState.FAIL}
"""What OpenLineage calls the end of a run. A skipped one did all that there was to do; a gated one has published no
rows."""
SCORES = [field.name for field in OUTPUT if field.name not in ("anomaly_model", "anomaly_run")]
"""The output columns that come of a row's values."""


class Lineage:
    """Tells OpenLineage of a run."""

    name = "OpenLineage"

    def __init__(self, settings: OpenLineage, config: Config) -> None:
        self._namespace, self._config = settings.namespace, config
        self._client: Any = None
        self._run: Run | None = None
        self._columns: Sequence[Column] = ()
        self._features: Sequence[str] = ()
        self._is_training = False

    def began(self, record: RunRecord) -> None:
        """Send START. That nobody takes it is a warning: lineage is told of the work, and is not asked for it."""
        set_producer(PRODUCER)
        self._is_training = record.trains
        # Each try is a run of its own there; ours may have no id yet, and has the same one for each try.
        own = uuid5(NAMESPACE_URL, f"{record.name}/{record.run_id}/{record.process}/{record.started.isoformat()}")
        engine = processing_engine_run.ProcessingEngineRunFacet(
            version=record.versions.get("engine", ""), name=record.engine or "", openlineageAdapterVersion=__version__
        )
        self._run = Run(str(own), {"processing_engine": engine})
        try:
            self._client = OpenLineageClient()
            self._emit(RunState.START, record.started, self._inputs(record), self._outputs(record))
        except Exception as error:
            log.warning("OpenLineage could not be told that this run begins: %s", error)

    def reads(self, columns: Sequence[Column]) -> None:
        """Keep the columns for the last event."""
        self._columns = columns

    def trained(self, detector: Detector) -> None:
        """Nothing: the file is an output of the run."""

    def scores_by(self, detector: Detector) -> None:
        """Keep the features for the last event."""
        self._features = list(detector.spec.trained)

    def adopted(self, detector: Detector) -> None:
        """Nothing."""

    def ended(self, record: RunRecord, page: Callable[[], str | None]) -> None:
        """Send COMPLETE or FAIL, with all that is known by now."""
        if self._run is None or self._client is None:
            return
        if record.status in ("failed", "gated"):
            facet = error_message_run.ErrorMessageRunFacet(record.message or record.status, "PYTHON")
            self._run.facets = {**(self._run.facets or {}), "errorMessage": facet}
        ended = record.ended or datetime.now(UTC)
        self._emit(STATES[record.status], ended, self._inputs(record), self._outputs(record))

    def _emit(self, state: RunState, when: datetime, inputs: list[InputDataset], outputs: list[OutputDataset]) -> None:
        job_type = job_type_job.JobTypeJobFacet("BATCH", "SPARK", "JOB")
        name = f"{self._config.name}.{'train' if self._is_training else 'score'}"
        self._client.emit(
            RunEvent(
                eventType=state,
                eventTime=when.isoformat(),
                run=self._run,
                job=Job(self._namespace, name, {"jobType": job_type}),
                inputs=inputs,
                outputs=outputs,
                producer=PRODUCER,
            )
        )

    def _inputs(self, record: RunRecord) -> list[InputDataset]:
        if self._config.source is None:
            return []
        facets: dict[str, Any] = {}
        if record.source_version is not None:
            facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(record.source_version)
        if self._columns:
            facets["schema"] = _schema([(column.name, str(column.type)) for column in self._columns])
        counted: dict[str, Any] = {}
        if record.rows_read is not None:
            counted["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                rowCount=record.rows_read
            )
        return [InputDataset(*self._called(self._config.source), inputFacets=counted, facets=facets)]

    def _outputs(self, record: RunRecord) -> list[OutputDataset]:
        if self._is_training:
            model = self._config.model.path
            return [] if model is None else [OutputDataset(*self._file(model))]
        found = []
        if self._config.output is not None:
            rows = None if record.statuses is None else sum(record.statuses.values())
            found.append(OutputDataset(*self._called(self._config.output), _counted(rows), facets=self._scored()))
        if self._config.alerts is not None:
            found.append(OutputDataset(*self._called(self._config.alerts), _counted(record.alerts)))
        return found

    def _scored(self) -> dict[str, Any]:
        """The columns of the scored table, and which of the source's each comes of."""
        if not self._columns or self._config.source is None or self._config.output is None:
            return {}
        prefix, source = self._config.output.prefix, self._called(self._config.source)
        same, made = (
            column_lineage_dataset.Transformation("DIRECT", "IDENTITY"),
            column_lineage_dataset.Transformation("DIRECT", "TRANSFORMATION", "scored by a variational autoencoder"),
        )
        field = column_lineage_dataset.InputField
        comes_of = {
            column.name: column_lineage_dataset.Fields([field(*source, column.name, [same])])
            for column in self._columns
        }
        if self._features:
            for name in SCORES:
                comes_of[prefix + name] = column_lineage_dataset.Fields(
                    [field(*source, feature, [made]) for feature in self._features]
                )
        columns = [(column.name, str(column.type)) for column in self._columns]
        columns += [(prefix + own.name, str(own.type)) for own in OUTPUT]
        return {"schema": _schema(columns), "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(comes_of)}

    def _called(self, place: Place) -> tuple[str, str]:
        """Namespace and name of a table, as https://openlineage.io/docs/spec/naming has them."""
        if place.path is not None:
            return self._file(place.path)
        return self._namespace, ".".join(identifiers.parts(place.table or ""))

    def _file(self, path: str) -> tuple[str, str]:
        if files.protocol(path) == "file":
            return "file", str(Path(files.canonical(path).removeprefix("file://")))
        scheme, _, rest = files.canonical(path).partition("://")
        bucket, _, key = rest.partition("/")
        return f"{scheme}://{bucket}", key


def _counted(rows: int | None) -> dict[str, Any]:
    if rows is None:
        return {}
    facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return {"outputStatistics": facet}


def _schema(columns: Sequence[tuple[str, str]]) -> Any:
    return schema_dataset.SchemaDatasetFacet([schema_dataset.SchemaDatasetFacetFields(*own) for own in columns])
