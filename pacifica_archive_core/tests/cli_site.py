"""A site with distributions of strangers, and the command line run on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner, Result
from stevedore import _cache

from pacifica_archive_core import ArchiveSpec
from pacifica_archive_core.cli import main
from pacifica_archive_core.options import CONFIG_VARIABLES

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

TESTS = Path(__file__).parent

#: Distribution and version to its entry_points.txt.
DISTRIBUTIONS = {
    "stranger-1.2": """
        [pacifica_archive.backends]
        directory = cli_backend:DirectoryArchive
        broken = cli_backend_that_is_not_there:Archive
        twice = cli_backend:DirectoryArchive
        [pacifica_archive.commands]
        greet = cli_backend:greet
        broken = cli_backend_that_is_not_there:command
        nonsense = cli_backend:NOT_A_COMMAND
        twice = cli_backend:greet
        put = cli_backend:greet
        """,
    "other-3.4": """
        [pacifica_archive.backends]
        twice = cli_backend:DirectoryArchive
        [pacifica_archive.commands]
        twice = cli_backend:greet
        """,
}


def install(directory: Path) -> None:
    """Write what pip would leave of ``DISTRIBUTIONS``, but for the module."""
    for distribution, points in DISTRIBUTIONS.items():
        name, version = distribution.split("-")
        info = directory / f"{distribution}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        lines = (line.strip() for line in points.splitlines())
        (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site whose distributions this process sees too."""
    found = Site(
        prefix=tmp_path / "archive",
        packages=tmp_path / "packages",
        here=tmp_path / "here",
    )
    for directory in attrs.astuple(found):
        directory.mkdir()
    install(found.packages)
    for variable in (*CONFIG_VARIABLES, *ArchiveSpec.TYPE_VARIABLES, "PAI_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(found.here)
    monkeypatch.syspath_prepend(found.packages)
    # It would remember each tmp_path in the home directory.
    monkeypatch.setattr(_cache._c, "_disable_caching", True)  # noqa: SLF001 (no other way)
    return found


@attrs.frozen(kw_only=True)
class Site:
    """Where the tests of the command line work."""

    #: The archive's files, as the ``directory`` backend lays them out.
    prefix: Path
    #: What ``install`` has filled.
    packages: Path
    #: The working directory.
    here: Path

    @property
    def selection(self) -> tuple[str, ...]:
        return ("-t", "directory", "--prefix", str(self.prefix))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of other processes that work here."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                (str(self.packages), str(TESTS), os.environ.get("PYTHONPATH", ""))
            ),
            # Where stevedore remembers entry points.
            "XDG_CACHE_HOME": str(self.here.with_name("cache")),
        }

    def run(self, *args: str, stdin: bytes | str | None = None) -> Result:
        """Run a command on the archive in this process."""
        return self.run_bare(*self.selection, *args, stdin=stdin)

    def run_bare(self, *args: str, stdin: bytes | str | None = None) -> Result:
        """Run the program in this process, with nothing selected."""
        return CliRunner().invoke(main, args, input=stdin, prog_name="pacifica-archive")

    def start(
        self,
        *args: str,
        environment: dict[str, str] | None = None,
        **popen: Any,  # noqa: ANN401 (as subprocess has it)
    ) -> Program:
        """Start a command on the archive in a process of its own."""
        return Program(
            (sys.executable, "-m", "pacifica_archive_core", *self.selection, *args),
            env={**self.environment, **(environment or {})},
            cwd=self.here,
            **popen,
        )

    def store(self, file_id: int, data: bytes, *, mtime: int = 10**9) -> Path:
        """Lay a file down past the command line."""
        (self.prefix / ".incoming").mkdir(exist_ok=True, parents=True)
        path = self.prefix / str(file_id)
        path.write_bytes(data)
        os.utime(path, (mtime, mtime))
        return path

    def stored(self) -> dict[str, bytes]:
        """Return every file of the archive's directory, temporary ones too."""
        return {
            str(path.relative_to(self.prefix)): path.read_bytes()
            for path in self.prefix.rglob("*")
            if path.is_file()
        }


class Program(subprocess.Popen[bytes]):
    """A started command, killed at the end of its with-block at the latest."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        super().__exit__(exc_type, value, traceback)
