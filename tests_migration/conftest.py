"""Trees that release 0.4.2 itself wrote."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from servers import Server, serve_old

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers import Answer

#: The bin directory of an environment that holds release 0.4.2; `nox -s migration`.
RELEASE = "PACIFICA_RELEASE_042"

#: Bytes that 0.4.2 moves in one read.
BLOCK = 1 << 20
#: Id to size: the ends of the range, of a byte and of the old blocks; both name forms.
SIZES = {
    0: 17,
    1: 0,
    2: 1,
    255: 4096,
    256: BLOCK - 1,
    12345: BLOCK,
    32768: BLOCK + 1,
    2**31: 3 * BLOCK + 5,
    2**40: 12,
    2**63 - 1: 100,
}
REPLACED, STAGED, RESTORED, MOVED, DELETED = 4711, 4712, 4713, 4714, 4715
#: Before 2002, with nanoseconds: what a backup tool restores.
RESTORED_MTIME_NS = 1_000_000_000_123_456_789
#: What 0.4.2 took for names, in each layout, and is no id of ours.
STRANGE = {False: ("00123", "-1", "abc", "upload.tmp"), True: ("-1", 2**63)}


@attrs.frozen(kw_only=True)
class Stored:
    """One file of a tree, read past any archive."""

    content: bytes = attrs.field(repr=False)
    mtime_ns: int
    mode: int


@attrs.frozen(kw_only=True)
class OldTree:
    """
    A tree as release 0.4.2 left it.

    Attributes:
        prefix: the directory.
        use_id2filename: its layout.
        paths: id to path within the prefix.
        files: path within the prefix to file, those that are no id's too.
        heads: id to what 0.4.2 answered to a HEAD.
    """

    prefix: Path
    use_id2filename: bool
    paths: Mapping[int, str]
    files: Mapping[str, Stored]
    heads: Mapping[int, Answer]

    @property
    def by_id(self) -> dict[int, Stored]:
        """The files that are archived, by id."""
        return {file_id: self.files[path] for file_id, path in self.paths.items()}

    def strangers(self, prefix: Path) -> dict[str, Stored]:
        """Return what is in a tree under the names that are no ids."""
        present = snapshot(prefix)
        return {path: present[path] for path in self.files.keys() - self.paths.values()}

    def copied(self, to: Path) -> Path:
        """Copy the tree, times included, for a test that changes it."""
        return Path(shutil.copytree(self.prefix, to))


def snapshot(prefix: Path) -> dict[str, Stored]:
    """Read every file below a directory."""
    found = {}
    for path in prefix.rglob("*"):
        if path.is_file():
            status = path.stat()
            found[path.relative_to(prefix).as_posix()] = Stored(
                content=path.read_bytes(),
                mtime_ns=status.st_mtime_ns,
                mode=status.st_mode & 0o777,
            )
    return found


def expected_path(file_id: int, *, use_id2filename: bool) -> str:
    """Say where 0.4.2 keeps a file; written anew, as what is tested must not say it."""
    if not use_id2filename:
        return str(file_id)
    digits = f"{file_id:x}"
    if file_id < 256:
        return f"file.{digits}"
    parts = []
    head = digits
    while len(head) > 2:
        head, tail = head[:-2], head[-2:]
        parts.append(tail)
    return "/".join([*parts, digits])


@pytest.fixture(scope="session")
def release() -> Path:
    if RELEASE not in os.environ:
        pytest.fail(f"{RELEASE} does not name the old release: use nox -s migration")
    return Path(os.environ[RELEASE])


@pytest.fixture(scope="session", params=[False, True], ids=["flat", "nested"])
def old_tree(
    request: pytest.FixtureRequest,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> OldTree:
    use_id2filename: bool = request.param
    work = tmp_path_factory.mktemp("old")
    prefix = work / "archive"
    prefix.mkdir()
    with serve_old(release, prefix, work, use_id2filename=use_id2filename) as old:
        ids = write_as_a_site_does(old, prefix, use_id2filename=use_id2filename)
        heads = {file_id: old.ask("HEAD", file_id) for file_id in ids}
    add_what_sites_have(prefix)
    return OldTree(
        prefix=prefix,
        use_id2filename=use_id2filename,
        paths={
            file_id: expected_path(file_id, use_id2filename=use_id2filename)
            for file_id in ids
        },
        files=snapshot(prefix),
        heads=heads,
    )


def write_as_a_site_does(
    old: Server, prefix: Path, *, use_id2filename: bool
) -> list[int]:
    """Store, replace, stage, move and delete through 0.4.2; return the ids kept."""
    random_bytes = random.Random(42).randbytes
    for file_id, size in SIZES.items():
        old.put(file_id, random_bytes(size))
    old.put(REPLACED, random_bytes(50_000))
    if os.geteuid() != 0:
        # Its files are read-only, so only root's server replaces them in place.
        old.ask("DELETE", REPLACED)
    old.put(REPLACED, random_bytes(20_000))
    old.put(STAGED, random_bytes(300))
    old.ask("POST", STAGED, b"")
    old.put(RESTORED, random_bytes(400))
    restored = prefix / expected_path(RESTORED, use_id2filename=use_id2filename)
    os.utime(restored, ns=(RESTORED_MTIME_NS, RESTORED_MTIME_NS))
    drop = prefix / "drop.dat"
    drop.write_bytes(random_bytes(500))
    old.patch(MOVED, drop)
    old.put(DELETED, random_bytes(600))
    old.ask("DELETE", DELETED)
    # It makes the directories of an id that it was only asked for.
    old.ask("GET", 987_654_321)
    for name in STRANGE[use_id2filename]:
        old.put(name, random_bytes(700))
    return [*SIZES, REPLACED, STAGED, RESTORED, MOVED]


def add_what_sites_have(prefix: Path) -> None:
    """Leave what backup tools, editors and file systems leave in a tree."""
    (prefix / "lost+found").mkdir()
    (prefix / "README").write_bytes(b"ask Ann before you touch this\n")
    (prefix / ".nfs000000000012345").write_bytes(b"still open elsewhere")


@pytest.fixture
def tree(old_tree: OldTree, tmp_path: Path) -> Path:
    """Return a copy of the old tree, times included, to be changed."""
    return old_tree.copied(tmp_path / "archive")
