"""
Ask one archive for the statuses of files: a process of each side of sideband.py.

It runs in the environment of ours or of release 0.4.2, so it imports nothing else of
the benchmark. A question is a line of JSON on its standard input, its answer one on
its standard output.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Says on which medium a file is, or each of many.
    One = Callable[[int], str]
    Many = Callable[[list[int]], list[str]]


def main(side: str, config: str, prefix: str) -> None:
    """Answer until the end of the input."""
    one, many = {"ours": ours, "0.4.2": release_042}[side](config, prefix)
    acts: dict[str, Callable[..., dict[str, Any]]] = {
        "each": lambda ids: each(one, ids),
        "threads": lambda ids, threads: in_threads(one, ids, threads),
        "many": lambda ids: at_once(many, ids),
    }
    for line in sys.stdin:
        question = json.loads(line)
        answer = acts[question.pop("act")](**question)
        print(json.dumps(answer), flush=True)


def ours(config: str, prefix: str) -> tuple[One, Many]:
    """Open this project's archive."""
    from pacifica_archive_core import FileStatus, open_archive  # noqa: PLC0415 (not beside release 0.4.2)

    archive = open_archive("hmssideband", config=config, prefix=prefix)

    def medium(status: object) -> str:
        # A guess by the blocks on disk would be fast, and no answer.
        if isinstance(status, FileStatus) and status.residency_source == "sideband":
            return status.media.value
        raise RuntimeError(f"not of the database: {status}")

    return (
        lambda file_id: medium(archive.status(file_id)),
        lambda ids: [medium(status) for _, status in archive.status_many(ids)],
    )


def release_042(config: str, prefix: str) -> tuple[One, Many]:  # noqa: ARG001 (it reads the file that the environment names)
    """
    Open release 0.4.2's archive, one for each thread.

    Its server has one for all, and mixes up what they ask at the same time.
    """
    from pacifica.archiveinterface.backends.oracle_hsm_sideband.archive import (  # type: ignore[import-not-found] # noqa: PLC0415 (not in this environment)
        HsmSidebandBackendArchive,
    )

    own = threading.local()

    def one(file_id: int) -> str:
        # As its HEAD does, from open to close.
        if not hasattr(own, "archive"):
            own.archive = HsmSidebandBackendArchive(prefix)
        own.archive.open(str(file_id), "r")
        medium: str = own.archive.status().file_storage_media
        own.archive.close()
        return medium

    return one, lambda ids: [one(file_id) for file_id in ids]


def each(one: One, ids: list[int]) -> dict[str, Any]:
    """Ask one by one; the seconds of each."""
    media, seconds = [], []
    for file_id in ids:
        start = time.perf_counter()
        media.append(one(file_id))
        seconds.append(time.perf_counter() - start)
    return {"media": media, "seconds": seconds}


def in_threads(one: One, ids: list[int], threads: int) -> dict[str, Any]:
    """Ask in some threads, each for the next when it has one; the seconds of all."""
    media = dict.fromkeys(ids, "")
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for file_id in ids:
        left.put(file_id)
    begin = threading.Barrier(threads + 1)

    def work() -> None:
        begin.wait()
        while True:
            try:
                file_id = left.get_nowait()
            except queue.Empty:
                return
            media[file_id] = one(file_id)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return {"media": list(media.values()), "seconds": time.perf_counter() - start}


def at_once(many: Many, ids: list[int]) -> dict[str, Any]:
    """Ask for all with one call; its seconds."""
    start = time.perf_counter()
    media = many(ids)
    return {"media": media, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main(*sys.argv[1:])
