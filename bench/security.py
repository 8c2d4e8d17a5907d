"""
Measure what tokens, JSON Web Tokens and TLS cost, beside nginx with TLS.

All servers have two worker processes and an access log, and keep their files in memory,
where nothing else takes time. They run in turn within each round, each round beginning
with another. Every answer is checked: an error is not a fast answer.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from loads import (
    GIB,
    MB,
    WrongAnswer,
    build_head,
    check_digest,
    get,
    look,
    put,
    small_get,
    small_head,
    small_put,
    warm_up,
)
from places import Load, Place
from report import machine, spread, table, write_between
from run import DOCS, MEMORY, has_room, resolved
from servers import Contender, nginx, nginx_version, our_version, ours, run

from pacifica_archive_http.access import Scope
from pacifica_archive_http.tokens import TokenFile, add_token
from pacifica_archive_http.tokens_jwt import JwtIssuers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from servers import Running

    from pacifica_archive_http.access import Identity

BEGIN = "<!-- What follows, to the end mark, is written by bench/security.py. -->"
END = "<!-- Here ends what bench/security.py writes. -->"

OPEN, TOKENS, JWT, JWT_FIRST, TLS = "nothing", "tokens", "JWT", "JWT, first", "TLS"
NGINX, NGINX_TLS = "nginx", "nginx, TLS"

_ISSUER, _AUDIENCE = "https://issuer.example.org", "https://archive.example.org"
#: Tokens that are used in turn. A worker remembers 1,024, so each is verified anew.
_TOKENS = 4096
_BIG_ID = 5_000_000

FULL = Load(
    seconds=3,
    connections=16,
    big_size=1 << 30,
    parts=0,
    part_size=0,
    remote_gets=0,
    remote_puts=0,
    remote_reads=0,
)
QUICK = attrs.evolve(FULL, seconds=1, big_size=8 << 20)


@attrs.frozen(kw_only=True)
class Price:
    """What was measured of one server in one round; nan: not asked of it."""

    #: Small requests a second.
    get: float
    head: float = math.nan
    put: float
    #: Millions of bytes a second, of one big file.
    big_get: float = math.nan
    big_put: float = math.nan
    #: Microseconds of CPU of the server's processes for a small request.
    get_us: float
    head_us: float = math.nan
    put_us: float
    #: Seconds of CPU of the server's processes for a GiB.
    get_cpu: float = math.nan
    put_cpu: float = math.nan


#: Field of Price to the head of its column and its format.
_RATES = {
    "get": ("GET /s", ",.0f"),
    "head": ("HEAD /s", ",.0f"),
    "put": ("PUT /s", ",.0f"),
    "big_get": ("big GET MB/s", ",.0f"),
    "big_put": ("big PUT MB/s", ",.0f"),
}
_COSTS = {
    "get_us": ("GET CPU µs", ",.0f"),
    "head_us": ("HEAD CPU µs", ",.0f"),
    "put_us": ("PUT CPU µs", ",.0f"),
    "get_cpu": ("big GET CPU s/GiB", ".2f"),
    "put_cpu": ("big PUT CPU s/GiB", ".2f"),
}
#: A side and that of which its rates are given as parts.
_RATIOS = (
    (TOKENS, OPEN),
    (JWT, OPEN),
    (JWT_FIRST, OPEN),
    (TLS, OPEN),
    (NGINX_TLS, NGINX),
    (OPEN, NGINX),
    (TLS, NGINX_TLS),
)


@attrs.frozen(kw_only=True)
class Report:
    """
    One run.

    Attributes:
        command: what was typed.
        busy: the load average before it, of other work.
        remark: what else is to be known of the machine, in a sentence.
        load: how much was asked of each server.
        versions: program to version.
        rounds: side to its rounds.
        checks: what a token's check costs without a server, in microseconds.
    """

    command: str
    busy: float
    remark: str
    load: Load
    versions: dict[str, str]
    rounds: dict[str, list[Price]]
    checks: dict[str, float]

    def write(self, directory: Path) -> None:
        """Write the JSON, and the tables into ``performance.md``."""
        directory.mkdir(parents=True, exist_ok=True)
        said = json.dumps({"machine": machine(), **attrs.asdict(self)}, indent=2)
        # JSON has no nan.
        (directory / "performance-security.json").write_text(
            said.replace(": NaN", ": null") + "\n"
        )
        write_between(directory / "performance.md", BEGIN, self.markdown(), END)

    def markdown(self) -> str:
        """Return the tables."""
        load = self.load
        on = "; ".join(machine().values())
        small = f"4 KiB at {load.connections} connections for {load.seconds} s"
        rounds = max(map(len, self.rounds.values()))
        lines = [
            f"Made by `{self.command}` on {on}; load average before: {self.busy:.1f}.",
            *([self.remark] if self.remark else []),
            "",
            *(f"- {program}: {version}" for program, version in self.versions.items()),
            "",
            f"Small is {small}, big is {load.big_size >> 20:,} MiB, in memory.",
            f"Medians of {rounds} rounds; ratios are taken within each round.",
            "",
        ]
        lines += [*self._figures(_RATES), "", *self._figures(_COSTS), ""]
        lines += [*self._ratios(), ""]
        rows = [(what, f"{cost:.1f}") for what, cost in self.checks.items()]
        return "\n".join([*lines, *table(("check of a token", "µs"), rows)]) + "\n"

    def _figures(self, columns: dict[str, tuple[str, str]]) -> list[str]:
        rows = [
            (side, *(_cell(self._values(side, f), columns[f][1]) for f in columns))
            for side in self.rounds
        ]
        return table(("", *(title for title, _ in columns.values())), rows)

    def _ratios(self) -> list[str]:
        rows = []
        for side, beside in _RATIOS:
            if {side, beside} <= self.rounds.keys():
                found = [
                    [
                        one / other
                        for one, other in zip(
                            self._values(side, figure),
                            self._values(beside, figure),
                            strict=True,
                        )
                    ]
                    for figure in _RATES
                ]
                cells = (_cell(values, ".2f", spread) for values in found)
                rows.append((f"{side} / {beside}", *cells))
        return table(("", *(title for title, _ in _RATES.values())), rows)

    def _values(self, side: str, figure: str) -> list[float]:
        return [getattr(price, figure) for price in self.rounds[side]]


def _median(values: Sequence[float], form: str) -> str:
    return format(statistics.median(values), form)


def _cell(
    values: Sequence[float],
    form: str,
    shown: Callable[[Sequence[float], str], str] = _median,
) -> str:
    return "" if any(map(math.isnan, values)) else shown(values, form)


# --- tokens and certificates -----------------------------------------------------


@attrs.frozen(kw_only=True)
class Secrets:
    """
    What the servers and their clients need.

    Attributes:
        tokens: a file of ours, with one token.
        token: that one.
        issuers: a file of issuers, of one.
        jwt: a token of it.
        jwts: a file of many, as values of ``Authorization``.
        certificate: of 127.0.0.1, ECDSA P-256, signed by itself.
        key: its key.
    """

    tokens: Path
    token: str
    issuers: Path
    jwt: str
    jwts: Path
    certificate: Path
    key: Path


@attrs.frozen
class _Signer:
    algorithm: str
    private: Any
    kind: Any

    def sign(self, number: int) -> str:
        """Return a token as those of grids are; no two numbers' are alike."""
        now = int(time.time())
        said = {
            "wlcg.ver": "1.0",
            "sub": "a1b98335-9649-4fb0-961d-5a49ce108d49",
            "aud": _AUDIENCE,
            "nbf": now,
            "scope": "storage.read:/ storage.modify:/ storage.stage:/",
            "iss": _ISSUER,
            "exp": now + 21600,
            "iat": now,
            "jti": f"da0a2f89-3cbf-42a7-9403-{number:012x}",
            "client_id": "edfacfb1-f59d-44d0-9eb6-a745ac52f462",
        }
        return jwt.encode(
            said, self.private, self.algorithm, headers={"kid": self.algorithm}
        )

    def jwk(self) -> dict[str, Any]:
        """Return the public key as an issuer publishes it."""
        public = self.kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.algorithm, "use": "sig"}


