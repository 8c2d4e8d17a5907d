"""
What pacifica-ingest 0.4.1 and pacifica-cartd 0.7.0 do, as their code does it.

Written from facts/consumers.md; through every server.
"""

from __future__ import annotations

import json
import time
from math import floor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asking import Ask

    from pacifica_archive_http.testing import LiveServer

CARTD_READS = (
    "x-pacifica-messsage",
    "x-content-length",
    "x-pacifica-ctime",
    "last-modified",
    "x-pacifica-bytes-per-level",
    "x-pacifica-file-storage-media",
)


def test_ingest_uploads_a_file(ask: Ask, file_id: int) -> None:
    data = b"measured " * 30_000
    modified = time.ctime(1_473_806_059)

    answer = ask(
        "PUT",
        f"/{file_id}",
        data,
        {"Last-Modified": modified, "Content-Type": "application/octet-stream"},
    )

    assert len(data) == int(answer.json["total_bytes"])
    head = ask("HEAD", f"/{file_id}").headers
    assert 1_473_806_059 == floor(float(head["last-modified"]))


def test_ingest_moves_a_file_within_the_archive(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"bytes")
    kept_at = ask("HEAD", f"/{file_id}").headers["x-pacifica-file"]
    if not kept_at.startswith("/"):
        pytest.skip("this archive has no paths: it cannot adopt")
    from pathlib import Path  # noqa: PLC0415 (only here is the server on this host)

    source = Path(kept_at).with_name(f"uploaded-{file_id}")
    source.write_bytes(b"moved")

    answer = ask("PATCH", f"/{file_id}", json.dumps({"path": str(source)}).encode())

    assert "File Moved Successfully" == answer.json["message"]
    assert b"moved" == ask("GET", f"/{file_id}").body


def test_cartd_finds_every_field_of_a_file(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"bytes")

    headers = ask("HEAD", f"/{file_id}").headers

    assert all(headers[name] for name in CARTD_READS)
    assert "disk" == headers["x-pacifica-file-storage-media"]
    assert 5 == int(headers["x-content-length"])
    assert floor(float(headers["last-modified"])) <= time.time()


def test_cartd_finds_every_field_of_a_missing_file(ask: Ask, file_id: int) -> None:
    headers = ask("HEAD", f"/{file_id}").headers

    assert all(headers[name] for name in CARTD_READS)


def test_cartd_stages_then_downloads(ask: Ask, file_id: int) -> None:
    data = b"measured " * 30_000
    ask("PUT", f"/{file_id}", data)

    assert 500 != ask("POST", f"/{file_id}").status
    assert data == ask("GET", f"/{file_id}").body


def test_cartd_polls_head_on_one_connection(granian: LiveServer, file_id: int) -> None:
    """A 204 with a Content-Length must not make the next answer part of a body."""
    import http.client  # noqa: PLC0415 (only here)

    connection = http.client.HTTPConnection(*granian.address, timeout=20)
    statuses = []
    for method in ("PUT", "HEAD", "HEAD", "GET", "HEAD"):
        connection.request(method, f"/{file_id}", b"bytes" if method == "PUT" else None)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert [201, 204, 204, 200, 204] == statuses
