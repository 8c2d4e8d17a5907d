"""Every route and verb against every token: the table is made of ``RULES``."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Never

import attrs
import falcon
import pytest
from asking import ByCall, environment
from falcon.routing import map_http_methods
from jwt_kit import claims, issuers_file, key_set, signer

from pacifica_archive_core import MAX_FILE_ID, MemoryArchive
from pacifica_archive_http import make_app
from pacifica_archive_http.access import RULES, Grant, Identity, Scope
from pacifica_archive_http.guard import rules_for
from pacifica_archive_http.options import Monitoring, ServerOptions
from pacifica_archive_http.status_table import Forbidden
from pacifica_archive_http.tokens import add_token, revoke_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asking import Answer

    from pacifica_archive_core import Archive

ID = 5
#: Tokens that are for nothing here: each is answered 401.
NOT_VALID = (
    "garbage",
    "expired",
    "revoked",
    "of an unknown key",
    "of a changed secret",
    "JWT of a foreign issuer",
    "JWT for another audience",
    "JWT, expired",
)
KINDS = ("none", *NOT_VALID, "for other ids", "all", *Scope)
#: What tells of the whole archive.
MONITORING = ("/healthz", "/readyz", "/metrics")
ROWS = [(route, verb) for route, verbs in RULES.items() for verb in verbs]


def _make_tokens(file: Path) -> dict[str, str]:
    """Fill a file of tokens, and return those of each kind."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    tokens = {str(each): add_token(file, each, scopes=[each]) for each in Scope}
    everything = add_token(file, "all", scopes=Scope)
    revoked = add_token(file, "revoked", scopes=Scope)
    revoke_token(file, "revoked")
    return {
        **tokens,
        "all": everything,
        "for other ids": add_token(
            file, "elsewhere", scopes=Scope, ids=((0, ID - 1), (ID + 1, 999))
        ),
        "garbage": "garbage",
        "expired": add_token(file, "expired", scopes=Scope, expires=past),
        "revoked": revoked,
        "of an unknown key": everything.replace(everything[:17], "pacifica_00000000"),
        "of a changed secret": everything[:-1]
        + ("A" if everything[-1] != "A" else "B"),
        **_make_foreign(),
    }


def _make_foreign() -> dict[str, str]:
    """Return JSON Web Tokens that allow everything, elsewhere or once."""
    allowed = "storage.read:/ storage.modify:/ storage.stage:/"
    changes: dict[str, dict[str, object]] = {
        "JWT of a foreign issuer": {"iss": "https://foreign.example.org"},
        "JWT for another audience": {"aud": "https://other.example.org"},
        "JWT, expired": {"exp": 1_577_836_800},
    }
    return {
        kind: signer().sign(claims(scope=allowed, **changed))
        for kind, changed in changes.items()
    }


