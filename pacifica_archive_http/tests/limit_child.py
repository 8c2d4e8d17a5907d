"""Takes places of a client in a process of its own; imported by name there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pacifica_archive_http.limits import ClientPlaces


def hold(places: ClientPlaces, client: str, count: int, connection: Connection) -> None:
    """Take places, say so, and keep them until the other end is closed."""
    taken = [places.take(client) for _ in range(count)]
    connection.send(len(taken))
    try:
        connection.recv()
    except EOFError:
        for place in taken:
            places.give_back(place)
