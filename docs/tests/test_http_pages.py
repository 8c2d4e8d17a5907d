"""The HTTP reference names all that the server reads, answers and bounds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import generate
import pytest
from falcon.testing import StartResponseMock, create_environ

import pacifica_archive_http
from pacifica_archive_core import ALGORITHMS, MemoryArchive
from pacifica_archive_core.backends import ArchiveSpec
from pacifica_archive_core.options import CONFIG_VARIABLES
from pacifica_archive_http import PROBLEMS, make_app
from pacifica_archive_http.access import RULES
from pacifica_archive_http.app import _PIECE
from pacifica_archive_http.bulk import MAX_IDS
from pacifica_archive_http.digests import MAX_KEPT, MAX_TAIL
from pacifica_archive_http.serve import (
    HEAD_TIMEOUT_S,
    MAX_CONNECTIONS,
    MAX_HEAD,
    TRANSFER_SHARE,
)
from pacifica_archive_http.status_table import Forbidden, Unauthorized
from pacifica_archive_http.transfer import Body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTTP = (generate.DOCS / "http.md").read_text()
RUN = (generate.DOCS / "run.md").read_text()
CONFIGURE = (generate.DOCS / "configure.md").read_text()
PACKAGE = Path(pacifica_archive_http.__file__).parent
SOURCE = "".join(path.read_text() for path in sorted(PACKAGE.glob("*.py")))
CLIENT = "".join(path.read_text() for path in sorted(PACKAGE.glob("client/*.py")))
#: Requests that have the server answer in each of its ways.
REQUESTS: tuple[dict[str, Any], ...] = (
    {"method": "GET", "path": "/"},
    {"method": "PUT", "path": "/1", "body": "hello"},
    {"method": "PUT", "path": "/1", "body": "x", "headers": {"If-None-Match": "*"}},
    {"method": "PUT", "path": "/2", "body": "x", "headers": {"Content-Encoding": "br"}},
    {"method": "GET", "path": "/1"},
    {"method": "GET", "path": "/1", "query_string": "byte_range=0-2"},
    {"method": "GET", "path": "/files/1", "headers": {"Range": "bytes=1-2"}},
    {"method": "GET", "path": "/files/1", "headers": {"Range": "bytes=9-"}},
    {"method": "GET", "path": "/files/1", "headers": {"If-None-Match": "*"}},
    {"method": "HEAD", "path": "/1"},
    {"method": "HEAD", "path": "/files/1"},
    {"method": "HEAD", "path": "/404"},
    {"method": "POST", "path": "/1"},
    {"method": "GET", "path": "/9"},
    {"method": "POST", "path": "/9"},
    {"method": "PATCH", "path": "/1", "body": '{"path": "/1"}'},
    {"method": "OPTIONS", "path": "/1"},
    {"method": "TRACE", "path": "/1"},
    {"method": "GET", "path": "/files/1", "headers": {"X-Pacifica-Want": "status"}},
    {"method": "POST", "path": "/files/status", "body": "1\n9\n"},
    {"method": "POST", "path": "/files/stage", "body": "1\n9\n"},
    {"method": "GET", "path": "/1", "headers": {"Want-Digest": "adler32"}},
    {"method": "DELETE", "path": "/1"},
    {"method": "GET", "path": "/openapi.json"},
    {"method": "GET", "path": "/healthz"},
    {"method": "GET", "path": "/readyz"},
    {"method": "GET", "path": "/metrics"},
    {"method": "GET", "path": "/no/address"},
)


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]


@pytest.fixture
def log() -> list[bytes]:
    return []


@pytest.fixture
def ask(log: list[bytes]) -> Iterator[Callable[..., Answer]]:
    """Ask the application for an archive in which file 9 is on tape."""
    with MemoryArchive() as archive:
        with archive.create(9) as writer:
            writer.write(b"measured")
        archive.purge(9)
        app = make_app(archive, access_log=log.append)

        def ask(**request: Any) -> Answer:  # noqa: ANN401 (what Falcon takes)
            start = StartResponseMock()
            # Not Falcon's client, which refuses the 204 with a Content-Length.
            body = app(create_environ(**request), start)
            b"".join(body)
            getattr(body, "close", lambda: None)()
            return Answer(int(str(start.status)[:3]), dict(start.headers or ()))

        yield ask


@pytest.fixture
def answers(ask: Callable[..., Answer]) -> list[Answer]:
    return [ask(**request) for request in REQUESTS]


def test_every_field_of_an_answer_is_documented(answers: list[Answer]) -> None:
    fields = {name for answer in answers for name in answer.headers}

    assert set() == {name for name in fields if f"`{name.lower()}" not in HTTP.lower()}


def test_every_status_of_an_answer_is_documented(answers: list[Answer]) -> None:
    codes = {answer.status for answer in answers}
    errors = (generate.DOCS / "errors.md").read_text()

    assert set() == {code for code in codes if str(code) not in HTTP + errors}


def test_every_status_of_the_reference_is_answered(answers: list[Answer]) -> None:
    """Of those that are no errors: the others are in a table of their own."""
    named = {int(code) for code in re.findall(r"\b([23]0[0-9])\b", HTTP)}

    assert named == {a.status for a in answers if a.status < 400}


def test_every_error_status_of_the_reference_is_one_of_the_table() -> None:
    named = {int(code) for code in re.findall(r"\b([45]0[0-9]|4[1-3][0-9])\b", HTTP)}

    # A head that is too long never reaches the application.
    assert {431} == named - {problem.status for problem in PROBLEMS.values()}


def test_every_field_of_a_refusal_is_documented() -> None:
    refusals = (Unauthorized("no token"), Forbidden("no scope", scope="read"))
    fields = {name for refusal in refusals for name in refusal.headers}

    assert set() == {name for name in fields if f"`{name}" not in HTTP}


def test_every_address_is_in_the_table_of_verbs() -> None:
    table = HTTP.split("## Verbs")[1].split("\n## ")[0]
    addresses = [route.replace("{file_id}", "{id}") for route in RULES]

    assert [] == [each for each in addresses if f" {each}`" not in table]


def test_every_verb_is_documented(ask: Callable[..., Answer]) -> None:
    allowed = ask(method="OPTIONS", path="/1").headers["allow"].split(", ")

    assert [] == [verb for verb in allowed if f"`{verb}" not in HTTP]


def test_every_field_that_a_request_may_have_is_documented() -> None:
    names = {
        name.removeprefix("HTTP_").replace("_", "-").lower()
        for name in re.findall(r'"(HTTP_[A-Z0-9_]+|CONTENT_LENGTH)"', SOURCE)
    }

    assert set() == {name for name in names if f"`{name}" not in HTTP.lower()}


def own_fields(source: str) -> set[str]:
    """Return the names of fields that are no standard's, in lower case."""
    named = re.findall(r"\bX-[A-Z][A-Za-z-]+\b|\bHTTP_X_[A-Z_]+\b", source)
    return {name.removeprefix("HTTP_").replace("_", "-").lower() for name in named}


