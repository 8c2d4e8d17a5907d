"""One bit flipped on the medium, on the wire, in the client: found, and said where."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cutting import PATIENCE_S, Deed, Fault, Way
from remote_command import command

from pacifica_archive_core import ArchiveError, DigestMismatch, NoSuchFile
from pacifica_archive_core.testing.base import content, fetch, refusal, store

if TYPE_CHECKING:
    from cutting import Proxy
    from remote_kit import Served

    from pacifica_archive_core import Archive

MIB = 1 << 20
#: Longer than what is held back, and spans of the windows of a reader.
DATA = content("data", 3 * MIB)
#: Exit codes: bytes that are not those kept.
DIFFERS = 10


def flip(path: Path, offset: int) -> None:
    """Invert one bit on a medium."""
    path.chmod(0o600)
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


# --- on the medium


def test_a_bit_flipped_on_the_medium_is_found_by_get(
    direct: Archive, served: Served, file_id: int, tmp_path: Path
) -> None:
    store(direct, file_id, DATA)
    flip(served.prefix / str(file_id), 2 * MIB)
    done = command(served.url, "get", str(file_id), str(tmp_path / "file"))

    assert (DIFFERS, True, []) == (
        done.returncode,
        "on the medium" in done.stderr,
        list(tmp_path.iterdir()),
    )


def test_a_bit_flipped_on_the_medium_is_found_by_verify(
    direct: Archive, served: Served, file_id: int
) -> None:
    store(direct, file_id, DATA)
    flip(served.prefix / str(file_id), 2 * MIB)
    done = command(served.url, "verify", "--json", str(file_id))
    verdict = json.loads(done.stdout.splitlines()[0])

    assert (DIFFERS, "differs", "medium") == (
        done.returncode,
        verdict["result"],
        verdict["where"],
    )


# --- on the way up


@pytest.mark.parametrize("size", [5000, len(DATA)], ids=["short", "long"])
def test_a_bit_flipped_on_the_way_up_is_refused(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int, size: int
) -> None:
    """By the server, and the old version stays."""
    store(direct, file_id, b"old")
    fault = proxy.add(Fault(deed=Deed.FLIP, way=Way.UP, at=size - 1, method="PUT"))
    error = refusal(store, remote, file_id, DATA[:size])

    assert (True, DigestMismatch, b"old") == (
        fault.came.wait(PATIENCE_S),
        type(error),
        fetch(direct, file_id),
    )


@pytest.mark.parametrize("place", [0, 8, 20, 60])
def test_a_bit_flipped_in_the_digests_stores_nothing(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int, place: int
) -> None:
    """In a name, a sign, a value, or what fills them up."""
    fault = proxy.add(
        Fault(deed=Deed.FLIP, way=Way.UP, at=len(DATA) + place, method="PUT")
    )
    error = refusal(store, remote, file_id, DATA)

    assert (True, True, NoSuchFile) == (
        fault.came.wait(PATIENCE_S),
        isinstance(error, ArchiveError),
        type(refusal(direct.status, file_id)),
    )


def test_put_says_that_a_bit_was_flipped_on_the_way(
    direct: Archive, proxy: Proxy, file_id: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(DATA)
    proxy.add(Fault(deed=Deed.FLIP, way=Way.UP, at=MIB, method="PUT"))
    done = command(proxy.url, "put", str(file_id), str(tmp_path / "file"))

    assert (DIFFERS, True, True) == (
        done.returncode,
        "on the way: what arrived is not what was digested here" in done.stderr,
        isinstance(refusal(direct.status, file_id), NoSuchFile),
    )


# --- on the way down


@pytest.mark.parametrize("offset", [5, MIB, len(DATA) - 1])
def test_a_bit_flipped_on_the_way_down_is_found_by_get(
    direct: Archive, proxy: Proxy, file_id: int, tmp_path: Path, offset: int
) -> None:
    """It reads again, and knows that the archive has the right bytes."""
    store(direct, file_id, DATA)
    fault = proxy.add(Fault(deed=Deed.FLIP, way=Way.DOWN, offset=offset))
    done = command(proxy.url, "get", str(file_id), str(tmp_path / "file"))

    assert (True, DIFFERS, True, []) == (
        fault.came.wait(PATIENCE_S),
        done.returncode,
        "on the way" in done.stderr,
        list(tmp_path.iterdir()),
    )


def test_a_reader_has_the_digest_that_tells(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    store(direct, file_id, DATA)
    proxy.add(Fault(deed=Deed.FLIP, way=Way.DOWN, offset=MIB))
    with remote.open(file_id) as reader:
        found = hashlib.sha256(reader.readall()).digest()
        kept = reader.digests()["sha-256"]

    assert (True, True) == (found != kept, kept == hashlib.sha256(DATA).digest())


# --- in the client


@pytest.mark.parametrize("size", [5000, len(DATA)], ids=["short", "long"])
def test_bytes_that_are_not_those_of_the_caller_s_digest_are_refused(
    direct: Archive, file_id: int, size: int
) -> None:
    """As where a bit flips in memory, behind the hash of the source."""
    store(direct, file_id, b"old")
    data = DATA[:size]
    digest = hashlib.sha256(data).digest()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    error = refusal(
        lambda: store(direct, file_id, flipped, digests={"sha-256": digest})
    )

    assert (DigestMismatch, True, b"old") == (
        type(error),
        "in this process" in str(error),
        fetch(direct, file_id),
    )


def test_a_bit_flipped_in_the_client_s_temporary_file_is_refused(
    direct: Archive, file_id: int
) -> None:
    """Between the hash and the sending."""
    store(direct, file_id, b"old")
    before = open_files()
    writer = direct.create(file_id, overwrite=True)
    writer.write(DATA)
    (spool,) = open_files() - before
    flip(Path(spool), MIB)
    error = refusal(writer.commit)

    assert (DigestMismatch, b"old") == (type(error), fetch(direct, file_id))


def open_files() -> set[str]:
    """Return the descriptors of this process that are of deleted files."""
    return {
        str(path)
        for path in Path("/proc/self/fd").iterdir()
        if path.is_symlink() and "(deleted)" in os.readlink(path)  # noqa: PTH115 (of what is deleted)
    }
