"""Build the simulator of HPSS, drive it, and show what is in it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import stat
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pacifica_archive_hpss.simulator import (
    SANITIZERS,
    VERSIONS,
    BuildError,
    Simulator,
    SimulatorError,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pacifica_archive_hpss.simulator import Entry

_PROGRAM = "python -m pacifica_archive_hpss.simulator"

_ABOUT = """\
A simulator of IBM HPSS as programs see it through the Client API: libhpss.so, its
headers, disk and tape levels, recalls that take their time, and faults at will.
It is our own writing after public facts; it is not HPSS and proves nothing of it.

All of it (names, levels, tapes, counters, rules) is in one directory, the state,
which every process that uses it shares. A program that is linked with the simulator
finds it by the environment variable PACIFICA_HPSS_SIM.
"""

_BEGIN = f"""\
to begin with:
  {_PROGRAM} build ~/hpss
  PACIFICA_HPSS_ROOT=~/hpss pip install --no-cache-dir pacifica-archive-hpss
  export PACIFICA_HPSS_SIM=~/hpss-state
  {_PROGRAM} format
  {_PROGRAM} mkdir /archive
Then use the backend hpss with the prefix /archive and, as the keytab, any file that
is there; `{_PROGRAM} COMMAND --help` tells more
of each command.
"""

_RULE = """\
A rule is FUNCTION[@PATHGLOB]:WHEN:ACTION and makes calls of the Client API fail.
Without a text, the rules there are and how often each has matched are printed.

FUNCTION  a name without hpss_: Open, Rename, FileGetXAttributes, ...; *: all
PATHGLOB  only calls with such a path; Read and Write: the path at the open
WHEN      3: the third call from now that matches; 1-3; 2+; *: every one
ACTION    -EBUSY            fails so before it has done anything
          -HPSS_ESTALE      the same with a number that only HPSS has
          -EIO@4096         Read, Write: that byte cannot be had, those before can
          lost-ECONNRESET   is done, then the reply is lost and the call fails so
          drop-ECONNRESET   fails so, and all calls of the process until it logs in
          hang              does not return until the rules are cleared
          kill              the caller dies of SIGKILL before anything is done
          lost-kill         is done, then the caller dies
          short             half the bytes are read or written

  rule Open:3:-EBUSY
  rule 'Read@/archive/*:2+:-EIO'
  rule Rename:1:lost-ECONNRESET
  rule --clear
"""

_KNOBS = """\
Without a name, all knobs and their values are printed.

login, calls and threads
  prelogin          what calls before the login do: error (-EPERM) or hang
  user              the one user that may log in; empty: everybody
  refused_user      a user that may not
  mechanism         the one way to log in: unix, krb5, ...; any: every way
  expired           1: credentials have expired, until the next login
  down              1: nothing answers (-ECONNREFUSED)
  strict            1: abort a process that breaks a rule of the API
  delay_ms          how long each call to the core server takes
  library_retries   1: -EBUSY comes only after the retries of HPSS's own library
  ping_skew_s       how far the server's clock is ahead
  fds               open files at once in a process
bytes
  short_reads       1: reads return fewer bytes than asked for, each at random
  short_writes      1: writes as well
  read_error_at     the byte of each file where -EIO begins; -1: none
  write_error_at    the byte of each file where -ENOSPC begins; -1: none
  full              1: no space is left (-ENOSPC)
  io_ms             how long each transfer takes at least
  io_rate           bytes per second of a transfer; 0: no limit
  close_frees       0: a hpss_Close that fails leaves the file open (a guess)
  lost_moves        1: a read whose reply is lost has moved on (a guess)
names
  rename_replaces   0: hpss_Rename onto a file fails with -EEXIST (a guess)
  mode_at_create    0: the mode given to hpss_Open is not heeded (a guess)
  open_sets_umask   0: hpss_Open does not apply the umask (a guess)
classes of service
  default_cos       where files go of which no size is known
  stage_code:COS    what opening a file on tape does in that class: block, async,
                    background (-EINPROGRESS) or none
tapes
  drives            cartridges that are mounted at once
  mount_s           seconds to mount one; 60 to 120 is real
  seek_s            seconds to wind one from end to end; 100 is real
  rate              bytes per second from a tape; 300000000 is real
  cartridge_files   files on a cartridge, before `migrate` begins the next one
  batch_by_id       1: the state of a batch is told to who gives its id only (a guess)
  tor               1: recalls are ordered by the simulator, as HPSS 7.5.1 may
"""

_COS = """\
Without an ID, all are printed. A class is made if there is none of that ID; files
keep the levels that they have.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Option:
    """An option of a command; one with a value may be given more than once."""

    name: str
    summary: str
    value: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Command:
    """
    One command that is handed to the library as it stands.

    Of the words, "[X]" may be left out and "X..." may be repeated; options go before
    words that may be repeated, and behind any others.
    """

    name: str
    summary: str
    details: str = ""
    words: tuple[str, ...] = ()
    options: tuple[_Option, ...] = ()


