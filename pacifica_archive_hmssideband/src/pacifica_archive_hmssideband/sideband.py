"""
What the sideband database has of files, asked in bounded time.

Read only, and only rows: what they mean is said in
``pacifica_archive_hmssideband.residency``.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import logging
import math
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from sqlalchemy import and_, bindparam, create_engine, event, or_, select
from sqlalchemy.exc import ArgumentError, DBAPIError, ProgrammingError
from sqlalchemy.pool import NullPool, QueuePool

from pacifica_archive_core import ConfigError
from pacifica_archive_hmssideband.tables import sam_file, sam_inode, sam_path

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        MutableMapping,
    )

    from sqlalchemy import URL, ColumnElement, Connection, Engine, Select
    from sqlalchemy.engine import Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry
    from typing_extensions import Buffer

    from pacifica_archive_hmssideband.options import HmsSidebandOptions

__all__ = ["Failure", "Row", "Sideband", "SidebandDown"]

_log = logging.getLogger(__name__)

#: Files that one statement asks for. MariaDB makes a subquery of a list of 1000.
_CHUNK = 500
#: Seconds for which a database that failed is not asked.
_PAUSE_S = 5.0
#: Servers close connections that were idle for long: MySQL's wait_timeout is 8 h, and
#: firewalls know less patience.
_RECYCLE_S = 1800
#: Seconds in which one kind of warning is told once.
_WARNING_PAUSE_S = 60.0
#: Seconds by which a limit may be passed rather than set anew on a socket.
_GRACE_S = 0.01
_REGULAR = 0
_DIRECTORY = 1


@attrs.frozen(kw_only=True)
class Row:
    """
    A row of ``sam_inode``, as the database has it.

    Attributes:
        type: 0 regular file, 1 directory, 2 data segment, 3 segment index,
            4 symlink, 5 other.
        size: bytes.
        online: 1 if the bytes are on disk, 0 if not all are.
    """

    ino: int
    gen: int
    type: int
    size: int | None
    online: int


class Failure(enum.Enum):
    """Why the database does not say."""

    #: It does not answer in time, or not at all; later it may.
    UNREACHABLE = "unreachable"
    #: The user, its password or its grants.
    REFUSED = "refused"
    #: No such schema, table or column.
    WRONG = "wrong"


_WORDS = {
    Failure.UNREACHABLE: "the sideband database does not answer",
    Failure.REFUSED: "the sideband database refuses this user",
    Failure.WRONG: "the sideband database has not the tables of SAM-QFS",
}


class SidebandDown(Exception):
    """
    The database did not answer, in time or at all, or refused.

    Args:
        kind: which.
        detail: what the driver says of it, for the log; without the password, but
            hosts and users may be in it.
    """

    def __init__(self, kind: Failure, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return _WORDS[self.kind]


# The numbers of MySQL's and MariaDB's errors (mysqld_error.h), and the driver's 2059.
_REFUSALS = (
    # No access: to the schema, with this password (twice), to the table, to a column,
    # to what a view is of.
    *(1044, 1045, 1698, 1142, 1143, 1345),
    # Not from this host.
    *(1129, 1130),
    # An account that is locked (MySQL's, MariaDB's), or whose password is too old.
    *(3118, 4151, 1820, 1862),
    # A way to log in that the driver has not.
    *(1251, 2059),
)
#: No such schema (twice), column, table; a view of what is not there.
_ABSENCES = (1049, 1102, 1054, 1146, 1356)
_KINDS = dict.fromkeys(_REFUSALS, Failure.REFUSED) | dict.fromkeys(
    _ABSENCES, Failure.WRONG
)


def _kind(exc: Exception) -> Failure:
    if isinstance(exc, DBAPIError) and exc.orig is not None and exc.orig.args:
        code = exc.orig.args[0]
        if isinstance(code, int):
            return _KINDS.get(code, Failure.UNREACHABLE)
        # SQLite has one number for all that is wrong with a statement.
        if isinstance(code, str) and code.startswith("no such "):
            return Failure.WRONG
    return Failure.WRONG if isinstance(exc, ProgrammingError) else Failure.UNREACHABLE


class _Deadline(threading.local):
    """When what a thread does with the database must be done; `time.monotonic`."""

    end: float = math.inf


class _Hurried(socket.socket):
    """
    A connected socket whose user ends in time, however many bytes come one by one.

    A timeout of Python's begins anew with each call: a server that is slow, not
    silent, would be waited for at every round trip.

    Attributes:
        deadline: of the thread that calls.
        limit_s: seconds for one call, if the deadline is further away.
    """

    deadline: ClassVar[_Deadline]
    limit_s: ClassVar[float]

    def __del__(self) -> None:
        # A forked child forgets its parent's connections: the interpreter would
        # complain of the socket, if it finds that before the connection.
        self.close()

    def recv_into(self, buffer: Buffer, *rest: Any) -> int:  # noqa: ANN401 (they differ with TLS)
        self._hurry()
        return super().recv_into(buffer, *rest)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        self._hurry()
        super().sendall(data, flags)

    def _hurry(self) -> None:
        left_s = self.deadline.end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        limit_s = left_s if left_s < self.limit_s - _GRACE_S else self.limit_s
        if self.gettimeout() != limit_s:
            self.settimeout(limit_s)


class _Sockets:
    """
    The sockets of one engine, hurried by one deadline, without TLS and with it.

    With TLS the driver has its own socket made, of the class that the context names.
    """

    def __init__(self, deadline: _Deadline, limit_s: float) -> None:
        members = {"deadline": deadline, "limit_s": limit_s}
        self._plain = type("_Plain", (_Hurried,), members)
        self._tls = type("_Tls", (_Hurried, ssl.SSLSocket), members)

    def plain(self, taken: socket.socket) -> socket.socket:
        """Take over a connected socket."""
        hurried: socket.socket = self._plain(
            taken.family, taken.type, taken.proto, taken.detach()
        )
        return hurried

    def tls(self, context: ssl.SSLContext) -> None:
        """Have the sockets of this context be such."""
        context.sslsocket_class = self._tls


class _Seldom:
    """Whether it is time for a warning again; races of threads cost a line more."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = -math.inf

    def __call__(self) -> bool:
        if self._clock() < self._next:
            return False
        self._next = self._clock() + _WARNING_PAUSE_S
        return True


