"""Facts 8.5: where the bytes of a file are, and how they move."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS, SimulatorError

if TYPE_CHECKING:
    from pathlib import Path

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator


def level_bytes(simulator: Simulator, path: str = "/f") -> list[int]:
    return [level["bytes"] for level in simulator.ls(path)[0]["levels"]]


def test_a_new_file_is_on_the_first_level(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")

    assert [5, 0] == level_bytes(simulator)


@pytest.mark.parametrize(
    ("cos", "expected"),
    [(1, [5, 5]), (2, [5, 5, 5]), (3, [5, 5, 5]), (4, [5]), (5, [5])],
)
def test_migration_copies_down_every_level(
    client: Client, simulator: Simulator, cos: int, expected: list[int]
) -> None:
    client.put("/f", b"hello", f"cos={cos}")
    simulator.migrate("/f")

    assert expected == level_bytes(simulator)


def test_a_purge_frees_the_disk(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")

    assert [0, 5] == level_bytes(simulator)


def test_a_purge_of_a_class_with_two_disks_frees_both(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello", "cos=3")
    simulator.migrate("/f")
    simulator.purge("/f")

    assert [0, 0, 5] == level_bytes(simulator)


def test_a_file_without_a_tape_copy_is_not_purged(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    with pytest.raises(SimulatorError):
        simulator.purge("/f")

    assert [5, 0] == level_bytes(simulator)


def test_migration_and_purge_of_a_directory_are_of_all_below(
    client: Client, simulator: Simulator
) -> None:
    client("Mkdir", "/d", 0o755)
    client("Mkdir", "/d/e", 0o755)
    client.put("/d/f", b"hello")
    client.put("/d/e/g", b"hello")
    simulator.migrate("/d")
    simulator.purge("/d")

    assert [[0, 5], [0, 5]] == [level_bytes(simulator, p) for p in ("/d/f", "/d/e/g")]


def test_staging_brings_the_bytes_back(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.stage("/f")

    assert ([5, 5], b"hello") == (level_bytes(simulator), client.get("/f"))


def test_a_file_may_be_on_disk_in_part(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.partial("/f", 2)

    assert [2, 5] == level_bytes(simulator)


def test_a_file_may_be_lost(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.lose("/f")

    assert [0, 0] == level_bytes(simulator)


def test_a_lost_file_cannot_be_read(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.lose("/f")
    fd = client.rc("Open", "/f", "O_RDONLY|O_NONBLOCK", 0)

    assert -errno.EIO == (client.rc("Read", fd, 5) if fd >= 0 else fd)


def test_writing_makes_lower_copies_invalid(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    client.put("/f", b"new")

    assert [3, 0] == level_bytes(simulator)


def test_an_empty_file_has_no_segments(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"")
    simulator.migrate("/f")

    assert ([0, 0], [-1, -1]) == (
        level_bytes(simulator),
        [level["position"] for level in simulator.ls("/f")[0]["levels"]],
    )


def test_holes_are_on_no_level(client: Client, simulator: Simulator) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    client("SetFileOffset", fd, 1 << 33, "SEEK_SET")
    client("Write", fd, b"hello".hex())
    client("Close", fd)
    simulator.migrate("/f")

    assert ((1 << 33) + 5, [5, 5]) == (
        simulator.ls("/f")[0]["size"],
        level_bytes(simulator),
    )


def test_files_stand_behind_each_other_on_a_cartridge(
    client: Client, simulator: Simulator
) -> None:
    for name in "abc":
        client.put(f"/{name}", b"hello")
    simulator.migrate("/")
    tapes = [simulator.ls(f"/{name}")[0]["levels"][1] for name in "abc"]
    places = [(t["cartridge"], t["position"], t["offset"]) for t in tapes]

    assert (3, 1) == (len(set(places)), len({label for label, _, _ in places}))


def test_two_tape_copies_are_on_two_cartridges(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello", "cos=2")
    simulator.migrate("/f")
    _, first, second = simulator.ls("/f")[0]["levels"]

    assert first["cartridge"] != second["cartridge"]


def test_a_damaged_cartridge_cannot_be_read(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.damage(simulator.ls("/f")[0]["levels"][1]["cartridge"])
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert -errno.EIO == (client.rc("Read", fd, 5) if fd >= 0 else fd)


def test_a_damaged_cartridge_does_not_hurt_who_is_on_disk(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.damage(simulator.ls("/f")[0]["levels"][1]["cartridge"])

    assert b"hello" == client.get("/f")


def test_a_dead_cartridge_takes_its_segments_along(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.dead(simulator.ls("/f")[0]["levels"][1]["cartridge"])

    assert [0, 0] == level_bytes(simulator)


def test_a_second_copy_survives_a_dead_cartridge(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello", "cos=2")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.dead(simulator.ls("/f")[0]["levels"][1]["cartridge"])

    assert b"hello" == client.get("/f")


# --- through the API ---------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_migrates_and_purges(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    migrated = client("Migrate", fd, "HPSS_MIGRATE_FORCE")
    purged = client("Purge", fd)

    assert (0, 5, 0, 5, [0, 5]) == (
        migrated["rc"],
        migrated["done"],
        purged["rc"],
        purged["done"],
        level_bytes(simulator),
    )


def test_migration_may_purge(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    client("Migrate", fd, "HPSS_MIGRATE_PURGE_DATA")

    assert [0, 5] == level_bytes(simulator)


def test_the_api_does_not_purge_the_only_copy(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    client("Purge", fd)

    assert [5, 0] == level_bytes(simulator)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_purge_lock_keeps_a_file_on_disk(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    assert client.rc("PurgeLock", fd, "PURGE_LOCK") == 0
    client("Purge", fd)

    assert (True, [5, 5]) == (simulator.ls("/f")[0]["locked"], level_bytes(simulator))


def test_an_unlocked_file_is_purged_again(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    client("PurgeLock", fd, "PURGE_LOCK")
    client("PurgeLock", fd, "PURGE_UNLOCK")
    client("Purge", fd)

    assert [0, 5] == level_bytes(simulator)


@pytest.mark.parametrize(("data", "cos"), [(b"", 1), (b"hello", 5)])
def test_empty_files_and_classes_without_tape_take_no_purge_lock(
    client: Client, data: bytes, cos: int
) -> None:
    client.put("/f", data, f"cos={cos}")
    fd = client.rc("Open", "/f", "O_RDWR", 0)

    assert -errno.EINVAL == client.rc("PurgeLock", fd, "PURGE_LOCK")


def test_bytes_are_the_same_on_every_level(
    client: Client, simulator: Simulator, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 40
    client.put("/f", data, "cos=3")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.read("/f", tmp_path / "copy")

    assert (data, data) == ((tmp_path / "copy").read_bytes(), client.get("/f"))
