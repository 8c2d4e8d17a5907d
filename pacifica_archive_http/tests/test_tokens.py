"""The file of tokens, and the commands that write it."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import token_child
from click.testing import CliRunner

from pacifica_archive_core import MAX_FILE_ID, ConfigError
from pacifica_archive_core.cli import main
from pacifica_archive_http import tokens
from pacifica_archive_http.access import Scope
from pacifica_archive_http.status_table import Unauthorized
from pacifica_archive_http.tokens import (
    TokenFile,
    add_token,
    parse_ids,
    read_tokens,
    revoke_token,
)

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

_SOON_S = 60


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def token(file: Path) -> str:
    return add_token(file, "first", scopes=[Scope.READ])


def _is_valid(known: TokenFile, token: str) -> bool:
    try:
        return known.identify(token) is not None
    except Unauthorized:
        return False


# --- what is in the file ---------------------------------------------------------


def test_a_token_has_the_form_that_is_documented(token: str) -> None:
    assert re.fullmatch("pacifica_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", token)


def test_the_file_does_not_hold_the_token(file: Path, token: str) -> None:
    _, _, secret = token.split("_", 2)

    assert secret not in file.read_text()


@pytest.mark.usefixtures("token")
def test_the_file_is_its_owners_alone(file: Path) -> None:
    assert 0o600 == file.stat().st_mode & 0o777


@pytest.mark.usefixtures("token")
def test_a_file_keeps_the_permissions_that_it_was_given(file: Path) -> None:
    """A server of another user may read it by its group."""
    file.chmod(0o640)
    revoke_token(file, "first")

    assert 0o640 == file.stat().st_mode & 0o777


def test_a_symbolic_link_to_the_file_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("tokens")
    add_token(link, "first", scopes=[Scope.READ])

    assert (True, 1) == (link.is_symlink(), len(read_tokens(file)))


@pytest.mark.usefixtures("token")
def test_nothing_is_left_beside_the_file(file: Path) -> None:
    assert {".tokens.lock", "tokens"} == {each.name for each in file.parent.iterdir()}


def test_all_that_a_token_is_made_with_is_read_again(file: Path) -> None:
    until = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    ids = ((5, 5), (100, 199), (1000, MAX_FILE_ID))
    scopes = (Scope.WRITE, Scope.STATUS)
    add_token(file, "a@b.c_d-1", scopes=scopes, ids=ids, expires=until)

    (entry,) = read_tokens(file)
    assert ("a@b.c_d-1", scopes, ids, until) == (
        entry.name,
        entry.scopes,
        entry.ids,
        entry.expires,
    )


@pytest.mark.usefixtures("token")
def test_an_entry_does_not_show_its_hash(file: Path) -> None:
    (entry,) = read_tokens(file)

    assert repr(entry.sha256) not in repr(entry)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "é", "a" * 65, "a/b"])
def test_a_name_that_is_none_is_refused(file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name has up to 64"):
        add_token(file, name, scopes=[Scope.READ])


@pytest.mark.usefixtures("token")
def test_a_name_is_given_once(file: Path) -> None:
    with pytest.raises(ConfigError, match="first already"):
        add_token(file, "first", scopes=[Scope.READ])


def test_revoking_what_is_not_there_is_an_error(file: Path, token: str) -> None:
    with pytest.raises(ConfigError, match="no token 'second'"):
        revoke_token(file, "second")

    assert token


@pytest.mark.parametrize(
    "text", ["", "a", "5-4", "-5", "1,,2", "1-2-3", str(2**63), "\u0665", "9" * 20]
)
def test_what_is_no_range_of_ids_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ids are written|no id is in"):
        parse_ids(text)


_ENTRY = {
    "name": "a",
    "key": "00000000",
    "sha256": "0" * 64,
    "scopes": ["read"],
    "created": "2026-01-01T00:00:00Z",
}

_WRONG: list[dict[str, object]] = [
    {"name": "a b"},
    {"name": 5},
    {"key": "0"},
    {"sha256": "0"},
    {"scopes": "read"},
    {"scopes": ["reed"]},
    {"scopes": [[]]},
    {"ids": "no"},
    {"ids": [1]},
    {"expires": "2030-01-01T00:00:00"},
    {"expires": "tomorrow"},
    {"expiry": "2030-01-01T00:00:00Z"},
    {"created": None},
]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "[" * 100_000,
        b"\xff",
        {"version": 2, "tokens": []},
        {"version": 1},
        {"version": 1, "tokens": {}},
        {"version": 1, "tokens": [], "more": 1},
        {"version": 1, "tokens": [5]},
        *({"version": 1, "tokens": [{**_ENTRY, **wrong}]} for wrong in _WRONG),
        {"version": 1, "tokens": [_ENTRY, _ENTRY]},
        {"version": 1, "tokens": [_ENTRY, {**_ENTRY, "key": "00000001"}]},
        {"version": 1, "tokens": [_ENTRY, {**_ENTRY, "name": "b"}]},
    ],
    ids=lambda document: str(document)[:70],
)
def test_a_broken_file_is_an_error(file: Path, document: object) -> None:
    content = document if isinstance(document, str | bytes) else json.dumps(document)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(0o600)

    with pytest.raises(ConfigError, match="is broken"):
        TokenFile(file)


def test_a_missing_file_is_an_error(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        TokenFile(file)


@pytest.mark.usefixtures("token")
def test_a_file_that_all_may_write_is_an_error(file: Path) -> None:
    file.chmod(0o602)

    with pytest.raises(ConfigError, match="chmod o-w"):
        TokenFile(file)


@pytest.mark.usefixtures("token")
def test_a_file_that_all_may_read_is_a_warning(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(0o604)
    TokenFile(file)

    assert [logging.WARNING] == [record.levelno for record in caplog.records]


# --- who has it ------------------------------------------------------------------


def test_a_token_is_known(file: Path, token: str) -> None:
    who = TokenFile(file).identify(token)

    assert who is not None
    assert ("first", "token") == (who.name, who.kind)


def test_what_is_no_token_of_ours_is_anothers_matter(file: Path, token: str) -> None:
    assert token
    assert None is TokenFile(file).identify("eyJhbGciOiJub25lIn0.e30.")


@pytest.mark.parametrize("end", ["", "A", "\n"])
def test_a_token_is_its_whole_text(file: Path, token: str, end: str) -> None:
    changed = token[:-1] if not end else token + end

    with pytest.raises(Unauthorized, match="not valid here"):
        TokenFile(file).identify(changed)


def test_a_token_expires(file: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    token = add_token(
        file, "old", scopes=[Scope.READ], expires=now - dt.timedelta(seconds=2)
    )

    with pytest.raises(Unauthorized, match="has expired"):
        TokenFile(file).identify(token)


def test_an_expired_token_is_not_told_from_others_by_who_has_not_its_secret(
    file: Path,
) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    token = add_token(file, "old", scopes=[Scope.READ], expires=past)

    with pytest.raises(Unauthorized, match="not valid here"):
        TokenFile(file).identify(token[:18] + "A" * 43)


# --- a file that changes ---------------------------------------------------------


def test_a_new_token_is_valid_at_once(file: Path, token: str) -> None:
    known = TokenFile(file)
    second = add_token(file, "second", scopes=[Scope.READ])

    assert [True, True] == [_is_valid(known, each) for each in (token, second)]


def test_a_revoked_token_is_invalid_at_once(file: Path, token: str) -> None:
    known = TokenFile(file)
    before = _is_valid(known, token)
    revoke_token(file, "first")

    assert [True, False] == [before, _is_valid(known, token)]


@pytest.mark.parametrize("damage", ["broken", "unreadable", "writable"])
def test_the_last_good_file_stays_in_force(
    file: Path, token: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = TokenFile(file)
    if damage == "broken":
        file.write_text("{")
    elif damage == "writable":
        file.chmod(0o666)
    else:
        file.unlink()
        file.mkdir()

    answers = [_is_valid(known, token) for _ in range(3)]
    assert ([True] * 3, [logging.ERROR]) == (
        answers,
        [record.levelno for record in caplog.records],
    )


def test_a_file_that_was_mended_is_read(file: Path, token: str) -> None:
    known = TokenFile(file)
    good = file.read_text()
    file.write_text("{")
    _is_valid(known, token)
    file.write_text(good)
    second = add_token(file, "second", scopes=[Scope.READ])

    assert _is_valid(known, second)


def test_without_its_file_no_token_is_valid(
    file: Path, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = TokenFile(file)
    file.unlink()

    answers = [_is_valid(known, token) for _ in range(3)]
    assert ([False] * 3, 1) == (answers, len(caplog.records))


def test_a_file_that_comes_back_broken_makes_none_valid(file: Path, token: str) -> None:
    known = TokenFile(file)
    file.unlink()
    _is_valid(known, token)
    file.write_text("{")

    assert not _is_valid(known, token)


def test_a_file_that_comes_back_is_read(file: Path, token: str) -> None:
    known = TokenFile(file)
    file.rename(file.with_name("away"))
    _is_valid(known, token)
    file.with_name("away").rename(file)

    assert _is_valid(known, token)


@pytest.fixture
def standing(file: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the token of a file whose times stand still at that of its making."""
    written_ns = file.stat().st_ctime_ns
    whole = tokens._stamp  # noqa: SLF001 (no file system has a clock that waits)
    monkeypatch.setattr(
        tokens, "_stamp", lambda status: (*whole(status)[:3], written_ns)
    )
    monkeypatch.setattr(time, "time_ns", lambda: written_ns)
    return token