class _Answer(enum.Enum):
    GIVEN = enum.auto()
    #: By the user, or a bug: it says nothing of the database.
    INTERRUPTED = enum.auto()


@attrs.frozen
class _Pass:
    """What a thread that asks holds: which outage or peace it began in."""

    epoch: int
    probe: bool


class _Gate:
    """
    Who may ask the database: so many at a time, and during an outage one at times.

    A thread that finds all connections busy waits, and no longer than its limit: then
    it has no answer, but an outage is this not. When one begins, all that wait are
    told at once.

    Args:
        slots: threads that may ask at once.
        wait_s: seconds that one may wait for that.
        clock: seconds, never turned back; of the pauses.
    """

    def __init__(self, slots: int, wait_s: float, clock: Callable[[], float]) -> None:
        self._wait_s = wait_s
        self._clock = clock
        self._changed = threading.Condition()
        self._free = slots
        self._closed = False
        self._down: SidebandDown | None = None
        # Of every change between peace and outage: what began before one says
        # nothing about the time after it.
        self._epoch = 0
        self._began = self._again = 0.0
        self._probing = False
        self._tells_busy = _Seldom(clock)

    @contextlib.contextmanager
    def asking(self, *, at_once: bool, until_s: float = math.inf) -> Iterator[None]:
        """
        Let the block ask, if it may; a SidebandDown that leaves it is an outage.

        Args:
            at_once: whether to ask even though an outage was seen a moment ago.
            until_s: wait no longer than that, by ``time.monotonic``.

        Raises:
            SidebandDown: it may not.
        """
        held = self._enter(at_once=at_once, until_s=until_s)
        answer: _Answer | SidebandDown = _Answer.INTERRUPTED
        try:
            yield
            answer = _Answer.GIVEN
        except SidebandDown as exc:
            answer = exc
            raise
        finally:
            self._leave(held, answer)

    def close(self) -> None:
        """Let nobody in any more; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def _enter(self, *, at_once: bool, until_s: float) -> _Pass:
        limit = min(time.monotonic() + self._wait_s, until_s)
        with self._changed:
            while True:
                if self._closed:
                    raise SidebandDown(Failure.UNREACHABLE, "closed")
                probe = self._down is not None and not at_once
                if self._down is not None and probe and not self._may_probe():
                    raise SidebandDown(self._down.kind, self._down.detail)
                if self._free:
                    break
                left_s = limit - time.monotonic()
                if left_s <= 0:
                    if self._tells_busy():
                        _log.warning(
                            "all connections to the sideband database are busy, the"
                            " blocks on disk decide where a file is; see pool_size"
                        )
                    raise SidebandDown(Failure.UNREACHABLE, "all connections are busy")
                self._changed.wait(left_s)
            self._free -= 1
            self._probing |= probe
            return _Pass(self._epoch, probe)

    def _may_probe(self) -> bool:
        return self._free > 0 and not self._probing and self._clock() >= self._again

    def _leave(self, held: _Pass, answer: _Answer | SidebandDown) -> None:
        with self._changed:
            self._free += 1
            if held.probe:
                self._probing = False
            if held.epoch == self._epoch:
                if isinstance(answer, SidebandDown):
                    self._fail(answer)
                elif answer is _Answer.GIVEN and self._down is not None:
                    self._recover()
            self._changed.notify()

    def _fail(self, failure: SidebandDown) -> None:
        self._again = self._clock() + _PAUSE_S
        if self._down is None or self._down.kind is not failure.kind:
            _log.warning(
                "%s, the blocks on disk decide where files are: %s",
                failure, failure.detail,
            )  # fmt: skip
        if self._down is None:
            self._epoch += 1
            self._began = self._clock()
            self._changed.notify_all()
        self._down = failure

    def _recover(self) -> None:
        self._epoch += 1
        self._down = None
        # As loud as its beginning, or a log that begins at WARNING has no end of it.
        _log.warning(
            "the sideband database answers again, after %.0f s",
            self._clock() - self._began,
        )


_INODE = (
    sam_inode.c.ino,
    sam_inode.c.gen,
    sam_inode.c.type,
    sam_inode.c.size,
    sam_inode.c.online,
)


def _by_path(above: ColumnElement[bool], name: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that finds files by directory and name."""
    joined = sam_path.join(
        sam_file,
        and_(sam_file.c.p_ino == sam_path.c.ino, sam_file.c.p_gen == sam_path.c.gen),
    ).join(
        sam_inode,
        and_(sam_inode.c.ino == sam_file.c.ino, sam_inode.c.gen == sam_file.c.gen),
    )
    return (
        select(sam_path.c.path, sam_file.c.name, *_INODE)
        .select_from(joined)
        .where(above, name)
    )


