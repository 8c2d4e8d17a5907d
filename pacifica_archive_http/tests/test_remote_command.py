"""The command line on a remote archive, from end to end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from remote_command import command

from pacifica_archive_core.testing.base import content

if TYPE_CHECKING:
    from pathlib import Path

    from remote_kit import Served
    from remote_store import Store

SIZES = {"empty": 0, "short": 24, "long": 3 << 20}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_file_is_put_and_got(
    served: Served, file_id: int, tmp_path: Path, size: int
) -> None:
    data = content("data", size)
    (tmp_path / "there").write_bytes(data)
    put = command(served.url, "put", str(file_id), str(tmp_path / "there"))
    got = command(served.url, "get", str(file_id), str(tmp_path / "back"))

    assert (0, 0, data) == (
        put.returncode,
        got.returncode,
        (tmp_path / "back").read_bytes(),
    )


def test_a_file_keeps_its_time_to_the_nanosecond(
    served: Served, file_id: int, tmp_path: Path
) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    command(served.url, "put", str(file_id), str(tmp_path / "there"))
    command(served.url, "get", str(file_id), str(tmp_path / "back"))

    assert (tmp_path / "there").stat().st_mtime_ns == (
        tmp_path / "back"
    ).stat().st_mtime_ns


def test_the_status_is_the_server_s(
    served: Served, file_id: int, tmp_path: Path
) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    command(served.url, "put", str(file_id), str(tmp_path / "there"))
    done = command(served.url, "status", "--json", str(file_id))
    status = json.loads(done.stdout)

    assert (0, 5, "disk", str(served.prefix / str(file_id))) == (
        done.returncode,
        status["size"],
        status["residency"],
        status["path"],
    )


def test_a_file_on_tape_is_staged(memory_store: Store) -> None:
    memory_store.reset()
    memory_store.write(7, b"bytes")
    memory_store.purge(7)
    url = memory_store.url()
    offline = command(url, "get", "7", "-").returncode
    staged = command(url, "stage", "7").returncode
    memory_store.finish_recalls()
    got = command(url, "get", "7", "-")

    assert (5, 0, "bytes") == (offline, staged, got.stdout)


def test_a_file_is_verified(served: Served, file_id: int, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    command(served.url, "put", str(file_id), str(tmp_path / "there"))
    done = command(served.url, "verify", "--json", str(file_id))

    assert (0, "ok") == (
        done.returncode,
        json.loads(done.stdout.splitlines()[0])["result"],
    )


def test_a_file_is_deleted(served: Served, file_id: int, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    command(served.url, "put", str(file_id), str(tmp_path / "there"))
    deleted = command(served.url, "delete", str(file_id))
    status = command(served.url, "status", str(file_id))

    assert (0, 3) == (deleted.returncode, status.returncode)


def test_a_taken_id_is_refused(served: Served, file_id: int, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    codes = [
        command(served.url, "put", str(file_id), str(tmp_path / "there")).returncode
        for _ in range(2)
    ]

    assert [0, 4] == codes


def test_a_server_that_is_not_there_is_said_in_one_line(
    served: Served, file_id: int
) -> None:
    """Without its address, which may be private."""
    nobody = served.url.rpartition(":")[0] + ":1"
    done = command(nobody, "-o", "retry_for_s=0", "status", str(file_id))

    assert (6, 1, False) == (
        done.returncode,
        len(done.stderr.splitlines()),
        "127.0.0.1" in done.stderr,
    )
