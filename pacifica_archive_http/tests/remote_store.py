"""
An archive in memory behind a server of HTTP, in a process of its own.

Not in the test's process: the contract counts that one's descriptors.
"""

# ruff: noqa: SLF001 (the raw medium is what is private)
from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
from multiprocessing.managers import BaseManager
from typing import TYPE_CHECKING

from cheroot.wsgi import Server

from pacifica_archive_core import MemoryArchive, MemoryOptions
from pacifica_archive_core.memory import _File
from pacifica_archive_http import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

#: More than a test has readers and writers at once.
THREADS = 40


class Store:
    """Runs in that process; ways to its medium past the wire."""

    def __init__(self) -> None:
        self._archive = MemoryArchive()
        self._app = make_app(self._archive)
        self._drive: threading.Thread | None = None
        self._off = threading.Event()
        # Not the server's choice: it would not let itself have such a port again.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.listen()

    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def listen(self) -> None:
        """Answer, again on the same port."""
        self._server = Server(
            ("127.0.0.1", self._port),
            self._app,
            numthreads=THREADS,
            max=THREADS,
            request_queue_size=THREADS,
        )
        # By default ten, and it closes others that may just be used again.
        self._server.keep_alive_conn_limit = THREADS
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, daemon=True)
        self._thread.start()

    def refuse(self) -> None:
        """Do not answer, and end all connections."""
        self._server.stop()
        self._thread.join()

    def reset(self) -> None:
        """Be empty, and as roomy as one can be."""
        self._archive._files.clear()
        self._archive._asked_for.clear()
        self._archive.options = MemoryOptions()

    def read(self, file_id: int) -> bytes:
        return self._archive._files[file_id].data

    def write(self, file_id: int, data: bytes) -> None:
        self._archive._files[file_id] = _File(
            data=data, mtime_ns=1, ctime_ns=1, version=f"raw{file_id}", digests={}
        )

    def names(self) -> set[str]:
        return {str(file_id) for file_id in self._archive._files}

    def purge(self, file_id: int) -> None:
        self._archive.purge(file_id)

    def finish_recalls(self) -> None:
        self._archive.finish_recalls()

    def drive(self, *, on: bool) -> None:
        """Finish recalls from now on as soon as they are asked for, or no longer."""
        if self._drive is not None:
            self._off.set()
            self._drive.join()
            self._drive = None
        if on:
            self._off.clear()
            self._drive = threading.Thread(target=self._finish_recalls, daemon=True)
            self._drive.start()

    def _finish_recalls(self) -> None:
        while not self._off.wait(0.02):
            self._archive.finish_recalls()

    def fill(self) -> None:
        """Have no space left."""
        held = sum(len(file.data) for file in self._archive._files.values())
        self._archive.options = MemoryOptions(capacity=held)

    def empty(self) -> None:
        """Have space again."""
        self._archive.options = MemoryOptions()


class _Stores(BaseManager):
    if TYPE_CHECKING:

        def Store(self) -> Store: ...  # noqa: N802 (made by `register`)


_Stores.register("Store", Store)


@contextlib.contextmanager
def running_store() -> Iterator[Store]:
    """Run a store for a with-block; what is yielded acts like it."""
    with _Stores(ctx=multiprocessing.get_context("spawn")) as stores:
        yield stores.Store()
