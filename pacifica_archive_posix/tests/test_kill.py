"""A writer that is killed, by SIGKILL, wherever it is."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import fork_and_wait
from scenes import FILE_ID, NEW, SCENES, get, store
from syscalls import killing, recorded

from pacifica_archive_core import id2filename
from pacifica_archive_posix import PosixArchive, PosixOptions

WRITES = 300
KILLS = 10
IDS = (3, 0x3039, 0x123456)


@pytest.mark.parametrize("name", SCENES)
def test_a_writer_killed_at_any_system_call_leaves_the_old_file_or_the_new_one(
    name: str, folder: Path
) -> None:
    """And nothing that the next archive does not sweep; adopt keeps the source."""
    scene = SCENES[name]
    wrong, number, ended = [], 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        home = folder / str(number)
        home.mkdir()
        scene.prepare(home)

        def work(number: int = number, home: Path = home) -> None:
            with scene.open(home) as archive, recorded(killing(number)):
                scene.act(archive, home)

        ended = fork_and_wait(work)
        with scene.open(home) as archive:
            found = get(archive)
            left = list((home / "archive" / ".incoming").iterdir())
            source = (home / "inbox" / "source").exists()
            store(archive, FILE_ID, NEW[::-1])
            works = get(archive) == NEW[::-1]
        lost = scene.source is not None and found != NEW and not source
        if found not in {scene.old, scene.new} or left or lost or not works:
            wrong.append((number, found, left, lost, works))
        number += 1

    assert (0, True, []) == (ended, number > 4, wrong)


# --- a loop, killed at random


def content(file_id: int, number: int) -> bytes:
    """Return bytes that say what they are; some are of several blocks."""
    head = f"{file_id} {number} ".encode()
    size = (number * 7919) % 20_000 + (1 << 19 if number % 10 == 0 else 0)
    return head + hashlib.shake_128(head).digest(size)


def write_for_ever(prefix: str, start: str, nested: str) -> None:
    """Store again and again, and print the number of each that is committed."""
    number = int(start)
    with PosixArchive(
        PosixOptions(
            prefix=Path(prefix),
            use_id2filename=nested == "True",
            durable=number % 2 == 1,
        )
    ) as archive:
        while True:
            number += 1
            # New ids all the time, and a few that are replaced.
            file_id = IDS[number % 3] if number % 5 else number
            data = content(file_id, number)
            with archive.create(
                file_id, size=len(data), mtime_ns=number, overwrite=True
            ) as writer:
                for at in range(0, len(data), 4096):
                    writer.write(data[at : at + 4096])
            # At once, for a line must not be cut by the kill.
            os.write(1, f"{number} {file_id}\n".encode())


def is_whole(path: Path, file_id: int) -> bool:
    data = path.read_bytes()
    told_id, number = map(int, data.split(b" ", 2)[:2])
    status = path.stat()
    return (file_id, content(file_id, number), number, 0o444) == (
        told_id,
        data,
        status.st_mtime_ns,
        stat.S_IMODE(status.st_mode),
    )


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_loop_of_writes_killed_at_random_leaves_whole_files(
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
    tmp_path: Path,
) -> None:
    """Every file that is visible, and every one that was reported."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    prefix = tmp_path / "archive"
    prefix.mkdir()
    reported: dict[int, int] = {}
    number = 0
    wrong: list[object] = []
    for kill in range(KILLS):
        with subprocess.Popen(
            [sys.executable, __file__, str(prefix), str(number), str(nested)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(WRITES // KILLS):
                number, file_id = map(int, process.stdout.readline().split())
                reported[file_id] = number
            # Anywhere within a write or two of the last one reported.
            moment = time.perf_counter() + chance.uniform(0, 0.003)
            while time.perf_counter() < moment:
                pass
            process.kill()
            for line in process.stdout:
                number, file_id = map(int, line.split())
                reported[file_id] = number
        with PosixArchive(
            PosixOptions(prefix=prefix, use_id2filename=nested)
        ) as archive:
            left = list((prefix / ".incoming").iterdir())
            for file_id, last in reported.items():
                path = prefix / (id2filename(file_id)[1:] if nested else str(file_id))
                told = archive.status(file_id).mtime_ns
                if not is_whole(path, file_id) or told < last or left:
                    wrong.append((kill, file_id, last, told, left))
        number += 1

    known = {prefix / (id2filename(i)[1:] if nested else str(i)) for i in reported}
    others = [
        path
        for path in prefix.rglob("*")
        if path.is_file() and path not in known and not path.name.startswith(".")
    ]
    # The file of a killed process that had no time to report it.
    names = {path: int(path.read_bytes().split(b" ", 1)[0]) for path in others}
    wrong += [path for path, file_id in names.items() if not is_whole(path, file_id)]

    assert ([], True) == (wrong, len(others) <= KILLS), f"seed {seed}"


if __name__ == "__main__":
    write_for_ever(*sys.argv[1:])
