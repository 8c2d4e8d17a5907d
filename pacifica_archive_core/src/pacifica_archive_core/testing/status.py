"""What is said of files without touching their bytes, one by one and in bulk."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pacifica_archive_core.errors import (
    ArchiveError,
    FileError,
    InvalidFileId,
    NoSuchFile,
)
from pacifica_archive_core.status import FileStatus, Media, Residency, StorageLevel
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    lasting,
    refusal,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pacifica_archive_core.archive import Archive

DATA = content("data", 5000)

_recording: list[str] = []
_listeners: list[None] = []


def _record_open(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _listeners:
        _recording.append(str(args[0]))


@functools.cache
def _listen() -> None:
    # For good: an audit hook cannot be taken away (PEP 578).
    sys.addaudithook(_record_open)


@contextlib.contextmanager
def opened_names() -> Iterator[list[str]]:
    """Record the names of the files that Python code opens in a with-block."""
    _listen()
    _recording.clear()
    _listeners.append(None)
    try:
        yield _recording
    finally:
        _listeners.pop()


def short(answer: object) -> object:
    """Return what answers to many questions are compared by."""
    if isinstance(answer, ArchiveError):
        return type(answer)
    return lasting(answer) if isinstance(answer, FileStatus) else answer


class StatusContract(Declarations):
    """``status``, ``stage`` and their bulk forms, for files on disk."""

    def test_a_status_names_its_file(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        store(archive, 1, b"")

        assert [FILE_ID, 1] == [archive.status(i).file_id for i in (FILE_ID, 1)]

    @pytest.mark.parametrize("size", [0, 1, 5000])
    def test_a_status_has_the_size(self, archive: Archive, size: int) -> None:
        store(archive, FILE_ID, content(size, size))

        assert size == archive.status(FILE_ID).size

    def test_a_status_has_the_size_of_what_lies_on_the_medium(
        self, archive: Archive
    ) -> None:
        self.write_raw(archive, FILE_ID, DATA)

        assert len(DATA) == archive.status(FILE_ID).size

    def test_a_new_file_is_online(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        status = archive.status(FILE_ID)

        assert (True, Media.DISK) == (status.online, status.media)

    def test_an_empty_file_is_on_disk(self, archive: Archive) -> None:
        """No level has bytes of it, yet nothing is lost and nothing to stage."""
        store(archive, FILE_ID, b"")

        assert Residency.DISK is archive.status(FILE_ID).residency

    def test_a_level_has_the_whole_file(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        levels = archive.status(FILE_ID).levels

        assert StorageLevel(Media.DISK, len(DATA)) in levels

    def test_a_status_says_where_the_file_is(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)

        assert archive.status(FILE_ID).path

    def test_two_files_have_two_paths(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        store(archive, 1, DATA)

        assert archive.status(1).path != archive.status(FILE_ID).path

    def test_the_ctime_is_the_stores_and_not_the_senders(
        self, archive: Archive
    ) -> None:
        """Within a minute: it may be the clock of another machine."""
        store(archive, FILE_ID, DATA, mtime_ns=10**9)

        assert abs(time.time_ns() - archive.status(FILE_ID).ctime_ns) < 60 * 10**9

    def test_a_file_on_disk_is_staged(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)

        assert (True, True) == (archive.stage(FILE_ID), archive.stage(FILE_ID))

    def test_stage_leaves_the_file_as_it_is(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        before = lasting(archive.status(FILE_ID))
        archive.stage(FILE_ID)
        after = lasting(archive.status(FILE_ID))

        assert (before, DATA) == (after, fetch(archive, FILE_ID))

    def questions(self, archive: Archive) -> dict[str, Callable[[], object]]:
        """Return the calls that must not open a file, the last one deletes it."""
        return {
            "status": lambda: archive.status(FILE_ID),
            "stage": lambda: archive.stage(FILE_ID),
            "digests": lambda: archive.digests(FILE_ID),
            "check": archive.check,
            "status_many": lambda: list(archive.status_many([FILE_ID])),
            "stage_many": lambda: list(archive.stage_many([FILE_ID])),
            "delete": lambda: archive.delete(FILE_ID),
        }

    def test_questions_make_no_reader(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reader may wait for a tape, and HEAD must not."""
        store(archive, FILE_ID, DATA)
        opened: list[str] = []
        for name, question in self.questions(archive).items():

            def spy(*_: object, name: str = name, **__: object) -> None:
                opened.append(name)
                raise NoSuchFile(FILE_ID)

            monkeypatch.setattr(type(archive), "_open", spy)
            refusal(question)

        assert [] == opened

    def test_questions_do_not_open_the_local_file(self, archive: Archive) -> None:
        """A file system that is managed would recall it."""
        name = self.need_local_path(archive)
        store(archive, FILE_ID, DATA)
        path = name.local_path(FILE_ID)
        opened: dict[str, list[str]] = {}
        for call, question in self.questions(archive).items():
            with opened_names() as names:
                question()
            opened[call] = [n for n in names if n.endswith(path.name)]
        with opened_names() as names, path.open("ab"):
            seen = [n for n in names if n.endswith(path.name)]

        assert ({}, [str(path)]) == ({c: n for c, n in opened.items() if n}, seen)

    # --- many

    def many(self, archive: Archive) -> list[Any]:
        """Store a few files and return 2,000 ids: them, missing ones, no ids."""
        stored = [1, 0x39, 0x3039, 0, 2**40]
        for file_id in stored:
            store(archive, file_id, content(file_id, 100))
        kinds = itertools.cycle([*stored, 7, -1, 1, 1, "1", 0x3139, True, 2**63, None])
        ids: list[Any] = list(itertools.islice(kinds, 1990))
        return [*ids, *range(1, 11)]

    def ask_many(
        self, archive: Archive, kind: str
    ) -> tuple[
        Callable[[Iterable[Any]], Iterator[tuple[int, object]]],
        Callable[[Any], object],
    ]:
        """Return the bulk form of a question, and the question."""
        if kind == "status":
            return archive.status_many, archive.status
        return archive.stage_many, archive.stage

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_many_answer_in_the_order_asked(self, archive: Archive, kind: str) -> None:
        """2,000, each as often as asked for, present or not, ids or not."""
        ids = self.many(archive)
        bulk, _ = self.ask_many(archive, kind)
        found = [file_id for file_id, _ in bulk(iter(ids))]

        assert [(i, type(i)) for i in ids] == [(i, type(i)) for i in found]

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_many_answer_as_one_by_one(self, archive: Archive, kind: str) -> None:
        ids = self.many(archive)
        bulk, question = self.ask_many(archive, kind)

        def ask(file_id: object) -> object:
            try:
                return question(file_id)
            except FileError as exc:
                return exc

        assert [short(ask(i)) for i in ids] == [short(a) for _, a in bulk(ids)]

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_many_answers_carry_their_errors(self, archive: Archive, kind: str) -> None:
        store(archive, 1, DATA)
        bulk, _ = self.ask_many(archive, kind)
        found = [
            (type(answer), getattr(answer, "file_id", None))
            for _, answer in bulk([7, -1, "1"])
        ]

        assert [(NoSuchFile, 7), (InvalidFileId, -1), (InvalidFileId, "1")] == found

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_many_of_nothing_is_nothing(self, archive: Archive, kind: str) -> None:
        bulk, _ = self.ask_many(archive, kind)

        assert [] == list(bulk(iter(())))

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_many_answer_before_the_last_is_asked(
        self, archive: Archive, kind: str
    ) -> None:
        """In batches; who asks for millions has no memory for all answers."""
        store(archive, 3, DATA)
        bulk, _ = self.ask_many(archive, kind)
        asked = iter(range(100_000))
        found = [i for i, _ in itertools.islice(bulk(asked), 5)]

        assert ([0, 1, 2, 3, 4], True) == (found, next(asked, None) is not None)

    @pytest.mark.parametrize("kind", ["status", "stage"])
    def test_who_stops_asking_leaves_the_archive_usable(
        self, archive: Archive, kind: str
    ) -> None:
        """Nothing may be held between two answers: no lock, no cursor."""
        ids = self.many(archive)
        bulk, _ = self.ask_many(archive, kind)
        answers = bulk(ids)
        next(answers)
        store(archive, 1, DATA)
        archive.delete(0x39)
        del answers

        assert (DATA, NoSuchFile) == (
            fetch(archive, 1),
            type(refusal(archive.status, 0x39)),
        )