def test_a_change_within_a_tick_of_the_clock_is_seen(file: Path, standing: str) -> None:
    known = TokenFile(file)
    before = _is_valid(known, standing)
    _spoil(file)

    assert [True, False] == [before, _is_valid(known, standing)]


def test_a_file_that_is_mended_within_a_tick_is_read(file: Path, standing: str) -> None:
    known = TokenFile(file)
    good = file.read_text()
    file.write_text("{" * len(good))
    _is_valid(known, standing)
    file.write_text(good)
    _spoil(file)

    assert not _is_valid(known, standing)


def test_a_young_file_can_be_used(file: Path, standing: str) -> None:
    known = TokenFile(file)

    assert [True, True] == [known.is_usable(), _is_valid(known, standing)]


def test_an_old_file_is_read_once(
    file: Path, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_ns = time.time_ns() + 1_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    known = TokenFile(file)
    _is_valid(known, standing)
    monkeypatch.setattr(tokens, "_read", None)

    assert _is_valid(known, standing)


def _spoil(file: Path) -> None:
    """Change the hash in place, and no length."""
    text = file.read_text()
    file.write_text(re.sub('"sha256": "[0-9a-f]+"', f'"sha256": "{"0" * 64}"', text))


# --- writers at once -------------------------------------------------------------


def _child(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, token_child.__file__, *arguments])


