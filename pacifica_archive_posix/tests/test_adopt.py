"""What adopt takes, and from where."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

import attrs
import pytest
from clocks import TICK_NS, let_tick
from scenes import (
    DIGESTED,
    DIGESTS,
    NEW,
    OLD,
    SINGLE,
    attributes,
    digested,
    put,
    set_single,
    store,
)
from syscalls import Calls, recorded

from pacifica_archive_core import CommitUnclear, FileExists, SourceRefused
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pacifica_archive_posix.incoming import IncomingFile

MTIME_NS = 1_000_000_001


@pytest.fixture(params=[False, True], ids=["flat", "nested"])
def options(tmp_path: Path, request: pytest.FixtureRequest) -> PosixOptions:
    for name in ("archive", "inbox"):
        (tmp_path / name).mkdir()
    return PosixOptions(
        prefix=tmp_path / "archive",
        use_id2filename=request.param,
        adopt_roots=(tmp_path / "archive", tmp_path / "inbox"),
    )


@pytest.fixture
def archive(options: PosixOptions) -> Iterator[PosixArchive]:
    with PosixArchive(options) as archive:
        yield archive


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "inbox" / "deep" / "source"
    path.parent.mkdir(parents=True)
    path.write_bytes(NEW)
    os.utime(path, ns=(0, MTIME_NS))
    return path


def raw(archive: PosixArchive, file_id: int = 1) -> os.stat_result:
    return archive.local_path(file_id).stat()


def test_an_adopted_file_is_the_same_inode(archive: PosixArchive, source: Path) -> None:
    """Terabytes are not copied."""
    before = source.stat()
    archive.adopt(1, str(source))
    after = raw(archive)

    assert (before.st_ino, MTIME_NS, 0o100444, 1) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_mode,
        after.st_nlink,
    )


def test_a_file_is_copied_across_file_systems(
    archive: PosixArchive, memory: Path
) -> None:
    source = memory / "source"
    source.write_bytes(NEW)
    os.utime(source, ns=(0, MTIME_NS))
    options = attrs.evolve(archive.options, adopt_roots=(memory,))
    with PosixArchive(options) as own:
        own.adopt(1, str(source))
        data = own.local_path(1).read_bytes()

    assert (NEW, MTIME_NS, 0o100444, False) == (
        data,
        raw(archive).st_mtime_ns,
        raw(archive).st_mode,
        source.exists(),
    )


def test_a_file_that_changes_while_it_is_copied_is_refused(
    archive: PosixArchive, memory: Path
) -> None:
    source = memory / "source"
    source.write_bytes(NEW)
    options = attrs.evolve(archive.options, adopt_roots=(memory,))
    with PosixArchive(options) as own:
        with recorded() as good:
            own.adopt(1, str(source))
        source.write_bytes(NEW)
        number = good.names.index("pread")
        before = source.stat().st_ctime_ns

        def change(_name: str) -> None:
            # Again in the next tick of the clock: kernels before 6.13 have no finer.
            while source.stat().st_ctime_ns == before:
                source.write_bytes(NEW[::-1])

        calls = Calls(first=number, last=number, disturb=change)
        with recorded(calls), pytest.raises(SourceRefused):
            own.adopt(2, str(source))

    assert NEW[::-1] == source.read_bytes()


def test_a_change_within_the_tick_of_a_slow_clock_is_seen(
    archive: PosixArchive, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Linux 6.13: else a mixture would be stored, and the source removed."""
    let_tick(monkeypatch, TICK_NS)
    source = memory / "source"
    source.write_bytes(NEW)
    options = attrs.evolve(archive.options, adopt_roots=(memory,))
    with PosixArchive(options) as own:
        with recorded() as good:
            own.adopt(1, str(source))
        number = good.names.index("pread")
        change = Calls(
            first=number, last=number, disturb=lambda _: source.write_bytes(NEW[::-1])
        )
        source.write_bytes(NEW)
        with recorded(change), pytest.raises(SourceRefused):
            own.adopt(2, str(source))

    assert NEW[::-1] == source.read_bytes()


def test_a_file_with_two_names_is_not_copied(
    archive: PosixArchive, memory: Path
) -> None:
    """As on one file system, though no link gives it away."""
    source = memory / "source"
    source.write_bytes(NEW)
    (memory / "other").hardlink_to(source)
    options = attrs.evolve(archive.options, adopt_roots=(memory,))
    with PosixArchive(options) as own, pytest.raises(SourceRefused):
        own.adopt(1, str(source))

    assert source.exists()


