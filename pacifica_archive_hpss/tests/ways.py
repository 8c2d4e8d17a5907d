"""
What one run of the tests is asked for beyond the ordinary: a row of the noxfile.

``HPSS_TEST_HEADERS=7.4``: the extension module is one built against those headers.
``HPSS_TEST_KNOBS="delay_ms=5"``: knobs that are set after each format.
``HPSS_TEST_SANITIZE=thread``: the stress tests alone, with that sanitizer, for long.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WAY", "Way"]

#: Beginnings of node ids.
_WITH_KNOBS = ("tests/test_contract.py::TestHpss::", "tests/test_ways.py")
_WITH_HEADERS = (
    *_WITH_KNOBS,
    "tests/stress/test_load.py::test_threads_of_one_archive",
    "tests/stress/test_stress.py::test_no_fault",
    "tests/test_counters.py",
    "tests/test_digests.py",
    "tests/test_selftest.py",
    "tests/test_session.py",
    "tests/test_staging.py",
)


@attrs.frozen(kw_only=True)
class Way:
    """
    How the tests are run.

    Attributes:
        headers: the release whose headers are compiled against; empty: as installed.
        knobs: name to value.
        sanitizer: empty: all tests, the stress tests shortly with each.
    """

    headers: str = ""
    knobs: Mapping[str, str] = attrs.field(factory=dict)
    sanitizer: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Way:
        """Read the variables named above."""
        words = environment.get("HPSS_TEST_KNOBS", "").split()
        return cls(
            headers=environment.get("HPSS_TEST_HEADERS", ""),
            knobs=dict(word.split("=", 1) for word in words),
            sanitizer=environment.get("HPSS_TEST_SANITIZE", ""),
        )

    @property
    def ordinary(self) -> bool:
        """Whether nothing is asked for."""
        return self == Way()

    def keeps(self, test: str) -> bool:
        """
        Whether a test, by its node id, is of use.

        Other headers change what the extension module is, unkind calls what each
        operation meets; what neither can change is left to the ordinary run.
        """
        if self.ordinary:
            return True
        if self.sanitizer:
            return test.startswith("tests/stress/")
        wanted = _WITH_HEADERS if self.headers else _WITH_KNOBS
        return test.startswith(wanted)

    @property
    def sanitizers(self) -> tuple[str, ...]:
        """What the stress tests are instrumented with."""
        if self.sanitizer:
            return (self.sanitizer,)
        # What other headers can bring about are wrong places in memory.
        return ("address",) if self.headers else ("thread", "address")

    @property
    def stress_s(self) -> float:
        """How long the stress tests last, in seconds."""
        return 30.0 if self.sanitizer else 3.0


WAY = Way.from_environment(os.environ)
