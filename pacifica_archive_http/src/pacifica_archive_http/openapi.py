"""
``/openapi.json``: what this server answers, as OpenAPI 3.1.

Made of the tables that the server itself goes by: ``access.RULES`` says which
addresses and verbs there are and what they want, ``PROBLEMS`` how each error is
answered. Only what is in no table is said here, and tests compare it with answers.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import attrs
import falcon

from pacifica_archive_core import (
    MAX_FILE_ID,
    ArchiveFull,
    ArchiveUnavailable,
    DigestMismatch,
    FileExists,
    FileOffline,
    FileStatus,
    IncompleteWrite,
    InvalidFileId,
    Media,
    NoSuchFile,
    NotSupported,
    Residency,
    SourceRefused,
    StorageLevel,
)
from pacifica_archive_http import conditional, wire_v1
from pacifica_archive_http.bulk import MAX_IDS
from pacifica_archive_http.digests import MAX_TAIL
from pacifica_archive_http.guard import rules_for
from pacifica_archive_http.options import Deletion
from pacifica_archive_http.status_table import (
    PROBLEMS,
    BadRequest,
    ClientBusy,
    ContentTooLarge,
    DeleteDenied,
    Forbidden,
    LengthRequired,
    NotReady,
    PreconditionFailed,
    RangeUnsatisfiable,
    TransfersBusy,
    Unauthorized,
    UnsupportedCoding,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pacifica_archive_http.access import Scope
    from pacifica_archive_http.options import ServerOptions

__all__ = ["OpenApi", "make_document"]

_BEARER = "bearer"
_OK, _PARTIAL, _NO_CONTENT, _NOT_MODIFIED = 200, 206, 204, 304
_SERVER_ERROR = 500


class OpenApi:
    """
    The resource of the document, which is the same as long as the process lives.

    Args:
        options: what this server is set to.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._data = json.dumps(make_document(options)).encode()
        self._etag = f'"{hashlib.sha256(self._data).hexdigest()[:32]}"'

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the document, or that the client has it."""
        resp.set_header("ETag", self._etag)
        held = req.env.get("HTTP_IF_NONE_MATCH")
        if held is not None and conditional.matches(held, self._etag, "If-None-Match"):
            resp.status = _NOT_MODIFIED
            return
        resp.data = self._data

    on_head = on_get


def make_document(options: ServerOptions) -> dict[str, Any]:
    """Return the document as a dict that JSON can hold; the same for equal options."""
    paths: dict[str, Any] = {}
    components: dict[str, Any] = {
        "schemas": _SCHEMAS,
        "parameters": {
            name: {
                "name": name,
                "in": "header",
                "description": field.what,
                "schema": field.schema,
            }
            for name, field in _ASKED.items()
        },
    }
    for route, verbs in rules_for(options.monitoring).items():
        operations = _operations(route, options)
        paths[route] = {
            verb.lower(): _describe(
                operations[verb], verb, scope if options.is_guarded else None
            )
            for verb, scope in verbs.items()
        }
        if "{file_id}" in route:
            paths[route]["parameters"] = [_FILE_ID]
    if options.is_guarded:
        components["securitySchemes"] = {
            _BEARER: {
                "type": "http",
                "scheme": "bearer",
                "description": "a token of this server, or of an issuer that it knows",
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pacifica-archive",
            "version": "1",
            "description": "Files of an archive, under integer ids.",
        },
        # What the operator chose, for programs.
        "x-pacifica-archive": {
            "delete": options.delete,
            "digests": list(options.digests),
            "tokens": options.is_guarded,
            "write_once": options.write_once,
        },
        "paths": paths,
        "components": components,
    }


# --- the parts of an operation -----------------------------------------------------


@attrs.frozen
class _Field:
    """What a field of a request or of an answer holds."""

    what: str
    schema: Mapping[str, Any] = {"type": "string"}


@attrs.frozen(kw_only=True)
class _Answer:
    """
    An answer that is no error.

    Attributes:
        has: fields that are always there.
        may_have: fields that may be there.
        own: fields that are always there, and hold something else than elsewhere.
        kind: of the body; None: there is none.
        or_kind: of the body to who asks for that.
        content: of the body; None: any bytes.
        links: names of operations that may follow, with the same id.
    """

    what: str
    has: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    own: Mapping[str, _Field] = {}
    kind: str | None = "application/json"
    or_kind: str | None = None
    content: Mapping[str, Any] | None = None
    links: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class _Operation:
    """
    One verb of one address.

    Attributes:
        asks: fields of the request that mean something.
        errors: it may end in, besides those of the server itself.
        on_error: fields that its errors have, where the address was understood.
        more: of the operation object.
    """

    name: str
    what: str
    answers: Mapping[int, _Answer]
    errors: tuple[type[Exception], ...] = ()
    asks: tuple[str, ...] = ()
    on_error: tuple[str, ...] = ()
    more: Mapping[str, Any] = {}


def _describe(operation: _Operation, verb: str, scope: Scope | None) -> dict[str, Any]:
    """Return the operation object."""
    errors = operation.errors
    if scope is not None:
        errors += (Unauthorized, Forbidden)
    has_body = verb != "HEAD"
    more = dict(operation.more)
    asked = [
        {"$ref": f"#/components/parameters/{name}"}
        for name in (*operation.asks, "X-Request-Id")
    ]
    described = {
        "operationId": operation.name,
        "summary": operation.what,
        "parameters": [*more.pop("parameters", ()), *asked],
        **more,
        "responses": {
            **{
                str(status): _answer(answer, has_body=has_body)
                for status, answer in operation.answers.items()
            },
            **_problems(errors, operation.on_error, has_body=has_body),
        },
    }
    if scope is not None:
        # Of OpenAPI 3.1: roles, for schemes that are not OAuth too.
        described["security"] = [{_BEARER: [scope]}]
    return described


def _answer(answer: _Answer, *, has_body: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answer.what,
        "headers": {
            **_headers(answer.has, required=True),
            **_headers(answer.may_have, required=False),
            **_headers(answer.own, answer.own, required=True),
            **_headers(("X-Request-Id",), required=True),
        },
    }
    if has_body and answer.kind is not None:
        schema = {} if answer.content is None else {"schema": answer.content}
        kinds = filter(None, (answer.kind, answer.or_kind))
        described["content"] = dict.fromkeys(kinds, schema)
    if answer.links:
        described["links"] = {
            name: {
                "operationId": name,
                "parameters": {"file_id": "$request.path.file_id"},
            }
            for name in answer.links
        }
    return described


def _headers(
    names: Iterable[str], fields: Mapping[str, _Field] | None = None, *, required: bool
) -> dict[str, Any]:
    fields = _TOLD if fields is None else fields
    return {
        name: {
            "description": fields[name].what,
            "required": required,
            "schema": fields[name].schema,
        }
        for name in names
    }


def _problems(
    errors: Iterable[type[Exception]], on_error: tuple[str, ...], *, has_body: bool
) -> dict[str, Any]:
    """Return an answer for each status that the errors have."""
    kinds: dict[int, list[type[Exception]]] = {}
    # In the order of the table.
    for kind, problem in PROBLEMS.items():
        if kind in errors or kind is Exception:
            kinds.setdefault(problem.status, []).append(kind)
    return {
        str(status): _problem(status, kinds[status], on_error, has_body=has_body)
        for status in sorted(kinds)
    }


def _problem(
    status: int,
    kinds: list[type[Exception]],
    on_error: tuple[str, ...],
    *,
    has_body: bool,
) -> dict[str, Any]:
    problems = [PROBLEMS[kind] for kind in kinds]
    waits = [problem.retry_after_s is not None for problem in problems]
    own = {
        name: all(name in _ERROR_FIELDS.get(kind, ()) for kind in kinds)
        for kind in kinds
        for name in _ERROR_FIELDS.get(kind, ())
    }
    known = falcon.HTTPNotFound not in kinds
    headers = {
        **{
            name: {"description": "the same as the title", "required": known}
            | {"schema": {"type": "string"}}
            for name in on_error
        },
        "X-Pacifica-Problem": {
            "description": "the last word of the problem's type",
            "required": True,
            "schema": {"enum": [problem.name for problem in problems]},
        },
        **(_headers(("Retry-After",), required=all(waits)) if any(waits) else {}),
        **_headers(("X-Request-Id",), required=True),
    }
    for name, required in own.items():
        headers |= _headers((name,), required=required)
    described: dict[str, Any] = {
        "description": ", ".join(problem.title for problem in problems),
        "headers": headers,
    }
    if has_body:
        schema = {
            "$ref": "#/components/schemas/Problem",
            "properties": {
                "type": {"enum": [problem.type for problem in problems]},
                "title": {"enum": [problem.title for problem in problems]},
                "status": {"const": status},
            },
        }
        described["content"] = {"application/problem+json": {"schema": schema}}
    return described


# --- fields ------------------------------------------------------------------------

_DATE = {"type": "string", "format": "http-date"}
_COUNT = {"type": "integer", "minimum": 0}
#: As ``conditional`` reads it, in ASCII: what else a tag may be, none here is.
_TAG = r'(W/)?"[!#-~]*"'
_TAGS = {
    "type": "string",
    "format": "entity-tags",
    "pattern": rf"^(\*|{_TAG}(,[ \t]*{_TAG})*)$",
    "examples": ["*", '"1a2b3c"'],
}
_NANOSECONDS = {"type": "integer", "minimum": 1 - 2**63, "maximum": 2**63 - 1}

#: Fields of requests.
_ASKED = {
    "Content-Digest": _Field("digests of the bytes (RFC 9530), which are verified"),
    "Content-Encoding": _Field(
        "bytes are kept as they come", {"type": "string", "enum": ["identity"]}
    ),
    "Content-MD5": _Field(
        "the MD5 of the bytes (RFC 1864), which is verified",
        {"type": "string", "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"},
    ),
    "Digest": _Field("digests of the bytes (RFC 3230), which are verified"),
    "If-Match": _Field("only if the file is one of these versions, or any: *", _TAGS),
    "If-Modified-Since": _Field("a date; 304 if the file is older"),
    "If-None-Match": _Field("only if it is none of these versions; *: of none", _TAGS),
    "If-Range": _Field("the range only of this version; else the whole file"),
    "If-Unmodified-Since": _Field("a date; 412 if the file is newer"),
    "Last-Modified": _Field(
        "the time of the content; also as RFC 850 and asctime have it", _DATE
    ),
    "Range": _Field("one range of bytes; what is none is passed over"),
    "Repr-Digest": _Field("digests of the bytes (RFC 9530), which are verified"),
    "Want-Digest": _Field("digests to be told in Digest (RFC 3230)"),
    "Want-Repr-Digest": _Field("digests to be told in Repr-Digest (RFC 9530)"),
    "X-Pacifica-Digest-Tail": _Field(
        "bytes at the end of the body that are its digests",
        {"type": "integer", "minimum": 1, "maximum": MAX_TAIL},
    ),
    "X-Pacifica-Mtime-Ns": _Field(
        "the time of the content, nanoseconds since 1970", _NANOSECONDS
    ),
    "X-Pacifica-Want": _Field("status: tell it in X-Pacifica-Status"),
    "X-Request-Id": _Field("the request's name in the log; a new one if it is odd"),
}

#: Fields of answers.
_TOLD = {
    "Accept-Encoding": _Field("what an upload may be in", {"const": "identity"}),
    "Accept-Ranges": _Field("ranges are answered", {"const": "bytes"}),
    "Content-Length": _Field("bytes of the body, or of the file", _COUNT),
    "Content-Range": _Field(
        "the bytes that these are", {"type": "string", "pattern": "^bytes "}
    ),
    "Digest": _Field("digests of the whole file that were wanted (RFC 3230)"),
    "ETag": _Field("the version", {"type": "string", "pattern": '^"[!#-~]+"$'}),
    "Last-Modified": _Field("the time of the content", _DATE),
    "Repr-Digest": _Field("digests of the whole file (RFC 9530)"),
    "Retry-After": _Field("seconds after which to ask again", _COUNT),
    "WWW-Authenticate": _Field(
        "what is wrong with the token (RFC 6750)",
        {"type": "string", "pattern": '^Bearer realm="'},
    ),
    "X-Pacifica-Residency-Source": _Field("how it is known where the bytes are"),
    "X-Pacifica-Status": _Field("the status of this version, as JSON"),
    "X-Request-Id": _Field("the request's name in the log"),
}

_ERROR_FIELDS: Mapping[type[Exception], tuple[str, ...]] = {
    Forbidden: ("WWW-Authenticate",),
    RangeUnsatisfiable: ("Content-Range",),
    Unauthorized: ("WWW-Authenticate",),
    UnsupportedCoding: ("Accept-Encoding",),
}

_FILE_ID = {
    "name": "file_id",
    "in": "path",
    "required": True,
    "description": "the id of the file: decimal, without leading zeros",
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_FILE_ID},
}
_BYTE_RANGE = {
    "name": "byte_range",
    "in": "query",
    "description": "the first byte, and the one behind the last: as release 0.4.2",
    "schema": {"type": "string", "pattern": f"^{wire_v1.BYTE_RANGE}$"},
}

# --- bodies ------------------------------------------------------------------------


def _object(properties: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": dict(properties),
        **more,
    }


def _like(document: bytes, **own: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an answer by one of its kind; ``own`` is what differs among them."""
    constant = {name: {"const": text} for name, text in json.loads(document).items()}
    return _object({**constant, **own})


