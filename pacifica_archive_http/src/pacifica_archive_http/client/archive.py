"""The archive behind a server."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from pacifica_archive_core import (
    Archive,
    ArchiveError,
    CommitUnclear,
    FileOffline,
    FileStatus,
    InvalidFileId,
    NoSuchFile,
    SourceRefused,
)
from pacifica_archive_core.ids import checked_file_id
from pacifica_archive_core.records import answer_of
from pacifica_archive_http.client.options import HttpOptions
from pacifica_archive_http.client.reader import HttpReader, open_reader, status_in
from pacifica_archive_http.client.server import Server, Upload, is_done, no_archive
from pacifica_archive_http.client.writer import HELD, HeldWriter, StreamingWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pacifica_archive_core import ArchiveWriter

__all__ = ["HttpArchive"]

#: Ids in one question about many.
_BATCH = 1000
#: Seconds between two looks at a file that is on its way from tape.
_FIRST_LOOK_S = 0.5
_LAST_LOOK_S = 30.0


class HttpArchive(Archive):
    """
    An archive on another host, by way of ``pacifica-archive serve``.

    What may be asked twice is asked again when a connection breaks; what changes
    a file is sent once, and CommitUnclear says that its answer did not come.
    """

    options_class = HttpOptions
    config_sections: ClassVar = ("http",)
    block_size = 1 << 20

    options: HttpOptions

    def __init__(self, options: HttpOptions) -> None:
        super().__init__(options)
        self._server = Server(options, self.ensure_open)

    def _open(self, file_id: int, *, recall: bool) -> HttpReader:
        deadline = time.monotonic() + self.options.recall_timeout_s
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                return open_reader(self, self._server, file_id)
            except FileOffline:
                if not recall:
                    raise
            online = self._stage(file_id)
            while not online:
                pause_s = self._wait_for_tape(file_id, pause_s, deadline)
                online = self._status(file_id).online
            # Else a store of two minds would be asked without a pause.
            pause_s = self._wait_for_tape(file_id, pause_s, deadline)

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        headers = {"Content-Type": "application/octet-stream"}
        if mtime_ns is not None:
            headers["X-Pacifica-Mtime-Ns"] = str(mtime_ns)
        if not overwrite:
            headers["If-None-Match"] = "*"
        if size is None or size <= HELD:
            return HeldWriter(self, self._server, file_id, size=size, headers=headers)
        return StreamingWriter(self, self._server, file_id, size=size, headers=headers)

    def _status(self, file_id: int) -> FileStatus:
        # Not the question about many, which takes a place among the transfers.
        answer, _ = self._server.ask(
            "HEAD",
            f"/files/{file_id}",
            file_id=file_id,
            headers={"X-Pacifica-Want": "status", "Want-Repr-Digest": "sha-256=0"},
        )
        return status_in(answer, file_id)

    def _stage(self, file_id: int) -> bool:
        answer, data = self._server.ask("POST", f"/files/{file_id}", file_id=file_id)
        if not is_done(data):
            raise no_archive("it does not say what is staged")
        return answer.status != HTTPStatus.ACCEPTED

    def _delete(self, file_id: int) -> None:
        unclear = "deleted, or not: look at its status"
        data = self._server.change(
            "DELETE",
            file_id,
            upload=Upload(),
            headers={"Content-Length": "0"},
            unclear=unclear,
        )
        if not is_done(data):
            raise CommitUnclear(file_id, unclear)

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        """Return the digests kept with the present version."""
        file_id = self._ready(file_id)
        answer, _ = self._server.ask("HEAD", f"/files/{file_id}", file_id=file_id)
        return answer.digests()

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        """
        Have the server make the file at its own path ``source`` that of this id.

        Raises:
            SourceRefused, FileExists, CommitUnclear: as they say.
            NotSupported: the archive behind the server cannot adopt.
        """
        file_id = self._ready(file_id)
        body = json.dumps({"path": source}).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        if not overwrite:
            headers["If-None-Match"] = "*"
        data = self._server.change(
            "PATCH",
            file_id,
            upload=Upload([body]),
            headers=headers,
            # What the server cannot take for a path.
            special=dict.fromkeys(("bad-request", "content-too-large"), SourceRefused),
        )
        if not is_done(data):
            raise CommitUnclear(file_id)

    def status_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, FileStatus | ArchiveError]]:
        """Yield each id with its status, or with the error of this very file."""
        for file_id, answer in self._answers("status", file_ids):
            if isinstance(answer, bool):
                raise no_archive("it gives no status")
            yield file_id, answer

    def stage_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, bool | ArchiveError]]:
        """Ask for recalls; yields as ``status_many`` does, values of ``stage``."""
        for file_id, answer in self._answers("stage", file_ids):
            if isinstance(answer, FileStatus):
                raise no_archive("it does not say what is staged")
            yield file_id, answer

    def check(self) -> None:
        """
        Ask the server for its welcome, and its store for a file.

        Raises:
            ArchiveUnavailable: one of them does not answer.
        """
        self.ensure_open()
        self._server.ask("GET", "/")
        # It need not be there, only be looked for.
        with contextlib.suppress(NoSuchFile):
            self._status(0)

    def _close(self) -> None:
        self._server.close()

    def _wait_for_tape(self, file_id: int, pause_s: float, deadline: float) -> float:
        """Wait between two looks; return how long to wait the next time."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise FileOffline(file_id, "its recall takes too long: try again later")
        self._server.pause(min(pause_s, left_s))
        return min(2 * pause_s, _LAST_LOOK_S)

    def _answers(
        self, question: str, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, FileStatus | bool | ArchiveError]]:
        """Ask in batches; what is no id is not sent."""
        rest = iter(file_ids)
        while batch := list(itertools.islice(rest, _BATCH)):
            self.ensure_open()
            wrong: dict[int, InvalidFileId] = {}
            ids = []
            for place, file_id in enumerate(batch):
                try:
                    ids.append(checked_file_id(file_id))
                except InvalidFileId as exc:
                    wrong[place] = exc
            answers = iter(self._ask_many(question, ids))
            for place, file_id in enumerate(batch):
                yield file_id, wrong.get(place) or next(answers)

    def _ask_many(
        self, question: str, ids: list[int]
    ) -> list[FileStatus | bool | ArchiveError]:
        """Return the answers to one question, in the order of the ids."""
        if not ids:
            return []
        _, data = self._server.ask(
            "POST",
            f"/files/{question}",
            headers={"Content-Type": "application/jsonl"},
            body="".join(f"{file_id}\n" for file_id in ids).encode(),
        )
        try:
            records = [json.loads(line) for line in data.splitlines()]
            answers = [answer_of(record) for record in records]
            answered = [record["file_id"] for record in records]
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as exc:
            raise no_archive("its answer about many files is none") from exc
        if answered != ids:
            raise no_archive("its answer is about other files")
        return answers