def with_digests(
    source: Path, *, size: int = len(NEW), mtime_ns: int = MTIME_NS
) -> Path:
    """Let a source have digests, as if an archive had kept them."""
    os.setxattr(source, DIGESTED, digested(size=size, mtime_ns=mtime_ns))
    return source


def test_digests_that_are_proven_are_kept(archive: PosixArchive, source: Path) -> None:
    archive.adopt(1, str(with_digests(source)))

    assert (DIGESTS, {DIGESTED: digested(mtime_ns=MTIME_NS)}) == (
        archive.digests(1),
        attributes(archive.local_path(1)),
    )


@pytest.mark.parametrize(
    "proof", [{"size": 1}, {"mtime_ns": MTIME_NS + 1}], ids=["size", "mtime"]
)
def test_digests_that_may_be_of_other_bytes_are_dropped(
    archive: PosixArchive, source: Path, proof: dict[str, int]
) -> None:
    """Attributes of others are the file's own."""
    with_digests(source, **proof)
    os.setxattr(source, "user.other", b"kept")
    archive.adopt(1, str(source))

    assert ({}, ["user.other"]) == (
        archive.digests(1),
        os.listxattr(archive.local_path(1)),
    )


def test_digests_of_a_tree_of_before_are_dropped(
    archive: PosixArchive, source: Path
) -> None:
    """Nothing proves them."""
    set_single(source, DIGESTS)
    archive.adopt(1, str(source))

    assert ({}, {}) == (archive.digests(1), attributes(archive.local_path(1)))


@pytest.mark.parametrize(
    ("proof", "kept"), [({}, DIGESTS), ({"size": 1}, {})], ids=["proven", "unproven"]
)
def test_digests_are_copied_across_file_systems_if_they_are_proven(
    archive: PosixArchive, memory: Path, proof: dict[str, int], kept: dict[str, bytes]
) -> None:
    source = memory / "source"
    source.write_bytes(NEW)
    os.utime(source, ns=(0, MTIME_NS))
    try:
        with_digests(source, **proof)
    except OSError:
        pytest.skip("lacks extended attributes in memory")
    options = attrs.evolve(archive.options, adopt_roots=(memory,))
    with PosixArchive(options) as own:
        own.adopt(1, str(source))

    assert kept == archive.digests(1)


def test_a_source_with_digests_is_adopted_by_as_many_calls_but_one(
    archive: PosixArchive, source: Path
) -> None:
    with recorded() as calls:
        archive.adopt(1, str(with_digests(source)))
    found = [name for name in calls.names if "xattr" in name]

    assert ["listxattr", "getxattr"] == found


def test_nothing_that_a_source_has_of_an_archived_file_is_kept(
    archive: PosixArchive, source: Path
) -> None:
    """A copy of one, made with its attributes, is not the file that it is of."""
    os.setxattr(source, "user.pacifica_archive.version", b"another's")
    archive.adopt(1, str(source))

    assert [] == os.listxattr(archive.local_path(1))


def test_a_source_that_is_not_taken_is_left_as_it_was(
    archive: PosixArchive, source: Path
) -> None:
    """Though it is sealed before it is known that another was faster."""
    set_single(source, {"md5": bytes(16)})
    source.chmod(0o640)

    with recorded() as good:
        archive.adopt(1, str(source))
    archive.local_path(1).chmod(0o640)
    archive.local_path(1).rename(source)
    set_single(source, {"md5": bytes(16)})
    number = good.switch
    race = Calls(first=number, last=number, disturb=lambda _: store(archive, 1, OLD))
    with recorded(race), pytest.raises(FileExists):
        archive.adopt(1, str(source))

    assert (0o640, {SINGLE + "md5": bytes(16)}, 1) == (
        stat.S_IMODE(source.stat().st_mode),
        attributes(source),
        source.stat().st_nlink,
    )


