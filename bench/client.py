"""
Move files through the remote backend: the process beside curl, started by remote.py.

It imports nothing else of the benchmark. A question is a line of JSON on its standard
input, its answer one on its standard output. Only what lies between an open archive
and the last byte is timed, by each act itself: nothing of Python's start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacifica_archive_core import Archive, Hashes, copy, open_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

#: Bytes of a small file, and more: one read has it all.
_SMALL = 1 << 16


def main(url: str) -> None:
    """Answer until the end of the input."""
    acts: dict[str, Callable[..., dict[str, Any]]] = {
        "get": get,
        "digest": digest,
        "put": put,
        "reads": reads,
    }
    for line in sys.stdin:
        question = json.loads(line)
        act = acts[question.pop("act")]
        with open_archive("http", prefix=url) as archive:
            answer = act(archive, **question)
        print(json.dumps(answer), flush=True)


class _Nowhere:
    """Takes all and keeps nothing."""

    def write(self, data: Buffer, /) -> None:
        pass


@contextlib.contextmanager
def _timed(answer: dict[str, Any]) -> Iterator[None]:
    """Put into the answer what the block took, of time and of this process's CPU."""
    cpu, start = time.process_time(), time.perf_counter()
    yield
    answer["seconds"] = time.perf_counter() - start
    answer["cpu_s"] = time.process_time() - cpu


def get(archive: Archive, *, file_id: int) -> dict[str, Any]:
    """Read a file to its end."""
    answer: dict[str, Any] = {}
    with _timed(answer), archive.open(file_id) as reader:
        answer["size"] = copy(reader, _Nowhere(), block_size=archive.block_size)
    return answer


def digest(archive: Archive, *, file_id: int) -> dict[str, Any]:
    """Read a file to its end, and digest it meanwhile."""
    answer: dict[str, Any] = {}
    with _timed(answer), archive.open(file_id) as reader, Hashes(["sha-256"]) as hashes:
        answer["size"] = copy(
            reader, _Nowhere(), block_size=archive.block_size, hashers=[hashes]
        )
        answer["digest"] = hashes.digests()["sha-256"].hex()
    return answer


def put(archive: Archive, *, file_id: int, source: str) -> dict[str, Any]:
    """Send a file."""
    answer: dict[str, Any] = {}
    size = Path(source).stat().st_size
    with (
        _timed(answer),
        Path(source).open("rb", buffering=0) as file,
        archive.create(file_id, size=size) as writer,
    ):
        answer["size"] = copy(file, writer, block_size=archive.block_size, size=size)
    return answer


def reads(archive: Archive, *, ids: list[int], threads: int) -> dict[str, Any]:
    """Read small files in some threads, each the next when it has one."""
    answer: dict[str, Any] = {}
    contents: list[tuple[int, bytes]] = []
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for file_id in ids:
        left.put(file_id)

    def work() -> None:
        while True:
            try:
                file_id = left.get_nowait()
            except queue.Empty:
                return
            with archive.open(file_id) as reader:
                contents.append((file_id, reader.read(_SMALL)))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    with _timed(answer):
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    answer["digests"] = [
        (file_id, hashlib.sha256(content).hexdigest()) for file_id, content in contents
    ]
    return answer


if __name__ == "__main__":
    main(sys.argv[1])
