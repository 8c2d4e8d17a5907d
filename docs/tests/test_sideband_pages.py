"""What the pages on Oracle HSM say, run on a MariaDB where it is of a database."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import generate
import pytest
import sqlalchemy
from runner import COMPANIONS, EXAMPLES, SERVERS, Place
from sqlalchemy.exc import DBAPIError

import pacifica_archive_hmssideband
from pacifica_archive_core import id2filename
from pacifica_archive_core.cli.exits import exit_code
from pacifica_archive_core.options import load_options
from pacifica_archive_hmssideband import (
    HmsSidebandArchive,
    HmsSidebandOptions,
)
from pacifica_archive_hmssideband.archive import _FAILURES
from pacifica_archive_hmssideband.recall import _WAITERS
from pacifica_archive_hmssideband.residency import decide
from pacifica_archive_hmssideband.sideband import (
    _PAUSE_S,
    _WORDS,
    Failure,
    Row,
    Sideband,
)
from pacifica_archive_hmssideband.staging import _CALLS, _CHUNK, _QUEUE, _THREADS
from pacifica_archive_hmssideband.tables import sam_file, sam_inode, sam_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

PACKAGE = Path(pacifica_archive_hmssideband.__file__).parent
#: The fixture of that distribution's tests.
MARIADB = runpy.run_path(str(PACKAGE.parents[1] / "tests" / "mariadb.py"))
SITE = (generate.DOCS / "hmssideband.md").read_text()
DOUBLE = (generate.DOCS / "hmssideband-double.md").read_text()
DESIGN = (generate.DOCS / "design.md").read_text()
NOWHERE = sqlalchemy.make_url("sqlite://")
PASSWORD = "another secret"  # noqa: S105 (the page's)


def block(language: str, page: str, start: str = "") -> str:
    """Return the page's first block of a language after a text."""
    pattern = rf"```{language}\n(.*?)```"
    found = re.compile(pattern, re.DOTALL).search(page, page.index(start))
    assert found is not None
    return found[1]


def cells(header: str) -> list[list[str]]:
    """Return the rows of the site's table that begins with a header."""
    _, _, rest = SITE.partition(f"| {header} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


# --- on a database -----------------------------------------------------------------


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Any]:
    if reason := MARIADB["missing"]():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with MARIADB["MariaDb"]() as server:
        yield server


@pytest.fixture
def database(mariadb: Any) -> Any:  # noqa: ANN401 (of a module that is not installed)
    """Return a sideband database whose user is the page's, by the page's grants."""
    database = MARIADB["Database"](mariadb, MARIADB["Variant"]())
    database.create()
    statements = block("sql", SITE).replace("\n", " ").split(";")
    database.execute(
        "DROP USER IF EXISTS 'pacifica'@'%'", *(s for s in statements if s.strip())
    )
    return database


@pytest.fixture
def site(database: Any, tmp_path: Path) -> dict[str, str]:  # noqa: ANN401 (as above)
    """Return the page's section of the INI file, with what is this test's own."""
    prefix = tmp_path / "sam1" / "data" / "pacifica"
    prefix.mkdir(parents=True)
    password = tmp_path / "sideband-password"
    password.write_text(f"{PASSWORD}\n")
    text = block("ini", SITE)
    for pattern, own in (
        (r"(?<=^prefix = ).*", prefix),
        (r"(?<=^password_file = ).*", password),
        (r"(?<=^host = ).*", "127.0.0.1"),
        (r"(?<=^port = ).*", database.server.port),
    ):
        text, count = re.subn(pattern, str(own), text, flags=re.MULTILINE)
        assert count == 1
    file = tmp_path / "site.cfg"
    file.write_text(text)
    return {"file": str(file), "prefix": str(prefix)}


def test_transcript_runs_on_mariadb_too(mariadb: Any) -> None:  # noqa: ANN401 (as above)
    """On SQLite it runs as every page does."""
    mariadb.execute(
        "DROP DATABASE IF EXISTS samfs1", "CREATE DATABASE samfs1 CHARACTER SET latin1"
    )
    url: URL = mariadb.url("root")
    document = EXAMPLES.parse(generate.DOCS / "hmssideband-double.md")
    place = Place({"DATABASE": url.render_as_string(hide_password=False)})
    document.namespace["place"] = place
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        place.close()

    assert mariadb.execute("SELECT * FROM sam_file", schema="samfs1")


