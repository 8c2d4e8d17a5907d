"""Files on a disk, read again by `pacifica-archive verify` and `get`."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pacifica_archive_core.cli import main
from pacifica_archive_core.verify import verify
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30


def run(prefix: Path, command: str, *args: str, stdin: bytes = b"") -> Result:
    selection = ("-t", "posix", "--prefix", str(prefix), "-o", "durable=false")
    return CliRunner().invoke(main, (command, *selection, *args), input=stdin)


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def flip(path: Path, position: int) -> None:
    """Flip a bit as a disk would: neither the size nor the times tell."""
    found = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ 0x04]))
    path.chmod(stat.S_IMODE(found.st_mode))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.fixture(scope="module")
def gibibyte(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the prefix of an archive whose file 5 is 1 GiB, and has a digest."""
    # Not for pytest to keep; and it is sparse, so it costs no disk.
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as name:
        prefix = Path(name) / "archive"
        prefix.mkdir()
        source = prefix / "source"
        source.touch()
        os.truncate(source, GIB)
        adopted = run(prefix, "adopt", "5", str(source))
        recorded = run(prefix, "verify", "--record", "5")

        assert (0, 0) == (adopted.exit_code, recorded.exit_code)
        yield prefix


class TestGibibyte:
    @pytest.mark.parametrize("position", [0, GIB // 3, GIB - 1])
    def test_one_flipped_bit_in_a_gibibyte_is_found_on_the_medium(
        self, gibibyte: Path, position: int
    ) -> None:
        flip(gibibyte / "5", position)

        result = run(gibibyte, "verify", "--json", "5")

        flip(gibibyte / "5", position)
        (record,) = records(result)
        assert (10, "differs", "medium", GIB) == (
            result.exit_code,
            record["result"],
            record["where"],
            record["size"],
        )

    def test_a_gibibyte_without_a_flipped_bit_is_ok(self, gibibyte: Path) -> None:
        assert 0 == run(gibibyte, "verify", "5").exit_code


def test_get_of_a_flipped_bit_writes_no_file(tmp_path: Path) -> None:
    run(tmp_path, "put", "5", "-", stdin=b"what was stored")
    flip(tmp_path / "5", 3)
    target = tmp_path / "target"

    result = run(tmp_path, "get", "5", str(target))

    assert (10, False) == (result.exit_code, target.exists())


@pytest.mark.parametrize(("flipped", "readings"), [(False, 1), (True, 2)])
def test_the_kernel_is_asked_to_forget_the_file_before_each_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, flipped: bool, readings: int
) -> None:
    """Else what is verified is the memory of this host."""
    run(tmp_path, "put", "5", "-", stdin=b"what was stored")
    if flipped:
        flip(tmp_path / "5", 3)
    asked: list[tuple[str, int, int, int]] = []
    monkeypatch.setattr(
        os,
        "posix_fadvise",
        lambda fd, *args: asked.append(
            (str(Path(f"/proc/self/fd/{fd}").readlink()), *args)
        ),
    )

    run(tmp_path, "verify", "5")

    assert [(str(tmp_path / "5"), 0, 0, os.POSIX_FADV_DONTNEED)] * readings == asked


def test_what_was_recorded_is_passed_over_though_its_version_changed(
    tmp_path: Path,
) -> None:
    """An extended attribute changes the ctime, which is part of the version."""
    run(tmp_path, "put", "--digest", "none", "5", "-", stdin=b"x")
    args = ("--record", "--journal", str(tmp_path / "journal"), "5")
    run(tmp_path, "verify", *args)

    result = run(tmp_path, "verify", *args)

    assert (0, "1 file: 1 ok before\n") == (result.exit_code, result.stderr)


def test_many_readers_leave_no_descriptor(tmp_path: Path) -> None:
    with PosixArchive(PosixOptions(prefix=tmp_path, durable=False)) as archive:
        for file_id in range(64):
            with archive.create(file_id) as writer:
                writer.write(b"x")
                writer.digests["sha-256"] = bytes(32)
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))

        list(verify(archive, range(80), readers=32))

        assert before == len(list(descriptors.iterdir()))
