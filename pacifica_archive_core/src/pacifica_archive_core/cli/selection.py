"""Which archive a command works on: the options that say it, and opening it."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pacifica_archive_core.backends import ArchiveSpec, backend_names
from pacifica_archive_core.cli.exits import Failures, stoppable, warnings_said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_core.archive import Archive

__all__ = ["archive_options", "complete_backend", "opened", "selecting_options"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_Result = TypeVar("_Result")


def complete_backend(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """
    Offer what is installed to a shell, without importing any of it.

    There is no click.Choice: what is not installed is refused, with the way to
    install it, when it is loaded.
    """
    return [name for name in backend_names() if name.startswith(incomplete)]


def selecting_options(command: _Decorated) -> _Decorated:
    """Add the options; what they are given is kept for ``archive_options``."""
    for add in (
        click.option(
            *("-o", "--option"),
            multiple=True,
            metavar="KEY=VALUE",
            expose_value=False,
            callback=_keep_option,
            help="Option of the backend, see 'options BACKEND'; repeatable.",
        ),
        click.option(
            *("-c", "--config"),
            type=click.Path(),
            metavar="FILE",
            expose_value=False,
            callback=_keep,
            help="INI file  [default: $ARCHIVEI_CONFIG, $ARCHIVEINTERFACE_CONFIG,"
            " ./config.cfg if it is there]",
        ),
        click.option(
            "--prefix",
            type=click.Path(),
            metavar="PATH",
            expose_value=False,
            callback=_keep_option,
            help="Where the archive's files live; the same as -o prefix=PATH.",
        ),
        click.option(
            *("-t", "--type"),
            shell_complete=complete_backend,
            metavar="BACKEND",
            expose_value=False,
            callback=_keep,
            help="Backend, one of 'backends'  [default: $PACIFICA_ARCHIVE_TYPE,"
            " $PAI_BACKEND_TYPE, posix]",
        ),
    ):
        command = add(command)
    return command


def archive_options(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """
    Let a click command say which archive it works on.

    Adds ``-t/--type``, ``--prefix``, ``-c/--config`` and ``-o/--option``, which
    may as well stand before the command's name.
    The command is called with the keyword ``spec``, an ArchiveSpec of them and
    of the environment; a ConfigError of it is reported by the group.
    """

    @functools.wraps(command)
    def with_spec(*args: Any, **kwargs: Any) -> _Result:  # noqa: ANN401 (the command's own)
        meta = click.get_current_context().meta
        spec = ArchiveSpec.from_environment(
            os.environ,
            backend=meta.get(_key("type")),
            config=meta.get(_key("config")),
            given=meta.get(_key("option")),
        )
        return command(*args, spec=spec, **kwargs)

    return selecting_options(with_spec)


@contextlib.contextmanager
def opened(spec: ArchiveSpec) -> Iterator[tuple[Archive, Failures]]:
    """
    Open the archive for one command; end that with the code of its failures.

    Signals that ask for the end unwind the block, so that writers discard.
    """
    failures = Failures()
    with stoppable(), warnings_said(), spec.open() as archive:
        yield archive, failures
    failures.finish()


def _key(name: str) -> str:
    # Contexts of a group and its command share one meta, and so may others.
    return f"{__name__}.{name}"


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if _key(str(param.name)) in ctx.meta:
            raise click.BadParameter("given twice, before the command too", ctx, param)
        ctx.meta[_key(str(param.name))] = value


def _keep_option(
    ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...] | None
) -> None:
    """Gather ``-o`` and ``--prefix``, each key once."""
    pairs = (f"prefix={value}",) if isinstance(value, str) else value or ()
    given = ctx.meta.setdefault(_key("option"), {})
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not (key and separator):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", ctx, param)
        if key in given:
            raise click.BadParameter(f"{key!r} is given twice", ctx, param)
        given[key] = text