def make_signers() -> dict[str, _Signer]:
    """Return one of each family; INDIGO IAM, which the WLCG has, signs with RS256."""
    found = (
        _Signer("RS256", rsa.generate_private_key(65537, 2048), RSAAlgorithm),
        _Signer("ES256", ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
        _Signer("EdDSA", ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
    )
    return {signer.algorithm: signer for signer in found}


def make_secrets(folder: Path, signers: dict[str, _Signer], *, jwts: int) -> Secrets:
    """Make all of it, with as many JSON Web Tokens as are wanted."""
    keys, issuers = folder / "jwks.json", folder / "issuers.toml"
    keys.write_text(json.dumps({"keys": [s.jwk() for s in signers.values()]}))
    issuers.write_text(
        f'audience = ["{_AUDIENCE}"]\n'
        f'[[issuer]]\nissuer = "{_ISSUER}"\nkeys = "{keys}"\n'
    )
    signed = [signers["RS256"].sign(number) for number in range(jwts)]
    (folder / "jwts").write_text("".join(f"Bearer {token}\n" for token in signed))
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    names = ("-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-days", "2", *kind, *names),
            *("-keyout", str(key), "-out", str(certificate)),
        ),
        check=True,
        stderr=subprocess.DEVNULL,
    )
    tokens = folder / "tokens.json"
    return Secrets(
        tokens=tokens,
        token=add_token(tokens, "bench", scopes=list(Scope)),
        issuers=issuers,
        jwt=signed[0],
        jwts=folder / "jwts",
        certificate=certificate,
        key=key,
    )


