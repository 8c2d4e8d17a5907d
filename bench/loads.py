"""What is asked of a server, and the proof that its answers were right."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from places import SMALL_IDS, SMALL_SIZE

if TYPE_CHECKING:
    from places import Load, Place
    from servers import Running

__all__ = [
    "GIB",
    "MB",
    "Figures",
    "Small",
    "Transfer",
    "WrongAnswer",
    "build_head",
    "check_digest",
    "compare",
    "get",
    "look",
    "measure",
    "put",
    "small_get",
    "small_head",
    "small_put",
    "warm_up",
]

_HERE = Path(__file__).parent
GIB = 1 << 30
MB = 1_000_000
#: Ids of the big files.
_BIG_ID = 5_000_000
_PART_ID = 6_000_000
#: Small files whose bytes are looked at after each kind of request.
_SAMPLE = 100


class WrongAnswer(Exception):
    """A server's answer was an error or had wrong bytes: no figure counts then."""


@attrs.frozen(kw_only=True)
class Figures:
    """What was measured of one server in one round."""

    #: Small requests a second.
    get: float
    head: float
    put: float
    #: Millions of bytes a second, of the one big file and of several at once.
    big_get: float
    big_put: float
    parts_get: float
    parts_put: float
    #: Microseconds of CPU of the server's processes for a small request.
    get_us: float
    head_us: float
    put_us: float
    #: Seconds of CPU of the server's processes for a GiB of big files.
    get_cpu: float
    put_cpu: float
    #: Sum over the server's processes, in its whole life, when all had gone through.
    peak_mib: float


@attrs.frozen(kw_only=True)
class Small:
    """Small requests of one kind, all answered rightly."""

    requests: float
    seconds: float
    cpu_s: float
    #: What came back, heads and bodies; 0 where it was not counted.
    received: float = 0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's CPU for one."""
        return self.cpu_s / self.requests * 1e6


@attrs.frozen
class Transfer:
    """Some big files that went one way."""

    bytes_per_s: float
    cpu_s: float


def build_head(directory: Path) -> Path:
    """Compile the program that asks for HEAD."""
    program = directory / "head"
    source = _HERE / "head.c"
    subprocess.run(("cc", "-O2", "-o", str(program), str(source), "-ldl"), check=True)
    return program


def measure(running: Running, place: Place, load: Load, head: Path) -> Figures:
    """
    Put one round of everything through a server.

    Raises:
        WrongAnswer: one of its answers was not what it should be.
    """
    warm_up(running, load)
    get_small = small_get(running, place, load)
    head_small = small_head(running, load, head)
    put_small = small_put(running, place, load)
    place.warm(max(load.big_size, load.moved - load.big_size))
    big_put = put(running, place.big, [_BIG_ID], place)
    check_digest(running, _BIG_ID, place.big_digest)
    big_get = get(running, place.big, [_BIG_ID])
    look(running, place.big, [_BIG_ID])
    # Room for the next: a place need not hold both.
    (place.store / str(_BIG_ID)).unlink()
    parts = list(range(_PART_ID, _PART_ID + load.parts))
    parts_put = put(running, place.part, parts, place)
    parts_get = get(running, place.part, parts)
    look(running, place.part, parts)
    gib = load.moved / GIB
    return Figures(
        get=get_small.rate,
        head=head_small.rate,
        put=put_small.rate,
        big_get=big_get.bytes_per_s / MB,
        big_put=big_put.bytes_per_s / MB,
        parts_get=parts_get.bytes_per_s / MB,
        parts_put=parts_put.bytes_per_s / MB,
        get_us=get_small.cpu_us,
        head_us=head_small.cpu_us,
        put_us=put_small.cpu_us,
        get_cpu=(big_get.cpu_s + parts_get.cpu_s) / gib,
        put_cpu=(big_put.cpu_s + parts_put.cpu_s) / gib,
        peak_mib=running.usage().peak_bytes / (1 << 20),
    )


# --- small files -----------------------------------------------------------------


