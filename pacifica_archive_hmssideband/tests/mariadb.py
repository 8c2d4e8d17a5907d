"""
A private MariaDB with sideband databases in it, for tests.

The schema is written here anew from what SAM-QFS' documentation and source say of it:
tables, columns, types and keys; without foreign keys, as there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection

__all__ = [
    "INSTALL",
    "ROOT",
    "VARIANTS",
    "Database",
    "Identity",
    "MariaDb",
    "Variant",
    "missing",
]

#: What gives a Debian all that is wanted; it starts no service.
INSTALL = "apt-get install -y --no-install-recommends mariadb-server-core"
#: The user of the tests' databases who may only SELECT, with its password.
READER = ("reader", "only:looks@100%/")
SCHEMA = "samfs1"

_LIMIT_S = 60.0
#: Below what the kernel gives to clients (ip_local_port_range), so that none of them
#: takes the port while the server is down.
_PORTS = range(20_000, 32_000)


#: Where MariaDB's releases keep the SQL that a new server is made with.
_SHARES = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
#: mariadb-install-db runs these two and more, but also wants a program that Debian
#: has in the package of the clients.
_SYSTEM = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")


def _program() -> str | None:
    # Debian has it where an ordinary user's PATH does not look.
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _share() -> Path | None:
    for share in _SHARES:
        if all((share / name).is_file() for name in _SYSTEM):
            return share
    return None


def missing() -> str | None:
    """Return what of MariaDB is not installed, and what installs it; None: all is."""
    if _program() and _share():
        return None
    return f"no MariaDB to test with: {INSTALL}"


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class MariaDb:
    """
    A server of our own on 127.0.0.1, in a folder that goes with it.

    Safe for threads, but that one at a time may stop, start, freeze and thaw.
    Its user root has no password.
    """

    def __init__(self) -> None:
        program = _program()
        assert program is not None
        self._folder = tempfile.TemporaryDirectory(prefix="samdb-")
        self._data = Path(self._folder.name, "data")
        self._command = [
            program,
            # First, or it is refused.
            "--no-defaults",
            f"--datadir={self._data}",
            f"--tmpdir={self._folder.name}",
            "--skip-name-resolve",
            "--innodb-log-file-size=8M",
            # Nothing of it outlives the machine; loose: deprecated since 11.0.
            "--debug-no-sync",
            "--loose-innodb-flush-method=nosync",
            # It refuses to be root unless told to.
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]
        self._log = Path(self._folder.name, "log")
        self.port = 0
        self._engine: Engine | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        try:
            self._install()
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        self._folder.cleanup()

    def _install(self) -> None:
        share = _share()
        assert share is not None
        self._data.mkdir()
        statements = ["CREATE DATABASE mysql;", "USE mysql;"]
        statements += ["SET @auth_root_socket = NULL;", "SET @skip_auth_anonymous = 1;"]
        statements += [(share / name).read_text("utf-8") for name in _SYSTEM]
        done = subprocess.run(
            [*self._command, "--bootstrap", "--log-warnings=0"],
            input="\n".join(statements).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process; frozen ones count."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, on the port of the last time; return when it answers."""
        assert not self.running
        for _ in range(5):
            # Another may have taken a port that was free a moment ago.
            port = self.port or _free_port()
            if self._answers_on(port):
                self.port = port
                return
        raise AssertionError(self._log.read_text("utf-8", "replace"))

    def _answers_on(self, port: int) -> bool:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *self._command,
                    # Relative to the data: a socket's path has at most 107 bytes.
                    "--socket=socket",
                    f"--pid-file={self._folder.name}/pid",
                    "--bind-address=127.0.0.1",
                    f"--port={port}",
                    "--innodb-buffer-pool-size=16M",
                    "--innodb-flush-log-at-trx-commit=0",
                    "--performance-schema=OFF",
                    "--skip-log-bin",
                    "--max-connections=300",
                    # What a server that is not stopped in a hurry may take.
                    "--innodb-fast-shutdown=2",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._engine = create_engine(
            self.url("root", schema=None, port=port),
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"read_timeout": _LIMIT_S},
        )
        # It ends the server when the tests' process ends without doing so.
        self._watch = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -KILL "$1"', "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        limit = time.monotonic() + _LIMIT_S
        while self._process.poll() is None:
            try:
                with self._engine.connect():
                    return True
            except OperationalError:
                if time.monotonic() > limit:
                    self.kill()
                    return False
            # There is nothing to wait on but the port.
            threading.Event().wait(0.01)
        self._end_watch()
        return False

    def _end_watch(self) -> None:
        if self._watch is not None:
            # First: it must not be there when the number is free for another.
            self._watch.kill()
            self._watch.communicate()
            self._watch = None

    def _end(self, number: signal.Signals) -> None:
        self._end_watch()
        if self._engine is not None:
            self._engine.dispose()
        if self._process is None:
            return
        self._process.send_signal(number)
        # Of use to a frozen one, which would not hear a SIGTERM.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(_LIMIT_S)

    def stop(self) -> None:
        """Stop as an operator does; idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop as a crash does; idempotent."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it do nothing any more, connections and port kept; until `thaw`."""
        self._process_signal(signal.SIGSTOP, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        self._process_signal(signal.SIGCONT, os.WCONTINUED)

    def _process_signal(self, number: signal.Signals, change: int) -> None:
        os.kill(self.pid, number)
        os.waitid(os.P_PID, self.pid, change)

    def mend(self) -> None:
        """Make it run again, whatever was done to it, and nobody else ask it."""
        if self.running:
            os.kill(self.pid, signal.SIGCONT)
        else:
            self.start()
        self.kill_connections()

    def url(
        self,
        user: str = READER[0],
        *,
        password: str | None = None,
        schema: str | None = SCHEMA,
        port: int | None = None,
    ) -> URL:
        """Return where a user finds a schema; the password is a known user's own."""
        if password is None:
            password = dict([READER]).get(user)
        return URL.create(
            "mysql+pymysql",
            username=user,
            password=password,
            host="127.0.0.1",
            port=port or self.port,
            database=schema,
            # As SAM's own client; names go in as their bytes are.
            query={"charset": "latin1"},
        )

    @contextlib.contextmanager
    def _connected(self, schema: str | None) -> Iterator[Connection]:
        assert self._engine is not None
        with self._engine.connect() as connection:
            if schema is not None:
                connection.exec_driver_sql(f"USE {schema}")
            yield connection

    def execute(
        self, *statements: str, schema: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Execute as root; return the last one's rows."""
        rows: list[tuple[Any, ...]] = []
        with self._connected(schema) as connection:
            for statement in statements:
                # As it is: a percent sign stands for itself.
                result = connection.exec_driver_sql(
                    statement, execution_options={"no_parameters": True}
                )
                rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    def insert(
        self, table: str, rows: Collection[tuple[Any, ...]], *, schema: str
    ) -> None:
        """Insert rows of the table's first columns."""
        if not rows:
            return
        with self._connected(schema) as connection:
            width = len(next(iter(rows)))
            columns = connection.exec_driver_sql(f"SHOW COLUMNS FROM {table}")
            names = ", ".join(f"`{row[0]}`" for row in list(columns)[:width])
            values = ", ".join(["%s"] * width)
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({names}) VALUES ({values})",  # noqa: S608 (of this module)
                list(rows),
            )

    def counter(self, name: str) -> int:
        """Return a counter of the server itself; asking counts as no SELECT."""
        ((_, value),) = self.execute(f"SHOW GLOBAL STATUS LIKE '{name}'")
        return int(value)

    def count(self) -> int:
        """Return how many SELECTs the server has been sent since its start."""
        return self.counter("Com_select")

    def connections(self, user: str = READER[0]) -> list[int]:
        """Return the numbers of a user's connections, as the server counts them."""
        return [row[0] for row in self.execute("SHOW PROCESSLIST") if row[1] == user]

    def kill_connections(self, user: str = READER[0]) -> None:
        """Close a user's connections from the server's side."""
        for connection in self.connections(user):
            # One may have gone since.
            with contextlib.suppress(DBAPIError):
                self.execute(f"KILL {connection}")

    @contextlib.contextmanager
    def heard(self, user: str = READER[0]) -> Iterator[list[str]]:
        """Return a list that, at the end, holds all statements of a user in order."""
        statements: list[str] = []
        self.execute(
            "SET GLOBAL log_output = 'TABLE'",
            "TRUNCATE mysql.general_log",
            "SET GLOBAL general_log = ON",
        )
        try:
            yield statements
        finally:
            self.execute("SET GLOBAL general_log = OFF")
            statements += [
                _text(argument)
                for who, command, argument in self.execute(
                    "SELECT user_host, command_type, argument FROM mysql.general_log"
                )
                if _text(who).startswith(f"{user}[") and _text(command) == "Query"
            ]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin1")


@attrs.frozen(kw_only=True)
class Variant:
    """
    How a site's schema differs.

    Attributes:
        offset: the column of sam_archive that is named so by Sun and Oracle, and
            ``off_set`` by the fork of 2025.
        charset: ``samdb create`` makes latin1.
        extra: columns that are in no release known to us.
    """

    offset: str = "offset"
    charset: str = "latin1"
    extra: bool = False


VARIANTS = {
    "oracle": Variant(),
    "fork": Variant(offset="off_set"),
    "utf8mb4": Variant(charset="utf8mb4"),
    "extra": Variant(extra=True),
}


def _tables(variant: Variant) -> list[str]:
    more = ", added_later INT UNSIGNED NOT NULL DEFAULT 7" if variant.extra else ""
    key = "INT UNSIGNED NOT NULL"
    inode = (
        f"ino {key}, gen {key}, type TINYINT UNSIGNED NOT NULL,"
        " size BIGINT UNSIGNED DEFAULT 0, csum CHAR(32),"
        " create_time INT UNSIGNED DEFAULT 0, modify_time INT UNSIGNED DEFAULT 0,"
        f" uid {key}, gid {key}, online TINYINT UNSIGNED NOT NULL{more},"
        " PRIMARY KEY (ino, gen)"
    )
    # The prefix of the index: a whole path is longer than MariaDB's longest key.
    path = (
        f"ino {key}, gen {key}, path VARCHAR(4096){more},"
        " PRIMARY KEY (ino, gen), INDEX (path(255))"
    )
    file = (
        f"p_ino {key}, p_gen {key}, name_hash SMALLINT UNSIGNED NOT NULL,"
        f" name VARCHAR(256) NOT NULL, ino {key}, gen {key}{more},"
        " PRIMARY KEY (p_ino, p_gen, name_hash, name), INDEX (ino, gen)"
    )
    archive = (
        f"ino {key}, gen {key}, copy TINYINT UNSIGNED NOT NULL,"
        " seq SMALLINT UNSIGNED NOT NULL, media_type CHAR(4) NOT NULL,"
        " vsn CHAR(32) NOT NULL, position BIGINT UNSIGNED NOT NULL,"
        f" `{variant.offset}` {key}, size BIGINT UNSIGNED NOT NULL,"
        f" create_time INT UNSIGNED DEFAULT 0, stale TINYINT UNSIGNED DEFAULT 0{more},"
        " PRIMARY KEY (ino, gen, copy, seq), INDEX (media_type, vsn)"
    )
    return [
        f"CREATE TABLE sam_inode ({inode})",
        f"CREATE TABLE sam_path ({path})",
        f"CREATE TABLE sam_file ({file})",
        f"CREATE TABLE sam_archive ({archive})",
        f"CREATE TABLE sam_version (id {key}, version DOUBLE NOT NULL)",
        "INSERT INTO sam_inode (ino, gen, type, uid, gid, online) VALUES (2,2,1,0,0,1)",
        "INSERT INTO sam_path (ino, gen, path) VALUES (2, 2, '/')",
        "INSERT INTO sam_version VALUES (0, 1.0)",
    ]


@attrs.frozen
class Identity:
    """What SAM-QFS knows an inode by: its number, and how often that was reused."""

    ino: int
    gen: int


#: The mount point in every sideband database.
ROOT = Identity(2, 2)


class Database:
    """
    One sideband database, and hands to write rows into it.

    Paths are the database's own: from the mount point on, a directory with a slash
    at both ends. What makes a row takes every column that tells tests something.
    """

    def __init__(self, server: MariaDb, variant: Variant) -> None:
        self.server = server
        self.name = SCHEMA
        self._variant = variant
        self._numbers = itertools.count(1025)
        self._directories = {"/": ROOT}

    def create(self) -> None:
        """Make the schema anew, with the seed rows, and its reader."""
        user, password = READER
        self.server.execute(
            f"DROP DATABASE IF EXISTS {self.name}",
            f"CREATE DATABASE {self.name} CHARACTER SET {self._variant.charset}",
            f"USE {self.name}",
            *_tables(self._variant),
            f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{password}'",
            f"GRANT SELECT ON {self.name}.* TO {user}@'%'",
        )

    def revoke(self) -> None:
        """Take the reader's grant away; the server looks again at a connection."""
        self.execute(f"REVOKE SELECT ON {self.name}.* FROM {READER[0]}@'%'")  # noqa: S608 (no query)
        self.server.kill_connections()

    def url(self, user: str = READER[0]) -> URL:
        """Return where a user finds it."""
        return self.server.url(user, schema=self.name)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute as root in this schema; return the last one's rows."""
        return self.server.execute(*statements, schema=self.name)

    def insert(self, table: str, *rows: tuple[Any, ...]) -> None:
        """Insert rows of the table's first columns."""
        self.server.insert(table, rows, schema=self.name)

    def identity(self) -> Identity:
        """Return one that no row has yet."""
        return Identity(next(self._numbers), 1)

    def inode(
        self,
        identity: Identity | None = None,
        *,
        type: int = 0,  # noqa: A002 (the column's name)
        size: int | None = 0,
        online: int = 1,
        modify_time: int | None = 0,
    ) -> Identity:
        """Insert a row of sam_inode."""
        identity = identity or self.identity()
        row = (identity.ino, identity.gen, type, size, None, 0, modify_time, 0, 0)
        self.insert("sam_inode", (*row, online))
        return identity

    def path(self, identity: Identity, path: str | None) -> None:
        """Insert a row of sam_path, as it is: slashes are the caller's."""
        self.insert("sam_path", (identity.ino, identity.gen, path))

    def link(self, parent: Identity, name: str, identity: Identity) -> None:
        """Insert a row of sam_file: a name in a directory."""
        self.insert("sam_file", _link(parent, name, identity))

    def directory(self, path: str, identity: Identity | None = None) -> Identity:
        """Insert a directory "/a/b/" and those above it that this has not yet."""
        if identity is None and path in self._directories:
            return self._directories[path]
        above, name = _split(path.rstrip("/"))
        identity = self.inode(identity, type=1)
        self.path(identity, path)
        self.link(self.directory(above), name, identity)
        self._directories[path] = identity
        return identity

    def file(
        self,
        path: str,
        identity: Identity | None = None,
        *,
        type: int = 0,  # noqa: A002 (the column's name)
        size: int | None = 0,
        online: int = 1,
        modify_time: int | None = 0,
    ) -> Identity:
        """Insert a file "/a/b/name", its inode and the directories above it."""
        identity = self.inode(
            identity, type=type, size=size, online=online, modify_time=modify_time
        )
        above, name = _split(path)
        self.link(self.directory(above), name, identity)
        return identity

    def files(self, paths: Collection[str], *, size: int = 1, online: int = 1) -> None:
        """Insert many files, in few statements."""
        identities = [self.identity() for _ in paths]
        places = [_split(path) for path in paths]
        self.directories({above for above, _ in places})
        self.insert(
            "sam_inode",
            *((who.ino, 1, 0, size, None, 0, 0, 0, 0, online) for who in identities),
        )
        self.insert(
            "sam_file",
            *(
                _link(self._directories[above], name, who)
                for (above, name), who in zip(places, identities, strict=True)
            ),
        )

    def directories(self, paths: Collection[str]) -> None:
        """Insert many directories, in few statements."""
        missing = sorted(
            {
                "/".join([*names[:end], ""])
                for names in (path.rstrip("/").split("/") for path in paths)
                for end in range(1, len(names) + 1)
            }
            - self._directories.keys()
        )
        self._directories |= {path: self.identity() for path in missing}
        found = [(path, self._directories[path]) for path in missing]
        inodes = ((who.ino, 1, 1, 0, None, 0, 0, 0, 0, 1) for _, who in found)
        links = []
        for path, who in found:
            above, name = _split(path.rstrip("/"))
            links.append(_link(self._directories[above], name, who))
        self.insert("sam_inode", *inodes)
        self.insert("sam_path", *((who.ino, 1, path) for path, who in found))
        self.insert("sam_file", *links)

    def copy(
        self,
        identity: Identity,
        *,
        copy: int = 0,
        seq: int = 0,
        vsn: str = "TAPE01",
        size: int = 0,
        stale: int = 0,
    ) -> None:
        """Insert a row of sam_archive: what of a copy is on one volume."""
        self.insert(
            "sam_archive",
            (identity.ino, identity.gen, copy, seq, "li", vsn, 0, 0, size, 0, stale),
        )

    def slow(self, seconds: float) -> None:
        """Let every answer that has a file in it take so long."""
        columns = "ino, gen, path FROM quick_path"
        self.execute(
            "RENAME TABLE sam_path TO quick_path",
            f"CREATE VIEW sam_path AS SELECT {columns} WHERE SLEEP({seconds}) = 0",
        )

    def set_online(self, identity: Identity, online: int) -> None:
        """Do what the daemon does when a file was released or staged."""
        self.execute(
            f"UPDATE sam_inode SET online = {online}"  # noqa: S608 (numbers)
            f" WHERE ino = {identity.ino} AND gen = {identity.gen}"
        )


def _link(parent: Identity, name: str, identity: Identity) -> tuple[object, ...]:
    # Any hash that tells 'a' from 'A': the key's names compare without case.
    name_hash = zlib.crc32(name.encode()) & 0xFFFF
    return (parent.ino, parent.gen, name_hash, name, identity.ino, identity.gen)


def _split(path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return f"{above}/", name