def test_grants_and_options_of_the_page_suffice(
    site: dict[str, str],
    database: Any,  # noqa: ANN401 (as above)
) -> None:
    options = load_options(HmsSidebandArchive, file=site["file"])
    with HmsSidebandArchive(options) as archive:
        with archive.create(12345) as writer:
            writer.write(b"measured")
        inode = archive.local_path(12345).stat().st_ino
        identity = MARIADB["Identity"](inode % (1 << 32), 1)
        database.file("/data/pacifica/39/3039", identity, size=8, online=0)
        archive.check()
        found = archive.status(12345)

    assert ("tape", "sideband") == (found.media, found.residency_source)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT uid FROM sam_inode",
        "SELECT * FROM sam_archive",
        "UPDATE sam_inode SET online = 1",
        "DELETE FROM sam_path",
        "CREATE TABLE mine (ino INT)",
    ],
)
def test_grants_of_the_page_allow_nothing_else(
    database: Any,  # noqa: ANN401 (as above)
    statement: str,
) -> None:
    url = database.server.url("pacifica", password=PASSWORD)
    with (
        sqlalchemy.create_engine(url).connect() as connection,
        pytest.raises(DBAPIError, match="denied"),
    ):
        connection.exec_driver_sql(statement)


def test_grants_are_for_the_columns_that_are_read() -> None:
    granted = {
        table: set(columns.split(", "))
        for columns, table in re.findall(
            r"GRANT SELECT \(([a-z_, ]+)\) ON samfs1\.(\w+) TO", block("sql", SITE)
        )
    }

    assert {
        table.name: {column.name for column in table.columns}
        for table in (sam_path, sam_file, sam_inode)
    } == granted


# --- the page for operators --------------------------------------------------------


@pytest.mark.parametrize("row", cells("on the metadata server"), ids=lambda row: row[1])
def test_examples_of_the_prefix_are_right(row: list[str]) -> None:
    """What is behind the directory that is known on both sides is the same."""
    there, here, prefix, sam_qfs_prefix = re.findall(r"`([^`]+)`", " ".join(row))
    wanted = f"{there}{prefix.removeprefix(here)}".removeprefix("/sam1")
    options = HmsSidebandOptions(
        prefix=Path(prefix), sam_qfs_prefix=sam_qfs_prefix, url=NOWHERE
    )

    assert wanted == options.sam_qfs_prefix


def test_section_is_the_same_on_every_page() -> None:
    configure = (generate.DOCS / "configure.md").read_text()

    assert block("ini", SITE) == block("ini", configure, "[Oracle HSM]")


def test_example_of_a_file_is_where_the_archive_has_it() -> None:
    first = cells("on the metadata server")[0]
    prefix, sam_qfs_prefix = (cell.strip("`") for cell in first[2:])
    path = f"{sam_qfs_prefix}{id2filename(12345)}"
    directory, _, name = path.rpartition("/")

    assert f"is `{prefix}{id2filename(12345)}`" in SITE
    assert f"the name `{name}` in the directory `{directory}/`" in SITE


#: The mounts and rows of the table of residencies: size and blocks, type, size, online.
STATES = (
    ((0, 0), None),
    ((700, 2), (0, 700, 1)),
    ((700, 2), (0, 700, 0)),
    ((700, 2), None),
    ((700, 0), None),
)


