"""
How many calls each operation makes: the one table, for the tests and the docs.

``python tests/counts.py`` prints it as docs/performance.md has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COUNTS", "LOCAL", "Count", "table"]

#: In place of a number: one for each buffer of the file, or for each file asked after.
N = -1
#: And so many more: "." and "..", and the one that says that it is the end.
N_AND_3, N_AND_7 = -4, -8
#: What asks neither the core server nor a mover.
LOCAL = {"SetFileOffset"}


@attrs.frozen(kw_only=True)
class Count:
    """
    What one operation calls.

    Attributes:
        calls: entry points of the Client API, without ``hpss_``, and how often.
        old: round trips of release 0.4.2, read from its source (fact 6); ``n`` is of
            its buffers, which are of 1 MiB.
    """

    calls: Mapping[str, int]
    old: str = ""

    def with_n(self, n: int) -> dict[str, int]:
        """Return the calls for ``n`` buffers or files."""
        return {
            name: count if count >= 0 else n + _more(count)
            for name, count in self.calls.items()
        }

    @property
    def formula(self) -> str:
        """The round trips, as ``4 + n``; what is local is none."""
        trips = [count for name, count in self.calls.items() if name not in LOCAL]
        fixed = sum(count if count >= 0 else _more(count) for count in trips)
        times = sum(count < 0 for count in trips)
        many = [f"{times} n" if times > 1 else "n"] * bool(times)
        return " + ".join([str(fixed)] * bool(fixed) + many)


def _more(count: int) -> int:
    """Return how many more than n are meant."""
    return N - count


_PUT = {"Open": 1, "Write": N, "Close": 1, "Utime": 1}
_REPLACE = {**_PUT, "Rename": 1}
_CREATE = {**_PUT, "Link": 1, "Unlink": 1}
_SOURCE = {"Lstat": 1}
_LIST = {"Opendir": 1, "Readdir": N_AND_3, "Closedir": 1}
# The directory of directories too, in which one is here.
_TRASH = {"Opendir": 2, "Readdir": N_AND_7, "Closedir": 2, "Lstat": N}
# HPSS opens by name: one look before, and one after that proves what was opened.
_GET = {"FileGetXAttributes": 2, "Open": 1, "Read": N, "Close": 1}

COUNTS = {
    "status": Count(calls={"FileGetXAttributes": 1}, old="6"),
    "put, replacing": Count(calls=_REPLACE, old=">= 15 + n"),
    "put, creating only": Count(calls=_CREATE, old=">= 15 + n"),
    "put, durable": Count(calls={**_REPLACE, "Fsync": 1}),
    # They are of a version, and that has the id of the bitfile in it.
    "put, with digests": Count(
        calls={**_REPLACE, "FileGetXAttributes": 1, "UserAttrSetAttrs": 1}
    ),
    "put, where the mode at create does not stick": Count(
        calls={**_REPLACE, "Chmod": 1}
    ),
    "put, the first one of a process": Count(calls={**_REPLACE, "Lstat": 1}),
    "put, into a directory that is not there": Count(
        calls={**_REPLACE, "Rename": 2, "Mkdir": 2}
    ),
    "get": Count(calls=_GET, old=">= 9 + n"),
    "get from an offset": Count(calls={**_GET, "SetFileOffset": 1}, old=">= 9 + n"),
    # From 9.3 on it is hpss_GetBatchAsynchStatus that is asked.
    "stage, on tape and not asked for": Count(
        calls={
            "FileGetXAttributes": 1,
            "GetAsyncStatus": 1,
            "StageCallBack": 1,
        },
        old="6, and waits",
    ),
    "stage, asked for already": Count(
        calls={"FileGetXAttributes": 1, "GetAsyncStatus": 1}, old="6, and waits"
    ),
    "stage, on disk": Count(calls={"FileGetXAttributes": 1}, old="6"),
    "delete": Count(calls={"Unlink": 1}, old="2"),
    "trash": Count(calls={"Lstat": 1, "Rename": 1}),
    # A second look says that it is the directory and not the file that is missing.
    "trash, the first of 256 directories": Count(
        calls={"Lstat": 2, "Rename": 2, "Mkdir": 2}
    ),
    "undelete, n names being in the directory": Count(
        calls={**_LIST, "Lstat": 1, "Link": 1, "Unlink": 1}
    ),
    "list of the trash, of one directory": Count(calls=_TRASH),
    "emptying of the trash, of one directory": Count(calls={**_TRASH, "Unlink": N}),
    # A look at each component below the root.
    "adopt, replacing": Count(calls={**_SOURCE, "Rename": 1}, old=">= 10"),
    "adopt, creating only": Count(
        calls={**_SOURCE, "Link": 1, "Unlink": 1}, old=">= 10"
    ),
    "adopt, of another mode": Count(calls={**_SOURCE, "Chmod": 1, "Rename": 1}),
    "adopt, three directories down": Count(calls={**_SOURCE, "Lstat": 4, "Rename": 1}),
    # HPSS says the same of a file without attributes as of none.
    "digests": Count(calls={"UserAttrGetAttrs": 1, "FileGetXAttributes": 1}),
    "digests of an open file": Count(calls={"UserAttrGetAttrs": 1}),
    # A look before and one after: attributes are set by name.
    "record digests": Count(
        calls={
            "UserAttrGetAttrs": 1,
            "FileGetXAttributes": 2,
            "UserAttrSetAttrs": 1,
        }
    ),
    "check": Count(calls={"Lstat": 1}, old="2"),
    "check of a site": Count(calls={"LookupRootCS": 1, "PingCore": 1}, old="2"),
    "status of many": Count(calls={"FileGetXAttributes": N}, old="6 each"),
    # For each cartridge and hundred files.
    "stage of many, on one cartridge": Count(
        calls={
            "FileGetXAttributes": N,
            "GetAsyncStatus": 1,
            "StageBatchCallBack": 1,
        }
    ),
    "stage of many, before 9.3": Count(
        calls={"FileGetXAttributes": N, "GetAsyncStatus": N, "StageCallBack": N}
    ),
}


def table() -> str:
    """Return the table in Markdown."""
    rows = [
        f"| {name} | {count.old or '-'} | {count.formula} | {_words(count.calls)} |"
        for name, count in COUNTS.items()
    ]
    head = ["| operation | 0.4.2 | now | calls |", "|---|---|---|---|"]
    return "\n".join(head + rows) + "\n"


def _words(calls: Mapping[str, int]) -> str:
    return ", ".join(
        name if count == 1 else f"{_times(count)} {name}"
        for name, count in calls.items()
    )


def _times(count: int) -> str:
    if count >= 0:
        return str(count)
    return "n" if count == N else f"n + {_more(count)}"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 (for the docs)
