"""What the tests of jobs share."""

import pytest

from tests.reliability import readings


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a small model of the pumps' readings."""
    return readings.trained(tmp_path_factory.mktemp("model") / "pumps.vae")


@pytest.fixture(scope="session")
def pictures_model(tmp_path_factory):
    """The file of one that looks at a picture of the dial too."""
    include = ["flow", "pressure", "dial"]
    pictures = {"kinds": {"dial": "image"}, "image": {"height": 4, "width": 4}}
    return readings.trained(tmp_path_factory.mktemp("model") / "pictures.vae", include=include, **pictures)


@pytest.fixture(scope="session")
def series_model(tmp_path_factory):
    """The file of one that scores a reading after those before it."""
    sequence = {"order": "id", "length": 4}
    return readings.trained(tmp_path_factory.mktemp("model") / "series.vae", sequence=sequence)
