"""Facts 4 and 8.6: hpss_FileGetXAttributes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from simulated import eventually

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

ALL = "API_GET_STATS_FOR_ALL_LEVELS|API_GET_XATTRS_NO_BLOCK"
BLOCKING = "API_GET_STATS_FOR_ALL_LEVELS"


def kinds(levels: list[dict[str, Any]]) -> list[tuple[int, int, int, int]]:
    return [(lv["disk"], lv["tape"], lv["data"], lv["bytes"]) for lv in levels]


@pytest.mark.parametrize("version", VERSIONS)
def test_one_call_tells_size_class_kind_and_times(client: Client) -> None:
    client.put("/f", b"hello", "cos=2")
    client("Utime", "/f", 1_000_000_000)
    told = client("FileGetXAttributes", "/f", ALL, 0)

    assert (0, 5, 2, "FILE", 1_000_000_000) == (
        told["rc"],
        told["size"],
        told["cos"],
        told["type"],
        told["mtime"],
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_levels_are_told_by_flags(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    levels = client("FileGetXAttributes", "/f", ALL, 0)["levels"]

    assert [(1, 0, 0, 0), (0, 1, 1, 5), *[(0, 0, 0, 0)] * 3] == kinds(levels)


@pytest.mark.parametrize("version", VERSIONS)
def test_tapes_have_a_label_and_a_position(
    client: Client, simulator: Simulator
) -> None:
    client.put("/e", b"first")
    client.put("/f", b"hello")
    simulator.migrate("/")
    (vv,) = client("FileGetXAttributes", "/f", ALL, 0)["levels"][1]["vvs"]
    tape = simulator.ls("/f")[0]["levels"][1]

    assert (tape["cartridge"], tape["position"], tape["offset"], 5) == (
        vv["label"],
        vv["position"],
        vv["offset"],
        vv["bytes"],
    )


def test_the_first_level_of_a_tape_only_class_is_tape(client: Client) -> None:
    client.put("/f", b"hello", "cos=4")
    levels = client("FileGetXAttributes", "/f", ALL, 0)["levels"]

    assert (0, 1, 1, 5) == kinds(levels)[0]


def test_bytes_are_those_without_holes(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    client("SetFileOffset", fd, 1 << 32, "SEEK_SET")
    client("Write", fd, b"hello".hex())
    client("Close", fd)
    told = client("FileGetXAttributes", "/f", ALL, 0)

    assert ((1 << 32) + 5, 5) == (told["size"], told["levels"][0]["bytes"])


def test_an_empty_file_has_nothing_on_any_level(client: Client) -> None:
    client.put("/f", b"")
    levels = client("FileGetXAttributes", "/f", ALL, 0)["levels"]

    assert [(0, 0), (0, 0)] == [(lv["data"], lv["bytes"]) for lv in levels[:2]]


def test_a_directory_has_no_levels(client: Client) -> None:
    told = client("FileGetXAttributes", "/", ALL, 0)

    assert ("DIRECTORY", [0] * 5) == (
        told["type"],
        [lv["raw"] for lv in told["levels"]],
    )


def test_without_a_flag_there_are_attributes_only(client: Client) -> None:
    client.put("/f", b"hello")
    told = client("FileGetXAttributes", "/f", 0, 0)

    assert (5, [0] * 5) == (told["size"], [lv["raw"] for lv in told["levels"]])


def test_with_the_flag_for_the_first_level_only_that_is_told(client: Client) -> None:
    client.put("/f", b"hello")
    levels = client("FileGetXAttributes", "/f", "API_GET_STATS_FOR_1STLEVEL", 0)[
        "levels"
    ]

    assert (True, [0] * 4) == (levels[0]["raw"] != 0, [lv["raw"] for lv in levels[1:]])


def test_a_level_may_be_asked_for_by_number(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    flags = "API_GET_STATS_FOR_LEVEL|API_GET_XATTRS_NO_BLOCK"
    levels = client("FileGetXAttributes", "/f", flags, 1)["levels"]

    assert 5 in [lv["bytes"] for lv in levels if lv["tape"]]


def test_what_was_not_zeroed_is_garbage(client: Client) -> None:
    """Whoever forgets the memset sees levels that are not there."""
    client.put("/f", b"hello")
    told = client("FileGetXAttributes", "/f", ALL, 0, 0xA5)

    assert [True] * 3 == [flags != 0 for flags in told["flags"][2:]]


@pytest.mark.parametrize("version", VERSIONS)
def test_lists_that_the_caller_frees_are_none_left(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello", "cos=2")
    simulator.migrate("/f")
    client("FileGetXAttributes", "/f", ALL, 0)

    assert 0 == simulator.counters()["pvlists"]


@pytest.mark.parametrize("version", VERSIONS)
def test_lists_that_nobody_frees_are_counted(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello", "cos=2")
    simulator.migrate("/f")
    client("FileGetXAttributes", "/f", ALL, 0, 0, "keep")

    assert 0 < simulator.counters()["pvlists"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), []), (("keep",), ["2 PVLists not freed at the end of the process"])],
    ids=["freed", "kept"],
)
def test_lists_that_are_left_at_the_end_of_a_process_are_a_violation(
    client: Client, simulator: Simulator, words: tuple[str, ...], expected: list[str]
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    client("FileGetXAttributes", "/f", ALL, 0, *(("0", *words) if words else ()))
    client.close()

    assert expected == simulator.counters()["violations"]


def test_with_no_block_a_moving_file_is_told_at_once(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    begin_recall(client, simulator, new_client())

    assert 0 == client("FileGetXAttributes", "/f", ALL, 0)["rc"]


def test_without_no_block_the_call_waits_while_the_file_moves(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    begin_recall(client, simulator, new_client())
    client.send("FileGetXAttributes", "/f", BLOCKING, 0)

    assert client.blocks()


def test_the_call_that_waited_tells_where_the_file_is_then(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    begin_recall(client, simulator, new_client())
    client.send("FileGetXAttributes", "/f", BLOCKING, 0)
    assert client.blocks()
    simulator.settle()

    assert 5 == client.answer()["levels"][0]["bytes"]


def begin_recall(client: Client, simulator: Simulator, other: Client) -> None:
    """Have another process wait for /f, with the clock standing still."""
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.speed(0)
    other.login()
    assert other.rc("StageCallBack", "/f", "01", "9") == 0
    assert eventually(lambda: client("StageState", "/f", "01")["state"] == "ACTIVE")


def test_a_missing_file_is_told_so(client: Client) -> None:
    assert -errno.ENOENT == client.rc("FileGetXAttributes", "/absent", ALL, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bitfile_keeps_its_id_when_it_is_renamed(client: Client) -> None:
    client.put("/f", b"hello")
    before = client("FileGetXAttributes", "/f", ALL, 0)["bitfile"]
    client("Rename", "/f", "/g")

    assert before == client("FileGetXAttributes", "/g", ALL, 0)["bitfile"]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_two_bitfiles_have_the_same_id(client: Client) -> None:
    ids = []
    for _ in range(5):
        client.put("/f", b"hello")
        ids.append(client("FileGetXAttributes", "/f", ALL, 0)["bitfile"])
        client("Unlink", "/f")

    assert 5 == len(set(ids))


def test_looking_is_one_call_to_the_core_server(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.counters(reset=True)
    client("FileGetXAttributes", "/f", ALL, 0)

    assert 1 == simulator.counters()["core"]
