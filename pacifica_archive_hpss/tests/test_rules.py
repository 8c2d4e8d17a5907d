"""Every call of every operation fails, in every way that HPSS is known to fail in."""

from __future__ import annotations

import errno
import logging
import re
from typing import TYPE_CHECKING

import attrs
import pytest
from kit import KEYTAB, USER
from scenes import SCENES, Place, Scene, places, reopen

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    SourceRefused,
)
from pacifica_archive_hpss.errors import HpssError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_hpss.simulator import Counters

# --- what a failure is to be told as ----------------------------------------------


@attrs.frozen(kw_only=True)
class Fault:
    """
    One way to fail.

    Attributes:
        action: as rules of the simulator have it.
        number: the Linux errno that it means.
        error: what it is told as, where the table below says no other.
        transient: may be other a moment later: asked again what may be asked twice.
        unclear: the call may have been done all the same.
        lost: it has been done.
    """

    action: str
    number: int
    error: type[ArchiveError] = ArchiveUnavailable
    transient: bool = False
    unclear: bool = False
    lost: bool = False


FAULTS = [
    Fault(action="-EIO", number=errno.EIO, unclear=True),
    Fault(action="-EBUSY", number=errno.EBUSY, transient=True),
    Fault(action="-EAGAIN", number=errno.EAGAIN, transient=True),
    Fault(action="-ENOSPC", number=errno.ENOSPC, error=ArchiveFull),
    Fault(action="-EACCES", number=errno.EACCES, error=AccessDenied),
    Fault(action="-EPERM", number=errno.EPERM, error=AccessDenied),
    Fault(action="-ESTALE", number=errno.ESTALE, transient=True),
    # By HPSS's own number, which Linux reads as EBADE.
    Fault(action="-HPSS_ESTALE", number=errno.ESTALE, transient=True),
    Fault(action="-ECONNRESET", number=errno.ECONNRESET, transient=True, unclear=True),
    # And this one as ENOCSI; Linux has no such errno, and any of a lost connection's
    # would do.
    Fault(action="-HPSS_ECONN", number=0, transient=True, unclear=True),
    Fault(action="-ETIMEDOUT", number=errno.ETIMEDOUT, transient=True, unclear=True),
    Fault(action="-EINVAL", number=errno.EINVAL),
    Fault(action="-EMFILE", number=errno.EMFILE),
    Fault(
        action="lost-ECONNRESET",
        number=errno.ECONNRESET,
        transient=True,
        unclear=True,
        lost=True,
    ),
    Fault(
        action="lost-ETIMEDOUT",
        number=errno.ETIMEDOUT,
        transient=True,
        unclear=True,
        lost=True,
    ),
]

#: What only asks, or may be done twice with the same result: that a directory is there
#: already is as good as its making. So it is with the removal of an unfinished file,
#: whose name nobody else has.
REPEATABLE = {
    "Mkdir",
    "Opendir",
    "Readdir",
    "FileGetXAttributes",
    "Lstat",
    "LookupRootCS",
    "PingCore",
    "UserAttrGetAttrs",
    "UserAttrSetAttrs",
    "GetAsyncStatus",
    "GetBatchAsynchStatus",
    "SetFileOffset",
    "Utime",
    "Chmod",
}
#: What may not be sent again before somebody looked at what the first one did.
NOT_REPEATABLE = {
    "Write",
    "Fsync",
    "Rename",
    "Link",
    "Unlink",
    "Close",
    "StageCallBack",
    "StageBatchCallBack",
}
LOOKS = {"FileGetXAttributes", "Lstat"}
#: What cannot be made to fail: it is not asked for anything.
INFALLIBLE = {
    "GetLastHPSSErrno",
    "ClearLastHPSSErrno",
    "ErrnoName",
    "ErrnoString",
    "ChompXMLHeader",
}
#: What an archive is opened without: its leftovers are swept another time.
SWEEP = {"Opendir", "Readdir", "Closedir", "FileGetXAttributes", "Unlink"}

Outcome = type[ArchiveError] | None


