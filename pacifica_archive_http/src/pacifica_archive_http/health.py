"""``/healthz``: the process lives. ``/readyz``: the backend answers."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_http.status_table import NotReady, find_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    import falcon

    from pacifica_archive_core import Archive
    from pacifica_archive_http.metrics import Metrics

__all__ = ["Alive", "Readiness", "Ready"]

_log = logging.getLogger(__name__)


class Readiness:
    """
    Asks a backend whether it is ready, in a thread that may hang in it.

    There is one such thread at a time, and nobody waits for it longer than
    ``BOUND_S`` after it has asked; from then on, nobody waits until it is back.

    Args:
        archive: returns the archive, which it may open.
        metrics: count and time what is asked.
    """

    #: Seconds that the backend has.
    BOUND_S = 5.0
    #: Seconds that its answer counts.
    CACHED_S = 1.0

    def __init__(self, archive: Callable[[], Archive], metrics: Metrics) -> None:
        self._archive = archive
        self._metrics = metrics
        self._changed = threading.Condition()
        #: When the backend was asked that has not answered; None: it has.
        self._asked: float | None = None
        self._answered: float | None = None
        self._reason: str | None = None
        self._told: str | None = None

    def find_reason(self) -> str | None:
        """Return why the backend is not ready; None: it is."""
        with self._changed:
            asked = self._ask()
            if asked is not None:
                left = asked + self.BOUND_S - time.monotonic()
                self._changed.wait_for(lambda: self._asked != asked, left)
            return self._conclude()

    def is_ready(self) -> bool | None:
        """Return the last answer, and ask for the next; None: there is none yet."""
        with self._changed:
            asked = self._ask()
            if self._answered is None and asked is not None:
                # Soon there is one, unless the backend hangs.
                self._changed.wait_for(lambda: self._asked != asked, 0.2)
            reason = self._conclude()
            return None if self._answered is None and reason is None else not reason

    def _ask(self) -> float | None:
        """Begin to ask, unless there is an answer that counts; the lock is held."""
        now = time.monotonic()
        if self._asked is None and (
            self._answered is None or now - self._answered >= self.CACHED_S
        ):
            threading.Thread(target=self._run, name="readyz", daemon=True).start()
            self._asked = now
        return self._asked

    def _conclude(self) -> str | None:
        """Return what is to be said now; the lock is held."""
        if self._asked is None or time.monotonic() < self._asked + self.BOUND_S:
            return self._reason
        reason = f"the archive did not answer within {self.BOUND_S:g} s"
        self._tell(reason, None)
        return reason

    def _run(self) -> None:
        reason = None
        error = None
        try:
            archive = self._archive()
            with self._metrics.operation("ready"):
                archive.ready()
        except Exception as exc:  # noqa: BLE001 (a boundary, as that of HTTP is)
            problem = find_problem(type(exc))
            # Only what may leave the server: the log has the rest.
            reason = (problem.told and str(exc)) or problem.title
            error = exc
        with self._changed:
            self._reason = reason
            self._answered = time.monotonic()
            self._asked = None
            self._tell(reason, error)
            self._changed.notify_all()

    def _tell(self, reason: str | None, error: Exception | None) -> None:
        """Log a change; not each answer, for who asks does so every few seconds."""
        if reason == self._told:
            return
        self._told = reason
        if reason is None:
            _log.warning("the archive is ready again")
        else:
            _log.error("the archive is not ready: %s", reason, exc_info=error)


class Alive:
    """The resource ``/healthz``."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer without touching the store."""
        resp.data = b'{"status": "ok"}'

    on_head = on_get


@attrs.frozen
class Ready:
    """The resource ``/readyz``."""

    readiness: Readiness

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer, or raise NotReady with the reason."""
        if reason := self.readiness.find_reason():
            raise NotReady(reason)
        resp.data = b'{"status": "ready"}'

    on_head = on_get