@attrs.frozen(kw_only=True)
class Guarded:
    """Applications that ask for tokens, one for each choice of monitoring."""

    archive: Archive
    apps: dict[Monitoring, ByCall]
    tokens: dict[str, str]

    def __call__(
        self,
        verb: str,
        target: str,
        kind: str = "none",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        return self.apps[Monitoring.HEALTH](
            verb, target, body, {**self.fields(kind), **(headers or {})}
        )

    def fields(self, kind: str) -> dict[str, str]:
        token = self.tokens.get(kind)
        return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "tokens"
    tokens = _make_tokens(file)
    (folder / "keys").write_text(key_set(signer()))
    issuers = issuers_file(folder, folder / "keys")
    with MemoryArchive() as archive:
        yield Guarded(
            archive=archive,
            apps={
                monitoring: ByCall(
                    make_app(
                        archive,
                        ServerOptions(tokens=file, jwt=issuers, monitoring=monitoring),
                    )
                )
                for monitoring in Monitoring
            },
            tokens=tokens,
        )


class _Unreadable:
    """A body of which nothing may be read."""

    def _read(self, *_args: object) -> Never:
        raise AssertionError("the body was read")

    read = readline = readlines = __iter__ = _read


def _status_wanted(scope: Scope | None, route: str, kind: str) -> int | None:
    """Return the status of the refusal that the table wants; None: allowed."""
    if scope is None:
        return None
    if kind == "none" or kind in NOT_VALID:
        return 401
    # The bulk routes have the id in their body, which a test of their own sends.
    if kind == "for other ids":
        return 403 if "{file_id}" in route or route in MONITORING else None
    return None if kind in ("all", scope) else 403


@pytest.mark.parametrize("monitoring", Monitoring)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("route", "verb"), ROWS)
def test_the_table_is_what_happens(
    guarded: Guarded, route: str, verb: str, kind: str, monitoring: Monitoring
) -> None:
    scope = rules_for(monitoring)[route][verb]
    wanted = _status_wanted(scope, route, kind)
    body = b"1" if verb in ("PUT", "POST", "PATCH") else None
    env: dict[str, Any] = environment(
        verb, route.format(file_id=ID), body, guarded.fields(kind)
    )
    if wanted:
        # Nothing is read of what is refused.
        env["wsgi.input"] = _Unreadable()

    answer = guarded.apps[monitoring].send(env)

    refused = answer.headers.get("x-pacifica-problem") in ("unauthorized", "forbidden")
    challenge = {
        None: None,
        401: 'Bearer realm="pacifica-archive"'
        + ("" if kind == "none" else ', error="invalid_token"'),
        403: 'Bearer realm="pacifica-archive", error="insufficient_scope"'
        f', scope="{scope}"',
    }[wanted]
    assert (wanted, challenge) == (
        answer.status if refused else None,
        answer.headers.get("www-authenticate"),
    )


def test_the_table_has_the_routes_of_the_application(
    monkeypatch: pytest.MonkeyPatch, memory: MemoryArchive, tmp_path: Path
) -> None:
    routes: dict[str, set[str]] = {}
    add_route = falcon.App.add_route

    def recording(app: Any, template: str, resource: object, **more: Any) -> None:  # noqa: ANN401 (passed through)
        routes[template] = {*map_http_methods(resource)}
        add_route(app, template, resource, **more)

    monkeypatch.setattr(falcon.App, "add_route", recording)
    add_token(tmp_path / "tokens", "one", scopes=[Scope.READ])
    make_app(memory, ServerOptions(tokens=tmp_path / "tokens"))

    assert {route: {*verbs} for route, verbs in RULES.items()} == routes


@pytest.mark.parametrize(
    ("target", "status"), [("/healthz", 200), ("/readyz", 200), ("/metrics", 401)]
)
def test_health_is_told_to_everybody_where_nothing_else_is_said(
    memory: MemoryArchive, tmp_path: Path, target: str, status: int
) -> None:
    add_token(tmp_path / "tokens", "one", scopes=[Scope.READ])
    ask = ByCall(make_app(memory, ServerOptions(tokens=tmp_path / "tokens")))

    assert status == ask("GET", target).status


@pytest.mark.parametrize("target", MONITORING)
def test_what_tells_of_all_is_not_for_who_may_ask_for_one_file(
    guarded: Guarded, target: str
) -> None:
    """As with a JSON Web Token that its owner made narrow before he lent it."""
    token = signer().sign(claims(scope="storage.poll:/5"))
    fields = {"Authorization": f"Bearer {token}"}
    answer = guarded.apps[Monitoring.CLOSED]("GET", target, headers=fields)

    assert (403, "this needs the scope status for all ids") == (
        answer.status,
        answer.json["message"],
    )


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (((0, MAX_FILE_ID),), True),
        (((6, MAX_FILE_ID), (0, 5)), True),
        (((0, 900), (5, 10), (11, MAX_FILE_ID)), True),
        (((1, MAX_FILE_ID),), False),
        (((0, MAX_FILE_ID - 1),), False),
        (((0, 4), (6, MAX_FILE_ID)), False),
        ((), False),
    ],
)
def test_ranges_are_all_ids_only_without_a_gap(
    *, ids: tuple[tuple[int, int], ...], wanted: bool
) -> None:
    who = Identity(
        name="a",
        kind="token",
        # Of one grant, and of several.
        grants=(
            Grant(scope=Scope.STATUS, ids=ids[:1]),
            Grant(scope=Scope.STATUS, ids=ids[1:]),
        ),
    )
    allowed = False
    with contextlib.suppress(Forbidden):
        who.require_for_all(Scope.STATUS)
        allowed = True

    assert wanted is allowed


