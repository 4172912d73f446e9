"""Sessions that read what lies on this machine, as those do that the package starts."""

import pytest

from vae_model.spark.engines.own import marked


@pytest.fixture
def here(engine, request):
    """A session on each engine in turn; those in this process are marked as started here."""
    if "connect" in request.node.callspec.id:
        yield engine
        return
    with marked(engine):
        yield engine
