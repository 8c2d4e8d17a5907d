"""The command verify, and its journal."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import signal
import subprocess
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli_backend import DirectoryArchive, DirectoryOptions
from programs import LIMIT_S, STOPS, ended, heed_signals, on_terminal, paused

from pacifica_archive_core.cli.journal import Journal
from pacifica_archive_core.cli.parameters import byte_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli_site import Site

pytest_plugins = ("cli_site",)

#: Several blocks of the backend.
DATA = bytes(range(256)) * 1024


def put(site: Site, *file_ids: int, data: bytes = b"x") -> None:
    """Store files with a digest."""
    for file_id in file_ids:
        assert (
            0 == site.run("put", "--overwrite", str(file_id), "-", stdin=data).exit_code
        )


def flip(site: Site, file_id: int) -> None:
    """Flip a bit, and leave the version as it is."""
    path = site.prefix / str(file_id)
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def results(text: str) -> dict[int, str]:
    return {record["file_id"]: record["result"] for record in records(text)}


def journaled() -> dict[int, str]:
    return results(Path("journal").read_text())


def test_verify_is_an_aligned_table_and_numbers_on_stderr(site: Site) -> None:
    put(site, 5, 1234)
    flip(site, 1234)

    result = site.run("verify", "--readers", "1", "5", "1234")

    expected = """\
  ID             SIZE  RESULT      DIGESTS       REASON
   5                1  ok          sha-256
