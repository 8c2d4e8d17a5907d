"""
The contract of every archive, as tests; needs the extra ``[testing]``.

A backend's author subclasses ``ArchiveContract`` in a test module, gives what
its docstring asks for, and has every test of the contract.
"""

from __future__ import annotations

import pytest

# Before the imports below, or a failing assert would show no values.
# Not the package itself: its import, which is this one, is not to be rewritten.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "adoption",
            "child",
            "closing",
            "digests",
            "identity",
            "model",
            "processes",
            "reading",
            "status",
            "storing",
            "tape",
            "threads",
            "trash",
            "versions",
        )
    )
)

from pacifica_archive_core.testing.contract import (  # noqa: E402 (see above)
    ArchiveContract,
    SourceKind,
)

__all__ = ["ArchiveContract", "SourceKind"]