def test_every_field_of_our_own_is_in_the_table() -> None:
    section = HTTP.split("## Fields of its own")[1].split("\n## ")[0]
    column = "".join(re.findall(r"^\| (`X-.*?) \|", section, re.MULTILINE))

    assert own_fields(SOURCE) == own_fields(column)


def test_every_field_of_our_client_is_one_of_the_server() -> None:
    assert set() == own_fields(CLIENT) - own_fields(SOURCE)


def test_keys_of_the_access_log_are_those_of_the_example(
    answers: list[Answer], log: list[bytes]
) -> None:
    assert answers
    (shown,) = re.findall(r"```json\n(.*?)\n```", HTTP, re.DOTALL)
    keys = [list(json.loads(line)) for line in shown.splitlines()]

    # Of a PUT and of a GET.
    assert keys == [list(json.loads(log[number])) for number in (1, 4)]


def test_digest_algorithms_are_documented() -> None:
    (sentence,) = re.findall(r"^Algorithms are (.*?);", HTTP, re.MULTILINE)

    assert list(ALGORITHMS) == re.findall(r"`([^`]+)`", sentence)


@pytest.mark.parametrize(
    ("bound", "page"),
    [
        (f"{HEAD_TIMEOUT_S} seconds", RUN),
        (f"{MAX_CONNECTIONS} of each worker", RUN),
        (f"up to {_PIECE >> 10} KiB are no transfers", RUN),
        (f"up to {Body.LINGER >> 20} MiB", HTTP),
        (f"up to {MAX_IDS} ids", HTTP),
        (f"longer than {MAX_HEAD >> 10} KiB", HTTP),
        (f"from 1 to {MAX_TAIL}", HTTP),
        (f"up to {MAX_KEPT - 1} digests more", HTTP),
    ],
)
def test_bounds_are_those_of_the_code(bound: str, page: str) -> None:
    assert bound in page


def test_share_of_the_transfers_is_three_quarters() -> None:
    assert 0.75 == TRANSFER_SHARE
    assert "three quarters of each worker's threads" in RUN


def test_every_variable_that_is_read_is_documented() -> None:
    names = {
        *ArchiveSpec.TYPE_VARIABLES,
        *CONFIG_VARIABLES,
        "PAI_PREFIX",
    }

    assert names == set(
        re.findall(r"`((?:PACIFICA_ARCHIVE|PAI|ARCHIVEI)[A-Z_]+[A-Z])`", CONFIGURE)
    ) - {"PACIFICA_ARCHIVE_POSIX_PREFIX"}


def test_every_variable_of_the_post_deployment_tests_is_documented() -> None:
    tests = generate.DOCS.parent / "pacifica_archive_http/post_deployment_tests"
    source = (tests / "test_deployed.py").read_text()
    section = RUN.split("## Test a deployed server")[1]

    assert set(re.findall(r'environ\.get\("([A-Z_]+)"', source)) == set(
        re.findall(r"`([A-Z_]+)`", section)
    ) - {"PATCH"}
