"""What release 0.4.2 stored is what is served now."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from conftest import REPLACED, RESTORED, RESTORED_MTIME_NS, snapshot
from servers import serve_new

from pacifica_archive_core import ConfigError, open_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import OldTree
    from servers import Server

    from pacifica_archive_core import Archive

#: What HEAD says in words and whole numbers; the times are compared as numbers.
WORDS = (
    "x-pacifica-messsage",
    "x-pacifica-file",
    "x-content-length",
    "x-pacifica-bytes-per-level",
    "x-pacifica-file-storage-media",
    "content-type",
)
#: A float holds the seconds of this century to 0.24 microseconds.
FLOAT_S = 1e-6


@pytest.fixture
def archive(old_tree: OldTree, tree: Path) -> Iterator[Archive]:
    with open_archive(
        "posix", prefix=tree, use_id2filename=old_tree.use_id2filename
    ) as archive:
        yield archive


@pytest.fixture(scope="module")
def unchanged(
    old_tree: OldTree, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve the very tree, for tests that only read."""
    with serve_new(
        old_tree.prefix,
        tmp_path_factory.mktemp("new"),
        use_id2filename=old_tree.use_id2filename,
    ) as server:
        yield server


def test_the_old_release_kept_each_file_where_the_documents_say(
    old_tree: OldTree,
) -> None:
    """Without it the other tests might compare nothing with nothing."""
    missing = [path for path in old_tree.paths.values() if path not in old_tree.files]

    assert [] == missing
    assert 20_000 == len(old_tree.by_id[REPLACED].content)
    assert RESTORED_MTIME_NS == old_tree.by_id[RESTORED].mtime_ns


def test_the_library_reads_every_file_byte_for_byte(
    old_tree: OldTree, archive: Archive
) -> None:
    expected = {file_id: file.content for file_id, file in old_tree.by_id.items()}

    found = {}
    for file_id in old_tree.paths:
        with archive.open(file_id) as reader:
            found[file_id] = reader.read()

    assert expected == found


def test_the_library_tells_every_mtime_to_the_nanosecond(
    old_tree: OldTree, archive: Archive
) -> None:
    expected = {file_id: file.mtime_ns for file_id, file in old_tree.by_id.items()}

    found = {file_id: archive.status(file_id).mtime_ns for file_id in old_tree.paths}

    assert expected == found


def test_the_server_sends_every_file_byte_for_byte(
    old_tree: OldTree, unchanged: Server
) -> None:
    expected = {
        file_id: (200, file.content) for file_id, file in old_tree.by_id.items()
    }

    found = {}
    for file_id in old_tree.paths:
        answer = unchanged.ask("GET", file_id)
        found[file_id] = (answer.status, answer.body)

    assert expected == found


def test_the_server_dates_every_file_by_its_mtime(
    old_tree: OldTree, unchanged: Server
) -> None:
    expected = {
        file_id: file.mtime_ns // 1_000_000_000
        for file_id, file in old_tree.by_id.items()
    }

    found = {}
    for file_id in old_tree.paths:
        date = unchanged.ask("GET", file_id).headers["last-modified"]
        found[file_id] = int(parsedate_to_datetime(date).timestamp())

    assert expected == found


def test_head_says_the_words_of_the_old_release(
    old_tree: OldTree, unchanged: Server
) -> None:
    expected = {
        file_id: (head.status, [head.headers[name] for name in WORDS])
        for file_id, head in old_tree.heads.items()
    }

    found = {}
    for file_id in old_tree.paths:
        head = unchanged.ask("HEAD", file_id)
        found[file_id] = (head.status, [head.headers.get(name) for name in WORDS])

    assert expected == found


@pytest.mark.parametrize("name", ["last-modified", "x-pacifica-ctime"])
def test_head_says_the_times_of_the_old_release(
    old_tree: OldTree, unchanged: Server, name: str
) -> None:
    expected = {
        file_id: pytest.approx(float(head.headers[name]), rel=0, abs=FLOAT_S)
        for file_id, head in old_tree.heads.items()
    }

    found = {
        file_id: float(unchanged.ask("HEAD", file_id).headers[name])
        for file_id in old_tree.paths
    }

    assert expected == found


def test_head_says_the_mtime_as_python_prints_a_float(
    old_tree: OldTree, unchanged: Server
) -> None:
    expected = {
        file_id: repr(file.mtime_ns / 1e9) for file_id, file in old_tree.by_id.items()
    }

    found = {
        file_id: unchanged.ask("HEAD", file_id).headers["last-modified"]
        for file_id in old_tree.paths
    }

    assert expected == found


def test_opening_changes_no_file(old_tree: OldTree, tree: Path) -> None:
    with open_archive(
        "posix", prefix=tree, use_id2filename=old_tree.use_id2filename
    ) as archive:
        archive.check()

    assert dict(old_tree.files) == {
        path: file for path, file in snapshot(tree).items() if path in old_tree.files
    }


def test_the_other_layout_is_refused(old_tree: OldTree, tree: Path) -> None:
    """No marker yet: the tree is recognised by looking."""
    with pytest.raises(ConfigError, match="use_id2filename"):
        open_archive("posix", prefix=tree, use_id2filename=not old_tree.use_id2filename)
