"""Run fsspec's own tests, as far as a flat name space of ids can."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.tests import abstract  # type: ignore[import-untyped]

from pacifica_archive_core import MemoryArchive
from pacifica_archive_core.filesystem import PacificaFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IDS = itertools.count(1)


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc] # it has no types
    """
    An archive, and an id in it for each name asked for.

    The tests of copy, get and put want directories within directories.
    """

    @pytest.fixture
    def fs(self) -> Iterator[PacificaFileSystem]:
        with MemoryArchive() as archive:
            yield PacificaFileSystem(archive=archive, skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return ""

    @pytest.fixture
    def fs_join(self) -> Callable[..., Any]:
        return lambda *_names: str(next(_IDS))


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc] # as above
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc] # as above
    pass
