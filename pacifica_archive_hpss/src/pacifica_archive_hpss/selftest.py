"""
Try the HPSS of a site: what works, and which guesses of this package hold there.

``python -m pacifica_archive_hpss.selftest --prefix /hpss/path [-o KEY=VALUE ...]``

All of it happens in a new directory below the prefix, which is removed at the end;
nothing else is touched. Two files may be migrated and purged there by force, and tapes
be mounted for them; where monitors turn red by stages without a callback address, give
one. Nothing ends a call that HPSS does not answer: the line that does not come is then
the finding.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import errno
import hashlib
import importlib.metadata
import os
import platform
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    ArchiveError,
    ConfigError,
    FileExists,
    FileOffline,
    NoSuchFile,
    Residency,
    find_config,
    id2filename,
    load_options,
)
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.archive import HpssArchive, HpssOptions
from pacifica_archive_hpss.errors import HpssError
from pacifica_archive_hpss.session import Credentials, Session
from pacifica_archive_hpss.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pacifica_archive_core import ArchiveReader
    from pacifica_archive_hpss.residency import RawStatus

__all__ = ["GUESSES", "Guess", "main"]

_SIZE = 100_000
_OLD = hashlib.shake_128(b"old").digest(_SIZE)
_NEW = hashlib.shake_128(b"new").digest(_SIZE + 1)
_DIGESTS = {"sha-256": hashlib.sha256(_OLD).digest()}
_MTIME_NS = 1_234_567_890 * 10**9
_MODE = 0o444
_NAME_SIZE = 1024
#: No character of XML: what HPSS makes of those is not known, and we write none.
_VALUE = b"1 12345 00ff-499602d2-64 sha-256:00 with%20space:ff"
_FIRST, _SECOND, _ADOPTED, _STAGED, _BATCHED = 0x3039, 0x1, 0x3139, 0x3239, 0x3339
_TRASHED = 0x3439


@attrs.frozen(kw_only=True)
class Guess:
    """
    What no public source, or only one, says of HPSS, and this package relies on.

    Attributes:
        section: of FACTS.md of this distribution, where it comes from.
        text: the claim.
        why_not: why it is not tried here; None if it is.
    """

    section: str
    text: str
    why_not: str | None = None


GUESSES: Mapping[str, Guess] = {
    "level": Guess(
        section="7",
        text="hpss_BuildLevelString begins with the release that the headers name",
    ),
    "ping": Guess(
        section="1.1",
        text="hpss_LookupRootCS and hpss_PingCore are as one public program calls them",
    ),
    "mode": Guess(section="6", text="a file has the mode that it was created with"),
    "hints": Guess(
        section="6",
        text="a size is taken as hints: the minimum REQUIRED, the maximum"
        " HIGHLY_DESIRED",
    ),
    "offset": Guess(section="1.1", text="hpss_SetFileOffset gives the offset back"),
    "fsync": Guess(section="1.1", text="hpss_Fsync is there and succeeds"),
    "link refuses": Guess(
        section="1.1", text="hpss_Link to a name that is taken fails with EEXIST"
    ),
    "link shares": Guess(
        section="1.3", text="both names of a file have one bitfile, and are files"
    ),
    "rename replaces": Guess(
        section="8.13", text="hpss_Rename to a name that is taken replaces that file"
    ),
    "open and unlinked": Guess(
        section="8.13", text="a file that is open is read on when its name is removed"
    ),
    "open and replaced": Guess(
        section="8.13", text="a file that is open is read on when it is replaced"
    ),
    "open and renamed": Guess(
        section="8.13", text="a file that is open is read on when its name is moved"
    ),
    "renamed": Guess(
        section="8.13",
        text="bitfile, size and mtime stay when a file is moved to another directory",
    ),
    "unlink read-only": Guess(
        section="6", text="a file of mode 0444 is removed without a chmod"
    ),
    "attributes": Guess(
        section="1.1", text="user-defined attributes are given back as they were set"
    ),
    "attributes renamed": Guess(
        section="1.1", text="user-defined attributes go along with a rename"
    ),
    "attributes linked": Guess(
        section="1.1", text="user-defined attributes stay with a link and its unlink"
    ),
    "migrate": Guess(
        section="1.1", text="hpss_Migrate is as one public program calls it"
    ),
    "version": Guess(
        section="5",
        text="bitfile, size and mtime stay when a file is purged and staged",
    ),
    "nonblocking": Guess(
        section="5", text="an open with O_NONBLOCK does not stage a purged file"
    ),
    "request id": Guess(
        section="5", text="a stage takes the request id that is computed for its file"
    ),
    "state": Guess(
        section="1.1", text="the state of a stage that was asked for can be asked for"
    ),
    "state by bitfile": Guess(
        section="5",
        text="a stage's state is found by the bitfile, whatever the request's id was",
    ),
    "batch": Guess(
        section="5", text="a batch of stages is taken as one public program builds it"
    ),
    "recall": Guess(
        section="5",
        text="a stage of length DataLength to level 0 brings the whole file",
    ),
    "readdir": Guess(
        section="1.1", text="the end of a directory is 0 with an empty name"
    ),
    "pvlist": Guess(
        section="1.2",
        text="a PVList is one allocation",
        why_not="a leak is not seen from here",
    ),
    "threads": Guess(
        section="3",
        text="the last error is that of the calling thread",
        why_not="needs errors at the same moment",
    ),
    "fork": Guess(
        section="3",
        text="a login made in a worker is good, one made before a fork is not",
        why_not="a child that uses its parent's login may harm it",
    ),
    "close": Guess(
        section="5",
        text="hpss_Close waits for what its descriptor has asked to be staged",
        why_not="never done by this package",
    ),
    "monitors": Guess(
        section="5",
        text="a stage without a callback address turns monitors red",
        why_not="seen in the site's monitors only",
    ),
    "durable": Guess(
        section="8",
        text="what hpss_Fsync was called for survives the crash of a mover",
        why_not="needs a crash",
    ),
    "lost reply": Guess(
        section="2.5",
        text="a call that lost its connection may have been done",
        why_not="needs a network that fails",
    ),
    "expired": Guess(
        section="2.5",
        text="EACCES and EPERM of everything say that the login has expired",
        why_not="needs a login of hours",
    ),
}


class Verdict(enum.Enum):
    """How a trial went."""

    PASS = "PASS"  # noqa: S105 (no password)
    FAIL = "FAIL"
    SKIP = "SKIP"


class Failed(Exception):
    """Something is not as this package needs it."""


class Skipped(Exception):
    """It cannot be tried here."""


class Trials:
    """
    The trials, in the order of their definition; each returns what it saw.

    Args:
        options: of the archive, with the site's prefix.
        wait_s: how long a recall is waited for.
        say: takes one line of the report.
    """

    def __init__(
        self, options: HpssOptions, *, wait_s: float, say: Callable[[str], object]
    ) -> None:
        self._options = options
        self._wait_s = wait_s
        self._say = say
        self._folder = f"{options.prefix.rstrip('/')}/selftest-{uuid.uuid4().hex}"
        self._made = False
        self._archive_opened: HpssArchive | None = None
        self._session_opened: Session | None = None
        self._passed: set[str] = set()
        self._failed = False
        #: Of the file that is staged, before it is purged.
        self._version = ""
        #: Which guesses were tried, and whether they hold.
        self._learnt: dict[str, bool] = {}

    def run(self) -> bool:
        """Try everything, report it, and return whether nothing failed."""
        try:
            for name, (trial, needs) in TRIALS.items():
                self._try(name, trial, needs)
        finally:
            if self._archive_opened is not None:
                self._archive_opened.close()
            if self._made:
                self._try("clean up", Trials.clean_up, ())
        self._report_guesses()
        return not self._failed

    def _try(
        self, name: str, trial: Callable[[Trials], str], needs: Sequence[str]
    ) -> None:
        missing = [need for need in needs if need not in self._passed]
        try:
            if missing:
                raise Skipped(f"needs what did not pass: {', '.join(missing)}")
            verdict, text = Verdict.PASS, trial(self)
            self._passed.add(name)
        except Skipped as exc:
            verdict, text = Verdict.SKIP, str(exc)
        except Exception as exc:  # noqa: BLE001 (a report, whatever happens, is the point)
            verdict, text = Verdict.FAIL, _described(exc)
            self._failed = True
        self._say(f"{verdict.value}  {name}: {text}")

    def _report_guesses(self) -> None:
        self._say("")
        self._say("guesses (the sections are those of FACTS.md of this distribution)")
        for name, guess in GUESSES.items():
            if name in self._learnt:
                word = "confirmed" if self._learnt[name] else "REFUTED"
                why = ""
            else:
                word = "not tried here"
                why = f" ({guess.why_not or 'its trial did not come to it'})"
            self._say(f"{word:<14}  {guess.section:<4}  {guess.text}{why}")

    # --- the session and its directory

    def login(self) -> str:
        who = self._options
        self._session_opened = Session.shared(
            Credentials(user=who.user, auth=who.auth, mechanism=who.mechanism)
        )
        build = self._session.build
        size = 256
        text = ffi.new("char[]", size)
        self._session.call(lib.pah_level_text, text, size)
        level = ffi.string(text).decode("ascii", "replace")
        self._learnt["level"] = level.startswith(f"{build.major}.{build.minor}")
        abilities = [
            name
            for name, there in (
                ("stage status", build.has_stage_status),
                ("batches", build.has_batch),
                ("ping", build.has_ping),
            )
            if there
        ]
        return (
            f"library {level}, headers {build.major}.{build.minor}, with"
            f" {', '.join(abilities) or 'no optional calls'}"
        )

    def ping(self) -> str:
        if not self._session.build.has_ping:
            raise Skipped("this release has no hpss_PingCore that we know")
        if not self._options.sitename:
            raise Skipped("it needs the option sitename")
        begun_s = time.monotonic()
        with self._guess("ping"):
            self._session.call(lib.pah_ping, self._options.sitename)
        return f"answered in {(time.monotonic() - begun_s) * 1000:.1f} ms"

    def make_directory(self) -> str:
        self._session.call(lib.pah_mkdir, self._folder, 0o755)
        self._made = True
        self._refused(errno.EEXIST, lib.pah_mkdir, self._folder, 0o755)
        self._refused(errno.ENOENT, lib.pah_mkdir, f"{self._folder}/none/a", 0o755)
        return f"{self._folder}; a second time EEXIST; below a missing one ENOENT"

    def open_archive(self) -> str:
        options = attrs.evolve(
            self._options,
            prefix=self._folder,
            adopt_roots=(self._folder,),
            recall_timeout_s=self._wait_s,
        )
        self._archive_opened = HpssArchive(options)
        self._archive.check()
        return "opened and checked"

    # --- what the archive does

    def put(self) -> str:
        self._store(_FIRST, _OLD, digests=_DIGESTS)
        mode = self._lstat(self._path(_FIRST)).mode
        _ensure(mode == _MODE, f"its mode is {mode:04o}, not {_MODE:04o}")
        try:
            self._store(_FIRST, _NEW)
        except FileExists:
            return f"{_SIZE} bytes; a second time refused"
        raise Failed("a second file was stored under its id, without overwrite")

    def status(self) -> str:
        status = self._archive.status(_FIRST)
        _ensure(status.size == _SIZE, f"the size is {status.size}, not {_SIZE}")
        _ensure(status.mtime_ns == _MTIME_NS, f"the mtime is {status.mtime_ns} ns")
        _ensure(
            status.residency not in {Residency.LOST, Residency.UNKNOWN},
            f"the residency is {status.residency.value}",
        )
        levels = ", ".join(f"{level.media} {level.size}" for level in status.levels)
        cos = self._look(_FIRST)[1].class_of_service
        return f"{status.residency.value}; levels {levels}; class of service {cos}"

    def read(self) -> str:
        with self._opened(_FIRST) as reader:
            _ensure(reader.readall() == _OLD, "the bytes are not those stored")
            reader.seek(_SIZE - 10)
            _ensure(reader.read(100) == _OLD[-10:], "the end is not what was stored")
        return f"{_SIZE} bytes, and the last 10"

    def digests(self) -> str:
        # Stored by link and unlink.
        with self._guess("attributes linked"):
            self._ensure_digests(_FIRST)
        self._store(_FIRST, _OLD, digests=_DIGESTS, overwrite=True)
        with self._guess("attributes renamed"):
            self._ensure_digests(_FIRST)
        return "kept by a link and by a rename"

    def overwrite(self) -> str:
        with self._opened(_FIRST) as reader:
            before = reader.read(1000)
            self._store(_FIRST, _NEW, overwrite=True)
            with self._guess("open and replaced"):
                after = reader.readall()
                _ensure(before + after == _OLD, "who had it open reads other bytes")
        with self._opened(_FIRST) as reader:
            _ensure(reader.readall() == _NEW, "the bytes are not the new ones")
        _ensure(not self._archive.digests(_FIRST), "it has the old file's digests")
        return "replaced whole; who had it open reads on"

    def delete(self) -> str:
        self._store(_SECOND, _OLD)
        with self._opened(_SECOND) as reader:
            before = reader.read(1000)
            with self._guess("unlink read-only"):
                self._archive.delete(_SECOND)
            with self._guess("open and unlinked"):
                after = reader.readall()
                _ensure(before + after == _OLD, "who had it open reads other bytes")
        try:
            self._archive.delete(_SECOND)
        except NoSuchFile:
            return "gone, the second time NoSuchFile; who had it open reads on"
        raise Failed("it could be deleted twice")

    def trash(self) -> str:
        self._store(_TRASHED, _OLD)
        version = self._archive.status(_TRASHED).version
        with self._opened(_TRASHED) as reader:
            before = reader.read(1000)
            self._archive.trash(_TRASHED)
            with self._guess("open and renamed"):
                after = reader.readall()
                _ensure(before + after == _OLD, "who had it open reads other bytes")
        (found,) = self._archive.trashed()
        _ensure(found.size == _SIZE, f"in the trash it is of {found.size} bytes")
        self._archive.undelete(_TRASHED)
        with self._guess("renamed"):
            now = self._archive.status(_TRASHED).version
            _ensure(now == version, f"version {version} became {now}")
        self._archive.trash(_TRASHED)
        count = self._archive.empty_trash(2**63)
        _ensure(count == 1, f"{count} files were destroyed, not 1")
        return "moved there and back, and destroyed; who had it open reads on"

    def adopt(self) -> str:
        source = self._write("source", _OLD)
        self._archive.adopt(_ADOPTED, source)
        self._refused(errno.ENOENT, lib.pah_lstat, source, ffi.new("pah_stat *"))
        with self._opened(_ADOPTED) as reader:
            _ensure(reader.readall() == _OLD, "the bytes are not those of the source")
        return "moved, with its bytes"

    # --- what this package expects of HPSS

    def mode(self) -> str:
        path = self._write("mode", b"", mode=_MODE)
        mode = self._lstat(path).mode
        self._learnt["mode"] = mode == _MODE
        if mode == _MODE:
            return f"created with {_MODE:04o}, which sticks"
        return f"created with {_MODE:04o}, is {mode:04o}: a chmod more for each file"

    def hints(self) -> str:
        if self._options.class_of_service is not None:
            raise Skipped("the option class_of_service is given")
        with self._guess("hints"):
            path = self._write("hints", _OLD)
        chosen = self._raw(path).class_of_service
        return f"class of service {chosen} was chosen for {_SIZE} bytes"

    def fsync(self) -> str:
        with self._created("fsync") as fd, self._guess("fsync"):
            self._session.call(lib.pah_fsync, fd)
        return "succeeds; what it is worth cannot be seen"

    def seek(self) -> str:
        path = self._write("seek", _OLD)
        fd = self._session.call(lib.pah_open, path, 0)
        try:
            buffer = ffi.new("char[]", 100)
            with self._guess("offset"):
                self._session.call(lib.pah_seek, fd, 2**33)
            count = self._session.call(lib.pah_read, fd, buffer, 100)
            _ensure(count == 0, f"{count} bytes were read behind the end")
            self._session.call(lib.pah_seek, fd, _SIZE - 10)
            count = self._session.call(lib.pah_read, fd, buffer, 100)
        finally:
            self._session.call(lib.pah_close, fd)
        same = ffi.buffer(buffer)[:count] == _OLD[-10:]
        _ensure(same, "the bytes are not those of the offset")
        return "beyond 4 GiB and back"

    def link(self) -> str:
        old, taken = self._write("old", _OLD), self._write("taken", _NEW)
        before = _bitfile(self._raw(taken))
        with self._guess("link refuses"):
            self._refused(errno.EEXIST, lib.pah_link, old, taken)
        _ensure(before == _bitfile(self._raw(taken)), "the target was changed")
        second = f"{self._folder}/second"
        self._session.call(lib.pah_link, old, second)
        with self._guess("link shares"):
            one, other = self._raw(old), self._raw(second)
            _ensure(_bitfile(one) == _bitfile(other), "the names have two bitfiles")
            kinds = {one.kind, other.kind}
            _ensure(kinds == {lib.PAH_FILE}, "a name is not that of a file")
            links = self._lstat(second).links
            _ensure(links == 2, f"it says to have {links} names")  # noqa: PLR2004 (old and second)
        return "to a name that is taken EEXIST; else one file of two names"

    def rename(self) -> str:
        new, taken = self._write("new", _OLD), self._write("target", _NEW)
        bitfile = _bitfile(self._raw(new))
        try:
            self._session.call(lib.pah_rename, new, taken)
        except HpssError as exc:
            self._learnt["rename replaces"] = False
            _ensure(exc.code == errno.EEXIST, f"refused by another code: {exc}")
            return "to a name that is taken EEXIST"
        same = _bitfile(self._raw(taken)) == bitfile
        self._learnt["rename replaces"] = same
        _ensure(same, "the target is neither refused nor replaced")
        return "replaces a file"

    def attributes(self) -> str:
        path = self._write("attributes", b"")
        key = ffi.new("char[]", b"/hpss/user/pacifica/selftest")
        value, found = ffi.new("char[]", _VALUE), ffi.new("char[]", _NAME_SIZE)
        keys, values = ffi.new("char *[]", [key]), ffi.new("char *[]", [value])
        self._refused(
            errno.ENOENT, lib.pah_get_attributes, path, 1, keys, found, _NAME_SIZE
        )
        self._session.call(lib.pah_set_attributes, path, 1, keys, values)
        self._session.call(lib.pah_get_attributes, path, 1, keys, found, _NAME_SIZE)
        with self._guess("attributes"):
            text = ffi.string(found)
            _ensure(text == _VALUE, f"{_VALUE!r} came back as {text!r}")
        return "kept; none is ENOENT"

    # --- tape

    def migrate(self) -> str:
        for file_id in (_STAGED, _BATCHED):
            self._store(file_id, _OLD)
            self._session.call(lib.pah_chmod, self._path(file_id), 0o644)
            self._trial_call("migrate", lib.pah_migrate, self._path(file_id))
            self._learnt["migrate"] = True
        residency = self._archive.status(_STAGED).residency
        if residency is Residency.DISK:
            raise Skipped(
                "nothing was put on tape: does the class of service have one?"
            )
        return f"two files, now {residency.value}"

    def purge(self) -> str:
        self._version = self._archive.status(_STAGED).version
        for file_id in (_STAGED, _BATCHED):
            self._trial_call("purge", lib.pah_purge, self._path(file_id))
        status = self._archive.status(_STAGED)
        if status.online:
            raise Skipped(f"it is still {status.residency.value}")
        with self._guess("version"):
            self._ensure_version()
        return f"two files, now {status.residency.value}; the version is the same"

    def open_offline(self) -> str:
        try:
            self._archive.open(_STAGED).close()
        except FileOffline:
            pass
        else:
            raise Failed("a purged file was opened")
        with self._guess("nonblocking"):
            self._session.call(
                lib.pah_close, self._session.call(lib.pah_open, self._path(_STAGED), 0)
            )
            state = self._state(_STAGED)
            _ensure(state == lib.PAH_STAGE_UNKNOWN, "an open asked for a stage")
        return "FileOffline; with O_NONBLOCK nothing is staged"

    def stage(self) -> str:
        with self._guess("request id"):
            _ensure(not self._archive.stage(_STAGED), "it is said to be on disk")
        with self._guess("state"):
            return self._staged_once(_STAGED)

    def stage_batch(self) -> str:
        if not self._session.build.has_batch:
            raise Skipped("this release has no batches")
        with self._guess("batch"):
            ((_, answer),) = self._archive.stage_many([_BATCHED])
            if isinstance(answer, ArchiveError):
                raise answer
        seen = self._staged_once(_BATCHED)
        raw = self._look(_BATCHED)[1]
        states = ffi.new("int32_t[]", 1)
        with self._guess("state by bitfile"):
            self._session.call(
                lib.pah_batch_state,
                1,
                ffi.new("pah_bitfile[]", [raw.bitfile]),
                uuid.uuid4().bytes,
                states,
            )
            _ensure(states[0] != lib.PAH_STAGE_UNKNOWN, "by another id it is unknown")
        return f"{seen}; its state is known by another id too"

    def recall(self) -> str:
        begun_s = time.monotonic()
        pause = threading.Event()
        while not self._archive.status(_STAGED).online:
            if time.monotonic() - begun_s > self._wait_s:
                raise Skipped(f"not on disk after {self._wait_s:g} s (--wait)")
            pause.wait(min(1.0, self._wait_s / 100))
        with self._guess("recall"), self._opened(_STAGED) as reader:
            _ensure(reader.readall() == _OLD, "the bytes are not those stored")
        with self._guess("version"):
            self._ensure_version()
        _ensure(self._archive.stage(_STAGED), "a stage says it is not on disk")
        return f"on disk after {time.monotonic() - begun_s:.1f} s, with its bytes"

    # --- the end

    def clean_up(self) -> str:
        count = self._remove(self._folder)
        with self._guess("readdir"):
            # Had a name been missed, its directory would not be empty.
            self._session.call(lib.pah_rmdir, self._folder)
        return f"the directory and {count} names in it are removed"

    def _remove(self, folder: str) -> int:
        """Remove what is in a directory of ours; return how much it was."""
        removed = 0
        for name in self._names(folder):
            path = f"{folder}/{name}"
            if self._lstat(path).kind == lib.PAH_DIRECTORY:
                removed += self._remove(path)
                self._session.call(lib.pah_rmdir, path)
            else:
                self._session.call(lib.pah_unlink, path)
            removed += 1
        return removed

    def _names(self, folder: str) -> list[str]:
        names = []
        text = ffi.new("char[]", _NAME_SIZE)
        directory = self._session.call(lib.pah_opendir, folder)
        try:
            while self._session.call(lib.pah_readdir, directory, text, _NAME_SIZE):
                names.append(ffi.string(text).decode())
        finally:
            self._session.call(lib.pah_closedir, directory)
        return [name for name in names if name not in {".", ".."}]

    # --- what trials share

    @property
    def _session(self) -> Session:
        if self._session_opened is None:
            raise Skipped("nobody is logged in")
        return self._session_opened

    @property
    def _archive(self) -> HpssArchive:
        if self._archive_opened is None:
            raise Skipped("the archive is not open")
        return self._archive_opened

    @contextlib.contextmanager
    def _guess(self, name: str) -> Iterator[None]:
        """Refute a guess if the block fails; else confirm it, unless it is skipped."""
        try:
            yield
        except Skipped:
            raise
        except Exception:
            self._learnt[name] = False
            raise
        self._learnt[name] = True

    def _refused(self, code: int, function: Callable[..., int], *args: object) -> None:
        try:
            self._session.call(function, *args)
        except HpssError as exc:
            wanted = errno.errorcode[code]
            _ensure(exc.code == code, f"refused, but not by {wanted}: {exc}")
        else:
            raise Failed(f"not refused, {errno.errorcode[code]} was expected")

    def _trial_call(self, what: str, function: Callable[..., int], path: str) -> None:
        """Call what ordinary users may not be allowed."""
        try:
            self._session.call(function, path)
        except HpssError as exc:
            raise Skipped(f"this user cannot {what} here: {exc}") from exc

    def _staged_once(self, file_id: int) -> str:
        """Ask again for what was asked for just now."""
        build = self._session.build
        if not (build.has_batch or build.has_stage_status):
            raise Skipped("this release tells no state of a stage")
        if self._archive.status(file_id).online:
            raise Skipped("it is on disk already, and a second request not needed")
        _ensure(
            self._state(file_id) != lib.PAH_STAGE_UNKNOWN,
            "its state is not known: each further request would be a new one",
        )
        self._archive.stage(file_id)
        return "asked for; the second time its state is known, so nothing is sent"

    def _state(self, file_id: int) -> int:
        staging = Staging(self._session, self._options)
        return staging.state(file_id, *self._look(file_id))

    def _path(self, file_id: int) -> str:
        return f"{self._folder}{id2filename(file_id)}"

    def _look(self, file_id: int) -> tuple[str, RawStatus]:
        path = self._path(file_id)
        return path, self._raw(path)

    def _raw(self, path: str) -> RawStatus:
        raw: RawStatus = ffi.new("pah_status *")
        self._session.call(lib.pah_get_status, path, raw)
        return raw

    def _lstat(self, path: str) -> _Stat:
        found = ffi.new("pah_stat *")
        self._session.call(lib.pah_lstat, path, found)
        return _Stat(kind=found.kind, mode=found.mode, links=found.links)

    def _write(self, name: str, data: bytes, *, mode: int = 0o644) -> str:
        """Make a file past the archive and return its path."""
        with self._created(name, size=len(data), mode=mode) as fd:
            while data:
                data = data[self._session.call(lib.pah_write, fd, data, len(data)) :]
        return f"{self._folder}/{name}"

    @contextlib.contextmanager
    def _created(self, name: str, *, size: int = 0, mode: int = 0o644) -> Iterator[int]:
        fd = self._session.call(
            lib.pah_create,
            f"{self._folder}/{name}",
            mode,
            size,
            self._options.class_of_service or 0,
        )
        try:
            yield fd
        finally:
            self._session.call(lib.pah_close, fd)

    def _store(
        self,
        file_id: int,
        data: bytes,
        *,
        digests: Mapping[str, bytes] | None = None,
        overwrite: bool = False,
    ) -> None:
        with self._archive.create(
            file_id, size=len(data), mtime_ns=_MTIME_NS, overwrite=overwrite
        ) as writer:
            writer.digests.update(digests or {})
            writer.write(data)

    def _opened(self, file_id: int) -> ArchiveReader:
        # With a recall: the site's class of service may be of tape only.
        return self._archive.open(file_id, recall=True)

    def _ensure_version(self) -> None:
        version = self._archive.status(_STAGED).version
        _ensure(version == self._version, f"version {self._version} became {version}")

    def _ensure_digests(self, file_id: int) -> None:
        kept = dict(self._archive.digests(file_id))
        _ensure(kept == _DIGESTS, f"{len(kept)} digests are kept, and not those given")


@attrs.frozen(kw_only=True)
class _Stat:
    kind: int
    mode: int
    links: int


#: Name -> trial, and the trials that must have passed before.
TRIALS: Mapping[str, tuple[Callable[[Trials], str], tuple[str, ...]]] = {
    "login": (Trials.login, ()),
    "ping": (Trials.ping, ("login",)),
    "mkdir": (Trials.make_directory, ("login",)),
    "archive": (Trials.open_archive, ("mkdir",)),
    "put": (Trials.put, ("archive",)),
    "status": (Trials.status, ("put",)),
    "read": (Trials.read, ("put",)),
    "mode": (Trials.mode, ("mkdir",)),
    "hints": (Trials.hints, ("mkdir",)),
    "fsync": (Trials.fsync, ("mkdir",)),
    "seek": (Trials.seek, ("mkdir",)),
    "link": (Trials.link, ("mkdir",)),
    "rename": (Trials.rename, ("mkdir",)),
    "attributes": (Trials.attributes, ("mkdir",)),
    "digests": (Trials.digests, ("put",)),
    "overwrite": (Trials.overwrite, ("put",)),
    "adopt": (Trials.adopt, ("archive",)),
    "migrate": (Trials.migrate, ("archive",)),
    "purge": (Trials.purge, ("migrate",)),
    "open offline": (Trials.open_offline, ("purge",)),
    "stage": (Trials.stage, ("purge",)),
    "stage a batch": (Trials.stage_batch, ("purge",)),
    "recall": (Trials.recall, ("stage",)),
    "trash": (Trials.trash, ("archive",)),
    "delete": (Trials.delete, ("archive",)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials and return the exit status: 0 only if none failed."""
    parser = argparse.ArgumentParser(
        prog="python -m pacifica_archive_hpss.selftest",
        description="Try the HPSS of this site in a new directory below the prefix.",
    )
    parser.add_argument("--prefix", metavar="PATH", help="the same as -o prefix=PATH")
    parser.add_argument(
        *("-o", "--option"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the backend hpss; repeatable",
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="INI file")
    parser.add_argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for a recall [default: 600]",
    )
    given = parser.parse_args(arguments)
    try:
        options = _options(given)
    except ConfigError as exc:
        parser.error(str(exc))
    _say(
        f"pacifica-archive-hpss {importlib.metadata.version('pacifica-archive-hpss')},"
        f" Python {platform.python_version()}"
    )
    if remark := HpssArchive.remark():
        _say(f"remark: {remark}")
    return 0 if Trials(options, wait_s=given.wait, say=_say).run() else 1


def _options(given: argparse.Namespace) -> HpssOptions:
    pairs = dict(text.partition("=")[::2] for text in given.option)
    if given.prefix is not None:
        pairs["prefix"] = given.prefix
    options: HpssOptions = load_options(
        HpssArchive,
        file=find_config(given.config, os.environ),
        env=os.environ,
        given=pairs,
    )
    return options


def _say(line: str) -> None:
    # At once: what does not come after it is what hangs.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _ensure(holds: bool, otherwise: str) -> None:  # noqa: FBT001 (an assertion)
    if not holds:
        raise Failed(otherwise)


def _bitfile(raw: RawStatus) -> bytes:
    text: bytes = ffi.string(raw.bitfile.id)
    return text


def _described(exc: BaseException) -> str:
    """Say what went wrong on one line, with the codes that lie behind it."""
    words = [str(exc) if isinstance(exc, Failed) else f"{type(exc).__name__}: {exc}"]
    if isinstance(exc.__cause__, OSError):
        words.append(f"({exc.__cause__})")
    return " ".join(" ".join(words).split())


if __name__ == "__main__":
    sys.exit(main())
