"""
Fixtures for tests of clients: real servers, which end with the test.

pytest loads this module in every run wherever the distribution is installed,
so it imports nothing but pytest until a fixture is asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_http.testing import LiveServer

__all__ = ["ServerFactory", "pacifica_server", "pacifica_server_factory"]


class ServerFactory(Protocol):
    """Starts a server, which runs until the test has ended."""

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> LiveServer:
        """
        Return a server that listens on a free port of 127.0.0.1.

        Args:
            arguments: of ``pacifica-archive serve``, as ``-t memory``.
            env: added to the environment.

        Raises:
            TimeoutError, RuntimeError: it did not begin to listen.
        """


@pytest.fixture
def pacifica_server_factory() -> Iterator[ServerFactory]:
    """Start ``pacifica-archive serve`` with the arguments that a test gives."""
    # Only now, see above.
    from pacifica_archive_http.testing import running_server  # noqa: PLC0415 (see above)

    with contextlib.ExitStack() as servers:

        def start(*arguments: str, env: Mapping[str, str] | None = None) -> LiveServer:
            return servers.enter_context(running_server(*arguments, env=env))

        yield start


@pytest.fixture
def pacifica_server(pacifica_server_factory: ServerFactory) -> LiveServer:
    """Serve an archive in memory that nobody else uses; its address is ``url``."""
    return pacifica_server_factory("-t", "memory")
