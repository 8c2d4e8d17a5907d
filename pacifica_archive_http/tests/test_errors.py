from __future__ import annotations

import re
from typing import TYPE_CHECKING

import falcon
import pytest
from asking import ByCall
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacifica_archive_core import (
    ArchiveError,
    ArchiveUnavailable,
    FileError,
    MemoryArchive,
    errors,
)
from pacifica_archive_http import PROBLEMS, find_problem, make_app
from pacifica_archive_http import status_table as table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_core import FileStatus

CORE_ERRORS = [getattr(errors, name) for name in errors.__all__]
OWN_ERRORS = [
    error
    for error in vars(table).values()
    if isinstance(error, type)
    and issubclass(error, table.RequestError)
    and error is not table.RequestError
]
#: Design section 3, and what an empty archive or a wrong request adds.
STATUSES = {
    "BadRequest": 400,
    "InvalidFileId": 400,
    "IncompleteWrite": 400,
    "DigestMismatch": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "DeleteDenied": 403,
    "SourceRefused": 403,
    "NoSuchFile": 404,
    "FileExists": 409,
    "LengthRequired": 411,
    "PreconditionFailed": 412,
    "ContentTooLarge": 413,
    "UnsupportedCoding": 415,
    "RangeUnsatisfiable": 416,
    "ClientBusy": 429,
    "NotSupported": 501,
    "FileOffline": 503,
    "ArchiveUnavailable": 503,
    "TransfersBusy": 503,
    "NotReady": 503,
    "ArchiveFull": 507,
}


def _subclasses(error: type[Exception]) -> Iterator[type[Exception]]:
    for each in error.__subclasses__():
        yield each
        yield from _subclasses(each)


@pytest.mark.parametrize("error", [*CORE_ERRORS, *OWN_ERRORS])
def test_every_error_has_the_status_of_the_design(error: type[Exception]) -> None:
    assert STATUSES.get(error.__name__, 500) == find_problem(error).status


@pytest.mark.parametrize("error", [*CORE_ERRORS, *OWN_ERRORS])
def test_every_error_that_can_reach_a_client_has_a_row(
    error: type[Exception],
) -> None:
    # The four of BackendError are one to a client: the server is misconfigured.
    has_row = error in PROBLEMS or issubclass(error, errors.BackendError)

    assert has_row


@pytest.mark.parametrize("error", list(_subclasses(ArchiveError)))
def test_every_subclass_resolves_to_a_row_of_its_own_line(
    error: type[Exception],
) -> None:
    assert PROBLEMS[Exception] is not find_problem(error)


def test_each_row_has_a_name_of_its_own() -> None:
    assert len(PROBLEMS) == len({problem.type for problem in PROBLEMS.values()})


def test_asking_again_is_for_what_may_work_later() -> None:
    later = {error.__name__ for error, row in PROBLEMS.items() if row.retry_after_s}

    assert {
        "ClientBusy",
        "FileOffline",
        "ArchiveUnavailable",
        "TransfersBusy",
        "NotReady",
    } == later


def test_what_is_not_told_has_something_else_to_say() -> None:
    assert all(row.advice for row in PROBLEMS.values() if not row.told)


class _Failing(MemoryArchive):
    """Raises what it is given."""

    def __init__(self, exc: Exception) -> None:
        super().__init__()
        self.exc = exc

    def _status(self, _file_id: int) -> FileStatus:
        raise self.exc

    def _delete(self, _file_id: int) -> None:
        raise self.exc


def _make(error: type[Exception]) -> Exception:
    if issubclass(error, FileError):
        return error(5, "the reason")
    if issubclass(error, falcon.HTTPMethodNotAllowed):
        return error(["GET"])
    if issubclass(error, table.RangeUnsatisfiable):
        return error(10)
    if issubclass(error, falcon.HTTPNotFound | falcon.HTTPBadRequest):
        return error()
    return error("the reason")


