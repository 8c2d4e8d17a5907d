"""
Write the parts of the documentation that the code knows better.

A page holds them between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
``python docs/generate.py`` writes them anew; a test compares them.
"""

from __future__ import annotations

import functools
import inspect
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from pacifica_archive_core import (
    Archive,
    SupportsAdopt,
    SupportsLocalPath,
    SupportsRecord,
    errors,
    load_backend,
)
from pacifica_archive_core.cli import main
from pacifica_archive_core.cli.exits import EXITS, exit_code
from pacifica_archive_core.cli.group import PluginCommand
from pacifica_archive_core.options import (
    environment_prefix,
    is_secret,
    option_aliases,
    option_help,
)
from pacifica_archive_core.testing.base import Declarations
from pacifica_archive_hmssideband.double.__main__ import main as double
from pacifica_archive_http.access import RULES, Scope
from pacifica_archive_http.guard import rules_for
from pacifica_archive_http.metrics import SERIES
from pacifica_archive_http.options import Monitoring, ServerOptions
from pacifica_archive_http.status_table import PROBLEMS, find_problem
from pacifica_archive_http.tokens_jwt import STORAGE_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DOCS = Path(__file__).parent
_BLOCK = re.compile(
    r"(?<=<!-- generated: )(?P<name>[a-z -]+) -->\n.*?(?=<!-- end -->)", re.DOTALL
)


def pages() -> list[Path]:
    """Return the pages of the site."""
    return sorted(DOCS.glob("*.md"))


def names(page: Path) -> list[str]:
    """Return the names of a page's generated parts."""
    return [match["name"] for match in _BLOCK.finditer(page.read_text())]


def written_anew(page: Path) -> str:
    """Return what a page would be with its generated parts written anew."""
    return _BLOCK.sub(
        lambda match: f"{match['name']} -->\n{BLOCKS[match['name']]()}\n",
        page.read_text(),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Write the docstrings' literals as Markdown has them."""
    return text.replace("``", "`").replace("|", "\\|")


def _code(text: object) -> str:
    return f"`{text}`"


# --- options of backends ---------------------------------------------------------


def _options(name: str) -> str:
    backend = load_backend(name)
    sections = " or ".join(_code(f"[{name}]") for name in backend.config_sections)
    table = _option_table(backend.options_class, environment_prefix(backend))
    return f"Section {sections} of the INI file.\n\n{table}"


def _option_table(options_class: type[attrs.AttrsInstance], prefix: str) -> str:
    rows = []
    for field in attrs.fields(options_class):
        keys = [field.name, *([f"{field.name}_file"] if is_secret(field) else [])]
        rows.append(
            (
                ", ".join(map(_code, [*keys, *option_aliases(field)])),
                _default(field),
                ", ".join(_code(prefix + key.upper()) for key in keys),
                option_help(field),
            )
        )
    return _table(("key", "default", "environment variable", "meaning"), rows)


def _server_options() -> str:
    return _option_table(ServerOptions, "PACIFICA_ARCHIVE_SERVER_")


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, bool):
        return _code(str(default).lower())
    if isinstance(default, tuple):
        return _code(",".join(default)) if default else "none"
    return _code(default) if str(default).strip("()") else "none"


def _backends() -> str:
    rows = []
    for name in _BACKENDS:
        backend = load_backend(name)
        can = (
            issubclass(backend, SupportsAdopt),
            issubclass(backend, SupportsLocalPath),
            backend.digests is not Archive.digests,
            issubclass(backend, SupportsRecord),
            backend.shared_between_processes,
        )
        link = f"[`{name}`](#{name})"
        rows.append((link, *("yes" if ability else "no" for ability in can)))
    head = (
        *("backend", "`adopt`", "`local_path`"),
        *("keeps digests", "`record_digests`", "many processes"),
    )
    return _table(head, rows)


# --- commands --------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command, those of installed distributions too."""
    with click.Context(main, info_name="pacifica-archive") as ctx:
        for name in main.list_commands(ctx):
            command = main.get_command(ctx, name)
            if isinstance(command, PluginCommand):
                command = command.load()
            if isinstance(command, click.Group):
                for below, each in command.commands.items():
                    yield f"{name} {below}", each
            elif command is not None:
                yield name, command


