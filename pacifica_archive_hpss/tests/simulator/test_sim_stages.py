"""Facts 5 and 8.8: recalls from tape, how they are asked for and how long they take."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
from simulated import eventually

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

SINK = "9"  # a port: where HPSS calls back
WITH_BATCHES = ("9.3", "10.3")


def archive(client: Client, simulator: Simulator, *paths: str) -> None:
    """Have files on tape only, in this order, with a clock that stands still."""
    simulator.speed(0)
    for path in paths:
        client.put(path, b"hello")
        simulator.migrate(path)
        simulator.purge(path)


def on_disk(simulator: Simulator, *paths: str) -> list[bool]:
    return [simulator.ls(path)[0]["levels"][0]["bytes"] > 0 for path in paths]


def state_of(client: Client, path: str, request: str) -> str:
    state: str = client("StageState", path, request)["state"]
    return state


# --- hpss_Stage --------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_synchronous_stage_waits(client: Client, simulator: Simulator) -> None:
    archive(client, simulator, "/f")
    fd = client.rc("Open", "/f", "O_RDONLY|O_NONBLOCK", 0)
    client.send("Stage", fd, 5, "BFS_STAGE_ALL")
    assert client.blocks()
    simulator.advance(1000)

    assert (0, [True]) == (client.answer()["rc"], on_disk(simulator, "/f"))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_asynchronous_stage_waits_in_the_close(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    fd = client.rc("Open", "/f", "O_RDONLY|O_NONBLOCK", 0)
    assert client.rc("Stage", fd, 5, "BFS_STAGE_ALL|BFS_ASYNCH_CALL") == 0
    client.send("Close", fd)
    assert client.blocks()
    simulator.advance(1000)

    assert (0, [True]) == (client.answer()["rc"], on_disk(simulator, "/f"))


def test_a_close_without_a_stage_does_not_wait(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    fd = client.rc("Open", "/f", "O_RDONLY|O_NONBLOCK", 0)

    assert 0 == client.rc("Close", fd)


# --- hpss_StageCallBack ------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stage_with_callback_does_not_wait(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")

    assert (0, [False]) == (
        client.rc("StageCallBack", "/f", "01", SINK),
        on_disk(simulator, "/f"),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stage_with_callback_comes_to_its_end(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", SINK)
    simulator.advance(1000)

    assert ([True], b"hello") == (on_disk(simulator, "/f"), client.get("/f"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_request_id_is_the_one_that_was_given(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")

    assert client("StageCallBack", "/f", "0a0b0c0d", SINK)["request"].startswith(
        "0a0b0c0d"
    )


def test_a_stage_of_what_is_not_there_is_refused(client: Client) -> None:
    assert -errno.ENOENT == client.rc("StageCallBack", "/absent", "01", SINK)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_state_of_a_request_may_be_asked_for(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("drives", 1)
    archive(client, simulator, "/f", "/g")
    before = state_of(client, "/f", "01")
    client("StageCallBack", "/f", "01", SINK)
    client("StageCallBack", "/g", "02", SINK)
    during = [state_of(client, "/f", "01"), state_of(client, "/g", "02")]
    simulator.advance(1000)

    assert ("UNKNOWN", ["ACTIVE", "QUEUED"], "UNKNOWN") == (
        before,
        during,
        state_of(client, "/f", "01"),
    )


def test_the_state_is_of_file_and_request_together(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f", "/g")
    client("StageCallBack", "/f", "01", SINK)

    assert ("UNKNOWN", "UNKNOWN") == (
        state_of(client, "/f", "02"),
        state_of(client, "/g", "01"),
    )


def test_the_state_is_known_to_other_processes(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", SINK)

    assert "ACTIVE" == state_of(new_client().login(), "/f", "01")


def test_a_request_outlives_who_asked(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    archive(client, simulator, "/f")
    other = new_client().login()
    other("StageCallBack", "/f", "01", SINK)
    other.kill()
    simulator.advance(1000)

    assert [True] == on_disk(simulator, "/f")


def test_a_second_request_for_a_file_is_a_duplicate(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    for _ in range(3):
        client("StageCallBack", "/f", "01", SINK)

    assert 2 == simulator.counters()["duplicate_stages"]


def test_requests_for_different_files_are_no_duplicates(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f", "/g")
    client("StageCallBack", "/f", "01", SINK)
    client("StageCallBack", "/g", "02", SINK)

    assert 0 == simulator.counters()["duplicate_stages"]


@pytest.mark.parametrize(("sink", "red"), [("NULL", 1), ("-", 1), (SINK, 0)])
def test_without_a_callback_address_a_monitor_turns_red(
    client: Client, simulator: Simulator, sink: str, red: int
) -> None:
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", sink)

    assert red == simulator.counters()["monitor_red"]


@pytest.mark.parametrize("version", VERSIONS)
def test_one_request_id_for_all_lets_one_file_through_at_a_time(
    client: Client, simulator: Simulator
) -> None:
    """It throttled a whole site on 7.4.3 (DSI)."""
    simulator.knob("cartridge_files", 1)
    archive(client, simulator, "/f", "/g")
    for path in ("/f", "/g"):
        client("StageCallBack", path, "01", SINK)

    assert (["ACTIVE", "QUEUED"], True) == (
        [state_of(client, path, "01") for path in ("/f", "/g")],
        simulator.counters()["gated"] > 0,
    )


def test_different_request_ids_use_all_drives(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("cartridge_files", 1)
    archive(client, simulator, "/f", "/g")
    client("StageCallBack", "/f", "01", SINK)
    client("StageCallBack", "/g", "02", SINK)

    assert ["ACTIVE", "ACTIVE"] == [
        state_of(client, "/f", "01"),
        state_of(client, "/g", "02"),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_address_is_called_when_the_file_is_there(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    with socket.create_server(("127.0.0.1", 0)) as sink:
        sink.settimeout(0)
        client("StageCallBack", "/f", "01", str(sink.getsockname()[1]))
        with pytest.raises(BlockingIOError):
            sink.accept()
        simulator.advance(1000)
        connection, _ = sink.accept()
        connection.close()

    assert [True] == on_disk(simulator, "/f")


def test_a_file_may_be_purged_again_before_it_is_read(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", SINK)
    simulator.advance(1000)
    simulator.purge("/f")
    client.send("Open", "/f", "O_RDONLY", 0)

    assert client.blocks()


def test_a_stage_of_a_damaged_tape_leaves_the_file_where_it_is(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f")
    simulator.damage(simulator.ls("/f")[0]["levels"][1]["cartridge"])
    client("StageCallBack", "/f", "01", SINK)
    simulator.advance(1000)

    assert [False] == on_disk(simulator, "/f")


# --- batches -----------------------------------------------------------------------


@pytest.mark.parametrize("version", WITH_BATCHES)
def test_a_batch_stages_its_files(client: Client, simulator: Simulator) -> None:
    archive(client, simulator, "/f", "/g")
    answer = client("StageBatch", "01", SINK, -1, "/f", "/g")
    simulator.advance(1000)

    assert (0, [True, True]) == (answer["rc"], on_disk(simulator, "/f", "/g"))


@pytest.mark.parametrize("version", WITH_BATCHES)
def test_right_after_a_batch_not_all_was_moved(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f", "/g")
    statuses = client("StageBatch", "01", SINK, -1, "/f", "/g")["statuses"]

    assert [-1406, -1406] == [status for status, _ in statuses]


@pytest.mark.parametrize("version", WITH_BATCHES)
def test_the_state_of_a_batch_is_told_by_file(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f", "/g", "/h")
    client("StageBatch", "01", SINK, -1, "/f", "/g")
    during = client("BatchState", "01", "/f", "/g", "/h")["statuses"]
    simulator.advance(1000)
    after = client("BatchState", "01", "/f", "/g", "/h")["statuses"]

    assert ([2, 2, 0], [[0, -1]] * 3) == ([status for status, _ in during], after)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_batch_of_another_length_than_it_says_is_refused(
    client: Client, simulator: Simulator, length: int
) -> None:
    archive(client, simulator, "/f", "/g")

    assert -errno.EOPNOTSUPP == client.rc("StageBatch", "01", SINK, length, "/f", "/g")


def test_a_batch_has_at_most_100_files(client: Client, simulator: Simulator) -> None:
    paths = [f"/f{number}" for number in range(101)]
    for path in paths:
        client.put(path, b"x")
    simulator.migrate("/")
    simulator.purge("/")

    assert (0, True) == (
        client.rc("StageBatch", "01", SINK, -1, *paths[:100]),
        client.rc("StageBatch", "02", SINK, -1, *paths) < 0,
    )


def test_the_files_of_one_batch_do_not_wait_for_each_other(
    client: Client, simulator: Simulator
) -> None:
    """One request id is right for one batch."""
    simulator.knob("cartridge_files", 1)
    archive(client, simulator, "/f", "/g")
    client("StageBatch", "01", SINK, -1, "/f", "/g")

    assert 0 == simulator.counters()["gated"]


def test_batches_are_counted_with_their_files(
    client: Client, simulator: Simulator
) -> None:
    archive(client, simulator, "/f", "/g", "/h")
    client("StageBatch", "01", SINK, -1, "/f", "/g")
    client("StageBatch", "02", SINK, -1, "/h")

    assert [2, 1] == simulator.counters()["batches"]


def test_what_prepares_a_batch_is_counted(client: Client, simulator: Simulator) -> None:
    archive(client, simulator, "/f", "/g")
    client("StageBatch", "01", SINK, -1, "/f", "/g")
    calls = simulator.counters()["calls"]
    names = ("BatchInit", "BatchInsertBFObj", "BatchFree", "StatusFree")

    assert [1, 2, 1, 1] == [calls.get(f"API_Stage{name}") for name in names]


def test_what_prepares_a_batch_may_fail_by_a_rule(
    client: Client, simulator: Simulator
) -> None:
    """The driver then sends the batch without that file."""
    archive(client, simulator, "/f", "/g")
    simulator.rule("StageBatchInsertBFObj:2:-ENOMEM")

    assert -errno.EOPNOTSUPP == client.rc("StageBatch", "01", SINK, -1, "/f", "/g")


# --- drives and time ---------------------------------------------------------------


def recall_all(client: Client, simulator: Simulator, *paths: str) -> None:
    for number, path in enumerate(paths, 1):
        assert client.rc("StageCallBack", path, f"{number:02x}", SINK) == 0
    simulator.advance(10_000)
    assert on_disk(simulator, *paths) == [True] * len(paths)


def test_each_cartridge_is_mounted_once_in_a_good_order(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("cartridge_files", 3)
    paths = [f"/f{number}" for number in range(9)]
    archive(client, simulator, *paths)
    recall_all(client, simulator, *paths)

    assert [1, 1, 1] == list(simulator.counters()["mounts"].values())


def test_a_bad_order_mounts_again_and_again(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("cartridge_files", 3)
    simulator.knob("drives", 1)
    paths = [f"/f{number}" for number in range(6)]
    archive(client, simulator, *paths)
    recall_all(client, simulator, "/f0", "/f3", "/f1", "/f4", "/f2", "/f5")

    assert 6 == sum(simulator.counters()["mounts"].values())


def test_with_tape_ordered_recall_a_bad_order_does_no_harm(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("cartridge_files", 3)
    simulator.knob("drives", 1)
    simulator.knob("tor", 1)
    paths = [f"/f{number}" for number in range(6)]
    archive(client, simulator, *paths)
    recall_all(client, simulator, "/f0", "/f3", "/f1", "/f4", "/f2", "/f5")

    assert 2 == sum(simulator.counters()["mounts"].values())


def done_after(simulator: Simulator, seconds: float, path: str = "/f") -> bool:
    simulator.advance(seconds)
    return on_disk(simulator, path)[0]


def test_a_mount_takes_its_time(client: Client, simulator: Simulator) -> None:
    simulator.knob("mount_s", 60)
    simulator.knob("seek_s", 0)
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", SINK)

    assert [False, True] == [done_after(simulator, 59), done_after(simulator, 2)]


def test_a_mounted_cartridge_is_not_mounted_again(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("mount_s", 60)
    simulator.knob("seek_s", 0)
    archive(client, simulator, "/e", "/f")
    recall_all(client, simulator, "/e")
    client("StageCallBack", "/f", "07", SINK)

    assert done_after(simulator, 2)


def test_a_transfer_takes_its_time(client: Client, simulator: Simulator) -> None:
    for name in ("mount_s", "seek_s"):
        simulator.knob(name, 0)
    simulator.knob("rate", 0.1)
    archive(client, simulator, "/f")
    client("StageCallBack", "/f", "01", SINK)

    assert [False, True] == [done_after(simulator, 48), done_after(simulator, 4)]


def test_winding_back_takes_longer_than_going_on(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("drives", 1)
    paths = [f"/f{number}" for number in range(20)]
    archive(client, simulator, *paths)
    simulator.knob("mount_s", 0)
    simulator.knob("seek_s", 1000)

    def duration(order: list[str]) -> int:
        simulator.purge("/")
        for number, path in enumerate(order, 1):
            client("StageCallBack", path, f"{number:02x}", SINK)
        seconds = 0
        while not all(on_disk(simulator, *paths)):
            simulator.advance(1)
            seconds += 1
        return seconds

    forward = duration(paths)
    zigzag = [
        p for pair in zip(paths[:10], reversed(paths[10:]), strict=True) for p in pair
    ]

    assert forward * 2 < duration(zigzag)


def test_the_clock_may_stand_still(client: Client, simulator: Simulator) -> None:
    archive(client, simulator, "/f")
    client.send("Open", "/f", "O_RDONLY", 0)

    assert client.blocks(0.3)


def test_the_clock_may_run_fast(client: Client, simulator: Simulator) -> None:
    archive(client, simulator, "/f")
    simulator.knob("mount_s", 3600)
    client("StageCallBack", "/f", "01", SINK)
    simulator.speed(100_000)

    assert eventually(lambda: on_disk(simulator, "/f")[0], 5)


def test_settling_is_the_end_of_all_requests(
    client: Client, simulator: Simulator
) -> None:
    paths = [f"/f{number}" for number in range(5)]
    archive(client, simulator, *paths)
    for number, path in enumerate(paths):
        client("StageCallBack", path, f"{number:02x}", SINK)
    simulator.settle()

    assert [True] * 5 == on_disk(simulator, *paths)
