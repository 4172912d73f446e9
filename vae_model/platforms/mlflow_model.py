"""What MLflow runs of a model of ours: it is copied beside the model file, and run where the model is loaded."""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd

from vae_model.detector import Detector


class Scoring(mlflow.pyfunc.PythonModel):
    """Scores a frame by the model file beside it."""

    def load_context(self, context: Any) -> None:
        """Read the model file."""
        self._detector = Detector.load(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """(N, 7) the output columns of N rows."""
        return self._detector.score(model_input)


mlflow.models.set_model(Scoring())