def sides(secrets: Secrets) -> list[Contender]:
    """Return all servers, and how each is asked."""
    by_jwt = ("--jwt", str(secrets.issuers))
    by_tls = ("--tls-cert", str(secrets.certificate), "--tls-key", str(secrets.key))
    return [
        _our_side(OPEN),
        _our_side(
            TOKENS,
            *("--tokens", str(secrets.tokens)),
            headers={"Authorization": f"Bearer {secrets.token}"},
        ),
        _our_side(JWT, *by_jwt, headers={"Authorization": f"Bearer {secrets.jwt}"}),
        _our_side(
            JWT_FIRST,
            *by_jwt,
            headers={"Authorization": f"Bearer {secrets.jwt}"},
            tokens=secrets.jwts,
        ),
        _our_side(TLS, *by_tls, certificate=secrets.certificate),
        Contender(name=NGINX, command=nginx, version=nginx_version, head_status=200),
        Contender(
            name=NGINX_TLS,
            command=functools.partial(nginx, tls=(secrets.certificate, secrets.key)),
            version=nginx_version,
            head_status=200,
            certificate=secrets.certificate,
        ),
    ]


def _our_side(name: str, *options: str, **more: Any) -> Contender:  # noqa: ANN401 (of Contender)
    def command(place: Place, port: int) -> tuple[str, ...]:
        return (*ours(place, port, durable=False, digests=True), *options)

    return Contender(
        name=name,
        command=command,
        version=our_version,
        head_status=204,
        digests=True,
        **more,
    )


# --- measuring -------------------------------------------------------------------


def measure(running: Running, place: Place, load: Load, head: Path) -> Price:
    """
    Put one round of everything through a server.

    Raises:
        WrongAnswer: one of its answers was not what it should be.
    """
    if running.contender.headers:
        _check_refusal(running)
    warm_up(running, load)
    got = small_get(running, place, load)
    if running.contender.tokens is not None:
        # The others ask with one token, which is then remembered.
        stored = small_put(running, place, load)
        return Price(
            get=got.rate, put=stored.rate, get_us=got.cpu_us, put_us=stored.cpu_us
        )
    asked = small_head(running, load, head)
    stored = small_put(running, place, load)
    place.warm(load.big_size)
    big_put = put(running, place.big, [_BIG_ID], place)
    check_digest(running, _BIG_ID, place.big_digest)
    big_get = get(running, place.big, [_BIG_ID])
    look(running, place.big, [_BIG_ID])
    gib = load.big_size / GIB
    return Price(
        get=got.rate,
        head=asked.rate,
        put=stored.rate,
        big_get=big_get.bytes_per_s / MB,
        big_put=big_put.bytes_per_s / MB,
        get_us=got.cpu_us,
        head_us=asked.cpu_us,
        put_us=stored.cpu_us,
        get_cpu=big_get.cpu_s / gib,
        put_cpu=big_put.cpu_s / gib,
    )


