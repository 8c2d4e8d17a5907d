from __future__ import annotations

import errno
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec  # type: ignore[import-untyped]
import pytest

from pacifica_archive_core import MemoryArchive, errors
from pacifica_archive_core.errors import (
    ArchiveError,
    ConfigError,
    FileError,
    InvalidFileId,
    UnknownBackend,
)
from pacifica_archive_core.filesystem import (
    ERRORS,
    PacificaFileSystem,
    os_error_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_core.filesystem import FilePath

MTIME_NS = 1_000_000_000_123_456_789


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    with MemoryArchive() as archive:
        yield archive


@pytest.fixture
def fs(archive: MemoryArchive) -> PacificaFileSystem:
    """Give a file system with 0123456789 under 5."""
    fs = PacificaFileSystem(archive=archive, skip_instance_cache=True)
    fs.pipe_file("5", b"0123456789", mtime_ns=MTIME_NS)
    return fs


@pytest.fixture(autouse=True)
def _no_instances() -> Iterator[None]:
    """Let no test have the file systems of another."""
    PacificaFileSystem.clear_instance_cache()
    yield
    PacificaFileSystem.clear_instance_cache()


# --- names ---


@pytest.mark.parametrize(
    "path", ["pacifica://5", "pacifica:5", "5", "/5", 5, Path("5"), "pacifica://5/"]
)
def test_an_id_may_be_written_so(fs: PacificaFileSystem, path: FilePath) -> None:
    assert "5" == fs.info(path)["name"]


@pytest.mark.parametrize(
    "path",
    ["", "x", "05", "-5", "+5", "5.0", "1/5", "\u0665", True, 5.0, -5, 2**63, "1_0"],
)
def test_what_is_no_id_is_a_value_error(fs: PacificaFileSystem, path: FilePath) -> None:
    with pytest.raises(ValueError, match="an id is an integer from 0"):
        fs.cat_file(path)


@pytest.mark.parametrize("path", ["x", "05", 2**63])
def test_what_is_no_id_does_not_exist(fs: PacificaFileSystem, path: FilePath) -> None:
    assert not fs.exists(path)


def test_an_int_is_expanded_to_its_path(fs: PacificaFileSystem) -> None:
    assert b"0123456789" == fs.cat(5)


def test_many_ints_are_expanded_to_their_paths(fs: PacificaFileSystem) -> None:
    fs.pipe_file(6, b"six")

    assert {"5": b"0123456789", "6": b"six"} == fs.cat([5, 6])


# --- what is known ---


def test_info_is_of_the_status(archive: MemoryArchive, fs: PacificaFileSystem) -> None:
    status = archive.status(5)

    assert {
        "name": "5",
        "size": 10,
        "type": "file",
        "mtime": MTIME_NS / 1e9,
        "mtime_ns": MTIME_NS,
        "created": status.ctime_ns / 1e9,
        "version": status.version,
        "ETag": f'"{status.version}"',
        "residency": "disk",
        "online": True,
    } == fs.info(5)


def test_info_of_nothing_is_file_not_found(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match="file 6: not in the archive"):
        fs.info("6")


def test_root_is_the_only_directory(fs: PacificaFileSystem) -> None:
    assert [True, False, False] == [fs.isdir(path) for path in ("", "5", "6")]


def test_root_has_the_info_of_a_directory(fs: PacificaFileSystem) -> None:
    assert {"name": "", "size": 0, "type": "directory"} == fs.info("pacifica://")


def test_urls_of_a_list_are_stripped() -> None:
    urls = ["pacifica://5", "pacifica://6"]

    assert ["5", "6"] == PacificaFileSystem._strip_protocol(urls)  # noqa: SLF001 (fsspec calls it)


def test_only_what_is_stored_is_a_file(fs: PacificaFileSystem) -> None:
    assert [False, True, False] == [fs.isfile(path) for path in ("", "5", "6")]


def test_existence_is_not_denied_by_an_archive_that_fails(
    archive: MemoryArchive, fs: PacificaFileSystem
) -> None:
    archive.close()

    with pytest.raises(ValueError, match="closed"):
        fs.exists("5")


def test_sizes_come_in_the_order_asked_for(fs: PacificaFileSystem) -> None:
    fs.pipe_file(6, b"six")

    assert [3, 10, 3] == fs.sizes([6, "5", "pacifica://6"])


def test_size_of_nothing_is_file_not_found(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match="file 6"):
        fs.sizes([5, 6])


def test_modified_is_the_time_of_the_content(fs: PacificaFileSystem) -> None:
    assert datetime(2001, 9, 9, 1, 46, 40, 123456, tzinfo=UTC) == fs.modified(5)


def test_created_is_the_time_of_the_store(
    archive: MemoryArchive, fs: PacificaFileSystem
) -> None:
    passed = fs.created(5) - datetime(1970, 1, 1, tzinfo=UTC)

    assert archive.status(5).ctime_ns // 1000 == passed // timedelta(microseconds=1)


def test_ukey_is_the_version(archive: MemoryArchive, fs: PacificaFileSystem) -> None:
    assert archive.status(5).version == fs.ukey(5)


def test_checksum_differs_for_a_replacement_by_equal_bytes(
    fs: PacificaFileSystem,
) -> None:
    before = fs.checksum(5)
    fs.pipe_file(5, b"0123456789", mtime_ns=MTIME_NS)

    assert before != fs.checksum(5)


def test_checksum_of_a_file_stays(fs: PacificaFileSystem) -> None:
    assert fs.checksum(5) == fs.checksum(5)


# --- what an archive has not ---


@pytest.mark.parametrize(
    "call",
    [
        lambda fs: fs.ls("pacifica://"),
        lambda fs: fs.find(""),
        lambda fs: list(fs.walk("")),
        lambda fs: fs.glob("1*"),
        lambda fs: fs.rm("", recursive=True),
        lambda fs: fs.cat("*"),
    ],
)
def test_there_is_no_listing(
    fs: PacificaFileSystem, call: Callable[[PacificaFileSystem], object]
) -> None:
    with pytest.raises(NotImplementedError, match="no listing"):
        call(fs)


@pytest.mark.parametrize(
    "call",
    [
        lambda fs: fs.mkdir("7"),
        lambda fs: fs.makedirs("7", exist_ok=True),
        lambda fs: fs.rmdir("7"),
        lambda fs: fs.put_file("/", "7"),
    ],
)
def test_there_are_no_directories(
    fs: PacificaFileSystem, call: Callable[[PacificaFileSystem], object]
) -> None:
    with pytest.raises(NotImplementedError, match="no directories"):
        call(fs)


def test_root_is_there_already(fs: PacificaFileSystem) -> None:
    fs.makedirs("", exist_ok=True)

    with pytest.raises(FileExistsError, match="root"):
        fs.makedirs("")


def test_a_file_lists_itself(fs: PacificaFileSystem) -> None:
    assert [["5"], [fs.info(5)]] == [fs.ls("5", detail=False), fs.ls("5")]


def test_a_file_is_found_under_itself(fs: PacificaFileSystem) -> None:
    assert ["5"] == fs.find("5")


def test_caches_of_listings_may_be_forgotten(fs: PacificaFileSystem) -> None:
    fs.invalidate_cache()

    assert fs.exists(5)


@pytest.mark.parametrize("mode", ["ab", "r+b", "w+b"])
def test_parts_of_a_file_are_not_written(fs: PacificaFileSystem, mode: str) -> None:
    with pytest.raises(NotImplementedError, match="whole files"):
        fs.open("5", mode)


# --- removing ---


def test_removed_file_is_gone(fs: PacificaFileSystem) -> None:
    fs.rm("5")

    assert not fs.exists("5")


def test_file_is_removed_as_a_tree_of_one(fs: PacificaFileSystem) -> None:
    fs.rm("pacifica://5", recursive=True)

    assert not fs.exists("5")


def test_what_is_not_there_is_not_removed(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.rm_file("6")


# --- errors ---


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in map(errors.__dict__.__getitem__, errors.__all__)
        if not issubclass(kind, (ConfigError, errors.BackendError, InvalidFileId))
    ],
)
def test_every_error_has_an_errno(kind: type[ArchiveError]) -> None:
    exc = kind(5) if issubclass(kind, FileError) else kind("it is so")
    found = os_error_of(exc)

    assert str(exc) == str(found.strerror)[: len(str(exc))]
    assert isinstance(found.errno, int)


