"""The sideband database, as SAM-QFS's daemon writes it, with the daemon's defects."""

from __future__ import annotations

import contextlib
import itertools
import os
import zlib
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import NullPool, create_engine, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from pacifica_archive_core import id2filename
from pacifica_archive_hmssideband.double.errors import DatabaseDown, DoubleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import URL, Connection, Engine

__all__ = [
    "ArchiveRow",
    "Changes",
    "InodeRow",
    "NameRow",
    "PathRow",
    "Rows",
    "fill",
]

# samdb.schema, with the one difference that its index of whole paths is refused by
# MySQL 8. Backquotes: `offset` is a reserved word of MariaDB; SQLite takes them too.
_TABLES = {
    "sam_inode": """
        ino INT UNSIGNED NOT NULL, gen INT UNSIGNED NOT NULL,
        type TINYINT UNSIGNED NOT NULL, size BIGINT UNSIGNED DEFAULT 0,
        csum CHAR(32), create_time INT UNSIGNED DEFAULT 0,
        modify_time INT UNSIGNED DEFAULT 0, uid INT UNSIGNED NOT NULL,
        gid INT UNSIGNED NOT NULL, online TINYINT UNSIGNED NOT NULL,
        PRIMARY KEY (ino, gen)""",
    "sam_path": """
        ino INT UNSIGNED NOT NULL, gen INT UNSIGNED NOT NULL, path VARCHAR(4096),
        PRIMARY KEY (ino, gen)""",
    "sam_file": """
        p_ino INT UNSIGNED NOT NULL, p_gen INT UNSIGNED NOT NULL,
        name_hash SMALLINT UNSIGNED NOT NULL, name VARCHAR(256) NOT NULL,
        ino INT UNSIGNED NOT NULL, gen INT UNSIGNED NOT NULL,
        PRIMARY KEY (p_ino, p_gen, name_hash, name)""",
    "sam_archive": """
        ino INT UNSIGNED NOT NULL, gen INT UNSIGNED NOT NULL,
        copy TINYINT UNSIGNED NOT NULL, seq SMALLINT UNSIGNED NOT NULL,
        media_type CHAR(4) NOT NULL, vsn CHAR(32) NOT NULL,
        position BIGINT UNSIGNED NOT NULL, `{offset}` INT UNSIGNED NOT NULL,
        size BIGINT UNSIGNED NOT NULL, create_time INT UNSIGNED DEFAULT 0,
        stale TINYINT UNSIGNED DEFAULT 0,
        PRIMARY KEY (ino, gen, copy, seq)""",
    "sam_version": "id INT UNSIGNED NOT NULL, version DOUBLE NOT NULL",
}
_INDEXES = {
    "sam_path": ("sam_path_path", "path{length}"),
    "sam_file": ("sam_file_inode", "ino, gen"),
    "sam_archive": ("sam_archive_vsn", "media_type, vsn"),
}
_SEEDS = {
    "sam_inode": "(2, 2, 1, 0, NULL, 0, 0, 0, 0, 1)",
    "sam_path": "(2, 2, '/')",
    "sam_version": "(0, 1.0)",
}
#: Of rows in one statement.
_MANY = 1000
_CONNECT_TIMEOUT_S = 5
_ANSWER_TIMEOUT_S = 10
_MAX = 2**32 - 1


def _to_unsigned(value: int) -> int:
    return min(max(value, 0), _MAX)


@attrs.frozen(kw_only=True)
class InodeRow:
    """A row of sam_inode; times in seconds."""

    ino: int
    gen: int
    type: int
    size: int
    create_time: int
    modify_time: int = attrs.field(converter=_to_unsigned)
    uid: int
    gid: int
    online: int

    @property
    def told(self) -> tuple[int, ...]:
        """What ``check`` compares."""
        return (
            self.ino,
            self.gen,
            self.type,
            self.size,
            self.modify_time,
            self.uid,
            self.gid,
            self.online,
        )


@attrs.frozen(kw_only=True)
class PathRow:
    """A row of sam_path: a directory's path, or a symlink's target."""

    ino: int
    gen: int
    path: str


