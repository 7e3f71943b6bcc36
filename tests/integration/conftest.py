"""One whole Tollgate for these tests, started as a user starts it, on servers of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.client import Tollgate
from tests.integration.running import running


@pytest.fixture(scope="session")
def tollgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    """A running `tollgate up`; the end of the run also checks that it stops in order."""
    with running(tmp_path_factory.mktemp("tollgate")) as up:
        yield up


@pytest.fixture(scope="module")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are armed."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, failpoints: Path) -> Iterator[Tollgate]:
    """A Tollgate without grace."""
    directory = tmp_path_factory.mktemp("tollgate")
    environ = {"TOLLGATE_GRACE_HOURS": "0", "TOLLGATE_FAILPOINT_DIR": str(failpoints)}
    with running(directory, **environ) as tollgate:
        yield tollgate
