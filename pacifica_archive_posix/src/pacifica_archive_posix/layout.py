"""Under which names a tree keeps its files, and the marker that remembers it."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pacifica_archive_core import MAX_FILE_ID, ConfigError, id2filename
from pacifica_archive_posix.descriptors import opened

if TYPE_CHECKING:
    from pacifica_archive_posix.incoming import Incoming

__all__ = ["MARKER", "Layout"]

#: The file in the prefix that remembers the layout.
MARKER = ".pacifica-archive.json"

_FORMAT = 1
#: Entries of the prefix to look at: a flat tree may hold millions.
_GLANCE = 1000
_FLAT_FILE = re.compile(r"0|[1-9][0-9]{0,18}")
_NESTED_FILE = re.compile(r"file\.[0-9a-f]{1,2}")
_NESTED_DIRECTORY = re.compile(r"[0-9a-f]{2}")


class Layout:
    """
    The names of the files of one tree.

    Flat: ``prefix/12345``. Nested, by ``id2filename``: ``prefix/39/3039``.
    """

    def __init__(self, prefix: str, *, use_id2filename: bool) -> None:
        self.prefix = prefix
        self.marker = f"{prefix}/{MARKER}"
        self.use_id2filename = use_id2filename

    def path(self, file_id: int) -> str:
        """Return where the file of this id is or would be."""
        name = id2filename(file_id) if self.use_id2filename else f"/{file_id}"
        return self.prefix + name

    def candidate(self, path: str) -> int | None:
        """Return the only id whose file may have this path's last part."""
        name = path.rpartition("/")[2]
        base = 16 if self.use_id2filename else 10
        try:
            file_id = int(name.removeprefix("file."), base)
        except ValueError:
            return None
        return file_id if 0 <= file_id <= MAX_FILE_ID else None

    def ensure_kept(self) -> bool:
        """
        Compare with what the marker, or else the look of the tree, says.

        Returns:
            Whether there is a marker.

        Raises:
            ConfigError: the tree has the other layout.
            OSError: the marker or the prefix cannot be read.
        """
        marked = self._read_marker()
        found = self._look() if marked is None else marked
        if found not in {None, self.use_id2filename}:
            raise ConfigError(
                "the tree was written with the option use_id2filename ="
                f" {str(found).lower()}"
            )
        return marked is not None

    def mark(self, incoming: Incoming) -> None:
        """
        Write the marker, whole, unless another process was faster.

        Raises:
            ConfigError: the other process has the other layout.
            OSError: as system calls do.
        """
        marker = {"format": _FORMAT, "use_id2filename": self.use_id2filename}
        file = incoming.create()
        try:
            file.write(json.dumps(marker).encode() + b"\n")
            file.seal(mtime_ns=None, attributes={}, digests={}, durable=True)
            with opened(self.prefix) as directory:
                file.move(MARKER, directory, overwrite=False)
        except FileExistsError:
            self.ensure_kept()
        finally:
            file.discard()

    def _read_marker(self) -> bool | None:
        try:
            text = Path(self.marker).read_bytes()
        except FileNotFoundError:
            return None
        try:
            marker = json.loads(text)
            kept = marker["use_id2filename"]
            if marker["format"] != _FORMAT or not isinstance(kept, bool):
                raise ValueError(marker)
        except (ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"the marker {MARKER} in the prefix is not of this release"
            ) from exc
        return kept

    def _look(self) -> bool | None:
        """Tell the layout of a tree of release 0.4.2; None if it shows neither."""
        flat = nested = False
        with os.scandir(self.prefix) as entries:
            for entry in itertools.islice(entries, _GLANCE):
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    nested |= _NESTED_DIRECTORY.fullmatch(name) is not None
                elif entry.is_file(follow_symlinks=False):
                    flat |= _FLAT_FILE.fullmatch(name) is not None
                    nested |= _NESTED_FILE.fullmatch(name) is not None
        return nested if flat != nested else None