def _option_rows(
    command: click.Command, *, but: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    return [
        (_code(f"{', '.join(option.opts)} {_metavar(option)}".strip()), _help(option))
        for option in command.params
        if isinstance(option, click.Option) and not but & {*option.opts}
    ]


def _metavar(option: click.Option) -> str:
    # Not click's own help records: releases of click write them in different ways.
    own = option.metavar or option.type.name.upper().removesuffix(" RANGE")
    return "" if option.is_flag else own


def _help(option: click.Option) -> str:
    text = " ".join((option.help or "").split())
    return f"{text} [default: {option.default}]" if option.show_default else text


def _selecting() -> str:
    return _table(("option", "meaning"), _option_rows(main))


def _commands() -> str:
    shared = frozenset(opt for param in main.params for opt in param.opts)
    parts = []
    with click.Context(main, info_name="pacifica-archive") as group:
        for name, command in commands():
            with click.Context(command, info_name=name, parent=group) as ctx:
                usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
            parts += [f"### {name}", f"```text\n{usage}\n```"]
            parts += _paragraphs(command.help or "")
            if rows := _option_rows(command, but=shared):
                parts.append(_table(("option", "meaning"), rows))
            if shared & {opt for param in command.params for opt in param.opts}:
                parts.append("And the options that select the archive.")
    return "\n\n".join(parts)


def _paragraphs(text: str) -> list[str]:
    """Return one sentence a line, as everywhere here."""
    blocks = text.replace("\b", "").strip().split("\n\n")
    joined = (" ".join(block.split()) for block in blocks)
    return [re.sub(r"(?<=[a-z0-9)\"]\.) (?=[A-Z])", "\n", block) for block in joined]


def _double() -> str:
    """Return the command line of the double of Oracle HSM."""
    rows = []
    with click.Context(double, info_name="double") as group:
        for name, command in double.commands.items():
            with click.Context(command, info_name=name, parent=group) as ctx:
                usage = " ".join([name, *command.collect_usage_pieces(ctx)])
            (text,) = _paragraphs(command.help or "")
            rows.append((_code(usage.replace(" [OPTIONS]", "")), text))
            rows += [(f"\u2003{o}", text) for o, text in _option_rows(command)]
    return "\n\n".join(
        [
            *_paragraphs(double.help or ""),
            _table(("option", "meaning"), _option_rows(double)),
            _table(("command", "meaning"), rows),
        ]
    )


def _exits() -> str:
    rows = [
        (
            str(entry.code),
            entry.meaning,
            ", ".join(_code(error.__name__) for error in entry.errors),
        )
        for entry in EXITS
    ]
    rows.append(("128 + n", "ended by signal n, as 130 by Ctrl-C", ""))
    return _table(("code", "meaning", "errors"), rows)


# --- errors ----------------------------------------------------------------------


def _summary(kind: type) -> str:
    """Return the first sentence of a docstring."""
    text = inspect.getdoc(kind) or ""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).removesuffix(".")


def _errors() -> str:
    rows = []
    for depth, kind in _tree(errors.ArchiveError):
        problem = find_problem(kind)
        rows.append(
            (
                # An em space: Markdown drops the others.
                "\u2003" * depth + _code(kind.__name__),
                _summary(kind),
                str(problem.status),
                _code(problem.type),
                str(_exit_code(kind)),
            )
        )
    return _table(("error", "meaning", "HTTP", "problem type", "exit code"), rows)


def _tree(
    kind: type[Exception], depth: int = 0
) -> Iterator[tuple[int, type[Exception]]]:
    """Yield a class and those below it, as ``errors.py`` draws and orders them."""
    yield depth, kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)


def _exit_code(kind: type[Exception]) -> int:
    made = kind(1) if issubclass(kind, errors.FileError) else kind()
    return exit_code(made)