@attrs.frozen(kw_only=True)
class NameRow:
    """A row of sam_file, without its hash."""

    p_ino: int
    p_gen: int
    name: str
    ino: int
    gen: int

    @property
    def name_hash(self) -> int:
        """
        A number of 16 bits; 0 for names of one and two bytes, as in SAM-QFS.

        Its own is of the kernel and nobody's key; this is another one.
        """
        name = os.fsencode(self.name)
        return zlib.crc32(name) & 0xFFFF if len(name) > 2 else 0  # noqa: PLR2004 (said above)


@attrs.frozen(kw_only=True)
class ArchiveRow:
    """A row of sam_archive: copy 1 (which is 0 there), whole, on one tape."""

    ino: int
    gen: int
    size: int
    create_time: int


@attrs.define(kw_only=True)
class Changes:
    """
    What the events of one look at the directory change, in the order of handling.

    Attributes:
        moved: old and new path of each directory that was renamed; "/old/", "/new/".
        gone: (ino, gen).
        changed: rows that are there already, all of their columns anew.
    """

    gone_names: list[NameRow] = attrs.Factory(list)
    gone: list[tuple[int, int]] = attrs.Factory(list)
    moved: list[tuple[str, str]] = attrs.Factory(list)
    inodes: list[InodeRow] = attrs.Factory(list)
    paths: list[PathRow] = attrs.Factory(list)
    names: list[NameRow] = attrs.Factory(list)
    changed: list[InodeRow] = attrs.Factory(list)
    archived: list[ArchiveRow] = attrs.Factory(list)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return any(attrs.astuple(self, recurse=False))


