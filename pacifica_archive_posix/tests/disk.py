"""
A model of a file system that keeps of a crash only what was synced.

An fsync of a file keeps its bytes, mode, times and attributes; an fsync of a
directory keeps the names in it (fsync(2): not those of its parent). Of all else any
part may be there after a crash, in any combination: that is less than any real file
system promises.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from syscalls import Call

#: What changes nothing that a crash could take.
HARMLESS = {
    "stat", "fstat", "statvfs", "access", "scandir", "lseek", "read", "pread",
    "preadv", "getxattr", "listxattr", "flock", "dup", "close", "fallocate",
    "start_writeback",
}  # fmt: skip
#: Random combinations of the effects not synced, besides each alone and all.
COMBINATIONS = 30


@attrs.define(eq=False)
class Inode:
    """A file or a directory, named for messages by the path it was made at."""

    path: str
    is_directory: bool = False


@attrs.frozen(eq=False)
class Effect:
    """One change of one inode: an fsync of it makes this and the earlier ones last."""

    inode: Inode
    #: "data", "mode", "mtime", an attribute's name, or "name:" and a name.
    what: str
    value: Any
    #: Of a rename between directories: the number of its other half. File systems
    #: with a journal keep both or neither.
    other: int | None = None


@attrs.frozen(kw_only=True)
class Found:
    """A file as it is found after a crash."""

    data: bytes
    mode: int | None
    mtime_ns: int | None
    attributes: dict[str, bytes]


class Disk:
    """What was done to one tree, and what may be left of it."""

    def __init__(self, top: Path) -> None:
        self.top = str(top)
        self.root = Inode(self.top, is_directory=True)
        #: In order; each with the number of effects there were at its fsync.
        self.effects: list[Effect] = []
        self._synced: dict[Inode, int] = {}
        self._names: dict[Inode, dict[str, Inode]] = {self.root: {}}
        self._descriptors: dict[int, Inode] = {}
        for path in sorted(top.rglob("*")):
            self._import(path)
        self.sync_all()

    def _import(self, path: Path) -> None:
        folder, name = self._parent(str(path))
        inode = Inode(str(path), is_directory=path.is_dir())
        self._name(folder, name, inode)
        if not path.is_dir():
            self._change(inode, "data", path.read_bytes())
            self._change(inode, "mode", path.stat().st_mode & 0o7777)
            self._change(inode, "mtime", path.stat().st_mtime_ns)

    def sync_all(self) -> None:
        """Have all that is there on stable storage."""
        for effect in self.effects:
            self._synced[effect.inode] = len(self.effects)

    # --- the calls

    def apply(self, call: Call) -> None:
        """Do to the model what a call did to the tree."""
        if not call.done:
            return
        if call.name in HARMLESS:
            if call.name == "dup":
                self._descriptors[call.result] = self._descriptors[call.args[0]]
            return
        getattr(self, f"_do_{call.name}")(call)

    def _do_open(self, call: Call) -> None:
        path, flags = call.args[:2]
        folder, name = self._at(path, call.kwargs.get("dir_fd"))
        if flags & 0o300 == 0o300:  # O_CREAT | O_EXCL
            inode = Inode(f"{folder.path}/{name}")
            self._name(folder, name, inode)
            self._change(inode, "data", b"")
        else:
            inode = self._names[folder][name] if name else folder
        self._descriptors[call.result] = inode

    def _do_mkdir(self, call: Call) -> None:
        folder, name = self._at(call.args[0], None)
        self._name(folder, name, Inode(call.args[0], is_directory=True))

    def _do_write(self, call: Call) -> None:
        inode = self._descriptors[call.args[0]]
        data = self._volatile(inode, "data") + bytes(call.args[1])[: call.result]
        self._change(inode, "data", data)

    def _do_fchmod(self, call: Call) -> None:
        self._change(self._descriptors[call.args[0]], "mode", call.args[1])

    def _do_utime(self, call: Call) -> None:
        inode = self._descriptors[call.args[0]]
        self._change(inode, "mtime", call.kwargs["ns"][1])

    def _do_setxattr(self, call: Call) -> None:
        fd, name, value = call.args
        self._change(self._descriptors[fd], name, value)

    def _do_removexattr(self, call: Call) -> None:
        fd, name = call.args
        self._change(self._descriptors[fd], name, None)

    def _do_link(self, call: Call) -> None:
        inode = self._named(call.args[0], call.kwargs.get("src_dir_fd"))
        folder, name = self._at(call.args[1], call.kwargs.get("dst_dir_fd"))
        self._name(folder, name, inode)

    def _do_replace(self, call: Call) -> None:
        inode = self._named(call.args[0], None)
        folder, name = self._at(call.args[1], call.kwargs.get("dst_dir_fd"))
        self._name(folder, name, inode)
        self._name(*self._at(call.args[0], None), None)

    def _do_rename(self, call: Call) -> None:
        source = self._at(call.args[0], call.kwargs["src_dir_fd"])
        target = self._at(call.args[1], call.kwargs["dst_dir_fd"])
        inode = self._names[source[0]][source[1]]
        number = len(self.effects)
        self._name(*target, inode, other=number + 1)
        self._name(*source, None, other=number)

    def _do_unlink(self, call: Call) -> None:
        self._name(*self._at(call.args[0], call.kwargs.get("dir_fd")), None)

    def _do_fsync(self, call: Call) -> None:
        self._synced[self._descriptors[call.args[0]]] = len(self.effects)

    # --- the volatile view

    def _change(self, inode: Inode, what: str, value: object) -> None:
        self.effects.append(Effect(inode, what, value))

    def _name(
        self, folder: Inode, name: str, inode: Inode | None, other: int | None = None
    ) -> None:
        if inode is None:
            del self._names[folder][name]
        else:
            self._names[folder][name] = inode
            if inode.is_directory:
                self._names.setdefault(inode, {})
        self.effects.append(Effect(folder, f"name:{name}", inode, other))

    def _volatile(self, inode: Inode, what: str) -> Any:  # noqa: ANN401 (as set)
        return next(
            e.value
            for e in reversed(self.effects)
            if (e.inode, e.what) == (inode, what)
        )

    def _at(self, path: str, dir_fd: int | None) -> tuple[Inode, str]:
        if dir_fd is not None:
            return self._descriptors[dir_fd], path
        return self._parent(path)

    def _parent(self, path: str) -> tuple[Inode, str]:
        names = [name for name in path.removeprefix(self.top).split("/") if name]
        folder = self.root
        for name in names[:-1]:
            folder = self._names[folder][name]
        return folder, names[-1] if names else ""

    def _named(self, path: str, dir_fd: int | None) -> Inode:
        if path.startswith("/proc/self/fd/"):
            return self._descriptors[int(path.rpartition("/")[2])]
        folder, name = self._at(path, dir_fd)
        return self._names[folder][name]

    # --- the crash

    def crashes(self) -> Iterator[list[Effect]]:
        """Yield what may be left: the synced with any part of the rest, in order."""
        loose = [
            number
            for number, effect in enumerate(self.effects)
            if self._synced.get(effect.inode, 0) <= number
        ]
        chance = random.Random(len(self.effects))
        choices: list[Iterable[int]] = [(), loose]
        choices += [{n} for n in loose]
        choices += [set(loose) - {n} for n in loose]
        choices += [
            {n for n in loose if chance.random() < 0.5} for _ in range(COMBINATIONS)
        ]
        for choice in choices:
            lost = set(loose) - set(choice)
            lost -= {n for n in lost if self.effects[n].other not in {None, *lost}}
            yield [e for n, e in enumerate(self.effects) if n not in lost]

    def find(self, left: Sequence[Effect], path: Path) -> Found | None:
        """Return the file at a path after a crash, or None."""
        state: dict[Inode, dict[str, Any]] = {}
        for effect in left:
            state.setdefault(effect.inode, {})[effect.what] = effect.value
        inode: Inode | None = self.root
        for name in path.relative_to(self.top).parts:
            inode = state.get(inode, {}).get(f"name:{name}") if inode else None
        if inode is None:
            return None
        kept = state.get(inode, {})
        return Found(
            data=kept.get("data", b""),
            mode=kept.get("mode"),
            mtime_ns=kept.get("mtime"),
            attributes={
                k: v for k, v in kept.items() if k.startswith("user.") and v is not None
            },
        )
