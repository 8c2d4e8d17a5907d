"""
Say what a small request costs without a server: the application, and its store alone.

What the benchmark counts beyond that is the server's and the kernel's.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from falcon.testing import create_environ
from places import SMALL_IDS, SMALL_SIZE
from run import MEMORY

from pacifica_archive_core import open_archive
from pacifica_archive_http.access_log import open_log
from pacifica_archive_http.app import make_app
from pacifica_archive_http.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import WSGIApplication

    from pacifica_archive_core import Archive

_Item = TypeVar("_Item")

_REPEATS = 5
_CALLS = 1000
_BODY = os.urandom(SMALL_SIZE)
_DIGEST = hashlib.sha256(_BODY).digest()


def main() -> None:
    """Print microseconds of CPU, the least of some repeats, as a Markdown table."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as work:
        prefix = Path(work) / "store"
        prefix.mkdir()
        with open_archive("posix", prefix=prefix, durable=False) as archive:
            for file_id in range(SMALL_IDS):
                _put(archive, file_id)
            access_log = open_log(str(Path(work) / "log"))
            plain, digesting = (
                make_app(
                    archive,
                    ServerOptions(max_transfers=48, digests=digests),
                    access_log=access_log,
                )
                for digests in ((), ("sha-256",))
            )
            new_ids = iter(range(1_000_000, 1_000_000_000))
            rows: list[
                tuple[str, str, WSGIApplication, Callable[[Archive, int], object]]
            ] = [
                ("GET", "GET", plain, _get),
                ("HEAD", "HEAD", plain, lambda archive, i: archive.status(i)),
                ("PUT", "PUT", plain, _put),
                ("PUT with SHA-256", "PUT", digesting, _put_with_digest),
            ]
            print("| request | application, µs | of it the store, µs |\n|---|---|---|")
            for name, method, app, act in rows:
                ids = new_ids if method == "PUT" else _in_turn()
                whole = _least(
                    lambda request: _call(app, request),  # noqa: B023 (called here)
                    _requests(method, ids),
                )
                alone = _least(lambda i: act(archive, i), ids)  # noqa: B023 (called here)
                print(f"| {name} | {whole:.0f} | {alone:.0f} |")


def _in_turn() -> Iterator[int]:
    while True:
        yield from range(SMALL_IDS)


def _requests(method: str, ids: Iterator[int]) -> Iterator[dict[str, Any]]:
    body = _BODY if method == "PUT" else b""
    for file_id in ids:
        yield create_environ(f"/{file_id}", method=method, body=body)


def _call(app: WSGIApplication, request: dict[str, Any]) -> None:
    # As PEP 3333 wants it; nobody calls what start_response returns.
    answer = app(request, lambda *_: lambda _: None)
    for _ in answer:
        pass
    close: Callable[[], object] = getattr(answer, "close", lambda: None)
    close()


def _get(archive: Archive, file_id: int) -> None:
    with archive.open(file_id) as reader:
        reader.read(SMALL_SIZE)


def _put(archive: Archive, file_id: int) -> None:
    with archive.create(file_id, size=SMALL_SIZE, overwrite=True) as writer:
        writer.write(_BODY)


def _put_with_digest(archive: Archive, file_id: int) -> None:
    with archive.create(file_id, size=SMALL_SIZE, overwrite=True) as writer:
        writer.write(_BODY)
        # Computing it is not the store's.
        writer.digests["sha-256"] = _DIGEST


def _least(act: Callable[[_Item], object], items: Iterator[_Item]) -> float:
    """Return microseconds of one call; making the items does not count."""
    least = float("inf")
    for _ in range(_REPEATS):
        batch = [next(items) for _ in range(_CALLS)]
        start = time.process_time()
        for item in batch:
            act(item)
        least = min(least, (time.process_time() - start) / _CALLS)
    return least * 1e6


if __name__ == "__main__":
    main()
