"""
``POST /files/status`` and ``/files/stage``: thousands of ids in one request.

JSON lines in, each an id; JSON lines out, a record each (core's ``records``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

from pacifica_archive_core import MAX_FILE_ID
from pacifica_archive_core.records import record_of
from pacifica_archive_http.access import RULES
from pacifica_archive_http.access_log import EXCHANGE
from pacifica_archive_http.status_table import BadRequest, ContentTooLarge, Forbidden
from pacifica_archive_http.transfer import Body, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    import falcon

    from pacifica_archive_core import Archive
    from pacifica_archive_http.access_log import Exchange
    from pacifica_archive_http.limits import Transfers
    from pacifica_archive_http.metrics import Metrics

__all__ = ["MAX_IDS", "JsonLinesOf"]

#: Ids of one request: some 4 MB of answer, and seconds of a slow store's time.
MAX_IDS = 10_000
#: Room for each of them, its line's end and some blanks.
_MAX_BYTES = MAX_IDS * 32
#: Any integer that could be meant; which of them are ids the archive says.
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,30})")


@attrs.frozen(kw_only=True)
class JsonLinesOf:
    """
    The resource of one bulk method of the archive.

    Attributes:
        method: its name.
    """

    archive: Callable[[], Archive]
    transfers: Transfers
    method: Literal["status_many", "stage_many"]

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer a list of ids."""
        # A place for a transfer: a slow store holds the thread for as long.
        with self.transfers.place(req.env):
            ids = _parse_ids(read_document(Body(req.env), _MAX_BYTES))
            req.env[EXCHANGE].ids = len(ids)
            _check_allowed(req, ids)
            ask = getattr(self.archive(), self.method)
            # Whole before a byte of it is sent: the store may fail in the midst.
            metrics: Metrics = req.env[EXCHANGE].metrics
            with metrics.operation(self.method):
                answers = list(ask(ids))
            lines = [_line(record_of(file_id, answer)) for file_id, answer in answers]
        if self.method == "stage_many":
            for _, answer in answers:
                metrics.staged(answer)
        resp.content_type = "application/jsonl"
        resp.data = b"".join(lines)


def _parse_ids(document: bytes) -> list[int]:
    lines = document.split()
    if len(lines) > MAX_IDS:
        raise ContentTooLarge(f"one request takes at most {MAX_IDS} ids")
    for number, line in enumerate(lines, 1):
        if not _NUMBER.fullmatch(line):
            raise BadRequest(
                f"line {number} is no id: the body is one JSON integer a line"
            )
    return [int(line) for line in lines]


def _check_allowed(req: falcon.Request, ids: list[int]) -> None:
    """
    Refuse the whole list for one id that the token is not for.

    Raises:
        Forbidden: with the first of them, which the log has too.
    """
    exchange: Exchange = req.env[EXCHANGE]
    who = exchange.who
    scope = RULES[req.uri_template or ""][req.method]
    if who is None or scope is None:
        return
    for file_id in ids:
        try:
            # What is no id at all is answered as such, in its line.
            who.require(scope, file_id if 0 <= file_id <= MAX_FILE_ID else None)
        except Forbidden:
            exchange.file_id = file_id
            raise


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
