"""What the figures say: medians, ratios, targets; as JSON and as Markdown."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loads import Figures
    from places import Load
    from remote import Remote

__all__ = [
    "TARGETS",
    "Report",
    "Results",
    "Target",
    "machine",
    "spread",
    "table",
    "write_between",
]

_BEGIN = "<!-- The rest, to the end mark, is written by bench/run.py. -->"
_END = "<!-- Here ends what bench/run.py writes. -->"
_OURS, _PLAIN, _DURABLE = "ours", "ours, no digests", "ours, durable"
_RELEASE, _NGINX, _CURL = "0.4.2", "nginx", "curl"
#: The sides of which the targets speak.
_JUDGED = (_PLAIN, _OURS)


@attrs.frozen(kw_only=True)
class Target:
    """
    What a figure of ours has to reach.

    Attributes:
        what: in words.
        figure: a field of Figures, or of Remote beside curl.
        side: whose figure is judged.
        beside: whose figure it is divided by; None for the figure itself.
        at_least: the smallest good value, or
        at_most: the largest.
    """

    what: str
    figure: str
    side: str = _PLAIN
    beside: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        """Return the target in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} MiB"
        return f"≥ {self.at_least:g} x {self.beside}"

    def values(self, results: Results, side: str) -> list[float]:
        """Return what a side came to in every round; nothing if it was not there."""
        if self.beside == _CURL:
            return [getattr(f, self.figure) for f in results.remote.get(side, [])]
        if not {side, self.beside or side} <= results.rounds.keys():
            return []
        if self.beside is None:
            return results.values(side, self.figure)
        return results.ratios(side, self.beside, self.figure)

    def reached(self, value: float) -> bool:
        """Tell whether a value is good."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is None or value >= self.at_least


TARGETS = (
    Target(what="small GET", figure="get", beside=_RELEASE, at_least=6),
    Target(what="small HEAD", figure="head", beside=_RELEASE, at_least=8),
    Target(what="small PUT", figure="put", beside=_RELEASE, at_least=5),
    Target(what="one big GET", figure="big_get", beside=_NGINX, at_least=1.0),
    Target(what="one big PUT", figure="big_put", beside=_NGINX, at_least=0.9),
    Target(what="peak memory of all processes", figure="peak_mib", at_most=200),
    Target(
        what="one big PUT with SHA-256",
        figure="big_put",
        side=_OURS,
        beside=_NGINX,
        at_least=0.5,
    ),
    Target(
        what="remote read through the backend",
        figure="read_ratio",
        side=_OURS,
        beside=_CURL,
        at_least=0.7,
    ),
)

#: Field of Figures to the head of its column and its format.
_RATES = {
    "get": ("GET /s", ",.0f"),
    "head": ("HEAD /s", ",.0f"),
    "put": ("PUT /s", ",.0f"),
    "big_get": ("big GET MB/s", ",.0f"),
    "big_put": ("big PUT MB/s", ",.0f"),
    "parts_get": ("several GET MB/s", ",.0f"),
    "parts_put": ("several PUT MB/s", ",.0f"),
}
_COSTS = {
    "get_us": ("GET CPU µs", ",.0f"),
    "head_us": ("HEAD CPU µs", ",.0f"),
    "put_us": ("PUT CPU µs", ",.0f"),
    "get_cpu": ("big GET CPU s/GiB", ".2f"),
    "put_cpu": ("big PUT CPU s/GiB", ".2f"),
    "peak_mib": ("peak MiB", ",.0f"),
}
#: Likewise of Remote.
_REMOTE = {
    "curl_get": ("curl GET MB/s", ",.0f"),
    "get": ("read MB/s", ",.0f"),
    "read_ratio": ("read / curl", ".2f"),
    "digest": ("read with SHA-256 MB/s", ",.0f"),
    "curl_put": ("curl PUT MB/s", ",.0f"),
    "put": ("write MB/s", ",.0f"),
    "write_ratio": ("write / curl", ".2f"),
    "get_cpu": ("read CPU s/GiB", ".2f"),
    "put_cpu": ("write CPU s/GiB", ".2f"),
    "reads": ("small reads /s", ",.0f"),
}


@attrs.frozen(kw_only=True)
class _Ratios:
    """Some figures of one side, as parts of another's."""

    title: str
    unit: str
    side: str
    beside: str
    figures: tuple[str, ...]


_RATIOS = (
    _Ratios(
        title="SHA-256",
        unit="times no digests",
        side=_OURS,
        beside=_PLAIN,
        figures=("put", "big_put", "parts_put", "put_us", "put_cpu"),
    ),
    # Each PUT on stable storage before its answer.
    _Ratios(
        title="durable",
        unit="times not durable",
        side=_DURABLE,
        beside=_OURS,
        figures=("put", "big_put", "parts_put"),
    ),
)


@attrs.frozen(kw_only=True)
class Results:
    """
    The figures of one place: server to its rounds, in the order of the rounds.

    Attributes:
        place: what the report calls it.
        judged: whether the targets are for it.
        rounds: of the servers.
        remote: of the remote backend on them.
    """

    place: str
    judged: bool
    rounds: dict[str, list[Figures]]
    remote: dict[str, list[Remote]] = attrs.field(factory=dict)

    def values(self, server: str, figure: str) -> list[float]:
        """Return one figure of all rounds."""
        return [getattr(figures, figure) for figures in self.rounds[server]]

    def ratios(self, server: str, beside: str, figure: str) -> list[float]:
        """Return the ratios of two servers, each within one round."""
        pairs = zip(
            self.values(server, figure), self.values(beside, figure), strict=True
        )
        # CPU of little may be too short to be counted.
        return [value / other if other else math.nan for value, other in pairs]