@pytest.mark.parametrize(("kind", "number"), ERRORS.values())
def test_class_of_an_error_is_what_python_says_of_its_errno(
    kind: type[OSError], number: int
) -> None:
    """But for what is about no single errno."""
    if kind is ConnectionError:
        assert OSError is type(OSError(number, ""))
    else:
        assert kind is type(OSError(number, ""))


def test_cause_of_an_error_is_the_archive_s(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.open("6")

    assert isinstance(caught.value.__cause__, errors.NoSuchFile)


def test_full_archive_is_no_space() -> None:
    fs = PacificaFileSystem("memory", capacity=3)
    with pytest.raises(OSError, match="no space") as caught:
        fs.pipe_file(1, b"four")

    assert errno.ENOSPC == caught.value.errno


# --- options ---


def test_url_and_options_open_a_file() -> None:
    with fsspec.open("pacifica://7", "wb", type="memory") as file:
        file.write(b"seven")
    with fsspec.open("pacifica://7", type="memory") as file:
        assert b"seven" == file.read()


def test_neither_type_nor_archive_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="give type"):
        fsspec.filesystem("pacifica")


def test_type_and_archive_is_a_value_error(archive: MemoryArchive) -> None:
    with pytest.raises(ValueError, match="give type"):
        PacificaFileSystem("memory", archive=archive)


