"""
What each error is in HTTP: one table, walked from the error's class upwards.

::

    RequestError               the request cannot be answered as it was sent
    ├── BadRequest
    ├── PreconditionFailed     an If-* field is not met
    ├── LengthRequired         an upload that cannot prove its own end
    ├── ContentTooLarge        a JSON body over the limit
    ├── UnsupportedCoding      a Content-Encoding
    ├── RangeUnsatisfiable
    ├── TransfersBusy          as many transfers run as may
    ├── ClientBusy             as many of one client's
    ├── Unauthorized           no token, or none that is valid
    ├── Forbidden              a valid one, without the scope
    ├── DeleteDenied           the server deletes nothing
    └── NotReady               the backend would not serve
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import falcon

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    BackendError,
    CommitUnclear,
    ConfigError,
    DigestMismatch,
    FileDamaged,
    FileError,
    FileExists,
    FileOffline,
    IncompleteWrite,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
    SourceRefused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIENT_GONE",
    "PROBLEMS",
    "BadRequest",
    "ClientBusy",
    "ContentTooLarge",
    "DeleteDenied",
    "Forbidden",
    "LengthRequired",
    "NotReady",
    "PreconditionFailed",
    "Problem",
    "RangeUnsatisfiable",
    "RequestError",
    "TransfersBusy",
    "Unauthorized",
    "UnsupportedCoding",
    "find_problem",
]


class RequestError(Exception):
    """
    The request cannot be answered as it was sent.

    Args:
        message: lower case, no full stop, what is wrong and what is allowed.
    """

    #: Fields of the answer that go with the error.
    headers: Mapping[str, str] = {}


class BadRequest(RequestError):
    """The request is malformed or contradicts itself."""


class PreconditionFailed(RequestError):
    """An ``If-*`` field says that the request is not to be done."""


class LengthRequired(RequestError):
    """An upload has neither a length nor a digest that would prove its end."""


class ContentTooLarge(RequestError):
    """The JSON document in the body is longer than any needs to be."""


class UnsupportedCoding(RequestError):
    """The body has a Content-Encoding, which the archive could not keep."""

    headers = {"Accept-Encoding": "identity"}  # noqa: RUF012 (a Mapping: read only)


class RangeUnsatisfiable(RequestError):
    """
    No byte of the range is in the file.

    Args:
        size: bytes of the file.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"the range is outside of the file's {size} bytes")
        self.headers = {"Content-Range": f"bytes */{size}"}


class TransfersBusy(RequestError):
    """As many uploads and downloads are running as this server allows."""


class ClientBusy(RequestError):
    """As many are running as one token or address may have."""


class Unauthorized(RequestError):
    """
    A token is wanted, and there is none, or none that is valid.

    Args:
        message: says nothing of the token.
        invalid: there is one (RFC 6750 section 3.1).
    """

    def __init__(self, message: str, *, invalid: bool = True) -> None:
        super().__init__(message)
        error = ', error="invalid_token"' if invalid else ""
        self.headers = {"WWW-Authenticate": f"{_CHALLENGE}{error}"}


class Forbidden(RequestError):
    """
    The token does not allow this.

    Args:
        message: names the scope that is wanted.
        scope: the same, for programs.
    """

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        wanted = f', scope="{scope}"' if scope else ""
        self.headers = {
            "WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"{wanted}'
        }


class DeleteDenied(RequestError):
    """The server was told to delete nothing."""


class NotReady(RequestError):
    """The backend does not answer, or would not serve."""


#: RFC 6750 section 3.
_CHALLENGE = 'Bearer realm="pacifica-archive"'


@attrs.frozen(kw_only=True)
class Problem:
    """
    How one class of errors is answered.

    Attributes:
        status: the HTTP status.
        name: stable, for programs; ``type`` is made of it.
        title: for people; the same for all errors of the class.
        advice: what the client can do, added to the error's own message.
        retry_after_s: seconds after which to ask again.
        told: the error's message may leave the server. A message that is not
            told is replaced by the advice.
        logged: the error and its causes go to the server's log.
    """

    status: int
    name: str
    title: str
    advice: str = ""
    retry_after_s: int | None = None
    told: bool = True
    logged: bool = False

    @property
    def type(self) -> str:
        """The URI that names the problem (RFC 9457 section 3.1.1)."""
        return f"urn:pacifica-archive:{self.name}"

    def document(self, exc: Exception) -> bytes:
        """
        Return RFC 9457's JSON, and ``message`` beside it.

        Ingest 0.4.1 and cartd 0.7.0 read ``message``.
        """
        detail = str(exc) if self.told else ""
        text = "; ".join(part for part in (detail, self.advice) if part) or self.title
        return json.dumps(
            {
                "type": self.type,
                "title": self.title,
                "status": self.status,
                "detail": text,
                "message": text,
            }
        ).encode()