@attrs.frozen(kw_only=True)
class Report:
    """
    One run of the benchmark.

    Attributes:
        command: what was typed.
        busy: the load average before it, of other work.
        load: how much was asked of each server.
        versions: server to version.
        results: of each place.
    """

    command: str
    busy: float
    load: Load
    versions: dict[str, str]
    results: list[Results]

    def write(self, directory: Path) -> None:
        """Write ``performance.json``, and the tables into ``performance.md``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "performance.json").write_text(
            json.dumps({"machine": machine(), **attrs.asdict(self)}, indent=2) + "\n"
        )
        write_between(directory / "performance.md", _BEGIN, self.markdown(), _END)

    def markdown(self) -> str:
        """Return the tables."""
        load = self.load
        rounds = ", ".join(
            f"{results.place} {max(map(len, some.values()))}"
            for results in self.results
            if (some := results.rounds or results.remote)
        )
        on = "; ".join(machine().values())
        small = f"4 KiB at {load.connections} connections for {load.seconds} s"
        several = f"{load.parts} of {_size(load.part_size)} at once"
        lines = [
            f"Made by `{self.command}` on {on}; load average before: {self.busy:.1f}.",
            "",
            *(f"- {server}: {version}" for server, version in self.versions.items()),
            "",
            f"Small is {small}, big is {_size(load.big_size)}, several are {several}.",
            f"Medians of rounds ({rounds}); ratios are taken within each round.",
            "",
        ]
        for results in self.results:
            if results.judged:
                lines += self._targets(results)
        for results in self.results:
            if results.rounds:
                lines += self._figures(results, _RATES, of=results.rounds)
                lines += self._figures(results, _COSTS, of=results.rounds)
            for ratios in _RATIOS:
                if {ratios.side, ratios.beside} <= results.rounds.keys():
                    lines += self._ratios(results, ratios)
            if results.remote:
                lines += self._figures(results, _REMOTE, of=results.remote)
        return "\n".join(lines)

    def missed(self) -> list[str]:
        """Return the targets that were not reached, in words."""
        return [
            f"{target.what}: {spread(values, '.2f')}, wanted {target.wanted}"
            for results in self.results
            if results.judged
            for target, values in _judge(results)
            if not target.reached(statistics.median(values))
        ]

    def _targets(self, results: Results) -> list[str]:
        rows = []
        for target, values in _judge(results):
            form = ",.0f" if target.at_most else ".2f"
            sides = [
                spread(found, form)
                if (found := target.values(results, side))
                else "not measured"
                for side in _JUDGED
            ]
            good = target.reached(statistics.median(values))
            verdict = "reached" if good else "**missed**"
            rows.append((target.what, target.wanted, *sides, target.side, verdict))
        head = (
            *("target", "wanted"),
            *(f"{results.place}: {side}" for side in _JUDGED),
            *("judged", ""),
        )
        return [*table(head, rows), ""]

    def _figures(
        self,
        results: Results,
        columns: dict[str, tuple[str, str]],
        *,
        of: Mapping[str, Sequence[object]],
    ) -> list[str]:
        rows = [
            (
                server,
                *(
                    format(statistics.median(getattr(f, figure) for f in rounds), form)
                    for figure, (_, form) in columns.items()
                ),
            )
            for server, rounds in of.items()
        ]
        head = (results.place, *(title for title, _ in columns.values()))
        return [*table(head, rows), ""]

    def _ratios(self, results: Results, ratios: _Ratios) -> list[str]:
        titles = {**_RATES, **_COSTS}
        rows = [
            (
                titles[figure][0],
                spread(results.ratios(ratios.side, ratios.beside, figure), ".2f"),
            )
            for figure in ratios.figures
        ]
        return [*table((f"{results.place}: {ratios.title}", ratios.unit), rows), ""]


def write_between(page: Path, begin: str, text: str, end: str) -> None:
    """Write what is between two marks of a page anew; without a page, make it."""
    tables = f"{begin}\n\n{text}\n{end}"
    old = page.read_text() if page.exists() else tables
    between = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    page.write_text(between.sub(lambda _: tables, old).rstrip("\n") + "\n")


def machine() -> dict[str, str]:
    """Say what the benchmark ran on."""
    about = Path("/proc/cpuinfo").read_text()
    cpu = re.search(r"model name\s*: (.*)", about)
    # As x86 and ARM call them.
    sha = "with" if re.search(r"\b(sha_ni|sha2)\b", about) else "without"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} CPUs"
        f" ({cpu[1].strip() if cpu else platform.machine()},"
        f" {sha} SHA instructions)",
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
    }


def _judge(results: Results) -> Iterable[tuple[Target, list[float]]]:
    """Yield each target that can be judged with its value in every round."""
    for target in TARGETS:
        if values := target.values(results, target.side):
            yield target, values


def spread(values: Sequence[float], form: str) -> str:
    """Return the median, with the least and the greatest where there are more."""
    low, middle, high = (
        format(value, form)
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def _size(count: int) -> str:
    gib, mib = count / (1 << 30), count / (1 << 20)
    return f"{gib:g} GiB" if gib >= 1 else f"{mib:g} MiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table of Markdown."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
