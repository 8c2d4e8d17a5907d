"""
The WSGI application: ``/{id}`` for Pacifica, ``/files/{id}`` for everyone.

Both are the same resource and answer alike, but for HEAD, for digests, which
``/{id}`` tells only when asked, and for the old spellings, which are in ``wire_v1``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import falcon

from pacifica_archive_core import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    Archive,
    ArchiveError,
    DigestMismatch,
    FileExists,
    FileOffline,
    Hashes,
    IncompleteWrite,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
    SupportsAdopt,
    copy,
)
from pacifica_archive_core.records import record_of
from pacifica_archive_http import accel, conditional, wire_v1
from pacifica_archive_http.access_log import EXCHANGE, AccessLog, Exchange
from pacifica_archive_http.bulk import JsonLinesOf
from pacifica_archive_http.digests import (
    Claim,
    find_claims,
    find_tail_size,
    find_want,
    parse_tail,
    repr_digest,
)
from pacifica_archive_http.fitting import check_archive
from pacifica_archive_http.guard import Guard, find_authenticators
from pacifica_archive_http.health import Alive, Readiness, Ready
from pacifica_archive_http.ids import find_file_id
from pacifica_archive_http.limits import ClientPlaces, Transfers
from pacifica_archive_http.metrics import Metrics, MetricsPage
from pacifica_archive_http.openapi import OpenApi
from pacifica_archive_http.options import Deletion, ServerOptions
from pacifica_archive_http.status_table import (
    BadRequest,
    ClientBusy,
    DeleteDenied,
    LengthRequired,
    PreconditionFailed,
    RequestError,
    TransfersBusy,
    UnsupportedCoding,
)
from pacifica_archive_http.tokens import TokenFile
from pacifica_archive_http.transfer import (
    Blocks,
    Body,
    Slots,
    WholeFile,
    read_document,
    read_exactly,
)
from pacifica_archive_http.trash import TrashBin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from pacifica_archive_core import ArchiveReader, ArchiveSpec, FileStatus
    from pacifica_archive_http.limits import Place

__all__ = ["make_app"]

#: The address whose HEAD has the fields of Pacifica, whatever comes of it.
_PACIFICA = "/{file_id}"
#: Files and parts up to this size are sent in one piece.
_PIECE = 1 << 16
#: More bytes than any ``{"path": ...}`` needs.
_MAX_JSON = 1 << 16
#: Nanoseconds are numbers of 64 bits in every store.
_MAX_MTIME_NS = 2**63 - 1
_MTIME_NS = re.compile(r"-?[0-9]{1,19}")


def make_app(
    archive: Archive | ArchiveSpec,
    options: ServerOptions | None = None,
    *,
    access_log: Callable[[bytes], None] | None = None,
    metrics_directory: Path | None = None,
    clients: ClientPlaces | None = None,
) -> WSGIApplication:
    """
    Make the WSGI application of one archive.

    Args:
        archive: opened in this process; or what to open at the first request,
            for servers that fork after they have loaded the application.
        options: what the server allows; give fewer ``max_transfers`` than it has
            threads.
        access_log: takes each line of the log; None for no log.
        metrics_directory: where the processes of one server keep what ``/metrics``
            tells of all of them; None: it tells of this process.
        clients: of all processes of one server; None: clients are counted in this
            process, and in those that it is forked into from now on.

    Raises:
        ConfigError: a file that the options name cannot be used, or the archive
            has no trash and is to have one. What is yet to be opened raises it then.
    """
    options = options or ServerOptions()
    metrics = Metrics(metrics_directory)
    app = falcon.App()
    authenticators = find_authenticators(options)
    if options.is_guarded:
        app.add_middleware(Guard(authenticators, options.monitoring))
    for error in (Exception, falcon.HTTPError):
        app.add_error_handler(error, _answer_problem)
    shared: dict[str, Any] = {
        "archive": _find_archive(archive, options),
        "transfers": Transfers(
            slots=Slots(options.max_transfers),
            clients=clients or ClientPlaces(options.client_transfers),
        ),
    }
    readiness = Readiness(shared["archive"], metrics)
    files = {
        **shared,
        "options": options,
        "trash": TrashBin(options.trash_days),
        # A share: who asked may be gone long before a large file is read.
        "digest_slots": Slots(
            options.max_transfers and max(1, options.max_transfers // 4)
        ),
    }
    app.add_route("/", _Welcome())
    app.add_route(_PACIFICA, _PacificaFiles(**files))
    app.add_route("/files/{file_id}", _StandardFiles(**files))
    app.add_route("/openapi.json", OpenApi(options))
    app.add_route("/files/status", JsonLinesOf(**shared, method="status_many"))
    app.add_route("/files/stage", JsonLinesOf(**shared, method="stage_many"))
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", Ready(readiness))
    app.add_route(
        "/metrics",
        MetricsPage(
            metrics=metrics,
            backend=_name_backend(archive),
            is_ready=readiness.is_ready,
            tokens=next(
                (each for each in authenticators if isinstance(each, TokenFile)), None
            ),
        ),
    )
    return AccessLog(app, access_log, metrics)


def _name_backend(archive: Archive | ArchiveSpec) -> str:
    if isinstance(archive, Archive):
        return archive.config_sections[0].replace("_", "")
    return archive.backend


def _find_archive(
    archive: Archive | ArchiveSpec, options: ServerOptions
) -> Callable[[], Archive]:
    if not isinstance(archive, Archive):
        return _Lazy(archive, options)
    check_archive(archive, options)
    return lambda: archive


class _Lazy:
    """Opens an archive once, in the process that first asks for it."""

    def __init__(self, spec: ArchiveSpec, options: ServerOptions) -> None:
        self._lock = threading.Lock()
        self._spec = spec
        self._options = options
        self._archive: Archive | None = None

    def __call__(self) -> Archive:
        """Return the archive; what cannot be opened is tried anew next time."""
        if (archive := self._archive) is not None:
            return archive
        with self._lock:
            if self._archive is None:
                with contextlib.ExitStack() as held:
                    archive = held.enter_context(self._spec.open())
                    check_archive(archive, self._options)
                    held.pop_all()
                self._archive = archive
            return self._archive


def _answer_problem(
    req: falcon.Request, resp: falcon.Response, exc: Exception, _params: object
) -> None:
    """Answer any exception: the boundary where all of them end."""
    if isinstance(exc, FileExists) and _is_create_only(req.env):
        # The store enforces at the commit what If-None-Match asked for.
        exc = PreconditionFailed(str(exc))
    problem = req.env[EXCHANGE].fail(exc)
    resp.status = problem.status
    if req.method == "HEAD" and req.uri_template == _PACIFICA:
        resp.set_headers(wire_v1.absent_headers(problem.title))
    # A HEAD has no body that could say it.
    resp.set_header("X-Pacifica-Problem", problem.name)
    if isinstance(exc, RequestError | falcon.HTTPError):
        resp.set_headers(exc.headers or {})
    if problem.retry_after_s is not None:
        resp.set_header("Retry-After", str(problem.retry_after_s))
    resp.content_type = "application/problem+json"
    resp.data = problem.document(exc)


class _Welcome:
    """The address without an id, which tells that the server is up."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = wire_v1.UP_AND_RUNNING

    on_head = on_get


