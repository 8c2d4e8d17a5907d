"""The client's token: where it goes, where never, and that it may be renewed."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
from remote_command import command
from scripted import Asked, Reply, Scripted, content, part_of, problem, stored

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ConfigError,
    load_options,
    open_archive,
)
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "pacifica_01234567_made-up"  # noqa: S105 (made up)
RENEWED = "pacifica_89abcdef_made-up-later"
DATA = content(3 << 20)


def answer(asked: Asked) -> Reply:
    if asked.method == "PUT":
        return stored(len(asked.body) - int(asked.headers["X-Pacifica-Digest-Tail"]))
    if asked.method == "GET":
        return part_of(DATA, asked)
    return Reply(body=b'{"message": "done"}')


def store(archive: HttpArchive, size: int) -> None:
    with archive.create(5, size=size) as writer:
        writer.write(DATA[:size])


def read(archive: HttpArchive) -> bytes:
    with archive.open(5) as reader:
        return reader.readall()


CALLS: dict[str, Callable[[HttpArchive], object]] = {
    "read": read,
    "put, held": lambda archive: store(archive, 1000),
    "put, streamed": lambda archive: store(archive, len(DATA)),
    "stage": lambda archive: archive.stage(5),
    "delete": lambda archive: archive.delete(5),
    "adopt": lambda archive: archive.adopt(5, "/file"),
}


def sent(server: Scripted) -> set[str | None]:
    return {asked.headers.get("Authorization") for asked in server.asked}


@pytest.mark.parametrize("call", CALLS)
def test_each_request_has_it(call: str) -> None:
    with (
        Scripted(answer) as server,
        HttpArchive(HttpOptions(prefix=server.url, token=TOKEN)) as archive,
    ):
        CALLS[call](archive)

    assert {f"Bearer {TOKEN}"} == sent(server)


def test_without_one_there_is_no_field() -> None:
    with (
        Scripted(answer) as server,
        HttpArchive(HttpOptions(prefix=server.url)) as archive,
    ):
        read(archive)

    assert {None} == sent(server)


@pytest.mark.parametrize("call", CALLS)
def test_another_address_does_not_get_it(call: str) -> None:
    """Nothing is followed, whatever is answered."""
    with Scripted(answer) as other:
        location = {"Location": f"{other.url}/5"}
        with (
            Scripted(lambda _: Reply(status=307, headers=location)) as server,
            HttpArchive(
                HttpOptions(prefix=server.url, token=TOKEN, retry_for_s=0)
            ) as archive,
            pytest.raises(ArchiveError),
        ):
            CALLS[call](archive)

    assert [] == other.asked


# --- a token that is renewed -----------------------------------------------------


def from_file(url: str, file: Path) -> HttpOptions:
    options: HttpOptions = load_options(
        HttpArchive, given={"prefix": url, "token_file": str(file), "retry_for_s": "0"}
    )
    return options


def replace(file: Path, token: str) -> None:
    """Replace it as who renews a token does."""
    new = file.with_suffix(".new")
    new.write_text(f"{token}\n")
    new.replace(file)


def test_a_token_that_is_renewed_is_the_next_that_is_sent(tmp_path: Path) -> None:
    replace(tmp_path / "token", TOKEN)
    with (
        Scripted(answer) as server,
        HttpArchive(from_file(server.url, tmp_path / "token")) as archive,
    ):
        archive.stage(5)
        replace(tmp_path / "token", RENEWED)
        archive.stage(5)

    assert [f"Bearer {TOKEN}", f"Bearer {RENEWED}"] == [
        asked.headers["Authorization"] for asked in server.asked
    ]


@pytest.mark.parametrize("left", [None, "", "not one"])
def test_while_its_file_is_none_the_old_one_is_sent(
    tmp_path: Path, left: str | None
) -> None:
    replace(tmp_path / "token", TOKEN)
    with (
        Scripted(answer) as server,
        HttpArchive(from_file(server.url, tmp_path / "token")) as archive,
    ):
        if left is None:
            (tmp_path / "token").unlink()
        else:
            replace(tmp_path / "token", left)
        archive.stage(5)

    assert {f"Bearer {TOKEN}"} == sent(server)


def rewrite(file: Path, token: str) -> None:
    """Write another of the same length over it, which ``stat`` does not tell."""
    before = file.stat()
    with file.open("r+") as stream:
        stream.write(token)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_token_that_is_refused_is_looked_for_again(tmp_path: Path) -> None:
    """NFS may show a file as it was a while ago until it is opened."""
    file = tmp_path / "token"
    replace(file, TOKEN)
    renewed = TOKEN.replace("up", "in")

    def refuse(asked: Asked) -> Reply:
        if asked.headers["Authorization"] == f"Bearer {renewed}":
            return answer(asked)
        return problem("unauthorized", 401)

    with (
        Scripted(refuse) as server,
        HttpArchive(from_file(server.url, file)) as archive,
    ):
        with pytest.raises(AccessDenied):
            archive.stage(5)
        rewrite(file, renewed)

        assert archive.stage(5)


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_is_taken_at_once_where_there_is_no_other(
    tmp_path: Path, call: str
) -> None:
    replace(tmp_path / "token", TOKEN)
    with (
        Scripted(lambda _: problem("unauthorized", 401)) as server,
        HttpArchive(from_file(server.url, tmp_path / "token")) as archive,
        pytest.raises(AccessDenied),
    ):
        CALLS[call](archive)

    assert 1 == len(server.asked)


# --- what is said of it ----------------------------------------------------------


def test_the_scope_that_is_missing_is_said_of_a_head_too() -> None:
    reply = Reply(
        status=403,
        headers={
            "X-Pacifica-Problem": "forbidden",
            "WWW-Authenticate": 'Bearer realm="x", error="insufficient_scope",'
            ' scope="status"',
        },
    )
    with (
        Scripted(lambda _: reply) as server,
        HttpArchive(HttpOptions(prefix=server.url, token=TOKEN)) as archive,
        pytest.raises(AccessDenied, match=r"^this needs the scope status$"),
    ):
        archive.status(5)


def test_it_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Not in the options, the error, its causes, nor the log."""
    options = HttpOptions(prefix="http://127.0.0.1:1", token=TOKEN, retry_for_s=0)
    with (
        caplog.at_level(logging.DEBUG),
        HttpArchive(options) as archive,
        pytest.raises(ArchiveError) as caught,
    ):
        archive.stage(5)
    error: BaseException | None = caught.value
    said = [repr(options), repr(archive), caplog.text]
    while error is not None:
        said.append(repr(error))
        error = error.__cause__ or error.__context__

    assert not any(TOKEN in text for text in said)