def _wrk(running: Running, load: Load, *arguments: str, seconds: int) -> Small:
    cpu_before = running.usage().cpu_s
    done = subprocess.run(
        (
            *("wrk", "--threads", "2", "--connections", str(load.connections)),
            *("--duration", f"{seconds}s", "--timeout", "10s"),
            *_header_options(running, "--header"),
            *("--script", "small.lua", running.url, "--", *arguments),
            *((str(tokens),) if (tokens := running.contender.tokens) else ()),
        ),
        # Scripts are found from the working directory.
        cwd=_HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    cpu_s = running.usage().cpu_s - cpu_before
    said = json.loads(done.stdout[done.stdout.rindex("{") :])
    failures = {
        kind: said[kind]
        for kind in ("connect", "read", "write", "status", "timeout")
        if said[kind] and not (kind == "read" and running.contender.closes)
    }
    if failures or not said["requests"]:
        raise WrongAnswer(f"{running.contender.name}: {arguments[0]}: {said}")
    return Small(
        requests=said["requests"],
        seconds=said["seconds"],
        cpu_s=cpu_s,
        received=said["bytes"],
    )


def warm_up(running: Running, load: Load) -> None:
    """Have a server do for a second what is measured then."""
    _wrk(running, load, "get", "1", str(SMALL_IDS), seconds=1)


def small_get(running: Running, place: Place, load: Load) -> Small:
    """GET the small files in turn, and look at the bytes of some."""
    small = _wrk(running, load, "get", "1", str(SMALL_IDS), seconds=load.seconds)
    if small.received < small.requests * SMALL_SIZE:
        raise WrongAnswer(f"{running.contender.name}: short answers: {small}")
    for file_id in random.sample(range(1, SMALL_IDS + 1), _SAMPLE):
        if running.fetch(file_id) != place.small_content(file_id):
            raise WrongAnswer(f"{running.contender.name}: wrong bytes of {file_id}")
    return small


def small_head(running: Running, load: Load, head: Path) -> Small:
    """HEAD the small files in turn."""
    _check_head(running)
    cpu_before = running.usage().cpu_s
    done = subprocess.run(
        (
            *(str(head), str(running.port), str(load.connections)),
            *(str(load.seconds), "1", str(SMALL_IDS)),
            str(running.contender.head_status),
            "".join(f"{n}: {v}\r\n" for n, v in running.contender.headers.items()),
            *(("tls",) if running.contender.certificate else ()),
        ),
        stdout=subprocess.PIPE,
        check=True,
    )
    cpu_s = running.usage().cpu_s - cpu_before
    said = json.loads(done.stdout)
    if said["failures"] or not said["requests"]:
        raise WrongAnswer(f"{running.contender.name}: head: {said}")
    return Small(requests=said["requests"], seconds=said["seconds"], cpu_s=cpu_s)


def _check_head(running: Running) -> None:
    """See that HEAD tells the size, by whichever header this server does."""
    headers, _ = running.ask("HEAD", "/1")
    size = headers["X-Content-Length"] or headers["Content-Length"]
    if size != str(SMALL_SIZE):
        raise WrongAnswer(f"{running.contender.name}: HEAD says {size} bytes")


def small_put(running: Running, place: Place, load: Load) -> Small:
    """PUT small files to new ids, and look at the bytes of some."""
    small = _wrk(running, load, "put", str(place.small), seconds=load.seconds)
    content = place.small.read_bytes()
    with os.scandir(place.store) as entries:
        sizes = {
            int(entry.name): entry.stat().st_size
            for entry in entries
            if entry.name.isdecimal() and int(entry.name) > SMALL_IDS
        }
    whole = [file_id for file_id, size in sizes.items() if size == SMALL_SIZE]
    # What was under way when wrk went away may be there, or in part.
    if len(whole) < small.requests or len(sizes) > len(whole) + load.connections:
        raise WrongAnswer(f"{running.contender.name}: {len(whole)} stored: {small}")
    for file_id in random.sample(whole, min(_SAMPLE, len(whole))):
        if (place.store / str(file_id)).read_bytes() != content:
            raise WrongAnswer(f"{running.contender.name}: wrong bytes in {file_id}")
    check_digest(running, whole[0], hashlib.sha256(content).digest())
    return small


# --- big files -------------------------------------------------------------------

#: The server waits for no leave to send, and says what it answered.
_CURL = (
    *("curl", "--silent", "--show-error", "--output", os.devnull, "-H", "Expect:"),
    *("--write-out", "%{http_code} %{size_download}"),
)


def put(running: Running, source: Path, ids: list[int], place: Place) -> Transfer:
    """Send a file to all these ids at once; look at what lies in the store then."""
    transfer = _curl(
        running,
        [
            (*_curl_options(running), "--upload-file", str(source), _url(running, i))
            for i in ids
        ],
        size=source.stat().st_size,
        status=http.client.CREATED,
    )
    for file_id in ids:
        compare(source, place.store / str(file_id), running)
    return transfer


def get(running: Running, source: Path, ids: list[int]) -> Transfer:
    """Fetch all these ids at once, and throw the bytes away."""
    size = source.stat().st_size
    return _curl(
        running,
        [(*_curl_options(running), _url(running, i)) for i in ids],
        size=size,
        status=http.client.OK,
        received=size,
    )


def look(running: Running, source: Path, ids: list[int]) -> None:
    """Fetch these ids one by one, and compare the bytes."""
    for file_id in ids:
        fetching = (
            *("curl", "--silent", "--fail", *_secure_options(running)),
            _url(running, file_id),
        )
        with subprocess.Popen(fetching, stdout=subprocess.PIPE) as curl:
            compare(source, Path("-"), running, stdin=curl)
        if curl.returncode:
            raise WrongAnswer(f"{running.contender.name}: curl {curl.returncode}")


def check_digest(running: Running, file_id: int, digest: bytes) -> None:
    """See that a digest was computed, or none: that side would be a fast liar."""
    if running.contender.digests is None:
        return
    said = running.ask("HEAD", f"/files/{file_id}")[0]["Repr-Digest"]
    right = f"sha-256=:{base64.b64encode(digest).decode()}:"
    if said != (right if running.contender.digests else None):
        raise WrongAnswer(f"{running.contender.name}: digest {said}, not {right}")


def _url(running: Running, file_id: int) -> str:
    return f"{running.url}/{file_id}"


def _curl_options(running: Running) -> tuple[str, ...]:
    return (*_CURL, *_secure_options(running))


def _secure_options(running: Running) -> tuple[str, ...]:
    """Return curl's options for this server's fields and certificate."""
    fields = _header_options(running, "--header")
    if (certificate := running.contender.certificate) is None:
        return fields
    return (*fields, "--cacert", str(certificate), "--tlsv1.3")


def _header_options(running: Running, option: str) -> tuple[str, ...]:
    fields = running.contender.headers.items()
    return tuple(text for n, v in fields for text in (option, f"{n}: {v}"))


def _curl(
    running: Running,
    commands: list[tuple[str, ...]],
    *,
    size: int,
    status: int,
    received: int | None = None,
) -> Transfer:
    """Run the commands at once, timed from the first start to the last end."""
    cpu_before = running.usage().cpu_s
    start = time.monotonic()
    curls = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [curl.communicate()[0].split() for curl in curls]
    seconds = time.monotonic() - start
    cpu_s = running.usage().cpu_s - cpu_before
    for curl, (code, count) in zip(curls, said, strict=True):
        if curl.returncode or int(code) != status or received not in {None, int(count)}:
            raise WrongAnswer(
                f"{running.contender.name}: curl {curl.returncode}: {code} {count}"
            )
    return Transfer(size * len(commands) / seconds, cpu_s)


def compare(
    source: Path,
    other: Path,
    running: Running,
    *,
    stdin: subprocess.Popen[bytes] | None = None,
) -> None:
    """Compare every byte of two files, or of one with what a process writes."""
    done = subprocess.run(
        ("cmp", str(source), str(other)),
        stdin=stdin.stdout if stdin else None,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WrongAnswer(f"{running.contender.name}: {done.stdout.strip()}")
