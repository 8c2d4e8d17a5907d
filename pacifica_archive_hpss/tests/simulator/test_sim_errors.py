"""Facts 2, 8.2, 8.11: codes in what is returned, HPSS's own beside; errno lies."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

# Linux's number, HPSS's own (TQ HPSSErrorCode.java): they differ above 34.
NUMBERS = (
    ("EPERM", -1),
    ("ENOENT", -2),
    ("EIO", -5),
    ("EAGAIN", -11),
    ("EACCES", -13),
    ("EBUSY", -16),
    ("EEXIST", -17),
    ("EDEADLK", -45),
    ("ESTALE", -52),
    ("EMSGSIZE", -59),
    ("EOPNOTSUPP", -64),
    ("EBADMSG", -77),
    ("ETIMEDOUT", -78),
    ("ENAMETOOLONG", -86),
    ("ENOTEMPTY", -87),
    ("EDQUOT", -88),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_call_returns_the_number_of_this_system(client: Client) -> None:
    assert -errno.ENOENT == client.rc("Stat", "/absent")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_error_has_the_number_of_hpss(client: Client) -> None:
    client("Mkdir", "/d", 0o755)
    client("Mkdir", "/d/e", 0o755)

    assert (-errno.ENOTEMPTY, -87) == (client.rc("Rmdir", "/d"), client.last()["code"])


@pytest.mark.parametrize(("name", "number"), NUMBERS)
def test_numbers_are_those_of_aix(
    client: Client, simulator: Simulator, name: str, number: int
) -> None:
    simulator.rule(f"Stat:1:-{name}")

    assert (-getattr(errno, name), number) == (
        client.rc("Stat", "/"),
        client.last()["code"],
    )


@pytest.mark.parametrize(
    ("name", "number"), [("HPSS_ESTALE", -52), ("HPSS_EDQUOT", -88)]
)
def test_an_untranslated_number_may_be_returned(
    client: Client, simulator: Simulator, name: str, number: int
) -> None:
    """-52 can be Linux's EBADE or HPSS's ESTALE (facts, section 2.3)."""
    simulator.rule(f"Stat:1:-{name}")

    assert (number, number) == (client.rc("Stat", "/"), client.last()["code"])


@pytest.mark.parametrize("version", VERSIONS)
def test_errno_is_a_decoy_after_a_failure(client: Client) -> None:
    answer = client("Stat", "/absent")

    assert answer["errno"] not in {0, errno.ENOENT}


def test_errno_is_a_decoy_after_a_success(client: Client) -> None:
    assert 0 != client("Stat", "/")["errno"]


def test_a_success_does_not_say_why_an_earlier_call_failed(client: Client) -> None:
    client.rc("Stat", "/absent")
    client("ClearLastHPSSErrno")
    client.rc("Stat", "/")

    assert 0 == client.last()["code"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_error_names_the_function(client: Client) -> None:
    client.rc("Stat", "/absent")

    assert "Stat" in client.last()["function"]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_failure_has_a_request_id_of_its_own(client: Client) -> None:
    client.rc("Stat", "/absent")
    first = client.last()["request"]
    client.rc("Stat", "/absent")

    assert len({first, client.last()["request"], "0" * len(first)}) == 3


def test_the_last_error_is_the_threads_own(client: Client) -> None:
    client.rc("Stat", "/absent")
    client("join", client.rc("async", "Mkdir", "/", 0o755))

    assert "HPSS_ENOENT" == client.last()["name"]


@pytest.mark.parametrize(
    ("number", "name"), [(-2, "HPSS_ENOENT"), (-87, "HPSS_ENOTEMPTY")]
)
def test_numbers_of_hpss_have_names(client: Client, number: int, name: str) -> None:
    assert name == client("ErrnoName", number)["name"]


def test_a_number_that_is_none_has_no_name(client: Client) -> None:
    assert "unknown error code" == client("ErrnoName", -4242)["name"].lower()


# --- facts 8.11: rules -------------------------------------------------------------


def rcs(client: Client, count: int, *words: str | int) -> list[int]:
    return [client.rc(*words) for _ in range(count)]


@pytest.mark.parametrize(
    ("when", "failing"),
    [
        ("3", [3]),
        ("1-3", [1, 2, 3]),
        ("2+", [2, 3, 4, 5]),
        ("*", [1, 2, 3, 4, 5]),
    ],
)
def test_a_rule_says_when(
    client: Client, simulator: Simulator, when: str, failing: list[int]
) -> None:
    simulator.rule(f"Stat:{when}:-EBUSY")
    expected = [-errno.EBUSY if n in failing else 0 for n in range(1, 6)]

    assert expected == rcs(client, 5, "Stat", "/")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_third_open_may_be_busy(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.rule("Open:3:-EBUSY")
    answers = rcs(client, 4, "Open", "/f", "O_RDONLY", 0)

    assert [False, False, True, False] == [rc == -errno.EBUSY for rc in answers]


def test_busy_calls_may_succeed_after_some_times(
    client: Client, simulator: Simulator
) -> None:
    simulator.rule("Stat:1-2:-EBUSY")

    assert [-errno.EBUSY, -errno.EBUSY, 0] == rcs(client, 3, "Stat", "/")


def test_the_library_may_try_a_busy_call_again_itself(
    client: Client, simulator: Simulator
) -> None:
    """For 45 seconds, by its own settings, before anybody is told."""
    simulator.knob("library_retries", 1)
    simulator.rule("Stat:*:-EBUSY")
    client.send("Stat", "/")

    assert client.blocks()


def test_a_rule_may_be_of_some_paths(client: Client, simulator: Simulator) -> None:
    client("Mkdir", "/a", 0o755)
    client("Mkdir", "/b", 0o755)
    simulator.rule("Stat@/b*:*:-EIO")

    assert (0, -errno.EIO) == (client.rc("Stat", "/a"), client.rc("Stat", "/b"))


def test_calls_of_other_paths_do_not_count(
    client: Client, simulator: Simulator
) -> None:
    client("Mkdir", "/b", 0o755)
    simulator.rule("Stat@/b:2:-EIO")
    answers = [client.rc("Stat", path) for path in ("/b", "/", "/", "/b")]

    assert [0, 0, 0, -errno.EIO] == answers


def test_rules_of_reads_go_by_the_path_at_the_open(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    simulator.rule("Read@/f:1:-EIO")

    assert -errno.EIO == client.rc("Read", fd, 5)


def test_a_failed_call_has_done_nothing(client: Client, simulator: Simulator) -> None:
    simulator.rule("Mkdir:1:-EIO")
    client("Mkdir", "/d", 0o755)

    assert ["/"] == [entry["path"] for entry in simulator.ls()]


def test_a_lost_reply_was_done(client: Client, simulator: Simulator) -> None:
    simulator.rule("Mkdir:1:lost-ECONNRESET")

    assert (-errno.ECONNRESET, ["/", "/d"]) == (
        client.rc("Mkdir", "/d", 0o755),
        [entry["path"] for entry in simulator.ls()],
    )


def test_a_lost_reply_of_an_open_leaves_no_descriptor_that_anybody_knows(
    client: Client, simulator: Simulator
) -> None:
    simulator.rule("Open:1:lost-ECONNRESET")
    client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)

    assert "/f" in [entry["path"] for entry in simulator.ls()]


def test_a_hanging_call_goes_on_when_rules_are_cleared(
    client: Client, simulator: Simulator
) -> None:
    simulator.rule("Stat:1:hang")
    client.send("Stat", "/")
    assert client.blocks()
    simulator.clear_rules()

    assert 0 == client.answer()["rc"]


def test_a_hanging_call_holds_up_no_other(client: Client, simulator: Simulator) -> None:
    simulator.rule("Stat:1:hang")
    client("async", "Stat", "/")

    assert 0 == client.rc("Mkdir", "/d", 0o755)


@pytest.mark.parametrize(
    ("action", "paths"), [("kill", ["/"]), ("lost-kill", ["/", "/d"])]
)
def test_a_call_may_kill_its_caller(
    client: Client, simulator: Simulator, action: str, paths: list[str]
) -> None:
    simulator.rule(f"Mkdir:1:{action}")
    client.send("Mkdir", "/d", 0o755)
    with pytest.raises(EOFError):
        client.answer()

    assert (-9, paths) == (
        client.process.wait(),
        [entry["path"] for entry in simulator.ls()],
    )


def test_a_short_read_has_half_the_bytes(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"abcdefgh")
    simulator.rule("Read:1:short")

    assert b"abcd" == client.get("/f", size=8)


def test_a_short_write_has_half_the_bytes(client: Client, simulator: Simulator) -> None:
    simulator.rule("Write:1:short")
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)

    assert (4, 4) == (
        client.rc("Write", fd, b"abcdefgh".hex()),
        simulator.ls("/f")[0]["size"],
    )


def test_rules_add_up(client: Client, simulator: Simulator) -> None:
    simulator.rule("Stat:1:-EBUSY")
    simulator.rule("Stat:2:-EAGAIN")

    assert [-errno.EBUSY, -errno.EAGAIN, 0] == rcs(client, 3, "Stat", "/")


def test_failed_calls_are_counted(client: Client, simulator: Simulator) -> None:
    simulator.rule("Stat:*:-EBUSY")
    rcs(client, 3, "Stat", "/")

    assert 3 == simulator.counters()["calls"]["hpss_Stat"]


def test_rules_are_of_all_processes(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    simulator.rule("Stat:2:-EBUSY")
    client.rc("Stat", "/")

    assert -errno.EBUSY == new_client().login().rc("Stat", "/")


def test_nobody_answers_when_hpss_is_down(client: Client, simulator: Simulator) -> None:
    simulator.knob("down", 1)

    assert -errno.ECONNREFUSED == client.rc("Stat", "/")
