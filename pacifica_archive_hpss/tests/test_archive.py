"""What an archive does beyond the contract: options, limits, and unlucky moments."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import pytest
from scenes import FILE_ID, NEW, OLD, Place, places

from pacifica_archive_core import (
    AccessDenied,
    ArchiveUnavailable,
    ConfigError,
    FileDamaged,
    FileOffline,
    IncompleteWrite,
    load_options,
)
from pacifica_archive_core.testing.base import fetch, forget, refusal, store
from pacifica_archive_hpss import HpssArchive, HpssOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    T = TypeVar("T")

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def place() -> Iterator[Place]:
    with places() as new_place:
        place = new_place()
        place.simulator.counters(reset=True)
        yield place
    after = place.simulator.counters(reset=True)

    assert ([], 0, 0) == (after["violations"], after["open_files"], after["pvlists"])


@pytest.fixture
def archive(place: Place) -> Iterator[HpssArchive]:
    with HpssArchive(place.options()) as archive:
        yield archive


def calls(place: Place, function: str) -> int:
    return place.simulator.counters()["calls"].get(f"hpss_{function}", 0)


def wait_for_call(place: Place, function: str) -> None:
    end = time.monotonic() + 30
    while calls(place, function) == 0 and time.monotonic() < end:
        time.sleep(0.001)


# --- options


def test_a_prefix_that_is_not_there_is_not_made(place: Place) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        HpssArchive(place.options(prefix=f"{place.prefix}/missing"))

    assert [] == [entry for entry in place.files() if "missing" in entry]


def test_a_prefix_that_is_a_file_is_refused(place: Place) -> None:
    place.put(f"{place.prefix}/file", OLD)

    with pytest.raises(ConfigError, match="prefix"):
        HpssArchive(place.options(prefix=f"{place.prefix}/file"))


def test_a_prefix_may_be_a_symlink(place: Place) -> None:
    place.simulator.mkdir(f"{place.prefix}/real")
    place.simulator.symlink(f"{place.prefix}/real", f"{place.prefix}/link")
    with HpssArchive(place.options(prefix=f"{place.prefix}/link")) as archive:
        store(archive, FILE_ID, NEW)

    assert NEW == place.content(f"{place.prefix}/real{place.name()}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", "relative"),
        ("prefix", "/a/../b"),
        ("prefix", ""),
        ("prefix", "/a\0b"),
        ("user", ""),
        ("mechanism", "gsi"),
        ("accept_latency_s", "0"),
        ("class_of_service", "0"),
        ("class_of_service", "fast"),
        ("buffer_size", "0"),
        ("callback_address", "host"),
        ("callback_address", "host:0"),
        ("callback_address", ":80"),
        ("max_open_files", "0"),
        ("adopt_roots", "/ok:relative"),
        ("recall_timeout_s", "-1"),
    ],
)
def test_a_wrong_option_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"option '{name}'"):
        load_options(HpssArchive, given={"prefix": "/archive", name: value})


def test_options_are_those_of_the_strings(tmp_path: Path) -> None:
    config = tmp_path / "config.cfg"
    config.write_text("[hpss]\nuser = me\nauth = /key\naccept_latency = 3\n")
    expected = HpssOptions(
        prefix="/archive",
        user="me",
        auth="/key",
        accept_latency_s=3,
        class_of_service=6,
        adopt_roots=("/a", "/b/c"),
        callback_address="[::1]:80",
    )
    given = {
        "prefix": "//archive/",
        "class_of_service": "6",
        "adopt_roots": "/a/:/b//c",
        "callback_address": "[::1]:80",
    }

    assert expected == load_options(HpssArchive, file=config, given=given)


def test_it_says_that_it_is_the_simulator() -> None:
    assert "simulator, not HPSS" == HpssArchive.remark()


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ({}, len(NEW), 6),
        # Of a class for files of up to a MiB no more is promised than it takes.
        ({}, 2 << 20, 1),
        ({}, None, 1),
        ({"class_of_service": 2}, len(NEW), 2),
        ({"class_of_service": 2}, None, 2),
    ],
    ids=["small", "large", "unknown", "given", "given-unknown"],
)
def test_a_new_file_is_of_the_class_for_its_size_or_of_the_one_given(
    place: Place, options: dict[str, object], size: int | None, expected: int
) -> None:
    with HpssArchive(place.options(**options)) as archive:
        with archive.create(FILE_ID, size=size) as writer:
            writer.write(bytes(len(NEW) if size is None else size))
        (entry,) = place.simulator.ls(place.path())

    assert expected == entry["cos"]


# --- a prefix that cannot be written to


@pytest.fixture
def read_only(place: Place) -> Iterator[HpssArchive]:
    place.put(place.path(), OLD)
    place.simulator.rule("Mkdir:1:-EACCES")
    with HpssArchive(place.options()) as archive:
        yield archive


def test_an_archive_that_cannot_be_written_to_is_read(read_only: HpssArchive) -> None:
    assert OLD == fetch(read_only, FILE_ID)


def test_an_archive_that_cannot_be_written_to_takes_nothing(
    read_only: HpssArchive, place: Place
) -> None:
    place.put(f"{place.prefix}/inbox/source", NEW)
    found = [
        type(refusal(read_only.create, 1)),
        type(refusal(read_only.adopt, 1, f"{place.prefix}/inbox/source")),
    ]

    assert [AccessDenied, AccessDenied] == found


# --- check


def test_a_check_that_takes_too_long_fails(place: Place) -> None:
    with HpssArchive(place.options(accept_latency_s=0.02)) as archive:
        place.simulator.knob("delay_ms", 50)
        with pytest.raises(ArchiveUnavailable, match="has not answered"):
            archive.check()


def test_a_check_that_is_never_answered_fails_in_time(place: Place) -> None:
    """However often it is asked: health probes must not take all threads."""
    with HpssArchive(place.options(accept_latency_s=0.2)) as archive:
        place.simulator.rule("Lstat@/:*:hang")
        place.simulator.counters(reset=True)
        answers = [type(refusal(archive.check)) for _ in range(3)]
        asked = calls(place, "Lstat")
        place.simulator.clear_rules()
        end = time.monotonic() + 30
        while refusal(archive.check) is not None and time.monotonic() < end:
            continue

        assert ([ArchiveUnavailable] * 3, 1, None) == (
            answers,
            asked,
            refusal(archive.check),
        )


def test_a_check_does_not_compare_clocks(place: Place) -> None:
    """Release 0.4.2 did, and refused to work when they differed."""
    place.simulator.knob("ping_skew_s", 3600)
    with HpssArchive(place.options(sitename="site")) as archive:
        archive.check()

    assert 1 == calls(place, "PingCore")


def test_a_check_without_a_site_looks_at_the_root(
    archive: HpssArchive, place: Place
) -> None:
    place.simulator.counters(reset=True)
    archive.check()

    assert (1, 0) == (calls(place, "Lstat"), calls(place, "PingCore"))


# --- open files


@pytest.fixture
def narrow(place: Place) -> Iterator[HpssArchive]:
    """Return an archive that may have one file open."""
    place.put(place.path(), OLD)
    with HpssArchive(place.options(max_open_files=1)) as archive:
        yield archive


def test_more_open_files_than_allowed_are_refused(narrow: HpssArchive) -> None:
    with narrow.open(FILE_ID):
        found = [
            type(refusal(narrow.open, FILE_ID)),
            type(refusal(narrow.create, 1)),
        ]

    assert [ArchiveUnavailable] * 2 == found


def test_what_is_refused_leaves_the_file_that_is_open(narrow: HpssArchive) -> None:
    with narrow.open(FILE_ID) as reader:
        refusal(narrow.open, FILE_ID)

        assert OLD == reader.readall()


@pytest.mark.parametrize("rule", ["Open:1:-EIO", "Close:1:-EBUSY", "Read:1:-EIO"])
def test_a_failure_takes_no_place_for_good(
    narrow: HpssArchive, place: Place, rule: str
) -> None:
    place.simulator.rule(rule)
    refusal(fetch, narrow, FILE_ID)
    place.simulator.clear_rules()

    assert [OLD, OLD] == [fetch(narrow, FILE_ID), fetch(narrow, FILE_ID)]


def test_a_writer_gives_its_place_back_once(narrow: HpssArchive) -> None:
    """Else one more could be open than is allowed."""
    store(narrow, 1, NEW)
    writer = narrow.create(2)
    writer.discard()
    writer.discard()
    with narrow.open(FILE_ID):
        found = type(refusal(narrow.open, FILE_ID))

    assert ArchiveUnavailable is found


def test_a_forgotten_reader_gives_its_descriptor_back(narrow: HpssArchive) -> None:
    readers = [narrow.open(FILE_ID)]
    with pytest.warns(ResourceWarning, match="unclosed"):
        forget(readers)

    assert OLD == fetch(narrow, FILE_ID)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("act", ["open", "create"])
def test_an_interrupt_in_an_open_leaves_nothing_open(
    narrow: HpssArchive, place: Place, act: str
) -> None:
    """It is raised as soon as C has returned the descriptor."""
    place.simulator.rule("Open:1:hang")
    place.simulator.counters(reset=True)
    main = threading.get_ident()

    def disturb() -> None:
        wait_for_call(place, "Open")
        signal.pthread_kill(main, signal.SIGUSR1)
        place.simulator.clear_rules()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(disturb)
            with pytest.raises(KeyboardInterrupt):
                getattr(narrow, act)(FILE_ID)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (0, [], OLD) == (
        place.simulator.counters()["open_files"],
        place.incoming(),
        fetch(narrow, FILE_ID),
    )


# --- what happens between two calls


def meanwhile(
    place: Place, rule: str, act: Callable[[], T], other: Callable[[], object]
) -> T:
    """Let another act be done while a call of the first one hangs."""
    function = rule.partition("@")[0]
    place.simulator.rule(f"{rule}:1:hang")
    place.simulator.counters(reset=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(act)
        try:
            wait_for_call(place, function)
            other()
        finally:
            place.simulator.clear_rules()
        return answer.result(30)


def replace_elsewhere(place: Place) -> None:
    """Replace the file as another process does: this one knows nothing of it."""
    place.simulator.remove(place.path())
    place.put(place.path(), NEW)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_reader_has_the_status_of_what_was_opened(
    archive: HpssArchive, place: Place, where: str
) -> None:
    """Though the file was replaced between the look and the open."""
    store(archive, FILE_ID, OLD)
    reader = meanwhile(
        place,
        f"Open@{place.path()}",
        lambda: archive.open(FILE_ID),
        lambda: (
            store(archive, FILE_ID, NEW)
            if where == "here"
            else replace_elsewhere(place)
        ),
    )
    with reader:
        found = reader.readall()

    assert (NEW, archive.status(FILE_ID)) == (found, reader.status)


def purge(place: Place) -> None:
    """Leave the file on tape only."""
    place.simulator.migrate(place.path())
    place.simulator.purge(place.path())


def test_a_file_that_is_purged_meanwhile_is_not_opened(
    archive: HpssArchive, place: Place
) -> None:
    """HPSS opens it all the same, and its first read waits for a tape."""
    store(archive, FILE_ID, OLD)

    with pytest.raises(FileOffline):
        meanwhile(
            place,
            f"Open@{place.path()}",
            lambda: archive.open(FILE_ID),
            lambda: purge(place),
        )

    assert 0 == place.simulator.counters()["open_files"]


def test_a_look_at_an_archive_closed_meanwhile_is_answered(
    archive: HpssArchive, place: Place
) -> None:
    """The login is not the archive's."""
    store(archive, FILE_ID, OLD)
    status = meanwhile(
        place,
        f"FileGetXAttributes@{place.path()}",
        lambda: archive.status(FILE_ID),
        archive.close,
    )

    assert len(OLD) == status.size


