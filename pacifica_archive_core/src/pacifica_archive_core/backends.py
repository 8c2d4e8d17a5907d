"""Backends: found by entry points, loaded by name, one at a time."""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar, NoReturn

import attrs
from stevedore import DriverManager

from pacifica_archive_core.archive import Archive
from pacifica_archive_core.errors import (
    AmbiguousBackend,
    BackendLoadError,
    UnknownBackend,
)
from pacifica_archive_core.options import (
    check_command_line,
    find_config,
    load_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "GROUP",
    "ArchiveSpec",
    "InstalledBackend",
    "backend_names",
    "installed_backends",
    "load_backend",
    "open_archive",
]

#: The entry-point group; an entry point is the subclass of Archive.
GROUP = "pacifica_archive.backends"


@attrs.frozen(kw_only=True)
class InstalledBackend:
    """One entry point of the group: what a distribution says it offers."""

    name: str
    target: str
    distribution: str
    version: str


def installed_backends() -> list[InstalledBackend]:
    """Return what is installed, by name, without importing any of it."""
    found = [
        InstalledBackend(
            name=point.name,
            target=point.value,
            distribution=point.dist.name if point.dist else "unknown",
            version=point.dist.version if point.dist else "unknown",
        )
        for point in metadata.entry_points(group=GROUP)
    ]
    return sorted(found, key=lambda backend: (backend.name, backend.distribution))


def backend_names() -> list[str]:
    """Return the names of the installed backends, sorted."""
    return sorted({backend.name for backend in installed_backends()})


def load_backend(name: str) -> type[Archive]:
    """
    Import one backend by its name; no other is imported.

    Raises:
        UnknownBackend, AmbiguousBackend, BackendLoadError: as they say.
    """
    matches = [backend for backend in installed_backends() if backend.name == name]
    if not matches:
        raise UnknownBackend(
            f"no backend {name!r} is installed; installed are"
            f" {', '.join(backend_names())}; 'pip install pacifica-archive-{name}'"
            " if it is one of ours"
        )
    if len(matches) > 1:
        owners = ", ".join(backend.distribution for backend in matches)
        raise AmbiguousBackend(
            f"backend {name!r} is offered by {owners}: uninstall all but one"
        )
    return _load(matches[0])


def _load(backend: InstalledBackend) -> type[Archive]:
    def refuse(_manager: object, _point: object, exc: BaseException) -> NoReturn:
        raise _load_error(backend, f"{type(exc).__name__}: {exc}") from exc

    # Its own list is as old as this process, or as a file in the home directory.
    DriverManager.ENTRY_POINT_CACHE[GROUP] = list(metadata.entry_points(group=GROUP))
    try:
        loaded: object = DriverManager(
            GROUP, backend.name, invoke_on_load=False, on_load_failure_callback=refuse
        ).driver
    except (AssertionError, SystemExit) as exc:  # not given to the callback
        refuse(None, None, exc)
    if not (isinstance(loaded, type) and issubclass(loaded, Archive)):
        reason = "it is no subclass of pacifica_archive_core.Archive"
        raise _load_error(backend, reason)
    return loaded


def _load_error(backend: InstalledBackend, reason: str) -> BackendLoadError:
    return BackendLoadError(
        f"backend {backend.name!r} ({backend.target} of {backend.distribution}"
        f" {backend.version}) cannot be loaded: {reason}"
    )


def open_archive(
    backend: str,
    /,
    *,
    config: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    **options: object,
) -> Archive:
    """
    Load a backend by its name and open an archive with it.

    >>> with open_archive("memory") as archive:
    ...     with archive.create(12345, size=5) as writer:
    ...         _ = writer.write(b"bytes")
    ...     with archive.open(12345) as reader:
    ...         reader.read()
    b'bytes'

    Args:
        backend: one of ``backend_names()``.
        config: an INI file to read options from; none is read otherwise.
        env: an environment to read options from, as ``os.environ``.
        options: the backend's options, which win.

    Raises:
        BackendError: no such backend.
        ConfigError: an option is unknown, missing or wrong.
        ArchiveError: the store cannot be opened.
    """
    archive_class = load_backend(backend)
    return archive_class(
        load_options(archive_class, file=config, env=env, given=options)
    )


@attrs.frozen(kw_only=True)
class ArchiveSpec:
    """
    Which archive a command or a server works on; picklable, opened later.

    A server hands it to its workers, which open the archive after their fork.

    Attributes:
        backend: a backend's name.
        config: the INI file found by ``find_config``, or None.
        given: options of the command line, which win; may hold secrets.
    """

    #: Environment variables that name the backend, first wins: ours, 0.4.2's.
    TYPE_VARIABLES: ClassVar = ("PACIFICA_ARCHIVE_TYPE", "PAI_BACKEND_TYPE")
    #: The backend when nothing names one, as in release 0.4.2.
    DEFAULT_TYPE: ClassVar = "posix"

    backend: str
    config: Path | None
    given: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def from_environment(
        cls,
        env: Mapping[str, str],
        *,
        backend: str | None = None,
        config: str | Path | None = None,
        given: Mapping[str, str] | None = None,
    ) -> ArchiveSpec:
        """
        Take what is given, and the rest from an environment.

        Raises:
            ConfigError: a configuration file that was named is not there.
        """
        named = [env[name] for name in cls.TYPE_VARIABLES if env.get(name)]
        return cls(
            backend=backend or (named or [cls.DEFAULT_TYPE])[0],
            config=find_config(config, env),
            given=given or {},
        )

    def open(self) -> Archive:
        """Open the archive in this process; raises as ``open_archive`` does."""
        archive_class = load_backend(self.backend)
        check_command_line(archive_class, self.given)
        # Not through open_archive: a key of ``given`` may be named as its keywords.
        return archive_class(
            load_options(
                archive_class, file=self.config, env=os.environ, given=self.given
            )
        )
