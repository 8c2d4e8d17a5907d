from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import binding
import pytest
from simulated import Client, Roots
from ways import WAY

from pacifica_archive_hpss import _build
from pacifica_archive_hpss.simulator import Simulator, build, control_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_configure(config: pytest.Config) -> None:
    """Build the extension module that this run asks for, before any is imported."""
    if not WAY.headers:
        return
    folder = tempfile.TemporaryDirectory(prefix="pacifica-hpss-")
    config.add_cleanup(folder.cleanup)
    root = build(Path(folder.name) / "root", WAY.headers)
    _build.build(folder.name, root, strict=True)
    # For this process, and for those that the tests start.
    os.environ[_build.ROOT_VARIABLE] = str(root)
    os.environ[binding.VARIABLE] = folder.name
    binding.use()


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what the way these tests are run makes no difference to."""
    left_out = [item for item in items if not WAY.keeps(item.nodeid)]
    items[:] = [item for item in items if WAY.keeps(item.nodeid)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Return where the simulator's releases are built, all that are often used."""
    roots = Roots(tmp_path_factory.mktemp("roots"))
    if WAY.ordinary:
        roots.build_all()
    return roots


@pytest.fixture
def version() -> str:
    """Return the release to try; tests of several are parametrised with it."""
    return "9.3"


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the one state of all tests: the library never lets go of a state."""
    return tmp_path_factory.mktemp("hpss") / "state"


@pytest.fixture
def simulator(roots: Roots, state: Path) -> Simulator:
    """Return an empty simulated HPSS."""
    simulator = Simulator(state, control_library(roots.root()))
    simulator.format()
    return simulator


@pytest.fixture
def new_client(
    roots: Roots, simulator: Simulator, version: str
) -> Iterator[Callable[[], Client]]:
    """Return what starts a process that uses the simulator and has not logged in."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(
            Client(roots.driver(version), simulator.state)
        )


@pytest.fixture
def client(new_client: Callable[[], Client]) -> Client:
    """Return a process that has logged in."""
    return new_client().login()
