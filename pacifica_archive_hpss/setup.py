# ruff: noqa: INP001 (a script, in no package)
"""
Compile the binding, once pip asks for it and not before.

A source distribution is made, and its metadata read, on machines without HPSS.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from pacifica_archive_hpss import _build


class BindingFirst(build):
    """Compile before files are copied: pip shows all that was said before a failure."""

    sub_commands = [("build_ext", None), ("build_py", None)]  # noqa: RUF012 (theirs)


class BuildBinding(build_ext):
    """Leave compiling to _build.py, which knows where HPSS may be."""

    def build_extension(self, ext: Extension) -> None:
        """Compile the one extension module, or end with why not."""
        try:
            _build.build(self.get_ext_fullpath(ext.name))
        except _build.BuildError as exc:
            # pip shows what is said on the way out; a traceback would only hide it.
            raise SystemExit(f"\n{exc}") from None


setup(
    ext_modules=[
        Extension(
            "pacifica_archive_hpss._hpss",
            sources=["src/pacifica_archive_hpss/_shim.c"],
            depends=["src/pacifica_archive_hpss/_cdef.h"],
        )
    ],
    cmdclass={"build": BindingFirst, "build_ext": BuildBinding},
)
