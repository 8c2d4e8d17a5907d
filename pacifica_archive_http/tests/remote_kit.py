"""How the contract reaches the stores of remote archives, past the wire."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest

from pacifica_archive_core import NotSupported, SupportsAdopt
from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_core.testing.base import FILE_ID
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from remote_store import Store

    from pacifica_archive_core import Archive
    from pacifica_archive_core.testing import SourceKind
    from pacifica_archive_http.testing import LiveServer


@attrs.frozen(kw_only=True)
class Served:
    """
    A server of a directory.

    Attributes:
        server: granian, two workers.
        prefix: where the files are, under their ids.
        inbox: where it adopts files from.
    """

    server: LiveServer
    prefix: Path
    inbox: Path

    @property
    def url(self) -> str:
        """The address that clients are given."""
        return self.server.url

    def clear(self) -> None:
        """Remove all files, past the server."""
        for path in (*self.prefix.glob("[0-9]*"), *self.inbox.iterdir()):
            remove(path)

    def unfinished(self) -> list[Path]:
        """Return what writers keep that have not committed."""
        return list((self.prefix / ".incoming").iterdir())


#: Long enough for a try or two more, short enough to wait for.
RETRY_FOR_S = 0.3


class RemoteKit(ArchiveContract):
    """What a server promises of any archive, its client promises too."""

    archive_class: ClassVar[type[HttpArchive]] = HttpArchive
    persistent = True
    keeps_digests = True
    computes_digests = frozenset({"sha-256"})
    keeps_replaced = False

    @pytest.fixture
    def url(self) -> str:
        """Return the address of a server of an empty archive."""
        raise NotImplementedError("give `url`")

    @pytest.fixture
    def opener(self, url: str) -> Callable[[], Archive]:
        return partial(
            self.archive_class, HttpOptions(prefix=url, retry_for_s=RETRY_FOR_S)
        )


class OverMemoryKit(RemoteKit):
    """The medium is the dictionary in another process."""

    has_tape = True
    can_be_filled = True
    can_be_unreachable = True

    store: Store

    @pytest.fixture
    def url(self, memory_store: Store) -> str:
        self.store = memory_store
        self.store.reset()
        return self.store.url()

    def need_adopt(self, archive: Archive) -> SupportsAdopt:
        """Skip the test: that there is no path for it only the store knows."""
        del archive
        pytest.skip("lacks the ability SupportsAdopt behind the server")

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        del archive
        return self.store.read(file_id)

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        del archive
        self.store.write(file_id, data)

    def list_raw(self, archive: Archive) -> set[str]:
        del archive
        return self.store.names()

    @pytest.fixture(autouse=True)
    def _drive(self, request: pytest.FixtureRequest, opener: object) -> Iterator[None]:
        """Bring files back in the tests that wait for it, and only there."""
        del opener
        self.store.drive(on="with_recall" in request.node.name)
        yield
        self.store.drive(on=False)

    def make_source(
        self, archive: Archive, kind: SourceKind, data: bytes, tmp_path: Path
    ) -> str | None:
        """Make nothing, and let it be asked for."""
        del archive, kind, data, tmp_path
        return "/nothing"

    def errors(self, archive: Archive, tmp_path: Path) -> dict[str, Exception | None]:
        """Leave out what this store can never do, which is another error."""
        errors = super().errors(archive, tmp_path)
        del errors["adopt of nothing"]
        return errors

    def test_a_store_that_cannot_adopt_says_so(self, archive: Archive) -> None:
        assert isinstance(archive, SupportsAdopt)

        with pytest.raises(NotSupported):
            archive.adopt(FILE_ID, "/nothing")

    def make_offline(self, archive: Archive, file_id: int) -> None:
        del archive
        self.store.purge(file_id)

    def finish_recalls(self, archive: Archive) -> None:
        del archive
        self.store.finish_recalls()

    @contextlib.contextmanager
    def filled(self, archive: Archive) -> Iterator[None]:
        del archive
        self.store.fill()
        yield
        self.store.empty()

    @contextlib.contextmanager
    def unreachable(self, archive: Archive) -> Iterator[None]:
        """Let nobody listen on the server's port."""
        del archive
        self.store.refuse()
        yield
        self.store.listen()


class OverPosixKit(RemoteKit):
    """The medium is a directory, that of a server with two workers."""

    sparse = True
    can_be_unreachable = True

    prefix: Path
    inbox: Path

    @pytest.fixture
    def url(self, served: Served) -> str:
        self.prefix, self.inbox = served.prefix, served.inbox
        return served.url

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        del archive
        return (self.prefix / str(file_id)).read_bytes()

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        self.write_raw_sparse(archive, file_id, len(data), {0: data})

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        del archive
        with (self.prefix / str(file_id)).open("wb") as file:
            file.truncate(size)
            for offset, part in parts.items():
                file.seek(offset)
                file.write(part)

    def list_raw(self, archive: Archive) -> set[str]:
        del archive
        return {str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*")}

    def sources(self, archive: Archive) -> Path:
        del archive
        return self.inbox

    @contextlib.contextmanager
    def unreachable(self, archive: Archive) -> Iterator[None]:
        """Let the server's mount point be bare."""
        del archive
        away = self.prefix.rename(self.prefix.parent / "away")
        self.prefix.mkdir()
        yield
        self.prefix.rmdir()
        away.rename(self.prefix)


def remove(path: Path) -> None:
    """Remove a file, a link, or a directory of files."""
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            child.unlink()
        path.rmdir()
    else:
        path.unlink()
