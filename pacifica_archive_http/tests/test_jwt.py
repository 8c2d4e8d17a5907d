"""JSON Web Tokens: which are taken, what they allow, and where the keys come from."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import ByCall, OverHttp, needs_posix
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from jwt_kit import (
    AUDIENCE,
    ISSUER,
    Clock,
    KeyServer,
    Signer,
    claims,
    encoded,
    issuers_file,
    key_set,
    signer,
    token_with_mac,
)

from pacifica_archive_core import MAX_FILE_ID, ConfigError, MemoryArchive
from pacifica_archive_http import make_app, tokens_jwt
from pacifica_archive_http.access import Scope
from pacifica_archive_http.options import ServerOptions
from pacifica_archive_http.status_table import Unauthorized
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens_jwt import STORAGE_SCOPES, JwtIssuers

if TYPE_CHECKING:
    import http.server
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pacifica_archive_http.access import Identity

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
ALL = ((0, MAX_FILE_ID),)
PATIENCE_S = 60
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SERVE = (sys.executable, "-m", "pacifica_archive_core", "serve")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(key_set(*map(_signer, ALGORITHMS)))
    return path


@pytest.fixture
def issuers(tmp_path: Path, keys: Path) -> JwtIssuers:
    return JwtIssuers(issuers_file(tmp_path, keys))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tokens_jwt, "time", clock)
    return clock


def _signer(algorithm: str) -> Signer:
    if algorithm[:2] in {"RS", "PS"}:
        # One RSA key for all of them: it takes long to make.
        return attrs.evolve(signer("RS256"), kid=algorithm, algorithm=algorithm)
    return signer(algorithm)


def _identify(issuers: JwtIssuers, token: str) -> Identity:
    who = issuers.identify(token)
    assert who is not None, "it is a JSON Web Token"
    return who


def _refused(issuers: JwtIssuers, token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(Unauthorized) as caught:
        issuers.identify(token)
    assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]
    return str(caught.value)


# --- signatures ------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_taken(issuers: JwtIssuers, algorithm: str) -> None:
    token = _signer(algorithm).sign(claims(sub="anna"))

    assert "anna" == _identify(issuers, token).name


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_a_token_without_a_signature_is_refused(
    issuers: JwtIssuers, algorithm: str
) -> None:
    header = json.dumps({"alg": algorithm, "kid": "ES256"})
    token = f"{encoded(header.encode())}.{encoded(json.dumps(claims()).encode())}."

    assert "the token's algorithm is not that of its key" == _refused(issuers, token)


@pytest.mark.parametrize("secret", ["pem", "jwk", "empty"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret(
    issuers: JwtIssuers, algorithm: str, secret: str
) -> None:
    """The attack of old: the algorithm of the token decides what the key is."""
    key = _signer(algorithm)
    secrets = {"pem": key.pem(), "jwk": json.dumps(key.jwk()).encode(), "empty": b""}
    token = token_with_mac(claims(), algorithm, secrets[secret])

    assert "the token's algorithm is not that of its key" == _refused(issuers, token)


def test_a_symmetric_key_in_the_document_is_passed_over(tmp_path: Path) -> None:
    shared = {"kty": "oct", "kid": "shared", "k": encoded(b"x" * 32)}
    path = tmp_path / "keys"
    path.write_text(json.dumps({"keys": [shared, signer().jwk()]}))
    issuers = JwtIssuers(issuers_file(tmp_path, path))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, token_with_mac(claims(), "shared", b"x" * 32)
    )


def test_a_key_is_used_with_its_own_algorithm_only(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(json.dumps({"keys": [_signer("RS256").jwk(alg="RS256")]}))
    issuers = JwtIssuers(issuers_file(tmp_path, path))
    token = attrs.evolve(_signer("PS256"), kid="RS256").sign(claims())

    assert "the token's algorithm is not that of its key" == _refused(issuers, token)


@pytest.mark.parametrize("algorithm", ["ES384", "EdDSA", "RS256"])
def test_a_key_of_another_kind_verifies_nothing(
    issuers: JwtIssuers, algorithm: str
) -> None:
    token = _signer(algorithm).sign(claims(), kid="ES256")

    assert "the token's algorithm is not that of its key" == _refused(issuers, token)


def test_a_changed_token_is_refused(issuers: JwtIssuers) -> None:
    header, _, signature = signer().sign(claims()).split(".")
    said = encoded(json.dumps(claims(scope="storage.modify:/")).encode())

    assert "the token's signature is wrong" == _refused(
        issuers, f"{header}.{said}.{signature}"
    )


def test_a_key_that_the_token_brings_along_is_not_believed(issuers: JwtIssuers) -> None:
    own = signer("ES256", "own")
    token = own.sign(
        claims(), kid="ES256", jwk=own.jwk(), jku="https://evil.example.org/jwks"
    )

    assert "the token's signature is wrong" == _refused(issuers, token)


def test_a_key_that_is_not_known_is_refused(issuers: JwtIssuers) -> None:
    token = signer().sign(claims(), kid="another")

    assert "the key of the token (kid) is not known here" == _refused(issuers, token)


@pytest.mark.parametrize("header", ['{"alg":"ES256"}', '{"alg":"ES256","kid":7}'])
def test_a_token_that_names_no_key_is_refused(issuers: JwtIssuers, header: str) -> None:
    token = signer().sign_text(header, json.dumps(claims()))

    assert "the token does not name its key (kid)" == _refused(issuers, token)


def test_an_extension_that_must_be_known_is_refused(issuers: JwtIssuers) -> None:
    header = '{"alg":"ES256","kid":"ES256","crit":["exp"],"exp":1}'
    token = signer().sign_text(header, json.dumps(claims()))

    assert "the token has an extension that is not known here" == _refused(
        issuers, token
    )


# --- claims ----------------------------------------------------------------------


def test_an_expired_token_is_refused(issuers: JwtIssuers) -> None:
    long_ago = claims()["iat"] - 120
    token = signer().sign(claims(exp=long_ago, iat=long_ago))

    assert "the token has expired" == _refused(issuers, token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused(issuers: JwtIssuers, claim: str) -> None:
    token = signer().sign(claims(**{claim: claims()["iat"] + 120}))

    assert "the token is not valid yet" == _refused(issuers, token)


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_clocks_may_differ_a_little(issuers: JwtIssuers, claim: str) -> None:
    by_s = -30 if claim == "exp" else 30
    token = signer().sign(claims(**{claim: claims()["iat"] + by_s}, sub="anna"))

    assert "anna" == _identify(issuers, token).name


def test_clocks_may_be_said_not_to_differ(tmp_path: Path, keys: Path) -> None:
    issuers = JwtIssuers(issuers_file(tmp_path, keys, leeway_s="0"))
    token = signer().sign(claims(exp=claims()["iat"] - 1))

    assert "the token has expired" == _refused(issuers, token)


@pytest.mark.parametrize(
    "audience",
    ["https://other", AUDIENCE + "/", AUDIENCE.upper(), ["https://other"], [7], {}],
)
def test_a_token_for_another_audience_is_refused(
    issuers: JwtIssuers, audience: object
) -> None:
    assert _refused(issuers, signer().sign(claims(aud=audience))) in {
        "the token is for another audience",
        "the token wants exp, iss, aud and sub",
    }


def test_a_token_may_be_for_several_audiences(issuers: JwtIssuers) -> None:
    token = signer().sign(claims(aud=["https://other", AUDIENCE], sub="anna"))

    assert "anna" == _identify(issuers, token).name


def test_a_server_may_have_several_names(tmp_path: Path, keys: Path) -> None:
    more = f'["https://other", "{AUDIENCE}"]'
    issuers = JwtIssuers(issuers_file(tmp_path, keys, audience=more))
    token = signer().sign(claims(aud="https://other", sub="anna"))

    assert "anna" == _identify(issuers, token).name


def test_a_token_for_everybody_is_for_nobody_who_does_not_say_so(
    issuers: JwtIssuers,
) -> None:
    token = signer().sign(claims(aud="https://wlcg.cern.ch/jwt/v1/any"))

    assert "the token is for another audience" == _refused(issuers, token)


@pytest.mark.parametrize(
    "issuer", ["https://evil.example.org", ISSUER + "/", 7, [ISSUER], None]
)
def test_a_token_of_a_foreign_issuer_is_refused(
    issuers: JwtIssuers, issuer: object
) -> None:
    text = json.dumps(claims(iss=issuer))
    token = signer().sign_text('{"alg":"ES256","kid":"ES256"}', text)

    assert "the token is of an issuer that is not trusted here" == _refused(
        issuers, token
    )


def test_an_issuer_signs_for_itself_only(tmp_path: Path, keys: Path) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text(key_set(signer("ES256", "foreign")))
    path = issuers_file(tmp_path, keys)
    with path.open("a") as file:
        file.write(f'\n[[issuer]]\nissuer = "https://two"\nkeys = "{foreign}"\n')
    token = signer("ES256", "foreign").sign(claims())

    assert "the key of the token (kid) is not known here" == _refused(
        JwtIssuers(path), token
    )


@pytest.mark.parametrize("claim", ["exp", "aud", "sub"])
def test_a_claim_may_not_be_missing(issuers: JwtIssuers, claim: str) -> None:
    token = signer().sign(claims(**{claim: None}))

    assert "the token wants exp, iss, aud and sub" == _refused(issuers, token)


@pytest.mark.parametrize("moment", ['"9999999999"', "true", "[]", "NaN", "Infinity"])
def test_an_expiry_is_a_number(issuers: JwtIssuers, moment: str) -> None:
    text = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {moment}')
    token = signer().sign_text('{"alg":"ES256","kid":"ES256"}', text)

    assert _refused(issuers, token) in {
        "the token is not well formed",
        "the token has expired",
    }


@pytest.mark.parametrize("subject", ["", "x" * 256, "anna\n", "änna"])
def test_a_subject_is_fit_for_a_log(issuers: JwtIssuers, subject: str) -> None:
    assert "the token's sub is to be 1 to 255 characters" == _refused(
        issuers, signer().sign(claims(sub=subject))
    )


def test_a_subject_is_a_text(issuers: JwtIssuers) -> None:
    token = signer().sign_text(
        '{"alg":"ES256","kid":"ES256"}', json.dumps(claims(sub=7))
    )

    assert "the token" in _refused(issuers, token)


def test_the_version_of_the_profile_is_not_asked_for(issuers: JwtIssuers) -> None:
    token = signer().sign(claims(**{"wlcg.ver": "9.9"}, sub="anna"))

    assert "anna" == _identify(issuers, token).name


# --- odd texts -------------------------------------------------------------------


@pytest.mark.parametrize("token", ["pacifica_00000000_x", "", "a.b", "a.b.c.d.e"])
def test_what_is_no_such_token_is_left_to_others(
    issuers: JwtIssuers, token: str
) -> None:
    assert None is issuers.identify(token)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ('{"alg":"ES256","kid":"x","kid":"ES256"}', None),
        ('{"alg":"ES256","kid":"ES256"}', '{"sub":"x",%s'),
        ('{"alg":"ES256","kid":"ES256"}', "[]"),
        ('{"alg":"ES256","kid":"ES256"}', "nonsense"),
        ("[]", None),
        ("[" * 5000, None),
    ],
    ids=["header twice", "claim twice", "a list", "no JSON", "list header", "deep"],
)
def test_what_can_be_read_in_two_ways_is_refused(
    issuers: JwtIssuers, header: str, said: str | None
) -> None:
    good = json.dumps(claims())
    text = good if said is None else said.replace("%s", good[1:])

    assert "the token is not well formed" == _refused(
        issuers, signer().sign_text(header, text)
    )


def test_a_giant_token_is_refused(issuers: JwtIssuers) -> None:
    token = signer().sign(claims(more="x" * 20_000))

    assert "the token is longer than 16384 characters" == _refused(issuers, token)


@pytest.fixture(scope="module")
def any_issuers(tmp_path_factory: pytest.TempPathFactory) -> JwtIssuers:
    """Return issuers for many tokens: hypothesis takes no fixture of one test."""
    folder = tmp_path_factory.mktemp("issuers")
    (folder / "keys").write_text(key_set(signer()))
    return JwtIssuers(issuers_file(folder, folder / "keys"))


@_ANY_SPEED
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "typ", "zip"]),
        st.sampled_from(["ES256", "none", "x"])
        | st.none()
        | st.integers()
        | st.lists(st.text(max_size=2), max_size=2),
    ),
    said=st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "jti"]),
        st.sampled_from([ISSUER, AUDIENCE, "storage.read:/"])
        | st.none()
        | st.integers()
        | st.floats()
        | st.lists(st.text(max_size=2), max_size=2),
    ),
)
def test_odd_tokens_are_refused_and_no_more(
    any_issuers: JwtIssuers, header: dict[str, Any], said: dict[str, Any]
) -> None:
    with contextlib.suppress(Unauthorized):
        any_issuers.identify(
            signer().sign_text(
                json.dumps({"alg": "ES256", "kid": "ES256", **header}),
                json.dumps({**claims(), **said}),
            )
        )


@_ANY_SPEED
@given(token=st.from_regex(r"[A-Za-z0-9_=-]*(\.[A-Za-z0-9_=-]*){2}", fullmatch=True))
def test_any_text_is_refused_and_no_more(any_issuers: JwtIssuers, token: str) -> None:
    with pytest.raises(Unauthorized):
        any_issuers.identify(token)


# --- scopes ----------------------------------------------------------------------


def _granted(issuers: JwtIssuers, scope: object) -> set[tuple[Scope, Any]]:
    grants = _identify(issuers, signer().sign(claims(scope=scope))).grants
    return {(grant.scope, grant.ids) for grant in grants}


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("storage.read", {Scope.READ, Scope.STATUS}),
        ("storage.create", {Scope.WRITE, Scope.STATUS}),
        ("storage.modify", {Scope.WRITE, Scope.DELETE, Scope.MOVE, Scope.STATUS}),
        ("storage.stage", {Scope.STAGE, Scope.STATUS}),
        ("storage.poll", {Scope.STATUS}),
    ],
)
def test_a_scope_allows_what_the_profile_says(
    issuers: JwtIssuers, name: str, scopes: set[Scope]
) -> None:
    assert {(scope, ALL) for scope in scopes} == _granted(issuers, f"{name}:/")


def test_every_scope_is_tried_above() -> None:
    assert {
        "storage.read",
        "storage.create",
        "storage.modify",
        "storage.stage",
        "storage.poll",
    } == set(STORAGE_SCOPES)


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/", ALL),
        ("/files", ALL),
        ("/files/", ALL),
        ("/5", ((5, 5),)),
        ("/files/5", ((5, 5),)),
        ("/50", ((50, 50),)),
        ("/0", ((0, 0),)),
        (f"/{MAX_FILE_ID}", ((MAX_FILE_ID, MAX_FILE_ID),)),
    ],
)
def test_a_path_names_ids(issuers: JwtIssuers, path: str, ids: object) -> None:
    assert {(Scope.STATUS, ids)} == _granted(issuers, f"storage.poll:{path}")


@pytest.mark.parametrize(
    "path",
    [
        *("5", "files/5", "*", "/*", "/5*", "/a", "/5/x", "/5/files", "/-1", "/+5"),
        # A directory's, which no file is.
        *("/5/", "/files/5/"),
        # Not normalised.
        *("//", "//5", "/./5", "/../5", "/files/../5", "/files//5", "/%35", "/%2f"),
        *(
            "/05",
            "/5%00",
            "/5?x",
            "/5#x",
            "/\u0665",
            "/files5",
            "/files/files/5",
            "/Files",
        ),
        *("/status", "/files/status", "/metrics", f"/{MAX_FILE_ID + 1}", "/5:/6"),
        "https://archive.example.org/5",
    ],
)
def test_any_other_path_names_nothing(issuers: JwtIssuers, path: str) -> None:
    assert set() == _granted(issuers, f"storage.modify:{path}")


@pytest.mark.parametrize(
    "scope",
    [
        "storage.read",
        "storage.read:",
        "storage.read:/ storage.modify",
        "openid storage.stage",
        "storage.whatever",
    ],
)
def test_a_token_without_a_path_is_refused(issuers: JwtIssuers, scope: str) -> None:
    token = signer().sign(claims(scope=scope))

    assert "the token has a storage scope without a path" == _refused(issuers, token)


@pytest.mark.parametrize(
    "scope",
    [
        *(None, "", " ", "openid profile compute.create", "read", "write:/"),
        *("Storage.read:/", "storage.whatever:/", "storage.read:/ ".upper()),
        "xstorage.read:/",
    ],
)
def test_what_is_no_scope_of_ours_allows_nothing(
    issuers: JwtIssuers, scope: str | None
) -> None:
    assert set() == _granted(issuers, scope)


def test_staging_reads_where_the_file_of_issuers_says_so(
    tmp_path: Path, keys: Path
) -> None:
    issuers = JwtIssuers(issuers_file(tmp_path, keys, stage_reads="true"))

    assert {
        (scope, ((5, 5),)) for scope in (Scope.STAGE, Scope.READ, Scope.STATUS)
    } == _granted(issuers, "storage.stage:/5")


def test_scopes_of_two_kinds_add_up(issuers: JwtIssuers) -> None:
    assert {
        (Scope.READ, ALL),
        (Scope.STATUS, ALL),
        (Scope.WRITE, ((5, 5),)),
        (Scope.STATUS, ((5, 5),)),
    } == _granted(issuers, "storage.read:/ openid storage.create:/5")


@pytest.mark.parametrize("scope", [["storage.read:/"], {"storage.read": "/"}, 7])
def test_scopes_are_one_text(issuers: JwtIssuers, scope: object) -> None:
    token = signer().sign(claims(scope=scope))

    assert "the token's scope is to be one text, with spaces" == _refused(
        issuers, token
    )


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("storage.create:/", False),
        ("storage.modify:/", True),
        ("storage.modify:/5", True),
        ("storage.modify:/6", False),
        ("storage.create:/ storage.modify:/5", True),
        ("storage.create:/ storage.modify:/6", False),
    ],
)
def test_only_modify_replaces(issuers: JwtIssuers, scope: str, may: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    who = _identify(issuers, signer().sign(claims(scope=scope)))

    assert may is who.may_replace(5)


# --- what is remembered ----------------------------------------------------------


def test_a_verified_token_is_not_verified_again(
    issuers: JwtIssuers, keys: Path, clock: Clock
) -> None:
    token = signer().sign(claims())
    first = issuers.identify(token)
    keys.unlink()
    clock.passed_s = 299

    assert first is issuers.identify(token)


def test_a_verified_token_is_verified_again_in_five_minutes(
    issuers: JwtIssuers, keys: Path, clock: Clock
) -> None:
    token = signer().sign(claims())
    issuers.identify(token)
    keys.unlink()
    clock.passed_s = 301

    assert "the key of the token (kid) is not known here" == _refused(issuers, token)


def test_a_verified_token_is_forgotten_when_it_expires(
    issuers: JwtIssuers, keys: Path, clock: Clock
) -> None:
    token = signer().sign(claims(exp=claims()["iat"] + 100))
    issuers.identify(token)
    keys.unlink()
    clock.passed_s = 101

    assert "the key of the token (kid) is not known here" == _refused(issuers, token)


def test_not_more_tokens_are_remembered_than_are_used(
    issuers: JwtIssuers, keys: Path
) -> None:
    tokens = [signer("EdDSA").sign(claims(jti=str(number))) for number in range(1025)]
    for token in tokens:
        issuers.identify(token)
    keys.unlink()

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, tokens[0]
    )
    assert all(issuers.identify(token) for token in tokens[1:])


# --- keys in a file --------------------------------------------------------------


def _replace(path: Path, text: str) -> None:
    """Put another file in the place of one, as careful programs do."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.rename(path)