def _check_refusal(running: Running) -> None:
    """See that a token is asked for: a side that lets all pass has no price."""
    bare = attrs.evolve(running.contender, headers={})
    try:
        attrs.evolve(running, contender=bare).ask("GET", "/1")
    except http.client.HTTPException:
        return
    raise WrongAnswer(f"{running.contender.name}: asks for no token")


def measure_checks(
    secrets: Secrets, signers: dict[str, _Signer], count: int
) -> dict[str, float]:
    """Say what a token's check takes, in this process and without a server."""
    issuers = JwtIssuers(secrets.issuers)
    tokens = TokenFile(secrets.tokens)
    checks = {
        f"JWT, first, {name}": _each(
            issuers.identify, [signer.sign(number) for number in range(count)]
        )
        for name, signer in signers.items()
    }
    issuers.identify(secrets.jwt)
    return {
        "of the file of tokens": _each(tokens.identify, [secrets.token] * count),
        "JWT, remembered": _each(issuers.identify, [secrets.jwt] * count),
        **checks,
    }


def _each(identify: Callable[[str], Identity | None], tokens: Iterable[str]) -> float:
    """Return microseconds of CPU for one."""
    begin, count = time.process_time(), 0
    for token in tokens:
        if identify(token) is None:
            raise RuntimeError("a good token is not known")
        count += 1
    return (time.process_time() - begin) / count * 1e6


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round with little of everything: shows that it runs, no more",
    )
    parser.add_argument(
        "--only", action="append", metavar="SIDE", help="leave out the others"
    )
    parser.add_argument("--remark", default="", help="a sentence for the report")
    parser.add_argument(
        "--place",
        type=resolved,
        default=MEMORY,
        help=f"a directory; elsewhere figures mean little; default: {MEMORY}",
    )
    parser.add_argument(
        "--out",
        type=resolved,
        default=DOCS,
        help="directory of performance-security.json and performance.md; default: docs",
    )
    given = parser.parse_args()
    load = QUICK if given.quick else FULL
    if (given.quick or given.only) and given.out == DOCS:
        parser.error("a run of a part does not go into docs: give --out")
    if not has_room(given.place, load):
        sys.exit("there is not room enough")
    busy = os.getloadavg()[0]
    signers = make_signers()
    rounds: dict[str, list[Price]] = {}
    with tempfile.TemporaryDirectory(prefix="pacifica-bench-", dir=given.place) as work:
        place = Place(name="memory", directory=Path(work), judged=given.place == MEMORY)
        place.make_sources(load)
        head = build_head(place.directory)
        secrets = make_secrets(
            place.directory, signers, jwts=64 if given.quick else _TOKENS
        )
        servers = sides(secrets)
        if given.only:
            servers = [server for server in servers if server.name in given.only]
        for number in range(1 if given.quick else given.rounds):
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                place.make_store()
                with run(server, place) as running:
                    price = measure(running, place, load, head)
                rounds.setdefault(server.name, []).append(price)
                print(f"round {number + 1}: {server.name}: {price}", flush=True)
        checks = measure_checks(secrets, signers, 100 if given.quick else 1000)
    # What the remark says is said below.
    typed = [text for text in sys.argv[1:] if text not in {"--remark", given.remark}]
    shown = f" -- {shlex.join(typed)}" if typed else ""
    report = Report(
        command=f"nox -s bench_security{shown}",
        busy=busy,
        remark=given.remark,
        load=load,
        versions={"ours": our_version(), "nginx": nginx_version()},
        rounds={server.name: rounds[server.name] for server in servers},
        checks=checks,
    )
    report.write(given.out)
    print(report.markdown())


if __name__ == "__main__":
    main()
