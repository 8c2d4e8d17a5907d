"""The benchmark runs, and is not taken in by a server that errs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from loads import WrongAnswer, build_head, measure
from places import Load, Place
from remote import measure_remote
from servers import Contender, contenders, run

RUN = Path(__file__).parent.parent / "run.py"
LOAD = Load(
    seconds=1,
    connections=4,
    # More than the remote backend sends in one piece.
    big_size=3 << 20,
    parts=2,
    part_size=1 << 20,
    remote_gets=2,
    remote_puts=2,
    remote_reads=20,
)

#: Serves a directory, but answers small GETs as told.
LIAR = """
import http.server, os, sys
_, port, store, wrong = sys.argv

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(store + self.path, "rb") as file:
            content = file.read()
        if wrong == "bytes" and self.path != "/1":
            content = content[::-1]
        failed = wrong == "status" and self.path != "/1"
        self.send_response(500 if failed else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(name="disk", directory=tmp_path, judged=False)
    place.make_sources(LOAD)
    place.make_store()
    return place


def test_a_quick_run_measures_ours_and_nginx(tmp_path: Path) -> None:
    subprocess.run(
        (
            *(sys.executable, str(RUN), "--quick", "--place", "disk"),
            *("--only", "ours", "--only", "ours, no digests", "--only", "nginx"),
            *("--disk", str(tmp_path), "--out", str(tmp_path / "out")),
        ),
        check=True,
    )

    report = json.loads((tmp_path / "out" / "performance.json").read_text())
    (disk,) = report["results"]
    # So little takes less CPU than the 10 ms in which it is counted.
    nothing = [
        (server, figure)
        for part in (disk["rounds"], disk["remote"])
        for server, (figures,) in part.items()
        for figure, value in figures.items()
        if not (value > 0 or figure.endswith(("_us", "_cpu")))
    ]

    assert {"ours", "ours, no digests", "nginx"} == disk["rounds"].keys()
    assert {"ours", "ours, no digests"} == disk["remote"].keys()
    assert [] == nothing


def test_the_remote_part_leaves_out_the_rest(tmp_path: Path) -> None:
    subprocess.run(
        (
            *(sys.executable, str(RUN), "--quick", "--place", "disk"),
            *("--part", "remote", "--only", "ours"),
            *("--disk", str(tmp_path), "--out", str(tmp_path / "out")),
        ),
        check=True,
    )
    report = json.loads((tmp_path / "out" / "performance.json").read_text())
    (disk,) = report["results"]

    assert [{}, ["ours"]] == [disk["rounds"], list(disk["remote"])]


def test_a_part_of_a_run_does_not_go_into_the_documents() -> None:
    done = subprocess.run(
        (sys.executable, str(RUN), "--quick"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert "give --out" in done.stderr


def test_the_application_is_measured_without_a_server() -> None:
    done = subprocess.run(
        (sys.executable, str(RUN.with_name("application.py"))),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()]

    assert ["request", "---", "GET", "HEAD", "PUT", "PUT with SHA-256"] == rows


@pytest.mark.parametrize("wrong", ["bytes", "status"])
def test_a_wrong_answer_is_no_figure(place: Place, wrong: str) -> None:
    liar = Contender(
        name="liar",
        command=lambda place, port: (
            *(sys.executable, "-c", LIAR, str(port)),
            *(str(place.store), wrong),
        ),
        version=lambda: "",
        head_status=200,
    )
    head = build_head(place.directory)

    with run(liar, place) as running, pytest.raises(WrongAnswer, match="liar"):
        measure(running, place, LOAD, head)


@pytest.fixture
def ours() -> dict[str, Contender]:
    return {server.name: server for server in contenders(None)}


def test_a_digest_that_is_not_the_files_is_no_figure(
    place: Place, ours: dict[str, Contender]
) -> None:
    """What is sent is not what the digest was made of."""
    place.big.write_bytes(bytes(LOAD.big_size))
    head = build_head(place.directory)

    with (
        run(ours["ours"], place) as running,
        pytest.raises(WrongAnswer, match="ours: digest sha-256="),
    ):
        measure(running, place, LOAD, head)


def test_a_server_without_digests_is_not_taken_for_one_with(
    place: Place, ours: dict[str, Contender]
) -> None:
    liar = attrs.evolve(ours["ours, no digests"], name="liar", digests=True)
    head = build_head(place.directory)

    with (
        run(liar, place) as running,
        pytest.raises(WrongAnswer, match="liar: digest None"),
    ):
        measure(running, place, LOAD, head)


def test_wrong_bytes_through_the_backend_are_no_figure(
    place: Place, ours: dict[str, Contender]
) -> None:
    """Curl compares with what was sent, the backend with the digest before that."""
    place.big.write_bytes(bytes(LOAD.big_size))

    with (
        run(ours["ours"], place) as running,
        pytest.raises(WrongAnswer, match="wrong bytes through the backend"),
    ):
        measure_remote(running, place, LOAD)


def test_a_wrong_small_file_through_the_backend_is_no_figure(
    place: Place, ours: dict[str, Contender]
) -> None:
    (place.store / "7").chmod(0o644)
    (place.store / "7").write_bytes(place.small_content(8))

    with (
        run(ours["ours"], place) as running,
        pytest.raises(WrongAnswer, match=r"small files .*wrong ones: \[7\]"),
    ):
        measure_remote(running, place, LOAD)


def test_head_counts_what_is_not_the_status_wanted(place: Place) -> None:
    """The server above knows no HEAD: it answers 501."""
    liar = Contender(
        name="liar",
        command=lambda place, port: (
            *(sys.executable, "-c", LIAR, str(port), str(place.store), "nothing"),
        ),
        version=lambda: "",
        head_status=200,
    )
    head = build_head(place.directory)

    with run(liar, place) as running:
        done = subprocess.run(
            (str(head), str(running.port), "2", "0.2", "1", "10", "204"),
            stdout=subprocess.PIPE,
            check=True,
        )
    said = json.loads(done.stdout)

    assert said["requests"] > 0
    assert said["requests"] == said["failures"]
