"""The price of tokens and TLS is measured, and is that of what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from loads import WrongAnswer, build_head
from places import Load, Place
from security import (
    JWT,
    JWT_FIRST,
    NGINX_TLS,
    OPEN,
    TLS,
    Price,
    Report,
    make_secrets,
    make_signers,
    measure,
    measure_checks,
    sides,
)
from servers import run

PROGRAM = Path(__file__).parent.parent / "security.py"
LOAD = Load(
    seconds=1,
    connections=4,
    big_size=1 << 20,
    parts=0,
    part_size=0,
    remote_gets=0,
    remote_puts=0,
    remote_reads=0,
)


def test_a_quick_run_measures_each_way_to_ask(tmp_path: Path) -> None:
    only = [text for side in (JWT_FIRST, TLS, NGINX_TLS) for text in ("--only", side)]
    subprocess.run(
        (
            *(sys.executable, str(PROGRAM), "--quick", *only),
            *("--place", str(tmp_path), "--out", str(tmp_path / "out")),
        ),
        check=True,
    )
    report = json.loads((tmp_path / "out" / "performance-security.json").read_text())
    rates = {
        side: [figure for figure in ("get", "head", "put", "big_get") if price[figure]]
        for side, (price,) in report["rounds"].items()
    }

    assert {
        JWT_FIRST: ["get", "put"],
        TLS: ["get", "head", "put", "big_get"],
        NGINX_TLS: ["get", "head", "put", "big_get"],
    } == rates


def test_a_part_of_a_run_does_not_go_into_the_documents(tmp_path: Path) -> None:
    # No place to run: it would end there if it began.
    nowhere = str(tmp_path / "nowhere")
    done = subprocess.run(
        (sys.executable, str(PROGRAM), "--only", TLS, "--place", nowhere),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert "give --out" in done.stderr


def test_a_server_that_asks_for_no_token_is_no_figure(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path, make_signers(), jwts=1)
    servers = {server.name: server for server in sides(secrets)}
    liar = attrs.evolve(servers[JWT], name="liar", command=servers[OPEN].command)
    place = Place(name="disk", directory=tmp_path, judged=False)
    place.make_sources(LOAD)
    place.make_store()

    with (
        run(liar, place) as running,
        pytest.raises(WrongAnswer, match="liar: asks for no token"),
    ):
        measure(running, place, LOAD, build_head(tmp_path))


def test_each_check_of_a_token_has_a_price(tmp_path: Path) -> None:
    signers = make_signers()
    checks = measure_checks(make_secrets(tmp_path, signers, jwts=1), signers, 20)

    assert {
        "of the file of tokens",
        "JWT, remembered",
        *("JWT, first, RS256", "JWT, first, ES256", "JWT, first, EdDSA"),
    } == {name for name, cost in checks.items() if cost > 0}


def test_ratios_are_taken_within_a_round_and_not_of_what_was_not_asked() -> None:
    """A slow minute of the machine slows both."""
    report = Report(
        command="nox -s bench_security",
        busy=0.5,
        remark="Other work ran meanwhile.",
        load=LOAD,
        versions={"ours": "1.0.0"},
        rounds={
            OPEN: [
                Price(get=4, head=4, put=4, get_us=1, put_us=1),
                Price(get=2, head=2, put=2, get_us=1, put_us=1),
            ],
            JWT_FIRST: [
                Price(get=2, put=4, get_us=2, put_us=2),
                Price(get=1, put=1, get_us=2, put_us=2),
            ],
        },
        checks={"JWT, remembered": 1.25},
    )
    said = report.markdown()

    assert (
        "| JWT, first / nothing | 0.50 (0.50 to 0.50) |  | 0.75 (0.50 to 1.00)" in said
    )
