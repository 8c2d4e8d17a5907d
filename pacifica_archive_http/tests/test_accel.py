"""What is handed over to nginx, and what is not; tests_deploy/ tries it with nginx."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import Answer, ByCall, needs_posix

from pacifica_archive_core import ConfigError, MemoryArchive, open_archive
from pacifica_archive_core.memory import MemoryOptions
from pacifica_archive_http import make_app
from pacifica_archive_http.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 1000
INTERNAL = "/files-of-the-archive/"

pytestmark = needs_posix


class Handing(ByCall):
    """The application over a directory, as nginx asks it, and what it has logged."""

    def __init__(
        self,
        archive: Any,  # noqa: ANN401 (any archive)
        *,
        max_transfers: int | None = None,
    ) -> None:
        options = ServerOptions(
            write_once=True, accel_redirect=INTERNAL, max_transfers=max_transfers
        )
        self.lines: list[bytes] = []
        super().__init__(make_app(archive, options, access_log=self.lines.append))

    def send(self, env: dict[str, Any]) -> Answer:
        """Ask as nginx does, if the request does not say otherwise."""
        return super().send({"HTTP_X_ACCEL_INTERNAL": INTERNAL, **env})


@pytest.fixture(params=["archive", "a b%20c ü"])
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    prefix: Path = tmp_path / request.param
    prefix.mkdir()
    return prefix


@pytest.fixture
def call(prefix: Path) -> Iterator[Handing]:
    with open_archive(
        "posix", prefix=prefix, use_id2filename=True, durable=False
    ) as archive:
        call = Handing(archive)
        call("PUT", "/12345", DATA)
        yield call


def test_the_path_is_that_below_the_prefix(call: Handing) -> None:
    answer = call("GET", "/12345")

    assert (200, b"", f"{INTERNAL}39/3039") == (
        answer.status,
        answer.body,
        answer.headers["x-accel-redirect"],
    )


def test_what_the_client_is_to_be_told_is_told_to_nginx(call: Handing) -> None:
    told = call("HEAD", "/files/12345").headers
    answer = call("GET", "/files/12345").headers
    names = ("etag", "last-modified", "repr-digest", "x-pacifica-residency-source")

    assert [told[name] for name in names] == [answer[name] for name in names]


@pytest.mark.parametrize("field", ["", "/", "/files-of-the-archive", "/other/"])
def test_who_does_not_know_the_location_gets_the_bytes(
    call: Handing, field: str
) -> None:
    answer = call("GET", "/12345", headers={"X-Accel-Internal": field})

    assert (True, False) == (DATA == answer.body, "x-accel-redirect" in answer.headers)


def test_a_range_is_handed_over_as_one(call: Handing) -> None:
    answer = call("GET", "/12345", headers={"Range": "bytes=5-200000"})

    assert (206, f"{INTERNAL}39/3039") == (
        answer.status,
        answer.headers["x-accel-redirect"],
    )


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/12345?byte_range=0-200000", {}),
        ("/12345", {"If-Match": "*"}),
        ("/12345", {"Range": "bytes=0-100000,200000-"}),
        ("/12345", {"Range": "bytes=,0-100000"}),
        ("/12345", {"Range": "bytes=0-100000", "If-Range": '"of another version"'}),
        ("/12345", {"Range": "lines=1-2"}),
    ],
)
def test_what_nginx_would_answer_otherwise_is_sent_by_us(
    call: Handing, target: str, fields: dict[str, str]
) -> None:
    answer = call("GET", target, headers=fields)

    assert "x-accel-redirect" not in answer.headers
    assert len(answer.body) > 1 << 16


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Range": "bytes=256000-"}, 416),
        ({"If-None-Match": "*"}, 304),
        ({"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 412),
    ],
)
def test_what_sends_no_file_is_answered_as_ever(
    call: Handing, fields: dict[str, str], status: int
) -> None:
    answer = call("GET", "/12345", headers=fields)

    assert (status, False) == (answer.status, "x-accel-redirect" in answer.headers)


def test_a_client_cannot_name_the_file(call: Handing) -> None:
    call("PUT", "/1", b"short")
    answer = call("GET", "/1", headers={"X-Accel-Redirect": f"{INTERNAL}39/3039"})

    assert (b"short", False) == (answer.body, "x-accel-redirect" in answer.headers)


@pytest.mark.usefixtures("call")
def test_no_place_of_a_transfer_is_wanted(prefix: Path) -> None:
    """As where all are taken, so that an upload is refused."""
    with open_archive("posix", prefix=prefix, use_id2filename=True) as archive:
        full = Handing(archive, max_transfers=0)

        assert 200 == full("GET", "/12345").status
        assert 503 == full("PUT", "/1", b"bytes").status


def test_no_file_stays_open(call: Handing, prefix: Path) -> None:
    call("GET", "/12345")
    target = str(prefix / "39" / "3039")

    assert target not in _open_files()


def _open_files() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return found


def test_the_log_says_no_number_of_bytes(call: Handing) -> None:
    call("GET", "/12345")

    assert json.loads(call.lines[-1])["bytes"] is None


@attrs.frozen(kw_only=True)
class PrefixedOptions(MemoryOptions):
    prefix: Path = Path("/srv")


class TapeWithPaths(MemoryArchive):
    """Has a path for each file, and files that can be on tape."""

    def __init__(self) -> None:
        super().__init__(PrefixedOptions())

    def local_path(self, file_id: int) -> Path:
        return Path(f"/srv/{file_id}")


def test_a_file_on_tape_is_not_handed_over() -> None:
    """Nginx would wait for the tape."""
    with TapeWithPaths() as archive:
        call = Handing(archive)
        call("PUT", "/12345", DATA)
        on_disk = call("GET", "/12345")
        archive.purge(12345)
        on_tape = call("GET", "/12345")

    assert (200, f"{INTERNAL}12345") == (
        on_disk.status,
        on_disk.headers["x-accel-redirect"],
    )
    assert (503, False) == (on_tape.status, "x-accel-redirect" in on_tape.headers)


def test_an_archive_without_paths_sends_its_files(memory: MemoryArchive) -> None:
    call = Handing(memory)
    call("PUT", "/12345", DATA)

    assert call("GET", "/12345").body == DATA


def test_it_is_refused_where_files_are_replaced() -> None:
    with pytest.raises(ConfigError, match="accel_redirect needs write_once"):
        ServerOptions(accel_redirect=INTERNAL)