def test_a_read_of_an_archive_closed_meanwhile_ends(
    archive: HpssArchive, place: Place
) -> None:
    store(archive, FILE_ID, OLD)
    with archive.open(FILE_ID) as reader:
        block = meanwhile(place, "Read", lambda: reader.read(100), archive.close)
        after = type(refusal(reader.read, 100))

    assert (OLD[:100], ValueError) == (block, after)


def test_a_commit_to_an_archive_closed_meanwhile_ends(
    archive: HpssArchive, place: Place
) -> None:
    writer = archive.create(FILE_ID)
    writer.write(NEW)
    meanwhile(place, "Link", writer.commit, archive.close)

    assert NEW == place.content(place.path())


def test_directories_that_were_removed_are_made_again(
    archive: HpssArchive, place: Place
) -> None:
    store(archive, FILE_ID, OLD)
    archive.delete(FILE_ID)
    for name in ("56/34", "56"):
        place.simulator.remove(f"{place.prefix}/{name}")
    store(archive, FILE_ID, NEW)

    assert NEW == fetch(archive, FILE_ID)


def test_an_incoming_that_was_removed_is_made_again(
    archive: HpssArchive, place: Place
) -> None:
    place.simulator.remove(f"{place.prefix}/.incoming")
    store(archive, FILE_ID, NEW)

    assert NEW == fetch(archive, FILE_ID)