class Rows:
    """
    The database; nothing is connected until it is needed, and nothing is kept so.

    Args:
        url: of MySQL or MariaDB, by pymysql if no driver is named, or of a file of
            SQLite.

    Raises:
        DoubleError: it is another database's, or no URL.
    """

    def __init__(self, url: str | URL) -> None:
        self._engine, self._mysql = _engine(url)
        self._offset: str | None = None

    def close(self) -> None:
        """Free what is held."""
        self._engine.dispose()

    def format(self, *, off_set: bool = False) -> None:
        """
        Make the tables that are missing, and the rows of the root.

        Args:
            off_set: sam_archive's column is ``off_set``, as in the fork of 2025.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        offset = "off_set" if off_set else "offset"
        # The trailing blanks and the letters' case are as in the real one's.
        kind = " CHARACTER SET latin1" if self._mysql else ""
        ignore = "IGNORE" if self._mysql else "OR IGNORE"
        length = "(255)" if self._mysql else ""
        with _told_apart(), self._engine.connect() as connection:
            if not self._mysql:
                # Else a reader and this writer would wait for each other.
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            present = set(inspect(connection).get_table_names())
            for table, columns in _TABLES.items():
                if table in present:
                    continue
                connection.exec_driver_sql(
                    f"CREATE TABLE {table} ({columns.format(offset=offset)}){kind}"
                )
                if table in _INDEXES:
                    name, of = _INDEXES[table]
                    connection.exec_driver_sql(
                        f"CREATE INDEX {name} ON {table} ({of.format(length=length)})"
                    )
            for table, row in _SEEDS.items():
                if table not in present or table != "sam_version":
                    connection.exec_driver_sql(
                        f"INSERT {ignore} INTO {table} VALUES {row}"  # noqa: S608 (of literals)
                    )
            connection.commit()

    def apply(self, changes: Changes) -> None:
        """
        Write all of it, or nothing; once more does no harm.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        with _told_apart(), self._engine.begin() as connection:
            self._forget(connection, changes.gone_names, changes.gone)
            for old, new in changes.moved:
                self._move(connection, old, new)
            self._add(connection, changes.inodes, changes.paths, changes.names)
            _each(
                connection,
                "UPDATE sam_inode SET type = :type, size = :size,"
                " modify_time = :modify_time, uid = :uid, gid = :gid, online = :online"
                " WHERE ino = :ino AND gen = :gen",
                map(_columns, changes.changed),
            )
            if changes.archived:
                offset = self._offset_column(connection)
                _each(
                    connection,
                    "REPLACE INTO sam_archive (ino, gen, copy, seq, media_type, vsn,"  # noqa: S608 (one of two words)
                    f" position, `{offset}`, size, create_time, stale) VALUES (:ino,"
                    " :gen, 0, 0, 'li', 'DBL001', 0, 0, :size, :create_time, 0)",
                    map(_columns, changes.archived),
                )

    def say_offline(self, sam_path: str, size: int, ino: int, gen: int) -> bool:
        """
        Whether nobody who asks for this file, in whatever way, is told it is online.

        Args:
            sam_path: "/a/b".
            size: a row of another size is nobody's answer.
            ino: its number in the database.
            gen: its generation.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        directory, _, name = sam_path.rpartition("/")
        with _told_apart(), self._engine.connect() as connection:
            by_number = connection.execute(
                text("SELECT gen, size, online FROM sam_inode WHERE ino = :ino"),
                {"ino": ino},
            ).all()
            by_path = connection.execute(
                text(
                    "SELECT i.size, i.online FROM sam_path p"
                    " JOIN sam_file f ON f.p_ino = p.ino AND f.p_gen = p.gen"
                    " JOIN sam_inode i ON i.ino = f.ino AND i.gen = f.gen"
                    " WHERE p.path IN (:slash, :bare) AND f.name = :name"
                ),
                {
                    "slash": self._text(f"{directory}/"),
                    "bare": self._text(directory or "/"),
                    "name": self._text(name),
                },
            ).all()
        return (gen, size, 0) in {tuple(row) for row in by_number} and not any(
            row.online and row.size == size for row in [*by_number, *by_path]
        )

    def check(
        self,
        inodes: Sequence[InodeRow],
        paths: Sequence[PathRow],
        names: Sequence[NameRow],
        *,
        fast: bool,
    ) -> int:
        """
        Compare with what there should be, mend, and return the number of rows mended.

        As ``samdb check`` does since its fix 6838143, it writes the path of a
        directory without the slash at the end where it was wrong or missing, and
        only the next check that is not ``fast`` adds it.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        with _told_apart(), self._engine.begin() as connection:
            found = connection.execute(
                text(
                    "SELECT ino, gen, type, size, modify_time, uid, gid, online"
                    " FROM sam_inode"
                )
            )
            have = {(row.ino, row.gen): tuple(row) for row in found}
            extra = have.keys() - {(row.ino, row.gen) for row in inodes} - {(2, 2)}
            wrong = [row for row in inodes if have.get((row.ino, row.gen)) != row.told]
            have_names = self._names(connection)
            want_names = set(names)
            drifted = self._drifted(connection, paths, fast=fast)
            self._forget(connection, have_names - want_names, extra)
            self._add(connection, wrong, drifted, want_names - have_names)
        return len(extra) + len(wrong) + len(drifted) + len(have_names ^ want_names)

    def _names(self, connection: Connection) -> set[NameRow]:
        found = connection.execute(
            text(f"SELECT p_ino, p_gen, ino, gen, {self._raw('name')} FROM sam_file")  # noqa: S608 (of literals)
        )
        return {
            NameRow(p_ino=p_ino, p_gen=p_gen, ino=ino, gen=gen, name=self._read(name))
            for p_ino, p_gen, ino, gen, name in found
        }

    def _drifted(
        self, connection: Connection, paths: Sequence[PathRow], *, fast: bool
    ) -> list[PathRow]:
        found = connection.execute(
            text(f"SELECT ino, gen, {self._raw('path')} FROM sam_path")  # noqa: S608 (of literals)
        )
        have = {(ino, gen): self._read(path) for ino, gen, path in found}
        drifted = []
        for row in paths:
            path = have.get((row.ino, row.gen))
            # A symlink's target with a slash is taken for a directory's path.
            bare = row.path.removesuffix("/")
            if path == row.path or (fast and path == bare):
                continue
            drifted.append(row if path == bare else attrs.evolve(row, path=bare))
        return drifted

    def _forget(
        self,
        connection: Connection,
        names: Iterable[NameRow],
        inodes: Iterable[tuple[int, int]],
    ) -> None:
        _each(
            connection,
            "DELETE FROM sam_file WHERE p_ino = :p_ino AND p_gen = :p_gen"
            # And not a sibling whose name differs by its letters' case only.
            " AND name = :name AND ino = :ino AND gen = :gen",
            map(self._name, names),
        )
        gone = [{"ino": ino, "gen": gen} for ino, gen in inodes]
        for table in ("sam_path", "sam_archive", "sam_inode"):
            _each(
                connection,
                f"DELETE FROM {table} WHERE ino = :ino AND gen = :gen",  # noqa: S608 (of the line above)
                gone,
            )

    def _move(self, connection: Connection, old: str, new: str) -> None:
        """
        Rename a directory as SAM-QFS does, which is wrong.

        Its LIKE takes each ``_`` for any letter, and what is behind the *last* old
        name is kept (all of it if there is none).
        """
        binds = {
            "old": self._text(old),
            "new": self._text(new),
            "like": self._text(f"{old}%"),
        }
        if self._mysql:
            connection.execute(
                text(
                    "UPDATE sam_path SET path ="
                    " CONCAT(:new, SUBSTRING_INDEX(path, :old, -1))"
                    " WHERE path LIKE :like"
                ),
                binds,
            )
            return
        found = connection.execute(
            text("SELECT ino, gen, path FROM sam_path WHERE path LIKE :like"), binds
        ).all()
        _each(
            connection,
            "UPDATE sam_path SET path = :path WHERE ino = :ino AND gen = :gen",
            (
                {
                    "ino": row.ino,
                    "gen": row.gen,
                    "path": binds["new"] + row.path.rpartition(binds["old"])[2],
                }
                for row in found
            ),
        )

    def _add(
        self,
        connection: Connection,
        inodes: Iterable[InodeRow],
        paths: Iterable[PathRow],
        names: Iterable[NameRow],
    ) -> None:
        # REPLACE: what was written before the state could be kept is written again.
        _each(
            connection,
            "REPLACE INTO sam_inode (ino, gen, type, size, csum, create_time,"
            " modify_time, uid, gid, online) VALUES (:ino, :gen, :type, :size, NULL,"
            " :create_time, :modify_time, :uid, :gid, :online)",
            map(_columns, inodes),
        )
        _each(
            connection,
            "REPLACE INTO sam_path (ino, gen, path) VALUES (:ino, :gen, :path)",
            (
                {"ino": row.ino, "gen": row.gen, "path": self._text(row.path)}
                for row in paths
            ),
        )
        # A twin by the letters' case, in names without a hash, has no place.
        ignore = "IGNORE" if self._mysql else "OR IGNORE"
        _each(
            connection,
            f"INSERT {ignore} INTO sam_file (p_ino, p_gen, name_hash, name, ino, gen)"  # noqa: S608 (of literals)
            " VALUES (:p_ino, :p_gen, :name_hash, :name, :ino, :gen)",
            map(self._name, names),
        )

    def _name(self, row: NameRow) -> dict[str, Any]:
        return {
            **_columns(row),
            "name": self._text(row.name),
            "name_hash": row.name_hash,
        }

    def _text(self, value: str) -> Any:  # noqa: ANN401 (what the driver takes)
        """
        Return a name or path as SAM's client writes it: bytes that nobody decodes.

        Read back as latin1 they are other letters, unless they are ASCII.
        """
        if value.isascii():
            return value
        raw = os.fsencode(value)
        return raw if self._mysql else raw.decode("latin1")

    def _raw(self, column: str) -> str:
        return f"CAST({column} AS BINARY)" if self._mysql else column

    def _read(self, value: str | bytes | None) -> str:
        if isinstance(value, str):
            value = value.encode("latin1", "replace")
        return os.fsdecode(value or b"")

    def _offset_column(self, connection: Connection) -> str:
        if self._offset is None:
            columns = inspect(connection).get_columns("sam_archive")
            names = {column["name"] for column in columns}
            self._offset = "off_set" if "off_set" in names else "offset"
        return self._offset


