"""
Measure the statuses of files in Oracle HSM beside release 0.4.2's, on one MariaDB.

Both look at the same tree and ask the same private server, each in a process of its
own, in turn within each round. Every answer is checked, and what the server is
asked for is counted by the server.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
from report import machine, spread, table, write_between
from run import DOCS, resolved
from servers import clean_environment, output

from pacifica_archive_core import id2filename, open_archive

# The private MariaDB of the backend's tests, and the hands that write its rows.
sys.path.insert(0, str(DOCS.parent / "pacifica_archive_hmssideband" / "tests"))
from mariadb import Database, MariaDb, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OURS, RELEASE, OLDER = "ours", "0.4.2", "0.4.2, older driver"
BEGIN = "<!-- What follows, to the end mark, is written by bench/sideband.py. -->"
END = "<!-- Here ends what bench/sideband.py writes. -->"

#: Where the archive is in the file system, as the database has it.
_SAM_QFS_PREFIX = "/data/archive"
#: A user who may only SELECT, with the same for its password.
_USER = "bench"
#: Ids follow each other, so that each file has a directory of its own.
_FIRST_ID = 1_000_000
#: Added to the inode numbers of what is in the database only.
_OTHERS = 1 << 31
#: Statuses one by one that a side asks for in its turn.
_SLICE = 30
_COUNTERS = ("Connections", "Com_select", "Questions", "Com_admin_commands")


@attrs.frozen(kw_only=True)
class Load:
    """
    How much there is, and how much of it is asked for in each round.

    Attributes:
        files: files on disk, in the database too; asked for at once by ours.
        other_files: files in the database only.
        other_directories: the same of directories.
        one: statuses one by one.
        threads: threads that ask at once.
        in_threads: statuses that they ask for together.
        sample: statuses that release 0.4.2 asks for in the place of all files.
        rounds: how often.
    """

    files: int
    other_files: int
    other_directories: int
    one: int
    threads: int
    in_threads: int
    sample: int
    rounds: int

    @property
    def ids(self) -> range:
        """The files on disk."""
        return range(_FIRST_ID, _FIRST_ID + self.files)


FULL = Load(
    files=10_000,
    other_files=10_000,
    other_directories=30_000,
    one=300,
    threads=32,
    in_threads=500,
    sample=500,
    rounds=7,
)
QUICK = Load(
    files=100,
    other_files=100,
    other_directories=100,
    one=10,
    threads=32,
    in_threads=40,
    sample=20,
    rounds=1,
)


@attrs.frozen(kw_only=True)
class Target:
    """What a figure of ours has to reach, in times of each of release 0.4.2's."""

    what: str
    figure: str
    at_least: float


TARGETS = (
    Target(what="one status", figure="one_us", at_least=3),
    Target(what="10,000 statuses by status_many", figure="many_s", at_least=50),
)


@attrs.frozen(kw_only=True)
class Figures:
    """
    What one side did in one round.

    Attributes:
        one_us: the median of statuses one by one, in microseconds.
        threads_us: of many threads at once, microseconds for each status.
        many_s: all files, in seconds; release 0.4.2's are a sample's, scaled up.
    """

    one_us: float
    threads_us: float
    many_s: float


@attrs.frozen(kw_only=True)
class Asked:
    """What the server was asked for, as it counts itself."""

    connections: float
    selects: float
    others: float
    pings: float