_SEE_LOG = "the server's log has the reason, under the X-Request-Id of this answer"

#: Error class to problem; an error without a row has that of its nearest base.
PROBLEMS: Mapping[type[Exception], Problem] = {
    BadRequest: Problem(status=400, name="bad-request", title="Bad Request"),
    InvalidFileId: Problem(status=400, name="invalid-file-id", title="No File Id"),
    IncompleteWrite: Problem(
        status=400, name="incomplete-write", title="Incomplete Upload"
    ),
    DigestMismatch: Problem(
        status=400, name="digest-mismatch", title="Digest Mismatch"
    ),
    Unauthorized: Problem(status=401, name="unauthorized", title="Token Required"),
    Forbidden: Problem(status=403, name="forbidden", title="Not Allowed"),
    DeleteDenied: Problem(status=403, name="delete-denied", title="Deletes Nothing"),
    SourceRefused: Problem(status=403, name="source-refused", title="Source Refused"),
    # The title is what HEAD puts in each Pacifica field: wire_v1.
    NoSuchFile: Problem(status=404, name="no-such-file", title="File Not Found"),
    falcon.HTTPNotFound: Problem(
        status=404,
        name="no-such-address",
        title="Address Not Found",
        advice="a file is at /{id} and at /files/{id}",
        told=False,
    ),
    falcon.HTTPMethodNotAllowed: Problem(
        status=405,
        name="method-not-allowed",
        title="Method Not Allowed",
        advice="Allow lists the methods of this address",
        told=False,
    ),
    FileExists: Problem(status=409, name="file-exists", title="File Exists"),
    LengthRequired: Problem(
        status=411, name="length-required", title="Length Or Digest Required"
    ),
    PreconditionFailed: Problem(
        status=412, name="precondition-failed", title="Precondition Failed"
    ),
    ContentTooLarge: Problem(
        status=413, name="content-too-large", title="Content Too Large"
    ),
    UnsupportedCoding: Problem(
        status=415, name="unsupported-coding", title="Unsupported Content Coding"
    ),
    RangeUnsatisfiable: Problem(
        status=416, name="range-unsatisfiable", title="Range Not Satisfiable"
    ),
    ClientBusy: Problem(
        status=429,
        name="client-busy",
        title="Too Many Transfers Of One Client",
        retry_after_s=5,
    ),
    # Falcon raises it for a method that HTTP does not know, and for nothing here.
    falcon.HTTPBadRequest: Problem(
        status=501,
        name="unknown-method",
        title="Unknown Method",
        advice="this server does not know the method",
        told=False,
    ),
    NotSupported: Problem(status=501, name="not-supported", title="Not Supported"),
    FileOffline: Problem(
        status=503,
        name="file-offline",
        title="File On Tape",
        advice="POST to this address has it staged",
        retry_after_s=60,
    ),
    ArchiveUnavailable: Problem(
        status=503,
        name="archive-unavailable",
        title="Archive Unavailable",
        retry_after_s=10,
        logged=True,
    ),
    TransfersBusy: Problem(
        status=503, name="transfers-busy", title="Too Many Transfers", retry_after_s=5
    ),
    NotReady: Problem(status=503, name="not-ready", title="Not Ready", retry_after_s=5),
    ArchiveFull: Problem(
        status=507, name="archive-full", title="Archive Full", logged=True
    ),
    AccessDenied: Problem(
        status=500,
        name="access-denied",
        title="Access Denied By The Store",
        logged=True,
    ),
    FileDamaged: Problem(
        status=500, name="file-damaged", title="File Damaged", logged=True
    ),
    CommitUnclear: Problem(
        status=500, name="commit-unclear", title="Commit Unclear", logged=True
    ),
    FileError: Problem(
        status=500, name="file-error", title="File Cannot Be Used", logged=True
    ),
    # Of these the message may name hosts and paths: it is for the operator.
    ConfigError: Problem(
        status=500,
        name="config-error",
        title="Server Misconfigured",
        advice=_SEE_LOG,
        told=False,
        logged=True,
    ),
    BackendError: Problem(
        status=500,
        name="backend-error",
        title="Backend Missing",
        advice=_SEE_LOG,
        told=False,
        logged=True,
    ),
    ArchiveError: Problem(
        status=500,
        name="archive-error",
        title="Archive Error",
        advice=_SEE_LOG,
        told=False,
        logged=True,
    ),
    Exception: Problem(
        status=500,
        name="internal-error",
        title="Internal Server Error",
        advice=_SEE_LOG,
        told=False,
        logged=True,
    ),
}


#: The last word of a download that the client ended; no answer has it.
CLIENT_GONE = "client-gone"


def find_problem(error: type[Exception]) -> Problem:
    """Return the row of the nearest class that has one."""
    return next(PROBLEMS[kind] for kind in error.__mro__ if kind in PROBLEMS)
