"""Compile the simulator with the machine's C compiler into a tree like /opt/hpss."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SANITIZERS", "VERSIONS", "BuildError", "build", "control_library"]

#: The releases whose headers can be had: one of each shape that callers tell apart.
VERSIONS = ("7.4", "7.5", "8.3", "9.3", "10.3")

#: What a library may be instrumented with, as ``-fsanitize=`` calls it.
SANITIZERS = ("thread", "address")

_SOURCES = Path(__file__).with_name("csrc")
_COMPILERS = ("cc", "gcc", "clang")
#: Written last, so it tells a finished build; locked while there is one.
_STAMP = "simulator.json"
_CONTROL = "libhpss_control.so"
_WITH_PKG_CONFIG = (7, 5)

# All callers on Linux define these two, and hpss.pc does from 7.5 on.
_DEFINES = ("-D_GNU_SOURCE", "-D_THREAD_SAFE", "-DLINUX", "-DLITTLEEND")
_COMPILE = ("-std=gnu11", "-O2", "-g", "-fPIC", "-pthread", "-Wall", "-Wextra")

# What is not the API stays inside, lest it meet a symbol of the program's.
_EXPORTS = "{ global: hpss_*; API_*; local: *; };\n"

_PKG_CONFIG = """\
prefix={root}
libdir=${{prefix}}/lib
includedir=${{prefix}}/include

