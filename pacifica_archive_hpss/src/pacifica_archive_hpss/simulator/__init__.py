"""
A simulator of HPSS's Client API, for tests and trials where no HPSS is.

Its C sources are in ``csrc/``; here is what compiles and drives them. It needs
nothing but Python and a C compiler: not the compiled binding, nor core.
See ``python -m pacifica_archive_hpss.simulator --help``.
"""

from __future__ import annotations

from pacifica_archive_hpss.simulator.building import (
    SANITIZERS,
    VERSIONS,
    BuildError,
    build,
    control_library,
)
from pacifica_archive_hpss.simulator.control import (
    Counters,
    Entry,
    Level,
    Simulator,
    SimulatorError,
)

__all__ = [
    "SANITIZERS",
    "VERSIONS",
    "BuildError",
    "Counters",
    "Entry",
    "Level",
    "Simulator",
    "SimulatorError",
    "build",
    "control_library",
]
