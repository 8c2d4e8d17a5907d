"""The database fails in every way, in the middle of a mixed load of 32 threads."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from kit import LOOKER, Site, new_schema, tells_the_password, thread_names, wait_until
from proxy import SlowProxy
from sqlalchemy import NullPool, QueuePool, create_engine, text
from storm import Load, operating

from pacifica_archive_core import id2filename
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions
from pacifica_archive_hmssideband.double import DoubleError
from pacifica_archive_hmssideband.sideband import Sideband

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from mariadb import MariaDb

SCHEMA = "samstorm"
#: What two busy cores and 32 threads add to every wait.
SLACK_S = 2.0
POOL_SIZE = 4


@attrs.frozen(kw_only=True)
class Scene:
    """What is in the hands of who brings a failure about."""

    server: MariaDb
    proxy: SlowProxy


class Ear(logging.Handler):
    """Hears all that is logged by anyone, and keeps what tells the password."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)r"))

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(self.format(record))

    def hear(self, *texts: str) -> None:
        self.told += [text for text in texts if tells_the_password(text)]


@contextlib.contextmanager
def listening() -> Iterator[Ear]:
    """Hear what is logged, instead of pytest, which would keep a million lines."""
    ear = Ear()
    root = logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", [ear])
        root.setLevel(logging.DEBUG)
        try:
            yield ear
        finally:
            root.setLevel(level)


@pytest.fixture
def site(server: MariaDb, tmp_path: Path) -> Site:
    mount = tmp_path / "mount"
    for name in ("archive", "inbox"):
        (mount / name).mkdir(parents=True)
    url, reader_url = new_schema(server, SCHEMA)
    return Site(mount=mount, url=url, reader_url=reader_url)


@pytest.fixture
def proxy(server: MariaDb) -> Iterator[SlowProxy]:
    with SlowProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def options(site: Site, proxy: SlowProxy) -> HmsSidebandOptions:
    return HmsSidebandOptions(
        prefix=site.mount / "archive",
        sam_qfs_prefix="archive",
        url=site.reader_url.set(port=proxy.port),
        pool_size=POOL_SIZE,
        connect_timeout_s=0.5,
        query_timeout_s=0.5,
        stage_command=(),
        recall_timeout_s=0.5,
        durable=False,
        adopt_roots=(site.mount / "inbox",),
    )


