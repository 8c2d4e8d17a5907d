"""
A process whose children play scenes, and are killed or cut off by rules.

    python victim.py STATE LIBRARY

It never logs in itself, so that each child may. A line of its input is a scene, a
prefix and rules, as JSON; it answers with what ended the child.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Self

import pytest
from scenes import SCENES, Place

from pacifica_archive_core import ArchiveUnavailable, CommitUnclear
from pacifica_archive_hpss.simulator import Simulator

if TYPE_CHECKING:
    from types import TracebackType

LIMIT_S = 30
#: Exit statuses of a child that was told so.
UNAVAILABLE = 10
UNCLEAR = 11


class Victims:
    """Children, one after the other, of a process of their own."""

    def __init__(self, simulator: Simulator) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, simulator.state, simulator.library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, scene: str, place: Place, *rules: str) -> int:
        """
        Let a child play a scene.

        Returns:
            Its exit status: 0 if it was answered rightly, -9 if it was killed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(
            json.dumps([scene, place.prefix, *rules]),
            file=self._process.stdin,
            flush=True,
        )
        line = self._process.stdout.readline()
        place.simulator.clear_rules()
        return int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def _play(simulator: Simulator, name: str, prefix: str, *rules: str) -> int:
    scene, place = SCENES[name], Place(simulator, prefix)
    with scene.open(place) as archive:
        simulator.counters(reset=True)
        for rule in rules:
            simulator.rule(rule)
        try:
            return 0 if scene.act(archive, place) == scene.answer else 1
        except ArchiveUnavailable:
            return UNAVAILABLE
        except CommitUnclear:
            return UNCLEAR


def main(state: str, library: str) -> None:
    """Fork a child for each line, and let none wait between tries."""
    pytest.MonkeyPatch().setattr("pacifica_archive_hpss.session._PAUSES_S", (0.0, 0.0))
    simulator = Simulator(state, library)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _play(simulator, *json.loads(line))
            except BaseException:  # noqa: BLE001 (a child that is forked ends here)
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 (as said)


if __name__ == "__main__":
    main(*sys.argv[1:])
