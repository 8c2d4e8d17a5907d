"""An archive beside a dictionary that should hold the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pacifica_archive_core.errors import FileExists, IncompleteWrite, NoSuchFile
from pacifica_archive_core.ids import MAX_FILE_ID
from pacifica_archive_core.testing.base import Declarations, content, fetch, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.files import ArchiveReader, ArchiveWriter

IDS = (0, 1, 0x39, 0x3039, MAX_FILE_ID)
ids = st.sampled_from(IDS)
# Sizes beside those of blocks and buffers, and few enough to shrink well.
data = st.builds(
    content, st.integers(0, 2**32), st.sampled_from([0, 1, 2, 4095, 4096, 4097, 70000])
)


@attrs.define
class _Upload:
    """A writer, and what its commit should do."""

    writer: ArchiveWriter
    overwrite: bool
    written: bytes = b""


class ArchiveMachine(RuleBasedStateMachine):
    """Compares every answer of an archive with that of ``self.files``."""

    def __init__(self, opener: Callable[[], Archive], *, persistent: bool) -> None:
        super().__init__()
        self.opener = opener
        self.persistent = persistent
        self.archive = opener()
        self.files: dict[int, bytes] = {}
        self.uploads: list[_Upload] = []
        self.readers: list[tuple[ArchiveReader, bytes]] = []

    @initialize()
    def empty(self) -> None:
        """Begin with nothing: a persistent store has the last run's files."""
        for file_id in IDS:
            refusal(self.archive.delete, file_id)

    @rule(file_id=ids, overwrite=st.booleans())
    def create(self, file_id: int, *, overwrite: bool) -> None:
        try:
            writer = self.archive.create(file_id, overwrite=overwrite)
        except FileExists:
            assert not overwrite
            assert file_id in self.files
        else:
            self.uploads.append(_Upload(writer, overwrite))

    @precondition(lambda self: self.uploads)
    @rule(n=st.integers(0, 99), block=data)
    def write(self, n: int, block: bytes) -> None:
        upload = self.uploads[n % len(self.uploads)]
        upload.writer.write(block)
        upload.written += block

        assert len(upload.written) == upload.writer.written

    @precondition(lambda self: self.uploads)
    @rule(n=st.integers(0, 99))
    def commit(self, n: int) -> None:
        upload = self.uploads.pop(n % len(self.uploads))
        file_id = upload.writer.file_id
        error = refusal(upload.writer.commit)
        refused = file_id in self.files and not upload.overwrite

        assert (FileExists if refused else type(None)) is type(error)

        if not refused:
            self.files[file_id] = upload.written

    @precondition(lambda self: self.uploads)
    @rule(n=st.integers(0, 99))
    def discard(self, n: int) -> None:
        self.uploads.pop(n % len(self.uploads)).writer.discard()

    @rule(file_id=ids, block=data)
    def break_a_promise(self, file_id: int, block: bytes) -> None:
        writer = self.archive.create(file_id, size=len(block) + 1, overwrite=True)
        writer.write(block)

        assert IncompleteWrite is type(refusal(writer.commit))

    @rule(file_id=ids)
    def delete(self, file_id: int) -> None:
        error = refusal(self.archive.delete, file_id)

        assert (type(None) if file_id in self.files else NoSuchFile) is type(error)

        self.files.pop(file_id, None)

    @rule(file_id=ids)
    def open(self, file_id: int) -> None:
        try:
            reader = self.archive.open(file_id)
        except NoSuchFile:
            assert file_id not in self.files
        else:
            self.readers.append((reader, self.files[file_id]))

    @precondition(lambda self: self.readers)
    @rule(n=st.integers(0, 99), offset=st.integers(0, 70001), size=st.integers(0, 5000))
    def read(self, n: int, offset: int, size: int) -> None:
        """Of the version that was opened, whatever became of the file."""
        reader, expected = self.readers[n % len(self.readers)]
        reader.seek(offset)
        block = reader.read(size)

        assert block == expected[offset : offset + len(block)]
        assert bool(block) == bool(expected[offset : offset + size])

    @precondition(lambda self: self.readers)
    @rule(n=st.integers(0, 99))
    def close(self, n: int) -> None:
        reader, expected = self.readers.pop(n % len(self.readers))
        with reader:
            reader.seek(0)

            assert expected == reader.readall()

    @rule()
    def look(self) -> None:
        found = {
            file_id: getattr(answer, "size", None)
            for file_id, answer in self.archive.status_many(IDS)
        }

        assert {
            file_id: len(self.files[file_id]) if file_id in self.files else None
            for file_id in IDS
        } == found

    @rule()
    def compare(self) -> None:
        assert self.files == {
            file_id: fetch(self.archive, file_id) for file_id in self.files
        }

    @precondition(lambda self: self.persistent)
    @rule()
    def open_again(self) -> None:
        self.let_go()
        self.archive.close()
        self.archive = self.opener()

    def let_go(self) -> None:
        for upload in self.uploads:
            upload.writer.discard()
        for reader, _ in self.readers:
            reader.close()
        self.uploads.clear()
        self.readers.clear()

    def teardown(self) -> None:
        # No assert: hypothesis comes here too when it gives up an example half-way.
        self.let_go()
        self.archive.close()


class ModelContract(Declarations):
    """The comparison, for the orders of events nobody thought of."""

    def test_an_archive_behaves_as_a_dictionary(
        self, opener: Callable[[], Archive]
    ) -> None:
        """Derandomized: the same examples in each run, and shrunk on a failure."""
        persistent = self.persistent

        class Machine(ArchiveMachine):
            def __init__(self) -> None:
                super().__init__(opener, persistent=persistent)

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=self.model_examples,
                stateful_step_count=40,
                derandomize=True,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