def allowed(scene: Scene, function: str, fault: Fault, lasting: bool) -> set[Outcome]:  # noqa: FBT001 (a parameter of the tests)
    """
    Return what may come of a failure; None: nothing, the operation is done.

    From the errors of the design: what a code says of the store, but for what it says
    of this file; what can be done again is done again.
    """
    told: set[Outcome] = {fault.error}
    done: set[Outcome] = {None}
    again = told if lasting or not fault.transient else done
    #: Known after a look; what is seen not to be done may be tried again.
    looked = (
        told if lasting or not (fault.transient or fault.unclear) else told | {None}
    )
    # Also lost may be, again and again, that the directory is not there.
    missing = lasting and not scene.known and (scene.old is None or bool(scene.kept))
    switched = (done | told if missing else done) if fault.lost else looked
    damaged: set[Outcome] = {FileDamaged} if fault.number == errno.EIO else set()
    outcomes: dict[str, set[Outcome]] = {
        **dict.fromkeys(REPEATABLE, again),
        "Read": damaged or again,
        "Open": told | again,
        "SetFileOffset": damaged or again,
        "Rename": switched,
        "Link": switched,
        # The file is stored, and its second name is swept some day.
        "Unlink": done,
        # All names are known by then.
        "Closedir": done,
    }
    if not scene.changes:
        # What was read is right, whatever is said at its end.
        outcomes |= {"Open": again | damaged, "Close": done}
    if scene.deletes:
        outcomes["Unlink"] = switched
    if scene.deletes and scene.kept and not scene.known:
        # The second look is whether the file or the directory is missing.
        outcomes["Lstat"] = again | {CommitUnclear}
    if scene.source is not None:
        # Stored, and the source may be there too. Too long a path is invalid.
        outcomes["Unlink"] = {None, CommitUnclear}
        if fault.number == errno.EINVAL:
            outcomes["Lstat"] = outcomes["Chmod"] = told | {SourceRefused}
    if scene.aside:
        # Tried in rounds: that the name is taken is as good as a look, and then no look
        # at whose it is must fail.
        switches = ("Rename", "Link", "Unlink", "FileGetXAttributes")
        outcomes |= dict.fromkeys(switches, told | done | {CommitUnclear})
    if scene.litter:
        outcomes |= dict.fromkeys(SWEEP, done)
        if fault.error is AccessDenied:
            # It is opened for reading.
            outcomes["Mkdir"] = done
    return outcomes.get(function, told)


# --- one run -----------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Take:
    """What came of one run of a scene."""

    error: BaseException | None
    answer: object
    calls: dict[str, int]
    #: Descriptors and PVLists that were not given back.
    left_open: int
    lists: int
    violations: list[str]
    found: bytes | None
    source: bool
    incoming: list[str]
    trashed: list[bytes]

    @property
    def outcome(self) -> type[BaseException] | None:
        return None if self.error is None else type(self.error)


def play(scene: Scene, place: Place, *rules: str) -> Take:
    """Let a scene run in a place of its own with rules that hold for its act only."""
    simulator = place.simulator
    error: BaseException | None = None
    answer = None
    scene.prepare(place)
    with scene.open(place) as archive:
        before = simulator.counters(reset=True)
        for rule in rules:
            simulator.rule(rule)
        try:
            answer = scene.act(archive, place)
        except Exception as exc:  # noqa: BLE001 (whatever it is is looked at)
            error = exc
        simulator.clear_rules()
        after = simulator.counters(reset=True)
    return Take(
        error=error,
        answer=answer,
        calls=calls_in(after),
        left_open=after["open_files"] - before["open_files"],
        lists=after["pvlists"] - before["pvlists"],
        violations=after["violations"],
        found=place.found(),
        source="/inbox/source" in place.files(),
        incoming=place.incoming(),
        trashed=place.trashed(),
    )


def calls_in(counters: Counters) -> dict[str, int]:
    return {
        name.removeprefix("hpss_"): count
        for name, count in counters["calls"].items()
        if count and name.startswith("hpss_")
    }


def faults_of(
    scene: Scene,
    take: Take,
    good: Take,
    function: str,
    fault: Fault,
    lasting: bool,  # noqa: FBT001 (a parameter of the tests)
) -> Iterator[str]:
    """Yield what is wrong with a take, in words."""
    expected = allowed(scene, function, fault, lasting)
    if take.outcome not in expected:
        yield f"told as {take.error!r} instead of {expected}"
    yield from _wrong_state(scene, take)
    yield from _wrong_words(take, fault)
    hits = take.calls.get(function, 0) - good.calls.get(function, 0) + 1
    # A reply that is lost takes the descriptor with it: nobody could do better.
    lost = function == "Open" and fault.lost
    if take.left_open > (hits if lost else 0):
        yield f"{take.left_open} files are open"
    if take.lists or take.violations:
        yield f"{take.lists} lists are held; {take.violations}"
    # What is to remove it failed itself; or it was made and nobody was told.
    if take.incoming and function != "Unlink" and not scene.litter:
        yield f"left in .incoming: {take.incoming}"
    yield from _repeated(scene, take, good)


def _wrong_state(scene: Scene, take: Take) -> Iterator[str]:
    if take.outcome is None and take.answer != scene.answer:
        yield f"answered {take.answer!r:.80}"
    states = [scene.old] if take.outcome else [scene.new]
    if take.outcome is CommitUnclear:
        states = [scene.old, scene.new]
    if take.outcome is CommitUnclear and scene.aside:
        # It may be aside until the next opening.
        states.append(None)
    if take.found not in states:
        yield f"holds {take.found!r:.40}, told {take.outcome}"
    if scene.kept and scene.kept not in {take.found, *take.trashed}:
        yield "neither at its id nor in the trash"
    if scene.source and not take.source and take.found != scene.source:
        yield "the source is lost"
    if scene.source and take.source and take.outcome is None:
        yield "the source is there still"


def _wrong_words(take: Take, fault: Fault) -> Iterator[str]:
    if take.error is None:
        return
    text = f"{take.error}{take.error.args}"
    if re.search(f"/places|{USER}|{KEYTAB}|pah_|hpss_", text):
        yield f"tells too much: {text}"
    cause = take.error.__cause__
    if not isinstance(cause, HpssError):
        yield f"has the cause {cause!r}"
    elif fault.number not in {0, cause.errno}:
        yield f"is caused by {cause}"


