"""
Compile the binding against the HPSS of this machine, or say what is missing.

setup.py calls `build`; `python _build.py --root ROOT --output DIR` does it by hand. A C
compiler, cffi and the headers of Python are all it takes. Nothing is ever linked with
the simulator unless the simulator is what PACIFICA_HPSS_ROOT or --root names.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["BuildError", "Toolchain", "build", "find_root", "find_toolchain", "main"]

ROOT_VARIABLE = "PACIFICA_HPSS_ROOT"
DEFAULT_ROOT = Path("/opt/hpss")
SANITIZERS = ("address", "thread")

_HERE = Path(__file__).resolve().parent
_MODULE = "pacifica_archive_hpss._hpss"
_COMPILERS = ("cc", "gcc", "clang")
# Where Enterprise Linux 8 and later keep rpc/rpc.h, which headers of HPSS include.
_TIRPC = Path("/usr/include/tirpc")

# All public programs on Linux define LINUX and LITTLEEND; hpss.pc defines the others.
_DEFINES = ("-D_GNU_SOURCE", "-D_THREAD_SAFE", "-DLINUX", "-DLITTLEEND")
# Tried in this order where no hpss.pc says it: from 7.4.2 on HPSS uses libtirpc, and
# whether it is linked with it is not known.
_LIBRARIES = (
    ("-lhpss", "-lhpsscs"),
    ("-lhpss", "-lhpsscs", "-ltirpc"),
    ("-lhpss",),
    ("-lhpss", "-ltirpc"),
)
_COMPILE = ("-std=gnu11", "-O2", "-g", "-fPIC", "-pthread", "-fvisibility=hidden")
_STRICT = ("-Wall", "-Wextra", "-Werror")
# What older compilers only warn of makes a probe answer no.
_EXACT = (
    "-Werror=implicit-function-declaration",
    "-Werror=incompatible-pointer-types",
    "-Werror=int-conversion",
)

_HEADERS = """\
#include <string.h>
#include <hpss_api.h>
#include <hpss_errno.h>
#include <hpss_mech.h>
#include <hpss_String.h>
#include <hpss_version.h>
#include <hpss_xml.h>
#if __has_include(<hpss_net.h>)
#include <hpss_net.h>
#endif
"""

# What one public source shows, or what changed in a release that only one names. Each
# is the body of a program that is compiled and linked, and never run.
_PROBES = {
    "PAH_HAVE_BITFILE_OBJ": """
        bfs_bitfile_obj_handle_t handle;
        hpss_Attrs_t attributes;
        memset(&attributes, 0, sizeof(attributes));
        handle = attributes.BitfileObj;
        return handle.BfId.Bytes[0];
    """,
    "PAH_HAVE_UUID_REQUESTS": """
        hpss_reqid_t request;
        memset(&request, 0, sizeof(request));
        return request.node[0] + request.time_low;
    """,
    "PAH_HAVE_SIZED_GETATTRS": """
        hpss_userattr_list_t list;
        memset(&list, 0, sizeof(list));
        return hpss_UserAttrGetAttrs((char *)"/", &list, UDA_API_VALUE, 1);
    """,
    "PAH_HAVE_ASYNC_STATUS": """
        bfs_bitfile_obj_handle_t handle;
        hpss_reqid_t request;
        int32_t status;
        memset(&handle, 0, sizeof(handle));
        memset(&request, 0, sizeof(request));
        return hpss_GetAsyncStatus(request, &handle, &status);
    """,
    "PAH_HAVE_ASYNCH_STATUS": """
        hpssoid_t bitfile;
        signed32 status;
        memset(&bitfile, 0, sizeof(bitfile));
        return hpss_GetAsynchStatus((signed32)1, &bitfile, &status);
    """,
    "PAH_HAVE_BATCH": """
        bfs_bitfile_obj_handle_t handle;
        bfs_callback_addr_t address;
        hpss_stage_batch_t batch;
        hpss_stage_bitfile_list_t list;
        hpss_stage_batch_status_t status;
        hpss_reqid_t request;
        memset(&handle, 0, sizeof(handle));
        memset(&address, 0, sizeof(address));
        memset(&request, 0, sizeof(request));
        list.BFList.BFList_len = 1;
        list.BFList.BFList_val = &handle;
        API_StageBatchInit(&batch, 1);
        API_StageBatchInsertBFObj(&batch, 0, &handle, 0, 0, 0, 0, BFS_STAGE_ALL);
        hpss_StageBatchCallBack(&batch, &address, &request, &list, &status);
        hpss_GetBatchAsynchStatus(request, &list, HPSS_STAGE_STATUS_BFS_SS, &status);
        API_StageStatusFree(&status);
        API_StageBatchFree(&batch);
        return status.StatusList.StatusList_len != 0
            && status.StatusList.StatusList_val[0].StageStatus;
    """,
    "PAH_HAVE_ERRNO_NAME": """
        return hpss_ErrnoName(-5)[0];
    """,
    "PAH_HAVE_NET_ADDRESS": """
        bfs_callback_addr_t callback;
        hpss_sockaddr_t address;
        char text[HPSS_NET_MAXBUF];
        memset(&callback, 0, sizeof(callback));
        memcpy(&callback.sockaddr, &address, sizeof(address));
        return hpss_net_getaddrinfo((char *)"", (char *)"1", 0, HPSS_IPPROTO_TCP,
                                    &address, text, sizeof(text));
    """,
    "PAH_HAVE_LINK": """
        return hpss_Link((char *)"/old", (char *)"/new");
    """,
    "PAH_HAVE_MIGRATE": """
        u_signed64 done;
        return hpss_Migrate(3, 0, HPSS_MIGRATE_FORCE, &done);
    """,
    "PAH_HAVE_PURGE": """
        u_signed64 done;
        return hpss_Purge(3, 0, 0, 0, BFS_PURGE_ALL, &done);
    """,
    "PAH_HAVE_SERVER_PING": """
        hpss_srvr_id_t server;
        unsigned32 seconds, microseconds;
        return hpss_LookupRootCS((char *)"", &server)
            || hpss_PingCore(&server, &seconds, &microseconds);
    """,
    "PAH_HAVE_UUID_PING": """
        hpss_uuid_t server;
        unsigned32 seconds, microseconds;
        return hpss_LookupRootCS((char *)"", &server)
            || hpss_PingCore(&server, &seconds, &microseconds);
    """,
}

_ABSENT = """\
pacifica-archive-hpss was not built: it is compiled against the HPSS Client API of the
machine that it runs on, and there is none here.

  not found: {missing}
  looked in: {root} ({why})