@pytest.mark.parametrize(
    "token", ["", " ", "a b", "a\nb", "a\r\nX-Other: b", "ä", "\x7f"]
)
def test_what_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_options(HttpArchive, given={"prefix": "http://a", "token": token})

    assert (
        "option 'token' of http has a value that is not allowed (a secret, not shown)"
        == str(caught.value)
    )


def _warnings(
    caplog: pytest.LogCaptureFixture, prefix: str, token: str | None
) -> list[str]:
    HttpArchive(HttpOptions(prefix=prefix, token=token)).close()
    return [record.getMessage() for record in caplog.records]


def test_a_token_in_the_clear_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert [
        "the token goes to the archive in the clear: give an address with https://"
    ] == _warnings(caplog, "http://archive.example:8080", TOKEN)


@pytest.mark.parametrize(
    ("prefix", "token"),
    [
        ("https://archive.example", TOKEN),
        ("http://127.0.0.1:8080", TOKEN),
        ("http://[::1]:8080", TOKEN),
        ("http://localhost", TOKEN),
        ("http://archive.example", None),
    ],
)
def test_nothing_else_is_warned_of(
    caplog: pytest.LogCaptureFixture, prefix: str, token: str | None
) -> None:
    assert [] == _warnings(caplog, prefix, token)


def test_the_command_line_does_not_take_it() -> None:
    done = command("http://127.0.0.1:1", "-o", f"token={TOKEN}", "status", "5")

    assert (14, "give -o token_file=FILE, or PACIFICA_ARCHIVE_HTTP_TOKEN in") == (
        done.returncode,
        done.stderr[done.stderr.find("give") :].removesuffix(" the environment\n"),
    )


def test_the_command_line_takes_its_file(tmp_path: Path) -> None:
    replace(tmp_path / "token", TOKEN)
    with Scripted(answer) as server:
        command(server.url, "-o", f"token_file={tmp_path}/token", "stage", "5")

    assert {f"Bearer {TOKEN}"} == sent(server)


def test_file_systems_take_its_file(tmp_path: Path) -> None:
    """So that ``storage_options``, which others may write down, have none."""
    fsspec: Any = pytest.importorskip("fsspec", reason="lacks fsspec")
    replace(tmp_path / "token", TOKEN)
    with Scripted(answer) as server:
        options = {
            "type": "http",
            "prefix": server.url,
            "token_file": str(tmp_path / "token"),
        }
        data = fsspec.filesystem("pacifica", **options).cat_file(5)

        assert ({f"Bearer {TOKEN}"}, DATA) == (sent(server), data)


def test_the_environment_gives_it() -> None:
    with (
        Scripted(answer) as server,
        open_archive(
            "http",
            env={"PACIFICA_ARCHIVE_HTTP_TOKEN": TOKEN},
            prefix=server.url,
        ) as archive,
    ):
        archive.stage(5)

    assert {f"Bearer {TOKEN}"} == sent(server)
