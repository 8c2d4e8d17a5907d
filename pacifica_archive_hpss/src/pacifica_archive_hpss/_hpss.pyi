# Made by _build.py of _cdef.h and _shim.c; cffi has no types to give.
from typing import Any

ffi: Any
lib: Any
