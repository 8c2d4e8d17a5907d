"""The one login of this process, and every call that is made with it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from pacifica_archive_core import AccessDenied, ArchiveUnavailable, ConfigError
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.errors import HpssError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    T = TypeVar("T")

__all__ = ["Build", "Credentials", "Session", "build"]

_log = logging.getLogger(__name__)

#: Seconds to wait before the second and the third try.
_PAUSES_S = (0.05, 0.2)
#: A login younger than this has not expired.
_LOGIN_S = 60.0
#: How long a renewal waits for the calls in flight; a recall may take hours.
_DRAIN_S = 10.0
#: How long a call waits for a renewal.
_RENEWAL_S = 60.0
#: How long after a login that failed for another reason than who we are.
_PATIENCE_S = 10.0
_DENIED = frozenset({errno.EACCES, errno.EPERM})
#: HPSS may answer so until the next login, when it has lost a connection (a guess).
_LOST = frozenset({errno.ECONNREFUSED, errno.ENOTCONN})
_LEVEL_SIZE = 128


@attrs.frozen(kw_only=True)
class Credentials:
    """Who logs in, and how: user, path of the keytab, "unix" or "krb5"."""

    user: str
    auth: str
    mechanism: str


@attrs.frozen(kw_only=True)
class Build:
    """What the extension module was compiled against and is linked with."""

    major: int
    minor: int
    simulator: bool
    has_stage_status: bool
    has_batch: bool
    has_ping: bool


def build() -> Build:
    """Return what the extension module was compiled against; needs no login."""
    found = ffi.new("pah_build *")
    lib.pah_describe(found)
    return Build(
        major=found.major,
        minor=found.minor,
        simulator=bool(found.simulator),
        has_stage_status=bool(found.has_stage_status),
        has_batch=bool(found.has_batch),
        has_ping=bool(found.has_ping),
    )


class Session:
    """
    A login, which HPSS has one of for a whole process; see ``Session.shared``.

    Used by any number of threads. In a forked child nothing of C is called: what
    the library did for its parent (connections, threads) is not there.

    Attributes:
        build: what the extension module was compiled against.
        mode_sticks: whether a file has the mode that it was created with; None as
            long as that was not looked at.
    """

    _lock: ClassVar = threading.Lock()
    #: The process that may call C; set before C is called, and before the lock is
    #: taken, so that a child that was forked meanwhile does not wait for it.
    _owner: ClassVar[int | None] = None
    _shared: ClassVar[Session | None] = None

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.build = build()
        self.mode_sticks: bool | None = None
        self._pid = os.getpid()
        # Its lock may be taken twice by one thread (it is an RLock): the garbage
        # collector may close a file in the middle of anything.
        self._gate = threading.Condition()
        self._in_flight = 0
        #: The thread that is logging in anew.
        self._renewer: int | None = None
        self._ended = False
        #: Counts logins; descriptors of an earlier one are not for C any more.
        self.generation = 0
        #: Why nobody is logged in, if so.
        self._refusal: HpssError | None = None
        #: Since when no call has reached HPSS, if so.
        self._lost_since: float | None = None
        self._log_in()

    @classmethod
    def shared(cls, credentials: Credentials) -> Session:
        """
        Return the session of this process, after logging in if need be.

        Raises:
            ArchiveUnavailable: HPSS does not answer, or was used before this process
                was forked.
            ConfigError: this process is logged in with other credentials.
            AccessDenied: they are not accepted.
        """
        if cls._owner not in {None, os.getpid()}:
            raise ArchiveUnavailable(
                "HPSS was used before the fork: open archives after it"
            )
        cls._owner = os.getpid()
        # The first login may be one that never ends.
        if not cls._lock.acquire(timeout=_RENEWAL_S):
            raise ArchiveUnavailable("HPSS: another thread is logging in")
        try:
            session = cls._shared
            if session is None:
                try:
                    session = cls(credentials)
                except HpssError as exc:
                    raise _refused(exc) from exc
                cls._shared = session
                atexit.register(session.end)
        finally:
            cls._lock.release()
        if session.credentials != credentials:
            raise ConfigError(
                "options 'user', 'auth' and 'mechanism' of hpss: this process is"
                " logged in with others, and HPSS allows one login"
            )
        return session

    def call(
        self, function: Callable[..., int], *args: object, retry: bool = False
    ) -> int:
        """
        Call one function of the shim, whose error record is added.

        Args:
            function: one of ``lib.pah_...``.
            args: its arguments; text is sent as UTF-8.
            retry: try again, a little later, what failed for a transient reason;
                only for what may be done twice.

        Returns:
            What it returned, 0 or more.

        Raises:
            HpssError: it failed.
            RuntimeError: this is a forked child.
        """
        into: list[int] = []
        if retry:
            self.retrying(lambda: self.call_into(into, function, *args))
        else:
            self.call_into(into, function, *args)
        return into[1]

    def call_into(
        self,
        into: list[int],
        function: Callable[..., int],
        *args: object,
        generation: int | None = None,
    ) -> None:
        """
        Call as ``call`` does, and put the login's generation and the result in a list.

        Nothing of Python runs between C and the list, so that a descriptor is known
        to whom the list belongs even if a KeyboardInterrupt follows at once.

        Args:
            into: empty after a failure.
            function: one of ``lib.pah_...``.
            args: its arguments.
            generation: call only with the login of this generation, or raise EBADF.
        """
        converted = [_to_c(arg) for arg in args]
        before = self.generation
        try:
            self._call_once(into, function, converted, generation)
        except HpssError as exc:
            try:
                renewed = self._renew(before, exc)
            except HpssError as failure:
                # What was asked for first is what counts: it may have been done.
                raise exc from failure
            if not renewed or exc.unclear:
                raise
            self._call_once(into, function, converted, generation)

    def retrying(self, operation: Callable[[], T]) -> T:
        """Do what may be done twice, and up to twice again if it fails so."""
        for pause_s in _PAUSES_S:
            try:
                return operation()
            except HpssError as exc:
                if not exc.transient:
                    raise
                _log.info("tried again in %s s: %s", pause_s, exc)
            # Not an event, whose lock the garbage collector may meet: it may close a
            # file in the middle of the wait.
            time.sleep(pause_s)
        return operation()

    @property
    def usable(self) -> bool:
        """Whether this process may call C."""
        return self._pid == os.getpid()

    def end(self) -> None:
        """
        Log out, for good; registered to be called when the process ends.

        Not if a call is in flight: it may be one that never ends, and the library
        may not be cleaned up under it.
        """
        if not self.usable:
            return
        self._ended = True
        with self._gate:
            if self._in_flight or self._renewer or self._refusal:
                return
            self._retire("this process is ending")
        lib.pah_logout()

    # --- one call

    def _call_once(
        self,
        into: list[int],
        function: Callable[..., int],
        args: list[Any],
        generation: int | None,
    ) -> None:
        error = ffi.new("pah_error *")
        with self._flight(generation) as present:
            into[:] = [present]
            # The loop is in C: extend() takes from map(), which calls the function.
            into.extend(map(function, *([arg] for arg in args), [error]))
        if -into[1] not in _LOST:
            self._lost_since = None
        if into[1] < 0:
            into.clear()
            raise _error_in(error)

    @contextlib.contextmanager
    def _flight(self, generation: int | None = None) -> Iterator[int]:
        """Count a call, when there is a login and none is being made."""
        if not self.usable:
            raise RuntimeError(
                "HPSS was logged in by another process: open archives after the fork"
            )
        with self._gate:
            self._wait_for_renewal()
            if self._refusal is not None and not self._log_in_again():
                raise HpssError(*self._refusal.args)
            self._in_flight += 1
        try:
            # No login is made while we are counted.
            present = self.generation
            if generation is not None and generation != present:
                raise HpssError(errno.EBADF, "opened before the present login")
            yield present
        finally:
            with self._gate:
                self._in_flight -= 1
                self._gate.notify_all()

    # --- logins: but for the first one, the gate is ours where these are called

    def _wait_for_renewal(self) -> None:
        # By the garbage collector this may be a call in the middle of a renewal.
        if self._renewer == threading.get_ident() or not self._gate.wait_for(
            lambda: self._renewer is None, _RENEWAL_S
        ):
            raise HpssError(errno.EBUSY, "a login is under way")

    def _log_in(self) -> None:
        error = ffi.new("pah_error *")
        self._since = time.monotonic()
        who = self.credentials
        code = lib.pah_login(*map(_to_c, (who.user, who.mechanism, who.auth)), error)
        if code < 0:
            self._refusal = _error_in(error)
            raise self._refusal
        self._refusal = None
        self._compare_levels()

    def _retire(self, reason: str) -> None:
        """Have no descriptor of this login given to C, and no call made."""
        self.generation += 1
        self._refusal = HpssError(errno.ECONNREFUSED, f"not logged in: {reason}")

    def _log_in_again(self) -> bool:
        """Replace the login by a new one, at most once a minute; tell whether."""
        denied = self._refusal is None or self._refusal.code in _DENIED
        pause_s = _LOGIN_S if denied else _PATIENCE_S
        if self._ended or time.monotonic() - self._since < pause_s:
            return False
        self._renewer = threading.get_ident()
        try:
            if not self._gate.wait_for(lambda: not self._in_flight, _DRAIN_S):
                _log.warning("the login was not renewed: calls are in flight")
                # Else the next one would wait as long again.
                self._since = time.monotonic()
                return False
            was_logged_in = self._refusal is None
            self._retire("a renewal failed")
            # Others are kept out by the name of the renewer, and wait for a limited
            # time, which they could not do for the lock.
            with _unlocked(self._gate):
                if was_logged_in:
                    lib.pah_logout()
                self._log_in()
        except HpssError as exc:
            _log.warning("the login was not renewed: %s", exc)
            return False
        finally:
            self._renewer = None
            self._gate.notify_all()
        _log.info("the login was renewed")
        return True

    def _renew(self, generation: int, failure: HpssError) -> bool:
        """
        Log in anew if the login has expired, or its connections are gone for long.

        Returns:
            Whether there is another login than that of ``generation``.
        """
        if failure.code not in _DENIED and not self._is_lost(failure):
            return False
        if time.monotonic() - self._since >= _LOGIN_S:
            # The root is for everyone: if it is not refused, the file that was is
            # not ours, and nobody's transfers are to be ended for that.
            error = ffi.new("pah_error *")
            status = ffi.new("pah_stat *")
            with self._flight():
                code = lib.pah_lstat(b"/", status, error)
            if -code not in _DENIED | _LOST:
                return self.generation != generation
        with self._gate:
            self._wait_for_renewal()
            if self.generation != generation:
                return self._refusal is None
            return self._log_in_again()

    def _is_lost(self, failure: HpssError) -> bool:
        """Whether nothing but this was answered for a minute: a new login may help."""
        if failure.code not in _LOST:
            return False
        now_s = time.monotonic()
        # A server that is started anew is away for less, and a login would end all
        # transfers.
        if self._lost_since is None:
            self._lost_since = now_s
        return now_s - self._lost_since >= _LOGIN_S

    def _compare_levels(self) -> None:
        """Warn if the library is of another release than the headers were."""
        text = ffi.new("char[]", _LEVEL_SIZE)
        error = ffi.new("pah_error *")
        if lib.pah_level_text(text, _LEVEL_SIZE, error) < 0:
            return
        level = ffi.string(text).decode("ascii", "replace")
        compiled = f"{self.build.major}.{self.build.minor}"
        # How it is spelled is a guess: DSI's dsi.c compares its beginning so.
        if not level.startswith(compiled):
            _log.warning("HPSS is of level %s, compiled for %s", level, compiled)


@contextlib.contextmanager
def _unlocked(gate: threading.Condition) -> Iterator[None]:
    """Give up a lock, which is held once, for a with-block."""
    gate.release()
    try:
        yield
    finally:
        gate.acquire()


def _to_c(arg: object) -> object:
    if isinstance(arg, str):
        # C would take what stands before a NUL for the whole.
        if "\0" in arg:
            raise ValueError("a text for HPSS holds no NUL")
        return arg.encode()
    return arg


def _refused(exc: HpssError) -> AccessDenied | ArchiveUnavailable:
    if exc.code in _DENIED:
        return AccessDenied(
            "HPSS refuses the login: the options 'user' and 'auth' (keytab) of hpss"
            " are not accepted"
        )
    reason = os.strerror(exc.code)
    return ArchiveUnavailable(
        f"HPSS cannot be logged in to: {reason[:1].lower()}{reason[1:]}"
    )


def _error_in(error: Any) -> HpssError:  # noqa: ANN401 (cdata)
    def text(field: object) -> str:
        found: bytes = ffi.string(field)
        return found.decode("ascii", "replace")

    return HpssError(
        error.code,
        f"{text(error.function)}: {os.strerror(error.code)} (rc {error.rc}, errno"
        f" {error.local_errno}, HPSS {error.hpss_errno} {text(error.name)}, request"
        f" {text(error.request_id)})",
    )
