"""The contract's tests, with the double of SAM-QFS as the medium."""

from __future__ import annotations

import contextlib
import functools
import itertools
import select
import shlex
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, quote_plus

import attrs
import pytest
from sqlalchemy import URL

from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_core.testing.base import Declarations
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions
from pacifica_archive_hmssideband.double import Double

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mariadb import MariaDb

    from pacifica_archive_core import Archive

__all__ = [
    "LOOKER",
    "Medium",
    "SidebandKit",
    "Site",
    "new_schema",
    "new_sqlite",
    "tells_the_password",
    "text",
    "thread_names",
    "wait_until",
]

#: Seconds after which the double has the database say what has happened.
LAG_S = 0.05
#: A user of the tests' own who may only SELECT, with its password.
LOOKER = ("looker", "s3cr@t:of/the%looker")
#: The threads of the backend that recall by reading.
TRIGGER = "pacifica-hms-trigger"
_PATIENCE_S = 30.0
_numbers = itertools.count()


def wait_until(
    condition: Callable[[], object], what: str, *, patience_s: float = _PATIENCE_S
) -> None:
    """Wait for something that another process or thread does in its own time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        threading.Event().wait(0.005)


def thread_names() -> set[str]:
    """Return the names of the threads there are."""
    return {thread.name for thread in threading.enumerate()}


def is_short(path: Path) -> bool:
    """Tell whether a file has less on disk than its size; attributes may be there."""
    found = path.stat()
    return found.st_blocks * 512 < found.st_size


def text(url: URL) -> str:
    """Return a URL with its password."""
    return url.render_as_string(hide_password=False)


@attrs.frozen(kw_only=True)
class Site:
    """
    A directory that stands for a mounted file system, and its sideband database.

    Attributes:
        mount: the directory.
        url: the database, for who writes to it.
        reader_url: the database, for an archive.
    """

    mount: Path
    url: URL
    reader_url: URL

    @functools.cached_property
    def double(self) -> Double:
        double = Double(self.mount, text(self.url))
        double.format()
        return double

    @property
    def command(self) -> list[str]:
        """The double, run by a process of its own."""
        return [
            *(sys.executable, "-m", "pacifica_archive_hmssideband.double"),
            *("--prefix", str(self.mount), "--url", text(self.url)),
        ]

    @contextlib.contextmanager
    def in_step(self, *, stage_s: float = 0.0) -> Iterator[None]:
        """
        Have the database follow the directory, by another process.

        Args:
            stage_s: seconds that a stage takes, unless it is told to finish.
        """
        self.double  # noqa: B018 (makes the tables)
        with subprocess.Popen(
            [*self.command, "run", "--lag", str(LAG_S), "--stage-time", str(stage_s)],
            stdout=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                assert select.select([process.stdout], [], [], _PATIENCE_S)[0]
                assert process.stdout.readline()
                yield
            finally:
                process.terminate()
                process.wait(_PATIENCE_S)

    def release(self, path: Path) -> None:
        """Leave a file on tape only."""
        self.double.archive([path])
        self.double.release([path])
        self.double.step()
        wait_until(lambda: is_short(path), f"{path} is not released")

    def finish_recalls(self) -> None:
        """Return when all that was asked for is on disk, and the database says so."""
        wait_until(lambda: TRIGGER not in thread_names(), "a read hangs")
        self.double.step()


def tells_the_password(line: str) -> bool:
    """Tell whether a text has the reader's password, as it is or as in a URL."""
    password = LOOKER[1]
    spellings = {password, quote(password), quote_plus(password)}
    return any(spelling in line for spelling in spellings)


def new_schema(server: MariaDb, name: str) -> tuple[URL, URL]:
    """Return where root finds a new schema, and where a reader does."""
    user, password = LOOKER
    server.execute(
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} CHARACTER SET latin1",
        f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{password}'",
        f"GRANT SELECT ON {name}.* TO {user}@'%'",
    )
    return (
        server.url("root", schema=name),
        server.url(user, password=password, schema=name),
    )


