"""The command of the double."""

from __future__ import annotations

import functools
import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from pacifica_archive_hmssideband.double.errors import DoubleError
from pacifica_archive_hmssideband.double.hsm import Double

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_paths = click.argument("paths", metavar="PATH...", nargs=-1, required=True)
_P = ParamSpec("_P")


def _pass(act: Callable[Concatenate[Double, _P], None]) -> Callable[_P, None]:
    """
    Give a command its double.

    It is made when the command runs, so that its help wants no prefix.
    """

    @functools.wraps(act)
    def command(*args: _P.args, **options: _P.kwargs) -> None:
        ctx = click.get_current_context()
        group = ctx.find_root()
        if group.params["prefix"] is None:
            raise click.UsageError("Missing option '--prefix'.", group)
        double = Double(**group.params)
        ctx.call_on_close(double.close)
        act(double, *args, **options)

    return command


class _Group(click.Group):
    """Turns what the double cannot do into a line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (as click has it)
        """Run the command."""
        try:
            return super().invoke(ctx)
        except DoubleError as exc:
            raise click.ClickException(str(exc)) from exc


@click.group("double", cls=_Group, context_settings={"max_content_width": 88})
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    help="The directory that plays the mount point of SAM-QFS.  [required]",
)
@click.option(
    "--url",
    help="The database, as a URL of SQLAlchemy: MySQL, MariaDB or SQLite."
    "  [default: STATE/sideband.db, of SQLite]",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Where the double keeps its tapes and what it knows.  [default: PREFIX.tape]",
)
def main(prefix: Path | None, url: str | None, state: Path | None) -> None:
    """
    Play Oracle HSM (SAM-QFS) over a directory, for tests and trials.

    A sideband database is kept in step with the directory, and the bytes of files
    go to "tape" (STATE/copies) and come back. While a "run" is active the other
    commands leave the work to it; else they do it at once. A PATH is absolute, or
    relative to the prefix.
    """
    del prefix, url, state  # taken by the commands


@main.command()
@click.option(
    "--lag", default=10.0, show_default=True, help="Seconds between two looks."
)
@click.option(
    "--stage-time", default=0.0, show_default=True, help="Seconds that a stage takes."
)
@_pass
def run(double: Double, lag: float, stage_time: float) -> None:
    """Keep the database in step, until SIGTERM or SIGINT."""
    logging.basicConfig(format="%(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    double.run(lag, stage_time, stop, ready=lambda: click.echo("ready"))


@main.command()
@click.option(
    "--partial", default=0, show_default=True, help="Bytes that stay on disk."
)
@_paths
@_pass
def release(double: Double, partial: int, paths: tuple[str, ...]) -> None:
    """Take the bytes of files away that are on tape."""
    for path in double.release(paths, partial):
        click.echo(f"{path}: put off: it is open, or its row is not offline", err=True)


@main.command()
@click.option("--fast", is_flag=True, help="Do not add missing slashes, as with -f.")
@_pass
def check(double: Double, *, fast: bool) -> None:
    """Compare the database with the directory and mend it, as samdb check does."""
    click.echo(f"{double.check(fast=fast)} rows mended")


@main.command()
@click.argument("old")
@click.argument("new")
@_pass
def rename(double: Double, old: str, new: str) -> None:
    """Rename a file or directory; the database as SAM-QFS does, with its defect."""
    double.rename(old, new)


def _add(name: str, act: Callable[[Double, tuple[str, ...]], None], text: str) -> None:
    @main.command(name, help=text)
    @_paths
    @_pass
    def command(double: Double, paths: tuple[str, ...]) -> None:
        act(double, paths)


_add("archive", Double.archive, "Copy files to tape.")
_add("stage", Double.stage, "Bring the bytes of files back.")
_add("lose-events", Double.lose_events, "Lose the events of PATHs, until a check.")

if __name__ == "__main__":
    main(prog_name="python -m pacifica_archive_hmssideband.double")