If HPSS is somewhere else, name its directory:

  {variable}=/path/to/hpss pip install --no-cache-dir pacifica-archive-hpss

To try everything without HPSS, compile its simulator from the source tree (the
directory of this package's pyproject.toml) and build against that instead:

  PYTHONPATH=src python3 -m pacifica_archive_hpss.simulator build DIR
  {variable}=DIR pip install .
"""

_NO_COMPILER = """\
pacifica-archive-hpss was not built: it needs a C compiler, and {found}.

  Debian, Ubuntu: apt-get install gcc libc6-dev python3-dev
  RHEL and kin:   dnf install gcc python3-devel

Another compiler is named by the environment variable CC.
"""

_FAILED = """\
pacifica-archive-hpss was not built: {what}.

{command}
{said}
"""


class BuildError(Exception):
    """The binding cannot be compiled here; the text is meant to be read as it is."""


class Toolchain(NamedTuple):
    """How C is compiled and linked against one HPSS, and what that HPSS has."""

    compiler: list[str]
    compile_flags: list[str]
    link_flags: list[str]
    features: list[str]


def find_root(root: str | os.PathLike[str] | None = None) -> Path:
    """
    Return the directory of HPSS: the given one, PACIFICA_HPSS_ROOT's or /opt/hpss.

    Raises:
        BuildError: it has no headers or no library.
    """
    if root is not None:
        why = "it was asked for"
    elif os.environ.get(ROOT_VARIABLE):
        root, why = os.environ[ROOT_VARIABLE], f"{ROOT_VARIABLE} says so"
    else:
        root = DEFAULT_ROOT
        why = f"where HPSS is put; {ROOT_VARIABLE} is not set"
    found = Path(root).absolute()
    missing = [] if (found / "include" / "hpss_api.h").is_file() else ["hpss_api.h"]
    if not _library_folders(found):
        missing.append("libhpss")
    if missing:
        raise BuildError(
            _ABSENT.format(
                missing=" and ".join(
                    f"{found}/include/{name}"
                    if name.endswith(".h")
                    else f"{found}/lib/{name}.so"
                    for name in missing
                ),
                root=found,
                why=why,
                variable=ROOT_VARIABLE,
            )
        )
    return found


def find_toolchain(root: Path, *, sanitize: str | None = None) -> Toolchain:
    """
    Return how to compile against an HPSS, after asking it what it has.

    Raises:
        BuildError: no compiler, or not even the simplest program can be compiled.
    """
    instrument = [] if sanitize is None else [f"-fsanitize={sanitize}"]
    tools = Toolchain(
        compiler=_find_compiler(),
        compile_flags=[*_COMPILE, *instrument],
        link_flags=["-pthread", *instrument],
        features=[],
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if said := _try(tools, work, "int main(void) { return 0; }"):
            raise BuildError(_NO_COMPILER.format(found=f"this one fails:\n\n{said}"))
        tools = _with_hpss(tools, work, root)
        for feature, body in _PROBES.items():
            exact = tools._replace(compile_flags=[*tools.compile_flags, *_EXACT])
            if not _try(exact, work, f"{_HEADERS}\nint main(void)\n{{{body}}}\n"):
                tools.features.append(feature)
    return tools


def build(
    output: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    sanitize: str | None = None,
    strict: bool = False,
) -> Path:
    """
    Compile the extension module into one file, which is replaced as a whole.

    Args:
        output: the file, or a directory in which it gets the name that this Python
            looks for: with its version, so that others may share the directory.
        root: the directory of HPSS; see `find_root`.
        sanitize: "address" or "thread"; Python has to be run with that runtime
            preloaded.
        strict: make each warning about the shim an error.

    Raises:
        BuildError: HPSS, a compiler or Python's headers are missing, or do not fit.
    """
    tools = find_toolchain(find_root(root), sanitize=sanitize)
    return make_module(tools, Path(output).absolute(), strict=strict)


def make_module(tools: Toolchain, target: Path, *, strict: bool = False) -> Path:
    """
    Compile the extension module as `build` does, with known tools.

    Raises:
        BuildError: Python's headers are missing, or those of HPSS do not fit.
    """
    if target.is_dir():
        target /= f"_hpss{sysconfig.get_config_var('EXT_SUFFIX')}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as name:
        work = Path(name)
        shim = compile_shim(tools, work / "shim.o", strict=strict)
        # What the library lacks would be told by the first import only: an extension
        # module may leave symbols open, a program may not.
        if said := _try(tools, work, "int main(void) { return 0; }", str(shim)):
            raise _failure("the library of HPSS lacks what its headers have", said)
        glue = work / "glue.c"
        _emit(glue)
        folders = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
        includes = [f"-I{folder}" for folder in (*sorted(folders), _HERE)]
        compiled = work / "glue.o"
        command = [*tools.compiler, *_COMPILE, *includes, "-c", str(glue)]
        if said := _run([*command, "-o", str(compiled)]):
            raise _failure("Python's headers are missing (python3-dev)", said)
        made = work / target.name
        command = [*tools.compiler, "-shared", str(compiled), str(shim)]
        if said := _run([*command, *tools.link_flags, "-o", str(made)]):
            raise _failure("the module cannot be linked", said)
        made.replace(target)
    return target


def compile_shim(tools: Toolchain, output: Path, *, strict: bool = False) -> Path:
    """
    Compile _shim.c into an object file.

    Raises:
        BuildError: the headers are not as public programs show them.
    """
    command = [*tools.compiler, *tools.compile_flags, *(_STRICT if strict else ())]
    command += [f"-D{feature}" for feature in tools.features]
    command += ["-c", str(_HERE / "_shim.c"), "-o", str(output)]
    if said := _run(command):
        raise _failure("the headers of HPSS are not as expected", said)
    return output


def main(arguments: list[str] | None = None) -> None:
    """Compile the module from the command line, for tests of one variant."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--root", help=f"of HPSS; else {ROOT_VARIABLE} or /opt/hpss")
    parser.add_argument("--output", default=str(_HERE), help="a directory or a file")
    parser.add_argument("--sanitize", choices=SANITIZERS)
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    given = parser.parse_args(arguments)
    try:
        made = build(
            given.output, given.root, sanitize=given.sanitize, strict=given.strict
        )
    except BuildError as exc:
        # The text alone: a traceback would only hide it.
        raise SystemExit(str(exc)) from None
    sys.stdout.write(f"{made}\n")


