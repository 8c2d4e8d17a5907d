"""Faults for a copy of the shim, which tests that look for faults have to find."""

from __future__ import annotations

import re


def unlocked(source: str) -> str:
    """Have every call counted, by all threads and without a lock."""
    counting = "static unsigned calls; if (++calls == 0) return;"
    return _inserted(source, "begin", counting)


def kept(source: str) -> str:
    """Let the PVLists be."""
    changed = re.sub(r"free\((?=[^)]*PVList\))", "(void)(", source)
    assert changed != source
    return changed


def overrun(source: str) -> str:
    """Write behind a block of the heap."""
    copying = "char *copy = strdup(path); copy[strlen(path) + 1] = 0; free(copy);"
    return _inserted(source, "pah_lstat", copying)


def _inserted(source: str, function: str, statement: str) -> str:
    """Return the source with a statement at the start of a function."""
    changed = re.sub(
        rf"(\n[a-z0-9_ ]+ {function}\([^{{;]*\)\n\{{)", rf"\1\n    {statement}", source
    )
    assert changed != source
    return changed
