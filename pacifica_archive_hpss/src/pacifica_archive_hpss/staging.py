"""
Asking HPSS for recalls from tape, without waiting for one and without asking twice.

Every request that is asked again takes a thread of the core server, and requests of one
id are done one after the other (DSI's ``stage.c``: one constant id throttled a whole
site). So ids differ for each file, or in batches for each cartridge, and are the same
in every process, and what is queued already is not asked for again.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import uuid
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveUnavailable,
    FileDamaged,
    FileError,
    NotSupported,
    Residency,
)
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.errors import NAME, HpssError, error_of
from pacifica_archive_hpss.residency import (
    RawStatus,
    bitfile_id,
    has_disk,
    levels_of,
    residency_of,
    tape_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pacifica_archive_hpss.archive import HpssOptions
    from pacifica_archive_hpss.session import Session

__all__ = ["Staging", "TooManyRecalls", "needs_stage", "request_id"]

#: Ids looked at before their requests are put in the order of the tapes.
_WINDOW = 1000
#: Requests asked after, when too many are known to be unfinished.
_PROBES = 8
#: Seconds after which a request is taken for done where HPSS cannot be asked.
_FORGET_S = 3600.0
#: Seconds to wait for a thread that is asking for the same file.
_CLAIM_S = 60.0
#: Of request ids: that of this project, drawn once.
_NAMESPACE = uuid.UUID("6f0f4d0e-5e0a-4f43-9c55-0d3f6a3f4c1b")
_ONLINE = frozenset({Residency.DISK, Residency.DISK_AND_TAPE})


def request_id(site: str, subject: str) -> bytes:
    """
    Return the 16 bytes that name a request everywhere.

    Args:
        site: the option ``sitename``.
        subject: the id of a bitfile; for a batch, the cartridge that all its files
            are on, so that whichever of them are asked for, it is the same.
    """
    return uuid.uuid5(_NAMESPACE, f"{site}/{subject}").bytes


def needs_stage(file_id: int, raw: RawStatus) -> bool:
    """
    Tell whether the file has to be recalled before it is read.

    Raises:
        FileDamaged: no level has it, or none is known to.
        NotSupported: there is no disk to recall it to.
    """
    if raw.kind != lib.PAH_FILE:
        raise FileDamaged(file_id, "what has its name is no file")
    residency = residency_of(raw.size, levels_of(raw))
    if residency in _ONLINE:
        return False
    if residency is Residency.LOST:
        raise FileDamaged(file_id, "no level of the store has its bytes")
    if residency is Residency.UNKNOWN:
        raise FileDamaged(file_id, "the store does not know where its bytes are")
    if not has_disk(raw):
        raise NotSupported(
            f"file {file_id} is of a class of service without disk: read it with recall"
        )
    return True


@attrs.frozen(kw_only=True)
class _Wanted:
    """A file that is to be recalled."""

    file_id: int
    path: str
    raw: RawStatus
    bitfile: str


class TooManyRecalls(ArchiveUnavailable):
    """As many recalls as an option allows are not done yet."""


class Staging:
    """
    Requests for recalls. Used by any number of threads.

    None is ever sent a second time because of its failure: it may have arrived.

    Args:
        session: the login.
        options: ``sitename``, ``callback_address`` and ``max_outstanding`` count.
    """

    def __init__(self, session: Session, options: HpssOptions) -> None:
        self._session = session
        self._site = options.sitename
        self._address = options.callback_address
        self._limit = options.max_outstanding
        self._callback: object = None
        self._lock = threading.Condition()
        #: Bitfiles that a thread is asking for at this moment.
        self._claimed: set[str] = set()
        #: Those asked for one by one and not known to be done, oldest first, with
        #: the time of asking.
        self._outstanding: dict[str, tuple[_Wanted, float]] = {}

    def stage(self, file_id: int, path: str, raw: RawStatus) -> bool:
        """
        Ask for one file: at most two calls besides the one that gave ``raw``.

        Returns:
            True if it is on disk already.

        Raises:
            FileDamaged, NotSupported: as for ``needs_stage``.
            TooManyRecalls: as it says.
            ArchiveUnavailable: the store failed.
        """
        wanted = _wanted(file_id, path, raw)
        if not needs_stage(file_id, raw):
            self._forget(wanted.bitfile)
            return True
        with self._claiming([wanted]):
            self._ask_for(wanted)
        return False

    def stage_many(
        self, file_ids: Iterable[int], look: Callable[[int], tuple[str, RawStatus]]
    ) -> Iterator[tuple[int, bool | ArchiveError]]:
        """
        Ask for many files in the order of the tapes; yield in the order of the ids.

        Args:
            file_ids: taken a thousand at a time.
            look: returns path and status of an id, or raises ArchiveErrors.

        Raises:
            ArchiveUnavailable: the store failed.
        """
        ids = iter(file_ids)
        while window := list(itertools.islice(ids, _WINDOW)):
            answers = [self._look(file_id, look) for file_id in window]
            wanted = {
                answer.bitfile: answer
                for answer in answers
                if isinstance(answer, _Wanted)
            }
            refusals = self._ask_for_all(
                sorted(wanted.values(), key=lambda one: tape_order(one.raw))
            )
            for file_id, answer in zip(window, answers, strict=True):
                if isinstance(answer, _Wanted):
                    yield file_id, refusals.get(answer.bitfile, False)
                else:
                    yield file_id, answer

    def state(self, file_id: int, path: str, raw: RawStatus) -> int:
        """
        Return what HPSS says of a file's recall: one of ``PAH_STAGE_...``.

        Raises:
            HpssError: as the session says.
        """
        return self._state(_wanted(file_id, path, raw))

    def _look(
        self, file_id: int, look: Callable[[int], tuple[str, RawStatus]]
    ) -> bool | ArchiveError | _Wanted:
        try:
            path, raw = look(file_id)
            wanted = _wanted(file_id, path, raw)
            if needs_stage(file_id, raw):
                return wanted
        except (FileError, AccessDenied, NotSupported) as exc:
            return exc
        self._forget(wanted.bitfile)
        return True

    def _ask_for_all(self, wanted: Sequence[_Wanted]) -> dict[str, ArchiveError]:
        """Ask for files, which are in the order of the tapes; return the refusals."""
        if self._session.build.has_batch:
            with self._claiming(wanted):
                try:
                    return self._ask_in_batches(wanted)
                except HpssError as exc:
                    raise error_of(exc) from exc
        refusals: dict[str, ArchiveError] = {}
        for one in wanted:
            try:
                with self._claiming([one]):
                    self._ask_for(one)
            except (FileError, AccessDenied, NotSupported, TooManyRecalls) as exc:
                refusals[one.bitfile] = exc
        return refusals

    def _ask_in_batches(self, wanted: Sequence[_Wanted]) -> dict[str, ArchiveError]:
        # All are asked after first, so that what is left fills whole batches.
        idle = [
            one
            for batch in _batches(wanted)
            for one, state in zip(
                batch, self._states(batch, _cartridge(batch)), strict=True
            )
            if state == lib.PAH_STAGE_UNKNOWN
        ]
        refusals: dict[str, ArchiveError] = {}
        for batch in _batches(idle):
            try:
                codes = self._submit(batch)
            except HpssError as exc:
                # What is said of some files must not keep the others from tape.
                answers = {one.bitfile: _answer(exc, one) for one in batch}
                if any(isinstance(a, ArchiveUnavailable) for a in answers.values()):
                    raise
                refusals |= answers
                continue
            for one, code in zip(batch, codes, strict=True):
                if code not in {0, lib.PAH_NOT_ALL_MOVED}:
                    said = HpssError(code, "said of one file of a batch of stages")
                    refusals[one.bitfile] = _answer(said, one)
        return refusals

    def _ask_for(self, wanted: _Wanted) -> None:
        """Ask for one file, unless that has been done."""
        try:
            if self._state(wanted) != lib.PAH_STAGE_UNKNOWN:
                return
            self._ensure_room(wanted.file_id)
            self._session.call(
                lib.pah_stage,
                wanted.path,
                wanted.raw.size,
                request_id(self._site, wanted.bitfile),
                self._resolved(),
            )
        except HpssError as exc:
            if exc.unclear:
                self._remember(wanted)
            raise error_of(exc, wanted.file_id, NAME) from exc
        self._remember(wanted)

    def _state(self, wanted: _Wanted) -> int:
        """Ask after the request for one file, whoever sent it."""
        build = self._session.build
        if build.has_batch:
            # What a batch asked for is found too, if HPSS looks by the bitfile (a
            # guess, but for the id DSI gives with it); else it is asked for again.
            (state,) = self._states([wanted], wanted.bitfile)
            return state
        if build.has_stage_status:
            return self._session.call(
                lib.pah_stage_state,
                ffi.addressof(wanted.raw, "bitfile"),
                request_id(self._site, wanted.bitfile),
                retry=True,
            )
        with self._lock:
            _, asked_s = self._outstanding.get(wanted.bitfile, (wanted, -_FORGET_S))
        recent = time.monotonic() - asked_s < _FORGET_S
        return int(lib.PAH_STAGE_QUEUED if recent else lib.PAH_STAGE_UNKNOWN)

    def _states(self, batch: Sequence[_Wanted], subject: str) -> list[int]:
        """Ask after the requests for files that were asked for by one id."""
        states = ffi.new("int32_t[]", len(batch))
        self._session.call(
            lib.pah_batch_state,
            *self._batch_arguments(batch, subject),
            states,
            retry=True,
        )
        return list(states)

    def _submit(self, batch: Sequence[_Wanted]) -> list[int]:
        """Ask for a batch; return what was said of each of its files."""
        codes = ffi.new("int32_t[]", len(batch))
        self._session.call(
            lib.pah_batch_stage,
            *self._batch_arguments(batch, _cartridge(batch)),
            self._resolved(),
            codes,
        )
        return list(codes)

    def _batch_arguments(
        self, batch: Sequence[_Wanted], subject: str
    ) -> tuple[object, ...]:
        bitfiles = ffi.new("pah_bitfile[]", [one.raw.bitfile for one in batch])
        return len(batch), bitfiles, request_id(self._site, subject)

    def _resolved(self) -> object:
        """
        Return where HPSS is to call back; NULL only if no address was given.

        It is looked up once: DNS may be slow, and a NULL turns monitors red.
        """
        if self._address is None:
            return ffi.NULL
        if self._callback is None:
            host, _, port = self._address.rpartition(":")
            callback = ffi.new("pah_callback *")
            self._session.call(
                lib.pah_resolve,
                host.strip("[]"),
                port,
                callback,
                retry=True,
            )
            self._callback = callback
        return self._callback

    @contextlib.contextmanager
    def _claiming(self, wanted: Sequence[_Wanted]) -> Iterator[None]:
        """
        Let no other thread ask for these files meanwhile; HPSS then tells the next.

        Raises:
            ArchiveUnavailable: another one is asking and does not come to an end.
        """
        bitfiles = {one.bitfile for one in wanted}
        with self._lock:
            if not self._lock.wait_for(
                lambda: self._claimed.isdisjoint(bitfiles), _CLAIM_S
            ):
                raise ArchiveUnavailable("the archive: others ask for the same files")
            self._claimed |= bitfiles
        try:
            yield
        finally:
            with self._lock:
                self._claimed -= bitfiles
                self._lock.notify_all()

    def _ensure_room(self, file_id: int) -> None:
        """
        Count what this process asked for one by one and is not known to be done.

        When that is too much, a few of the oldest are asked after.
        """
        with self._lock:
            excess = len(self._outstanding) - self._limit + 1
            oldest = [one for one, _ in self._outstanding.values()][:_PROBES]
        if excess <= 0:
            return
        for one in oldest:
            if self._state(one) == lib.PAH_STAGE_UNKNOWN:
                self._forget(one.bitfile)
                return
            # Behind the others, so that the next call asks after those.
            with self._lock:
                if entry := self._outstanding.pop(one.bitfile, None):
                    self._outstanding[one.bitfile] = entry
        raise TooManyRecalls(f"file {file_id}: {self._limit} recalls are under way")

    def _remember(self, wanted: _Wanted) -> None:
        with self._lock:
            self._outstanding[wanted.bitfile] = wanted, time.monotonic()

    def _forget(self, bitfile: str) -> None:
        with self._lock:
            self._outstanding.pop(bitfile, None)


def _wanted(file_id: int, path: str, raw: RawStatus) -> _Wanted:
    return _Wanted(file_id=file_id, path=path, raw=raw, bitfile=bitfile_id(raw))


def _batches(wanted: Sequence[_Wanted]) -> Iterator[Sequence[_Wanted]]:
    """Yield batches of files on one cartridge each, in the order that they are in."""
    for _, group in itertools.groupby(wanted, key=lambda one: tape_order(one.raw)[0]):
        files = list(group)
        for start in range(0, len(files), lib.PAH_BATCH):
            yield files[start : start + lib.PAH_BATCH]


def _answer(exc: HpssError, wanted: _Wanted) -> ArchiveError:
    """Return the error that is to be yielded, not raised, for a file."""
    error = error_of(exc, wanted.file_id, NAME)
    error.__cause__ = exc
    return error


def _cartridge(batch: Sequence[_Wanted]) -> str:
    return f"cartridge {tape_order(batch[0].raw)[0]}"