# A directory that ``samdb check`` has repaired is there without its slash at the end.
# Lists, not pairs: id2filename's names differ all over the archive, so that names in
# other directories are few, and are dropped by who compares.
_BY_PATHS = _by_path(
    or_(
        sam_path.c.path.in_(bindparam("with_slash", expanding=True)),
        sam_path.c.path.in_(bindparam("without", expanding=True)),
    ),
    sam_file.c.name.in_(bindparam("names", expanding=True)),
)
#: Of one path, for a list is written out anew each time: 0.32 ms instead of 0.37.
_BY_PATH = _by_path(
    or_(
        sam_path.c.path == bindparam("with_slash"),
        sam_path.c.path == bindparam("without"),
    ),
    sam_file.c.name == bindparam("name"),
)
_BY_INODES = select(*_INODE).where(
    sam_inode.c.ino.in_(bindparam("inos", expanding=True))
)
#: As for one path.
_BY_INODE = select(*_INODE).where(sam_inode.c.ino == bindparam("ino"))
_DIRECTORIES = (
    select(sam_path.c.path)
    .join(
        sam_inode,
        and_(sam_inode.c.ino == sam_path.c.ino, sam_inode.c.gen == sam_path.c.gen),
    )
    .where(
        sam_path.c.path.in_(bindparam("paths", expanding=True)),
        sam_inode.c.type == _DIRECTORY,
    )
)


