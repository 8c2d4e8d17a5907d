"""The benchmark runs, and is not taken in by a server that errs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from loads import WrongAnswer, build_head, measure
from places import Load, Place
from servers import Contender, run

RUN = Path(__file__).parent.parent / "run.py"
LOAD = Load(seconds=1, connections=4, big_size=1 << 20, parts=2, part_size=1 << 20)

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
            *("--only", "ours", "--only", "nginx"),
            *("--disk", str(tmp_path), "--out", str(tmp_path / "out")),
        ),
        check=True,
    )

    report = json.loads((tmp_path / "out" / "performance.json").read_text())
    (disk,) = report["results"]
    # So little takes less CPU than the 10 ms in which it is counted.
    nothing = [
        (server, figure)
        for server, (figures,) in disk["rounds"].items()
        for figure, value in figures.items()
        if not (value > 0 or figure.endswith(("_us", "_cpu")))
    ]

    assert {"ours", "nginx"} == disk["rounds"].keys()
    assert [] == nothing


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

    assert ["request", "---", "GET", "HEAD", "PUT"] == rows


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