Name: hpss
Description: simulator of the HPSS Client API, not HPSS
Version: {version}
Cflags: -I${{includedir}} {defines}
Libs: -L${{libdir}} -pthread -lhpss -lhpsscs
"""


class BuildError(Exception):
    """The simulator cannot be compiled here; the text says what is missing."""


def build(
    directory: str | os.PathLike[str],
    version: str = "9.3",
    *,
    sanitize: str | None = None,
) -> Path:
    """
    Compile headers and library into a directory, unless they are there already.

    The directory then looks like a site's /opt/hpss: ``include/``,
    ``lib/libhpss.so``, ``lib/libhpsscs.so`` (empty) and, from 7.5 on,
    ``lib/hpss.pc``. Beside them is ``lib/libhpss_control.so``, the same library
    under a name of its own, never instrumented, for driving the simulator from
    Python. Processes may build the same directory at once.
    ``CC`` and ``CFLAGS`` of the environment are heeded.

    Args:
        directory: made if need be; else empty, or built by this function before.
        version: one of ``VERSIONS``.
        sanitize: one of ``SANITIZERS``; a program that loads such a library has
            to be linked with that sanitizer's runtime, or have it preloaded.

    Returns:
        The directory, absolute: what ``PACIFICA_HPSS_ROOT`` is set to.

    Raises:
        BuildError: no compiler, a wrong version, a foreign directory, or the
            compiler's own complaint.
    """
    if version not in VERSIONS:
        raise BuildError(f"no version {version}: there are {', '.join(VERSIONS)}")
    if sanitize is not None and sanitize not in SANITIZERS:
        raise BuildError(f"no sanitizer {sanitize}: allowed {', '.join(SANITIZERS)}")
    root = Path(directory).absolute()
    try:
        with _locked_stamp(root) as stamp:
            wanted = _describe(version, sanitize)
            if stamp.read_text(encoding="utf-8") != wanted or not _is_whole(
                root, version
            ):
                stamp.write_text("", encoding="utf-8")
                with tempfile.TemporaryDirectory(dir=root, prefix=".build-") as work:
                    _compile(Path(work), root, version, sanitize)
                stamp.write_text(wanted, encoding="utf-8")
    except OSError as exc:
        raise BuildError(f"cannot build in {root}: {exc}") from exc
    return root


def control_library(root: str | os.PathLike[str]) -> Path:
    """Return where ``build`` put the library for driving the simulator."""
    return Path(root).absolute() / "lib" / _CONTROL


@contextlib.contextmanager
def _locked_stamp(root: Path) -> Iterator[Path]:
    """Keep others from building here; refuse what was never built here."""
    root.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in root.iterdir()]
    if names and _STAMP not in names:
        # It may be the real thing.
        raise BuildError(f"{root} is neither empty nor a simulator: nothing was done")
    stamp = root / _STAMP
    with stamp.open("a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield stamp


def _describe(version: str, sanitize: str | None) -> str:
    """Return all that the outcome depends on, as the stamp keeps it."""
    digest = hashlib.sha256()
    for path in (*sorted(_SOURCES.rglob("*.[ch]")), Path(__file__)):
        digest.update(f"{path.relative_to(_SOURCES.parent)}\n".encode())
        digest.update(path.read_bytes())
    described = {
        "version": version,
        "sanitize": sanitize,
        "sources": digest.hexdigest(),
        "compiler": [os.environ.get("CC", ""), os.environ.get("CFLAGS", "")],
    }
    return json.dumps(described, indent=2) + "\n"


def _is_whole(root: Path, version: str) -> bool:
    return all((root / name).is_file() for name in _made(version))


def _made(version: str) -> Iterator[str]:
    """Yield what a build makes, relative to its directory, the libraries last."""
    yield "include/hpss_version.h"
    for path in sorted(_SOURCES.glob("include/*.h")):
        if path.name != "hpss_version.h":
            yield f"include/{path.name}"
    if _numbers(version) >= _WITH_PKG_CONFIG:
        yield "lib/hpss.pc"
    yield "lib/libhpsscs.so"
    yield f"lib/{_CONTROL}"
    yield "lib/libhpss.so"


def _compile(work: Path, root: Path, version: str, sanitize: str | None) -> None:
    """Make everything in ``work``, then move it into ``root`` file by file."""
    compiler = _find_compiler()
    for folder in ("include", "lib"):
        (work / folder).mkdir()
        (root / folder).mkdir(exist_ok=True)
    for path in _SOURCES.glob("include/*.h"):
        shutil.copyfile(path, work / "include" / path.name)
    major, minor = _numbers(version)
    # Some releases are said to write 07: it has to be read as a number, not as text.
    digits = "02d" if major < 8 else "d"  # noqa: PLR2004 (the 7 is what is written 07)
    (work / "include" / "hpss_version.h").write_text(
        "/* Written by the simulator's build: it is not HPSS. */\n"
        "#ifndef HPSS_VERSION_H\n"
        "#define HPSS_VERSION_H\n"
        f"#define HPSS_MAJOR_VERSION {major:{digits}}\n"
        f"#define HPSS_MINOR_VERSION {minor:{digits}}\n"
        "#endif\n",
        encoding="ascii",
    )
    (work / "exports").write_text(_EXPORTS, encoding="ascii")
    plain = _objects(compiler, work, None)
    objects = plain if sanitize is None else _objects(compiler, work, sanitize)
    _link(compiler, work, "libhpss.so", objects, sanitize)
    # Another soname: a loader that was asked for libhpss.so by an extension module
    # would be content with this one, were it called so and in memory already.
    _link(compiler, work, _CONTROL, plain, None)
    _link(compiler, work, "libhpsscs.so", (), None)
    (work / "lib" / "hpss.pc").write_text(
        _PKG_CONFIG.format(
            root=str(root).replace(" ", "\\ "),
            version=version,
            defines=" ".join((*_DEFINES, "-DHAVE_GETIFADDRS", "-DHPSS_ALLOW_RAIT")),
        ),
        encoding="utf-8",
    )
    made = tuple(_made(version))
    for folder in ("include", "lib"):
        for path in (root / folder).iterdir():
            if f"{folder}/{path.name}" not in made:
                path.unlink()
    for name in made:
        # Replaced, never written in place: processes may have them mapped.
        (work / name).replace(root / name)


def _objects(compiler: Sequence[str], work: Path, sanitize: str | None) -> list[str]:
    folder = work / f"objects-{sanitize}"
    folder.mkdir()
    flags: tuple[str, ...] = (*_COMPILE, *_DEFINES)
    flags += (f"-I{work / 'include'}", f"-I{_SOURCES}")
    if sanitize is not None:
        flags += (f"-fsanitize={sanitize}", "-fno-omit-frame-pointer")
    flags += (*shlex.split(os.environ.get("CFLAGS", "")),)

    def compile_one(source: Path) -> str:
        made = str(folder / f"{source.stem}.o")
        _run((*compiler, *flags, "-c", str(source), "-o", made))
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sorted(_SOURCES.glob("*.c"))))


def _link(
    compiler: Sequence[str],
    work: Path,
    name: str,
    objects: Sequence[str],
    sanitize: str | None,
) -> None:
    flags: tuple[str, ...] = ("-shared", "-fPIC", "-pthread", f"-Wl,-soname,{name}")
    # The two copies that a process may have must each call itself, not the other.
    flags += ("-Wl,-Bsymbolic", f"-Wl,--version-script={work / 'exports'}")
    if sanitize is not None:
        flags += (f"-fsanitize={sanitize}",)
    else:
        # What is missing is found here rather than at a program's start.
        flags += ("-Wl,-z,defs",)
    made = str(work / "lib" / name)
    _run((*compiler, *flags, "-o", made, *objects, "-lm"))


def _find_compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        if shutil.which(named[0]) is None:
            raise BuildError(f"the compiler that CC names is not there: {named[0]}")
        return named
    for name in _COMPILERS:
        if shutil.which(name) is not None:
            return [name]
    raise BuildError(
        f"no C compiler: none of {', '.join(_COMPILERS)} is on PATH;"
        " Debian: apt-get install gcc libc6-dev; RHEL: dnf install gcc"
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(  # noqa: S603 (the compiler, on sources of this package)
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"this failed: {shlex.join(command)}\n{done.stderr.strip()}")


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
