"""How many calls each operation makes, by the counters of the simulator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from counts import COUNTS, table
from scenes import BUFFER, DIGESTS, FILE_ID, NEIGHBOUR, OLD, Place, places, session

from pacifica_archive_core import ArchiveError
from pacifica_archive_hpss import HpssArchive
from pacifica_archive_hpss._hpss import lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


#: Calls within this process, which go with any other, as do those named API_...
COSTLESS = {
    "hpss_ClearLastHPSSErrno",
    "hpss_GetLastHPSSErrno",
    "hpss_ErrnoName",
    "hpss_ErrnoString",
    "hpss_ChompXMLHeader",
}
#: What asks after a request, by the names of older headers.
STATES = dict.fromkeys(
    ("hpss_GetBatchAsynchStatus", "hpss_GetAsynchStatus"), "hpss_GetAsyncStatus"
)


class Counted:
    """An archive that has stored in its directory before, and what it calls."""

    def __init__(self, place: Place, archive: HpssArchive) -> None:
        self.place = place
        self.archive = archive

    def put(
        self,
        size: int,
        *,
        file_id: int = FILE_ID,
        overwrite: bool = True,
        digests: bool = False,
    ) -> None:
        with self.archive.create(file_id, size=size, overwrite=overwrite) as writer:
            if digests:
                writer.digests.update(DIGESTS)
            for start in range(0, size, BUFFER):
                writer.write(bytes(min(BUFFER, size - start)))

    def purged(self, *file_ids: int) -> None:
        paths = [self.place.path(file_id) for file_id in file_ids]
        self.place.simulator.migrate(*paths)
        self.place.simulator.purge(*paths)

    def source(self, name: str, *, mode: int = 0o444) -> str:
        """Make a file that is to be adopted."""
        path = f"{self.place.prefix}/{name}"
        self.place.put(path, OLD)
        self.place.chmod(path, mode)
        return path

    def calls(self, act: Callable[[], object]) -> dict[str, int]:
        """Return what an act calls."""
        self.place.simulator.counters(reset=True)
        act()
        return {
            STATES.get(name, name).removeprefix("hpss_"): count
            for name, count in self.place.simulator.counters()["calls"].items()
            if name.startswith("hpss_") and name not in COSTLESS
        }


@pytest.fixture
def new_place() -> Iterator[Callable[[], Place]]:
    with places() as new_place:
        yield new_place


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture
def counted(place: Place) -> Iterator[Counted]:
    with HpssArchive(place.options()) as archive:
        counted = Counted(place, archive)
        # What is learnt once is known from here on: the directory, and whether the
        # mode at create sticks.
        counted.put(1, file_id=NEIGHBOUR)
        yield counted


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_put_of_n_buffers_that_replaces_is_4_calls_and_n(
    counted: Counted, n: int
) -> None:
    calls = counted.calls(lambda: counted.put(n * BUFFER))

    assert COUNTS["put, replacing"].with_n(n) == calls


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_put_of_n_buffers_that_creates_only_is_5_calls_and_n(
    counted: Counted, n: int
) -> None:
    calls = counted.calls(lambda: counted.put(n * BUFFER, overwrite=False))

    assert COUNTS["put, creating only"].with_n(n) == calls


@pytest.mark.parametrize("size", [1, BUFFER - 1])
def test_a_promised_file_of_less_than_a_buffer_is_one_write(
    counted: Counted, size: int
) -> None:
    calls = counted.calls(lambda: counted.put(size))

    assert COUNTS["put, replacing"].with_n(1) == calls


def test_a_small_file_written_byte_by_byte_is_one_write(counted: Counted) -> None:
    def act() -> None:
        with counted.archive.create(FILE_ID, overwrite=True) as writer:
            for byte in OLD[:100]:
                writer.write(bytes([byte]))

    assert COUNTS["put, replacing"].with_n(1) == counted.calls(act)


def test_an_empty_file_is_no_write(counted: Counted) -> None:
    calls = counted.calls(lambda: counted.put(0))
    expected = COUNTS["put, replacing"].with_n(0)

    assert {name: count for name, count in expected.items() if count} == calls


def test_odd_blocks_are_written_as_whole_buffers(counted: Counted) -> None:
    """Of 3 buffers and a byte; what came in pieces is joined before it is sent."""

    def act() -> None:
        with counted.archive.create(FILE_ID, overwrite=True) as writer:
            for start in range(0, 3 * BUFFER + 1, 1000):
                writer.write(bytes(min(1000, 3 * BUFFER + 1 - start)))

    assert COUNTS["put, replacing"].with_n(4) == counted.calls(act)


def test_a_durable_put_is_one_call_more(place: Place) -> None:
    with HpssArchive(place.options(durable=True)) as archive:
        counted = Counted(place, archive)
        counted.put(1, file_id=NEIGHBOUR)
        calls = counted.calls(lambda: counted.put(BUFFER))

    assert COUNTS["put, durable"].with_n(1) == calls


def test_digests_are_two_calls_more(counted: Counted) -> None:
    calls = counted.calls(lambda: counted.put(BUFFER, digests=True))

    assert COUNTS["put, with digests"].with_n(1) == calls


@pytest.fixture
def forgetful(place: Place) -> Iterator[None]:
    """Have this process not know whether the mode at create sticks."""
    with HpssArchive(place.options()):
        session().mode_sticks = None
    yield
    session().mode_sticks = None


@pytest.mark.usefixtures("forgetful")
def test_the_first_put_of_a_process_looks_once_whether_the_mode_sticks(
    place: Place,
) -> None:
    with HpssArchive(place.options()) as archive:
        place.simulator.mkdir(place.path().rpartition("/")[0])
        counted = Counted(place, archive)
        calls = counted.calls(lambda: counted.put(BUFFER))

    assert COUNTS["put, the first one of a process"].with_n(1) == calls


@pytest.mark.usefixtures("forgetful")
def test_a_put_is_one_call_more_where_the_mode_at_create_does_not_stick(
    place: Place,
) -> None:
    place.simulator.knob("mode_at_create", 0)
    with HpssArchive(place.options()) as archive:
        counted = Counted(place, archive)
        counted.put(1, file_id=NEIGHBOUR)
        calls = counted.calls(lambda: counted.put(BUFFER))

    assert COUNTS["put, where the mode at create does not stick"].with_n(1) == calls


def test_directories_are_made_only_when_they_are_missed(counted: Counted) -> None:
    """Two of them; the next file in them makes none and looks for none."""
    other = 0xABCDEF
    calls = counted.calls(lambda: counted.put(BUFFER, file_id=other))

    assert COUNTS["put, into a directory that is not there"].with_n(1) == calls


def test_two_files_of_32_mib_buffers_are_two_writes(place: Place) -> None:
    """The default: 64 MiB, given in blocks of a server's 256 KiB."""
    block = bytes(MIB // 4)
    with HpssArchive(place.options(buffer_size=32 * MIB)) as archive:
        counted = Counted(place, archive)

        def act() -> None:
            with archive.create(FILE_ID, size=64 * MIB, overwrite=True) as writer:
                for _ in range(256):
                    writer.write(block)

        calls = counted.calls(act)

    assert 2 == calls["Write"]


def test_a_buffer_is_32_mib_by_default(place: Place) -> None:
    default = place.options()

    assert 32 * MIB == type(default)(prefix=place.prefix).buffer_size


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_get_of_n_buffers_is_4_calls_and_n(counted: Counted, n: int) -> None:
    counted.put(n * BUFFER)

    def act() -> None:
        with counted.archive.open(FILE_ID) as reader:
            while reader.read(BUFFER):
                pass

    assert COUNTS["get"].with_n(n) == counted.calls(act)


def test_a_get_from_tape_is_no_call_more(counted: Counted, place: Place) -> None:
    """In a class of service without disk, where a read waits for the tape."""
    place.put(place.path(), bytes(2 * BUFFER), cos=4)

    def act() -> None:
        with counted.archive.open(FILE_ID, recall=True) as reader:
            while reader.read(BUFFER):
                pass

    assert COUNTS["get"].with_n(2) == counted.calls(act)


def test_a_get_from_an_offset_seeks_once(counted: Counted) -> None:
    counted.put(4 * BUFFER)

    def act() -> None:
        with counted.archive.open(FILE_ID) as reader:
            reader.seek(BUFFER)
            while reader.read(BUFFER):
                pass

    assert COUNTS["get from an offset"].with_n(3) == counted.calls(act)


def test_a_seek_to_where_the_file_is_calls_nothing(counted: Counted) -> None:
    counted.put(2 * BUFFER)

    def act() -> None:
        with counted.archive.open(FILE_ID) as reader:
            reader.read(BUFFER)
            reader.seek(0)
            reader.seek(BUFFER)
            reader.read(BUFFER)

    assert COUNTS["get"].with_n(2) == counted.calls(act)


def test_a_status_is_one_call(counted: Counted) -> None:
    counted.put(BUFFER)
    calls = counted.calls(lambda: counted.archive.status(FILE_ID))

    assert COUNTS["status"].calls == calls


@pytest.mark.parametrize(
    ("action", "tries"),
    [
        ("-EBUSY", 3),
        ("-HPSS_ESTALE", 3),
        ("lost-ECONNRESET", 3),
        ("-EIO", 1),
        ("-ENOSPC", 1),
        ("-EINVAL", 1),
    ],
)
def test_a_question_is_asked_three_times_if_that_may_help(
    counted: Counted, action: str, tries: int
) -> None:
    """And with pauses between, so that a busy server is not made busier."""
    counted.put(BUFFER)
    counted.place.simulator.rule(f"FileGetXAttributes:*:{action}")

    def act() -> None:
        with pytest.raises(ArchiveError):
            counted.archive.status(FILE_ID)

    begun_s = time.monotonic()
    calls = counted.calls(act)
    waited_s = time.monotonic() - begun_s

    assert ({"FileGetXAttributes": tries}, True) == (
        calls,
        waited_s >= (0.25 if tries == 3 else 0),
    )


def test_a_delete_is_one_call(counted: Counted) -> None:
    counted.put(BUFFER)
    calls = counted.calls(lambda: counted.archive.delete(FILE_ID))

    assert COUNTS["delete"].calls == calls


def test_a_trash_is_a_look_and_a_rename(counted: Counted) -> None:
    counted.put(BUFFER)
    counted.archive.trash(FILE_ID)
    counted.put(BUFFER)
    calls = counted.calls(lambda: counted.archive.trash(FILE_ID))

    assert COUNTS["trash"].calls == calls


def test_the_first_trash_makes_its_directories(counted: Counted) -> None:
    counted.put(BUFFER)
    calls = counted.calls(lambda: counted.archive.trash(FILE_ID))

    assert COUNTS["trash, the first of 256 directories"].calls == calls


@pytest.fixture
def trashed(counted: Counted) -> Counted:
    """Have three files in one directory of the trash, and one in another."""
    for file_id in (FILE_ID, NEIGHBOUR, FILE_ID & 0xFF, 1):
        counted.put(1, file_id=file_id)
        counted.archive.trash(file_id)
    return counted


def test_an_undelete_lists_one_directory_of_the_trash(trashed: Counted) -> None:
    calls = trashed.calls(lambda: trashed.archive.undelete(FILE_ID))

    assert COUNTS["undelete, n names being in the directory"].with_n(3) == calls


@pytest.fixture
def three_trashed(trashed: Counted) -> Counted:
    """Have three files in the one directory that the trash has."""
    trashed.archive.undelete(1)
    trashed.place.simulator.remove(f"{trashed.place.prefix}/.trash/01")
    return trashed


def test_a_list_of_the_trash_looks_at_each_file(three_trashed: Counted) -> None:
    calls = three_trashed.calls(lambda: list(three_trashed.archive.trashed()))

    assert COUNTS["list of the trash, of one directory"].with_n(3) == calls


def test_an_emptying_of_the_trash_looks_at_each_file(three_trashed: Counted) -> None:
    calls = three_trashed.calls(lambda: three_trashed.archive.empty_trash(2**63))

    assert COUNTS["emptying of the trash, of one directory"].with_n(3) == calls


def test_an_emptying_of_the_trash_asks_nothing_of_what_is_young(
    three_trashed: Counted,
) -> None:
    """Its time is in its name."""
    calls = three_trashed.calls(lambda: three_trashed.archive.empty_trash(0))

    assert {"Lstat", "Unlink"}.isdisjoint(calls)


def test_a_stage_of_a_purged_file_is_three_calls(counted: Counted) -> None:
    counted.put(BUFFER)
    counted.purged(FILE_ID)
    calls = counted.calls(lambda: counted.archive.stage(FILE_ID))

    assert COUNTS["stage, on tape and not asked for"].calls == calls


def test_a_stage_of_a_file_that_is_asked_for_is_two_calls(counted: Counted) -> None:
    counted.place.simulator.speed(0)
    counted.put(BUFFER)
    counted.purged(FILE_ID)
    counted.archive.stage(FILE_ID)
    calls = counted.calls(lambda: counted.archive.stage(FILE_ID))

    assert COUNTS["stage, asked for already"].calls == calls


def test_a_stage_of_a_file_on_disk_is_one_call(counted: Counted) -> None:
    counted.put(BUFFER)
    calls = counted.calls(lambda: counted.archive.stage(FILE_ID))

    assert COUNTS["stage, on disk"].calls == calls


@pytest.mark.parametrize(
    ("overwrite", "row"),
    [(True, "adopt, replacing"), (False, "adopt, creating only")],
    ids=["replacing", "creating"],
)
def test_an_adopt_is_its_switch_and_a_look_at_each_component(
    counted: Counted,
    overwrite: bool,  # noqa: FBT001 (a parameter of pytest's)
    row: str,
) -> None:
    source = counted.source("source")
    calls = counted.calls(
        lambda: counted.archive.adopt(FILE_ID, source, overwrite=overwrite)
    )

    assert COUNTS[row].calls == calls


def test_an_adopt_gives_the_mode_only_where_it_is_another(counted: Counted) -> None:
    source = counted.source("source", mode=0o600)
    calls = counted.calls(
        lambda: counted.archive.adopt(FILE_ID, source, overwrite=True)
    )

    assert COUNTS["adopt, of another mode"].calls == calls


def test_an_adopt_looks_at_each_directory_below_the_root(counted: Counted) -> None:
    source = counted.source("a/b/c/source")
    calls = counted.calls(
        lambda: counted.archive.adopt(FILE_ID, source, overwrite=True)
    )

    assert COUNTS["adopt, three directories down"].calls == calls


@pytest.mark.parametrize("digests", [False, True], ids=["none", "some"])
def test_digests_are_two_calls(
    counted: Counted,
    digests: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """The second one proves that they are of this version, or that there is a file."""
    counted.put(BUFFER, digests=digests)
    calls = counted.calls(lambda: counted.archive.digests(FILE_ID))

    assert COUNTS["digests"].calls == calls


def test_digests_of_an_open_file_are_one_call(counted: Counted) -> None:
    counted.put(BUFFER, digests=True)
    with counted.archive.open(FILE_ID) as reader:
        calls = counted.calls(reader.digests)

    assert COUNTS["digests of an open file"].calls == calls


def test_a_record_of_digests_is_four_calls(counted: Counted) -> None:
    counted.put(BUFFER)
    version = counted.archive.status(FILE_ID).version
    calls = counted.calls(
        lambda: counted.archive.record_digests(FILE_ID, DIGESTS, version=version)
    )

    assert COUNTS["record digests"].calls == calls


def test_an_adoption_of_a_file_with_digests_is_as_any_other(counted: Counted) -> None:
    source = f"{counted.place.prefix}/source"
    counted.put(BUFFER, digests=True)
    session().call(lib.pah_rename, counted.place.path(), source)
    calls = counted.calls(
        lambda: counted.archive.adopt(FILE_ID, source, overwrite=True)
    )

    assert COUNTS["adopt, replacing"].calls == calls


def test_a_check_is_one_call(counted: Counted) -> None:
    calls = counted.calls(counted.archive.check)

    assert COUNTS["check"].calls == calls


def test_a_check_of_a_site_is_two_calls(place: Place) -> None:
    """The only operation that looks for the server and pings it."""
    with HpssArchive(place.options(sitename="site")) as archive:
        calls = Counted(place, archive).calls(archive.check)

    assert COUNTS["check of a site"].calls == calls


def test_a_status_of_n_files_is_n_calls(counted: Counted) -> None:
    ids = list(range(10))
    for file_id in ids:
        counted.put(1, file_id=file_id)
    calls = counted.calls(lambda: list(counted.archive.status_many(ids)))

    assert COUNTS["status of many"].with_n(10) == calls


def test_a_stage_of_n_files_is_a_look_at_each_and_their_requests(
    counted: Counted,
) -> None:
    """From 9.3 on, in batches of up to a hundred files of one cartridge."""
    ids = list(range(100))
    counted.place.simulator.knob("cartridge_files", 1000)
    for file_id in ids:
        counted.put(1, file_id=file_id)
    counted.purged(*ids)
    calls = counted.calls(lambda: list(counted.archive.stage_many(ids)))
    batches = session().build.has_batch
    row = "stage of many, on one cartridge" if batches else "stage of many, before 9.3"

    assert COUNTS[row].with_n(100) == calls


def test_core_calls_and_transfers_are_what_the_formulas_add_up(
    counted: Counted,
) -> None:
    """By the simulator's own sums, of one put and one get."""
    simulator = counted.place.simulator
    simulator.counters(reset=True)
    counted.put(3 * BUFFER)
    with counted.archive.open(FILE_ID) as reader:
        reader.seek(BUFFER)
        while reader.read(BUFFER):
            pass
    found = simulator.counters()

    assert (4 + 4, 3 + 2) == (found["core"], found["mover"])


def test_every_row_of_the_table_is_printed_for_the_docs() -> None:
    assert [f"| {name} |" for name in COUNTS] == [
        line[: line.index("|", 2) + 1] for line in table().splitlines()[2:]
    ]
