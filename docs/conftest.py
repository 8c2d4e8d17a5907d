"""Run the examples of the pages: Python, and what is typed at a console."""

from __future__ import annotations

import sys
from pathlib import Path

# Not installed anywhere: generate.py and what is beside the tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]

from runner import EXAMPLES  # noqa: E402 (its path is set above)

pytest_collect_file = EXAMPLES.pytest()