def _problems() -> str:
    rows = []
    for kind, problem in PROBLEMS.items():
        if issubclass(kind, errors.ArchiveError):
            continue
        own = kind.__module__.startswith("pacifica_archive")
        rows.append(
            (
                str(problem.status),
                _code(problem.type),
                _summary(kind) if own else problem.advice,
            )
        )
    return _table(("HTTP", "problem type", "meaning"), sorted(rows))


# --- tokens ----------------------------------------------------------------------


def _rules() -> str:
    """Return what each request wants, and where the operator has the say."""
    settings = {how: rules_for(how) for how in Monitoring}
    rows = []
    for route, verbs in RULES.items():
        address = route.replace("{file_id}", "{id}")
        requests: dict[str, list[str]] = {}
        for verb, scope in verbs.items():
            open_with = [
                _code(f"--monitoring {how}")
                for how, rules in settings.items()
                if rules[route][verb] is None
            ]
            wanted = "none" if scope is None else _code(scope)
            if scope is not None and open_with:
                wanted += f"; none with {' or '.join(open_with)}"
            requests.setdefault(wanted, []).append(_code(f"{verb} {address}"))
        rows += [(", ".join(asked), wanted) for wanted, asked in requests.items()]
    return _table(("request", "scope"), rows)


def _scopes() -> str:
    """Return which requests each scope is for."""
    asked: dict[Scope, list[str]] = {scope: [] for scope in Scope}
    for route, verbs in RULES.items():
        for verb, scope in verbs.items():
            # What is only got has a HEAD that goes without saying.
            if scope is not None and (verb != "HEAD" or "{" in route):
                asked[scope].append(_code(f"{verb} {route.replace('file_id', 'id')}"))
    rows = [(_code(scope), ", ".join(requests)) for scope, requests in asked.items()]
    return _table(("scope", "requests"), rows)


def _storage_scopes() -> str:
    """Return what the scopes of the WLCG's tokens are here."""
    rows = []
    for name, grants in STORAGE_SCOPES.items():
        ours = [
            _code(grant.scope) + ("" if grant.replaces else " that replaces nothing")
            for grant in grants
        ]
        rows.append((_code(name), ", ".join(ours)))
    return _table(("scope of the WLCG", "scopes here"), rows)


def _metrics() -> str:
    rows = [
        (
            _code(series.name),
            series.kind,
            ", ".join(map(_code, series.labels)),
            series.text,
        )
        for series in SERIES
    ]
    return _table(("name", "kind", "labels", "meaning"), rows)


# --- the test kit ----------------------------------------------------------------

_ABILITY = re.compile(
    r"(?P<comment>(?: +#: .*\n)+)"
    r" +(?P<name>[a-z_]+): ClassVar\[[\w\[\]]+\] = (?P<default>.+)"
)


def _abilities() -> str:
    rows = [
        (
            _code(match["name"]),
            _code(match["default"]),
            " ".join(match["comment"].replace("#:", "").split()).removesuffix("."),
        )
        for match in _ABILITY.finditer(inspect.getsource(Declarations))
    ]
    return _table(("ability", "default", "meaning"), rows)


def _round_trips() -> str:
    """Return what the tests of hpss count, from their own table."""
    table = DOCS.parent / "pacifica_archive_hpss" / "tests" / "counts.py"
    rows: str = runpy.run_path(str(table))["table"]()
    return rows.rstrip()


#: A second name of one is left out.
_BACKENDS = ("hmssideband", "hpss", "http", "memory", "posix")
BLOCKS: dict[str, Callable[[], str]] = {
    "backends": _backends,
    "round trips": _round_trips,
    "double": _double,
    "options that select": _selecting,
    "commands": _commands,
    "exit codes": _exits,
    "errors": _errors,
    "problems": _problems,
    "metrics": _metrics,
    "abilities": _abilities,
    "rules": _rules,
    "scopes": _scopes,
    "server options": _server_options,
    "storage scopes": _storage_scopes,
    **{f"options {name}": functools.partial(_options, name) for name in _BACKENDS},
}

if __name__ == "__main__":
    for path in pages():
        path.write_text(written_anew(path))