1234                1  differs     sha-256       sha-256 not as kept: on the medium: \
two readings agree, and neither is what was stored
"""
    assert (expected, "2 files: 1 ok, 1 differs\n") == (result.stdout, result.stderr)


def test_verify_as_json_has_every_field(site: Site) -> None:
    put(site, 5)
    version = str((site.prefix / "5").stat().st_ino)

    result = site.run("verify", "--json", "5")

    expected = {
        "file_id": 5,
        "result": "ok",
        "size": 1,
        "version": version,
        "algorithms": ["sha-256"],
        "where": None,
        "message": None,
    }
    assert [expected] == records(result.stdout)


def test_a_difference_as_json_says_where(site: Site) -> None:
    put(site, 5)

    result = site.run("verify", "--json", "-o", "flips=1", "5")

    (record,) = records(result.stdout)
    assert ("differs", "way") == (record["result"], record["where"])


def spoil_nothing(_site: Site) -> None:
    pass


def spoil_a_bit(site: Site) -> None:
    flip(site, 5)


def spoil_the_file(site: Site) -> None:
    (site.prefix / "5").unlink()
    (site.prefix / "5").mkdir()


def move_to_tape(site: Site) -> None:
    (site.prefix / "5.tape").touch()


def remove(site: Site) -> None:
    (site.prefix / "5").unlink()


def drop_the_digest(site: Site) -> None:
    site.run("put", "--overwrite", "--digest", "none", "5", "-", stdin=b"x")


@pytest.mark.parametrize(
    ("spoil", "args", "code", "expected"),
    [
        (spoil_nothing, (), 0, "ok"),
        (spoil_a_bit, (), 10, "differs"),
        (spoil_nothing, ("-o", "fail=FileDamaged"), 9, "unreadable"),
        (spoil_nothing, ("-o", "fail=AccessDenied"), 9, "unreadable"),
        (move_to_tape, (), 5, "offline"),
        (move_to_tape, ("--recall",), 0, "ok"),
        (remove, (), 3, "missing"),
        (drop_the_digest, (), 16, "no digest"),
        (drop_the_digest, ("--record",), 0, "recorded"),
    ],
)
def test_a_result_has_its_exit_code(
    site: Site,
    spoil: Callable[[Site], None],
    args: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    put(site, 5)
    spoil(site)

    result = site.run("verify", "--json", *args, "5")

    assert (code, {5: expected}) == (result.exit_code, results(result.stdout))


def test_results_of_different_kinds_end_with_1(site: Site) -> None:
    put(site, 5)
    flip(site, 5)

    assert 1 == site.run("verify", "5", "6").exit_code


@pytest.mark.parametrize("name", ["ArchiveUnavailable", "ArchiveFull", "NotSupported"])
def test_what_fails_the_store_ends_the_run(site: Site, name: str) -> None:
    result = site.run("verify", "--json", "-o", f"fail={name}", "5", "6", "7")

    assert ("", "pacifica-archive: as told\n") == (result.stdout, result.stderr)


def test_ids_are_read_from_a_file(site: Site) -> None:
    put(site, 5, 6)

    result = site.run("verify", "--json", "--ids-from", "-", stdin="5 6\n")

    assert {5: "ok", 6: "ok"} == results(result.stdout)


def test_no_ids_in_a_file_are_no_failure(site: Site) -> None:
    result = site.run("verify", "--json", "--ids-from", "-", stdin="")

    assert (0, "", "0 files\n") == (result.exit_code, result.stdout, result.stderr)


def test_what_was_recorded_is_the_digest_of_the_bytes(site: Site) -> None:
    site.store(5, DATA)

    site.run("verify", "--record", "5")

    with DirectoryArchive(DirectoryOptions(prefix=site.prefix)) as archive:
        assert {"sha-256": hashlib.sha256(DATA).digest()} == archive.digests(5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("250k", 250_000), ("3M", 3_000_000), ("1G", 10**9)],
)
def test_a_rate_is_a_number_with_a_suffix(text: str, expected: int) -> None:
    assert expected == byte_rate(text)


@pytest.mark.parametrize(
    "args",
    [
        *[
            ("--bytes-per-second", bad)
            for bad in ("0", "-1", "1.5", "1K", "k", "", "1e6")
        ],
        ("--readers", "0"),
        ("--readers", "1000"),
    ],
)
def test_wrong_arguments_are_a_usage_error(site: Site, args: tuple[str, str]) -> None:
    assert 2 == site.run("verify", *args, "5").exit_code


def test_a_limited_rate_reads_all(site: Site) -> None:
    put(site, 5, data=DATA)

    result = site.run("verify", "--json", "--bytes-per-second", "100M", "5")

    assert {5: "ok"} == results(result.stdout)


# --- the journal


def test_a_journal_holds_what_was_printed(site: Site) -> None:
    put(site, 5)
    flip(site, 5)

    result = site.run("verify", "--json", "--journal", "journal", "5", "6")

    assert result.stdout == Path("journal").read_text()


def test_what_is_well_is_passed_over(site: Site) -> None:
    put(site, 5, 6)
    site.run("verify", "--journal", "journal", "5")

    result = site.run("verify", "--json", "--journal", "journal", "5", "6")

    expected = ({6: "ok"}, "2 files: 1 ok, 1 ok before\n", 0)
    assert expected == (results(result.stdout), result.stderr, result.exit_code)


def test_what_was_recorded_is_passed_over(site: Site) -> None:
    site.store(5, b"x")
    site.run("verify", "--record", "--journal", "journal", "5")

    result = site.run("verify", "--json", "--journal", "journal", "5")

    assert ("", "1 file: 1 ok before\n") == (result.stdout, result.stderr)


@pytest.mark.parametrize("spoil", [spoil_a_bit, move_to_tape, remove, drop_the_digest])
def test_what_is_not_well_is_tried_again(
    site: Site, spoil: Callable[[Site], None]
) -> None:
    put(site, 5)
    spoil(site)
    first = site.run("verify", "--json", "--journal", "journal", "5")

    second = site.run("verify", "--json", "--journal", "journal", "5")

    assert (first.exit_code, first.stdout) == (second.exit_code, second.stdout)


def test_another_version_is_verified_anew(site: Site) -> None:
    put(site, 5, 6)
    site.run("verify", "--journal", "journal", "5", "6")
    put(site, 5, data=b"new")

    result = site.run("verify", "--json", "--journal", "journal", "5", "6")

    assert {5: "ok"} == results(result.stdout)


def test_what_is_missing_by_now_is_said(site: Site) -> None:
    put(site, 5)
    site.run("verify", "--journal", "journal", "5")
    remove(site)

    result = site.run("verify", "--json", "--journal", "journal", "5")

    assert (3, {5: "missing"}) == (result.exit_code, results(result.stdout))


def test_a_store_that_fails_leaves_a_journal_to_go_on_with(site: Site) -> None:
    put(site, 5, 6)
    site.run("verify", "--journal", "journal", "5")

    failed = site.run(
        *("verify", "-o", "fail=ArchiveUnavailable", "--journal", "journal", "6")
    )

    assert (6, {5: "ok"}) == (failed.exit_code, journaled())


@pytest.mark.parametrize(
    "torn", ["{", '{"file_id": 6, "resu', '{"file_id": 6}', "\0\0"]
)
def test_a_torn_last_line_is_overwritten(site: Site, torn: str) -> None:
    put(site, 5, 6)
    site.run("verify", "--journal", "journal", "5")
    with Path("journal").open("a") as stream:
        stream.write(torn)

    result = site.run("verify", "--journal", "journal", "5", "6")

    assert (0, {5: "ok", 6: "ok"}) == (result.exit_code, journaled())


def test_a_torn_first_line_is_overwritten(site: Site) -> None:
    put(site, 5)
    Path("journal").write_text('{"file_id": 5, "resu')

    site.run("verify", "--journal", "journal", "5")

    assert {5: "ok"} == journaled()


@pytest.mark.parametrize(
    "text",
    [
        "my only copy",
        "my only copy\n",
        "{}\n",
        '{"file_id": 5}\n',
        "5\n",
        '{"file_id": 5, "result": "fine", "version": "1"}\n',
        "x" * 100_000,
        '{"file_id": 5, "result": "ok", "version": "1"}\n' + "x" * 100_000,
    ],
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(site: Site, text: str) -> None:
    Path("journal").write_text(text)

    result = site.run("verify", "--journal", "journal", "5")

    assert (15, text) == (result.exit_code, Path("journal").read_text())


def test_a_journal_that_cannot_be_opened_is_said(site: Site) -> None:
    result = site.run("verify", "--journal", "none/journal", "5")

    expected = "pacifica-archive: journal none/journal: No such file or directory\n"
    assert (15, expected) == (result.exit_code, result.stderr)


def test_a_journal_that_another_run_writes_is_refused(site: Site) -> None:
    with Path("journal").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        result = site.run("verify", "--journal", "journal", "5")

    expected = "pacifica-archive: journal journal: another run writes it\n"
    assert (15, expected) == (result.exit_code, result.stderr)


def test_a_full_disk_of_the_journal_ends_the_run(site: Site) -> None:
    put(site, 5, 6, 7)

    result = site.run(
        *("verify", "--json", "--readers", "1", "--journal", "/dev/full", "5", "6", "7")
    )

    expected = "pacifica-archive: journal /dev/full: No space left on device\n"
    assert (15, {5: "ok"}, expected) == (
        result.exit_code,
        results(result.stdout),
        result.stderr,
    )


def test_a_million_lines_of_a_journal_take_less_memory_than_the_ids(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    lines = 100_000
    with path.open("w") as stream:
        for file_id in range(lines):
            line = {"file_id": file_id, "result": "ok", "version": f"v{file_id}" * 9}
            stream.write(f"{json.dumps(line)}\n")

    tracemalloc.start()
    with Journal(str(path)) as journal:
        size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (lines, True) == (len(journal), size < 120 * lines), size


# --- as a process


def test_a_journal_that_ends_within_a_line_ends_the_run_and_is_mended(
    site: Site,
) -> None:
    """Where the space ends, write(2) takes a part and says so without an error."""
    put(site, 5, 6)
    args = ("verify", "--readers", "1", "--journal", "journal", "5", "6")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 1000))

    with site.start(
        *args, preexec_fn=limit, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as program:
        expected = b"pacifica-archive: journal journal: File too large\n"
        assert (15, expected) == ended(program)
    assert 200 == Path("journal").stat().st_size
    assert 0 == site.run(*args).exit_code
    assert {5: "ok", 6: "ok"} == journaled()


def test_a_run_that_is_killed_goes_on_where_it_was(site: Site) -> None:
    put(site, 1, 2, 3)
    put(site, 4, data=DATA)
    args = ("verify", "--readers", "1", "--journal", "journal", "1", "2", "3", "4")

    with paused(site, *args, stdout=subprocess.DEVNULL) as (program, _):
        program.kill()
        program.wait(LIMIT_S)
    with Path("journal").open("a") as stream:
        stream.write('{"file_id": 4, "res')
    result = site.run("verify", "--json", *args[1:])

    assert ({4: "ok"}, "4 files: 1 ok, 3 ok before\n", 0) == (
        results(result.stdout),
        result.stderr,
        result.exit_code,
    )


def test_a_run_of_many_readers_that_is_killed_anywhere_loses_and_claims_nothing(
    site: Site,
) -> None:
    ids = range(100, 300)
    for file_id in ids:
        site.store(file_id, b"x")
    listed = " ".join(map(str, ids))
    site.run("verify", "--record", "--ids-from", "-", stdin=listed)
    Path("ids").write_text(listed)
    args = ("verify", "--json", "--ids-from", "ids", "--journal", "journal")
    with site.start(*args, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        for _ in range(50):
            program.stdout.readline()
        program.kill()
        program.wait(LIMIT_S)
    whole = Path("journal").read_bytes().count(b"\n")

    result = site.run(*args)

    assert (True, 0) == (49 <= whole, result.exit_code)
    assert sorted(ids) == sorted(
        record["file_id"] for record in records(Path("journal").read_text())
    )
    assert len(ids) - whole == len(records(result.stdout))


@pytest.mark.parametrize("number", STOPS)
def test_verify_that_is_stopped_dies_of_the_signal_and_keeps_its_journal(
    site: Site, number: signal.Signals
) -> None:
    put(site, 1)
    put(site, 4, data=DATA)
    args = ("verify", "--readers", "1", "--journal", "journal", "1", "4")

    with paused(site, *args, stdout=subprocess.DEVNULL) as (program, pause):
        pause.stop(program, number)

        assert (-number, b"") == ended(program)
    assert {1: "ok"} == journaled()


def test_many_readers_that_wait_for_the_rate_are_stopped_at_once(site: Site) -> None:
    """At a byte a second each block is due in days."""
    put(site, *range(1, 5), data=DATA)
    site.store(9, b"x")
    args = ("verify", "--json", "--bytes-per-second", "1", "9", "1", "2", "3", "4")

    with site.start(
        *args,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_signals,
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.send_signal(signal.SIGINT)

        assert (-signal.SIGINT, b"") == ended(program)


def test_verify_shows_the_progress_of_big_files_on_a_terminal(site: Site) -> None:
    os.truncate(site.store(5, b""), 1 << 24)

    drawn = on_terminal(site, "verify", "--json", "--record", "5")

    assert (True, True) == ("verify" in drawn, "100%" in drawn)


def test_verify_shows_how_many_files_are_done_on_a_terminal(site: Site) -> None:
    for file_id in range(100):
        site.store(file_id, b"x")
    site.run("verify", "--record", "--journal", "journal", "1", "2", "3")

    drawn = on_terminal(
        *(site, "verify", "--record", "--journal", "journal"),
        *map(str, range(100)),
    )

    assert (True, True) == ("verify" in drawn, "100%" in drawn)
