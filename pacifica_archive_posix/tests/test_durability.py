"""What a crash of the machine may take: nothing that a commit has returned for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from disk import Disk, Found
from scenes import DIGESTED, MTIME_NS, NEIGHBOUR, OLD, SCENES, digested, store
from syscalls import Call, Calls, recorded

from pacifica_archive_posix import PosixArchive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIB_32 = 1 << 25


@attrs.frozen(kw_only=True)
class Record:
    """The calls of one scene, and what is to be found before and after them."""

    path: Path
    source: Path
    disk: Disk
    calls: Calls
    before: Found | None
    after: Found | None
    adopts: bool

    def losses(self, calls: Sequence[Call]) -> list[str]:
        """Return what crashes take that they must not, before and after the end."""
        found = []
        for number in range(len(calls) + 1):
            returned = number == len(calls)
            for left in self.disk.crashes():
                seen = self.disk.find(left, self.path)
                source = self.disk.find(left, self.source)
                allowed = [self.after] if returned else [self.before, self.after]
                if seen not in allowed or (returned and source is not None):
                    found.append(f"{number} calls: {seen}, source {source}")
                if self.adopts and not (seen or source):
                    found.append(f"{number} calls: neither file nor source")
            if not returned:
                self.disk.apply(calls[number])
        return found


def record(name: str, home: Path, *, unsynced_directories: bool = False) -> Record:
    scene = SCENES[name]
    scene.prepare(home)
    path, source = scene.path(home), home / "inbox" / "source"
    with scene.open(home) as archive:
        disk = Disk(home)
        if unsynced_directories:
            # Another process has made them, and has not come to its fsync.
            for made in reversed(path.relative_to(home / "archive").parents[:-1]):
                directory = home / "archive" / made
                directory.mkdir()
                disk.apply(Call("mkdir", (str(directory),), {}))
        before, taken = (disk.find(disk.effects, p) for p in (path, source))
        with recorded() as calls:
            scene.act(archive, home)
    after = None
    if scene.new is not None:
        after = Found(
            data=scene.new,
            mode=0o444,
            mtime_ns=MTIME_NS if taken is None else taken.mtime_ns,
            attributes={DIGESTED: digested()} if scene.digests else {},
        )
    return Record(
        path=path,
        source=source,
        disk=disk,
        calls=calls,
        before=before,
        after=after,
        adopts=taken is not None,
    )


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_leaves_the_old_file_or_the_new_one(name: str, folder: Path) -> None:
    """
    At every call, and whatever part of what was not synced is lost.

    When the last call has returned, it is the new one.
    """
    take = record(name, folder)

    assert [] == take.losses(take.calls.seen)


@pytest.mark.parametrize(
    "name", ["create, nested", "overwrite nothing, nested", "adopt, nested"]
)
def test_directories_that_others_made_are_not_known_to_be_durable(
    name: str, folder: Path
) -> None:
    take = record(name, folder, unsynced_directories=True)

    assert [] == take.losses(take.calls.seen)


# Where the directories are another process's, ours cannot know that it synced them.
@pytest.mark.parametrize("name", [n for n in SCENES if n != "overwrite, nested"])
def test_no_fsync_can_be_left_out(name: str, folder: Path) -> None:
    """So the model sees each of them, and none is there for nothing."""
    lost = {}
    number = 0
    while True:
        home = folder / str(number)
        home.mkdir()
        take = record(name, home)
        calls = take.calls.seen
        syncs = [n for n, call in enumerate(calls) if call.name == "fsync"]
        if number == len(syncs):
            break
        left_out = syncs[number]
        lost[number] = bool(take.losses(calls[:left_out] + calls[left_out + 1 :]))
        number += 1

    assert (True, dict.fromkeys(range(number), True)) == (number > 0, lost)


@pytest.mark.parametrize(
    "name", [name for name in SCENES if not name.startswith("delete")]
)
def test_the_bytes_cannot_be_synced_after_the_switch(name: str, folder: Path) -> None:
    take = record(name, folder)
    fsync = take.calls.names.index("fsync")
    switch = take.calls.switch
    assert switch is not None
    calls = list(take.calls.seen)
    calls.insert(switch, calls.pop(fsync))

    assert [] != take.losses(calls)


def test_a_known_directory_is_not_synced_again_but_for_its_names(
    folder: Path,
) -> None:
    calls = record("create, known directory", folder).calls

    assert 2 == calls.names.count("fsync")


def test_a_directory_found_missing_is_known_no_longer(folder: Path) -> None:
    """An operator removes empty directories, and the next file makes them anew."""
    scene = SCENES["create, known directory"]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        inner = scene.path(folder).parent
        inner.rmdir()
        inner.parent.rmdir()
        with recorded() as calls:
            scene.act(archive, folder)

    assert 4 == calls.names.count("fsync")


def test_nothing_is_synced_unless_durable(folder: Path) -> None:
    scene = SCENES["create, nested"]
    scene.prepare(folder)
    with (
        PosixArchive(scene.options(folder, durable=False)) as archive,
        recorded() as calls,
    ):
        scene.act(archive, folder)
        store(archive, NEIGHBOUR, OLD)
        archive.delete(NEIGHBOUR)

    assert (True, 0) == ("mkdir" in calls.names, calls.names.count("fsync"))


@pytest.mark.parametrize("durable", [True, False])
def test_a_large_file_is_on_its_way_to_the_disk_as_it_grows(
    folder: Path,
    durable: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """Else the fsync of its commit waits for all that memory could hold."""
    scene = SCENES["create"]
    scene.prepare(folder)
    with PosixArchive(scene.options(folder, durable=durable)) as archive:
        writer = archive.create(1, size=3 * MIB_32 + 1)
        with recorded() as calls:
            for _ in range(6):
                writer.write(bytes(MIB_32 // 2))
        writer.discard()
    sent = [call.args[1:] for call in calls.seen if call.name == "start_writeback"]

    assert [(n * MIB_32, MIB_32) for n in range(3) if durable] == sent