def test_new_keys_in_the_file_are_taken(issuers: JwtIssuers, keys: Path) -> None:
    _replace(keys, key_set(signer("ES256", "new")))

    assert issuers.identify(signer("ES256", "new").sign(claims())) is not None


def test_keys_that_are_taken_out_of_the_file_are_not_used(
    issuers: JwtIssuers, keys: Path
) -> None:
    _replace(keys, key_set(signer("ES256", "new")))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, signer().sign(claims())
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": []}', "[" * 100_000])
def test_keys_outlive_a_broken_file(
    issuers: JwtIssuers, keys: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    _replace(keys, text)
    for _ in range(3):
        issuers.identify(signer().sign(claims(jti=str(_))))

    assert [
        f"the keys of the issuer {ISSUER} cannot be read: the last that could are used"
    ] == caplog.messages


def test_the_last_good_keys_are_those_that_outlive(
    issuers: JwtIssuers, keys: Path
) -> None:
    _replace(keys, key_set(signer("ES256", "new")))
    issuers.identify(signer("ES256", "new").sign(claims()))
    _replace(keys, "")

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, signer().sign(claims())
    )


def test_a_file_that_stays_broken_is_told_of_each_minute(
    issuers: JwtIssuers, keys: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    _replace(keys, "")
    issuers.identify(signer().sign(claims()))
    clock.passed_s = 61
    issuers.identify(signer().sign(claims(jti="another")))

    assert 2 == len(caplog.messages)


def test_without_the_file_no_token_is_valid(
    issuers: JwtIssuers, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys.unlink()

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, signer().sign(claims())
    )
    assert "are gone" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"alg": "RSA-OAEP"},
        {"alg": "HS256"},
        {"alg": 7},
        {"kid": 7},
        {"kty": ["EC"]},
        {"crv": "secp256k1"},
        {"crv": "P-384"},
        {"x": "!"},
        {"x": 5},
        {"y": encoded(b"\1" * 32)},
    ],
    ids=str,
)
def test_a_key_that_is_of_no_use_is_passed_over(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    path = tmp_path / "keys"
    odd = signer("ES256", "odd").jwk(**changed)
    path.write_text(json.dumps({"keys": [odd, 7, None, signer().jwk()]}))
    issuers = JwtIssuers(issuers_file(tmp_path, path))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, signer("ES256", "odd").sign(claims())
    )


