from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from pacifica_archive_core import (
    ArchiveSpec,
    ConfigError,
    MemoryArchive,
    UnknownBackend,
    backend_names,
    load_backend,
    open_archive,
)
from pacifica_archive_core.backends import installed_backends

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = "from pacifica_archive_core import MemoryArchive\nclass A(MemoryArchive): pass\n"


class Site:
    """A folder of made-up distributions, and a Python that has them installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, module: str, points: dict[str, str]) -> None:
        """Install a distribution with one module and its entry points."""
        name = distribution.replace("-", "_")
        info = self.folder / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n", "utf-8"
        )
        lines = [f"{point} = {target}" for point, target in points.items()]
        (info / "entry_points.txt").write_text(
            "\n".join(["[pacifica_archive.backends]", *lines, ""]), "utf-8"
        )
        (self.folder / f"{name}.py").write_text(module, "utf-8")

    def run(self, program: str) -> Any:  # noqa: ANN401 (JSON)
        """Return what a program prints as JSON, or how an error looks to it."""
        program = textwrap.dedent(f"""\
            import json, sys
            sys.path.insert(0, {str(self.folder)!r})
            from pacifica_archive_core import *
            from pacifica_archive_core.errors import BackendError
            from pacifica_archive_core.backends import installed_backends
            try:
                result = {program}
            except BackendError as exc:
                result = [type(exc).__name__, str(exc), repr(exc.__cause__)]
            imported = [name for name in sys.modules if name.startswith("fake_")]
            print(json.dumps([result, imported]))
            """)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            env={
                "HOME": str(self.folder),
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        assert (0, "") == (done.returncode, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Install two good backends, a broken one, and one that is no archive."""
    site = Site(tmp_path)
    site.install("fake-one", GOOD, {"one": "fake_one:A", "uno": "fake_one:A"})
    site.install("fake-two", GOOD, {"two": "fake_two:A"})
    site.install("fake-broken", "1 / 0", {"broken": "fake_broken:A"})
    site.install("fake-asserting", "assert False, 'no'", {"assert": "fake_asserting:A"})
    site.install("fake-exiting", "raise SystemExit(3)", {"exit": "fake_exiting:A"})
    site.install("fake-empty", "", {"empty": "fake_empty:A"})
    site.install("fake-missing", "", {"missing": "no_such_module_at_all:A"})
    site.install(
        "fake-other",
        "A = dict\ndef f(): pass",
        {"dict": "fake_other:A", "f": "fake_other:f"},
    )
    return site


def test_memory_is_installed() -> None:
    assert "memory" in backend_names()


def test_memory_is_loaded() -> None:
    assert MemoryArchive is load_backend("memory")


def test_names_are_sorted_and_said_once(site: Site) -> None:
    site.install("fake-again", GOOD, {"one": "fake_again:A"})
    names, imported = site.run("backend_names()")

    assert (sorted(set(names)), []) == (names, imported)


def test_what_is_installed_is_known_without_an_import(site: Site) -> None:
    program = (
        "[[b.name, b.target, b.distribution, b.version] for b in installed_backends()]"
    )
    found, imported = site.run(program)

    assert (True, True, []) == (
        ["one", "fake_one:A", "fake-one", "1.5"] in found,
        ["broken", "fake_broken:A", "fake-broken", "1.5"] in found,
        imported,
    )


def test_memory_is_known_with_its_distribution() -> None:
    found = {backend.name: backend.distribution for backend in installed_backends()}

    assert "pacifica-archive-core" == found["memory"]


@pytest.mark.parametrize("name", ["one", "uno"])
def test_a_backend_is_loaded_by_each_of_its_names(site: Site, name: str) -> None:
    found, _ = site.run(f"load_backend({name!r}).__module__")

    assert "fake_one" == found


def test_only_the_backend_asked_for_is_imported(site: Site) -> None:
    _, imported = site.run("load_backend('two').__name__")

    assert ["fake_two"] == imported


def test_an_unknown_backend_is_told_what_there_is(site: Site) -> None:
    (error, message, _), imported = site.run("load_backend('hpss')")
    expected = (
        "no backend 'hpss' is installed; installed are assert, broken, dict, empty,"
        " exit, f,"
    )

    assert ("UnknownBackend", True, True, []) == (
        error,
        message.startswith(expected),
        "'pip install pacifica-archive-hpss'" in message,
        imported,
    )


def test_two_backends_of_one_name_are_told_apart_by_distribution(site: Site) -> None:
    site.install("fake-again", GOOD, {"one": "fake_again:A"})
    (error, message, _), imported = site.run("load_backend('one')")

    assert (
        "AmbiguousBackend",
        "backend 'one' is offered by fake-again, fake-one: uninstall all but one",
        [],
    ) == (error, message, imported)


@pytest.mark.parametrize(
    ("name", "target", "cause"),
    [
        ("broken", "fake_broken:A of fake-broken 1.5", "ZeroDivisionError"),
        ("assert", "fake_asserting:A of fake-asserting 1.5", "AssertionError"),
        ("exit", "fake_exiting:A of fake-exiting 1.5", "SystemExit"),
        ("empty", "fake_empty:A of fake-empty 1.5", "AttributeError"),
        ("missing", "no_such_module_at_all:A of fake-missing 1.5", "ModuleNotFound"),
    ],
)
def test_a_backend_that_cannot_be_imported_says_why_and_whose_it_is(
    site: Site, name: str, target: str, cause: str
) -> None:
    (error, message, found), _ = site.run(f"load_backend({name!r})")

    assert ("BackendLoadError", True, True) == (
        error,
        target in message,
        found.startswith(cause),
    )