@pytest.fixture
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backend ask a database that failed after a quarter of its pause."""
    quick = functools.partial(Sideband, clock=lambda: 4 * time.monotonic())
    monkeypatch.setattr("pacifica_archive_hmssideband.archive.Sideband", quick)


# --- failures


@contextlib.contextmanager
def killed(scene: Scene) -> Iterator[None]:
    scene.server.kill()
    try:
        yield
    finally:
        scene.server.start()


@contextlib.contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    scene.server.freeze()
    try:
        yield
    finally:
        scene.server.thaw()


@contextlib.contextmanager
def restarted(scene: Scene) -> Iterator[None]:
    scene.server.stop()
    scene.server.start()
    yield


@contextlib.contextmanager
def locked_out(scene: Scene) -> Iterator[None]:
    user = LOOKER[0]
    scene.server.execute(f"ALTER USER {user}@'%' ACCOUNT LOCK")
    scene.server.kill_connections(user)
    try:
        yield
    finally:
        scene.server.execute(f"ALTER USER {user}@'%' ACCOUNT UNLOCK")


@contextlib.contextmanager
def not_granted(scene: Scene) -> Iterator[None]:
    user = LOOKER[0]
    scene.server.execute(f"REVOKE SELECT ON {SCHEMA}.* FROM {user}@'%'")  # noqa: S608 (of this module)
    scene.server.kill_connections(user)
    try:
        yield
    finally:
        scene.server.execute(f"GRANT SELECT ON {SCHEMA}.* TO {user}@'%'")


@contextlib.contextmanager
def locked_tables(scene: Scene) -> Iterator[None]:
    tables = "sam_path WRITE, sam_file WRITE, sam_inode WRITE"
    engine = create_engine(scene.server.url("root", schema=SCHEMA), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"LOCK TABLES {tables}"))
        yield


@contextlib.contextmanager
def slow(scene: Scene) -> Iterator[None]:
    """Within the time that an answer may take."""
    scene.proxy.delay_s = 0.2
    try:
        yield
    finally:
        scene.proxy.delay_s = 0.0


@contextlib.contextmanager
def trickling(scene: Scene) -> Iterator[None]:
    """Each byte in time, and their sum never."""
    scene.proxy.piece = 1
    scene.proxy.delay_s = 0.1
    try:
        yield
    finally:
        scene.proxy.delay_s = 0.0


#: What a load is there to see.
EXPECTED = {
    *("put done", "create done", "adopt done", "delete done", "create FileExists"),
    *("get done", "get FileOffline", "get NoSuchFile", "digests done"),
    *("status done", "status_many done", "stage done", "stage_many done"),
}
FAILURES = (
    *(killed, frozen, restarted, locked_out, not_granted, locked_tables),
    *(slow, trickling),
)


def releasing(site: Site) -> AbstractContextManager[None]:
    """Send one file after the other to tape."""

    def act(file_id: int) -> None:
        path = site.mount / f"archive{id2filename(file_id)}"
        # It may be gone, or open; and the double cannot do it without its database.
        with contextlib.suppress(DoubleError):
            site.double.archive([path])
            site.double.release([path])

    return operating(act)


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@contextlib.contextmanager
def leaving_nothing(scene: Scene) -> Iterator[None]:
    """Demand that what a with-block opens is closed after it."""
    before = descriptors()
    yield
    # Server, proxy and threads hear of a closed connection in their own time.
    wait_until(lambda: descriptors() <= before, "descriptors are left open")
    wait_until(
        lambda: not scene.server.connections(LOOKER[0]), "connections are left open"
    )
    wait_until(
        lambda: not any(name.startswith("pacifica") for name in thread_names()),
        "threads go on",
    )


def limit_s(sideband: Sideband) -> float:
    """Return the seconds that a status may take."""
    return sideband.bound_s + SLACK_S


@pytest.mark.usefixtures("_short_pauses")
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_no_answer_is_wrong_or_late_while_the_database_is(
    failure: Callable[[Scene], AbstractContextManager[None]],
    site: Site,
    server: MariaDb,
    proxy: SlowProxy,
    options: HmsSidebandOptions,
) -> None:
    scene = Scene(server=server, proxy=proxy)
    with (
        site.in_step(),
        leaving_nothing(scene),
        listening() as ear,
        HmsSidebandArchive(options) as archive,
    ):
        with releasing(site), Load(archive, site.mount / "inbox") as load:
            load.until_told_by("sideband")
            load.until(lambda: load.done["get FileOffline"] > 0)
            with failure(scene):
                load.go_on(rounds=5, seconds=1.5)
            load.until_told_by("sideband")
            load.go_on(rounds=5)
            crowd = len(server.connections(LOOKER[0]))
        sideband = archive._sideband  # noqa: SLF001 (nobody else tells)
        pool = sideband._engine.pool  # noqa: SLF001 (as above)
        assert isinstance(pool, QueuePool)
        # Threads that wait for a recall may be asking still.
        wait_until(lambda: not pool.checkedout(), "a connection is held", patience_s=10)
        ear.hear(repr(archive), repr(archive.options), repr(vars(sideband)))
        late = load.slowest if load.slowest[0] > limit_s(sideband) else ()

    assert {"faults": [], "late": (), "told": [], "crowd": True} == {
        "faults": load.faults[:3],
        "late": late,
        "told": ear.told[:3],
        "crowd": crowd <= 2 * POOL_SIZE,
    }

    # What was to be tried has happened.
    assert set() == EXPECTED - load.done.keys()


def test_a_database_may_come_later(
    site: Site, server: MariaDb, options: HmsSidebandOptions
) -> None:
    """After the archive was opened, in the middle of the load."""
    with site.in_step():
        server.kill()
        with (
            listening() as ear,
            HmsSidebandArchive(options) as archive,
            Load(archive, site.mount / "inbox") as load,
        ):
            load.go_on(rounds=10)
            alone = load.sources["sideband"]
            server.start()
            load.until_told_by("sideband")
            load.go_on(rounds=5)
            late = load.slowest[0] > limit_s(archive._sideband)  # noqa: SLF001 (as above)

    assert ([], 0, False, []) == (load.faults[:3], alone, late, ear.told[:3])
