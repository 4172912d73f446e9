"""A table and a detector that training without Spark makes of it."""

import pytest

from tests.evaluation.test_planting import table
from vae_model import Config, Detector


@pytest.fixture(scope="session")
def judged():
    """A detector, the rows it was trained on, and clean rows that it was not."""
    config = Config.model_validate({"name": "judged", "model": {"steps": 150}, "decision": {"false_alarm_rate": 0.01}})
    trained, clean = table(1000, seed=5), table(400, seed=6)
    return Detector(config).fit(trained), trained, clean
