"""Takes places of a client in a process of its own; imported by name there."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from pacifica_archive_http.limits import ClientPlaces
from pacifica_archive_http.status_table import ClientBusy

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def hold(places: ClientPlaces, client: str, count: int, connection: Connection) -> None:
    """Take places, say so, and keep them until the other end is closed."""
    taken = [places.take(client) for _ in range(count)]
    connection.send(len(taken))
    try:
        connection.recv()
    except EOFError:
        for place in taken:
            places.give_back(place)


def fork() -> None:
    """Say whether a fork's place is seen, and whether it is when that is killed."""
    places = ClientPlaces(1)
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        places.take("a")
        os.write(writer, b"!")
        while True:
            signal.pause()
    os.read(reader, 1)
    try:
        places.take("a")
    except ClientBusy:
        print("busy")  # noqa: T201 (the answer)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    places.take("a")
    print("free")  # noqa: T201 (the answer)


if __name__ == "__main__":
    fork()
