"""Which names this process is giving to other files just now."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Switches"]

_STRIPES = 256


@attrs.define
class _Stripe:
    begun: int = 0
    ended: int = 0


class Switches:
    """
    Counts what makes a name another file's: renames, links and deletions.

    HPSS opens by name and says nothing of what it opened. Whoever looks at a name
    first and opens it then knows by these counts, without a call, whether another
    thread of this process came between the two. Used by any number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Names that share one see more than happened to them: no harm.
        self._stripes = [_Stripe() for _ in range(_STRIPES)]

    @contextlib.contextmanager
    def under_way(self, path: str) -> Iterator[None]:
        """Say that the name may change its file during a with-block."""
        stripe = self._stripe(path)
        with self._lock:
            stripe.begun += 1
        try:
            yield
        finally:
            with self._lock:
                stripe.ended += 1

    def mark(self, path: str) -> int | None:
        """Return what ``quiet_since`` is to be asked with; None during a change."""
        stripe = self._stripe(path)
        with self._lock:
            return stripe.begun if stripe.begun == stripe.ended else None

    def quiet_since(self, path: str, mark: int | None) -> bool:
        """Whether the name has been the same file's since the mark."""
        with self._lock:
            return mark is not None and self._stripe(path).begun == mark

    def _stripe(self, path: str) -> _Stripe:
        return self._stripes[hash(path) % _STRIPES]