def test_writers_at_once_lose_no_token(file: Path) -> None:
    writers = [_child("add_many", str(file), f"w{each}", "5") for each in range(8)]
    codes = [writer.wait(_SOON_S) for writer in writers]

    wanted = {f"w{each}-{number}" for each in range(8) for number in range(5)}
    assert ([0] * 8, wanted) == (codes, {token.name for token in read_tokens(file)})


def test_threads_at_once_lose_no_token(file: Path) -> None:
    names = {f"w{number}" for number in range(40)}
    with ThreadPoolExecutor(8) as writers:
        for name in names:
            writers.submit(add_token, file, name, scopes=[Scope.READ])

    assert names == {token.name for token in read_tokens(file)}


@pytest.mark.parametrize("step", token_child.STEPS)
@pytest.mark.usefixtures("token")
def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new(
    file: Path, step: str
) -> None:
    code = _child("die_at", str(file), step).wait(_SOON_S)

    names = [entry.name for entry in read_tokens(file)]
    wanted = ["first", "new"] if step == "fsync of the folder" else ["first"]
    assert (-9, wanted) == (code, names)


@pytest.mark.usefixtures("token")
def test_what_a_killed_writer_left_hinders_no_other(file: Path) -> None:
    _child("die_at", str(file), "replace").wait(_SOON_S)
    add_token(file, "second", scopes=[Scope.READ])

    assert {".tokens.lock", "tokens"} == {each.name for each in file.parent.iterdir()}


# --- the commands ----------------------------------------------------------------


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


def _new(file: Path, *more: str) -> Result:
    return _run("new", "first", "--file", str(file), "--scope", "read", *more)


