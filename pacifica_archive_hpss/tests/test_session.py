"""The login: one for a process, renewed when it has expired, never used by a child."""

from __future__ import annotations

import errno
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from endings import end_in_a_call, end_with_a_child, log_in
from kit import KEYTAB, USER, process_simulator

from pacifica_archive_core import (
    AccessDenied,
    ArchiveUnavailable,
    ConfigError,
)
from pacifica_archive_core.testing.base import refusal
from pacifica_archive_core.testing.child import in_forked_child, result
from pacifica_archive_hpss import HpssOptions
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.descriptors import Descriptors
from pacifica_archive_hpss.errors import HpssError
from pacifica_archive_hpss.session import Credentials, Session, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_hpss.simulator import Simulator

pytestmark = pytest.mark.timeout(60)

_late_s = itertools.count(100, 100)
_monotonic = time.monotonic
WHO = Credentials(user=USER, auth=KEYTAB, mechanism="unix")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Have no violation and nothing left open after each test."""
    simulator = process_simulator()
    simulator.clear_rules()
    simulator.counters(reset=True)
    yield simulator
    simulator.clear_rules()
    simulator.knob("expired", 0)
    after = simulator.counters(reset=True)

    assert ([], 0) == (after["violations"], after["open_files"])


@pytest.fixture
def session(simulator: Simulator) -> Session:
    found = Session.shared(WHO)
    simulator.counters(reset=True)
    return found


def look(session: Session, path: str = "/", *, retry: bool = False) -> int:
    return session.call(lib.pah_get_status, path, ffi.new("pah_status *"), retry=retry)


def calls(simulator: Simulator, function: str) -> int:
    return simulator.counters()["calls"].get(f"hpss_{function}", 0)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch, session: Session) -> Session:
    """Let the login be of more than a minute ago."""
    put_forward(monkeypatch)
    return session


def put_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the clock forward, beyond what any test before this one took it to."""
    late_s = next(_late_s)
    monkeypatch.setattr(time, "monotonic", lambda: _monotonic() + late_s)


# --- one login


def test_all_who_have_the_same_credentials_share_a_session(session: Session) -> None:
    assert session is Session.shared(WHO)


@pytest.mark.usefixtures("simulator")
def test_threads_that_come_at_once_share_a_session() -> None:
    start = threading.Barrier(8, timeout=30)

    def share() -> int:
        start.wait()
        return id(Session.shared(WHO))

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: share(), range(8)))

    assert 1 == len(found)


@pytest.mark.usefixtures("session")
def test_other_credentials_are_refused() -> None:
    with pytest.raises(ConfigError, match="one login"):
        Session.shared(Credentials(user="other", auth=KEYTAB, mechanism="unix"))


def test_it_knows_what_it_was_compiled_with(session: Session) -> None:
    assert (build(), True) == (session.build, session.build.simulator)


# --- calls


def test_a_call_returns_its_number(session: Session) -> None:
    assert 0 == look(session)


def test_a_call_that_fails_says_what_hpss_said(session: Session) -> None:
    with pytest.raises(HpssError, match=r"hpss_FileGetXAttributes: No such.*rc -2"):
        look(session, "/nothing")


def test_a_failure_names_no_path(session: Session) -> None:
    assert "nothing" not in str(refusal(look, session, "/nothing"))


def test_a_text_is_not_cut_at_a_nul(session: Session) -> None:
    with pytest.raises(ValueError, match="NUL"):
        look(session, "/\0")


@pytest.mark.parametrize("code", ["EBUSY", "EAGAIN", "ECONNRESET", "HPSS_ESTALE"])
def test_what_may_be_done_twice_is_tried_thrice(
    simulator: Simulator, session: Session, code: str
) -> None:
    simulator.rule(f"FileGetXAttributes:1-2:-{code}")
    look(session, retry=True)

    assert 3 == calls(simulator, "FileGetXAttributes")


def test_the_third_failure_is_told(simulator: Simulator, session: Session) -> None:
    simulator.rule("FileGetXAttributes:*:-EBUSY")
    error = refusal(lambda: look(session, retry=True))

    assert (errno.EBUSY, 3) == (
        getattr(error, "code", None),
        calls(simulator, "FileGetXAttributes"),
    )


