"""What the tests of several platforms share."""

import pytest

from tests.conftest import REMOTE
from tests.platforms.scored import score_two_days


@pytest.fixture(scope="session")
def two_days(_sail, tmp_path_factory):
    """A folder with the tables that two runs of a job have made, to be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REMOTE, "1")
        return score_two_days(_sail, tmp_path_factory.mktemp("two-days"))
