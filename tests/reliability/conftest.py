"""What the tests of jobs share."""

import pytest

from tests.reliability import readings


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a small model of the pumps' readings."""
    return readings.trained(tmp_path_factory.mktemp("model") / "pumps.vae")