def test_a_private_key_that_somebody_published_is_passed_over(tmp_path: Path) -> None:
    leaked = signer("ES256", "leaked")
    path = tmp_path / "keys"
    private = {**ECAlgorithm.to_jwk(leaked.private, as_dict=True), "kid": "leaked"}
    path.write_text(json.dumps({"keys": [private, signer().jwk()]}))
    issuers = JwtIssuers(issuers_file(tmp_path, path))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, leaked.sign(claims())
    )


@pytest.mark.filterwarnings("ignore:.*RSA key")
def test_a_short_rsa_key_is_passed_over(tmp_path: Path) -> None:
    short = signer("RS256", "short", bits=1024)
    path = tmp_path / "keys"
    path.write_text(json.dumps({"keys": [short.jwk(), signer().jwk()]}))
    issuers = JwtIssuers(issuers_file(tmp_path, path))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, short.sign(claims())
    )


# --- keys at an address ----------------------------------------------------------


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer(key_set(signer())) as server:
        yield server


@pytest.fixture
def fetching(tmp_path: Path, key_server: KeyServer) -> JwtIssuers:
    return JwtIssuers(issuers_file(tmp_path, key_server.url))


def _fresh_token(kid: str = "", **more: object) -> str:
    """Return a token that was not seen before."""
    return signer("ES256", kid).sign(claims(jti=os.urandom(8).hex(), **more))


