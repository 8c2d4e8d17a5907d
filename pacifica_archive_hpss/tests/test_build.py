"""What is said without HPSS, what is found in one, and the shim under an unkind API."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss import _build
from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from simulated import Roots

SOURCES = Path(_build.__file__).parent
UNKIND = Path(__file__).parent / "shim" / "unkind.c"

EVERYWHERE = {
    "PAH_HAVE_ERRNO_NAME",
    "PAH_HAVE_LINK",
    "PAH_HAVE_MIGRATE",
    "PAH_HAVE_NET_ADDRESS",
    "PAH_HAVE_PURGE",
}
SINCE_7_5 = EVERYWHERE | {
    "PAH_HAVE_ASYNC_STATUS",
    "PAH_HAVE_BITFILE_OBJ",
    "PAH_HAVE_SERVER_PING",
    "PAH_HAVE_SIZED_GETATTRS",
}
SINCE_8 = SINCE_7_5 | {"PAH_HAVE_UUID_REQUESTS"}
SINCE_9_3 = SINCE_8 | {"PAH_HAVE_BATCH"}
FEATURES = {
    "7.4": EVERYWHERE | {"PAH_HAVE_ASYNCH_STATUS", "PAH_HAVE_UUID_PING"},
    "7.5": SINCE_7_5,
    "8.3": SINCE_8,
    "9.3": SINCE_9_3,
    "10.3": SINCE_9_3,
}

# Run apart: a process has one extension module of this name.
DESCRIBE = """
import importlib.util, sys
name = "pacifica_archive_hpss._hpss"
spec = importlib.util.spec_from_file_location(name, sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
build = module.ffi.new("pah_build *")
module.lib.pah_describe(build)
print(f"{build.major}.{build.minor}", build.simulator, build.has_stage_status,
      build.has_batch, build.has_ping)
"""


def run_build(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Return the exit status of the command and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "pacifica_archive_hpss._build", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout


def describe(module: Path) -> str:
    """Return what a module says of itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, module],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


def compile_c(*arguments: str | Path) -> None:
    subprocess.run(["cc", *arguments], check=True)