def test_a_source_that_is_not_taken_has_its_mode_where_there_are_no_attributes(
    options: PosixOptions, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a backend over this one would give it some."""

    class MarkingArchive(PosixArchive):
        def _attributes(self) -> dict[str, bytes]:
            return {"user.mark": b"x"}

        def _publish(self, file_id: int, _file: IncomingFile, **_: bool) -> None:  # type: ignore[override] # called so
            raise FileExists(file_id)

    def listxattr(_fd: int) -> list[str]:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    source.chmod(0o444)
    with MarkingArchive(options) as archive:
        monkeypatch.setattr(os, "listxattr", listxattr)
        with pytest.raises(FileExists):
            archive.adopt(1, str(source))

    assert 0o444 == stat.S_IMODE(source.stat().st_mode)


def test_after_an_unclear_adoption_no_digest_comes_back(
    archive: PosixArchive, source: Path
) -> None:
    set_single(source, {"md5": bytes(16)})
    with recorded() as good:
        archive.adopt(2, str(source))
    source.write_bytes(NEW)
    set_single(source, {"md5": bytes(16)})
    # The last but one: of the directory that the file has come to.
    number = [n for n, name in enumerate(good.names) if name == "fsync"][-2]

    def fail(_name: str) -> None:
        raise OSError(5, "Input/output error")

    with (
        recorded(Calls(first=number, last=number, disturb=fail)),
        pytest.raises(CommitUnclear),
    ):
        archive.adopt(3, str(source))

    assert {} == archive.digests(3)


# --- ids


def test_the_file_of_another_id_is_moved_when_allowed(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path, digests=DIGESTS)
    taken = archive.local_path(0x123456)
    with PosixArchive(attrs.evolve(archive.options, adopt_ids=True)) as own:
        own.adopt(1, str(taken))
        found = own.local_path(1).read_bytes(), own.digests(1), taken.exists()

    assert (NEW, DIGESTS, False) == found


def test_no_file_adopts_itself_though_ids_are_allowed(archive: PosixArchive) -> None:
    store(archive, 1, OLD)
    with (
        PosixArchive(attrs.evolve(archive.options, adopt_ids=True)) as own,
        pytest.raises(SourceRefused, match="this very"),
    ):
        own.adopt(1, own.status(1).path, overwrite=True)

    assert OLD == archive.local_path(1).read_bytes()


def test_an_archived_file_is_known_by_any_way_to_it(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """Here a root that is a symlink; a bind mount would be the same."""
    store(archive, 0x3039, OLD)
    inside = archive.local_path(0x3039)
    (tmp_path / "way").symlink_to(inside.parent)
    options = attrs.evolve(archive.options, adopt_roots=(tmp_path / "way",))
    with PosixArchive(options) as own, pytest.raises(SourceRefused, match="another id"):
        own.adopt(1, str(tmp_path / "way" / inside.name))

    assert OLD == inside.read_bytes()


@pytest.mark.parametrize("name", ["12", "0c", "file.c", "-5", "12345678901234567890"])
def test_a_name_like_an_id_s_is_adopted_elsewhere(
    archive: PosixArchive, tmp_path: Path, name: str
) -> None:
    """It is the file that counts, not what it is called."""
    store(archive, 12, OLD)
    (tmp_path / "inbox" / name).write_bytes(NEW)
    archive.adopt(1, str(tmp_path / "inbox" / name))

    assert (NEW, OLD) == (
        archive.local_path(1).read_bytes(),
        archive.local_path(12).read_bytes(),
    )


# --- what belongs to the archive


def test_an_unfinished_file_is_not_adopted(archive: PosixArchive) -> None:
    with archive.create(5) as writer:
        writer.write(NEW)
        (path,) = (archive.options.prefix / ".incoming").iterdir()
        with pytest.raises(SourceRefused):
            archive.adopt(1, str(path))

    assert NEW == archive.local_path(5).read_bytes()


def test_an_unfinished_file_is_not_adopted_by_way_of_a_root(
    archive: PosixArchive,
) -> None:
    """Or of one that is a symlink to ``.incoming``."""
    incoming = archive.options.prefix / ".incoming"
    (incoming / "left").write_bytes(OLD)
    (archive.options.prefix.parent / "way").symlink_to(incoming)
    roots = (incoming, archive.options.prefix.parent / "way")
    with PosixArchive(attrs.evolve(archive.options, adopt_roots=roots)) as own:
        for root in roots:
            with pytest.raises(SourceRefused):
                own.adopt(1, str(root / "left"))

    assert OLD == (incoming / "left").read_bytes()


def test_the_marker_is_not_adopted(archive: PosixArchive) -> None:
    marker = archive.options.prefix / ".pacifica-archive.json"
    with pytest.raises(SourceRefused):
        archive.adopt(1, str(marker))

    assert marker.exists()


# --- paths


@pytest.mark.parametrize(
    "form",
    ["{inbox}//deep/source", "{inbox}/./deep/./source", "/{inbox}/deep/source/"],
)
def test_one_path_may_be_written_in_ways(
    archive: PosixArchive, source: Path, form: str
) -> None:
    archive.adopt(1, form.format(inbox=source.parent.parent))

    assert NEW == archive.local_path(1).read_bytes()


@pytest.mark.parametrize("form", ["{inbox}/deep/../deep/source", "{inbox}"])
def test_what_leads_back_or_is_a_root_is_refused(
    archive: PosixArchive, source: Path, form: str
) -> None:
    with pytest.raises(SourceRefused):
        archive.adopt(1, form.format(inbox=source.parent.parent))


def test_a_root_is_no_prefix_of_a_name(archive: PosixArchive, tmp_path: Path) -> None:
    """/inbox2 is not below /inbox."""
    (tmp_path / "inbox2").mkdir()
    (tmp_path / "inbox2" / "source").write_bytes(NEW)

    with pytest.raises(SourceRefused):
        archive.adopt(1, str(tmp_path / "inbox2" / "source"))


def test_the_prefix_is_the_root_by_default(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        archive.adopt(1, str(tmp_path / "source"))

        assert NEW == archive.local_path(1).read_bytes()


def test_no_roots_adopt_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)
    with (
        PosixArchive(PosixOptions(prefix=tmp_path, adopt_roots=())) as archive,
        pytest.raises(SourceRefused),
    ):
        archive.adopt(1, str(tmp_path / "source"))


@pytest.mark.parametrize("kind", ["fifo", "symlinked directory"])
def test_a_way_of_no_files_is_refused_at_once(
    archive: PosixArchive, source: Path, kind: str
) -> None:
    path = source.parent / "way"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(source.parent)
        path /= "source"

    with pytest.raises(SourceRefused):
        archive.adopt(1, str(path))


def test_a_source_that_is_locked_is_refused(
    archive: PosixArchive, source: Path
) -> None:
    """Another adoption of it has begun, or its owner is at work."""
    with source.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(SourceRefused):
            archive.adopt(1, str(source))

    assert source.exists()


def test_a_source_swapped_after_the_checks_is_not_taken(
    archive: PosixArchive, source: Path, tmp_path: Path
) -> None:
    """What was checked is what is linked, or nothing is."""
    secret = tmp_path / "secret"
    secret.write_bytes(OLD)

    def swap(_name: str) -> None:
        source.rename(source.parent / "aside")
        source.symlink_to(secret)

    with recorded() as good:
        archive.adopt(1, str(source))
    source.write_bytes(NEW)
    number = good.names.index("link")
    with (
        recorded(Calls(first=number, last=number, disturb=swap)),
        pytest.raises(SourceRefused),
    ):
        archive.adopt(2, str(source))

    assert (NEW, OLD, True) == (
        (source.parent / "aside").read_bytes(),
        secret.read_bytes(),
        source.is_symlink(),
    )


@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_what_is_put_there_at_the_last_moment_is_not_taken(
    archive: PosixArchive, source: Path, tmp_path: Path, kind: str
) -> None:
    """A symlink would lead elsewhere, and the opening of a FIFO never end."""
    secret = tmp_path / "inbox" / "secret"
    secret.write_bytes(OLD)

    def swap(_name: str) -> None:
        source.unlink()
        if kind == "symlink":
            source.symlink_to(secret)
        else:
            os.mkfifo(source)

    with recorded() as good:
        archive.adopt(1, str(source))
    source.write_bytes(NEW)
    number = next(
        number
        for number, call in enumerate(good.seen)
        if call.name == "open" and call.args[0] == source.name
    )
    with (
        recorded(Calls(first=number, last=number, disturb=swap)),
        pytest.raises(SourceRefused),
    ):
        archive.adopt(2, str(source))

    assert secret.exists()


def test_a_name_given_to_another_file_is_not_removed(
    archive: PosixArchive, source: Path
) -> None:
    """By its owner, between the switch and the removal of the source."""

    def swap(_name: str) -> None:
        source.unlink()
        source.write_bytes(OLD)

    with recorded() as good:
        archive.adopt(1, str(source))
    source.write_bytes(NEW)
    number = len(good.names) - 1 - good.names[::-1].index("stat")
    with recorded(Calls(first=number, last=number, disturb=swap)):
        archive.adopt(2, str(source))

    assert (NEW, OLD) == (archive.local_path(2).read_bytes(), source.read_bytes())
