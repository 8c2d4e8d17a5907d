from __future__ import annotations

import os
import re
import tomllib
from typing import Any

import noxfile
import pytest

ROOT = noxfile.ROOT
ROWS = noxfile.DISTRIBUTIONS
PUBLISHED = [name for name, row in ROWS.items() if row.published]
START = "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox"


def read_project(name: str) -> dict[str, Any]:
    path = ROOT / ROWS[name].directory / "pyproject.toml"
    project: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return project


def read_requirements(project: dict[str, Any]) -> set[str]:
    return {
        match[0]
        for text in project["dependencies"]
        if (match := re.match(r"[A-Za-z0-9._-]+", text))
    }


def test_every_distribution_is_in_the_table() -> None:
    found = {
        path.parent.relative_to(ROOT).as_posix()
        for pattern in ("*/pyproject.toml", "docs/examples/*/pyproject.toml")
        for path in ROOT.glob(pattern)
    }

    assert found == {row.directory for row in ROWS.values()}


@pytest.mark.parametrize("name", ROWS)
def test_local_rows_are_the_local_dependencies(name: str) -> None:
    published = {read_project(row)["name"]: row for row in PUBLISHED}
    direct = read_requirements(read_project(name)) & set(published)
    local = {published[requirement] for requirement in direct}

    # A row may leave out what another of its rows needs anyway.
    assert set(noxfile.with_local(*local)) == set(noxfile.with_local(*ROWS[name].local))


@pytest.mark.parametrize("name", ROWS)
def test_project_is_named_as_its_package(name: str) -> None:
    project = read_project(name)

    assert ROWS[name].package == project["name"].replace("-", "_")


@pytest.mark.parametrize("name", ROWS)
def test_project_is_typed(name: str) -> None:
    row = ROWS[name]

    assert (ROOT / row.directory / "src" / row.package / "py.typed").is_file()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("text", ["LICENSE", "COPYING"])
def test_licence_is_a_copy_of_the_root_s(name: str, text: str) -> None:
    copy = ROOT / ROWS[name].directory / text

    assert (ROOT / text).read_text() == copy.read_text()


@pytest.mark.parametrize("name", PUBLISHED)
def test_changelog_starts_with_the_unreleased(name: str) -> None:
    text = (ROOT / ROWS[name].directory / "CHANGELOG.md").read_text()

    assert "Unreleased" == re.findall(r"^## (.+)$", text, re.MULTILINE)[0]


@pytest.mark.parametrize("name", ROWS)
def test_tests_run_once_are_there(name: str) -> None:
    lost = []
    for part in ROWS[name].once:
        file, _, inner = part.partition("::")
        path = ROOT / ROWS[name].directory / file
        if not path.exists() or (
            inner and not re.search(rf"\nclass {inner}[(:]", path.read_text())
        ):
            lost.append(part)

    assert [] == lost


def test_core_depends_on_three_libraries() -> None:
    assert {"attrs", "click", "stevedore"} == read_requirements(read_project("core"))


def test_every_need_is_known_and_used() -> None:
    used = {need for row in ROWS.values() for need in row.needs}
    used |= {*noxfile.BENCH_NEEDS, *noxfile.DEPLOY_NEEDS}
    used |= {*noxfile.DOCS_NEEDS, *noxfile.REPO_NEEDS}

    assert set(noxfile.NEEDS) == used


def test_readme_has_the_two_commands() -> None:
    lines = {
        line.strip().removeprefix("$ ")
        for line in (ROOT / "README.md").read_text().splitlines()
    }

    assert {START, f"{START} -s serve"} <= lines


def test_ci_runs_the_command_of_the_readme_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()

    assert [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        "export CI=true",
        START,
    ] == [line for line in lines if not line.startswith("# ")]


def test_ci_run_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
