"""Tests of the double; a package, since its conftest is not the only one."""

from __future__ import annotations