def test_a_new_token_is_all_that_is_printed(file: Path) -> None:
    done = _new(file, "--scope", "status")

    who = TokenFile(file).identify(done.stdout.removesuffix("\n"))
    assert who is not None
    assert [Scope.READ, Scope.STATUS] == [grant.scope for grant in who.grants]


def test_ids_are_taken(file: Path) -> None:
    _new(file, "--ids", "0-999,5000-")

    assert ((0, 999), (5000, MAX_FILE_ID)) == read_tokens(file)[0].ids


def test_days_are_counted_from_now(file: Path) -> None:
    before = dt.datetime.now(dt.UTC)
    _new(file, "--days", "2")

    (entry,) = read_tokens(file)
    assert entry.expires is not None
    assert abs(entry.expires - before - dt.timedelta(days=2)).total_seconds() < _SOON_S


def test_a_time_is_taken(file: Path) -> None:
    _new(file, "--expires", "2130-01-01T01:00:00+01:00")

    wanted = dt.datetime(2130, 1, 1, tzinfo=dt.UTC)
    assert [wanted] == [entry.expires for entry in read_tokens(file)]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--ids", "5-4"), "no id is in the range 5-4"),
        (("--expires", "2030-01-01"), "says its zone"),
        (("--expires", "2020-01-01T00:00Z"), "is in the past"),
        (("--days", "1", "--expires", "2030-01-01T00:00Z"), "not both"),
        (("--days", "0"), "not in the range"),
        (("--scope", "all"), "'all' is not one of"),
    ],
)
def test_a_wrong_option_makes_no_token(
    file: Path, more: tuple[str, ...], told: str
) -> None:
    done = _new(file, *more)

    assert (2, False) == (done.exit_code, file.exists())
    assert told in done.stderr


def test_a_token_is_for_something(file: Path) -> None:
    assert 2 == _run("new", "first", "--file", str(file)).exit_code


def test_a_list_shows_no_secret(file: Path) -> None:
    token = _new(file).stdout.strip()
    listed = _run("list", "--file", str(file)).stdout

    (entry,) = read_tokens(file)
    assert [] == [
        each for each in (token, entry.sha256.hex(), entry.key) if each in listed
    ]


def test_a_list_is_a_table(file: Path) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    add_token(file, "a", scopes=[Scope.READ, Scope.STAGE], ids=((1, 5),), expires=past)
    rows = _run("list", "--file", str(file)).stdout.splitlines()

    assert [
        ["NAME", "SCOPES", "IDS", "EXPIRES", "CREATED"],
        ["a", "read,stage", "1-5", "2020-01-01T00:00:00Z (expired)"],
    ] == [re.split("  +", rows[0]), re.split("  +", rows[1])[:4]]


def test_a_list_is_for_programs_too(file: Path) -> None:
    _new(file)
    (line,) = _run("list", "--json", "--file", str(file)).stdout.splitlines()

    record = json.loads(line)
    assert {
        "name": "first",
        "scopes": ["read"],
        "ids": "0-",
        "expires": None,
        "expired": False,
    } == {key: value for key, value in record.items() if key != "created"}


def test_a_token_is_revoked_by_its_name(file: Path) -> None:
    _new(file)
    done = _run("revoke", "first", "--file", str(file))

    assert (0, "", ()) == (done.exit_code, done.output, read_tokens(file))


def test_the_file_is_the_servers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACIFICA_ARCHIVE_SERVER_TOKENS", str(file))
    _run("new", "first", "--scope", "read")

    assert ["first"] == [entry.name for entry in read_tokens(file)]


def test_the_file_is_that_of_the_configuration(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.cfg"
    config.write_text(f"[server]\ntokens = {file}\n")
    _run("new", "first", "--scope", "read", "--config", str(config))

    assert ["first"] == [entry.name for entry in read_tokens(file)]


def test_some_file_is_to_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PACIFICA_ARCHIVE_SERVER_TOKENS", raising=False)
    done = _run("list")

    assert 2 == done.exit_code
    assert "give --file" in done.stderr


def test_a_file_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    done = _new(tmp_path / "no" / "tokens")

    assert (14, 1) == (done.exit_code, len(done.stderr.splitlines()))
    assert "cannot be written: No such file" in done.stderr