def test_open_archive_takes_no_options(archive: MemoryArchive) -> None:
    with pytest.raises(ValueError, match="capacity"):
        PacificaFileSystem(archive=archive, capacity=3)


def test_unknown_on_offline_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="raise, stage, wait"):
        PacificaFileSystem("memory", on_offline="pray")


def test_nothing_is_opened_before_it_is_used() -> None:
    fs = PacificaFileSystem("nowhere")

    with pytest.raises(UnknownBackend, match="nowhere"):
        fs.info(5)


def test_unknown_option_is_a_config_error() -> None:
    fs = PacificaFileSystem("memory", capacities=3)

    with pytest.raises(ConfigError, match="capacities"):
        fs.info(5)


def test_options_of_fsspec_are_no_backend_s() -> None:
    fs = PacificaFileSystem("memory", use_listings_cache=False, asynchronous=False)

    assert not fs.exists(5)


def test_equal_options_share_an_archive() -> None:
    one = PacificaFileSystem("memory", skip_instance_cache=True)
    other = PacificaFileSystem("memory", skip_instance_cache=True)

    assert one.archive is other.archive


def test_other_options_have_another_archive() -> None:
    one = PacificaFileSystem("memory")
    other = PacificaFileSystem("memory", capacity=3)

    assert one.archive is not other.archive


def test_archives_are_opened_anew_when_all_are_let_go() -> None:
    before = PacificaFileSystem("memory")
    before.pipe_file(5, b"01234")
    PacificaFileSystem.clear_instance_cache()

    assert not PacificaFileSystem("memory").exists(5)
    assert before.exists(5)


def test_archive_is_closed_when_nothing_uses_it() -> None:
    fs = PacificaFileSystem("memory", skip_instance_cache=True)
    archive = fs.archive
    del fs

    with pytest.raises(ValueError, match="closed"):
        archive.check()


def test_open_file_keeps_its_archive() -> None:
    fs = PacificaFileSystem("memory", skip_instance_cache=True)
    fs.pipe_file(5, b"01234")
    file = fs.open(5)
    del fs

    with file:
        assert b"01234" == file.read()


def test_configuration_of_fsspec_gives_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "pacifica", {"type": "memory"})
    with fsspec.open("pacifica://5", "wb") as file:
        file.write(b"01234")

    monkeypatch.undo()
    assert b"01234" == PacificaFileSystem("memory").cat_file(5)


# --- other processes, and threads ---


def test_pickled_file_system_is_equal_and_has_the_same_archive() -> None:
    fs = PacificaFileSystem("memory", capacity=100)
    fs.pipe_file(5, b"01234")
    copy = pickle.loads(pickle.dumps(fs))  # noqa: S301 (our own)

    assert (fs, b"01234") == (copy, copy.cat_file(5))


def test_options_survive_json() -> None:
    fs = PacificaFileSystem("memory", on_offline="stage", capacity=100)

    assert fs == PacificaFileSystem.from_json(fs.to_json())


def test_pickle_holds_no_archive() -> None:
    fs = PacificaFileSystem("memory")
    fs.pipe_file(5, b"no trace of this")

    assert b"no trace of this" not in pickle.dumps(fs)


def test_file_system_of_an_open_archive_is_not_pickled(fs: PacificaFileSystem) -> None:
    with pytest.raises(TypeError, match="give type= and options"):
        pickle.dumps(fs)


#: A child of a fork must open an archive of its own: that of its parent is refused.
FORKING = """
import os, sys
from pacifica_archive_core.filesystem import PacificaFileSystem
fs = PacificaFileSystem("memory")
fs.pipe_file(5, b"of the parent")
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert not fs.exists(5)
fs.pipe_file(5, b"of the child")
os._exit(b"of the child" != PacificaFileSystem("memory").cat_file(5))
"""


def test_child_of_a_fork_opens_its_own_archive() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], check=False, timeout=60)

    assert 0 == done.returncode


def test_core_works_without_fsspec() -> None:
    program = (
        "import sys; sys.modules['fsspec'] = None\n"
        "import pacifica_archive_core.cli, pacifica_archive_core as core\n"
        "[getattr(core, name) for name in core.__all__]"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)

    assert 0 == done.returncode


def store_and_fetch(file_id: int) -> bytes:
    """Store through one file system and fetch through another, made anew."""
    url = f"pacifica://{file_id}"
    with fsspec.open(url, "wb", type="memory") as file:
        file.write(b"%d" % file_id)
    with fsspec.open(url, type="memory", skip_instance_cache=True) as file:
        content: bytes = file.read()
    return content


def test_threads_have_one_archive() -> None:
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(store_and_fetch, range(320)))
    whole = fsspec.filesystem("pacifica", type="memory").cat(list(range(320)))

    assert [b"%d" % file_id for file_id in range(320)] == found
    assert set(found) == set(whole.values())


def test_info_is_json(fs: PacificaFileSystem) -> None:
    assert fs.info(5) == json.loads(json.dumps(fs.info(5)))
