"""What ``verify`` has done already, kept in a file so that it can go on later."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Self

from pacifica_archive_core.verify import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import BinaryIO

    from pacifica_archive_core.status import FileStatus

__all__ = ["Journal"]

#: What is well needs no second verification; all else is tried again.
WELL = (Result.OK, Result.RECORDED)
#: Longer than any line of a journal.
_LINE_SIZE = 1 << 16
_START = b'{"file_id": '


class Journal:
    """
    A file of one JSON line for each verification that has come to its end.

    It is locked against a second run. A last line without its end, as a killed
    process or a full disk leaves it, is cut off. What is no regular file is
    only written to.

    Args:
        path: made if it is not there.

    Raises:
        OSError: it cannot be opened, read or locked.
        ValueError: the file is no journal.
    """

    def __init__(self, path: str) -> None:
        # Hashes of ids and versions: a million of them in 100 MB.
        self._well: set[int] = set()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._read()
        except BaseException:
            self.close()
            raise

    def holds(self, status: FileStatus) -> bool:
        """Whether this very version was found well."""
        return hash((status.file_id, status.version)) in self._well

    def __len__(self) -> int:
        return len(self._well)

    def add(self, line: str) -> None:
        """
        Append what was found of a file: a verdict as JSON.

        Raises:
            OSError: it could not be written whole.
        """
        data = memoryview(f"{line}\n".encode())
        while data:
            # At once, and past every buffer: a kill takes nothing of it away.
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Free the file and its lock."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        whole = 0
        with os.fdopen(os.dup(self._fd), "rb") as stream:
            for line in _lines(stream):
                if not line.endswith(b"\n"):
                    # Of a file that holds nothing else it might be anybody's text.
                    if not whole and not _START.startswith(line[: len(_START)]):
                        raise ValueError("line 1 is not of a journal")
                    os.truncate(self._fd, whole)
                    return
                self._take(line)
                whole += len(line)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            if Result(record["result"]) in WELL:
                self._well.add(hash((record["file_id"], record["version"])))
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"a line is not of a journal: {line[:40]!r}") from exc


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; only the last may be without its end."""
    while line := stream.readline(_LINE_SIZE):
        if len(line) == _LINE_SIZE:
            raise ValueError(f"a line is not of a journal: {line[:40]!r}")
        yield line
