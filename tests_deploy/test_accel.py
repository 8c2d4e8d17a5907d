"""Files that nginx sends: what comes to a client is what would come from us."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import re
import ssl
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from deployed import LIMIT_S, NGINX, Machine, running_nginx

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pacifica_archive_http.testing import LiveServer

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")

DATA = random.Random(1).randbytes(1_000_001)
LOCATION = "/files-of-the-archive/"


@attrs.frozen(kw_only=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return a field, which is there once."""
        found = self.headers.get_all(name, [])
        assert len(found) <= 1, name
        return found[0] if found else None


@attrs.frozen(kw_only=True)
class Site:
    """A server, and nginx before it that sends its files."""

    server: LiveServer
    port: int
    context: ssl.SSLContext
    prefix: Path
    log: Path

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask nginx."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=LIMIT_S, context=self.context
        )
        return send(connection, method, target, headers, body)

    def ask_directly(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask the server itself."""
        connection = http.client.HTTPConnection(*self.server.address, timeout=LIMIT_S)
        return send(connection, method, target, headers)

    def line_of(self, request_id: str) -> dict[str, object]:
        """Return what the server's log says of a request, as soon as it is there."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            for text in self.log.read_text().splitlines():
                line: dict[str, object] = json.loads(text)
                if line["request_id"] == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line of {request_id}")


def send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=answer.headers, body=answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module", params=["archive", "a b%20c ü"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Serve a directory, one transfer at once, with file 12345 in it."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.make()
    certificate = machine.make_certificate()
    prefix = machine.path("srv") / request.param
    prefix.mkdir(exist_ok=True)

    def of_this_prefix(text: str) -> str:
        text, count = re.subn("(alias )(.*/)archive/;", rf'\1"\2{prefix.name}/";', text)
        assert count
        return text

    log = machine.path("var/log/pacifica-archive/access.log")
    with (
        running_server(
            *("-t", "posix", "--prefix", str(prefix), "-o", "use_id2filename=true"),
            *("--write-once", "--max-transfers", "1", "--accel-redirect", LOCATION),
            *("--workers", "1", "--log-file", str(log)),
        ) as server,
        running_nginx(machine, server.address[1], of_this_prefix) as port,
    ):
        site = Site(
            server=server,
            port=port,
            context=ssl.create_default_context(cafile=certificate),
            prefix=prefix,
            log=log,
        )
        assert 201 == site.ask("PUT", "/12345", body=DATA).status
        yield site


@pytest.fixture(params=["/12345", "/files/12345"])
def target(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_it_is_nginx_that_sends(site: Site, target: str) -> None:
    """Else all of the following would be about nothing."""
    answer = site.ask_directly("GET", target, {"X-Accel-Internal": LOCATION})

    assert (f"{LOCATION}39/3039", b"") == (answer["X-Accel-Redirect"], answer.body)


def test_nginx_says_that_it_can(site: Site) -> None:
    """Also where the client says something else."""
    request_id = site.ask("GET", "/12345", {"X-Accel-Internal": "/x/"})["X-Request-Id"]

    # As nginx has sent them.
    assert site.line_of(str(request_id))["bytes"] is None


def test_who_asks_past_nginx_gets_the_bytes(site: Site, target: str) -> None:
    answer = site.ask_directly("GET", target)

    assert (200, True) == (answer.status, DATA == answer.body)


def test_the_bytes_are_those_stored(site: Site, target: str) -> None:
    answer = site.ask("GET", target)

    assert (200, True) == (answer.status, DATA == answer.body)


def test_the_headers_are_those_that_head_tells(site: Site) -> None:
    names = (
        *("ETag", "Last-Modified", "Content-Length", "Content-Type", "Accept-Ranges"),
        *("Repr-Digest", "X-Pacifica-Residency-Source", "X-Pacifica-Status"),
    )
    fields = {"X-Pacifica-Want": "status"}
    told = site.ask_directly("HEAD", "/files/12345", fields)
    answer = site.ask("GET", "/files/12345", fields)

    assert [(name, told[name]) for name in names] == [
        (name, answer[name]) for name in names
    ]


def test_a_digest_that_is_asked_for_comes(site: Site, target: str) -> None:
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()  # noqa: S324 (as asked)

    answer = site.ask("GET", target, {"Want-Digest": "md5"})

    assert f"md5={md5}" == answer["Digest"]


def test_the_path_of_the_archive_is_not_told(site: Site, target: str) -> None:
    answer = site.ask("GET", target)

    assert answer["X-Accel-Redirect"] is None
    assert LOCATION not in str(answer.headers)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=1000-200000", 1000, 200001),
        ("bytes=900000-", 900000, len(DATA)),
        ("bytes=-100000", len(DATA) - 100000, len(DATA)),
        ("bytes=0-99999999", 0, len(DATA)),
        ("bytes=10-19", 10, 20),
    ],
)
def test_ranges(site: Site, target: str, asked: str, first: int, end: int) -> None:
    answer = site.ask("GET", target, {"Range": asked})

    assert (206, f"bytes {first}-{end - 1}/{len(DATA)}") == (
        answer.status,
        answer["Content-Range"],
    )
    assert DATA[first:end] == answer.body