@attrs.frozen(kw_only=True)
class Report:
    """
    One run.

    Attributes:
        command: what was typed.
        busy: the load average before it, of other work.
        versions: what was measured, to its version.
        rounds: side to its figures, in the order of the rounds.
        asked: what was done, to what the server was asked for.
    """

    command: str
    busy: float
    load: Load
    versions: dict[str, str]
    rounds: dict[str, list[Figures]]
    asked: dict[str, Asked]

    def write(self, directory: Path) -> None:
        """Write ``performance-sideband.json``, and tables into ``performance.md``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "performance-sideband.json").write_text(
            json.dumps({"machine": machine(), **attrs.asdict(self)}, indent=2) + "\n"
        )
        write_between(directory / "performance.md", BEGIN, self.markdown(), END)

    def ratios(self, beside: str, figure: str) -> list[float]:
        """Return how many times faster ours is, in each round."""
        return [
            getattr(theirs, figure) / getattr(ours, figure)
            for ours, theirs in zip(self.rounds[OURS], self.rounds[beside], strict=True)
        ]

    def judged(self) -> list[tuple[Target, str, list[float], bool]]:
        """Return each target, beside what, the ratios, and whether it is reached."""
        return [
            (target, beside, ratios, statistics.median(ratios) >= target.at_least)
            for target in TARGETS
            for beside in (RELEASE, OLDER)
            for ratios in (self.ratios(beside, target.figure),)
        ]

    def markdown(self) -> str:
        """Return the tables."""
        load = self.load
        on = "; ".join(machine().values())
        there = (
            f"In the database are {load.files + load.other_files:,} files;"
            f" {load.files:,} of them are on disk, each in a directory of its own,"
            f" and there are {load.other_directories:,} other directories."
        )
        lines = [
            f"Made by `{self.command}` on {on}; load average before: {self.busy:.1f}.",
            "",
            *(f"- {what}: {version}" for what, version in self.versions.items()),
            "",
            there,
            f"Medians of {load.rounds} rounds; ratios are taken within each round.",
            "",
        ]
        for rows in (self._targets(), self._figures(), self._asked()):
            lines += [*rows, ""]
        return "\n".join(lines)

    def _targets(self) -> list[str]:
        rows = [
            (
                target.what,
                f"≥ {target.at_least:g} x {beside}",
                spread(ratios, ".1f"),
                "reached" if reached else "**missed**",
            )
            for target, beside, ratios, reached in self.judged()
        ]
        return table(("target", "wanted", "times faster", ""), rows)

    def _figures(self) -> list[str]:
        columns = {
            "one_us": ("one status, µs", ",.0f"),
            "threads_us": (f"one of {self.load.threads} threads', µs", ",.0f"),
            "many_s": (f"{self.load.files:,} statuses, s", ",.2f"),
        }
        rows = [
            (
                side,
                *(
                    spread([getattr(one, name) for one in rounds], form)
                    for name, (_, form) in columns.items()
                ),
            )
            for side, rounds in self.rounds.items()
        ]
        return table(("", *(title for title, _ in columns.values())), rows)

    def _asked(self) -> list[str]:
        rows = [
            (what, *(f"{count:.2g}" for count in attrs.astuple(asked)))
            for what, asked in self.asked.items()
        ]
        head = ("asked of the server for each status", "connections", "`SELECT`")
        return table((*head, "other statements", "pings"), rows)


@attrs.frozen
class Side:
    """One side's process, by what it reads and writes."""

    name: str
    _questions: IO[str]
    _answers: IO[str]

    def ask(self, act: str, ids: Sequence[int], **more: int) -> Any:  # noqa: ANN401 (seconds, of each or of all)
        """Have it ask for statuses, and check them; return the seconds."""
        question = {"act": act, "ids": list(ids), **more}
        print(json.dumps(question), file=self._questions, flush=True)
        answer = json.loads(self._answers.readline())
        if answer["media"] != [medium(file_id) for file_id in ids]:
            raise RuntimeError(f"{self.name} answers wrong")
        return answer["seconds"]


