"""
Options of backends: declared once, read from a file, the environment, a caller.

Later wins: INI section, then ``PAI_PREFIX`` (release 0.4.2), then
``PACIFICA_ARCHIVE_<BACKEND>_<OPTION>``, then what the caller gives.
"""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import attrs

from pacifica_archive_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Configured",
    "FileSecret",
    "check_command_line",
    "environment_prefix",
    "find_config",
    "is_for_command_line",
    "is_secret",
    "load_options",
    "option",
    "option_aliases",
    "option_help",
    "to_bool",
]

#: Environment variables that name the INI file, first wins: the seed's, 0.4.2's.
CONFIG_VARIABLES = ("ARCHIVEI_CONFIG", "ARCHIVEINTERFACE_CONFIG")
#: The INI file read when nothing names one, if it is in the working directory.
DEFAULT_CONFIG = "config.cfg"

_WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


class Configured(Protocol):
    """What has options: a backend's Archive class, or a server."""

    @property
    def options_class(self) -> type[Any]:
        """An attrs class."""

    @property
    def config_sections(self) -> tuple[str, ...]:
        """The sections of the INI file, as an Archive class has them."""


class FileSecret(str):
    """
    A secret that came out of a file, for who wants to look there again.

    Args:
        path: the file; its last line ends are no part of the secret.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """

    __slots__ = ("path",)

    path: Path

    def __new__(cls, path: str | Path) -> Self:
        """Read the file."""
        secret = super().__new__(cls, Path(path).read_text("utf-8").rstrip("\r\n"))
        secret.path = Path(path)
        return secret

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Let it be read anew elsewhere: a secret that lasts is not written down."""
        return type(self), (self.path,)


def option(
    help_text: str,
    *,
    default: Any = attrs.NOTHING,  # noqa: ANN401 (of the option's own type)
    converter: Callable[[Any], Any] | None = None,
    validator: Callable[[Any, Any, Any], Any] | None = None,
    secret: bool = False,
    on_command_line: bool = True,
    aliases: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 (what attrs.field returns: any type)
    """
    Declare one option in an attrs class of options.

    Args:
        help_text: one sentence, units included, for the docs and the CLI.
        default: none makes the option required.
        converter: makes the value of a string or of a value of its own type;
            raises ValueError or TypeError with what is allowed.
        validator: an attrs validator.
        secret: keep it out of repr and messages, and accept ``<name>_file``,
            the path of a file that holds it.
        on_command_line: ``-o`` takes its value; every user of a host sees the
            command lines of all.
        aliases: older names, taken in INI files and from callers, but not in
            the environment.
    """
    return attrs.field(
        default=default,
        converter=converter,
        validator=validator,
        repr=not secret,
        metadata={
            "help": help_text,
            "secret": secret,
            "on_command_line": on_command_line,
            "aliases": aliases,
        },
    )


def option_help(field: attrs.Attribute[Any]) -> str:
    """Return the sentence that an option was declared with."""
    return str(field.metadata["help"])


def is_secret(field: attrs.Attribute[Any]) -> bool:
    """Whether an option was declared secret."""
    return bool(field.metadata["secret"])


def is_for_command_line(field: attrs.Attribute[Any]) -> bool:
    """Whether ``-o`` takes the value of an option."""
    return bool(field.metadata["on_command_line"])


def check_command_line(archive_class: Configured, given: Mapping[str, str]) -> None:
    """
    Refuse what has no place on a command line.

    Raises:
        ConfigError: the value of such an option is given.
    """
    for name, field in attrs.fields_dict(archive_class.options_class).items():
        if name in given and not is_for_command_line(field):
            variable = f"{environment_prefix(archive_class)}{name.upper()}"
            raise ConfigError(
                f"-o {name}=... can be seen by every user of this host: give"
                f" -o {name}_file=FILE, or {variable} in the environment"
            )


def option_aliases(field: attrs.Attribute[Any]) -> tuple[str, ...]:
    """Return the older names that an option was declared with."""
    return tuple(field.metadata["aliases"])


def to_bool(value: str | bool) -> bool:  # noqa: FBT001 (a converter)
    """
    Convert the words of INI files and environments.

    >>> to_bool("yes"), to_bool("False"), to_bool(True)
    (True, False, True)

    Raises:
        ValueError: none of true, yes, on, 1, false, no, off, 0.
    """
    if isinstance(value, bool):
        return value
    try:
        return _WORDS[value.strip().lower()]
    except (AttributeError, KeyError) as exc:
        raise ValueError("allowed are true, yes, on, 1, false, no, off, 0") from exc


def find_config(given: str | Path | None, env: Mapping[str, str]) -> Path | None:
    """
    Find the INI file: the one given, the environment's, or ``./config.cfg``.

    Raises:
        ConfigError: a file that was named is not there.
    """
    if given is not None:
        return _existing(Path(given), "--config")
    for variable in CONFIG_VARIABLES:
        if env.get(variable):
            return _existing(Path(env[variable]), variable)
    path = Path(DEFAULT_CONFIG)
    return path if path.is_file() else None


def _existing(path: Path, source: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"{source}: there is no file {path}")
    return path


def environment_prefix(archive_class: Configured) -> str:
    """Return the prefix of a backend's variables: ``PACIFICA_ARCHIVE_POSIX_``."""
    name = archive_class.config_sections[0].replace("_", "")
    return f"PACIFICA_ARCHIVE_{name.upper()}_"