@pytest.mark.parametrize("name", ["dict", "f"])
def test_what_is_no_archive_is_refused(site: Site, name: str) -> None:
    (error, message, _), _ = site.run(f"load_backend({name!r})")

    assert ("BackendLoadError", True, True) == (
        error,
        "of fake-other 1.5" in message,
        message.endswith("it is no subclass of pacifica_archive_core.Archive"),
    )


def test_a_backend_installed_later_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stevedore would list once in a process what is installed."""
    load_backend("memory")
    Site(tmp_path).install("fake-late", GOOD, {"late": "fake_late:A"})
    monkeypatch.syspath_prepend(tmp_path)

    assert "fake_late" == load_backend("late").__module__


def test_a_load_writes_nothing_into_the_home_directory(site: Site) -> None:
    """Where stevedore would keep its list."""
    before = sorted(path.name for path in site.folder.iterdir())
    site.run("load_backend('memory').__name__")

    assert before == sorted(path.name for path in site.folder.iterdir())


def test_a_broken_backend_leaves_the_others(site: Site) -> None:
    found, _ = site.run("load_backend('one').__name__")

    assert "A" == found


# --- opening


def test_an_archive_is_opened_with_its_options() -> None:
    with open_archive("memory", capacity="100") as archive:
        found = archive.options.capacity

    assert 100 == found


def test_an_archive_is_opened_with_the_environment_given() -> None:
    env = {"PACIFICA_ARCHIVE_MEMORY_CAPACITY": "100"}
    with open_archive("memory", env=env) as archive:
        found = archive.options.capacity

    assert 100 == found


def test_an_archive_is_opened_with_the_file_given(tmp_path: Path) -> None:
    (tmp_path / "my.cfg").write_text("[memory]\ncapacity = 100\n", "utf-8")
    with open_archive("memory", config=tmp_path / "my.cfg") as archive:
        found = archive.options.capacity

    assert 100 == found


def test_nothing_is_read_that_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.cfg").write_text("[memory]\ncapacity = 100\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACIFICA_ARCHIVE_MEMORY_CAPACITY", "100")
    with open_archive("memory") as archive:
        found = archive.options.capacity

    assert found is None


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: open_archive("none"), UnknownBackend),
        (lambda: open_archive("memory", prefix="/"), ConfigError),
        (lambda: open_archive("memory", capacity="much"), ConfigError),
    ],
)
def test_what_cannot_be_opened_says_why(
    call: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        call()


# --- the specification of an archive


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with an environment that names no archive."""
    monkeypatch.chdir(tmp_path)
    for variable in ArchiveSpec.TYPE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("PACIFICA_ARCHIVE_MEMORY_CAPACITY", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "env", "backend"),
    [
        (None, {}, "posix"),
        (None, {"PAI_BACKEND_TYPE": "hpss"}, "hpss"),
        (None, {"PAI_BACKEND_TYPE": "a", "PACIFICA_ARCHIVE_TYPE": "b"}, "b"),
        (None, {"PAI_BACKEND_TYPE": "a", "PACIFICA_ARCHIVE_TYPE": ""}, "a"),
        ("memory", {"PACIFICA_ARCHIVE_TYPE": "b"}, "memory"),
    ],
)
def test_the_backend_is_the_one_named_first(
    elsewhere: Path, given: str | None, env: dict[str, str], backend: str
) -> None:
    del elsewhere

    assert backend == ArchiveSpec.from_environment(env, backend=given).backend


def test_the_file_is_found(elsewhere: Path) -> None:
    (elsewhere / "my.cfg").touch()
    spec = ArchiveSpec.from_environment({"ARCHIVEI_CONFIG": "my.cfg"})

    assert "my.cfg" == str(spec.config)


def test_a_file_that_is_not_there_is_refused_at_once(elsewhere: Path) -> None:
    """And not in each worker of a server."""
    del elsewhere

    with pytest.raises(ConfigError):
        ArchiveSpec.from_environment({}, config="none.cfg")


def test_what_it_opens_has_the_options_of_every_source(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given wins over the environment, and that over the file."""
    (elsewhere / "config.cfg").write_text("[memory]\ncapacity = 1\n", "utf-8")
    found = []
    for env, given in (({}, {}), ({"C": "2"}, {}), ({"C": "2"}, {"capacity": "3"})):
        if env:
            monkeypatch.setenv("PACIFICA_ARCHIVE_MEMORY_CAPACITY", env["C"])
        spec = ArchiveSpec.from_environment({}, backend="memory", given=given)
        with spec.open() as archive:
            found.append(archive.options.capacity)

    assert [1, 2, 3] == found


def test_it_crosses_processes_and_opens_there(elsewhere: Path) -> None:
    del elsewhere
    spec = ArchiveSpec.from_environment({}, backend="memory", given={"capacity": "5"})
    with pickle.loads(pickle.dumps(spec)).open() as archive:  # noqa: S301 (its own)
        found = archive.options.capacity

    assert 5 == found


def test_it_does_not_show_what_may_be_secret(elsewhere: Path) -> None:
    del elsewhere
    spec = ArchiveSpec.from_environment({}, given={"password": "hunter2"})

    assert "hunter2" not in repr(spec)
