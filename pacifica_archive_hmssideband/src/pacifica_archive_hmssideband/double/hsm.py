"""The double itself: looks, tells the database, and moves bytes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from pacifica_archive_hmssideband.double import world
from pacifica_archive_hmssideband.double.errors import DatabaseDown, DoubleError
from pacifica_archive_hmssideband.double.events import (
    inode_row,
    look,
    name_rows,
    path_row,
)
from pacifica_archive_hmssideband.double.records import Bytes, Copy, Records, Verb
from pacifica_archive_hmssideband.double.rows import ArchiveRow, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pacifica_archive_hmssideband.double.events import Look
    from pacifica_archive_hmssideband.double.records import Known, Node, Request
    from pacifica_archive_hmssideband.double.world import Tree

__all__ = ["Double"]

_log = logging.getLogger(__name__)

#: Bytes are there, all of them.
_WHOLE = frozenset({Bytes.ONLINE, Bytes.STAGED})
#: A second ``run`` gives up after so many tries, while one-shots may be at work.
_TRIES = 50
_TRY_S = 0.1


class Double:
    """
    Keeps a sideband database in step with a directory, and plays its tapes.

    The prefix is the mount point: "/" of the database. What the double knows is in a
    directory beside it, which several processes may use at a time.

    It cannot make a read wait, as the kernel's part of SAM-QFS does. So it takes bytes
    away only when the database says so, and only while nobody has the file open: who
    opens a file, then asks the database and then reads, reads no byte that is not
    the file's. Where the event of a release was lost the bytes stay.

    For the time between two system calls the mtime of a file is not its own, whenever
    bytes are taken away or brought back.

    Args:
        prefix: the directory; it must be there.
        url: of MySQL, MariaDB or SQLite; by default a file of SQLite in ``state``.
        state: a directory on the same machine, made if missing; ``prefix`` and
            ".tape" by default.

    Raises:
        DoubleError: the URL is of no database that it can write to, the prefix is no
            directory, or the state cannot be there.
    """

    def __init__(
        self,
        prefix: str | os.PathLike[str],
        url: str | URL | None = None,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        self._prefix = os.path.realpath(prefix)
        self._state = Path(f"{self._prefix}.tape" if state is None else state)
        if self._state.resolve().is_relative_to(self._prefix):
            raise DoubleError("the state cannot be inside of the prefix")
        if not Path(self._prefix).is_dir():
            raise DoubleError(f"there is no directory {self._prefix}")
        with _worded():
            (self._state / "copies").mkdir(parents=True, exist_ok=True)
        own = URL.create("sqlite", database=f"{self._state}/sideband.db")
        self._rows = Rows(url or own)
        self._formatted = False

    def format(self, *, off_set: bool = False) -> None:
        """
        Make the tables that are missing, and the rows of the root; idempotent.

        Args:
            off_set: sam_archive's column is ``off_set``, as in the fork of 2025.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        self._rows.format(off_set=off_set)
        self._formatted = True

    def step(self) -> None:
        """
        Look at the directory once and do now all that is to be done.

        Raises:
            DatabaseDown: it does not answer, or refuses; what is to be told to it
                will be told at a later step.
        """
        with self._working():
            self._step(stage_s=0.0, settle=True)

    def archive(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """
        Copy files to tape.

        Raises:
            DoubleError: some are no regular files of the prefix, or were changed
                meanwhile; the others are copied.
        """
        self._each(paths, self._copy)

    def release(
        self, paths: Iterable[str | os.PathLike[str]], partial: int = 0
    ) -> list[str]:
        """
        Take the bytes of files away that are on tape.

        Empty files keep theirs, none; files that are offline already stay so.

        Args:
            paths: absolute, or relative to the prefix.
            partial: bytes at the beginning that stay on disk.

        Returns:
            Those that are open somewhere, or whose rows do not say offline as the
            event was lost: their bytes go at a later step.

        Raises:
            DoubleError: some are no regular files of the prefix, or have no copy that
                is up to date; the others are released.
        """
        asked: dict[str, str] = {}

        def ask(records: Records, path: str, key: str) -> None:
            found = Path(path).lstat()
            node = records.node(key)
            if found.st_size == 0 or (node and node.bytes is Bytes.OFFLINE):
                return
            if not world.is_told_apart(key):
                raise DoubleError("its file system keeps no time of birth")
            if not self._has_copy(records.copy(key), found, node):
                raise DoubleError("archive it first")
            # Whether there are leases at all is told now, to who asks.
            with world.opened(path, key, write=True) as fd, world.alone(fd):
                pass
            records.ask(key, Verb.RELEASE, partial)
            asked[key] = path

        if not self._each(paths, ask):
            return []
        with _worded(), self._records() as records:
            nodes = {key: records.node(key) for key in asked}
        return [
            path
            for key, path in asked.items()
            if (node := nodes[key]) and node.bytes is not Bytes.OFFLINE
        ]

    def stage(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """
        Bring the bytes of files back.

        Raises:
            DoubleError: some are no regular files of the prefix; the others are
                staged.
        """

        def ask(records: Records, _path: str, key: str) -> None:
            records.ask(key, Verb.STAGE)

        self._each(paths, ask)

    def rename(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
        """
        Rename a file or a directory; of a directory, with the defect of the real one.

        Raises:
            DoubleError: it cannot be renamed so.
        """
        # What was made before is known by its old name.
        self._follow()
        with self._working(), _worded():
            source, target = (self._at(self._path(path)) for path in (old, new))
            Path(source).rename(target)
        self._follow()

    def lose_events(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """
        Let no event of these paths reach the database, until a ``check``.

        They need not be there. What has happened to them already, and was not told
        to the database yet, is lost too.
        """
        with _worded(), self._records() as records:
            records.lose([self._path(path) for path in paths])

    def check(self, *, fast: bool = False) -> int:
        """
        Compare the database with the directory and mend it, as ``samdb check`` does.

        The path of a directory that was wrong or missing is written without the
        slash at the end, and only the next check that is not ``fast`` adds it.

        Returns:
            The number of rows that were mended.

        Raises:
            DatabaseDown: it does not answer, or refuses.
        """
        with self._working():
            self._step(stage_s=0.0, settle=True)
            with _worded(), self._records() as records:
                known = records.load()
                tree = self._scan(known)
                look(known, tree, readlink=self._readlink, now_s=_now_s())
                nodes = [node for key, node in known.nodes.items() if key in tree.paths]
                paths = [
                    row
                    for node in nodes
                    if (row := path_row(node, tree.paths[node.key], self._readlink))
                ]
                count = self._rows.check(
                    [inode_row(node, now_s=_now_s()) for node in nodes],
                    paths,
                    name_rows(known),
                    fast=fast,
                )
                records.find_all()
            self._step(stage_s=0.0, settle=True)
        return count

    def run(
        self,
        lag_s: float,
        stage_s: float,
        stop: threading.Event,
        *,
        ready: Callable[[], None] | None = None,
    ) -> None:
        """
        Keep the database in step until ``stop`` is set.

        While the database is down it goes on, and tells it everything afterwards.

        Args:
            lag_s: seconds between two looks.
            stage_s: seconds that a stage takes; the row follows after the lag.
            stop: ends it.
            ready: called once, when the database is in step.

        Raises:
            DoubleError: another one runs, or the directory cannot be read.
        """
        with self._running(stop):
            down = False
            while not stop.is_set():
                due_s = None
                try:
                    with self._working():
                        due_s = self._step(stage_s=stage_s, settle=False)
                except DatabaseDown as exc:
                    if not down:
                        _log.warning("%s; its events are kept", exc)
                    down = True
                else:
                    if down:
                        _log.warning("the database answers again, and is in step")
                    down = False
                    if ready is not None:
                        ready()
                        ready = None
                wait_s = lag_s if due_s is None else min(lag_s, due_s - time.time())
                stop.wait(max(wait_s, 0.0))

    def close(self) -> None:
        """Free what is held; idempotent."""
        self._rows.close()

    # --- one step --------------------------------------------------------------

    def _step(self, *, stage_s: float, settle: bool) -> float | None:
        """
        Look, tell, move; return when the next stage ends, if one is under way.

        Args:
            stage_s: seconds that a stage takes that begins now.
            settle: have stages end now, and rows say so.
        """
        with _worded(), self._records() as records:
            known = records.load()
            tree = self._scan(known)
            down = self._tell(records, known, tree)
            if down is not None:
                # As it was: all of it is to be told later.
                known = records.load()
            self._stage(records, known, tree, stage_s=stage_s, settle=settle)
            if down is None:
                self._take_away(records, known, tree)
                if settle and any(
                    node.bytes is Bytes.STAGED for node in known.nodes.values()
                ):
                    known = records.load()
                    down = self._tell(records, known, self._scan(known))
            if down is not None:
                raise down
            due_s = [
                node.due_s
                for node in known.nodes.values()
                if node.bytes is Bytes.STAGING and not node.gone
            ]
            return min(due_s, default=None)

    def _tell(self, records: Records, known: Known, tree: Tree) -> DatabaseDown | None:
        """
        Tell the database what has happened; return its failure, if it failed.

        Args:
            records: get what was told.
            known: becomes what is there.
            tree: what is there.
        """
        now_s = _now_s()
        found = look(known, tree, readlink=self._readlink, now_s=now_s)
        changes = found.changes
        done = [
            request
            for request in known.requests
            if request.verb is Verb.RELEASE
            and self._begin(known, tree, request, found, now_s)
        ]
        for node in known.nodes.values():
            if node.bytes is Bytes.STAGED and node.key in tree.paths:
                node.bytes = Bytes.ONLINE
                found.nodes[node.key] = node
                if tree.paths[node.key] not in known.lost:
                    changes.changed.append(inode_row(node, now_s=now_s))
        told = [
            copy
            for copy in known.copies.values()
            if not copy.told and copy.key in tree.paths
        ]
        for copy in told:
            if tree.paths[copy.key] not in known.lost:
                node = known.nodes[copy.key]
                changes.archived.append(
                    ArchiveRow(
                        ino=node.ino,
                        gen=node.gen,
                        size=copy.size,
                        create_time=copy.made_s,
                    )
                )
        if changes or not self._formatted:
            try:
                if not self._formatted:
                    self.format()
                self._rows.apply(changes)
            except DatabaseDown as exc:
                return exc
        with records.transaction():
            records.keep_nodes(found.nodes.values())
            records.keep_generations(known.nodes[key] for key in found.born)
            records.keep_names(found.gone_names, found.new_names)
            records.forget(found.forgotten)
            records.told(told)
            records.done(done)
        for key in found.forgotten:
            self._tape(key).unlink(missing_ok=True)
        return None

    def _begin(
        self, known: Known, tree: Tree, request: Request, found: Look, now_s: int
    ) -> bool:
        """Begin a release with what its row says; False if it is to be put off."""
        key = request.key
        node = known.nodes.get(key)
        if node is not None and (node.gone or node.bytes is Bytes.STAGING):
            return False
        if node is None or node.bytes not in _WHOLE:
            return True
        if not self._has_copy(known.copies.get(key), tree.stats[key], node):
            _log.warning("%s is not released: it was changed", tree.paths[key])
            return True
        try:
            with (
                world.opened(self._at(tree.paths[key]), key, write=True) as fd,
                world.alone(fd) as unopened,
            ):
                if not unopened:
                    return False
        except FileNotFoundError:
            return False
        node.bytes = Bytes.RELEASING
        node.partial = request.partial
        found.nodes[key] = node
        if tree.paths[key] not in known.lost:
            found.changes.changed.append(inode_row(node, now_s=now_s))
        return True

    def _take_away(self, records: Records, known: Known, tree: Tree) -> None:
        """Take the bytes away where the database says so, and nobody looks."""
        for node in known.nodes.values():
            path = tree.paths.get(node.key)
            copy = known.copies.get(node.key)
            if (
                node.bytes is Bytes.RELEASING
                and path is not None
                and copy is not None
                and self._rows.say_offline(path, node.size, node.ino, node.gen)
            ):
                with contextlib.suppress(FileNotFoundError):
                    self._punch(records, node, copy, self._at(path))

    def _punch(self, records: Records, node: Node, copy: Copy, path: str) -> None:
        with (
            world.opened(path, node.key, write=True) as fd,
            world.alone(fd) as unopened,
        ):
            if not unopened:
                return
            found = os.fstat(fd)
            # Before: who is killed in between must not find it online.
            current = self._has_copy(copy, found, None)
            node.bytes = Bytes.OFFLINE if current else Bytes.STAGED
            records.keep_nodes([node])
            if node.bytes is Bytes.OFFLINE:
                world.punch(fd, keep=node.partial, mtime_ns=found.st_mtime_ns)

    def _stage(
        self,
        records: Records,
        known: Known,
        tree: Tree,
        *,
        stage_s: float,
        settle: bool,
    ) -> None:
        """Begin the stages that are asked for, and end those that are due."""
        requests = [request for request in known.requests if request.verb is Verb.STAGE]
        wanted = {request.key for request in requests}
        for node in known.nodes.values():
            if node.bytes is Bytes.ONLINE or node.key not in tree.paths:
                continue
            path = self._at(tree.paths[node.key])
            # Set to 0 when the bytes went, it was moved by a read.
            was_read = tree.stats[node.key].st_atime_ns != 0
            try:
                if node.bytes is Bytes.OFFLINE and (node.key in wanted or was_read):
                    self._allocate(records, node, path, time.time() + stage_s)
                elif node.bytes is Bytes.RELEASING and node.key in wanted:
                    node.bytes = Bytes.STAGED
                    records.keep_nodes([node])
                if node.bytes is Bytes.STAGING and (
                    settle or node.due_s <= time.time()
                ):
                    self._restore(records, node, path)
            except FileNotFoundError:
                continue  # moved, replaced or deleted: the next look will tell
            except OSError as exc:
                _log.warning("%s cannot be staged: %s", path, exc.strerror)
                wanted.discard(node.key)
        records.done(
            request
            for request in requests
            if request.key in wanted
            and not ((asked := known.nodes.get(request.key)) and asked.gone)
        )

    def _allocate(self, records: Records, node: Node, path: str, due_s: float) -> None:
        with world.opened(path, node.key, write=True) as fd:
            node.bytes = Bytes.STAGING
            node.due_s = due_s
            records.keep_nodes([node])
            world.allocate(fd, mtime_ns=_settled_mtime_ns(fd, node))

    def _restore(self, records: Records, node: Node, path: str) -> None:
        with world.opened(path, node.key, write=True) as fd:
            if os.fstat(fd).st_size != node.size:
                return  # written to: the next look will tell
            try:
                with self._tape(node.key).open("rb") as tape:
                    world.restore(
                        fd,
                        tape.fileno(),
                        size=node.size,
                        mtime_ns=_settled_mtime_ns(fd, node),
                        now_ns=time.time_ns(),
                    )
            except FileNotFoundError as exc:
                raise OSError(errno.EIO, "the copy on tape is damaged") from exc
            node.bytes = Bytes.STAGED
            records.keep_nodes([node])

    def _copy(self, records: Records, path: str, key: str) -> None:
        with world.opened(path, key, write=False) as fd:
            # Now that it is open no bytes can go any more.
            node = records.node(key)
            present = records.copy(key)
            if (node and node.bytes not in _WHOLE) or self._has_copy(
                present, os.fstat(fd), None
            ):
                return
            part = self._tape(f"{key}.{os.getpid()}.{threading.get_ident()}")
            try:
                found = world.copied(fd, str(part))
                part.replace(self._tape(key))
            finally:
                part.unlink(missing_ok=True)
        records.keep_copy(
            Copy(
                key=key,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
                made_s=_now_s(),
                told=False,
            )
        )

    # --- paths, locks ----------------------------------------------------------

    def _each(
        self,
        paths: Iterable[str | os.PathLike[str]],
        act: Callable[[Records, str, str], None],
    ) -> bool:
        """Do it for each file, then follow; say what failed at the end."""
        failures = []
        with _worded(), self._records() as records:
            for given in paths:
                try:
                    path = self._at(self._path(given))
                    found = Path(path).lstat()
                    if not stat.S_ISREG(found.st_mode):
                        raise DoubleError("is no regular file")
                    act(records, path, world.key_of(found, path))
                except DoubleError as exc:
                    failures.append(f"{given}: {exc}")
                except OSError as exc:
                    failures.append(f"{given}: {exc.strerror}")
        followed = self._follow()
        if failures:
            raise DoubleError("\n".join(failures))
        return followed

    def _follow(self) -> bool:
        """Do at once what was asked; False: a ``run`` will, after its lag."""
        with (self._state / "run.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self.step()
        return True

    @contextlib.contextmanager
    def _running(self, stop: threading.Event) -> Iterator[None]:
        with (self._state / "run.lock").open("a") as lock:
            for _ in range(_TRIES):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    stop.wait(_TRY_S)
            else:
                raise DoubleError("another run keeps this directory in step")
            yield

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with (self._state / "work.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _records(self) -> Iterator[Records]:
        """Open the state, if it is of this very directory."""
        with Records(str(self._state / "state.db")) as records:
            # Else all files are gone, to whom it looks so, and then their tapes are.
            if not records.belong_to(world.key_of(os.stat(self._prefix), self._prefix)):  # noqa: PTH116 (a string)
                raise DoubleError(
                    f"{self._state} is of another directory than {self._prefix},"
                    " or its file system is not mounted"
                )
            yield records

    def _scan(self, known: Known) -> Tree:
        nodes = sorted(known.nodes.values(), key=lambda node: not node.gone)
        return world.scan(
            self._prefix,
            {node.inode_number: (node.key, node.ctime_ns) for node in nodes},
        )

    def _path(self, given: str | os.PathLike[str]) -> str:
        """Return "/a/b" for a path in the prefix, or one relative to it."""
        target = Path(self._prefix, given)
        inside = target.parent.resolve() / target.name
        if target.name == ".." or not inside.is_relative_to(self._prefix):
            raise DoubleError(f"is not in {self._prefix}")
        return f"/{inside.relative_to(self._prefix)}"

    def _at(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _has_copy(
        self, copy: Copy | None, found: os.stat_result, node: Node | None
    ) -> bool:
        """Whether there is a copy, of the file as it is."""
        if copy is None or copy.size != found.st_size:
            return False
        try:
            if self._tape(copy.key).stat().st_size != copy.size:
                return False
        except FileNotFoundError:
            return False
        moving = node is not None and node.bytes not in _WHOLE
        return moving or copy.mtime_ns == found.st_mtime_ns

    def _tape(self, name: str) -> Path:
        return self._state / "copies" / name

    def _readlink(self, path: str) -> str:
        try:
            # Not Path's: it drops a slash at the end.
            return os.readlink(self._at(path))  # noqa: PTH115 (said above)
        except OSError:
            return ""  # gone since the look: its row goes at the next one


def _settled_mtime_ns(fd: int, node: Node) -> int:
    """Return the file's mtime, not that of the bytes' way in or out."""
    found = os.fstat(fd)
    written = found.st_mtime_ns == found.st_ctime_ns
    return node.mtime_ns if written else found.st_mtime_ns


def _now_s() -> int:
    return int(time.time())


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise DoubleError(f"the state: {exc}") from exc
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise DoubleError(f"{where}{exc.strerror}") from exc
