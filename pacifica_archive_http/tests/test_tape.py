"""Files that are on tape, as MemoryArchive plays one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asking import ByCall

from pacifica_archive_http import make_app

if TYPE_CHECKING:
    from pacifica_archive_core import MemoryArchive


@pytest.fixture
def offline(memory: MemoryArchive) -> ByCall:
    """File 5 is on tape only."""
    call = ByCall(make_app(memory))
    call("PUT", "/5", b"bytes")
    memory.purge(5)
    return call


def test_get_of_a_file_on_tape_says_how_to_stage_it(offline: ByCall) -> None:
    answer = offline("GET", "/5")

    assert (503, "60") == (answer.status, answer.headers["retry-after"])
    assert "POST to this address has it staged" in answer.json["message"]


def test_head_of_a_file_on_tape_says_so_and_recalls_nothing(
    offline: ByCall, memory: MemoryArchive
) -> None:
    headers = offline("HEAD", "/5").headers
    memory.finish_recalls()

    assert ("tape", "(0, 5)") == (
        headers["x-pacifica-file-storage-media"],
        headers["x-pacifica-bytes-per-level"],
    )
    assert not memory.status(5).online


@pytest.mark.parametrize("at", ["/5", "/files/5"])
def test_head_of_a_file_on_tape_tells_how_that_is_known(
    offline: ByCall, at: str
) -> None:
    answer = offline("HEAD", at)

    assert "memory" == answer.headers["x-pacifica-residency-source"]


def test_head_of_the_standard_address_knows_a_file_on_tape(offline: ByCall) -> None:
    answer = offline("HEAD", "/files/5")

    assert (200, "5") == (answer.status, answer.headers["content-length"])


def test_post_asks_for_the_file_and_does_not_wait(offline: ByCall) -> None:
    answer = offline("POST", "/5")

    assert (202, {"file": "/5", "message": "File is being staged"}) == (
        answer.status,
        answer.json,
    )


def test_what_was_staged_is_served(offline: ByCall, memory: MemoryArchive) -> None:
    offline("POST", "/5")
    memory.finish_recalls()

    assert b"bytes" == offline("GET", "/5").body
    assert 200 == offline("POST", "/5").status