def fill(url: str | URL, *, files: int, directories: int, prefix: str = "") -> None:
    """
    Fill a database with rows of files that are nowhere, for measurements.

    Makes the tables if they are missing. The inodes' numbers are from 3 * 10**9 on;
    every second file is offline, each has 1000 bytes.

    Args:
        url: as for ``Rows``.
        files: ids from 0 on, as the archive names them, below ``prefix``.
        directories: as many others, empty, in one directory.
        prefix: "" for the mount point, or "/a/b".

    Raises:
        DatabaseDown: it does not answer, or refuses.
    """
    changes = Changes()
    ids = itertools.count(3_000_000_000)
    made: dict[str, tuple[int, int]] = {"": (2, 2)}

    def add(path: str, kind: int, size: int, online: int) -> tuple[int, int]:
        above, _, name = path.rpartition("/")
        if above not in made:
            made[above] = add(above, 1, 0, 1)
        p_ino, p_gen = made[above]
        ino, gen = next(ids), 1
        if kind == 1:
            changes.paths.append(PathRow(ino=ino, gen=gen, path=f"{path}/"))
        changes.inodes.append(
            InodeRow(
                ino=ino,
                gen=gen,
                type=kind,
                size=size,
                create_time=0,
                modify_time=0,
                uid=0,
                gid=0,
                online=online,
            )
        )
        changes.names.append(
            NameRow(p_ino=p_ino, p_gen=p_gen, name=name, ino=ino, gen=gen)
        )
        return ino, gen

    for number in range(files):
        add(f"{prefix}{id2filename(number)}", 0, 1000, number % 2)
    for number in range(directories):
        add(f"/others/{number:x}", 1, 0, 1)
    rows = Rows(url)
    try:
        rows.format()
        rows.apply(changes)
    finally:
        rows.close()


