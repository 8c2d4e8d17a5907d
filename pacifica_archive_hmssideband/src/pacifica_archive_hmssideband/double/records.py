"""What the double knows, beside the prefix: its own state, and requests to it."""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
from typing import TYPE_CHECKING, Self

import attrs

from pacifica_archive_hmssideband.double.world import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = ["Bytes", "Copy", "Known", "Node", "Records", "Request", "Verb"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS node (
    key TEXT PRIMARY KEY, ino INTEGER, gen INTEGER, kind INTEGER, size INTEGER,
    mtime_ns INTEGER, ctime_ns INTEGER, uid INTEGER, gid INTEGER, bytes INTEGER,
    partial INTEGER, due_s REAL, gone INTEGER);
CREATE TABLE IF NOT EXISTS name (
    parent TEXT, name BLOB, key TEXT, PRIMARY KEY (parent, name));
CREATE TABLE IF NOT EXISTS generation (ino INTEGER PRIMARY KEY, gen INTEGER);
CREATE TABLE IF NOT EXISTS copy (
    key TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, made_s INTEGER, told INTEGER);
CREATE TABLE IF NOT EXISTS request (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, verb TEXT,
    partial INTEGER);
CREATE TABLE IF NOT EXISTS lost (path BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS root (one INTEGER PRIMARY KEY CHECK (one = 1), key TEXT);
"""
_WAIT_S = 30.0


class Bytes(enum.IntEnum):
    """Where the bytes of a file are, in the order in which they go round."""

    ONLINE = 0
    #: The row shall say offline, or does; the bytes are still there.
    RELEASING = 1
    #: Gone, or going this moment.
    OFFLINE = 2
    #: The blocks are there, the bytes are not.
    STAGING = 3
    #: Whole; the row does not say it yet.
    STAGED = 4


class Verb(enum.StrEnum):
    """What can be asked for a file."""

    RELEASE = "release"
    STAGE = "stage"


@attrs.define(kw_only=True)
class Node:
    """
    An inode, as the database was told of it.

    Attributes:
        partial: bytes that a release keeps.
        due_s: when a stage ends, by time.time().
        gone: was in the tree at the scan before the last; its file may come back,
            if it was being moved.
    """

    key: str
    ino: int
    gen: int
    kind: Kind
    size: int
    mtime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    bytes: Bytes = Bytes.ONLINE
    partial: int = 0
    due_s: float = 0.0
    gone: bool = False

    @property
    def online(self) -> bool:
        """What the row shall say."""
        return self.bytes is Bytes.ONLINE

    @property
    def inode_number(self) -> int:
        """The file system's number."""
        return int(self.key.partition("-")[0], 16)


@attrs.frozen(kw_only=True)
class Copy:
    """A copy on tape, of the file as it was."""

    key: str
    size: int
    mtime_ns: int
    made_s: int
    told: bool


@attrs.frozen(kw_only=True)
class Request:
    """A file to be released or staged."""

    number: int
    key: str
    verb: Verb
    partial: int


@attrs.define(kw_only=True)
class Known:
    """
    All of it.

    Attributes:
        names: key of the directory and name, to key.
        generations: number of an inode in the database to its last generation.
        lost: paths whose events do not reach the database.
    """

    nodes: dict[str, Node]
    names: dict[tuple[str, str], str]
    generations: dict[int, int]
    copies: dict[str, Copy]
    requests: list[Request]
    lost: set[str]


class Records:
    """
    The state in a file, shared by processes; each opens it for one piece of work.

    Raises:
        sqlite3.Error: it is no such file, or the disk is full.
    """

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # A machine that crashes does not keep what it was told: it is a double.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all of what is done in it, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def belong_to(self, root: str) -> bool:
        """Whether this is the state of the prefix with this key; new, it becomes so."""
        look = "SELECT key FROM root"
        if not self._db.execute(look).fetchall():
            self._db.execute("INSERT OR IGNORE INTO root VALUES (1, ?)", (root,))
        return [(root,)] == self._db.execute(look).fetchall()

    def load(self) -> Known:
        """Read all of it."""
        rows = self._db.execute
        return Known(
            nodes={row[0]: _node(*row) for row in rows("SELECT * FROM node")},
            names={
                (parent, os.fsdecode(name)): key
                for parent, name, key in rows("SELECT parent, name, key FROM name")
            },
            generations=dict(rows("SELECT ino, gen FROM generation")),
            copies={row[0]: _copy(*row) for row in rows("SELECT * FROM copy")},
            requests=[
                Request(number=number, key=key, verb=Verb(verb), partial=partial)
                for number, key, verb, partial in rows(
                    "SELECT number, key, verb, partial FROM request ORDER BY number"
                )
            ],
            lost={os.fsdecode(path) for (path,) in rows("SELECT path FROM lost")},
        )

    def node(self, key: str) -> Node | None:
        """Return one inode, if it is known."""
        for row in self._db.execute("SELECT * FROM node WHERE key = ?", (key,)):
            return _node(*row)
        return None

    def copy(self, key: str) -> Copy | None:
        """Return the copy of one file, if there is one."""
        for row in self._db.execute("SELECT * FROM copy WHERE key = ?", (key,)):
            return _copy(*row)
        return None

    def keep_nodes(self, nodes: Iterable[Node]) -> None:
        """Keep these as they are now."""
        self._db.executemany(
            "REPLACE INTO node VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            map(attrs.astuple, nodes),
        )

    def forget(self, keys: Iterable[str]) -> None:
        """Drop inodes that are gone, with what was asked for them."""
        gone = [(key,) for key in keys]
        for table in ("node", "copy", "request"):
            self._db.executemany(f"DELETE FROM {table} WHERE key = ?", gone)  # noqa: S608 (of the line above)

    def keep_names(
        self, gone: Iterable[tuple[str, str]], new: Iterable[tuple[str, str, str]]
    ) -> None:
        """Drop names (directory's key, name) and add others (and key)."""
        self._db.executemany(
            "DELETE FROM name WHERE parent = ? AND name = ?",
            ((parent, os.fsencode(name)) for parent, name in gone),
        )
        self._db.executemany(
            "REPLACE INTO name VALUES (?, ?, ?)",
            ((parent, os.fsencode(name), key) for parent, name, key in new),
        )

    def keep_generations(self, nodes: Iterable[Node]) -> None:
        """Remember that the numbers of these were used."""
        self._db.executemany(
            "REPLACE INTO generation VALUES (?, ?)",
            ((node.ino, node.gen) for node in nodes),
        )

    def keep_copy(self, copy: Copy) -> None:
        """Remember a copy, instead of an older one."""
        self._db.execute(
            "REPLACE INTO copy VALUES (?, ?, ?, ?, ?)", attrs.astuple(copy)
        )

    def told(self, copies: Iterable[Copy]) -> None:
        """Remember that the database has these very copies."""
        self._db.executemany(
            "UPDATE copy SET told = 1 WHERE key = ? AND mtime_ns = ? AND made_s = ?",
            ((copy.key, copy.mtime_ns, copy.made_s) for copy in copies),
        )

    def ask(self, key: str, verb: Verb, partial: int = 0) -> None:
        """Ask something for a file, instead of what was asked for it before."""
        self._db.execute(
            "REPLACE INTO request (key, verb, partial) VALUES (?, ?, ?)",
            (key, verb.value, partial),
        )

    def done(self, requests: Iterable[Request]) -> None:
        """Drop these requests, not later ones for the same files."""
        self._db.executemany(
            "DELETE FROM request WHERE number = ?",
            ((request.number,) for request in requests),
        )

    def lose(self, paths: Iterable[str]) -> None:
        """Let no event of these paths reach the database."""
        self._db.executemany(
            "REPLACE INTO lost VALUES (?)", ((os.fsencode(path),) for path in paths)
        )

    def find_all(self) -> None:
        """Lose no more events."""
        self._db.execute("DELETE FROM lost")


def _node(  # noqa: PLR0917 (the columns, in their order)
    key: str,
    ino: int,
    gen: int,
    kind: int,
    size: int,
    mtime_ns: int,
    ctime_ns: int,
    uid: int,
    gid: int,
    where: int,
    partial: int,
    due_s: float,
    gone: int,
) -> Node:
    return Node(
        key=key,
        ino=ino,
        gen=gen,
        kind=Kind(kind),
        size=size,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        uid=uid,
        gid=gid,
        bytes=Bytes(where),
        partial=partial,
        due_s=due_s,
        gone=bool(gone),
    )


def _copy(key: str, size: int, mtime_ns: int, made_s: int, told: int) -> Copy:
    return Copy(key=key, size=size, mtime_ns=mtime_ns, made_s=made_s, told=bool(told))