def test_a_deleted_file_is_not_put_back_where_a_rename_does_not_replace(
    archive: HpssArchive, place: Place
) -> None:
    """The one that was replaced is aside until it is removed, and that may fail."""
    place.simulator.knob("rename_replaces", 0)
    store(archive, FILE_ID, OLD)
    place.simulator.rule("Unlink:1+:-EIO")
    store(archive, FILE_ID, NEW)
    place.simulator.clear_rules()
    archive.delete(FILE_ID)
    HpssArchive(place.options()).close()

    assert place.found() is None


# --- replies that are lost on the way


@pytest.mark.parametrize("code", ["EINTR", "EHOSTUNREACH", "ETIMEDOUT"])
def test_a_replacement_whose_reply_was_lost_is_seen_to_be_done(
    archive: HpssArchive, place: Place, code: str
) -> None:
    """A signal or a route that is gone is no proof that nothing was done."""
    store(archive, FILE_ID, OLD)
    place.simulator.rule(f"Rename:1:lost-{code}")
    store(archive, FILE_ID, NEW)

    assert (NEW, []) == (place.found(), place.incoming())


@pytest.mark.parametrize("code", ["EINTR", "EHOSTUNREACH", "ETIMEDOUT"])
def test_a_delete_whose_reply_was_lost_is_seen_to_be_done(
    archive: HpssArchive, place: Place, code: str
) -> None:
    store(archive, FILE_ID, OLD)
    place.simulator.rule(f"Unlink:1:lost-{code}")
    archive.delete(FILE_ID)

    assert place.found() is None


def test_a_read_that_a_signal_ended_is_made_again(
    archive: HpssArchive, place: Place
) -> None:
    store(archive, FILE_ID, NEW)
    place.simulator.rule("Read:1:-EINTR")

    assert NEW == fetch(archive, FILE_ID)


# --- what is too big, and what is no file


def test_a_promise_of_more_than_hpss_counts_is_one_all_the_same(
    archive: HpssArchive,
) -> None:
    with pytest.raises(IncompleteWrite):
        archive.create(FILE_ID, size=2**63).commit()


def test_a_directory_is_not_said_to_be_staged(
    archive: HpssArchive, place: Place
) -> None:
    place.simulator.mkdir(place.path())

    with pytest.raises(FileDamaged):
        archive.stage(FILE_ID)
