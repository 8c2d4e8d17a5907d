"""The page about remote archives bounds what the code bounds."""

from __future__ import annotations

import attrs
import generate
import pytest

from pacifica_archive_http.client import HttpOptions
from pacifica_archive_http.client.archive import _BATCH, _FIRST_LOOK_S, _LAST_LOOK_S
from pacifica_archive_http.client.reader import _GROWING, _PIECE, _SMALL
from pacifica_archive_http.client.server import _PASSING
from pacifica_archive_http.client.writer import HELD
from pacifica_archive_http.digests import MAX_KEPT, MAX_KEPT_SIZE

REMOTE = (generate.DOCS / "remote.md").read_text()
DEFAULTS = {field.name: field.default for field in attrs.fields(HttpOptions)}


def test_windows_are_those_of_the_code() -> None:
    assert (1 << 16, 1 << 20, 1 << 24) == _GROWING
    assert "the first 64 KiB" in REMOTE
    assert "windows of 1 MiB, then 16 MiB, then the rest in one" in REMOTE


@pytest.mark.parametrize(
    "bound",
    [
        f"a file up to {_SMALL >> 10} KiB",
        f"in pieces of {_PIECE >> 20} MiB",
        f"Up to {HELD >> 20} MiB is held in memory",
        f"ask for {_BATCH} in one request",
        f"up to {MAX_KEPT} digests with a file",
        f"of up to {MAX_KEPT_SIZE} bytes",
        f"from half a second to {_LAST_LOOK_S:.0f} seconds",
        f"within `connect_timeout_s` ({DEFAULTS['connect_timeout_s']:.0f})",
        f"for `timeout_s` ({DEFAULTS['timeout_s']:.0f})",
        f"has `commit_timeout_s` ({DEFAULTS['commit_timeout_s']:.0f})",
        f"for `retry_for_s` ({DEFAULTS['retry_for_s']:.0f} seconds)",
        f"out of `max_connections` ({DEFAULTS['max_connections']})",
    ],
)
def test_bounds_are_those_of_the_code(bound: str) -> None:
    assert bound in REMOTE


def test_looks_at_a_recall_begin_after_half_a_second() -> None:
    assert _FIRST_LOOK_S == 0.5


def test_what_a_proxy_answers_in_passing_is_listed() -> None:
    *most, last = sorted(_PASSING)

    assert f"a proxy answers {', '.join(map(str, most))} or {last} |" in REMOTE


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_option_is_explained(name: str) -> None:
    """Beyond the table of options."""
    assert f"`{name}`" in REMOTE
