"""Writers of a file of tokens in processes of their own; imported by name there."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacifica_archive_http.access import Scope
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Callable

#: The calls to the system of a writer, in their order.
STEPS = ("fsync", "replace", "fsync of the folder")


def add_many(file: str, who: str, count: str) -> None:
    """Add tokens one after the other."""
    for number in range(int(count)):
        add_token(Path(file), f"{who}-{number}", scopes=[Scope.READ])


def die_at(file: str, step: str) -> None:
    """Add a token and be killed before that step is done."""
    seen: list[str] = []

    def dying(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any) -> Any:  # noqa: ANN401 (passed through)
            seen.append(name)
            if STEPS[len(seen) - 1] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args)

        return act

    os.fsync = dying("fsync", os.fsync)
    Path.replace = dying("replace", Path.replace)  # type: ignore[method-assign] # dies
    add_token(Path(file), "new", scopes=[Scope.READ])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