@attrs.frozen
class Program:
    """How one side is run."""

    name: str
    python: str
    environment: Mapping[str, str] = attrs.field(factory=dict)

    @contextlib.contextmanager
    def running(self, config: Path, prefix: Path) -> Iterator[Side]:
        """Run it until the end of the block."""
        kind = OURS if self.name == OURS else RELEASE
        with subprocess.Popen(
            (
                *(self.python, str(Path(__file__).with_name("sides.py"))),
                *(kind, str(config), str(prefix)),
            ),
            env={**self._environment(), "ARCHIVEINTERFACE_CONFIG": str(config)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("it has no pipes")
            # At the end of the block it reads the end of its input.
            yield Side(self.name, process.stdin, process.stdout)

    def versions(self) -> str:
        """Return what it is made of."""
        ours = ("pacifica-archive-hmssideband", "sqlalchemy", "pymysql")
        names = ("pacifica-archiveinterface", "peewee", "pymysql")
        program = (
            "import sys; from importlib.metadata import version as v;"
            "print(', '.join(f'{name} {v(name)}' for name in sys.argv[1:]))"
        )
        return output(
            *(self.python, "-c", program),
            *(ours if self.name == OURS else names),
            environment=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        return {**clean_environment(), **self.environment}


def medium(file_id: int) -> str:
    """Say where the database has a file: every other one is on tape."""
    return "tape" if file_id % 2 else "disk"


def main() -> None:
    """Run the benchmark and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round with little of everything: shows that it runs, no more",
    )
    parser.add_argument(
        "--release-042",
        type=resolved,
        metavar="BIN",
        required=True,
        help="where the commands of release 0.4.2 are",
    )
    parser.add_argument(
        "--older-driver",
        type=resolved,
        metavar="DIR",
        required=True,
        help="a directory to import PyMySQL before 1.2 from, for release 0.4.2",
    )
    parser.add_argument(
        "--out",
        type=resolved,
        help="directory of performance-sideband.json and performance.md; default: docs,"
        " which only a whole run may change",
    )
    given = parser.parse_args()
    if given.out is None and given.quick:
        parser.error("a run of a part does not go into docs: give --out")
    release = str(given.release_042 / "python")
    programs = [
        Program(OURS, sys.executable),
        Program(RELEASE, release),
        Program(OLDER, release, {"PYTHONPATH": str(given.older_driver)}),
    ]
    report = measure(programs, QUICK if given.quick else FULL)
    report.write(given.out or DOCS)
    print(report.markdown())


def measure(programs: Sequence[Program], load: Load) -> Report:
    """Make a tree and a database, and ask all sides for its files."""
    busy = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(MariaDb())
        database = Database(server, Variant())
        database.create()
        config = configure(database, work)
        prefix = work / "archive"
        make_tree(prefix, config, load)
        fill(database, prefix, load)
        sides = [
            stack.enter_context(program.running(config, prefix)) for program in programs
        ]
        ((version,),) = server.execute("SELECT VERSION()")
        return Report(
            command="nox -s bench_sideband",
            busy=busy,
            load=load,
            versions={
                **{program.name: program.versions() for program in programs},
                "server": version,
            },
            # Before the rounds: that warms all sides up.
            asked=count(server, sides, load),
            rounds=run_rounds(sides, load),
        )


def configure(database: Database, work: Path) -> Path:
    """Write the file that configures both sides: the section is release 0.4.2's."""
    # A password that release 0.4.2's configuration reads as it is.
    database.execute(
        f"CREATE USER {_USER}@'%' IDENTIFIED BY '{_USER}'",
        f"GRANT SELECT ON {database.name}.* TO {_USER}@'%'",
    )
    url = database.url()
    config = configparser.ConfigParser(interpolation=None)
    config["hsm_sideband"] = {
        "sam_qfs_prefix": _SAM_QFS_PREFIX,
        "host": str(url.host),
        "port": str(url.port),
        "user": _USER,
        "password": _USER,
        "schema": str(url.database),
    }
    path = work / "config.ini"
    with path.open("w") as file:
        config.write(file)
    return path


def make_tree(prefix: Path, config: Path, load: Load) -> None:
    """Store the files as ours does: each has an attribute to be read."""
    prefix.mkdir()
    with open_archive(
        "hmssideband", config=config, prefix=prefix, durable=False
    ) as archive:
        for file_id in load.ids:
            with archive.create(file_id) as writer:
                writer.write(bytes(1 + file_id % 1000))


def fill(database: Database, prefix: Path, load: Load) -> None:
    """Write the rows of the tree, and those of what else the file system holds."""
    names = [id2filename(file_id) for file_id in load.ids]
    paths = [_SAM_QFS_PREFIX + name for name in names]
    others = [f"/data/other/{number:x}/" for number in range(load.other_directories)]
    database.directories({path.rpartition("/")[0] + "/" for path in paths})
    database.directories(others)
    database.files([f"{others[n % len(others)]}{n:x}" for n in range(load.other_files)])
    # An inode number is the mount's own for the files of the tree, as on a real one;
    # release 0.4.2 would take any other row of it.
    database.execute(
        f"UPDATE sam_inode SET ino = ino + {_OTHERS} WHERE ino > 2",  # noqa: S608 (numbers)
        f"UPDATE sam_path SET ino = ino + {_OTHERS} WHERE ino > 2",  # noqa: S608 (as above)
        f"UPDATE sam_file SET ino = ino + {_OTHERS},"  # noqa: S608 (as above)
        f" p_ino = p_ino + IF(p_ino > 2, {_OTHERS}, 0)",
    )
    parents = dict(database.execute("SELECT path, ino FROM sam_path"))
    inodes, links = [], []
    for file_id, name, path in zip(load.ids, names, paths, strict=True):
        found = Path(f"{prefix}{name}").stat()
        online = medium(file_id) == "disk"
        times = (int(found.st_ctime), int(found.st_mtime))
        inodes.append(
            (found.st_ino, 1, 0, found.st_size, None, *times, 0, 0, int(online))
        )
        above, _, last = path.rpartition("/")
        links.append((parents[f"{above}/"], 1, 0, last, found.st_ino, 1))
    database.insert("sam_inode", *inodes)
    database.insert("sam_file", *links)
    database.execute("ANALYZE TABLE sam_inode, sam_path, sam_file")


def count(server: MariaDb, sides: Sequence[Side], load: Load) -> dict[str, Asked]:
    """Let the server count what it is asked for, for one status."""
    one = load.ids[: load.one]
    acts: list[tuple[str, str, Sequence[int], dict[str, int]]] = [
        ("one by one", "each", one, {}),
        (
            f"{load.threads} threads",
            "threads",
            load.ids[: load.in_threads],
            {"threads": load.threads},
        ),
        ("status_many", "many", load.ids, {}),
    ]
    found = {}
    for side in sides:
        # What is opened once is not each status's.
        side.ask("each", one)
        for what, act, ids, more in acts:
            if side.name != OURS and act == "many":
                continue
            idle = counters(server)
            before = counters(server)
            side.ask(act, ids, **more)
            after = counters(server)
            connections, selects, questions, pings = (
                # Less what it costs to read the counters.
                (third - second - (second - first)) / len(ids)
                for first, second, third in zip(idle, before, after, strict=True)
            )
            found[f"{side.name}, {what}"] = Asked(
                connections=connections,
                selects=selects,
                others=questions - selects,
                pings=pings,
            )
    return found


def counters(server: MariaDb) -> list[int]:
    """Return what the server has counted since its start."""
    return [server.counter(name) for name in _COUNTERS]


def run_rounds(sides: Sequence[Side], load: Load) -> dict[str, list[Figures]]:
    """Measure all sides in turn, each round beginning with another."""
    rounds: dict[str, list[Figures]] = {side.name: [] for side in sides}
    order = random.Random(4)
    for number in range(load.rounds):
        one = order.sample(load.ids, load.one)
        threads = order.sample(load.ids, load.in_threads)
        every = order.sample(load.ids, load.files)
        first = number % len(sides)
        turn = [*sides[first:], *sides[:first]]
        # What is compared is measured one right after the other, in slices: what
        # else the machine does meanwhile comes and goes within seconds.
        ones: dict[str, list[float]] = {side.name: [] for side in turn}
        for start in range(0, len(one), _SLICE):
            for side in turn:
                ones[side.name] += side.ask("each", one[start : start + _SLICE])
        of_threads = {
            side.name: side.ask("threads", threads, threads=load.threads)
            for side in turn
        }
        many = {}
        for side in turn:
            asked = every if side.name == OURS else every[: load.sample]
            many[side.name] = side.ask("many", asked) * load.files / len(asked)
        for name, figures in rounds.items():
            figures.append(
                Figures(
                    one_us=statistics.median(ones[name]) * 1e6,
                    threads_us=of_threads[name] / len(threads) * 1e6,
                    many_s=many[name],
                )
            )
            print(f"round {number + 1}: {name}: {figures[-1]}", flush=True)
    return rounds


if __name__ == "__main__":
    main()
