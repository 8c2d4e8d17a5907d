"""Facts 8.1: the login, and what is done before, without and across it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from simulated import USER, Client, eventually

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulated import Roots

    from pacifica_archive_hpss.simulator import Simulator


BEFORE_LOGIN = (
    ("Open", "/f", "O_RDONLY", 0),
    ("Stat", "/"),
    ("Lstat", "/"),
    ("FileGetAttributes", "/"),
    ("FileGetXAttributes", "/", 0, 0),
    ("Mkdir", "/d", 0o755),
    ("Unlink", "/f"),
    ("Rename", "/f", "/g"),
    ("Link", "/f", "/g"),
    ("Chmod", "/f", 0o644),
    ("Utime", "/f", 1),
    ("Opendir", "/"),
    ("StageCallBack", "/f", "01", "-"),
    ("UserAttrGetAttrs", "/f", "/hpss/k"),
    ("UserAttrSetAttrs", "/f", "/hpss/k", "v"),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_login_is_accepted(client: Client) -> None:
    assert 0 == client.rc("Stat", "/")


@pytest.mark.parametrize("words", BEFORE_LOGIN, ids=lambda words: words[0])
def test_a_call_before_the_login_is_refused(
    new_client: Callable[[], Client], words: tuple[str | int, ...]
) -> None:
    assert -errno.EPERM == new_client().rc(*words)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_before_the_login_is_refused_in_every_release(
    new_client: Callable[[], Client],
) -> None:
    assert -errno.EPERM == new_client().rc("Stat", "/")


def test_a_call_before_the_login_is_recorded(
    new_client: Callable[[], Client], simulator: Simulator
) -> None:
    new_client().rc("Stat", "/")

    assert any("Stat" in text for text in simulator.counters()["violations"])


@pytest.mark.parametrize(
    "words",
    [*BEFORE_LOGIN, ("GetLastHPSSErrno",), ("ClearLastHPSSErrno",)],
    ids=lambda words: words[0],
)
def test_with_the_knob_a_call_before_the_login_hangs(
    new_client: Callable[[], Client],
    simulator: Simulator,
    words: tuple[str | int, ...],
) -> None:
    simulator.knob("prelogin", "hang")
    client = new_client()
    client.send(*words)

    assert client.blocks()


def test_with_the_knob_the_login_itself_does_not_hang(
    new_client: Callable[[], Client], simulator: Simulator
) -> None:
    simulator.knob("prelogin", "hang")

    assert 0 == new_client().login().rc("Stat", "/")


def test_errors_may_be_asked_for_after_a_login(client: Client) -> None:
    client.rc("Stat", "/absent")

    assert "HPSS_ENOENT" == client.last()["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_user_is_refused(
    new_client: Callable[[], Client], simulator: Simulator, tmp_path: Path
) -> None:
    simulator.knob("user", USER)
    keytab = tmp_path / "keytab"
    keytab.touch()

    assert -errno.EPERM == new_client().rc("SetLoginCred", "unknown", str(keytab))


def test_a_keytab_that_is_not_there_is_refused(
    new_client: Callable[[], Client], tmp_path: Path
) -> None:
    assert -errno.EPERM == new_client().rc(
        "SetLoginCred", USER, str(tmp_path / "absent")
    )


def test_a_keytab_of_another_mechanism_is_refused(
    new_client: Callable[[], Client], tmp_path: Path
) -> None:
    keytab = tmp_path / "keytab"
    keytab.touch()

    assert -errno.EPERM == new_client().rc(
        "SetLoginCred", USER, str(keytab), "hpss_authn_mech_krb5"
    )


def test_a_refused_login_is_none(
    new_client: Callable[[], Client], tmp_path: Path
) -> None:
    client = new_client()
    client.rc("SetLoginCred", USER, str(tmp_path / "absent"))

    assert -errno.EPERM == client.rc("Stat", "/")


def test_a_refused_login_may_be_tried_again(
    new_client: Callable[[], Client], tmp_path: Path
) -> None:
    client = new_client()
    client.rc("SetLoginCred", USER, str(tmp_path / "absent"))

    assert 0 == client.login().rc("Stat", "/")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_login_is_an_io_error(client: Client, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    keytab.touch()

    assert -errno.EIO == client.rc("SetLoginCred", USER, str(keytab))


def test_a_login_may_follow_a_purge(client: Client) -> None:
    client("PurgeLoginCred")

    assert 0 == client.login().rc("Stat", "/")


def test_after_a_purge_there_is_no_login(client: Client) -> None:
    client("PurgeLoginCred")

    assert -errno.EPERM == client.rc("Stat", "/")


def test_the_login_is_of_all_threads(client: Client) -> None:
    thread = client.rc("async", "Stat", "/")

    assert 0 == client.rc("join", thread)


def test_logins_are_counted(client: Client, simulator: Simulator) -> None:
    client("PurgeLoginCred")
    client.login()

    assert 2 == simulator.counters()["logins"]


@pytest.mark.parametrize("how", ["PurgeLoginCred", "ClientAPIReset"])
def test_a_logout_with_a_call_in_flight_is_a_violation(
    client: Client, simulator: Simulator, how: str
) -> None:
    simulator.rule("Stat:1:hang")
    thread = client.rc("async", "Stat", "/")
    assert eventually(lambda: simulator.counters()["calls"].get("hpss_Stat") == 1)
    client(how)
    simulator.clear_rules()
    client("join", thread)

    assert any(how in text for text in simulator.counters()["violations"])


def test_a_logout_in_quiet_is_no_violation(
    client: Client, simulator: Simulator
) -> None:
    client.rc("Stat", "/")
    client("ClientAPIReset")
    client("PurgeLoginCred")

    assert [] == simulator.counters()["violations"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_in_a_forked_child_is_a_violation(
    client: Client, simulator: Simulator
) -> None:
    client("fork", "Stat", "/")

    assert any("fork" in text for text in simulator.counters()["violations"])


def test_a_call_in_a_forked_child_does_not_succeed(client: Client) -> None:
    assert 0 > client("fork", "Stat", "/")["child"]["rc"]


def test_a_child_forked_before_the_login_may_log_in(
    new_client: Callable[[], Client], simulator: Simulator, roots: Roots
) -> None:
    """As servers do that fork their workers first."""
    keytab = str(roots.driver())

    assert (0, []) == (
        new_client()("fork", "SetLoginCred", USER, keytab)["child"]["rc"],
        simulator.counters()["violations"],
    )


def test_a_child_that_cannot_lock_the_state_does_not_touch_it(
    client: Client, state: Path
) -> None:
    tables = state / "tables"
    away = tables.rename(state / "away")
    try:
        status = client("fork", "Stat", "/")["rc"]
    finally:
        away.rename(tables)

    assert signal.SIGABRT == os.WTERMSIG(status)


def test_in_strict_mode_a_violation_aborts(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("strict", 1)

    assert 0 != client("fork", "Stat", "/")["rc"]


def test_expired_credentials_are_refused(client: Client, simulator: Simulator) -> None:
    simulator.knob("expired", 1)

    assert -errno.EACCES == client.rc("Stat", "/")


def test_a_new_login_renews_expired_credentials(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("expired", 1)
    client("PurgeLoginCred")

    assert 0 == client.login().rc("Stat", "/")


def test_without_a_state_the_login_fails_and_says_why(
    roots: Roots, tmp_path: Path
) -> None:
    with Client(roots.driver(), tmp_path / "absent") as client:
        answer = client.rc("SetLoginCred", USER, str(roots.driver()))
        client.process.kill()

        assert (-errno.EIO, 1) == (answer, client.stderr().count("\n"))


def test_the_library_says_that_it_is_the_simulator(
    roots: Roots, tmp_path: Path
) -> None:
    source = tmp_path / "says.c"
    source.write_text(
        '#include <stdio.h>\n#include "hpss_sim.h"\nint main(void)\n'
        '{\n    printf("%d %s", hpss_sim_is_simulator(), hpss_sim_version());\n}\n'
    )
    program = roots.program(source, "10.3")
    done = subprocess.run([program], capture_output=True, text=True, check=False)

    assert "1 10.3" == done.stdout
