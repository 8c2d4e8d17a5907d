"""
Measure ours beside release 0.4.2 under uWSGI and nginx with its dav module.

Every server has two worker processes and its access log on, and stores without waiting
for stable storage (ours also with, to say what that costs). They run in turn within
each round, on a file system in memory and, unjudged and one round less, on the disk.
On ours the remote backend is then measured beside curl, on the disk in the first round
only. Every answer is checked: an error is not a fast answer.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from loads import Figures, build_head, measure
from places import Load, Place
from remote import Remote, measure_remote
from report import Report, Results
from servers import Contender, contenders, run

DOCS = Path(__file__).resolve().parent.parent / "docs"
MEMORY = Path("/dev/shm")  # noqa: S108 (the file system in memory, not a temporary name)

FULL = Load(
    seconds=4,
    connections=16,
    big_size=2 << 30,
    parts=4,
    part_size=512 << 20,
    remote_gets=4,
    remote_puts=2,
    remote_reads=4000,
)
QUICK = Load(
    seconds=1,
    connections=16,
    big_size=64 << 20,
    parts=4,
    part_size=16 << 20,
    remote_gets=2,
    remote_puts=2,
    remote_reads=400,
)


def main() -> None:
    """Run the benchmark and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round with little of everything: shows that it runs, no more",
    )
    parser.add_argument(
        "--only", action="append", metavar="SERVER", help="leave out the others"
    )
    parser.add_argument(
        "--part",
        choices=("servers", "remote"),
        help="leave out the other; default: both",
    )
    parser.add_argument(
        "--place",
        choices=("memory", "disk"),
        help="leave out the other; default: both",
    )
    parser.add_argument(
        "--disk",
        type=resolved,
        default=Path("/var/tmp"),  # noqa: S108 (a directory is made in it by mkdtemp)
        help="a directory on the disk; default: /var/tmp",
    )
    parser.add_argument(
        "--release-042",
        type=resolved,
        metavar="BIN",
        help="where the commands of release 0.4.2 and uWSGI are; not measured without",
    )
    parser.add_argument(
        "--out",
        type=resolved,
        help="directory of performance.json and performance.md; default: docs, which"
        " only a whole run may change",
    )
    given = parser.parse_args()
    servers = contenders(given.release_042)
    if given.only:
        servers = [server for server in servers if server.name in given.only]
    if given.part == "remote":
        servers = [server for server in servers if server.remote]
    less = given.quick or given.only or given.part or given.place
    whole = given.release_042 and not less
    if given.out is None and not whole:
        parser.error("a run of a part does not go into docs: give --out")
    if not servers:
        parser.error(f"--only: {[s.name for s in contenders(given.release_042)]}")
    load = QUICK if given.quick else FULL
    report = Report(
        command=f"nox -s bench{_shown(sys.argv[1:])}",
        # Evaluated before the rounds.
        busy=os.getloadavg()[0],
        load=load,
        versions={server.name: server.version() for server in servers},
        results=[
            run_rounds(
                servers,
                name,
                parent,
                load,
                rounds=1 if given.quick else given.rounds,
                part=given.part,
            )
            for name, parent in (("memory", MEMORY), ("disk", given.disk))
            if given.place in {None, name} and has_room(parent, load)
        ],
    )
    if not report.results:
        sys.exit("no place has room enough")
    report.write(given.out or DOCS)
    print(report.markdown())
    for missed in report.missed():
        print(f"MISSED: {missed}")


def resolved(text: str) -> Path:
    """Make a path that holds in any working directory: servers have their own."""
    return Path(text).resolve()


def _shown(arguments: list[str]) -> str:
    """Return the options as given to nox, which adds the environment itself."""
    if "--release-042" in arguments:
        at = arguments.index("--release-042")
        arguments = arguments[:at] + arguments[at + 2 :]
    return f" -- {shlex.join(arguments)}" if arguments else ""


def has_room(parent: Path, load: Load) -> bool:
    """Tell whether a file system has room for one run, and say if not."""
    if not parent.is_dir():
        print(f"{parent} is not there: left out")
        return False
    free = shutil.disk_usage(parent).free
    if free < load.space:
        print(f"{parent} has {free >> 20} MiB, wanted {load.space >> 20}: left out")
        return False
    return True


def run_rounds(
    servers: list[Contender],
    name: str,
    parent: Path,
    load: Load,
    *,
    rounds: int,
    part: str | None,
) -> Results:
    """Measure all servers in turn, each round beginning with another."""
    judged = parent == MEMORY
    figures: dict[str, list[Figures]] = {}
    remote: dict[str, list[Remote]] = {}
    with tempfile.TemporaryDirectory(prefix="pacifica-bench-", dir=parent) as work:
        place = Place(name=name, directory=Path(work), judged=judged)
        place.make_sources(load)
        head = build_head(place.directory)
        for number in range(rounds if judged else max(1, rounds - 1)):
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                place.make_store()
                told = f"{name}, round {number + 1}: {server.name}"
                with run(server, place) as running:
                    if part != "remote":
                        measured = measure(running, place, load, head)
                        figures.setdefault(server.name, []).append(measured)
                        print(f"{told}: {measured}", flush=True)
                    if part != "servers" and server.remote and (judged or not number):
                        beside = measure_remote(running, place, load)
                        remote.setdefault(server.name, []).append(beside)
                        print(f"{told}: {beside}", flush=True)
    order = [server.name for server in servers]
    return Results(
        place=name,
        judged=judged,
        rounds={name: figures[name] for name in order if name in figures},
        remote={name: remote[name] for name in order if name in remote},
    )


if __name__ == "__main__":
    main()
