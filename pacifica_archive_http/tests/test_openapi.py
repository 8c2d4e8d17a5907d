"""The document is valid, whole, and says what this server is set to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import Answer, ByCall
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types
from openapi_spec_validator import validate

import pacifica_archive_http
from pacifica_archive_http import PROBLEMS, make_app
from pacifica_archive_http.access import RULES
from pacifica_archive_http.openapi import make_document
from pacifica_archive_http.options import Deletion, ServerOptions

if TYPE_CHECKING:
    from pacifica_archive_core import MemoryArchive

PLAIN = ServerOptions()
GUARDED = attrs.evolve(PLAIN, tokens=Path("/nowhere/tokens.json"))
LIMITED = attrs.evolve(GUARDED, max_transfers=48, client_transfers=4)
SETTINGS = {
    "plain": PLAIN,
    "guarded": GUARDED,
    "limited": LIMITED,
    "jwt": attrs.evolve(PLAIN, jwt=Path("/nowhere/jwt.toml")),
    "write-once": attrs.evolve(PLAIN, write_once=True),
    **{f"delete-{how}": attrs.evolve(PLAIN, delete=how) for how in Deletion},
}
SOURCE = "".join(
    path.read_text()
    for path in sorted(Path(pacifica_archive_http.__file__).parent.glob("*.py"))
)


def document(options: ServerOptions = PLAIN) -> dict[str, Any]:
    """Return the document as JSON has it."""
    found: dict[str, Any] = json.loads(json.dumps(make_document(options)))
    return found


def operation(route: str, verb: str, options: ServerOptions = PLAIN) -> dict[str, Any]:
    found: dict[str, Any] = document(options)["paths"][route][verb.lower()]
    return found


def problems(described: dict[str, Any]) -> set[str]:
    """Return the names of the problems that an operation may end in."""
    return {
        name
        for answer in described["responses"].values()
        for name in answer["headers"].get(
            "X-Pacifica-Problem", {"schema": {"enum": []}}
        )["schema"]["enum"]
    }


def every_problem(options: ServerOptions) -> set[str]:
    return {
        name
        for route, verbs in RULES.items()
        for verb in verbs
        for name in problems(operation(route, verb, options))
    }


@pytest.fixture
def call(memory: MemoryArchive) -> ByCall:
    return ByCall(make_app(memory))


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_the_document_is_valid(options: ServerOptions) -> None:
    validate(document(options))


def test_every_rule_is_an_operation() -> None:
    paths = document()["paths"]

    assert {(route, verb.lower()) for route in RULES for verb in RULES[route]} == {
        (route, verb)
        for route in paths
        for verb in paths[route]
        if verb != "parameters"
    }


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [
        operation(route, v)["operationId"] for route in RULES for v in RULES[route]
    ]

    assert len(names) == len({*names})


@pytest.mark.parametrize("route", RULES)
def test_the_verbs_are_those_that_the_server_allows(route: str, call: ByCall) -> None:
    answer = call("OPTIONS", route.format(file_id=1))

    assert {*RULES[route]} == {*answer.headers["allow"].split(", ")}


def test_every_problem_is_somewhere_but_those_of_no_address() -> None:
    """Of a method that is not there, no operation can tell."""
    somewhere = every_problem(SETTINGS["write-once"]) | every_problem(LIMITED)
    somewhere |= every_problem(SETTINGS["delete-deny"])

    assert {"method-not-allowed", "unknown-method"} == {
        problem.name for problem in PROBLEMS.values()
    } - somewhere


def test_every_field_that_is_read_is_a_parameter_but_those_of_http() -> None:
    names = {
        name.removeprefix("HTTP_").replace("_", "-").lower()
        for name in re.findall(r'"(HTTP_[A-Z0-9_]+)"', SOURCE)
    }
    parameters = {name.lower() for name in document()["components"]["parameters"]}

    # The token is a security scheme; a Content-Range is refused; X-Accel-Internal is
    # nginx's and no client's; the rest is HTTP's.
    assert parameters == names - {
        *("authorization", "content-range", "expect", "transfer-encoding"),
        "x-accel-internal",
    }


@pytest.mark.parametrize("route", RULES)
def test_without_tokens_nothing_is_told_of_any(route: str) -> None:
    told = [operation(route, verb) for verb in RULES[route]]

    assert not any(
        "security" in each or {"unauthorized", "forbidden"} & problems(each)
        for each in told
    )


def test_with_tokens_an_operation_names_its_scope() -> None:
    assert [{"bearer": ["write"]}] == operation("/{file_id}", "PUT", GUARDED)[
        "security"
    ]


def test_with_tokens_an_operation_may_end_in_both_refusals() -> None:
    assert {"unauthorized", "forbidden"} <= problems(
        operation("/{file_id}", "PUT", GUARDED)
    )


def test_what_is_left_open_has_no_refusal() -> None:
    assert "security" not in operation("/healthz", "GET", GUARDED)


def test_a_limit_is_told_where_there_is_one() -> None:
    assert "429" in operation("/files/{file_id}", "GET", LIMITED)["responses"]


def test_a_limit_is_not_told_where_there_is_none() -> None:
    assert "429" not in operation("/files/{file_id}", "GET")["responses"]


def test_a_server_that_deletes_nothing_says_so() -> None:
    described = operation("/{file_id}", "DELETE", SETTINGS["delete-deny"])

    assert {"403", "404", "500"} == {*described["responses"]}


def test_a_server_that_replaces_nothing_says_so() -> None:
    described = operation("/{file_id}", "PUT", SETTINGS["write-once"])

    assert "409" in described["responses"]


def test_no_path_of_the_server_is_told() -> None:
    assert "nowhere" not in json.dumps(document(GUARDED))


def test_the_served_bytes_are_the_same_each_time(
    call: ByCall, memory: MemoryArchive
) -> None:
    other = ByCall(make_app(memory))

    assert call("GET", "/openapi.json").body == other("GET", "/openapi.json").body


def test_who_has_the_document_is_told_so(call: ByCall) -> None:
    etag = call("HEAD", "/openapi.json").headers["etag"]
    answer = call("GET", "/openapi.json", headers={"If-None-Match": etag})

    assert (304, b"") == (answer.status, answer.body)


def _fits(name: str, instance: object) -> bool:
    components = {"components": document()["components"]}
    schema = {"$ref": f"#/components/schemas/{name}", **components}
    fits: bool = Draft202012Validator(schema).is_valid(instance)
    return fits


@pytest.fixture
def lines(call: ByCall) -> dict[str, Answer]:
    """Ask for many files: one is there, one is not, one is no id."""
    call("PUT", "/1", b"hello")
    return {
        "StatusLine": call("POST", "/files/status", b"1 2 -3"),
        "StageLine": call("POST", "/files/stage", b"1 2 -3"),
    }


@pytest.mark.parametrize("name", ["StatusLine", "StageLine"])
def test_every_line_of_many_is_as_described(
    name: str, lines: dict[str, Answer]
) -> None:
    told = [json.loads(line) for line in lines[name].body.splitlines()]

    assert [True] * 3 == [_fits(name, line) for line in told]


def test_a_line_with_something_missing_is_not_as_described(
    lines: dict[str, Answer],
) -> None:
    line = json.loads(lines["StatusLine"].body.splitlines()[0])
    del line["residency"]

    assert not _fits("StatusLine", line)
