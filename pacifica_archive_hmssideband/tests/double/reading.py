"""
A process that reads a file all the time, as an archive does.

It opens the file, then asks the database, and reads what that says is online, until
its standard input ends; then it prints how often it read and how often that was
something else than the file. Arguments: the database's URL, the file, its name
there, its digest.
"""

from __future__ import annotations

import hashlib
import os
import select
import sys

from sqlalchemy import create_engine, text

__all__ = ["main"]

_PAUSE_S = 0.002
_ASK = text(
    "SELECT i.size, i.online FROM sam_path p"
    " JOIN sam_file f ON f.p_ino = p.ino AND f.p_gen = p.gen"
    " JOIN sam_inode i ON i.ino = f.ino AND i.gen = f.gen"
    " WHERE p.path = '/' AND f.name = :name"
)


def main(url: str, path: str, name: str, digest: str) -> None:
    """Read until standard input ends."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    read = refused = wrong = 0
    print("ready", flush=True)  # noqa: T201 (it is waited for)
    with engine.connect() as connection:
        # With a pause in which the file is not open, or it is never released.
        while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (as quick as can be)
                found = os.fstat(file.fileno())
                rows = connection.execute(_ASK, {"name": name}).all()
                if [(found.st_size, 1)] != [tuple(row) for row in rows]:
                    refused += 1
                    continue
                read += 1
                seen = hashlib.sha256(os.pread(file.fileno(), found.st_size, 0))
                wrong += seen.hexdigest() != digest
    engine.dispose()
    print(read, refused, wrong)  # noqa: T201 (what it is asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