def calls_of(shim: Path) -> set[str]:
    """Return the calls of the Client API that an object file makes."""
    listed = subprocess.run(
        ["nm", "-u", shim], stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    return {
        name
        for name in names
        if name.startswith(("hpss_", "API_")) and name != "hpss_sim_is_simulator"
    }


def write_stubs(source: Path, names: set[str]) -> Path:
    """Write calls that return 0, and give way to others of the same name."""
    lines = [
        f"__attribute__((weak)) long {name}(void) {{ return 0; }}"
        for name in sorted(names)
    ]
    source.write_text("\n".join(lines), encoding="ascii")
    return source


class TestWithoutHpss:
    @pytest.fixture
    def said(self, tmp_path: Path) -> str:
        status, said = run_build(
            "--output", tmp_path / "made", PACIFICA_HPSS_ROOT=str(tmp_path / "none")
        )
        assert status == 1
        return said

    def test_header_and_library_are_named_where_they_were_sought(
        self, said: str, tmp_path: Path
    ) -> None:
        root = tmp_path / "none"

        assert f"not found: {root}/include/hpss_api.h and {root}/lib/libhpss.so" in said

    def test_why_it_looked_there_is_said(self, said: str) -> None:
        assert "PACIFICA_HPSS_ROOT says so" in said

    def test_the_way_to_the_simulator_is_said(self, said: str) -> None:
        assert (
            "PYTHONPATH=src python3 -m pacifica_archive_hpss.simulator build DIR\n"
            "  PACIFICA_HPSS_ROOT=DIR pip install .\n" in said
        )

    def test_the_way_to_another_place_is_said(self, said: str) -> None:
        """Past pip's cache, which may hold what was compiled against the simulator."""
        assert (
            "PACIFICA_HPSS_ROOT=/path/to/hpss pip install --no-cache-dir"
            " pacifica-archive-hpss\n" in said
        )

    def test_there_is_no_traceback(self, said: str) -> None:
        assert "Traceback" not in said

    def test_nothing_is_made(self, said: str, tmp_path: Path) -> None:
        assert said

        assert [] == list(tmp_path.iterdir())

    def test_default_is_opt_hpss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PACIFICA_HPSS_ROOT", raising=False)
        if _build.DEFAULT_ROOT.exists():
            pytest.skip("lacks the absence of HPSS")

        with pytest.raises(_build.BuildError, match="/opt/hpss/include/hpss_api"):
            _build.find_root()

    def test_headers_alone_are_no_hpss(self, tmp_path: Path) -> None:
        (tmp_path / "include").mkdir()
        (tmp_path / "include" / "hpss_api.h").touch()

        with pytest.raises(_build.BuildError, match=r"not found: \S+/lib/libhpss.so\n"):
            _build.find_root(tmp_path)

    def test_pip_is_told_no_more_than_that(self, tmp_path: Path) -> None:
        """By setup.py, which pip has run, and whose output it shows."""
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build", "--build-base", tmp_path],
            cwd=SOURCES.parents[1],
            env={**os.environ, "PACIFICA_HPSS_ROOT": str(tmp_path / "none")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        first = done.stdout.strip().partition(":")[0]

        assert (1, "pacifica-archive-hpss was not built", False) == (
            done.returncode,
            first,
            "Traceback" in done.stdout,
        )


class TestWithoutACompiler:
    @pytest.fixture
    def root(self, roots: Roots) -> Path:
        """Return an HPSS, made while there was a compiler."""
        return roots.root()

    def test_an_empty_path_is_told(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CC", raising=False)

        with pytest.raises(_build.BuildError, match="apt-get install gcc"):
            _build.find_toolchain(root)

    def test_a_wrong_cc_is_told(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", "/no/such/cc")

        with pytest.raises(_build.BuildError, match="not there: /no/such/cc"):
            _build.find_toolchain(root)

    def test_a_compiler_that_fails_is_told(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", "false")

        with pytest.raises(_build.BuildError, match="this one fails"):
            _build.find_toolchain(root)


class Tools:
    """Toolchains of the simulator's releases, each found once."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._found: dict[str, _build.Toolchain] = {}

    def of(self, version: str) -> _build.Toolchain:
        if version not in self._found:
            root = self._roots.root(version)
            self._found[version] = _build.find_toolchain(_build.find_root(root))
        return self._found[version]


@pytest.fixture(scope="module")
def tools(roots: Roots) -> Tools:
    return Tools(roots)


class TestVariants:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_features_are_found(self, tools: Tools, version: str) -> None:
        assert FEATURES[version] == set(tools.of(version).features)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_module_is_made_without_a_warning_and_loads(
        self, tools: Tools, version: str, tmp_path: Path
    ) -> None:
        made = _build.make_module(tools.of(version), tmp_path, strict=True)
        has_batch = "PAH_HAVE_BATCH" in FEATURES[version]

        assert f"{version} 1 1 {has_batch:d} 1\n" == describe(made)

    def test_command_makes_a_module_that_other_pythons_do_not_take(
        self, roots: Roots, tmp_path: Path
    ) -> None:
        status, said = run_build("--root", roots.root(), "--output", tmp_path)
        name = f"_hpss{sysconfig.get_config_var('EXT_SUFFIX')}"

        assert (0, f"{tmp_path / name}\n") == (status, said)

    def test_without_pkg_config_flags_are_known(
        self, roots: Roots, tmp_path: Path
    ) -> None:
        shutil.copytree(roots.root() / "include", tmp_path / "include")
        (tmp_path / "lib").mkdir()
        for name in ("libhpss.so", "libhpsscs.so"):
            (tmp_path / "lib" / name).symlink_to(roots.root() / "lib" / name)
        tools = _build.find_toolchain(tmp_path)

        assert FEATURES["9.3"] == set(tools.features)


@pytest.fixture(scope="module")
def names(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the calls that the shim makes of 9.3."""
    shim = tmp_path_factory.mktemp("names") / "shim.o"
    return calls_of(_build.compile_shim(tools.of("9.3"), shim))


class TestWhatHpssLacks:
    @pytest.fixture
    def root(self, roots: Roots, tmp_path: Path) -> Path:
        """Return the headers of 9.3, for which there is no library yet."""
        shutil.copytree(roots.root() / "include", tmp_path / "hpss" / "include")
        (tmp_path / "hpss" / "lib").mkdir()
        return tmp_path / "hpss"

    def make_library(self, root: Path, names: set[str]) -> None:
        stubs = write_stubs(root / "stubs.c", names)
        compile_c("-shared", "-fPIC", stubs, "-o", root / "lib" / "libhpss.so")

    def change_header(self, root: Path, name: str, old: str, new: str) -> None:
        header = root / "include" / name
        text = header.read_text(encoding="utf-8")
        assert old in text
        header.write_text(text.replace(old, new), encoding="utf-8")

    @pytest.mark.parametrize(
        ("call", "feature"),
        [
            ("hpss_GetBatchAsynchStatus", "PAH_HAVE_BATCH"),
            ("hpss_LookupRootCS", "PAH_HAVE_SERVER_PING"),
            ("hpss_ErrnoName", "PAH_HAVE_ERRNO_NAME"),
            ("hpss_net_getaddrinfo", "PAH_HAVE_NET_ADDRESS"),
        ],
    )
    def test_a_call_only_declared_is_not_counted_on(
        self, root: Path, names: set[str], call: str, feature: str, tmp_path: Path
    ) -> None:
        self.make_library(root, names - {call})
        tools = _build.find_toolchain(root)
        shim = _build.compile_shim(tools, tmp_path / "shim.o", strict=True)

        assert (FEATURES["9.3"] - {feature}, False) == (
            set(tools.features),
            call in calls_of(shim),
        )

    def test_a_call_of_other_arguments_is_not_counted_on(
        self, root: Path, names: set[str]
    ) -> None:
        self.make_library(root, names)
        self.change_header(
            root, "hpss_api.h", "hpss_PingCore(const", "hpss_PingCore(int, const"
        )
        tools = _build.find_toolchain(root)

        assert FEATURES["9.3"] - {"PAH_HAVE_SERVER_PING"} == set(tools.features)

    def test_without_all_that_may_be_absent_it_is_made(
        self, root: Path, names: set[str], tmp_path: Path
    ) -> None:
        absent = {
            "hpss_ErrnoName",
            "hpss_GetAsyncStatus",
            "hpss_Link",
            "hpss_Migrate",
            "hpss_PingCore",
            "hpss_Purge",
            "hpss_StageBatchCallBack",
            "hpss_net_getaddrinfo",
        }
        self.make_library(root, names - absent)
        made = _build.build(tmp_path, root, strict=True)

        assert "9.3 0 0 0 0\n" == describe(made)

    def test_headers_of_rpc_are_found_where_enterprise_linux_has_them(
        self,
        root: Path,
        names: set[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.make_library(root, names)
        rpc = tmp_path / "tirpc" / "rpc"
        rpc.mkdir(parents=True)
        (rpc / "only_here.h").touch()
        self.change_header(
            root,
            "hpss_api.h",
            '#include "hpss_types.h"',
            '#include <rpc/only_here.h>\n#include "hpss_types.h"',
        )
        monkeypatch.setattr(_build, "_TIRPC", rpc.parent)

        assert FEATURES["9.3"] == set(_build.find_toolchain(root).features)

    def test_a_library_may_need_that_of_rpc(
        self, root: Path, names: set[str], tmp_path: Path
    ) -> None:
        """From 7.4.2 on, and nobody says whether it names it itself."""
        rpc = tmp_path / "rpc.c"
        rpc.write_text("void rpc_call(void) { }\n", encoding="ascii")
        compile_c("-shared", "-fPIC", rpc, "-o", root / "lib" / "libtirpc.so")
        stubs = write_stubs(root / "stubs.c", names - {"hpss_Close"})
        with stubs.open("a", encoding="ascii") as file:
            file.write(
                "\nextern void rpc_call(void);"
                "\nlong hpss_Close(int fd) { rpc_call(); return fd; }\n"
            )
        compile_c("-shared", "-fPIC", stubs, "-o", root / "lib" / "libhpss.so")
        tools = _build.find_toolchain(root)

        assert (FEATURES["9.3"], True) == (
            set(tools.features),
            "-ltirpc" in tools.link_flags,
        )

    def test_a_call_that_is_needed_is_named_and_nothing_made(
        self, root: Path, names: set[str], tmp_path: Path
    ) -> None:
        self.make_library(root, names - {"hpss_StageCallBack"})
        made = tmp_path / "made"
        with pytest.raises(_build.BuildError, match="hpss_StageCallBack"):
            _build.build(made / "_hpss.so", root)

        assert [] == list(made.iterdir())

    def test_headers_that_do_not_fit_are_told(
        self, root: Path, names: set[str], tmp_path: Path
    ) -> None:
        self.make_library(root, names)
        self.change_header(
            root, "hpss_limits.h", "STORAGE_LEVELS 5", "STORAGE_LEVELS 6"
        )

        with pytest.raises(_build.BuildError, match="levels of a hierarchy"):
            _build.build(tmp_path, root)


UNKIND_ANSWERS: dict[str, int | str] = {
    # Before a login has succeeded even the calls that tell errors may hang.
    "failed_login": -errno.EPERM,
    "foreign_mechanism": -errno.EINVAL,
    "asked_before_login": 0,
    "login": 0,
    "asked_after_login": 1,
    "asked_after_logout": 0,
    # The same in both countings.
    "code-1": errno.EPERM,
    "code-2": errno.ENOENT,
    "code-34": errno.ERANGE,
    # Linux's.
    "code-39": errno.ENOTEMPTY,
    f"code-{errno.EDQUOT}": errno.EDQUOT,
    f"code-{errno.ESTALE}": errno.ESTALE,
    "code-95": errno.EOPNOTSUPP,
    "code-102": errno.ENETRESET,
    "code-105": errno.ENOBUFS,
    # HPSS's, which would be EBADE, ENONET, EREMCHG, ESTRPIPE, EUSERS, ENOTSOCK...
    "code-52": errno.ESTALE,
    "code-64": errno.EOPNOTSUPP,
    "code-78": errno.ETIMEDOUT,
    "code-86": errno.ENAMETOOLONG,
    "code-87": errno.ENOTEMPTY,
    "code-88": errno.EDQUOT,
    "code-46": errno.ENOLCK,
    "code-50": errno.ENOTCONN,
    "code-1406": 1406,
    "code-1497": errno.ENOENT,
    "code-11000": errno.EACCES,
    "code-11020": errno.EACCES,
    "code-11045": errno.EACCES,
    "code-11046": errno.EREMOTEIO,
    "code-9999": errno.EREMOTEIO,
    f"code{-(2**31)}": errno.EREMOTEIO,
    "local_errno": errno.EXDEV,
    "length_of_name": 47,
    "function": "hpss_Unlink",
    "positive": -errno.EIO,
    "positive_rc": 5,
    "fine": 0,
    "code_when_fine": 0,
    # A label that fills its field.
    "cartridge": "L" * 12,
    "position": 7,
    "flags": 2,
    "unused_position": -1,
    "kind": 1,
    "bitfile": "ab" * 19,
    "bytes": 2**64 - 1,
    "position_without_list": -1,
    "failed_status": -errno.EIO,
    "size_of_failed": 0,
    "read": 8,
    "read_too_much": -errno.EIO,
    "read_at_most": 2**30,
    "seek": 0,
    "seek_elsewhere": -errno.EIO,
    "early_mtime": -errno.EINVAL,
    "late_mtime": -errno.EINVAL,
    "last_mtime": 0,
    "readdir": 1,
    "name": "short",
    "name_with_nul": "short",
    "end": 0,
    "endless_name": -errno.ENAMETOOLONG,
    "longest_name": 1,
    "longest": "n" * 15,
    "no_room": -errno.ENAMETOOLONG,
    "set": 0,
    # Who would have to escape it is not known.
    "set_markup": -errno.EINVAL,
    "set_entity": -errno.EINVAL,
    "stored": "a > 'b' \"c\"",
    "get": 0,
    "got": "a > 'b' \"c\"",
    "got_entity": "&lt;",
    "got_empty": 0,
    "exact_room": 0,
    "too_little_room": -errno.ERANGE,
    "endless_value": 1,
    "largest_value": 0,
    "large_value": -errno.EMSGSIZE,
    "no_keys": 0,
    "batch": 0,
    "batch_code": 1406,
    "batch_state": 0,
    "state_in_progress": 2,
    "state_unknown": 0,
    "state_of_another_number": 2,
    "short_answer": -errno.EIO,
    "large_batch": -errno.EINVAL,
    "large_state": -errno.EINVAL,
    "foreign_bitfile": -errno.EINVAL,
    "failed_batch": -errno.EIO,
    "failed_state": -errno.EIO,
    "batches_left": 0,
    "resolve": -errno.EADDRNOTAVAIL,
    "length_of_text": 47,
}


@pytest.fixture(scope="module")
def ended(
    tools: Tools, names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """Return the outcome of the unkind program, which the sanitizer watched."""
    work = tmp_path_factory.mktemp("unkind")
    found = tools.of("9.3")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover"]
    flags = [*found.compile_flags, *sanitize, f"-I{SOURCES}"]
    shim = _build.compile_shim(
        found._replace(compile_flags=flags), work / "shim.o", strict=True
    )
    compile_c("-c", write_stubs(work / "stubs.c", names), "-o", work / "stubs.o")
    compile_c(
        *(*flags, "-Wall", "-Wextra", "-Werror"),
        *(UNKIND, shim, work / "stubs.o", "-o", work / "program"),
    )
    return subprocess.run(
        [work / "program"],
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


class TestShimUnderAnUnkindApi:
    @pytest.fixture
    def answers(self, ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
        return dict(line.split("=", 1) for line in ended.stdout.splitlines())

    def test_no_buffer_is_overrun_and_all_is_freed(
        self, ended: subprocess.CompletedProcess[str]
    ) -> None:
        assert (0, "") == (ended.returncode, ended.stderr)

    @pytest.mark.parametrize("name", UNKIND_ANSWERS)
    def test_answer(self, answers: dict[str, str], name: str) -> None:
        assert str(UNKIND_ANSWERS[name]) == answers[name]

    def test_each_answer_is_expected(self, answers: dict[str, str]) -> None:
        assert UNKIND_ANSWERS.keys() == answers.keys()