def test_a_range_has_the_tag_of_the_file(site: Site, target: str) -> None:
    told = site.ask("HEAD", "/files/12345")["ETag"]

    assert told == site.ask("GET", target, {"Range": "bytes=1000-200000"})["ETag"]


def test_a_range_goes_on_with_the_tag_that_we_gave(site: Site, target: str) -> None:
    tag = site.ask("GET", target)["ETag"]
    assert tag is not None

    answer = site.ask("GET", target, {"Range": "bytes=500000-", "If-Range": tag})

    assert (206, True) == (answer.status, DATA[500000:] == answer.body)


def test_a_range_of_another_version_is_the_whole_file(site: Site, target: str) -> None:
    fields = {"Range": "bytes=500000-", "If-Range": '"another"'}

    answer = site.ask("GET", target, fields)

    assert (200, True) == (answer.status, DATA == answer.body)


def test_many_ranges_are_the_whole_file_as_ever(site: Site, target: str) -> None:
    answer = site.ask("GET", target, {"Range": "bytes=0-99999,200000-299999"})

    assert (200, True) == (answer.status, DATA == answer.body)


def test_a_range_behind_the_end_is_refused_by_us(site: Site, target: str) -> None:
    answer = site.ask("GET", target, {"Range": f"bytes={len(DATA)}-"})

    assert (416, "range-unsatisfiable") == (
        answer.status,
        answer["X-Pacifica-Problem"],
    )


def test_the_old_form_of_a_range(site: Site) -> None:
    answer = site.ask("GET", "/12345?byte_range=1000-200000")

    assert (200, True) == (answer.status, DATA[1000:200000] == answer.body)


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("If-Match", '"another"', 412),
        ("If-Match", None, 200),
        ("If-None-Match", None, 304),
        ("If-None-Match", '"another"', 200),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
        ("If-Unmodified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 200),
    ],
)
def test_preconditions(
    site: Site, target: str, field: str, value: str | None, status: int
) -> None:
    """None is the file's own tag."""
    tag = site.ask("HEAD", "/files/12345")["ETag"]
    assert tag is not None

    answer = site.ask("GET", target, {field: value or tag})

    assert (status, True) == (answer.status, status != 200 or DATA == answer.body)


def test_head_is_as_ever(site: Site) -> None:
    answer = site.ask("HEAD", "/12345")

    assert (204, str(len(DATA))) == (answer.status, answer["X-Content-Length"])


def test_a_missing_file_is_our_problem(site: Site, target: str) -> None:
    answer = site.ask("GET", f"{target}6")

    assert (404, "no-such-file") == (answer.status, answer["X-Pacifica-Problem"])


@pytest.mark.parametrize("name", ["39/3039", ".pacifica-archive.json", "../../x"])
def test_no_client_reaches_the_files_by_their_names(site: Site, name: str) -> None:
    assert site.ask("GET", f"{LOCATION}{name}").status in {400, 404}


def test_no_client_chooses_the_file_that_is_sent(site: Site) -> None:
    fields = {"X-Accel-Redirect": f"{LOCATION}.pacifica-archive.json"}

    assert DATA == site.ask("GET", "/12345", fields).body


def test_one_id_is_in_the_answer_and_in_our_log(site: Site) -> None:
    answer = site.ask("GET", "/12345", {"X-Request-Id": "of-the-client"})

    assert "of-the-client" == answer["X-Request-Id"]
    assert site.line_of("of-the-client")["bytes"] is None


def test_downloads_of_nginx_hold_no_place_of_ours(site: Site) -> None:
    """Three that are not read yet, where we would allow one."""
    open_ones = [
        http.client.HTTPSConnection(
            "127.0.0.1", site.port, timeout=LIMIT_S, context=site.context
        )
        for _ in range(3)
    ]
    try:
        for connection in open_ones:
            connection.request("GET", "/12345")
        answers = [connection.getresponse() for connection in open_ones]

        assert [200] * 3 == [answer.status for answer in answers]
        assert [DATA] * 3 == [answer.read() for answer in answers]
    finally:
        for connection in open_ones:
            connection.close()