def _repeated(scene: Scene, take: Take, good: Take) -> Iterator[str]:
    more = {name: count - good.calls.get(name, 0) for name, count in take.calls.items()}
    looks = sum(max(0, more.get(name, 0)) for name in LOOKS)
    for name in NOT_REPEATABLE:
        unfinished = name == "Unlink" and scene.source is None and not scene.deletes
        in_rounds = scene.aside and name in {"Rename", "Link", "Unlink"}
        if more.get(name, 0) > looks and not (unfinished or in_rounds):
            yield f"{name} was called {more[name]} times more, with {looks} looks"


# --- the tests ---------------------------------------------------------------------


@pytest.fixture
def new_place() -> Iterator[Callable[[], Place]]:
    with places() as new_place:
        yield new_place


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be waited for between tries: thousands fail here."""
    monkeypatch.setattr("pacifica_archive_hpss.session._PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr("pacifica_archive_hpss.recall._FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_does_what_it_says_and_leaves_nothing(
    name: str, new_place: Callable[[], Place]
) -> None:
    take = play(SCENES[name], new_place())

    assert (None, SCENES[name].answer, SCENES[name].new, 0, 0, [], []) == (
        take.error,
        take.answer,
        take.found,
        take.left_open,
        take.lists,
        take.violations,
        take.incoming,
    )


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("name", SCENES)
def test_a_failing_call_leaves_the_old_file_or_the_new_one(
    name: str,
    lasting: bool,  # noqa: FBT001 (a parameter of pytest's)
    new_place: Callable[[], Place],
) -> None:
    """
    And is told as the error that its code means, or mended.

    Nothing stays open, in memory or in ``.incoming``, and what may not be done twice
    is not.
    """
    scene = SCENES[name]
    good = play(scene, new_place())
    wrong: dict[str, list[str]] = {}
    for function, number, fault in each_fault(good):
        rule = f"{function}:{number}{'+' * lasting}:{fault.action}"
        place = new_place()
        take = play(scene, place, rule)
        faults = list(faults_of(scene, take, good, function, fault, lasting))
        reopen(place)
        if place.incoming():
            faults.append("left in .incoming for ever")
        if place.found() not in {scene.old, scene.new}:
            faults.append("neither file after an opening")
        if faults:
            wrong[rule] = faults

    assert {} == wrong


def each_fault(good: Take) -> Iterator[tuple[str, int, Fault]]:
    """Yield every call of a good run, with every fault."""
    for function, count in good.calls.items():
        if function not in INFALLIBLE:
            for number in range(1, count + 1):
                for fault in FAULTS:
                    yield function, number, fault


@pytest.mark.parametrize("action", ["-ECONNRESET", "lost-ETIMEDOUT"])
@pytest.mark.parametrize("name", SCENES)
def test_a_store_that_goes_away_leaves_the_old_file_or_the_new_one(
    name: str, action: str, new_place: Callable[[], Place]
) -> None:
    """
    Whatever call is the last one that it answers, and it is told as such.

    As unclear only where the new file may be there; and nothing is tried blindly.
    """
    scene = SCENES[name]
    good = play(scene, new_place())
    wrong: dict[str, list[str]] = {}
    for number in range(1, sum(good.calls.values()) + 1):
        take = play(scene, new_place(), f"*:{number}+:{action}")
        faults = list(_wrong_state(scene, take))
        if take.outcome not in {None, ArchiveUnavailable, CommitUnclear}:
            faults.append(f"told as {take.error!r}")
        if take.outcome is CommitUnclear and not scene.changes:
            faults.append("unclear, though nothing changes")
        if faults or take.violations or take.lists:
            wrong[f"*:{number}+"] = [*faults, *take.violations]

    assert {} == wrong


@pytest.mark.parametrize("action", ["-ECONNRESET", "lost-ECONNRESET"])
@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("put", "Link"),
        ("put and replace", "Rename"),
        ("adopt", "Link"),
        ("adopt and replace", "Rename"),
        ("delete", "Unlink"),
        ("trash", "Rename"),
        ("trash into a known directory", "Rename"),
        ("undelete", "Link"),
    ],
)
def test_a_switch_of_which_nothing_can_be_learned_is_unclear_and_not_repeated(
    name: str, switch: str, action: str, new_place: Callable[[], Place]
) -> None:
    """The connection is lost at the switch, and no look is answered after it."""
    scene = SCENES[name]
    good = play(scene, new_place())
    last = good.calls[switch]
    looks = {look: good.calls.get(look, 0) + 1 for look in LOOKS}
    take = play(
        scene,
        new_place(),
        f"{switch}:{last}:{action}",
        *(f"{look}:{first}+:-ECONNRESET" for look, first in looks.items()),
    )
    done = scene.new if action.startswith("lost") else scene.old

    assert (CommitUnclear, done, good.calls[switch]) == (
        take.outcome,
        take.found,
        take.calls[switch],
    )