@pytest.mark.parametrize("scope", Scope)
def test_a_refusal_names_the_scope_that_is_missing(
    guarded: Guarded, scope: Scope
) -> None:
    verb = next(verb for route, verb in ROWS if RULES[route][verb] is scope)
    other = Scope.READ if scope is not Scope.READ else Scope.WRITE
    answer = guarded(verb, "/files/5", other, headers={"Content-Length": "1"})

    message = b"" if verb == "HEAD" else answer.json["message"]
    assert message in (b"", f"this needs the scope {scope}")


def test_a_refusal_names_the_id(guarded: Guarded) -> None:
    answer = guarded("GET", "/5", "for other ids")

    assert "the scope read is not for the id 5" == answer.json["message"]


def test_an_id_of_the_range_is_allowed(guarded: Guarded) -> None:
    assert 404 == guarded("GET", "/999", "for other ids").status


def test_an_id_behind_the_range_is_not(guarded: Guarded) -> None:
    assert 403 == guarded("GET", "/1000", "for other ids").status


def test_what_is_no_id_is_told_as_ever(guarded: Guarded) -> None:
    assert 400 == guarded("GET", "/+5", "for other ids").status


@pytest.mark.parametrize("kind", ["none", "garbage", "write"])
def test_a_refused_head_has_the_fields_of_pacifica(guarded: Guarded, kind: str) -> None:
    """Cartd 0.7.0 dies of a HEAD without them."""
    answer = guarded("HEAD", "/5", kind)

    wanted = "Not Allowed" if kind == "write" else "Token Required"
    assert {wanted} == {
        answer.headers[name]
        for name in ("x-pacifica-messsage", "x-pacifica-file", "last-modified")
    }


@pytest.mark.parametrize(
    ("target", "verb", "status"), [("/a/b", "GET", 404), ("/files/status", "PUT", 405)]
)
def test_an_address_that_is_not_there_needs_no_token(
    guarded: Guarded, target: str, verb: str, status: int
) -> None:
    assert status == guarded(verb, target).status


@pytest.mark.parametrize(
    "field",
    ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a b", "Bearer \xe9", "x"],
)
def test_what_is_no_token_is_refused(guarded: Guarded, field: str) -> None:
    answer = guarded("GET", "/5", headers={"Authorization": field})

    assert 401 == answer.status


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_known_in_any_spelling(guarded: Guarded, scheme: str) -> None:
    token = guarded.tokens["status"]
    answer = guarded("HEAD", "/6", headers={"Authorization": f"{scheme} {token}"})

    assert 404 == answer.status


# --- bulk ------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/files/status", "/files/stage"])
def test_a_list_with_an_id_that_the_token_is_not_for_is_refused_whole(
    guarded: Guarded, target: str
) -> None:
    answer = guarded("POST", target, "for other ids", b"1\n999\n5\n1000\n")

    scope = RULES[target]["POST"]
    assert (403, f"the scope {scope} is not for the id 5") == (
        answer.status,
        answer.json["message"],
    )


@pytest.mark.parametrize("target", ["/files/status", "/files/stage"])
def test_a_list_of_ids_that_the_token_is_for_is_answered(
    guarded: Guarded, target: str
) -> None:
    answer = guarded("POST", target, "for other ids", b"1\n999\n")

    assert (200, 2) == (answer.status, len(answer.body.splitlines()))


@pytest.mark.parametrize("target", ["/files/status", "/files/stage"])
def test_the_log_has_the_id_that_a_list_was_refused_for(
    memory: MemoryArchive, tmp_path: Path, target: str
) -> None:
    token = add_token(tmp_path / "tokens", "some", scopes=Scope, ids=((0, 9),))
    lines: list[bytes] = []
    options = ServerOptions(tokens=tmp_path / "tokens")
    ask = ByCall(make_app(memory, options, access_log=lines.append))
    ask("POST", target, b"1\n77\n2\n88\n", {"Authorization": f"Bearer {token}"})

    (entry,) = map(json.loads, lines)
    assert (403, 77, 4) == (entry["status"], entry["id"], entry["ids"])