@pytest.mark.parametrize("error", list(PROBLEMS))
def test_an_error_is_answered_by_its_row(error: type[Exception]) -> None:
    row = PROBLEMS[error]
    with _Failing(_make(error)) as archive:
        answer = ByCall(make_app(archive))("DELETE", "/5")

    wanted = (row.status, row.retry_after_s and str(row.retry_after_s), row.type)
    assert wanted == (
        answer.status,
        answer.headers.get("retry-after"),
        answer.json["type"],
    )


@pytest.mark.parametrize("error", list(PROBLEMS))
def test_an_error_is_named_where_there_is_no_body(error: type[Exception]) -> None:
    with _Failing(_make(error)) as archive:
        answer = ByCall(make_app(archive))("HEAD", "/files/5")

    assert PROBLEMS[error].name == answer.headers["x-pacifica-problem"]


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("/etc/secret of db.example.org"),
        errors.ConfigError("/etc/secret of db.example.org"),
        errors.BackendLoadError("/etc/secret of db.example.org"),
        ArchiveError("/etc/secret of db.example.org"),
    ],
)
def test_what_is_for_the_operator_stays_on_the_server(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with _Failing(exc) as archive:
        answer = ByCall(make_app(archive))("HEAD", "/files/5")
        text = ByCall(make_app(archive))("DELETE", "/5")

    assert 500 == answer.status
    assert b"secret" not in text.body
    assert "/etc/secret" in caplog.text


def test_the_traceback_is_logged_with_the_id_that_the_client_got(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with _Failing(KeyError("bug")) as archive:
        answer = ByCall(make_app(archive))("HEAD", "/5")

    (record,) = caplog.records
    assert answer.headers["x-request-id"] == getattr(record, "request_id", None)
    assert record.exc_info is not None


def test_a_missing_file_is_nothing_for_the_operator(
    caplog: pytest.LogCaptureFixture, call: ByCall
) -> None:
    call("GET", "/5")

    assert not caplog.records


def test_head_has_the_fields_of_pacifica_for_every_error() -> None:
    with _Failing(ArchiveUnavailable("the store is away")) as archive:
        answer = ByCall(make_app(archive))("HEAD", "/5")

    assert (503, "Archive Unavailable") == (
        answer.status,
        answer.headers["x-pacifica-messsage"],
    )


def test_a_method_that_http_does_not_know_is_a_501(call: ByCall) -> None:
    assert 501 == call("SHRED", "/5").status


_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since",
            "If-Unmodified-Since", "Last-Modified", "Content-Length", "Digest",
            "Content-MD5", "Repr-Digest", "Content-Encoding", "Content-Range",
            "Transfer-Encoding", "Expect", "X-Request-Id", "Content-Type",
            "Content-Digest", "Want-Digest", "Want-Repr-Digest",
            "X-Pacifica-Digest-Tail",
        ]
    ),
    st.text(st.characters(codec="latin-1"), max_size=40)
    | st.sampled_from(['"1"', "*", "bytes=0-3", "Sun, 06 Nov 1994 08:49:37 GMT", "5"]),
)  # fmt: skip
_TARGETS = st.sampled_from(
    ["/5", "/files/5", "/6", "/", "/5?byte_range=0-3", "/%ff", "/5?byte_range=%ff&=&&"]
)


@settings(
    max_examples=300,
    # A store syncs, and a busy machine takes its time.
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]),
    _TARGETS,
    st.binary(max_size=50),
    _HEADERS,
)
def test_nothing_that_a_client_sends_is_an_internal_error(
    call: ByCall, method: str, target: str, body: bytes, headers: dict[str, str]
) -> None:
    call("PUT", "/5", b"bytes")

    assert 500 != call(method, target, body, headers).status


def test_an_error_never_carries_a_path_of_the_server(
    request: pytest.FixtureRequest,
) -> None:
    posix = request.getfixturevalue("posix")
    call = ByCall(make_app(posix))
    (posix.options.prefix / "5").mkdir()

    answers = [call(verb, "/5", b"" if verb == "PUT" else None) for verb in (
        "GET", "PUT", "POST", "DELETE"
    )]  # fmt: skip

    assert all(answer.status >= 400 for answer in answers)
    assert not any(
        re.search(re.escape(str(posix.options.prefix)), answer.body.decode())
        for answer in answers
    )