def load_options(
    archive_class: Configured,
    *,
    file: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Any:  # noqa: ANN401 (the backend's options_class)
    """
    Make the options of a backend from every source there is.

    Args:
        archive_class: the backend.
        file: an INI file; sections that are not this backend's are passed over.
        env: an environment, as ``os.environ``.
        given: name to value; strings are converted, typed values are taken.

    Raises:
        ConfigError: an unknown key, a missing or wrong value, two sections of
            this backend, or a file that cannot be read.
    """
    fields = attrs.fields_dict(archive_class.options_class)
    in_file = _from_file(archive_class, file) if file is not None else {}
    sources = [
        ("file", _with_own_names("file", in_file, fields)),
        ("environment", _from_environment(archive_class, env or {})),
        ("options given", _with_own_names("options given", given or {}, fields)),
    ]
    secrets = {name for name, field in fields.items() if is_secret(field)}
    known = sorted(fields.keys() | {f"{name}_file" for name in secrets})
    values: dict[str, object] = {}
    for source, found in sources:
        for key in found:
            if key not in known:
                raise ConfigError(
                    f"{source}: {archive_class.config_sections[0]} has no option"
                    f" {key!r}; known are {', '.join(known) or 'none'}"
                )
        values.update(_without_secret_files(source, found, secrets))
    return _build(archive_class, fields, values)


def _with_own_names(
    source: str,
    found: Mapping[str, object],
    fields: Mapping[str, attrs.Attribute[Any]],
) -> dict[str, object]:
    """Replace each alias by the name of its option."""
    values = dict(found)
    for name, field in fields.items():
        for alias in option_aliases(field):
            if alias not in values:
                continue
            if name in values:
                raise ConfigError(f"{source}: {alias} is {name}: give one of them")
            values[name] = values.pop(alias)
    return values


def _without_secret_files(
    source: str, found: dict[str, object], secrets: set[str]
) -> dict[str, object]:
    """Replace each ``<secret>_file`` by what the file holds."""
    values = dict(found)
    for name in secrets:
        if (path := values.pop(f"{name}_file", None)) is None:
            continue
        if name in values:
            raise ConfigError(f"{source}: give {name} or {name}_file, not both")
        try:
            values[name] = FileSecret(str(path))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{source}: {name}_file cannot be read") from exc
    return values


def _build(
    archive_class: Configured,
    fields: Mapping[str, attrs.Attribute[Any]],
    values: Mapping[str, object],
) -> object:
    """Convert one by one, so that a message can name the option at fault."""
    backend = archive_class.config_sections[0]
    for name, field in fields.items():
        if name not in values:
            if field.default is attrs.NOTHING:
                raise ConfigError(
                    f"{backend} needs the option {name!r}: {option_help(field)}"
                )
            continue
        try:
            convert: Any = field.converter or (lambda value: value)
            value = convert(values[name])
            if field.validator is not None:
                field.validator(None, field, value)
        except (TypeError, ValueError) as exc:
            if is_secret(field):
                # What is wrong may be said in words of the value.
                raise ConfigError(
                    f"option {name!r} of {backend} has a value that is not allowed"
                    " (a secret, not shown)"
                ) from None
            raise ConfigError(
                f"option {name!r} of {backend} is {values[name]!r}:"
                f" {exc.args[0] if exc.args else exc}"
            ) from exc
    return archive_class.options_class(**values)


def _from_file(archive_class: Configured, file: str | Path) -> dict[str, object]:
    # Raw: a password may hold '%'. No default section: the seed has none.
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        with Path(file).open(encoding="utf-8") as stream:
            parser.read_file(stream)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("the configuration file cannot be read") from exc
    except configparser.Error as exc:
        # None: its text shows the line, which may hold a password.
        raise ConfigError(
            f"the configuration file is wrong: {type(exc).__name__}"
        ) from None
    present = [name for name in archive_class.config_sections if name in parser]
    if len(present) > 1:
        raise ConfigError(f"the configuration file has sections {present}: keep one")
    return dict(parser[present[0]]) if present else {}


def _from_environment(
    archive_class: Configured, env: Mapping[str, str]
) -> dict[str, object]:
    found: dict[str, object] = {}
    if env.get("PAI_PREFIX") and "prefix" in attrs.fields_dict(
        archive_class.options_class
    ):
        found["prefix"] = env["PAI_PREFIX"]
    prefix = environment_prefix(archive_class)
    for variable, value in env.items():
        if variable.startswith(prefix):
            found[variable.removeprefix(prefix).lower()] = value
    return found
