import pytest
from support.rows import pack_of

from rotelab.config.run_config import RunConfig


@pytest.fixture
def run(registry):
    """The id of a run that waits in the queue."""
    return registry.create_run(RunConfig(), pack_of())