@pytest.mark.parametrize(
    ("state", "row"),
    [*zip(STATES, cells("the file on the mount")[1:], strict=True)],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_states_are_those_of_the_code(
    state: tuple[tuple[int, int], tuple[int, int, int] | None], row: list[str]
) -> None:
    (size, blocks), in_database = state
    fields = dict(zip(("type", "size", "online"), in_database or (), strict=False))
    finding = decide(
        os.stat_result([0] * 6 + [size] + [0] * 3, {"st_blocks": blocks}),
        Row(ino=1, gen=1, **fields) if in_database else None,
        reason="no row",
    )
    sizes = repr(tuple(level.size for level in finding.levels)).replace("700", "n")
    media, code = ("disk", "200") if finding.online else ("tape", "503")

    assert [f"`{media}`", f"`{sizes}`", f"`{finding.source}`"] == row[2:5]
    assert row[5].startswith(code)


def test_exit_codes_of_a_check_are_those_of_its_errors() -> None:
    """In this order: does not answer, refuses, has not the tables."""
    kinds = (Failure.UNREACHABLE, Failure.REFUSED, Failure.WRONG)

    assert [str(exit_code(_FAILURES[kind]())) for kind in kinds] == re.findall(
        r"(\d+) where (?:it|there is) (?:does not|refuses|no such)", SITE
    )


def test_wrapper_hands_paths_on_as_they_are(tmp_path: Path) -> None:
    """With an ssh that does what ssh does: have a shell take its words apart."""
    wrapper = tmp_path / "stage-on-mds"
    said = block("text", SITE, "<!-- wrapper -->")
    stage = tmp_path / "stage"
    wrapper.write_text(said.replace("/opt/SUNWsamfs/bin/stage", str(stage)))
    (tmp_path / "ssh").write_text('#!/bin/sh\nshift 3\nexec sh -c "$*"\n')
    stage.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    for script in (wrapper, tmp_path / "ssh", stage):
        script.chmod(0o755)
    done = subprocess.run(
        [wrapper, "/mnt/sam1/a b/39/3039", "/mnt/sam1/it's;$(false)`&/file.1"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )

    assert "/sam1/a b/39/3039\n/sam1/it's;$(false)`&/file.1\n" == done.stdout


@pytest.mark.parametrize(
    "bound",
    [
        f"up to {_CHUNK} absolute paths",
        f"up to {_CALLS} times for {_CHUNK}",
        f"{_THREADS} threads read",
        f"{_QUEUE:,} more may queue",
        f"At most {_WAITERS} openings",
        f"is left alone for {_PAUSE_S:g} seconds",
    ],
)
def test_bounds_are_those_of_the_code(bound: str) -> None:
    assert bound in SITE


def test_bound_on_a_look_up_is_the_one_of_the_code() -> None:
    options = HmsSidebandOptions(prefix=Path(), sam_qfs_prefix="/", url=NOWHERE)
    bound_s = Sideband(options).bound_s

    assert f"| `connect_timeout_s + 3 * query_timeout_s` | {bound_s:g} s |" in SITE
    # By path, then by inode.
    assert f"so a status is late by {bound_s:g} s at most by default" in SITE


def said(package: Path) -> list[str]:
    """Return the texts of a package's code, put together as Python does."""
    return [
        node.value
        for path in package.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("row", cells("level"), ids=lambda row: row[1])
def test_messages_to_watch_are_those_of_the_code(row: list[str]) -> None:
    message = row[1].strip("`")

    assert any(message in text for text in said(PACKAGE))


def logged(package: Path) -> list[str]:
    """Return what a package's code logs; of the words it is put together of, those."""
    calls = [
        node
        for path in package.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    texts = [
        text.value
        for call in calls
        if ast.unparse(call.func).startswith(("_log.", "OperatorWarning"))
        and isinstance(text := call.args[0], ast.Constant)
        and isinstance(text.value, str)
    ]
    return [*(text for text in texts if not text.startswith("%s")), *_WORDS.values()]


@pytest.mark.parametrize("text", logged(PACKAGE))
def test_messages_of_the_code_are_there_to_watch(text: str) -> None:
    assert any(row[1].strip("`") in text for row in cells("level"))


# --- the double --------------------------------------------------------------------


def test_servers_are_started_as_the_pages_say() -> None:
    """The others of the blocks that are not run are checked for their options."""
    shown = {
        f"127.0.0.1:{port}": tuple(shlex.split(arguments))
        for page in generate.pages()
        for arguments, port in re.findall(
            r"```sh\npacifica-archive serve (.*) -p (808[1-9])\n```", page.read_text()
        )
    }

    assert {name: SERVERS[name] for name in SERVERS if name[-1] != "0"} == shown


def test_double_is_started_as_its_page_says() -> None:
    (command,) = COMPANIONS.values()

    assert f"```sh\n{shlex.join(command)}\n```" in DOUBLE


def test_double_shares_no_code_with_the_backend() -> None:
    """Or both could agree on a mistake."""
    own = f"{PACKAGE.name}.double"
    imported = {
        name
        for path in (PACKAGE / "double").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (name := node.module)
    }

    assert [] == sorted(
        name
        for name in imported
        if name.startswith(PACKAGE.name) and not f"{name}.".startswith(f"{own}.")
    )


# --- the design --------------------------------------------------------------------


def test_tree_of_the_design_is_the_package() -> None:
    tree = block("text", DESIGN, "## hmssideband")
    named = re.findall(r"^  ([a-z]+(?:\.py|/)) ", tree, re.MULTILINE)

    assert {
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__.py"} == {*named}


def test_columns_are_as_many_as_the_design_says() -> None:
    columns = sum(len(table.columns) for table in (sam_path, sam_file, sam_inode))

    assert 13 == columns
    assert "three tables, thirteen columns" in DESIGN