def test_keys_are_not_fetched_before_they_are_wanted(
    fetching: JwtIssuers, key_server: KeyServer
) -> None:
    assert None is fetching.identify("pacifica_00000000_x")
    assert 0 == key_server.asked


def test_keys_are_fetched_once(fetching: JwtIssuers, key_server: KeyServer) -> None:
    for _ in range(3):
        fetching.identify(_fresh_token())

    assert 1 == key_server.asked


def test_keys_are_fetched_again_in_five_minutes(
    fetching: JwtIssuers, key_server: KeyServer, clock: Clock
) -> None:
    fetching.identify(_fresh_token())
    clock.passed_s = 301
    fetching.identify(_fresh_token())

    assert 2 == key_server.asked


def test_a_foreign_issuer_has_nothing_fetched(
    fetching: JwtIssuers, key_server: KeyServer
) -> None:
    _refused(fetching, _fresh_token(iss="https://evil.example.org"))

    assert 0 == key_server.asked


def test_tokens_of_unknown_keys_do_not_have_keys_fetched_again_and_again(
    fetching: JwtIssuers, key_server: KeyServer
) -> None:
    for number in range(5):
        _refused(fetching, _fresh_token(f"unknown {number}"))

    assert 1 == key_server.asked


def test_new_keys_are_fetched_when_a_token_has_one(
    fetching: JwtIssuers, key_server: KeyServer, clock: Clock
) -> None:
    fetching.identify(_fresh_token())
    key_server.document = key_set(signer("ES256", "new"))
    clock.passed_s = 31

    assert fetching.identify(_fresh_token("new")) is not None