@pytest.mark.parametrize(
    ("code", "retry"), [("EBUSY", False), ("ENOENT", True), ("EIO", True)]
)
def test_other_failures_are_told_at_once(
    simulator: Simulator, session: Session, code: str, *, retry: bool
) -> None:
    simulator.rule(f"FileGetXAttributes:1:-{code}")
    refusal(lambda: look(session, retry=retry))

    assert 1 == calls(simulator, "FileGetXAttributes")


# --- a login that expires


def test_an_expired_login_is_renewed(simulator: Simulator, later: Session) -> None:
    simulator.knob("expired", 1)
    look(later)

    assert 1 == simulator.counters()["logins"]


def test_a_young_login_is_not_renewed(simulator: Simulator, session: Session) -> None:
    before = session.generation
    simulator.knob("expired", 1)
    error = refusal(look, session)

    assert (errno.EACCES, before, 0) == (
        getattr(error, "code", None),
        session.generation,
        simulator.counters()["logins"],
    )


def test_a_login_is_renewed_once_for_many_threads(
    simulator: Simulator, later: Session
) -> None:
    simulator.knob("expired", 1)
    start = threading.Barrier(8, timeout=30)

    def ask() -> int:
        start.wait()
        return look(later)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(), range(8)))

    assert ([0] * 8, 1) == (found, simulator.counters()["logins"])


def test_a_file_that_is_refused_does_not_end_the_login(
    simulator: Simulator, later: Session
) -> None:
    """It would end all transfers of the process, each minute."""
    simulator.mkdir("/refused")
    simulator.rule("FileGetXAttributes@/refused:*:-EACCES")
    error = refusal(look, later, "/refused")

    assert (errno.EACCES, 0) == (
        getattr(error, "code", None),
        simulator.counters()["logins"],
    )


def test_a_renewal_waits_for_the_calls_in_flight(
    simulator: Simulator, later: Session
) -> None:
    """Else the simulator would tell of a violation, and HPSS might deadlock."""
    simulator.mkdir("/slow")
    simulator.rule("FileGetXAttributes@/slow:1:hang")
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(look, later, "/slow")
        while calls(simulator, "FileGetXAttributes") == 0:
            time.sleep(0.001)
        simulator.knob("expired", 1)
        renewing = pool.submit(look, later)
        while calls(simulator, "Lstat") == 0:
            time.sleep(0.001)
        waited = simulator.counters()["logins"] == 0
        simulator.clear_rules()
        found = [slow.result(30), renewing.result(30)]

    assert (True, [0, 0], 1) == (waited, found, simulator.counters()["logins"])


