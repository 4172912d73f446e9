"""Who else is told of runs, as a config says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vae_model.config.section import Section

Name = Annotated[str, Field(min_length=1, max_length=250)]


class MLflow(Section):
    """A run in MLflow for each run, with its parameters, metrics, record and report; and the trained model in MLflow's
    registry. Where MLflow is, its own variables say: MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI.
    """

    experiment: Name
    """The experiment that the runs belong to. It is made where there is none of the name."""
    model: Name | None = None
    """The registered model of which each trained one becomes a version; by default called as the config is (`name`)."""
    alias: Name = "champion"
    """The alias that the version in use has: `model.path: models:/weather@champion` scores by it."""


class OpenLineage(Section):
    """Events of a run's start and end, with the tables it read and wrote. Where they go, OpenLineage's own variables
    say: OPENLINEAGE_URL, OPENLINEAGE_CONFIG.
    """

    namespace: Name = "default"
    """The namespace of the job, and of tables that are called by name."""


class Tracking(Section):
    """Who else is told of runs. Nobody by default; docs/platforms.md says what they are told."""

    mlflow: MLflow | None = None
    """The extra `mlflow` is needed."""
    openlineage: OpenLineage | None = None
    """The extra `openlineage` is needed."""
