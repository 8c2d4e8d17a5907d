"""Facts 5 and 8.7: opening files, and what that does to those on tape."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator


@pytest.fixture
def on_tape(client: Client, simulator: Simulator) -> Client:
    """Return a client with /f on tape only, and a clock that stands still."""
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.speed(0)
    return client


def test_descriptors_begin_at_3(client: Client) -> None:
    client.put("/f", b"hello")

    assert 3 == client.rc("Open", "/f", "O_RDONLY", 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_of_open_files_is_full_some_time(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("fds", 4)
    client.put("/f", b"hello")
    answers = [client.rc("Open", "/f", "O_RDONLY", 0) for _ in range(5)]

    assert ([True] * 4, -errno.EMFILE) == ([fd > 0 for fd in answers[:4]], answers[4])


def test_the_table_has_64_places_at_first(simulator: Simulator) -> None:
    assert 64 == simulator.knobs()["fds"]


def test_a_closed_descriptor_makes_room(client: Client, simulator: Simulator) -> None:
    simulator.knob("fds", 1)
    client.put("/f", b"hello")
    for _ in range(3):
        fd = client.rc("Open", "/f", "O_RDONLY", 0)
        client("Close", fd)

    assert 0 < client.rc("Open", "/f", "O_RDONLY", 0)


def test_the_table_is_each_processes_own(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    simulator.knob("fds", 1)
    client.put("/f", b"hello")
    client.rc("Open", "/f", "O_RDONLY", 0)

    assert 0 < new_client().login().rc("Open", "/f", "O_RDONLY", 0)


def test_open_files_are_counted(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    client.rc("Open", "/f", "O_RDONLY", 0)

    assert 1 == simulator.counters()["open_files"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("/", "O_RDONLY", 0), errno.EISDIR),
        (("/absent", "O_RDONLY", 0), errno.ENOENT),
        (("/absent/f", "O_CREAT|O_WRONLY", 0o644), errno.ENOENT),
        (("/f/g", "O_CREAT|O_WRONLY", 0o644), errno.ENOTDIR),
        (("/f", "O_CREAT|O_EXCL|O_WRONLY", 0o644), errno.EEXIST),
        (("NULL", "O_RDONLY", 0), errno.EFAULT),
        (("/" + "n" * 300, "O_CREAT|O_WRONLY", 0o644), errno.ENAMETOOLONG),
    ],
    ids=lambda value: value if isinstance(value, int) else None,
)
def test_an_open_that_cannot_be_says_why(
    client: Client, words: tuple[str | int, ...], code: int
) -> None:
    client.put("/f", b"hello")

    assert -code == client.rc("Open", *words)


@pytest.mark.parametrize("fd", [-1, 0, 3, 63, 64, 100000])
@pytest.mark.parametrize("name", ["Close", "Fsync"])
def test_a_descriptor_that_is_none_is_refused(
    client: Client, name: str, fd: int
) -> None:
    assert -errno.EBADF == client.rc(name, fd)


def test_a_descriptor_is_closed_once(client: Client) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert [0, -errno.EBADF] == [client.rc("Close", fd), client.rc("Close", fd)]


def test_a_file_opened_for_reading_is_not_written(client: Client) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert -errno.EBADF == client.rc("Write", fd, "00")


def test_a_file_opened_for_writing_is_not_read(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)

    assert -errno.EBADF == client.rc("Read", fd, 1)


def test_truncation_at_the_open_empties_a_file(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    client.rc("Open", "/f", "O_WRONLY|O_TRUNC", 0)

    assert 0 == simulator.ls("/f")[0]["size"]


def test_the_mode_at_creation_is_that_of_the_file(
    client: Client, simulator: Simulator
) -> None:
    client.rc("Open", "/f", "O_CREAT|O_EXCL|O_WRONLY", 0o444)

    assert 0o444 == simulator.ls("/f")[0]["mode"]


def test_whoever_creates_a_read_only_file_may_write_it(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_EXCL|O_WRONLY", 0o444)

    assert 1 == client.rc("Write", fd, "00")


@pytest.mark.parametrize(("applied", "mode"), [(1, 0o644), (0, 0o666)])
def test_the_umask_may_not_be_applied_at_creation(
    client: Client, simulator: Simulator, applied: int, mode: int
) -> None:
    simulator.knob("open_sets_umask", applied)
    client.rc("Open", "/f", "O_CREAT|O_EXCL|O_WRONLY", 0o666)

    assert mode == simulator.ls("/f")[0]["mode"]


def test_the_mode_at_creation_may_not_stick(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("mode_at_create", 0)
    client.rc("Open", "/f", "O_CREAT|O_EXCL|O_WRONLY", 0o444)

    assert 0o444 != simulator.ls("/f")[0]["mode"]


@pytest.mark.parametrize("version", VERSIONS)
def test_opening_without_waiting_stages_nothing(
    on_tape: Client, simulator: Simulator
) -> None:
    fd = on_tape.rc("Open", "/f", "O_RDONLY|O_NONBLOCK", 0)
    simulator.advance(1000)

    assert (True, 0) == (fd > 0, simulator.ls("/f")[0]["levels"][0]["bytes"])


@pytest.mark.parametrize("version", VERSIONS)
def test_opening_a_file_on_tape_waits_for_it(
    on_tape: Client, simulator: Simulator
) -> None:
    on_tape.send("Open", "/f", "O_RDONLY", 0)
    assert on_tape.blocks()
    simulator.advance(1000)
    fd = on_tape.answer()["rc"]

    assert b"hello".hex() == on_tape("Read", fd, 5)["data"]


def test_in_an_async_class_the_open_returns_and_the_read_waits(
    on_tape: Client, simulator: Simulator
) -> None:
    simulator.knob("stage_code:1", "async")
    fd = on_tape.rc("Open", "/f", "O_RDONLY", 0)
    on_tape.send("Read", fd, 5)
    assert on_tape.blocks()
    simulator.advance(1000)

    assert b"hello".hex() == on_tape.answer()["data"]


def test_in_a_background_class_the_open_is_in_progress(
    on_tape: Client, simulator: Simulator
) -> None:
    simulator.knob("stage_code:1", "background")
    before = on_tape.rc("Open", "/f", "O_RDONLY", 0)
    simulator.advance(1000)

    assert (-errno.EINPROGRESS, True) == (
        before,
        on_tape.rc("Open", "/f", "O_RDONLY", 0) > 0,
    )


def test_in_a_class_without_stages_the_open_stages_nothing(
    on_tape: Client, simulator: Simulator
) -> None:
    simulator.knob("stage_code:1", "none")
    fd = on_tape.rc("Open", "/f", "O_RDONLY", 0)
    simulator.advance(1000)

    assert (True, 0) == (fd > 0, simulator.ls("/f")[0]["levels"][0]["bytes"])


def test_a_file_on_disk_opens_at_once(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.speed(0)

    assert b"hello" == client.get("/f")


def test_reading_what_is_on_tape_only_waits(
    client: Client, simulator: Simulator
) -> None:
    """A tape-only class cannot be read in any other way."""
    client.put("/t", b"hello", "cos=4")
    simulator.speed(0)
    fd = client.rc("Open", "/t", "O_RDONLY|O_NONBLOCK", 0)
    client.send("Read", fd, 5)
    assert client.blocks()
    simulator.advance(1000)

    assert b"hello".hex() == client.answer()["data"]


def test_an_unlinked_file_is_read_on_by_who_has_it_open(client: Client) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert (0, b"hello".hex()) == (
        client.rc("Unlink", "/f"),
        client("Read", fd, 5)["data"],
    )
