"""Drive a simulator's state past the Client API, as an operator of HPSS would."""

from __future__ import annotations

import ctypes
import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from pacifica_archive_hpss.simulator.building import (
    BuildError,
    build,
    control_library,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Counters", "Entry", "Level", "Simulator", "SimulatorError"]


class Level(TypedDict):
    """One storage level of a file, as ``ls`` tells it."""

    media: str
    bytes: int
    exists: bool
    cartridge: str
    position: int
    offset: int
    volumes: int


class Entry(TypedDict):
    """One name of the namespace, as ``ls`` tells it."""

    path: str
    type: str
    mode: int
    links: int
    size: int
    mtime_s: int
    cos: int
    bitfile: str
    levels: list[Level]
    locked: bool
    attributes: dict[str, str]


class Counters(TypedDict):
    """What the users of a state have called since the counters were reset."""

    calls: dict[str, int]
    core: int
    mover: int
    local: int
    violations: list[str]
    open_files: int
    pvlists: int
    logins: int
    duplicate_stages: int
    monitor_red: int
    gated: int
    mounts: dict[str, int]
    batches: list[int]


class SimulatorError(OSError):
    """A command was refused; ``errno`` and ``strerror`` say why."""


class Simulator:
    """
    The state of a simulated HPSS, in a directory that its users share.

    Its users are the processes with ``PACIFICA_HPSS_SIM`` set to that directory.
    Nothing here is a login or a call of the Client API: no command counts in the
    counters, and none obeys the error rules. Threads may share an object.

    Args:
        state: the directory; ``format`` makes it.
        library: the simulator's library. By default that of the tree which the
            environment's ``PACIFICA_HPSS_ROOT`` names, else one that is compiled
            into ``control/`` in the state, when the first command is run. It may
            be of any version: the state is the same for all.

    Every command may raise SimulatorError; BuildError if the library is to be
    compiled and cannot be.
    """

    def __init__(
        self,
        state: str | os.PathLike[str],
        library: str | os.PathLike[str] | None = None,
    ) -> None:
        self.state = Path(state).absolute()
        self._given = None if library is None else Path(library).absolute()

    @functools.cached_property
    def library(self) -> Path:
        """The library that runs the commands; compiled now if need be."""
        if self._given is not None:
            return self._given
        if root := os.environ.get("PACIFICA_HPSS_ROOT"):
            library = control_library(root)
            if not library.is_file():
                raise BuildError(
                    f"PACIFICA_HPSS_ROOT is {root}, which is no simulator: unset it"
                    " or set it to a directory that `build` has made"
                )
            return library
        return control_library(build(self.state / "control"))

    # Any: parsed JSON, whose shape the command decides.
    def run(self, *arguments: str | os.PathLike[str]) -> Any:  # noqa: ANN401
        """
        Run one command, given as its name and arguments, and return its answer.

        Raises:
            SimulatorError: the command is unknown or was refused.
        """
        library = _load(os.fspath(self.library))
        words = [os.fsencode(argument) for argument in arguments]
        answer = ctypes.c_void_p()
        code = library.hpss_sim_command(
            os.fsencode(self.state),
            len(words),
            (ctypes.c_char_p * (len(words) + 1))(*words),
            ctypes.byref(answer),
        )
        text = ""
        if answer.value is not None:
            # Names are bytes, and need not be UTF-8.
            text = os.fsdecode(ctypes.string_at(answer.value))
            library.hpss_sim_free(answer)
        if code < 0:
            raise SimulatorError(-code, text or os.strerror(-code))
        return json.loads(text) if text else None

    def format(self, *, fds: int | None = None) -> None:
        """
        Begin an empty namespace with default knobs, forgetting any earlier one.

        Args:
            fds: the size of each process's table of open files; 64 by default.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        self.run("format", *(() if fds is None else ("--fds", str(fds))))

    def ls(self, path: str = "/") -> list[Entry]:
        """Return the object at a path and all below it."""
        return cast("list[Entry]", self.run("ls", path))

    def read(self, path: str, target: str | os.PathLike[str]) -> None:
        """Copy the content of a file, on whatever level, to a file of the host."""
        self.run("read", path, target)

    def write(
        self, path: str, source: str | os.PathLike[str], *, cos: int | None = None
    ) -> None:
        """Make a file, and the directories above, from a file of the host."""
        self.run("write", path, source, *(() if cos is None else (str(cos),)))

    def sparse(
        self, path: str, size: int, parts: Mapping[int, str | os.PathLike[str]]
    ) -> None:
        """
        Make a file of ``size`` bytes with holes.

        Args:
            path: its path; the directories above are made.
            size: bytes, holes included.
            parts: offset -> a file of the host whose content stands there.
        """
        words: list[str | os.PathLike[str]] = []
        for offset, source in parts.items():
            words += [str(offset), source]
        self.run("sparse", path, str(size), *words)

    def mkdir(self, path: str) -> None:
        """Make a directory, and those above."""
        self.run("mkdir", path)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        self.run("link", old, new)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link at ``path``."""
        self.run("symlink", target, path)

    def remove(self, path: str) -> None:
        """Remove a name."""
        self.run("remove", path)

    def migrate(
        self,
        *paths: str,
        cartridges: Iterable[str] = (),
        aggregate: int | None = None,
    ) -> None:
        """
        Copy files, or all files below directories, to the levels below.

        Args:
            paths: of files or directories.
            cartridges: labels: where the first copies go. Of more than one, each
                file is spread over all of them. By default, one is filled after the
                other.
            aggregate: put so many files at one position, behind each other.
        """
        options = [word for label in cartridges for word in ("--cartridge", label)]
        if aggregate is not None:
            options += ["--aggregate", str(aggregate)]
        self.run("migrate", *options, *paths)

    def purge(self, *paths: str, level: int | None = None) -> None:
        """Free one disk level, or all, of files that a lower level holds."""
        options = () if level is None else ("--level", str(level))
        self.run("purge", *options, *paths)

    def stage(self, *paths: str) -> None:
        """Have files on disk now, in no time, without mounting anything."""
        self.run("stage", *paths)

    def partial(self, path: str, size: int) -> None:
        """Leave only the first ``size`` bytes of a file on disk."""
        self.run("partial", path, str(size))

    def lose(self, *paths: str) -> None:
        """Take every level's copy away from files."""
        self.run("lose", *paths)

    def damage(self, cartridge: str) -> None:
        """Make every read of a cartridge fail with EIO."""
        self.run("damage", cartridge)

    def dead(self, cartridge: str) -> None:
        """Lose a cartridge with all that is on it."""
        self.run("dead", cartridge)

    def counters(self, *, reset: bool = False) -> Counters:
        """Return the counters; with ``reset``, set them to 0 in the same moment."""
        words = ("counters", *(("--reset",) if reset else ()))
        return cast("Counters", self.run(*words))

    def rule(self, text: str) -> None:
        """Add an error rule, ``FUNCTION[@PATHGLOB]:WHEN:ACTION``."""
        self.run("rule", text)

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules ("rule") and how many calls each has matched ("seen")."""
        return cast("list[dict[str, Any]]", self.run("rule"))

    def clear_rules(self) -> None:
        """Remove all error rules, which also ends the calls that hang by them."""
        self.run("rule", "--clear")

    def knob(self, name: str, value: str | float) -> None:
        """Set a knob."""
        self.run("knob", name, str(value))

    def knobs(self) -> dict[str, Any]:
        """Return all knobs and their values."""
        return cast("dict[str, Any]", self.run("knob"))

    def cos(self, number: int | None = None, **options: str | float) -> list[Any]:
        """
        Return all classes of service, after setting some of one that is named.

        Args:
            number: the class; made if need be.
            options: as those of the command: ``levels="disk,tape"``, ``max=1024``.
        """
        words = [] if number is None else [str(number)]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        return cast("list[Any]", self.run("cos", *words))

    def queue(self) -> dict[str, Any]:
        """Return the recalls that are queued or active, and callbacks so far."""
        return cast("dict[str, Any]", self.run("queue"))

    def speed(self, factor: float) -> None:
        """Set how many simulated seconds pass in a real one; 0 stops the clock."""
        self.run("speed", str(factor))

    def advance(self, seconds: float) -> None:
        """Let simulated seconds pass at once."""
        self.run("advance", str(seconds))

    def settle(self) -> None:
        """Let time pass until no recall is queued or under way."""
        self.run("settle")


@functools.cache
def _load(path: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(path)
    except OSError as exc:
        raise BuildError(f"cannot load the simulator: {exc}") from exc
    try:
        library.hpss_sim_command.argtypes = (
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.POINTER(ctypes.c_void_p),
        )
        library.hpss_sim_command.restype = ctypes.c_int
        library.hpss_sim_free.argtypes = (ctypes.c_void_p,)
        library.hpss_sim_free.restype = None
    except AttributeError as exc:
        raise BuildError(f"not the simulator's library: {path}") from exc
    return library