def _columns(row: Any) -> dict[str, Any]:  # noqa: ANN401 (one of the classes above)
    return attrs.asdict(row, recurse=False)


def _each(
    connection: Connection, statement: str, binds: Iterable[Mapping[str, Any]]
) -> None:
    rest = iter(binds)
    while some := list(itertools.islice(rest, _MANY)):
        connection.execute(text(statement), some)


def _engine(url: str | URL) -> tuple[Engine, bool]:
    try:
        url = make_url(url)
        backend = url.get_backend_name()
        arguments: dict[str, float] = {}
        if backend in {"mysql", "mariadb"}:
            if "+" not in url.drivername:
                url = url.set(drivername=f"{backend}+pymysql")
            if "charset" not in url.query:
                # Else the server would take the bytes of names for something else.
                url = url.update_query_dict({"charset": "latin1"})
            arguments["connect_timeout"] = _CONNECT_TIMEOUT_S
            if url.get_driver_name() in {"pymysql", "mysqldb"}:
                arguments["read_timeout"] = _ANSWER_TIMEOUT_S
                arguments["write_timeout"] = _ANSWER_TIMEOUT_S
        elif backend == "sqlite":
            if url.database in {None, "", ":memory:"}:
                raise DoubleError("a database in memory is nobody else's: name a file")
            arguments["timeout"] = _ANSWER_TIMEOUT_S
        else:
            raise DoubleError(
                f"the double writes to MySQL, MariaDB and SQLite, not to {backend}"
            )
        # A connection for each piece of work: none can have died meanwhile.
        engine = create_engine(
            url, poolclass=NullPool, connect_args=arguments, hide_parameters=True
        )
    except ArgumentError as exc:
        raise DoubleError("this is no URL of SQLAlchemy") from exc
    except ImportError as exc:
        raise DoubleError(f"the driver of the URL is not installed: {exc}") from exc
    return engine, backend != "sqlite"


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as exc:
        # Not str(exc): it is a page, with the statement.
        reason = exc.orig if isinstance(exc, DBAPIError) else type(exc).__name__
        raise DatabaseDown(f"the database: {reason}") from exc
