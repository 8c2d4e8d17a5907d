"""PATCH: a file that lies in the archive's file system becomes a file of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asking import ByCall, environment

from pacifica_archive_core import (
    ConfigError,
    MemoryArchive,
    SourceRefused,
    open_archive,
)
from pacifica_archive_http import make_app
from pacifica_archive_http.fitting import check_archive
from pacifica_archive_http.options import ServerOptions

if TYPE_CHECKING:
    from pacifica_archive_core import Archive

MOVED = {"message": "File Moved Successfully"}


def _document(path: object) -> bytes:
    return json.dumps({"path": path}).encode()


@pytest.fixture
def prefix(posix: Archive) -> Path:
    found: Path = posix.options.prefix
    return found


@pytest.fixture
def move(posix: Archive) -> ByCall:
    return ByCall(make_app(posix))


@pytest.mark.parametrize("target", ["/5", "/files/5"])
def test_patch_moves_a_file(move: ByCall, prefix: Path, target: str) -> None:
    source = prefix / "uploaded"
    source.write_bytes(b"bytes")

    answer = move("PATCH", target, _document(str(source)))

    assert (200, MOVED) == (answer.status, answer.json)
    assert b"bytes" == move("GET", target).body
    assert not source.exists()


def test_patch_replaces_as_put_does(move: ByCall, prefix: Path) -> None:
    move("PUT", "/5", b"old")
    (prefix / "uploaded").write_bytes(b"new")

    move("PATCH", "/5", _document(str(prefix / "uploaded")))

    assert b"new" == move("GET", "/5").body


@pytest.mark.parametrize(
    ("write_once", "headers", "status"),
    [(True, {}, 409), (False, {"If-None-Match": "*"}, 412)],
)
def test_patch_refuses_to_replace_as_put_does(
    posix: Archive,
    prefix: Path,
    *,
    write_once: bool,
    headers: dict[str, str],
    status: int,
) -> None:
    call = ByCall(make_app(posix, ServerOptions(write_once=write_once)))
    call("PUT", "/5", b"old")
    source = prefix / "uploaded"
    source.write_bytes(b"new")

    answer = call("PATCH", "/5", _document(str(source)), headers)

    assert (status, b"old") == (answer.status, call("GET", "/5").body)
    assert source.exists()


def test_patch_takes_nothing_from_outside_of_the_archive(
    move: ByCall, tmp_path: Path
) -> None:
    """Release 0.4.2 moved any file of the server."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"not to be had")

    answer = move("PATCH", "/5", _document(str(secret)))

    assert (403, "urn:pacifica-archive:source-refused") == (
        answer.status,
        answer.json["type"],
    )
    assert secret.exists()


def test_patch_never_goes_through_a_symlink(
    move: ByCall, prefix: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"not to be had")
    (prefix / "link").symlink_to(tmp_path / "secret")

    assert 403 == move("PATCH", "/5", _document(str(prefix / "link"))).status


def test_patch_never_takes_the_file_of_another_id(move: ByCall) -> None:
    move("PUT", "/5", b"bytes")
    path = move("HEAD", "/5").headers["x-pacifica-file"]

    assert 403 == move("PATCH", "/6", _document(path)).status
    assert b"bytes" == move("GET", "/5").body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 30_000,
        b"5",
        b'"path"',
        b"[]",
        b"{}",
        _document(None),
        _document(5),
        _document(["/x"]),
        _document(""),
        _document("uploaded"),
        _document("./uploaded"),
        _document("/a\0b"),
        b'{"path": "/\\ud800"}',
    ],
)
def test_what_is_no_absolute_path_is_a_400(move: ByCall, body: bytes) -> None:
    assert 400 == move("PATCH", "/5", body).status


@pytest.mark.parametrize("chunked", [True, False])
def test_a_document_that_is_too_long_is_a_413(move: ByCall, *, chunked: bool) -> None:
    answer = move("PATCH", "/5", _document("/" + "a" * 70_000), chunked=chunked)

    assert 413 == answer.status


def test_a_document_may_come_in_chunks(move: ByCall, prefix: Path) -> None:
    (prefix / "uploaded").write_bytes(b"bytes")
    body = _document(str(prefix / "uploaded"))

    assert 200 == move("PATCH", "/5", body, chunked=True).status


def test_chunks_where_the_server_shows_no_end_are_a_411(posix: Archive) -> None:
    call = ByCall(make_app(posix), {"wsgi.input_terminated": False})

    assert 411 == call("PATCH", "/5", _document("/x"), chunked=True).status


def test_a_document_that_is_cut_short_is_a_400(move: ByCall, prefix: Path) -> None:
    (prefix / "uploaded").write_bytes(b"bytes")
    body = _document(str(prefix / "uploaded"))
    env = environment("PATCH", "/5", body, {"Content-Length": str(len(body) + 9)})

    assert 400 == move.send(env).status
    assert (prefix / "uploaded").exists()


def test_an_archive_that_cannot_adopt_is_a_501(memory: MemoryArchive) -> None:
    assert 501 == ByCall(make_app(memory))("PATCH", "/5", _document("/x")).status


class _Adopting(MemoryArchive):
    """Has a third-party backend's ``adopt``."""

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        if source != "/allowed":
            raise SourceRefused(file_id)
        with self.create(file_id, overwrite=overwrite) as writer:
            writer.write(os.fsencode(source))


@pytest.mark.parametrize(("path", "status"), [("/allowed", 200), ("/other", 403)])
def test_any_backend_may_offer_it(path: str, status: int) -> None:
    with _Adopting() as archive:
        answer = ByCall(make_app(archive))("PATCH", "/5", _document(path))

    assert status == answer.status


@pytest.mark.parametrize(
    "options", [ServerOptions(tokens=Path("file")), ServerOptions(jwt=Path("file"))]
)
def test_who_has_a_token_takes_no_file_of_another_id(
    prefix: Path, options: ServerOptions
) -> None:
    with (
        open_archive("posix", prefix=prefix, adopt_ids=True) as archive,
        pytest.raises(ConfigError, match=r"'adopt_ids': .* (tokens|jwt) may say"),
    ):
        check_archive(archive, options)