def test_a_renewal_that_fails_leaves_no_call_to_c(
    simulator: Simulator, later: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a login they may hang; and it is not tried again for a minute."""
    simulator.knob("expired", 1)
    simulator.rule("SetLoginCred:1:-EPERM")
    errors = [getattr(refusal(look, later), "code", None) for _ in range(3)]
    tried = calls(simulator, "SetLoginCred")
    put_forward(monkeypatch)
    back = look(later)

    assert ([errno.EACCES, errno.EPERM, errno.EPERM], 1, 0) == (errors, tried, back)


def test_a_login_whose_reply_was_lost_is_ended_before_the_next(
    simulator: Simulator, later: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HPSS has it, and would refuse another one for as long as the process lives."""
    simulator.knob("expired", 1)
    simulator.rule("SetLoginCred:1:lost-ECONNRESET")
    code = getattr(refusal(look, later), "code", None)
    put_forward(monkeypatch)

    assert (errno.EACCES, 0) == (code, look(later))


def test_a_descriptor_of_an_earlier_login_is_not_given_to_c(
    simulator: Simulator, later: Session
) -> None:
    """Its number may be another file's by now."""
    simulator.mkdir("/directory")
    descriptors = Descriptors(later, limit=2)
    directory = descriptors.open_directory("/directory")
    simulator.knob("expired", 1)
    look(later)
    simulator.counters(reset=True)
    error = refusal(lambda: list(directory.names()))
    directory.release()

    assert (errno.EBADF, 0, 0) == (
        getattr(error, "code", None),
        calls(simulator, "Readdir"),
        calls(simulator, "Closedir"),
    )


# --- connections that are lost


def lose_connections(simulator: Simulator, session: Session) -> list[object]:
    """Let HPSS refuse all calls until the next login; return what two calls say."""
    simulator.rule("FileGetXAttributes:1:drop-ECONNRESET")
    return [getattr(refusal(look, session), "code", None) for _ in range(2)]


def test_connections_lost_for_long_are_made_by_a_new_login(
    simulator: Simulator, later: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a server would be of no use until somebody starts it anew."""
    codes = lose_connections(simulator, later)
    put_forward(monkeypatch)
    back = look(later)

    assert ([errno.ECONNRESET, errno.ECONNREFUSED], 0, 1) == (
        codes,
        back,
        simulator.counters()["logins"],
    )


def test_connections_lost_for_a_moment_end_no_login(
    simulator: Simulator, later: Session
) -> None:
    """A login ends all transfers, and a server that is started anew comes back."""
    before = later.generation
    simulator.knob("down", 1)
    refusal(look, later)
    simulator.knob("down", 0)
    look(later)

    assert (before, 0) == (later.generation, simulator.counters()["logins"])


def test_what_was_answered_meanwhile_ends_the_wait(
    simulator: Simulator, later: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two short failures are not one long one."""
    before = later.generation
    for _ in range(2):
        simulator.knob("down", 1)
        refusal(look, later)
        simulator.knob("down", 0)
        look(later)
        put_forward(monkeypatch)

    assert before == later.generation


# --- other processes


def in_child(call: Callable[[], object]) -> str:
    """Return what a call raises in a forked child."""
    found: str = in_forked_child(lambda: type(refusal(call)).__name__)
    return found


def test_a_forked_child_calls_nothing_of_c(
    simulator: Simulator, session: Session
) -> None:
    found = in_child(lambda: look(session))

    assert ("RuntimeError", 0) == (found, calls(simulator, "FileGetXAttributes"))


@pytest.mark.usefixtures("session")
def test_a_forked_child_is_told_to_open_archives_itself() -> None:
    assert ArchiveUnavailable.__name__ == in_child(lambda: Session.shared(WHO))


def options(**more: object) -> HpssOptions:
    given: dict[str, Any] = {"prefix": "/", "user": USER, "auth": KEYTAB, **more}
    return HpssOptions(**given)


def test_a_process_logs_out_at_its_end(simulator: Simulator) -> None:
    result(log_in, str(simulator.state), options())

    assert 1 == calls(simulator, "PurgeLoginCred")


def test_a_child_that_ends_does_not_log_its_parent_out(simulator: Simulator) -> None:
    result(end_with_a_child, str(simulator.state), options())

    assert 1 == calls(simulator, "PurgeLoginCred")


def test_a_process_that_ends_in_a_call_does_not_log_out(simulator: Simulator) -> None:
    """The library may not be cleaned up under a call, and this one never ends."""
    simulator.rule("FileGetXAttributes:1:hang")
    result(end_in_a_call, str(simulator.state), options())

    assert 0 == calls(simulator, "PurgeLoginCred")


@pytest.mark.parametrize("user", ["refused", "other"])
def test_a_refused_login_says_which_options_to_look_at(
    simulator: Simulator, user: str
) -> None:
    simulator.knob("refused_user", user)
    said = result(log_in, str(simulator.state), options(user=user))
    simulator.knob("refused_user", "")

    assert (True, True, True, False) == (
        said.startswith(AccessDenied.__name__),
        "user" in said,
        "auth" in said,
        f" {user}" in said,
    )


def test_an_unreachable_store_is_not_a_refused_login(simulator: Simulator) -> None:
    simulator.knob("down", 1)
    said = result(log_in, str(simulator.state), options())
    simulator.knob("down", 0)

    assert said.startswith(ArchiveUnavailable.__name__)