def _emit(target: Path) -> None:
    """Write the C of the module, which knows nothing but _cdef.h."""
    # Not above: the texts for a machine where nothing is found need no cffi.
    from cffi import FFI, recompiler  # type: ignore[import-untyped]  # noqa: PLC0415

    ffi = FFI()
    ffi.cdef((_HERE / "_cdef.h").read_text(encoding="utf-8"))
    # As FFI.emit_c_code does it, which prints besides.
    preamble = '#include <stdint.h>\n#include "_cdef.h"\n'
    recompiler.make_c_source(ffi, _MODULE, preamble, str(target))


def _find_compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        if shutil.which(named[0]) is None:
            found = f"the one that CC names is not there: {named[0]}"
            raise BuildError(_NO_COMPILER.format(found=found))
        return named
    for name in _COMPILERS:
        if shutil.which(name) is not None:
            return [name]
    found = f"there is none of {', '.join(_COMPILERS)} on PATH"
    raise BuildError(_NO_COMPILER.format(found=found))


def _library_folders(root: Path) -> list[Path]:
    """Return the folders that hold libhpss, shared or static."""
    folders = (root / "lib", root / "lib64")
    return [folder for folder in folders if any(folder.glob("libhpss.[as]*"))]


def _pkg_config(root: Path) -> tuple[list[str], list[str]] | None:
    """Return what this HPSS's own hpss.pc says of compiling and linking, if it does."""
    folders = [
        folder
        for library in _library_folders(root)
        for folder in (library, library / "pkgconfig")
        if (folder / "hpss.pc").is_file()
    ]
    # Another HPSS's file, found on pkg-config's own path, is of no use.
    if not folders or shutil.which("pkg-config") is None:
        return None
    path = [*map(str, folders), os.environ.get("PKG_CONFIG_PATH", "")]
    environment = {**os.environ, "PKG_CONFIG_PATH": os.pathsep.join(filter(None, path))}
    said = []
    for what in ("--cflags", "--libs"):
        done = subprocess.run(  # noqa: S603 (asks about the file found above)
            ["pkg-config", what, "hpss"],  # noqa: S607 (the machine's own)
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            return None
        said.append(shlex.split(done.stdout))
    return said[0], said[1]


def _with_hpss(tools: Toolchain, work: Path, root: Path) -> Toolchain:
    """Return the tools with the first set of flags with which HPSS can be linked."""
    search = [f"-L{folder}" for folder in _library_folders(root)]
    search += [f"-Wl,-rpath,{folder}" for folder in _library_folders(root)]
    # Also for what libhpss is linked with or opens by itself, such as its ways to log
    # in: the newer kind of path counts for our module alone.
    search += ["-Wl,--disable-new-dtags"]
    includes = [*_DEFINES, f"-I{root / 'include'}"]
    if told := _pkg_config(root):
        includes += told[0]
        choices = [told[1]]
    else:
        includes += [f"-I{_TIRPC}"] if _TIRPC.is_dir() else []
        choices = [list(choice) for choice in _LIBRARIES]
    extra = shlex.split(os.environ.get("CFLAGS", ""))
    compile_flags = [*tools.compile_flags, *includes, *extra]
    extra = shlex.split(os.environ.get("LDFLAGS", ""))
    program = f"{_HEADERS}\nint main(void) {{ return hpss_Close(0); }}\n"
    first = ""
    for libraries in choices:
        found = tools._replace(
            compile_flags=compile_flags,
            link_flags=[*tools.link_flags, *search, *libraries, *extra],
        )
        said = _try(found, work, program)
        if not said:
            return found
        first = first or said
    raise _failure(f"no program can be compiled and linked with {root}", first)


def _try(tools: Toolchain, work: Path, program: str, *objects: str) -> str:
    """Compile and link a program; return what went wrong, or nothing."""
    source = work / "probe.c"
    source.write_text(program, encoding="ascii")
    command = [*tools.compiler, *tools.compile_flags, str(source), *objects]
    return _run([*command, *tools.link_flags, "-o", str(work / "probe")])


def _run(command: list[str]) -> str:
    """Run a compiler; return the command and what it said if it failed, or nothing."""
    done = subprocess.run(  # noqa: S603 (the compiler, on sources of this package)
        command,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return ""
    return f"{shlex.join(command)}\n{done.stderr.strip()}"


def _failure(what: str, said: str) -> BuildError:
    command, _, complaint = said.partition("\n")
    return BuildError(_FAILED.format(what=what, command=command, said=complaint))


if __name__ == "__main__":
    main()
