"""A tree of release 0.4.2 is an archive like any other from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from conftest import REPLACED, RESTORED, STAGED, STRANGE, expected_path, snapshot
from servers import Server, serve_new, serve_old

from pacifica_archive_core import ConfigError, open_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import OldTree, Stored

#: Each test changes ids of its own, so that all can share one server.
NEW, ANOTHER_NEW, ADOPTED = 777_777, 888_888, 999_999


@attrs.frozen(kw_only=True)
class TakenOver:
    """A copy of an old tree, and the server that took it over."""

    old: OldTree
    prefix: Path
    server: Server

    def path(self, file_id: int) -> str:
        """Say where a file of this layout lies within the prefix."""
        return expected_path(file_id, use_id2filename=self.old.use_id2filename)

    def file(self, file_id: int) -> Stored:
        """Read a file past the server."""
        return snapshot(self.prefix)[self.path(file_id)]


@pytest.fixture(scope="module")
def taken(
    old_tree: OldTree, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TakenOver]:
    work = tmp_path_factory.mktemp("taken")
    prefix = old_tree.copied(work / "archive")
    layout = old_tree.use_id2filename
    with serve_new(prefix, work, use_id2filename=layout) as server:
        yield TakenOver(old=old_tree, prefix=prefix, server=server)


def test_a_new_file_lies_where_the_old_release_would_keep_it(taken: TakenOver) -> None:
    taken.server.put(NEW, b"new")

    file = taken.file(NEW)

    assert (b"new", 0o444) == (file.content, file.mode)


@pytest.mark.parametrize("file_id", [1, REPLACED, 2**31])
def test_an_old_file_is_replaced(taken: TakenOver, file_id: int) -> None:
    taken.server.put(file_id, b"replaced")

    file = taken.file(file_id)

    assert (b"replaced", 0o444) == (file.content, file.mode)
    assert b"replaced" == taken.server.ask("GET", file_id).body


def test_head_follows_a_replaced_file(taken: TakenOver) -> None:
    taken.server.put(RESTORED, b"replaced")

    head = taken.server.ask("HEAD", RESTORED)

    assert "8" == head.headers["x-content-length"]


def test_an_old_file_is_deleted(taken: TakenOver) -> None:
    answer = taken.server.ask("DELETE", 256)

    assert 200 == answer.status
    assert taken.path(256) not in snapshot(taken.prefix)
    assert 404 == taken.server.ask("GET", 256).status


def test_an_old_file_is_staged(taken: TakenOver) -> None:
    answer = taken.server.ask("POST", STAGED, b"")

    assert 200 == answer.status


def test_no_other_file_is_touched(taken: TakenOver) -> None:
    changed = {taken.path(file_id) for file_id in (ANOTHER_NEW, 255, 32768)}
    before = snapshot(taken.prefix)
    expected = {path: file for path, file in before.items() if path not in changed}

    taken.server.put(ANOTHER_NEW, b"new")
    taken.server.put(255, b"replaced")
    taken.server.ask("DELETE", 32768)
    after = snapshot(taken.prefix)

    assert expected == {p: file for p, file in after.items() if p not in changed}


def test_a_name_that_is_no_id_is_neither_served_nor_harmed(taken: TakenOver) -> None:
    names = STRANGE[taken.old.use_id2filename]
    before = taken.old.strangers(taken.prefix)

    answers = {
        taken.server.ask(method, name, body).status
        for name in names
        for method, body in (("GET", None), ("PUT", b"no"), ("DELETE", None))
    }

    assert {400} == answers
    assert before == taken.old.strangers(taken.prefix)


def test_a_name_that_is_no_id_can_be_adopted_under_one(taken: TakenOver) -> None:
    source = taken.prefix / "upload.part"
    source.write_bytes(b"left by a cut upload")

    answer = taken.server.patch(ADOPTED, source)

    assert 200 == answer.status
    assert b"left by a cut upload" == taken.server.ask("GET", ADOPTED).body


def test_the_marker_outlives_the_files_it_was_made_for(
    old_tree: OldTree, tree: Path
) -> None:
    """An emptied tree could be taken for either, but for the marker."""
    layout = old_tree.use_id2filename
    with open_archive("posix", prefix=tree, use_id2filename=layout) as archive:
        for file_id in old_tree.paths:
            archive.delete(file_id)
    for path in old_tree.strangers(tree):
        (tree / path).unlink()

    with pytest.raises(ConfigError, match="use_id2filename"):
        open_archive("posix", prefix=tree, use_id2filename=not layout)


def test_a_site_can_go_back(
    old_tree: OldTree, release: Path, tree: Path, tmp_path: Path
) -> None:
    """What ours wrote, the old release serves."""
    layout = old_tree.use_id2filename
    with serve_new(tree, tmp_path, use_id2filename=layout) as new:
        new.put(NEW, b"written by the new")
        new.put(REPLACED, b"replaced by the new")

    with serve_old(release, tree, tmp_path, use_id2filename=layout) as old:
        found = [old.ask("GET", file_id).body for file_id in (NEW, REPLACED)]

    assert [b"written by the new", b"replaced by the new"] == found