class Sideband:
    """
    The sideband database of one file system.

    Safe for threads, made and used in one process. Nothing but SELECT is sent to it,
    each outside of a transaction, so that it sees what is there now.
    A database that failed is left alone for a pause, then asked by one thread at a
    time until it answers; meanwhile the others have their SidebandDown at once.

    Args:
        options: of the archive.
        clock: seconds, never turned back; of the pauses.

    Raises:
        ConfigError: SQLAlchemy has no driver for the URL, or does not take it.
    """

    def __init__(
        self,
        options: HmsSidebandOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._clock = clock
        self._pid = os.getpid()
        # First: it is what finds fault with the URL.
        self._engine = _engine(options)
        self._connect_s, self._query_s = _limits(options)
        self._deadline = _Deadline()
        self._sockets = _Sockets(self._deadline, self._query_s)
        if options.database_url.get_driver_name() == "pymysql":
            event.listen(self._engine, "do_connect", self._connect)
        self._gate = _Gate(2 * options.pool_size, self._query_s, clock)
        self._tells_several = _Seldom(clock)
        self._tells_odd = _Seldom(clock)

    @property
    def bound_s(self) -> float:
        """
        The seconds that a call of up to 500 files may take, whatever the database does.

        They are ``query_timeout_s`` to wait while all connections are busy;
        ``connect_timeout_s`` and ``query_timeout_s`` to see that one is alive, or to
        have another; ``query_timeout_s`` for the answer, and as long again for every
        500 files more.
        Outside of it are the resolver's time, and all but the first address of a host
        that has several. By a Unix socket, and with other drivers than PyMySQL, whose
        limit is for each round trip, a server that answers all of them late takes
        longer.
        """
        return self._connect_s + 3 * self._query_s

    def rows(
        self, paths: Collection[str], *, until_s: float = math.inf
    ) -> dict[str, Row]:
        """
        Return the rows of files, of those that have one.

        Compared byte by byte, though the database does not tell "a" from "A" or
        "a ". Of several rows for a path: a regular file's, then the greatest gen.

        Args:
            paths: from the mount point on, such as "/data/x/39/3039".
            until_s: no longer than that, by ``time.monotonic``.

        Raises:
            SidebandDown
        """
        wanted = set(paths)
        found: dict[str, Row] = {}
        several: set[str] = set()
        for directory, name, *values in self._ask(*_path_asks(wanted), until_s=until_s):
            above = _text(directory).removesuffix("/")
            path = f"{above}/{_text(name)}"
            if path not in wanted or (row := self._usable(values)) is None:
                continue
            if (other := found.get(path)) is not None and other != row:
                several.add(path)
                row = max(other, row, key=_rank)
            found[path] = row
        if several and self._tells_several():
            _log.warning(
                "the sideband database has several files at %s, and at %d other paths;"
                " samdb check mends it",
                min(several), len(several) - 1,
            )  # fmt: skip
        return found

    def rows_by_inode(self, inos: Collection[int]) -> dict[int, Row]:
        """
        Return the rows of inode numbers, of those that have one: the last to use it.

        Raises:
            SidebandDown
        """
        found: dict[int, Row] = {}
        wanted = sorted(set(inos))
        asks = (
            (_BY_INODE, [{"ino": wanted[0]}])
            if len(wanted) == 1
            else (_BY_INODES, ({"inos": chunk} for chunk in _chunks(wanted)))
        )
        for values in self._ask(*asks):
            if (row := self._usable(values)) is None:
                continue
            other = found.get(row.ino)
            if other is None or other.gen < row.gen:
                found[row.ino] = row
        return found

    def knows_directory(self, path: str) -> bool:
        """
        Whether the database has this directory, such as "/data/x" or "" for all.

        Raises:
            SidebandDown
        """
        forms = [f"{path}/", path] if path else ["/"]
        rows = self._ask(_DIRECTORIES, [{"paths": forms}])
        return any(_text(found) in forms for (found,) in rows)

    def check(self) -> None:
        """
        Ask the database now, for all that is ever read of it.

        Raises:
            SidebandDown
        """
        self._ask(*_path_asks({"/"}), at_once=True)

    def close(self) -> None:
        """Close the connections; idempotent. Who asks then, has SidebandDown."""
        self._gate.close()
        # In a child they are the parent's: forgotten, not closed.
        self._engine.dispose(close=os.getpid() == self._pid)

    def _ask(
        self,
        statement: Select[Any],
        parameters: Iterable[Mapping[str, object]],
        *,
        at_once: bool = False,
        until_s: float = math.inf,
    ) -> list[Any]:
        """Return the rows of a statement, executed with each of the parameters."""
        if os.getpid() != self._pid:
            raise RuntimeError("the sideband was opened in another process")
        with self._gate.asking(at_once=at_once, until_s=until_s):
            try:
                limit_s = self._connect_s + self._query_s
                self._deadline.end = min(time.monotonic() + limit_s, until_s)
                with self._engine.connect() as connection:
                    return self._fetch(connection, statement, parameters, until_s)
            # A driver meets a server of another kind with whatever it likes, such
            # as struct.error; and a database is never why a file is not served.
            except Exception as exc:
                raise self._down(exc) from exc

    def _fetch(
        self,
        connection: Connection,
        statement: Select[Any],
        parameters: Iterable[Mapping[str, object]],
        until_s: float,
    ) -> list[Any]:
        done = False
        try:
            rows: list[Any] = []
            for each in parameters:
                self._deadline.end = min(time.monotonic() + self._query_s, until_s)
                rows += connection.execute(statement, each).all()
            done = True
            return rows
        finally:
            # What is left of an answer must not be read as that to the next question;
            # and a pool that was let go of keeps what comes back to it open.
            if not done or self._gate.closed:
                connection.invalidate()

    def _usable(self, values: Iterable[Any]) -> Row | None:
        try:
            return _row(values)
        # NULL, a BIT, a word: of a view or a table that somebody made. That such an
        # ``online`` is not 0 puts no file on disk.
        except (TypeError, ValueError, OverflowError):
            if self._tells_odd():
                _log.warning(
                    "the sideband database has rows whose ino, gen, type, size or"
                    " online is no number: they are not used"
                )
            return None

    def _down(self, exc: Exception) -> SidebandDown:
        orig = exc.orig if isinstance(exc, DBAPIError) else exc
        detail = f"{type(orig).__name__}: {orig}"
        if password := self._options.database_url.password:
            detail = detail.replace(password, "***")
        return SidebandDown(_kind(exc), detail)

    def _connect(
        self,
        dialect: Dialect,
        _record: ConnectionPoolEntry,
        args: tuple[Any, ...],
        parameters: MutableMapping[str, Any],
    ) -> DBAPIConnection | None:
        """Connect PyMySQL by a socket that keeps the deadline."""
        connection: Any = dialect.loaded_dbapi.connect(
            *args, defer_connect=True, **parameters
        )
        # As it has them: they may be of a file that the URL names, too.
        if connection.unix_socket:
            connection.connect()
            return connection  # type: ignore[no-any-return] # PyMySQL has no types
        left_s = self._deadline.end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        source = connection.bind_address
        plain = socket.create_connection(
            (connection.host, connection.port),
            min(self._connect_s, left_s),
            source_address=None if source is None else (source, 0),
        )
        # As PyMySQL does with its own.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # None if the URL forbids TLS.
        if (context := getattr(connection, "ctx", None)) is not None:
            self._sockets.tls(context)
        connection.connect(self._sockets.plain(plain))
        return connection  # type: ignore[no-any-return] # PyMySQL has no types


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(values)
    while chunk := list(itertools.islice(remaining, _CHUNK)):
        yield chunk


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _path_asks(
    paths: set[str],
) -> tuple[Select[Any], Iterable[Mapping[str, object]]]:
    """Return the statement for these paths, and each chunk's parameters."""
    if len(paths) == 1:
        (path,) = paths
        above, _, name = path.rpartition("/")
        # The mount point itself is never without.
        one = {"with_slash": f"{above}/", "without": above or "/", "name": name}
        return _BY_PATH, [one]
    # By directory, since the database reads all names of each that it is asked about,
    # once for each statement.
    ordered = sorted(paths, key=_directory) if len(paths) > _CHUNK else paths
    return _BY_PATHS, (_path_parameters(chunk) for chunk in _chunks(ordered))


def _path_parameters(paths: list[str]) -> dict[str, list[str]]:
    above: dict[str, None] = {}
    names: dict[str, None] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        above[directory] = names[name] = None
    return {
        "with_slash": [f"{directory}/" for directory in above],
        "without": [directory or "/" for directory in above],
        "names": list(names),
    }


def _row(values: Iterable[Any]) -> Row:
    """
    Return a row.

    Raises:
        TypeError, ValueError, OverflowError: what should be a number is none.
    """
    ino, gen, type_, size, online = values
    return Row(
        ino=int(ino),
        gen=int(gen),
        type=int(type_),
        size=None if size is None else int(size),
        online=int(online),
    )


def _text(value: str | bytes) -> str:
    """Return a path or name; a column that is compared byte by byte has bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _rank(row: Row) -> tuple[bool, int]:
    return row.type == _REGULAR, row.gen


def _engine(options: HmsSidebandOptions) -> Engine:
    url = options.database_url
    pool: dict[str, Any] = {
        "poolclass": QueuePool,
        "pool_size": options.pool_size,
        "max_overflow": options.pool_size,
        # Never waited for: the gate lets no more in than there are.
        "pool_timeout": options.query_timeout_s,
    }
    if url.get_backend_name() == "sqlite":
        # A connection must not be in a forked child, not even to be closed there
        # (sqlite.org/howtocorrupt.html, 2.6); and a file is opened at once.
        pool = {"poolclass": NullPool}
    try:
        return create_engine(
            _with_charset(url),
            **pool,
            pool_pre_ping=True,
            pool_recycle=_RECYCLE_S,
            # In a transaction one would see the same rows for ever.
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            hide_parameters=True,
            connect_args=_timeouts(options),
        )
    except (ArgumentError, ImportError) as exc:
        raise ConfigError(
            f"hms_sideband: SQLAlchemy has no driver for {url.drivername} here;"
            " mysql+pymysql comes with this backend"
        ) from exc
    except ValueError as exc:
        raise ConfigError(
            "option 'url' of hms_sideband: SQLAlchemy does not take its parameters"
        ) from exc


def _with_charset(url: URL) -> URL:
    if url.get_backend_name() in {"mysql", "mariadb"} and "charset" not in url.query:
        # The database's own: what is compared in another may use no index.
        return url.update_query_dict({"charset": "latin1"})
    return url


def _limits(options: HmsSidebandOptions) -> tuple[float, float]:
    """Return the seconds that a connection and an answer may take."""
    limits = options.connect_timeout_s, options.query_timeout_s
    if options.database_url.get_driver_name() == "mysqldb":
        # Whole seconds, in C.
        return math.ceil(limits[0]), math.ceil(limits[1])
    return limits


def _timeouts(options: HmsSidebandOptions) -> dict[str, float]:
    """Return how the driver is told its limits; of one we do not know, the URL says."""
    connect_s, query_s = _limits(options)
    driver = options.database_url.get_driver_name()
    if driver in {"pymysql", "mysqldb"}:
        return {
            "connect_timeout": connect_s,
            "read_timeout": query_s,
            "write_timeout": query_s,
        }
    if driver == "pysqlite":
        # For which it waits while another writes.
        return {"timeout": query_s}
    return {}