@attrs.frozen(kw_only=True)
class _Files:
    """What ``/{id}`` and ``/files/{id}`` have in common: all but HEAD."""

    #: Whether a reader is told digests that it did not ask for.
    tells_digests: ClassVar[bool]

    archive: Callable[[], Archive]
    options: ServerOptions
    trash: TrashBin
    transfers: Transfers
    digest_slots: Slots

    def on_get(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        self._send(req, resp, file_id)

    def on_put(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        exchange: Exchange = req.env[EXCHANGE]
        body = Body(req.env)
        try:
            self._store(req.env, _parse_id(file_id, exchange), body)
        except (TransfersBusy, ClientBusy):
            # Refused for the sake of a free thread, which lingering would take.
            raise
        except (ArchiveError, RequestError):
            body.linger(self.transfers.place(req.env))
            raise
        finally:
            exchange.received = body.received
        resp.status = 201
        resp.data = wire_v1.stored(body.received)

    def on_post(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        metrics: Metrics = req.env[EXCHANGE].metrics
        number = _parse_id(file_id, req.env[EXCHANGE])
        archive = self.archive()
        try:
            with metrics.operation("stage"):
                online = archive.stage(number)
        except ArchiveError as exc:
            metrics.staged(exc)
            raise
        metrics.staged(online)
        resp.status = 200 if online else 202
        resp.data = wire_v1.staged(number, online=online)

    def on_patch(
        self, req: falcon.Request, resp: falcon.Response, file_id: str
    ) -> None:
        env = req.env
        number = _parse_id(file_id, env[EXCHANGE])
        archive = self.archive()
        if not isinstance(archive, SupportsAdopt):
            raise NotSupported("this archive cannot take in a file by its path")
        with self.transfers.place(env):
            path = _parse_path(_read_json(Body(env)))
        _check_conditions(env, archive, number)
        with env[EXCHANGE].metrics.operation("adopt"):
            archive.adopt(number, path, overwrite=self._may_replace(env, number))
        resp.data = wire_v1.ADOPTED

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, file_id: str
    ) -> None:
        if self.options.delete is Deletion.DENY:
            raise DeleteDenied("this server deletes nothing")
        number = _parse_id(file_id, req.env[EXCHANGE])
        archive = self.archive()
        _check_conditions(req.env, archive, number)
        metrics: Metrics = req.env[EXCHANGE].metrics
        if self.options.delete is Deletion.TRASH:
            self.trash.put(archive, number, metrics)
        else:
            with metrics.operation("delete"):
                archive.delete(number)
        resp.data = wire_v1.DELETED

    def _may_replace(self, env: WSGIEnvironment, file_id: int) -> bool:
        who = env[EXCHANGE].who
        return not (
            self.options.write_once
            or _is_create_only(env)
            or (who is not None and not who.may_replace(file_id))
        )

    def _find(
        self, req: falcon.Request, resp: falcon.Response, id_text: str
    ) -> FileStatus | None:
        """Return the status for HEAD; None if the client has this version: 304."""
        file_id = _parse_id(id_text, req.env[EXCHANGE])
        archive = self.archive()
        with req.env[EXCHANGE].metrics.operation("status"):
            status = archive.status(file_id)
        req.env[EXCHANGE].residency_source = status.residency_source
        if not conditional.is_conditional(req.env):
            return status
        if conditional.is_current(req.env, status, reading=True):
            _answer_not_modified(resp, status)
            return None
        return status

    def _send(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        id_text: str,
        *,
        byte_range: str | None = None,
    ) -> None:
        env = req.env
        exchange: Exchange = env[EXCHANGE]
        file_id = _parse_id(id_text, exchange)
        archive = self.archive()
        # Before the file is opened: who has the bytes needs none from tape.
        if conditional.is_conditional(env) and self._find(req, resp, id_text) is None:
            return
        with exchange.metrics.operation("open"):
            reader = archive.open(file_id)
        try:
            status = reader.status
            exchange.residency_source = status.residency_source
            if conditional.is_conditional(env):
                # Once more, of the very version that is open now.
                conditional.is_current(env, status, reading=True)
            part = None
            if byte_range is not None:
                first, count = wire_v1.find_byte_range(byte_range, status.size)
            else:
                part = conditional.find_range(env, status)
                first, count = part or (0, status.size)
            digests = self._tell_digests(env, archive, status, reader)
            if first:
                reader.seek(first)
            handed: list[tuple[str, str]] = []
            if count <= _PIECE:
                resp.data = read_exactly(reader, count)
            elif byte_range is not None or not (
                handed := self._hand_over(env, archive, file_id, part)
            ):
                resp.stream = self._stream(archive, reader, count, env)
        finally:
            if resp.stream is None:
                reader.close()
        resp.set_headers((*_describe(env, status, count), *digests, *handed))
        if handed:
            # No list: of the bytes that nginx sends, the log says nothing.
            resp.stream = iter(())
            # As nginx says it itself.
            resp.delete_header("Accept-Ranges")
        if part is not None:
            resp.status = 206
            resp.set_header(
                "Content-Range", f"bytes {first}-{first + count - 1}/{status.size}"
            )

    def _stream(
        self, archive: Archive, reader: ArchiveReader, count: int, env: WSGIEnvironment
    ) -> Blocks | WholeFile:
        """Make the body of a longer answer, which then owns the reader."""
        exchange: Exchange = env[EXCHANGE]
        place = self.transfers.place(env)
        place.take()
        try:
            if (
                "wsgi.file_wrapper" in env
                and count == reader.status.size
                and _has_descriptor(reader)
            ):
                return WholeFile(reader, place=place, exchange=exchange)
            return Blocks(
                reader,
                count,
                block_size=archive.block_size,
                place=place,
                exchange=exchange,
            )
        except BaseException:
            place.give_back()
            raise

    def _hand_over(
        self,
        env: WSGIEnvironment,
        archive: Archive,
        file_id: int,
        part: tuple[int, int] | None,
    ) -> list[tuple[str, str]]:
        """Return the fields that let nginx send a file; none if it is for us."""
        if (internal := self.options.accel_redirect) is None:
            return []
        location = accel.find_location(
            env, archive, file_id, internal, is_part=part is not None
        )
        return (
            [("X-Accel-Redirect", location), ("Content-Length", "0")]
            if location
            else []
        )

    def _tell_digests(
        self,
        env: WSGIEnvironment,
        archive: Archive,
        status: FileStatus,
        reader: ArchiveReader | None = None,
    ) -> list[tuple[str, str]]:
        """Return the fields that tell the digests of the version of ``status``."""
        want = find_want(env)
        if want.is_nothing if want else not self.tells_digests:
            return []
        with env[EXCHANGE].metrics.operation("digests"):
            kept = archive.digests_of(status) if reader is None else reader.digests()
        if want is None:
            return repr_digest(kept)
        who = env[EXCHANGE].who
        # What it takes to compute one is reading the file.
        may_compute = who is None or who.may_read(status.file_id)
        if may_compute and (missing := want.missing(kept)):
            place = self.transfers.place(env)
            kept = {**kept, **self._compute(archive, status, reader, missing, place)}
        return want.fields(kept)

    def _compute(
        self,
        archive: Archive,
        status: FileStatus,
        reader: ArchiveReader | None,
        algorithms: Iterable[str],
        place: Place,
    ) -> Mapping[str, bytes]:
        """Digest a file that is on disk; empty where that cannot be done now."""
        # A place for a transfer: it holds the thread for as long.
        with (
            contextlib.suppress(FileOffline, TransfersBusy, ClientBusy),
            self.digest_slots,
            place,
        ):
            if reader is not None:
                try:
                    return _digest(reader, algorithms, archive.block_size)
                finally:
                    reader.seek(0)
            with archive.open(status.file_id) as opened:
                if opened.status.version == status.version:
                    return _digest(opened, algorithms, archive.block_size)
        return {}

    def _store(self, env: WSGIEnvironment, file_id: int, body: Body) -> None:
        if "HTTP_CONTENT_RANGE" in env:
            # RFC 9110 14.5: storing a part as the whole would destroy the file.
            raise BadRequest("a file is put whole: Content-Range is not allowed")
        if env.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            raise UnsupportedCoding(
                "bytes are kept as they come, and a Content-Encoding is not kept"
            )
        mtime_ns = _parse_mtime(env)
        claims = find_claims(env)
        algorithms = [*self.options.digests, *(claim.algorithm for claim in claims)]
        if tail_size := find_tail_size(env):
            body.keep_tail(tail_size)
            algorithms.append(DEFAULT_ALGORITHM)
        _check_provable(body, claims)
        archive = self.archive()
        _check_conditions(env, archive, file_id)
        exchange: Exchange = env[EXCHANGE]
        with self.transfers.place(env):
            exchange.move("upload")
            with exchange.metrics.operation("create"):
                opened = archive.create(
                    file_id,
                    size=body.size,
                    mtime_ns=mtime_ns,
                    overwrite=self._may_replace(env, file_id),
                )
            with opened as writer, Hashes(algorithms) as hashes:
                copy(
                    body,
                    writer,
                    block_size=archive.block_size,
                    size=body.size,
                    hashers=(hashes,),
                )
                # Of a body that is too short the commit says so.
                if body.size in (None, writer.written):
                    claims += _read_tail(body, file_id)
                    writer.digests |= _verified(claims, hashes.digests(), file_id)
                # Again, so late as can be: what is stored between this and the commit
                # is replaced unseen.
                _check_conditions(env, archive, file_id)
                with exchange.metrics.operation("commit"):
                    writer.commit()


class _PacificaFiles(_Files):
    """``/{id}``: the wire of ingest and cartd, which know of no digests."""

    tells_digests = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        byte_range = req.get_param("byte_range") if req.query_string else None
        self._send(req, resp, file_id, byte_range=byte_range)

    def on_head(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        status = self._find(req, resp, file_id)
        if status is None:
            return
        digests = self._tell_digests(req.env, self.archive(), status)
        resp.status = 204
        resp.set_headers((*wire_v1.status_headers(status), _known_by(status), *digests))


class _StandardFiles(_Files):
    """``/files/{id}``: HTTP as everyone knows it."""

    tells_digests = True

    def on_head(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        status = self._find(req, resp, file_id)
        if status is not None:
            digests = self._tell_digests(req.env, self.archive(), status)
            resp.set_headers((*_describe(req.env, status, status.size), *digests))


def _parse_id(text: str, exchange: Exchange) -> int:
    if (file_id := find_file_id(text)) is None:
        raise InvalidFileId(text)
    exchange.file_id = file_id
    return file_id


def _describe(
    env: WSGIEnvironment, status: FileStatus, count: int
) -> list[tuple[str, str]]:
    fields = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(count)),
        ("Accept-Ranges", "bytes"),
        ("Last-Modified", conditional.last_modified(status)),
        ("ETag", conditional.etag(status)),
        _known_by(status),
    ]
    if env.get("HTTP_X_PACIFICA_WANT") == "status":
        # Of the very version that the answer is of, for our own client.
        record = record_of(status.file_id, status)
        fields.append(("X-Pacifica-Status", json.dumps(record)))
    return fields


def _known_by(status: FileStatus) -> tuple[str, str]:
    """Tell how it is known where the bytes are: some ways are surer than others."""
    return ("X-Pacifica-Residency-Source", status.residency_source)


def _answer_not_modified(resp: falcon.Response, status: FileStatus) -> None:
    resp.status = 304
    resp.set_headers(
        (
            ("Last-Modified", conditional.last_modified(status)),
            ("ETag", conditional.etag(status)),
        )
    )


def _is_create_only(env: WSGIEnvironment) -> bool:
    return bool(env.get("HTTP_IF_NONE_MATCH", "").strip(" \t") == "*")


def _check_conditions(env: WSGIEnvironment, archive: Archive, file_id: int) -> None:
    """Refuse to change a file that is not as the client thinks it is."""
    if not conditional.is_conditional(env):
        return
    try:
        with env[EXCHANGE].metrics.operation("status"):
            status = archive.status(file_id)
    except NoSuchFile:
        status = None
    conditional.is_current(env, status, reading=False)


def _parse_mtime(env: WSGIEnvironment) -> int | None:
    """Return the time that an upload has: to the nanosecond, if it says so."""
    exact = env.get("HTTP_X_PACIFICA_MTIME_NS")
    if exact is not None:
        if not _MTIME_NS.fullmatch(exact) or abs(int(exact)) > _MAX_MTIME_NS:
            raise BadRequest(
                "X-Pacifica-Mtime-Ns is nanoseconds since 1970, in 64 bits"
            )
        return int(exact)
    modified = env.get("HTTP_LAST_MODIFIED")
    return None if modified is None else wire_v1.parse_last_modified(modified)


def _digest(
    reader: ArchiveReader, algorithms: Iterable[str], block_size: int
) -> dict[str, bytes]:
    """Digest all bytes of a file."""
    with Hashes(algorithms) as hashes:
        while block := reader.read(block_size):
            hashes.update(block)
        return hashes.digests()


def _read_tail(body: Body, file_id: int) -> list[Claim]:
    """Read the digests that a body ends with, if it said that there are any."""
    if not body.tail_size:
        return []
    tail = body.read_tail()
    if len(tail) < body.tail_size:
        raise IncompleteWrite(
            file_id, f"{len(tail)} of {body.tail_size} bytes of the digest tail came"
        )
    return parse_tail(tail)


def _verified(
    claims: list[Claim], computed: Mapping[str, bytes], file_id: int
) -> dict[str, bytes]:
    """
    Return the digests to be kept; raise if the bytes are not those meant.

    What was not computed is what a tail said: it is kept as the sender says.
    """
    for claim in claims:
        if computed.get(claim.algorithm, claim.digest) != claim.digest:
            raise DigestMismatch(file_id)
    return {**{claim.algorithm: claim.digest for claim in claims}, **computed}


def _check_provable(body: Body, claims: list[Claim]) -> None:
    """Refuse an upload whose end could not be told from a broken connection."""
    if body.size is not None:
        return
    if not body.is_delimited:
        raise LengthRequired("add a Content-Length: this server takes no other body")
    if not claims:
        raise LengthRequired(
            "add a Content-Length, or a digest as in 'Repr-Digest: sha-256=:BASE64:'"
            f" ({', '.join(ALGORITHMS)}): without either, a connection that breaks"
            " looks like the end of the file"
        )


def _has_descriptor(reader: ArchiveReader) -> bool:
    try:
        reader.fileno()
    except io.UnsupportedOperation:
        return False
    return True


def _read_json(body: Body) -> object:
    """Read a short JSON document."""
    try:
        return json.loads(read_document(body, _MAX_JSON))
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the body is no JSON document") from exc


def _parse_path(document: object) -> str:
    """Take the path out of ``{"path": "/path/on/archive"}``."""
    path = document.get("path") if isinstance(document, dict) else None
    if not isinstance(path, str):
        raise BadRequest('the body is to be {"path": "/path/on/archive"}')
    if not path.startswith("/"):
        raise BadRequest("the path is not absolute")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as exc:
        raise BadRequest("the path cannot be the name of a file") from exc
    if "\0" in path:
        raise BadRequest("the path cannot be the name of a file")
    return path
