"""Who else is told of a run: what they cannot be told stops nothing."""

import logging

from vae_model.config.load import parse_config
from vae_model.platforms.tracking import Trackers


class Broken:
    """A platform that fails."""

    name = "Broken"

    def trained(self, detector):
        """As trackers are told."""
        raise OSError("no space left")


class Told:
    """A platform that keeps what it is told."""

    name = "Told"

    def __init__(self):
        self.told = []

    def trained(self, detector):
        """As trackers are told."""
        self.told.append(detector)


def test_what_one_cannot_be_told_is_a_warning(caplog):
    """The others are told all the same, and nothing is raised."""
    trackers, told = Trackers(parse_config({})), Told()
    trackers._own = [Broken(), told]
    with caplog.at_level(logging.WARNING):
        trackers.trained("a model")
    assert told.told == ["a model"]
    assert caplog.messages == ["Broken could not be told all of this run: no space left"]


def test_where_nobody_is_told_nothing_is_asked():
    """The columns of a source are not looked up for it."""
    Trackers(parse_config({})).reads(lambda: 1 / 0)