def new_sqlite(folder: Path) -> URL:
    """Return where a database in a file is."""
    return URL.create("sqlite", database=str(folder / "sideband.sqlite"))


class Medium(Declarations):
    """
    The medium is a directory that the double keeps in step, by another process.

    It stands for a mount of many archives; each test has one of its own in it.
    """

    #: Whether recalls are asked of a command; else bytes are read.
    stages_by_command: ClassVar[bool] = True

    persistent = True
    sparse = True
    keeps_digests = True
    can_be_unreachable = True
    has_tape = True

    @pytest.fixture
    def site(self) -> Site:
        """Return a site that is kept in step; tests share it."""
        raise NotImplementedError("give a fixture `site`")

    @pytest.fixture
    def home(self, site: Site) -> Iterator[Path]:
        """Return where the archive of this test is, and what it adopts from."""
        self.site_here = site
        home = site.mount / f"home-{next(_numbers)}"
        for name in ("archive", "inbox"):
            (home / name).mkdir(parents=True)
        yield home
        shutil.rmtree(home)

    @pytest.fixture
    def opener(self, site: Site, home: Path, tmp_path: Path) -> Callable[[], Archive]:
        prefix = home / "archive"
        command: tuple[str, ...] = ()
        if self.stages_by_command:
            script = tmp_path / "recall"
            script.write_text(
                f'#!/bin/sh\nexec {shlex.join(site.command)} stage "$@"\n'
            )
            script.chmod(0o755)
            command = (str(script),)
        return functools.partial(
            HmsSidebandArchive,
            HmsSidebandOptions(
                prefix=prefix,
                sam_qfs_prefix=str(prefix.relative_to(site.mount)),
                url=site.reader_url,
                stage_command=command,
                recall_timeout_s=_PATIENCE_S,
                # What that promises is shown with the posix backend, whose code it is.
                durable=False,
                adopt_roots=(prefix, home / "inbox"),
            ),
        )

    def path(self, archive: Archive, file_id: int) -> Path:
        # Not by the function under test: the bytes of the id, lowest first.
        digits = f"{file_id:x}"
        parts = []
        while len(digits) > 2:
            parts.append(digits[-2:])
            digits = digits[:-2]
        name = f"{file_id:x}" if parts else f"file.{file_id:x}"
        prefix: Path = archive.options.prefix
        return prefix.joinpath(*parts, name)

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        return self.path(archive, file_id).read_bytes()

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        path = self.path(archive, file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        """Have the database know the file: by its blocks it would be on tape."""
        path = self.path(archive, file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
            for offset, part in parts.items():
                file.seek(offset)
                file.write(part)
        self.site_here.double.step()

    def list_raw(self, archive: Archive) -> set[str]:
        prefix: Path = archive.options.prefix
        return {str(path.relative_to(prefix)) for path in prefix.rglob("*")}

    def sources(self, archive: Archive) -> Path:
        folder: Path = archive.options.adopt_roots[1]
        return folder

    @contextlib.contextmanager
    def unreachable(self, archive: Archive) -> Iterator[None]:
        """Let the mount point be bare."""
        prefix: Path = archive.options.prefix
        away = prefix.rename(prefix.parent / "away")
        prefix.mkdir()
        yield
        prefix.rmdir()
        away.rename(prefix)

    def make_offline(self, archive: Archive, file_id: int) -> None:
        self.site_here.release(self.path(archive, file_id))

    def finish_recalls(self, archive: Archive) -> None:
        del archive
        self.site_here.finish_recalls()


class SidebandKit(Medium, ArchiveContract):
    """The whole contract."""

    def many(self, archive: Archive) -> list[Any]:
        """Have the database know them: it would in the middle of the questions."""
        ids = super().many(archive)
        self.site_here.double.step()
        return ids
