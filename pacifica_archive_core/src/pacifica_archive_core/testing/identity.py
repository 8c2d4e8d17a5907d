"""What is an id, what is no id, and what errors say about one."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pacifica_archive_core.archive import SupportsAdopt
from pacifica_archive_core.errors import (
    FileError,
    FileExists,
    FileOffline,
    IncompleteWrite,
    InvalidFileId,
    NoSuchFile,
    SourceRefused,
)
from pacifica_archive_core.ids import MAX_FILE_ID
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    SourceKind,
    content,
    refusal,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pacifica_archive_core.archive import Archive

DATA = content("data", 500)
NO_IDS = [
    True, False, -1, MAX_FILE_ID + 1, -(2**70), 2**70, 1.0, 0.5, "1", "", b"1", None,
    (1,), "../1",
]  # fmt: skip


class Spelled(int):
    """Writes itself as a word, and is equal to its number all the same."""

    def __str__(self) -> str:
        return f"id-{int(self)}"

    def __format__(self, spec: str) -> str:
        return str(self)


def in_the_middle(
    archive: Archive, write: Callable[[Any], object], *, size: int
) -> Exception | None:
    """Return what a writer raises whose commit is reached, or its write."""

    def run() -> None:
        with archive.create(FILE_ID, size=size, overwrite=True) as writer:
            write(writer)

    return refusal(run)


class IdentityContract(Declarations):
    """Ids of every kind, present and missing, and the errors about them."""

    @pytest.mark.parametrize("no_id", NO_IDS, ids=repr)
    def test_what_is_no_id_is_refused_by_every_method(
        self, archive: Archive, no_id: object
    ) -> None:
        store(archive, 1, DATA)
        store(archive, 0, DATA)
        calls = self.calls(archive)
        found = {name: type(refusal(call, no_id)) for name, call in calls.items()}

        assert dict.fromkeys(calls, InvalidFileId) == found

    @pytest.mark.parametrize("no_id", NO_IDS, ids=repr)
    def test_what_is_no_id_is_not_adopted(
        self, archive: Archive, no_id: object, tmp_path: Path
    ) -> None:
        adopter = self.need_adopt(archive)
        source = self.make_source(archive, SourceKind.FILE, DATA, tmp_path)
        assert source is not None
        found = refusal(adopter.adopt, no_id, source)

        assert (InvalidFileId, True) == (
            type(found),
            self.source_exists(archive, source),
        )

    def test_what_is_no_id_is_said_with_the_error(self, archive: Archive) -> None:
        found = [(refusal(archive.status, no_id), no_id) for no_id in NO_IDS]

        assert all(
            isinstance(error, InvalidFileId) and error.file_id is no_id
            for error, no_id in found
        )

    def test_what_is_no_id_leaves_no_trace(self, archive: Archive) -> None:
        before = self.list_raw(archive)
        for call in self.calls(archive).values():
            for no_id in NO_IDS:
                refusal(call, no_id)

        assert before == self.list_raw(archive)

    def test_an_int_of_any_kind_is_its_number(self, archive: Archive) -> None:
        """Enums and database keys are ints that write themselves as they like."""
        store(archive, Spelled(FILE_ID), DATA)
        calls = self.calls(archive)
        del calls["create"], calls["delete"]
        found = {name: refusal(call, Spelled(FILE_ID)) for name, call in calls.items()}

        assert (DATA, dict.fromkeys(calls)) == (self.read_raw(archive, FILE_ID), found)

    def test_an_int_of_any_kind_is_adopted_as_its_number(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter = self.need_adopt(archive)
        source = self.make_source(archive, SourceKind.FILE, DATA, tmp_path)
        assert source is not None
        adopter.adopt(Spelled(FILE_ID), source)

        assert DATA == self.read_raw(archive, FILE_ID)

    def test_a_missing_file_is_no_such_file(self, archive: Archive) -> None:
        calls = self.calls(archive)
        del calls["create"]
        found = {name: type(refusal(call, FILE_ID)) for name, call in calls.items()}

        assert dict.fromkeys(calls, NoSuchFile) == found

    def test_a_missing_file_is_not_recalled(self, archive: Archive) -> None:
        with pytest.raises(NoSuchFile):
            archive.open(FILE_ID, recall=True)

    def test_a_neighbour_does_not_stand_in_for_a_missing_file(
        self, archive: Archive
    ) -> None:
        """The directories of one id may hold, or be, those of another."""
        store(archive, 0x3039, DATA)
        neighbours = [0x30, 0x39, 0x3930, 0x13039, 0x303039, 0x3039 + 2**32]
        found = [type(refusal(archive.open, file_id)) for file_id in neighbours]

        assert [NoSuchFile] * len(neighbours) == found

    def test_questions_about_a_missing_file_leave_no_trace(
        self, archive: Archive
    ) -> None:
        """Release 0.4.2 made its directories."""
        before = self.list_raw(archive)
        calls = self.calls(archive)
        del calls["create"]
        for call in calls.values():
            refusal(call, FILE_ID)
        list(archive.status_many([FILE_ID]))
        list(archive.stage_many([FILE_ID]))

        assert before == self.list_raw(archive)

    def test_a_deleted_file_is_missing(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        archive.delete(FILE_ID)
        calls = self.calls(archive)
        del calls["create"]
        found = {name: type(refusal(call, FILE_ID)) for name, call in calls.items()}

        assert dict.fromkeys(calls, NoSuchFile) == found

    def test_a_delete_takes_the_bytes_off_the_medium(self, archive: Archive) -> None:
        """Directories may stay; what is deleted costs no name."""
        store(archive, FILE_ID, DATA)
        archive.delete(FILE_ID)
        before = self.list_raw(archive)
        store(archive, FILE_ID, DATA)
        stored = self.list_raw(archive)
        archive.delete(FILE_ID)

        assert (before, True) == (self.list_raw(archive), len(stored) > len(before))

    def test_a_delete_leaves_other_files(self, archive: Archive) -> None:
        ids = [0x3039, 0x39, 0x303039, 1, MAX_FILE_ID]
        for file_id in ids:
            store(archive, file_id, DATA)
        archive.delete(0x39)
        found = [type(refusal(archive.open, file_id)) for file_id in ids]

        assert [type(None), NoSuchFile, *[type(None)] * 3] == found

    # --- errors

    def errors(self, archive: Archive, tmp_path: Path) -> dict[str, Exception | None]:
        """Provoke every error about ``FILE_ID`` that every archive can raise."""
        calls = self.calls(archive)
        del calls["create"]
        errors = {
            f"{name} of a missing file": refusal(call, FILE_ID)
            for name, call in calls.items()
        }
        store(archive, FILE_ID, DATA)
        errors["create of a taken id"] = refusal(
            lambda: store(archive, FILE_ID, DATA, overwrite=False)
        )
        errors["fewer bytes than promised"] = in_the_middle(
            archive, lambda writer: writer.write(b"abc"), size=4
        )
        errors["more bytes than promised"] = in_the_middle(
            archive, lambda writer: writer.write(b"abc"), size=2
        )
        if self.has_tape:
            self.make_offline(archive, FILE_ID)
            errors["open of an offline file"] = refusal(archive.open, FILE_ID)
        if isinstance(archive, SupportsAdopt):
            source = self.make_source(archive, SourceKind.MISSING, DATA, tmp_path)
            # That the id is taken is not to be what is wrong.
            adopt = partial(archive.adopt, overwrite=True)
            errors["adopt of nothing"] = refusal(adopt, FILE_ID, source)
        return errors

    def test_an_error_is_of_the_most_exact_class(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        expected = {
            "create of a taken id": FileExists,
            "fewer bytes than promised": IncompleteWrite,
            "more bytes than promised": IncompleteWrite,
            "open of an offline file": FileOffline,
            "adopt of nothing": SourceRefused,
        }
        found = self.errors(archive, tmp_path)

        assert {name: expected.get(name, NoSuchFile) for name in found} == {
            name: type(error) for name, error in found.items()
        }

    def test_an_error_carries_its_id(self, archive: Archive, tmp_path: Path) -> None:
        found = {
            name: getattr(error, "file_id", None)
            for name, error in self.errors(archive, tmp_path).items()
        }

        assert dict.fromkeys(found, FILE_ID) == found

    def test_an_error_says_its_id(self, archive: Archive, tmp_path: Path) -> None:
        messages = [str(e) for e in self.errors(archive, tmp_path).values()]

        assert all(str(FILE_ID) in message for message in messages)

    def test_an_error_says_no_path_and_no_secret(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        """It goes to clients of a server; the cause and the log have the rest."""
        errors = self.errors(archive, tmp_path)
        words = {archive.status(FILE_ID).path, *self.private_words(archive)}
        said = {
            name: str(error)
            for name, error in errors.items()
            if any(word in str(error) for word in words)
        }

        assert {} == said

    def test_an_error_names_its_cause(self, archive: Archive, tmp_path: Path) -> None:
        """`raise ... from exc`: what the log shows must not look like a second bug."""
        accidental = {
            name: error
            for name, error in self.errors(archive, tmp_path).items()
            if error is not None
            and error.__context__ is not None
            and error.__cause__ is None
            and not error.__suppress_context__
        }

        assert {} == accidental

    def test_an_error_can_cross_processes(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        errors = [
            error
            for error in self.errors(archive, tmp_path).values()
            if isinstance(error, FileError)
        ]
        crossed = [pickle.loads(pickle.dumps(error)) for error in errors]  # noqa: S301 (its own)

        assert [(type(e), e.file_id, str(e)) for e in errors] == [
            (type(e), e.file_id, str(e)) for e in crossed
        ]