def test_keys_outlive_their_issuer(
    fetching: JwtIssuers,
    key_server: KeyServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fetching.identify(_fresh_token())
    key_server.stop()
    clock.passed_s = 86_000

    assert fetching.identify(_fresh_token(exp=claims()["iat"] + 10)) is not None
    assert ISSUER in caplog.text


def test_keys_do_not_outlive_their_issuer_by_more_than_a_day(
    fetching: JwtIssuers, key_server: KeyServer, clock: Clock
) -> None:
    fetching.identify(_fresh_token())
    key_server.stop()
    clock.passed_s = 86_401

    assert "the key of the token (kid) is not known here" == _refused(
        fetching, _fresh_token()
    )


def test_an_issuer_that_was_away_is_asked_again(
    fetching: JwtIssuers, key_server: KeyServer, clock: Clock
) -> None:
    good = key_server.answer
    key_server.answer = _not_found
    _refused(fetching, _fresh_token())
    key_server.answer = good
    clock.passed_s = 31

    assert fetching.identify(_fresh_token()) is not None


def _not_found(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def _raw(text: bytes) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(text)

    return answer


def _good_body(status: str, *fields: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", *fields, "", ""))
    return head.encode() + key_set(signer()).encode()


def _endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            request.wfile.write(bytes(1 << 16))


@pytest.mark.parametrize(
    "answer",
    [
        _not_found,
        _endless,
        _raw(b""),
        _raw(b"nonsense\r\n\r\n"),
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html></html>"),
        _raw(b'HTTP/1.1 200 OK\r\n\r\n{"keys": []}'),
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b'{"keys"'),
        _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        _raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n"),
        _raw(_good_body("500 Oh")),
        _raw(_good_body("206 Partial")),
    ],
)
def test_an_issuer_that_talks_nonsense_is_refused(
    fetching: JwtIssuers,
    key_server: KeyServer,
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    key_server.answer = answer

    assert "the key of the token (kid) is not known here" == _refused(
        fetching, _fresh_token()
    )
    assert "cannot be fetched" in caplog.text


def test_nobody_is_followed_elsewhere(
    fetching: JwtIssuers, key_server: KeyServer
) -> None:
    with KeyServer(key_set(signer())) as other:
        key_server.answer = _raw(_good_body("302 Found", f"Location: {other.url}"))
        _refused(fetching, _fresh_token())

        assert 0 == other.asked


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b""], ids=["body", "head"]
)
def test_an_issuer_that_says_little_at_a_time_is_given_up(
    fetching: JwtIssuers, key_server: KeyServer, clock: Clock, head: bytes
) -> None:
    gone = threading.Event()

    def drip(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(head + b" ")
        # Whoever counted each read's time anew would read on.
        clock.passed_s = 6
        with contextlib.suppress(OSError):
            while True:
                request.wfile.write(b" ")
                if gone.wait(0.05):
                    return

    key_server.answer = drip
    try:
        said = _refused(fetching, _fresh_token())
    finally:
        gone.set()

    assert "the key of the token (kid) is not known here" == said


class Held:
    """Holds the answers of a server back until it is told to go on."""

    def __init__(self, server: KeyServer) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self._answer = server.answer
        server.answer = self._wait

    def _wait(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.set()
        self.go_on.wait(PATIENCE_S)
        self._answer(request)


def test_who_has_a_key_does_not_wait_for_another(
    fetching: JwtIssuers,
    key_server: KeyServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fetching.identify(_fresh_token())
    held = Held(key_server)
    # Before the fetch: it is timed by the same clock.
    clock.passed_s = 400
    with ThreadPoolExecutor() as pool:
        rotated = pool.submit(_refused, fetching, _fresh_token("unknown"))
        assert held.asked.wait(PATIENCE_S)
        try:
            fetching.identify(_fresh_token())
            # Else it waited until the fetch was given up.
            given_up = caplog.text
        finally:
            held.go_on.set()
        rotated.result(PATIENCE_S)

    assert "" == given_up


def test_who_has_no_key_waits_for_another(
    fetching: JwtIssuers, key_server: KeyServer
) -> None:
    held = Held(key_server)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(fetching.identify, _fresh_token())
        assert held.asked.wait(PATIENCE_S)
        # Not what the claim hangs on: without waiting it is refused before.
        threading.Timer(0.2, held.go_on.set).start()
        who = fetching.identify(_fresh_token())

        assert (first.result(PATIENCE_S), 1) == (who, key_server.asked)


def test_many_threads_fetch_once(fetching: JwtIssuers, key_server: KeyServer) -> None:
    tokens = [_fresh_token() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(fetching.identify, tokens))

    assert (1, True) == (key_server.asked, all(found))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a key and of a certificate of it, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, found = folder / "key", folder / "certificate"
    names = ["-subj", "/CN=issuer", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *names, "-keyout", key, "-out", found],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return key, found


@pytest.fixture
def tls_server(certificate: tuple[Path, Path]) -> Iterator[KeyServer]:
    key, found = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found, key)
    with KeyServer(key_set(signer()), tls=context) as server:
        yield server


def test_keys_are_fetched_by_tls(
    tmp_path: Path,
    tls_server: KeyServer,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    issuers = JwtIssuers(issuers_file(tmp_path, tls_server.url))

    assert issuers.identify(_fresh_token()) is not None


def test_an_issuer_without_a_certificate_that_is_trusted_is_refused(
    tmp_path: Path, tls_server: KeyServer
) -> None:
    issuers = JwtIssuers(issuers_file(tmp_path, tls_server.url))

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, _fresh_token()
    )


# --- the file of issuers ---------------------------------------------------------

_GOOD_ISSUER = '[[issuer]]\nissuer = "https://a"\nkeys = "https://a/jwks"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "audience is to be a list"),
        ("audience = []\n" + _GOOD_ISSUER, "audience is to be a list"),
        ('audience = "a"\n' + _GOOD_ISSUER, "audience is to be a list"),
        ('audience = ["a", ""]\n' + _GOOD_ISSUER, "audience is to be a list"),
        ('audience = ["a"]', "[[issuer]], one at least"),
        ('audience = ["a"]\nissuer = "https://a"', "[[issuer]], one at least"),
        ('audience = ["a"]\nissuer = ["https://a"]', "to be tables"),
        ('audience = ["a"]\nleeway = 5\n' + _GOOD_ISSUER, "unknown: leeway; known"),
        ('audience = ["a"]\nleeway_s = -1\n' + _GOOD_ISSUER, "from 0 to 600"),
        ('audience = ["a"]\nleeway_s = 601\n' + _GOOD_ISSUER, "from 0 to 600"),
        ('audience = ["a"]\nleeway_s = true\n' + _GOOD_ISSUER, "from 0 to 600"),
        ('audience = ["a"]\nstage_reads = 1\n' + _GOOD_ISSUER, "true or false"),
        ('audience = ["a"]\nleeway_s = 1.5\n' + _GOOD_ISSUER, "from 0 to 600"),
        ('audience = ["a"]\n' + _GOOD_ISSUER + "\nkey = 1", "unknown: key; known"),
        ('audience = ["a"]\n[[issuer]]\nissuer = "https://a"', "texts issuer and keys"),
        ('audience = ["a"]\n[[issuer]]\nkeys = "https://a"', "texts issuer and keys"),
        (f'audience = ["a"]\n{_GOOD_ISSUER}\n{_GOOD_ISSUER}', "is there twice"),
        ("audience = [", "at end of document"),
        ("#" * 300_000, "longer than 262144 bytes"),
    ],
)
def test_a_file_of_issuers_is_read_strictly(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "issuers.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        JwtIssuers(path)

    assert said in str(caught.value)


def test_a_file_of_issuers_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        JwtIssuers(tmp_path / "issuers.toml")


@pytest.mark.parametrize(
    "place",
    [
        *("keys.json", "./keys", "file:///keys", "ftp://127.0.0.1/", "https://"),
        *(
            "http://issuer.example.org/jwks",
            "http://192.0.2.1/",
            "http://127.evil.org/",
        ),
        *(
            "https://user:secret@issuer.example.org/",
            "https://a:99999/",
            "https://[::1/",
        ),
        "https://ä.example.org/",
    ],
)
def test_keys_come_by_a_way_that_can_be_trusted(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JwtIssuers(issuers_file(tmp_path, place))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["http://localhost:1/", "http://[::1]/", "http://127.9.9.9/", "https://a"]
)
def test_an_address_is_not_asked_at_the_start(tmp_path: Path, place: str) -> None:
    issuers = JwtIssuers(issuers_file(tmp_path, place))

    assert None is issuers.identify("no such token")


@pytest.mark.parametrize("text", [None, "", '{"keys": []}', '{"keys": 7}'])
def test_a_file_of_keys_has_to_have_some_at_the_start(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigError, match=f"the keys of {ISSUER}"):
        JwtIssuers(issuers_file(tmp_path, path))


def test_a_file_that_all_may_write_is_refused_at_the_start(
    tmp_path: Path, keys: Path
) -> None:
    path = issuers_file(tmp_path, keys)
    path.chmod(0o666)

    with pytest.raises(ConfigError, match="all users may write it"):
        JwtIssuers(path)


def test_keys_that_all_may_write_are_not_read(issuers: JwtIssuers, keys: Path) -> None:
    fresh = keys.with_name("fresh")
    fresh.write_text(key_set(signer("ES256", "new")))
    fresh.chmod(0o666)
    fresh.rename(keys)

    assert "the key of the token (kid) is not known here" == _refused(
        issuers, signer("ES256", "new").sign(claims())
    )


# --- through the application and a server ----------------------------------------


@pytest.fixture
def ask(tmp_path: Path, keys: Path) -> Iterator[ByCall]:
    options = ServerOptions(jwt=issuers_file(tmp_path, keys))
    with MemoryArchive() as archive:
        with archive.create(5) as writer:
            writer.write(b"old")
        yield ByCall(make_app(archive, options))


def _bearer(scope: str, **more: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {signer().sign(claims(scope=scope, **more))}"}


def test_a_token_that_creates_stores_what_is_new(ask: ByCall) -> None:
    assert 201 == ask("PUT", "/6", b"new", _bearer("storage.create:/")).status


def test_a_token_that_creates_does_not_replace(ask: ByCall) -> None:
    ask("PUT", "/5", b"new", _bearer("storage.create:/"))

    assert b"old" == ask("GET", "/5", headers=_bearer("storage.read:/")).body


def test_a_token_that_modifies_replaces(ask: ByCall) -> None:
    ask("PUT", "/5", b"new", _bearer("storage.modify:/"))

    assert b"new" == ask("GET", "/5", headers=_bearer("storage.read:/")).body


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("storage.read:/", {"GET", "HEAD"}),
        ("storage.create:/", {"HEAD"}),
        ("storage.modify:/", {"HEAD", "PUT", "PATCH", "DELETE"}),
        ("storage.stage:/", {"HEAD", "POST"}),
        ("storage.poll:/", {"HEAD"}),
        ("storage.modify:/6", set()),
        ("openid", set()),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
def test_a_token_does_what_its_scope_says_and_no_more(
    ask: ByCall, method: str, scope: str, allowed: set[str]
) -> None:
    body = {"PUT": b"new", "PATCH": b'{"path": "/x"}'}.get(method)
    status = ask(method, "/files/5", body, _bearer(scope)).status
    # Of what is allowed, 409 is that create does not replace, 501 that memory has no
    # paths to take files in by.
    refused = 409 if (method, scope) == ("PUT", "storage.create:/") else 403

    assert (method in allowed) is (status != refused)


def test_a_missing_scope_is_named(ask: ByCall) -> None:
    answer = ask("DELETE", "/5", headers=_bearer("storage.read:/"))

    assert (
        'Bearer realm="pacifica-archive", error="insufficient_scope", scope="delete"'
        == answer.headers["www-authenticate"]
    )


def test_a_refused_token_is_told_as_rfc_6750_has_it(ask: ByCall) -> None:
    answer = ask("GET", "/5", headers=_bearer("storage.read:/", aud="https://other"))

    assert (
        401,
        'Bearer realm="pacifica-archive", error="invalid_token"',
        "the token is for another audience",
    ) == (answer.status, answer.headers["www-authenticate"], answer.json["detail"])


@needs_posix
def test_a_server_takes_tokens_and_logs_none(tmp_path: Path, keys: Path) -> None:
    prefix, log = tmp_path / "archive", tmp_path / "log"
    prefix.mkdir()
    good = _bearer("storage.modify:/5", sub="anna")
    bad = _bearer("storage.modify:/5", exp=1)
    options = ("-t", "posix", "--prefix", str(prefix), "--log-file", str(log))
    with (
        (tmp_path / "stderr").open("w+b") as stderr,
        running_server(
            *options, "--jwt", str(issuers_file(tmp_path, keys)), log=stderr
        ) as server,
    ):
        ask = OverHttp(server.address)
        answers = [
            ask("PUT", "/5", b"new", good),
            ask("PUT", "/6", b"new", good),
            ask("PUT", "/5", b"new", bad),
            ask("PUT", "/5", b"new"),
        ]
    said = b"".join(
        [log.read_bytes(), (tmp_path / "stderr").read_bytes()]
        + [answer.body for answer in answers]
    ).decode()
    secret = [
        part for token in (good, bad) for part in token["Authorization"].split(".")
    ]
    # Those of two workers come in any order.
    entries = {
        entry["request_id"]: entry
        for entry in map(json.loads, log.read_text().splitlines())
    }
    lines = [entries[answer.headers["x-request-id"]] for answer in answers]

    assert [201, 403, 401, 401] == [answer.status for answer in answers]
    assert [("anna", "jwt", ISSUER)] * 2 + [(None, None, None)] * 2 == [
        (line.get("who"), line.get("auth"), line.get("issuer")) for line in lines
    ]
    assert [] == [part for part in secret if part in said]


_WITHOUT_PYJWT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from pacifica_archive_core.cli import main
main()
"""


@pytest.mark.parametrize("module", ["jwt", "cryptography"])
def test_without_the_extra_a_server_says_what_to_install(
    tmp_path: Path, keys: Path, module: str
) -> None:
    options = ("-t", "memory", "-p", "0", "--jwt", str(issuers_file(tmp_path, keys)))
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_PYJWT, module, "serve", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (14, True) == (
        done.returncode,
        "pip install 'pacifica-archive-http[jwt]'" in done.stderr,
    )


@pytest.mark.parametrize("module", ["jwt", "cryptography"])
def test_a_server_without_such_tokens_needs_no_extra(module: str) -> None:
    code = "import sys, pacifica_archive_http.serve; print(sys.argv[1] in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code, module],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    assert "False\n" == said


def test_a_server_with_wrong_issuers_does_not_begin(tmp_path: Path) -> None:
    path = tmp_path / "issuers.toml"
    path.write_text("audience = 7")
    done = subprocess.run(
        [*SERVE, "-t", "memory", "-p", "0", "--jwt", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (14, True) == (done.returncode, "audience is to be a list" in done.stderr)
