"""One whole Tollgate for these tests, started as a user starts it, on servers of its own."""

from collections.abc import Iterator

import pytest

from tests.integration.client import Tollgate
from tests.integration.running import running


@pytest.fixture(scope="session")
def tollgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    """A running `tollgate up`; the end of the run also checks that it stops in order."""
    with running(tmp_path_factory.mktemp("tollgate")) as up:
        yield up