_LINE = 88
_BELOW = "Of a directory, all files below it are meant."

_COMMANDS = (
    _Command(
        name="read",
        summary="copy the content of a file, wherever it is, to the host",
        words=("PATH", "HOSTFILE"),
    ),
    _Command(
        name="write",
        summary="make a file, and the directories above, from one of the host",
        words=("PATH", "HOSTFILE", "[COS]"),
        details="COS is the class of service, by its number; 1 by default.",
    ),
    _Command(
        name="sparse",
        summary="make a file with holes",
        words=("PATH", "SIZE", "OFFSET HOSTFILE..."),
        details="The bytes from each OFFSET on are those of the HOSTFILE after it.\n"
        "The rest is holes, which are on no level.",
    ),
    _Command(
        name="mkdir",
        summary="make a directory, and those above",
        words=("PATH",),
    ),
    _Command(name="link", summary="give a file a second name", words=("OLD", "NEW")),
    _Command(name="symlink", summary="make a symbolic link", words=("TARGET", "PATH")),
    _Command(name="remove", summary="remove a name", words=("PATH",)),
    _Command(
        name="migrate",
        summary="copy files down to the levels below the first",
        words=("PATH...",),
        details=_BELOW,
        options=(
            _Option(
                name="cartridge",
                value="LABEL",
                summary="put them there; given more than once, each file is spread",
            ),
            _Option(
                name="aggregate",
                value="N",
                summary="put so many files at one position, behind each other",
            ),
        ),
    ),
    _Command(
        name="purge",
        summary="free the disk of files that are on a lower level too",
        words=("PATH...",),
        details=_BELOW,
        options=(
            _Option(name="level", value="N", summary="only that one; the first is 0"),
        ),
    ),
    _Command(
        name="stage",
        summary="have files on disk at once, as if recalled long ago",
        words=("PATH...",),
        details=f"Mounts nothing and takes no time. {_BELOW}",
    ),
    _Command(
        name="partial",
        summary="leave only the first bytes of a file on disk",
        words=("PATH", "BYTES"),
    ),
    _Command(
        name="lose",
        summary="take the copies of all levels away",
        words=("PATH...",),
        details=_BELOW,
    ),
    _Command(
        name="damage",
        summary="make a cartridge unreadable: reads of it fail with EIO",
        words=("CARTRIDGE",),
    ),
    _Command(
        name="dead",
        summary="lose a cartridge, and what is on it",
        words=("CARTRIDGE",),
    ),
    _Command(
        name="counters",
        summary="print as JSON what was called, and what was done wrong",
        options=(_Option(name="reset", summary="begin at 0 again"),),
    ),
    _Command(
        name="rule",
        summary="make calls of the Client API fail",
        words=("[TEXT]",),
        details=_RULE,
        options=(_Option(name="clear", summary="remove all rules"),),
    ),
    _Command(
        name="knob",
        summary="set how the simulated HPSS behaves, or show it",
        words=("[NAME]", "[VALUE]"),
        details=_KNOBS,
    ),
    _Command(
        name="cos",
        summary="show or set the classes of service",
        words=("[ID]",),
        details=_COS,
        options=(
            _Option(name="name", value="TEXT", summary="what it is called"),
            _Option(name="levels", value="disk,tape", summary="from the top, or none"),
            _Option(
                name="stage",
                value="CODE",
                summary="when a file on tape is opened: block, async, background"
                " or none",
            ),
            _Option(name="min", value="BYTES", summary="for files of at least that"),
            _Option(name="max", value="BYTES", summary="for files of at most that"),
        ),
    ),
    _Command(
        name="queue",
        summary="show the recalls that are queued or under way",
    ),
    _Command(
        name="speed",
        summary="set how many simulated seconds pass in a real one",
        words=("FACTOR",),
        details="It is 1 after format; 0 stops the clock.",
    ),
    _Command(
        name="advance",
        summary="let simulated time pass at once",
        words=("SECONDS",),
    ),
    _Command(
        name="settle",
        summary="let time pass until no recall is queued or under way",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, with a line on stderr if it is 1."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "build":
            _build(given)
        else:
            _drive(given)
        sys.stdout.flush()
    except BuildError as exc:
        sys.stderr.write(f"{_PROGRAM}: {exc}\n")
        return 1
    except SimulatorError as exc:
        told = shlex.join(sys.argv[1:] if arguments is None else arguments)
        sys.stderr.write(f"{_PROGRAM}: {told}: {exc.strerror}\n")
        return 1
    except BrokenPipeError:
        # As in `ls | head`. What is still buffered has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=_ABOUT,
        epilog=_BEGIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        default=os.environ.get("PACIFICA_HPSS_SIM") or None,
        help="the state to drive or show; $PACIFICA_HPSS_SIM by default",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.\n\n{details}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    command = add("build", "compile headers and library into a directory")
    command.add_argument(
        "directory",
        metavar="DIR",
        help="where to: new, empty, or built by this command before",
    )
    command.add_argument(
        "--version",
        choices=VERSIONS,
        default="9.3",
        help="whose headers; %(default)s by default",
    )
    command.add_argument(
        "--sanitize",
        choices=SANITIZERS,
        help="instrument the library, for programs that are so as well",
    )
    command = add(
        "format",
        "begin an empty state",
        "Makes the directory and forgets all that was there. Compiles into it what\n"
        "drives it, unless PACIFICA_HPSS_ROOT names a tree that `build` has made.",
    )
    command.add_argument(
        "--fds", metavar="N", type=int, help="open files at once in a process"
    )
    command = add("ls", "show what is stored, and on which levels")
    command.add_argument("path", metavar="PATH", nargs="?", default="/")
    command.add_argument("--json", action="store_true", help="all there is to know")
    for described in _COMMANDS:
        command = add(described.name, described.summary, described.details)
        for word in described.words:
            name = word.strip("[].")
            nargs = "?" if word.startswith("[") else "+" if word.endswith("...") else 1
            command.add_argument(f"word {name}", metavar=name, nargs=nargs)
        for option in described.options:
            if option.value:
                command.add_argument(
                    f"--{option.name}",
                    action="append",
                    default=[],
                    metavar=option.value,
                    help=option.summary,
                )
            else:
                command.add_argument(
                    f"--{option.name}", action="store_true", help=option.summary
                )
    return parser


def _build(given: argparse.Namespace) -> None:
    root = build(given.directory, given.version, sanitize=given.sanitize)
    sys.stdout.write(
        f"the simulator of HPSS {given.version} is in {root}\n"
        "next:\n"
        f"  PACIFICA_HPSS_ROOT={shlex.quote(str(root))}"
        " pip install --no-cache-dir pacifica-archive-hpss\n"
        "  export PACIFICA_HPSS_SIM=STATE   # a directory of your choice\n"
        f"  {_PROGRAM} format\n"
    )


def _drive(given: argparse.Namespace) -> None:
    if given.state is None:
        raise BuildError("which state? give --state DIR or set PACIFICA_HPSS_SIM")
    simulator = Simulator(given.state)
    if given.command == "format":
        simulator.format(fds=given.fds)
    elif given.command == "ls":
        entries = simulator.ls(given.path)
        if given.json:
            _print(entries)
        else:
            sys.stdout.writelines(_table(entries))
    else:
        (described,) = (each for each in _COMMANDS if each.name == given.command)
        answer = simulator.run(given.command, *_arguments(described, given))
        # Of a rule, its number: there is nothing to be done with it.
        if isinstance(answer, dict | list):
            _print(answer)


def _print(answer: object) -> None:
    text = json.dumps(answer)
    if len(text) > _LINE:
        text = json.dumps(answer, indent=2)
    sys.stdout.write(text + "\n")


def _arguments(described: _Command, given: argparse.Namespace) -> list[str]:
    """Return what the library is given after the command's name."""
    values = vars(given)
    options: list[str] = []
    for option in described.options:
        value = values[option.name]
        if option.value:
            for each in value:
                options += [f"--{option.name}", each]
        elif value:
            options.append(f"--{option.name}")
    words: list[str] = []
    for word in described.words:
        value = values[f"word {word.strip('[].')}"]
        words += [value] if isinstance(value, str) else value or []
    repeats = any(word.endswith("...") for word in described.words)
    return options + words if repeats else words + options


def _table(entries: list[Entry]) -> Iterator[str]:
    """Yield the lines of a table for people, names last as they have any length."""
    rows = [("MODE", "LINKS", "SIZE", "MODIFIED", "COS", "LEVELS", "PATH")]
    rows += [_row(entry) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for mode, links, size, modified, cos, levels, path in rows:
        yield (
            f"{mode:{widths[0]}}  {links:>{widths[1]}}  {size:>{widths[2]}}"
            f"  {modified:{widths[3]}}  {cos:>{widths[4]}}  {levels:{widths[5]}}"
            f"  {path}\n"
        )


def _row(entry: Entry) -> tuple[str, str, str, str, str, str, str]:
    kinds = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "symlink": stat.S_IFLNK}
    levels = [
        f"{level['media']} {level['bytes']}"
        + (f" ({level['cartridge']})" if level["cartridge"] else "")
        for level in entry["levels"]
    ]
    return (
        stat.filemode(kinds[entry["type"]] | entry["mode"]),
        str(entry["links"]),
        str(entry["size"]),
        f"{datetime.fromtimestamp(entry['mtime_s'], UTC):%Y-%m-%d %H:%M:%SZ}",
        str(entry["cos"] or "-"),
        ", ".join(levels) + (" locked" if entry["locked"] else ""),
        entry["path"],
    )


if __name__ == "__main__":
    sys.exit(main())
