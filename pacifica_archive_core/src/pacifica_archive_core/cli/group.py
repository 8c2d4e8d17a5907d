"""The group of commands: those of core, and those that distributions add."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import click

from pacifica_archive_core.cli.exits import (
    BrokenCommand,
    complain,
    exit_code,
    quiet_ends,
)
from pacifica_archive_core.errors import ArchiveError

__all__ = ["COMMANDS", "CommandGroup", "PluginCommand"]

#: The entry-point group; an entry point is a click command.
COMMANDS = "pacifica_archive.commands"


class CommandGroup(click.Group):
    """
    Core's commands, then those of the entry points, by name.

    Also the one place where an error becomes a message and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return core's commands in the order they were added, then the others."""
        points = metadata.entry_points(group=COMMANDS)
        own = list(self.commands)
        return own + sorted({point.name for point in points} - {*own})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of core, else one that is imported when it is used."""
        if own := super().get_command(ctx, cmd_name):
            return own
        points = metadata.entry_points(group=COMMANDS, name=cmd_name)
        return PluginCommand(cmd_name, tuple(points)) if points else None

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (click's signature)
        """Run a command; its errors end in one line and an exit code."""
        with quiet_ends():
            try:
                return super().invoke(ctx)
            except ArchiveError as exc:
                complain(exc)
                ctx.exit(exit_code(exc))


class PluginCommand(click.Command):
    """
    Stands for the command of another distribution, imported when it is used.

    So a broken one harms no other command, help and completion included.
    """

    def __init__(self, name: str, points: tuple[metadata.EntryPoint, ...]) -> None:
        self._points = points
        self._owners = ", ".join(
            sorted(
                f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
                for point in points
            )
        )
        super().__init__(name, help=f"Added by {self._owners}.")

    def load(self) -> click.Command:
        """
        Import the command.

        Raises:
            BrokenCommand: it cannot be had, and why.
        """
        if len(self._points) > 1:
            raise BrokenCommand(
                f"command {self.name!r} is offered by {self._owners}:"
                " uninstall all but one"
            )
        about = (
            f"command {self.name!r} ({self._points[0].value} of {self._owners})"
            " cannot be loaded"
        )
        try:
            command = self._points[0].load()
        except Exception as exc:
            # Importing a stranger's module may raise anything.
            raise BrokenCommand(f"{about}: {type(exc).__name__}: {exc}") from exc
        if not isinstance(command, click.Command):
            raise BrokenCommand(f"{about}: it is no click command")
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 (click's signature)
    ) -> click.Context:
        """Parse as the command itself does; from here on it is the command."""
        try:
            command = self.load()
        except BrokenCommand:
            if not extra.get("resilient_parsing"):
                raise
            # Completion asks; there is nothing to offer, nor a place to complain.
            return super().make_context(info_name, args, parent, **extra)
        return command.make_context(info_name, args, parent, **extra)
