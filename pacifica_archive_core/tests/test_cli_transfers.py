"""The commands put and get."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_backend import DirectoryArchive, DirectoryOptions

from pacifica_archive_core.cli.parameters import ByteRange

if TYPE_CHECKING:
    from cli_site import Site

pytest_plugins = ("cli_site",)

TIME_NS = 1_234_567_890_123_456_789
#: More than one block of the backend.
DATA = bytes(range(256)) * 1024
SHA = hashlib.sha256(DATA).digest()


def write(name: str, data: bytes) -> Path:
    path = Path(name)
    path.write_bytes(data)
    os.utime(path, ns=(TIME_NS, TIME_NS))
    return path


def keep(site: Site, file_id: int, **digests: bytes) -> None:
    """Keep digests, whose names are written with ``_``, with a file."""
    with DirectoryArchive(DirectoryOptions(prefix=site.prefix)) as archive:
        version = archive.status(file_id).version
        archive.keep(
            file_id,
            version,
            {name.replace("_", "-"): value for name, value in digests.items()},
        )


def kept(site: Site, file_id: int) -> dict[str, bytes]:
    with DirectoryArchive(DirectoryOptions(prefix=site.prefix)) as archive:
        return archive.digests(file_id)


def names() -> list[str]:
    return [path.name for path in Path.cwd().iterdir()]


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_put_stores_the_bytes(site: Site, data: bytes) -> None:
    write("source", data)

    result = site.run("put", "5", "source")

    assert (0, "", {"5": data}) == (result.exit_code, result.output, site.stored())


def test_put_keeps_the_time_to_the_nanosecond(site: Site) -> None:
    write("source", DATA)

    site.run("put", "5", "source")

    assert TIME_NS == (site.prefix / "5").stat().st_mtime_ns


def test_put_stores_many_files(site: Site) -> None:
    write("one", b"1")
    write("two", b"2")

    site.run("put", "5", "one", "6", "two")

    assert {"5": b"1", "6": b"2"} == site.stored()


def test_put_stores_standard_input(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)

    assert {"5": DATA} == site.stored()


def test_put_refuses_an_id_that_is_taken(site: Site) -> None:
    site.store(5, b"old")
    write("source", b"new")

    result = site.run("put", "5", "source")

    expected = (4, "pacifica-archive: file 5: is in the archive already\n")
    assert expected == (result.exit_code, result.stderr)


def test_put_leaves_an_id_that_is_taken_as_it_is(site: Site) -> None:
    site.store(5, b"old")
    write("source", b"new")

    site.run("put", "5", "source")

    assert {"5": b"old"} == site.stored()


def test_put_overwrites_when_told_to(site: Site) -> None:
    site.store(5, b"old")
    write("source", b"new")

    site.run("put", "--overwrite", "5", "source")

    assert {"5": b"new"} == site.stored()


def test_put_goes_on_after_a_file_that_fails(site: Site) -> None:
    site.store(5, b"old")
    write("source", b"new")

    result = site.run("put", "5", "source", "6", "source")

    assert (4, {"5": b"old", "6": b"new"}) == (result.exit_code, site.stored())


def test_put_of_a_missing_source_says_which(site: Site) -> None:
    result = site.run("put", "5", "none")

    expected = (15, "pacifica-archive: file 5: none: No such file or directory\n")
    assert expected == (result.exit_code, result.stderr)


def test_put_of_a_directory_is_refused(site: Site) -> None:
    result = site.run("put", "5", ".")

    assert (15, {}) == (result.exit_code, site.stored())


@pytest.mark.parametrize("came", [b"123", b"12345"])
def test_put_stores_nothing_if_the_size_is_not_the_promised(
    site: Site, came: bytes
) -> None:
    result = site.run("put", "--size", "4", "5", "-", stdin=came)

    assert (10, {}) == (result.exit_code, site.stored())


def test_put_stores_what_has_the_promised_size(site: Site) -> None:
    site.run("put", "--size", "4", "5", "-", stdin=b"1234")

    assert {"5": b"1234"} == site.stored()


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_put_keeps_a_sha_256(site: Site, data: bytes) -> None:
    write("source", data)

    site.run("put", "5", "source")

    assert {"sha-256": hashlib.sha256(data).digest()} == kept(site, 5)


def test_put_keeps_the_digests_that_are_asked_for(site: Site) -> None:
    args = ("--digest", "adler", "--digest", "sha-512")
    site.run("put", *args, "5", "-", stdin=DATA)

    expected = {
        "adler": zlib.adler32(DATA).to_bytes(4, "big"),
        "sha-512": hashlib.sha512(DATA).digest(),
    }
    assert expected == kept(site, 5)


def test_put_keeps_no_digest_when_told_so(site: Site) -> None:
    site.run("put", "--digest", "none", "5", "-", stdin=DATA)

    assert {} == kept(site, 5)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("5",),
        ("5", "a", "6"),
        ("5", "-", "6", "-"),
        ("--size", "1", "5", "a", "6", "b"),
        ("--size", "-1", "5", "a"),
        ("--digest", "crc32c", "5", "a"),
        ("--digest", "none", "--digest", "md5", "5", "a"),
        *[(bad, "a") for bad in ("x", "", "+1", "1_2", "01", " 1", "1.0", "\u0663")],
        ("9223372036854775808", "a"),
        ("5", "a", "x", "b"),
    ],
)
def test_put_with_wrong_arguments_is_a_usage_error_and_stores_nothing(
    site: Site, args: tuple[str, ...]
) -> None:
    write("a", b"a")
    write("b", b"b")

    result = site.run("put", *args)

    assert (2, {}) == (result.exit_code, site.stored()), result.output


def test_the_largest_id_is_taken(site: Site) -> None:
    write("source", b"x")

    site.run("put", "9223372036854775807", "source")

    assert {"9223372036854775807": b"x"} == site.stored()


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_get_fetches_the_bytes(site: Site, data: bytes) -> None:
    site.store(5, data)

    result = site.run("get", "5", "target")

    assert (0, "", data) == (
        result.exit_code,
        result.output,
        Path("target").read_bytes(),
    )


def test_get_sets_the_time_that_is_kept(site: Site) -> None:
    os.utime(site.store(5, DATA), ns=(TIME_NS, TIME_NS))

    site.run("get", "5", "target")

    assert TIME_NS == Path("target").stat().st_mtime_ns


def test_get_writes_to_standard_output_and_nothing_else(site: Site) -> None:
    site.store(5, DATA)

    result = site.run("get", "5", "-")

    assert (DATA, b"") == (result.stdout_bytes, result.stderr_bytes)


def test_get_fetches_many_files_one_after_another(site: Site) -> None:
    site.store(5, b"one")
    site.store(6, b"two")

    result = site.run("get", "5", "-", "6", "-")

    assert b"onetwo" == result.stdout_bytes


def test_get_leaves_no_temporary_file(site: Site) -> None:
    site.store(5, b"x")

    site.run("get", "5", "target")

    assert ["target"] == names()


def test_get_replaces_a_file(site: Site) -> None:
    site.store(5, b"new")
    write("target", b"old")

    site.run("get", "5", "target")

    assert b"new" == Path("target").read_bytes()


def test_get_keeps_a_private_file_private(site: Site) -> None:
    site.store(5, b"new")
    write("target", b"old").chmod(0o600)

    site.run("get", "5", "target")

    assert 0o600 == Path("target").stat().st_mode & 0o777


def test_get_makes_a_new_file_as_the_umask_allows(
    site: Site, request: pytest.FixtureRequest
) -> None:
    site.store(5, b"new")
    before = os.umask(0o027)
    request.addfinalizer(lambda: os.umask(before))

    site.run("get", "5", "target")

    assert 0o640 == Path("target").stat().st_mode & 0o777


def test_get_writes_through_a_symbolic_link(site: Site) -> None:
    site.store(5, b"new")
    Path("there").mkdir()
    Path("target").symlink_to("there/real")

    site.run("get", "5", "target")

    assert b"new" == Path("there/real").read_bytes()


def test_get_keeps_a_symbolic_link(site: Site) -> None:
    site.store(5, b"new")
    write("real", b"old")
    Path("target").symlink_to("real")

    site.run("get", "5", "target")

    assert Path("target").is_symlink()


def test_get_of_a_missing_id_makes_no_file(site: Site) -> None:
    result = site.run("get", "5", "target")

    assert (3, []) == (result.exit_code, names())


def test_get_that_fails_keeps_the_old_target(site: Site) -> None:
    write("target", b"old")

    site.run("get", "5", "target")

    assert b"old" == Path("target").read_bytes()


def test_get_goes_on_after_a_file_that_fails(site: Site) -> None:
    site.store(6, b"two")

    result = site.run("get", "5", "one", "6", "two")

    assert (3, ["two"]) == (result.exit_code, names())


def test_get_into_a_directory_is_refused(site: Site) -> None:
    site.store(5, b"x")

    result = site.run("get", "5", ".")

    expected = (15, "pacifica-archive: file 5: .: Is a directory\n")
    assert expected == (result.exit_code, result.stderr)


def test_get_into_a_directory_that_is_not_there_is_refused(site: Site) -> None:
    site.store(5, b"x")

    result = site.run("get", "5", "none/target")

    expected = "pacifica-archive: file 5: none/target: No such file or directory\n"
    assert (15, expected) == (result.exit_code, result.stderr)


def test_get_of_a_file_on_tape_is_refused(site: Site) -> None:
    site.store(5, b"x").with_suffix(".tape").touch()

    result = site.run("get", "5", "target")

    expected = "pacifica-archive: file 5: is on tape: stage it, then try again\n"
    assert (5, expected) == (result.exit_code, result.stderr)


def test_get_recalls_a_file_from_tape(site: Site) -> None:
    site.store(5, b"x").with_suffix(".tape").touch()

    site.run("get", "--recall", "5", "target")

    assert b"x" == Path("target").read_bytes()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("0-0", b"0"),
        ("2-4", b"234"),
        ("2-", b"23456789"),
        ("-3", b"789"),
        ("-99", b"0123456789"),
        ("8-99", b"89"),
        ("9-9223372036854775807", b"9"),
    ],
)
def test_get_fetches_a_range(site: Site, wanted: str, expected: bytes) -> None:
    site.store(5, b"0123456789")

    result = site.run("get", "--range", wanted, "5", "-")

    assert expected == result.stdout_bytes


def test_a_range_goes_over_blocks(site: Site) -> None:
    site.store(5, DATA)

    result = site.run("get", "--range", "5-199999", "5", "-")

    assert DATA[5:200_000] == result.stdout_bytes


@pytest.mark.parametrize("wanted", ["10-", "10-20"])
def test_a_range_behind_the_end_makes_no_file(site: Site, wanted: str) -> None:
    site.store(5, b"0123456789")

    result = site.run("get", "--range", wanted, "5", "target")

    assert (2, []) == (result.exit_code, names())


@pytest.mark.parametrize("wanted", ["0-", "-1"])
def test_an_empty_file_has_no_range(site: Site, wanted: str) -> None:
    site.store(5, b"")

    result = site.run("get", "--range", wanted, "5", "-")

    assert 2 == result.exit_code


@pytest.mark.parametrize(
    "wanted", ["", "-", "5", "4-2", "-0", "a-b", "1-2,4-5", "1--2", "bytes=1-2", "+1-2"]
)
def test_what_is_no_range_is_a_usage_error(site: Site, wanted: str) -> None:
    site.store(5, b"0123456789")

    result = site.run("get", f"--range={wanted}", "5", "-")

    assert (2, True) == (result.exit_code, "FIRST-LAST" in result.stderr)


def test_a_range_is_positions_in_the_file() -> None:
    assert range(2, 5) == ByteRange(2, 4).within(10)


def test_get_of_what_was_put_is_checked_and_right(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)

    result = site.run("get", "5", "target")

    assert (0, "", DATA) == (
        result.exit_code,
        result.stderr,
        Path("target").read_bytes(),
    )


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)


def test_get_of_a_flipped_bit_says_where_it_is(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)
    flip(site.prefix / "5")

    result = site.run("get", "5", "target")

    expected = (
        "pacifica-archive: file 5: sha-256 not as kept: on the medium: two readings"
        " agree, and neither is what was stored\n"
    )
    assert (10, expected) == (result.exit_code, result.stderr)


def test_get_of_a_bit_that_is_flipped_on_its_way_says_so(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)

    result = site.run("get", "-o", "flips=1", "5", "target")

    expected = (
        "pacifica-archive: file 5: sha-256 not as kept: on the way: a second reading"
        " was right\n"
    )
    assert (10, expected) == (result.exit_code, result.stderr)


def test_get_of_a_flipped_bit_leaves_no_file(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)
    flip(site.prefix / "5")

    site.run("get", "5", "target")

    assert [] == names()


def test_get_of_a_flipped_bit_keeps_the_old_target(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)
    flip(site.prefix / "5")
    write("target", b"old")

    site.run("get", "5", "target")

    assert b"old" == Path("target").read_bytes()


def test_get_of_a_flipped_bit_to_standard_output_is_told_by_the_code(
    site: Site,
) -> None:
    """The bytes are gone when the difference is known."""
    site.run("put", "5", "-", stdin=DATA)
    flip(site.prefix / "5")

    result = site.run("get", "5", "-")

    assert (10, len(DATA)) == (result.exit_code, len(result.stdout_bytes))


def test_get_goes_on_after_a_flipped_bit(site: Site) -> None:
    site.run("put", "5", "-", stdin=DATA)
    flip(site.prefix / "5")
    site.run("put", "6", "-", stdin=DATA)

    result = site.run("get", "5", "one", "6", "two")

    assert (10, ["two"]) == (result.exit_code, names())


def test_get_checks_every_digest_that_is_kept_and_known(site: Site) -> None:
    site.store(5, DATA)
    keep(site, 5, sha_256=SHA, md5=bytes(16), crc32c=b"four")

    result = site.run("get", "5", "target")

    expected = (
        "pacifica-archive: file 5: md5 not as kept: kept wrong, as the bytes are"
        " right by sha-256\n"
    )
    assert (10, expected) == (result.exit_code, result.stderr)


@pytest.mark.parametrize("args", [("--no-check",), ("--range", "0-")])
def test_get_compares_nothing_when_told_so_or_of_a_range(
    site: Site, args: tuple[str, ...]
) -> None:
    site.store(5, DATA)
    keep(site, 5, sha_256=bytes(32))

    result = site.run("get", *args, "5", "target")

    assert (0, DATA) == (result.exit_code, Path("target").read_bytes())


def test_get_compares_nothing_where_no_known_digest_is_kept(site: Site) -> None:
    site.store(5, DATA)
    keep(site, 5, crc32c=b"four")

    result = site.run("get", "5", "target")

    assert (0, "") == (result.exit_code, result.output)