def _record(kind: type[attrs.AttrsInstance], **more: object) -> dict[str, Any]:
    """Describe what a record makes of a class, by the types of its fields."""
    fields = attrs.fields(kind)
    return _object({**{field.name: _KINDS[field.type] for field in fields}, **more})


#: Type of a field, as it is written, to what JSON has of it.
_KINDS: dict[object, dict[str, Any]] = {
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "Media": {"enum": [*Media]},
    "Residency": {"enum": [residency.value for residency in Residency]},
}
_KINDS["tuple[StorageLevel, ...]"] = {"type": "array", "items": _record(StorageLevel)}
_ONLINE = {"type": "boolean", "description": "it can be read without a recall"}
_ERROR = _object(
    {
        "file_id": {"type": "integer"},
        "error": {"type": "string", "description": "the name of its class"},
        "message": {"type": "string"},
    }
)

_SCHEMAS: dict[str, Any] = {
    "Problem": _object(
        {
            "type": {"type": "string", "pattern": "^urn:pacifica-archive:"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "message": {"type": "string", "description": "the same as detail"},
        },
        description="RFC 9457",
    ),
    "FileStatus": _record(FileStatus, media=_KINDS["Media"], online=_ONLINE),
    "FileError": _ERROR,
    "StatusLine": {
        "oneOf": [
            {"$ref": "#/components/schemas/FileStatus"},
            {"$ref": "#/components/schemas/FileError"},
        ]
    },
    "StageLine": {
        "oneOf": [
            _object(
                {"file_id": {"type": "integer"}, "online": _ONLINE},
                additionalProperties=False,
            ),
            {"$ref": "#/components/schemas/FileError"},
        ]
    },
}

_BLANK = r"[ \t\n\r\v\f]"
_IDS = {
    "type": "string",
    "description": f"one JSON integer a line, at most {MAX_IDS}",
    "pattern": rf"^{_BLANK}*(-?(0|[1-9][0-9]{{0,30}})({_BLANK}+|$))*$",
}
_PATH = _object({"path": {"type": "string", "pattern": "^/[^\\x00]*$"}})


#: Any bytes: 3.1 needs no schema for them, and makers of clients know this one.
_BYTES = {"type": "string", "format": "binary"}


def _body(
    kind: str, schema: Mapping[str, Any], *, required: bool = True
) -> dict[str, Any]:
    content = {kind: {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


# --- operations --------------------------------------------------------------------

_ASKS_ARCHIVE: tuple[type[Exception], ...] = (
    ArchiveUnavailable,
    *(kind for kind, row in PROBLEMS.items() if row.status == _SERVER_ERROR),
)
_BAD_ADDRESS: tuple[type[Exception], ...] = (InvalidFileId, falcon.HTTPNotFound)
_READING = ("If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since")
_CHANGING = ("If-Match", "If-None-Match", "If-Unmodified-Since")
_WANTED = ("Want-Digest", "Want-Repr-Digest")
_FILE_FIELDS = (
    *("Accept-Ranges", "Content-Length", "ETag", "Last-Modified"),
    "X-Pacifica-Residency-Source",
)
_DIGESTS = ("Digest", "Repr-Digest")
_HELD = _Answer(
    what="the client has this version", has=("ETag", "Last-Modified"), kind=None
)


def _operations(route: str, options: ServerOptions) -> dict[str, _Operation]:
    """Return what is known of each verb of an address."""
    if "{file_id}" not in route:
        found = _OTHERS[route](options)
    elif route.startswith("/files/"):
        found = _files(options, "File", "")
    else:
        found = _files(options, "PacificaFile", ", as Pacifica spells it")
        found["GET"] = attrs.evolve(found["GET"], more={"parameters": [_BYTE_RANGE]})
        found["HEAD"] = attrs.evolve(
            found["HEAD"],
            answers={
                _NO_CONTENT: _Answer(
                    what="there it is",
                    # Gunicorn takes the length away.
                    may_have=("Content-Length", *_DIGESTS),
                    has=("X-Pacifica-Residency-Source",),
                    own=_PACIFICA,
                    kind=None,
                ),
                _NOT_MODIFIED: _HELD,
            },
            asks=tuple(name for name in found["HEAD"].asks if name in _HEAD_OF_BOTH),
            on_error=tuple(name for name, _ in wire_v1.absent_headers("")),
        )
    if "GET" in found and "HEAD" not in found:
        found["HEAD"] = attrs.evolve(
            found["GET"], name=found["GET"].name.replace("get", "head", 1)
        )
    return found


def _files(options: ServerOptions, noun: str, how: str) -> dict[str, _Operation]:
    """Return the operations of a file's address."""
    busy = _busy(options)
    # A token of the WLCG may be one that creates and does not replace.
    put_refuses = options.write_once or options.jwt is not None
    # Who may not write replaces nothing by moving either.
    adopt_refuses = options.write_once or options.is_guarded
    whole = _Answer(
        what="the file",
        has=_FILE_FIELDS,
        may_have=(*_DIGESTS, "X-Pacifica-Status"),
        kind="application/octet-stream",
        content=_BYTES,
    )
    part = attrs.evolve(
        whole, what="a part of the file", has=(*_FILE_FIELDS, "Content-Range")
    )
    asking = (*_ASKS_ARCHIVE, *_BAD_ADDRESS)
    reading = (*asking, BadRequest, NoSuchFile, PreconditionFailed)
    changing = (*asking, *busy, BadRequest, PreconditionFailed, ArchiveFull)
    after = tuple(f"{verb}{noun}" for verb in ("get", "head", "stage", "delete"))
    return {
        "GET": _Operation(
            name=f"get{noun}",
            what=f"Read a file or a part of it{how}",
            answers={_OK: whole, _PARTIAL: part, _NOT_MODIFIED: _HELD},
            errors=(*reading, *busy, RangeUnsatisfiable, FileOffline),
            asks=(*_READING, *_WANTED, "If-Range", "Range", "X-Pacifica-Want"),
        ),
        "HEAD": _Operation(
            name=f"head{noun}",
            what=f"Tell of a file without reading it{how}",
            answers={_OK: whole, _NOT_MODIFIED: _HELD},
            errors=reading,
            asks=(*_READING, *_WANTED, "X-Pacifica-Want"),
        ),
        "PUT": _Operation(
            name=f"put{noun}",
            what=f"Store a file, whole or not at all{how}",
            answers={
                201: _Answer(
                    what="stored, durable",
                    content=_like(
                        wire_v1.stored(0),
                        total_bytes={"type": "string", "pattern": "^[0-9]+$"},
                    ),
                    links=after,
                )
            },
            errors=(
                *(*changing, *((FileExists,) if put_refuses else ())),
                *(IncompleteWrite, DigestMismatch),
                *(LengthRequired, UnsupportedCoding),
            ),
            asks=(
                *(*_CHANGING, "Content-Encoding", "Last-Modified"),
                *("Content-Digest", "Content-MD5", "Digest", "Repr-Digest"),
                *("X-Pacifica-Digest-Tail", "X-Pacifica-Mtime-Ns"),
            ),
            more=_body("application/octet-stream", _BYTES),
        ),
        "POST": _Operation(
            name=f"stage{noun}",
            what=f"Have a file on disk{how}",
            answers={
                status: _Answer(
                    what=what,
                    content=_like(
                        wire_v1.staged(0, online=status == _OK),
                        file={"type": "string", "pattern": "^/[0-9]+$"},
                    ),
                )
                for status, what in ((_OK, "it is there"), (202, "it was asked for"))
            },
            errors=(*asking, NoSuchFile, NotSupported, ArchiveFull),
        ),
        "PATCH": _Operation(
            name=f"adopt{noun}",
            what=f"Take in a file that lies in the store{how}",
            answers={_OK: _Answer(what="done", content=_like(wire_v1.ADOPTED))},
            errors=(
                *(*changing, *((FileExists,) if adopt_refuses else ())),
                *(SourceRefused, ContentTooLarge),
                *(LengthRequired, NotSupported),
            ),
            asks=_CHANGING,
            more=_body("application/json", _PATH),
        ),
        "DELETE": _delete(options, noun, how),
    }


def _delete(options: ServerOptions, noun: str, how: str) -> _Operation:
    denied = _Operation(
        name=f"delete{noun}",
        what=f"Nothing: this server deletes nothing{how}",
        answers={},
        errors=(DeleteDenied, falcon.HTTPNotFound),
    )
    if options.delete is Deletion.DENY:
        return denied
    errors = (*_ASKS_ARCHIVE, *_BAD_ADDRESS, BadRequest, NoSuchFile, PreconditionFailed)
    if options.delete is Deletion.TRASH:
        errors += (NotSupported, ArchiveFull)
    where = " into the trash" if options.delete is Deletion.TRASH else ""
    return attrs.evolve(
        denied,
        what=f"Delete a file{where}{how}",
        answers={_OK: _Answer(what="done", content=_like(wire_v1.DELETED))},
        errors=errors,
        asks=_CHANGING,
    )


def _busy(options: ServerOptions) -> tuple[type[Exception], ...]:
    """Return the limits of transfers that this server has."""
    return (
        *((TransfersBusy,) if options.max_transfers is not None else ()),
        *((ClientBusy,) if options.client_transfers is not None else ()),
    )


def _bulk(options: ServerOptions, name: str, what: str, line: str) -> _Operation:
    lines = {"$ref": f"#/components/schemas/{line}"}
    return _Operation(
        name=name,
        what=what,
        answers={
            _OK: _Answer(
                what="an object a line, in the order of the ids",
                kind="application/jsonl",
                # As OpenAPI 3.2 calls it, which has words for lines.
                content={"type": "string", "x-itemSchema": lines},
            )
        },
        errors=(
            *(*_ASKS_ARCHIVE, *_busy(options)),
            *(BadRequest, ContentTooLarge, LengthRequired),
        ),
        more=_body("application/jsonl", _IDS, required=False),
    )


def _plain(
    name: str, what: str, answer: _Answer, errors: tuple[type[Exception], ...] = ()
) -> Callable[[ServerOptions], dict[str, _Operation]]:
    """Return what is known of an address that is only looked at."""
    operation = _Operation(name=name, what=what, answers={_OK: answer}, errors=errors)
    return lambda _options: {"GET": operation}


_PACIFICA = {
    "Last-Modified": _Field("seconds since 1970", {"type": "number"}),
    "X-Content-Length": _Field("bytes of the file", _COUNT),
    "X-Pacifica-Bytes-Per-Level": _Field(
        "on each level, as Python writes a tuple",
        {"type": "string", "pattern": r"^\([0-9, ]*\)$"},
    ),
    "X-Pacifica-Ctime": _Field("seconds since 1970", {"type": "number"}),
    "X-Pacifica-File": _Field("where the store keeps it"),
    "X-Pacifica-File-Storage-Media": _Field("where the bytes are", _KINDS["Media"]),
    "X-Pacifica-Message": _Field("rightly spelt", {"const": "File was found"}),
    "X-Pacifica-Messsage": _Field("as ever", {"const": "File was found"}),
}
_HEAD_OF_BOTH = (*_READING, *_WANTED)

_OTHERS: Mapping[str, Callable[[ServerOptions], dict[str, _Operation]]] = {
    "/": _plain(
        "getWelcome",
        "Tell that the server answers",
        _Answer(what="it does", content=_like(wire_v1.UP_AND_RUNNING)),
    ),
    "/files/status": lambda options: {
        "POST": _bulk(options, "statusMany", "Tell of many files", "StatusLine")
    },
    "/files/stage": lambda options: {
        "POST": _bulk(options, "stageMany", "Have many files on disk", "StageLine")
    },
    "/openapi.json": lambda _options: {
        "GET": _Operation(
            name="getOpenApi",
            what="Return this document",
            answers={
                _OK: _Answer(
                    what="OpenAPI 3.1",
                    has=("ETag",),
                    content=_object({"openapi": {"const": "3.1.0"}}),
                ),
                _NOT_MODIFIED: _Answer(what="you have it", has=("ETag",), kind=None),
            },
            errors=(BadRequest,),
            asks=("If-None-Match",),
        )
    },
    "/healthz": _plain(
        "getHealth",
        "Tell that the process lives",
        _Answer(what="it does", content=_like(b'{"status": "ok"}')),
    ),
    "/readyz": _plain(
        "getReadiness",
        "Tell whether the store answers",
        _Answer(what="it does", content=_like(b'{"status": "ready"}')),
        errors=(NotReady,),
    ),
    "/metrics": _plain(
        "getMetrics",
        "Tell what was done, for Prometheus",
        _Answer(
            what="metrics", kind="text/plain", or_kind="application/openmetrics-text"
        ),
    ),
}