def test_what_is_no_id_is_answered_in_its_line(guarded: Guarded) -> None:
    answer = guarded("POST", "/files/status", "for other ids", b"-1\n")

    assert (200, 1) == (answer.status, answer.body.count(b"InvalidFileId"))


# --- what a scope alone does not reach ---------------------------------------------


class _AskWith:
    """Asks with a token of the scopes that are given; the file 5 is there."""

    def __init__(self, archive: Archive, file: Path) -> None:
        self._file = file
        add_token(file, "all", scopes=Scope)
        self._call = ByCall(make_app(archive, ServerOptions(tokens=file)))
        with archive.create(ID) as writer:
            writer.write(b"bytes")

    def __call__(
        self,
        scopes: tuple[Scope, ...],
        verb: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        token = add_token(self._file, f"of-{verb}", scopes=scopes)
        fields = {"Authorization": f"Bearer {token}", **(headers or {})}
        return self._call(verb, target, body, fields)


@pytest.fixture
def ask_with(archive: Archive, tmp_path: Path) -> _AskWith:
    return _AskWith(archive, tmp_path / "tokens")


_WANT = {"Want-Repr-Digest": "md5=1"}


@pytest.mark.parametrize("target", ["/5", "/files/5"])
def test_a_digest_is_computed_for_who_may_read(ask_with: _AskWith, target: str) -> None:
    answer = ask_with((Scope.STATUS, Scope.READ), "HEAD", target, headers=_WANT)

    assert "md5=:SzpiGLs+OnMD6KFxpg/Pkg==:" == answer.headers.get("repr-digest")


@pytest.mark.parametrize("target", ["/5", "/files/5"])
def test_no_digest_is_computed_for_who_may_not(ask_with: _AskWith, target: str) -> None:
    answer = ask_with((Scope.STATUS,), "HEAD", target, headers=_WANT)

    assert None is answer.headers.get("repr-digest")


def test_replacing_a_file_by_its_path_wants_to_write(
    posix: Archive, tmp_path: Path
) -> None:
    ask_with = _AskWith(posix, tmp_path / "tokens")
    source = tmp_path / "archive" / "source"
    source.write_bytes(b"new")
    body = f'{{"path": "{source}"}}'.encode()

    answer = ask_with((Scope.MOVE,), "PATCH", "/5", body)

    assert (409, True) == (answer.status, source.exists())


def test_who_may_write_and_move_replaces_a_file_by_its_path(
    posix: Archive, tmp_path: Path
) -> None:
    ask_with = _AskWith(posix, tmp_path / "tokens")
    source = tmp_path / "archive" / "source"
    source.write_bytes(b"new")
    body = f'{{"path": "{source}"}}'.encode()

    assert 200 == ask_with((Scope.MOVE, Scope.WRITE), "PATCH", "/5", body).status


@pytest.mark.parametrize(("replaces", "wanted"), [(True, True), (False, False)])
def test_a_grant_may_be_for_new_files_only(*, replaces: bool, wanted: bool) -> None:
    grant = Grant(scope=Scope.WRITE, replaces=replaces)

    assert wanted is Identity(name="a", kind="jwt", grants=(grant,)).may_replace(ID)


@pytest.mark.parametrize(
    ("scope", "status", "kept"),
    [("storage.create:/", 409, b"old"), ("storage.modify:/", 201, b"new")],
)
def test_who_creates_replaces_nothing(
    guarded: Guarded, file_id: int, scope: str, status: int, kept: bytes
) -> None:
    """A JSON Web Token, of the issuer and for the audience that are right."""
    guarded("PUT", f"/{file_id}", "all", b"old")
    token = signer().sign(claims(scope=scope))
    fields = {"Authorization": f"Bearer {token}"}
    answer = guarded("PUT", f"/{file_id}", body=b"new", headers=fields)

    stored = guarded("GET", f"/{file_id}", "all").body
    assert (status, kept) == (answer.status, stored)


def test_who_creates_stores_what_is_new(guarded: Guarded, file_id: int) -> None:
    token = signer().sign(claims(scope="storage.create:/"))
    fields = {"Authorization": f"Bearer {token}"}

    assert 201 == guarded("PUT", f"/{file_id}", body=b"1", headers=fields).status
