"""
The command ``pacifica-archive``.

Distributions add commands by entry points of the group
``pacifica_archive.commands``.
"""

from __future__ import annotations

import click

from pacifica_archive_core.cli.exits import DEBUG, PROGRAM, epilog
from pacifica_archive_core.cli.files import adopt, delete, stage, status
from pacifica_archive_core.cli.group import CommandGroup
from pacifica_archive_core.cli.installed import backends, check, options
from pacifica_archive_core.cli.names import filename2id, id2filename
from pacifica_archive_core.cli.selection import archive_options, selecting_options
from pacifica_archive_core.cli.transfers import get, put
from pacifica_archive_core.cli.trash import trash, undelete
from pacifica_archive_core.cli.verify import verify

__all__ = ["archive_options", "main"]


@click.group(
    PROGRAM,
    cls=CommandGroup,
    epilog=epilog(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@selecting_options
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
@click.version_option(package_name="pacifica-archive-core", prog_name=PROGRAM)
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """
    Put files into an archive under integer ids, and get them back.

    The options that select the archive may stand here or after the command.
    """
    ctx.meta[DEBUG] = debug


for _command in (
    *(put, get, verify, status, stage, adopt, delete, undelete, trash),
    *(check, backends, options, id2filename, filename2id),
):
    main.add_command(_command)
