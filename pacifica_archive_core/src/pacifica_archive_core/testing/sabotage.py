"""
Show that the contract's tests can fail: archives that are broken on purpose.

A module of such archives ends with ``globals().update(contracts(...))`` and
has a name that pytest does not collect; ``run`` runs, for each archive, those
tests of the contract that it names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.testing.contract import ArchiveContract

    ArchiveT = TypeVar("ArchiveT", bound=type[Archive])

__all__ = ["caught_by", "contract_tests", "contracts", "pinned", "run"]

#: A test that lasts longer has failed.
TIMEOUT_S = 10

_PROGRAM = """\
import sys
from pacifica_archive_core.testing.sabotage import _record
sys.exit(_record(*sys.argv[1:]))
"""


def caught_by(*tests: str) -> Callable[[ArchiveT], ArchiveT]:
    """Say which tests of the contract must fail on the archive that follows."""

    def mark(archive_class: ArchiveT) -> ArchiveT:
        archive_class.caught_by = tests  # type: ignore[attr-defined]
        return archive_class

    return mark


def contract_tests(contract: type[ArchiveContract]) -> set[str]:
    """Return the names of all tests of a contract."""
    return {name for name in dir(contract) if name.startswith("test_")}


def contracts(
    namespace: Mapping[str, Any],
    kits: Mapping[type[Archive], type[ArchiveContract]],
) -> dict[str, type]:
    """
    Return a test class for each archive of a module that has ``caught_by``.

    Args:
        namespace: the module's ``globals()``.
        kits: the contract of each honest archive, which has the archive to
            open as its attribute ``archive_class``.
    """
    classes = {}
    for name, archive_class in namespace.items():
        if isinstance(archive_class, type) and "caught_by" in vars(archive_class):
            kit = next(k for base, k in kits.items() if issubclass(archive_class, base))
            body = {"archive_class": archive_class, "__module__": namespace["__name__"]}
            classes[f"Test{name}"] = type(f"Test{name}", (kit,), body)
    return classes


def pinned(namespace: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return archive and test for each test that must fail."""
    return [
        (name, test)
        for name, found in namespace.items()
        if isinstance(found, type)
        for test in vars(found).get("caught_by", ())
    ]


def run(module: Path, *, everything: bool = False) -> dict[tuple[str, str], list[str]]:
    """
    Return why each archive of a module failed a test, by archive and test.

    In a process of its own, with the pytest settings of the module's folder.

    Args:
        module: its path.
        everything: run every test on every archive, to find out which fail.
    """
    found = subprocess.run(  # noqa: S603 (this very interpreter)
        [sys.executable, "-c", _PROGRAM, str(module), "all" if everything else ""],
        cwd=module.parent,
        # Theirs would warn that the kit was imported before they could rewrite it.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=3600 if everything else 300,
    )
    lines = json.loads(found.stdout.splitlines()[-1])
    return {(archive, test): reasons for archive, test, reasons in lines}


def _stop(_number: int, _frame: object) -> NoReturn:
    raise TimeoutError(f"the test did not end within {TIMEOUT_S} s")


class _Recorder:
    """Runs what is pinned, and remembers what failed and why."""

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.failures: dict[tuple[str, str], list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        items[:] = [
            item
            for item in items
            if self.everything or item.originalname in item.cls.archive_class.caught_by
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None]:
        # A broken archive may well go on for ever.
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(TIMEOUT_S)
        try:
            return (yield)
        finally:
            signal.alarm(0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        # What breaks before the test began says nothing about the test.
        if report.failed and call.when != "setup" and call.excinfo is not None:
            key = (item.cls.archive_class.__name__, item.originalname)
            self.failures.setdefault(key, []).append(call.excinfo.exconly()[:300])
        return report


def _record(module: str, everything: str) -> int:
    recorder = _Recorder(everything=bool(everything))
    code = pytest.main(
        [
            module,
            *("-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"),
            *("-o", f"python_files={Path(module).name}", "-r", "N"),
            # What a failed test left behind is not the fault of the next one.
            *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
            # The only mode that leaves the module's name to what children import.
            "--import-mode=prepend",
        ],
        plugins=[recorder],
    )
    lines = [[*key, reasons] for key, reasons in recorder.failures.items()]
    print("\n" + json.dumps(lines))  # noqa: T201 (read by `run`)
    return 0 if code == pytest.ExitCode.TESTS_FAILED else int(code) or 1
