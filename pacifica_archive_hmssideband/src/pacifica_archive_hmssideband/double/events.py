"""What has happened in the directory since the last look, and what its rows become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from pacifica_archive_hmssideband.double.records import Bytes, Node
from pacifica_archive_hmssideband.double.rows import (
    Changes,
    InodeRow,
    NameRow,
    PathRow,
)
from pacifica_archive_hmssideband.double.world import ROOT, Kind, kind_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pacifica_archive_hmssideband.double.records import Known
    from pacifica_archive_hmssideband.double.world import Tree

__all__ = ["Look", "inode_row", "look", "name_rows", "path_row"]

_SECOND_NS = 1_000_000_000
#: The root's number and generation in the database.
_ROOT_ID = (2, 2)
#: From here on numbers are the double's own: the file system's do not fit.
_OWN = 0xF000_0000
_NUMBERS = 1 << 32


@attrs.define(kw_only=True)
class Look:
    """
    What a look at the directory found, to be kept when the database has it.

    Attributes:
        changes: for the database.
        nodes: inodes that are new or not as they were, by their keys.
        born: keys of those that are new.
        forgotten: keys of inodes that are gone for good.
        gone_names: key of the directory, and name.
        new_names: and the key.
    """

    changes: Changes = attrs.Factory(Changes)
    nodes: dict[str, Node] = attrs.Factory(dict)
    born: set[str] = attrs.Factory(set)
    forgotten: list[str] = attrs.Factory(list)
    gone_names: list[tuple[str, str]] = attrs.Factory(list)
    new_names: list[tuple[str, str, str]] = attrs.Factory(list)


def look(
    known: Known, tree: Tree, *, readlink: Callable[[str], str], now_s: int
) -> Look:
    """
    Compare what is known with what is there.

    A row becomes what the file is now, whatever it was when the event happened. A
    file whose times or mode were set has no event (SAM-QFS, inode.c).

    Args:
        known: is changed to what is there.
        tree: what is there.
        readlink: path in the tree to the target of the symlink.
        now_s: when, in seconds since 1970.
    """
    found = Look()
    places = _places(known.names, known)
    ids = {key: (node.ino, node.gen) for key, node in known.nodes.items()}
    _see_present(known, tree, found, now_s)
    for key in found.born:
        ids[key] = known.nodes[key].ino, known.nodes[key].gen
        row = path_row(known.nodes[key], tree.paths[key], readlink)
        if row is not None and tree.paths[key] not in known.lost:
            found.changes.paths.append(row)
    ids[ROOT] = _ROOT_ID
    # Before what is gone is forgotten: a directory may go with what is in it.
    _see_names(known, tree, found, places, ids)
    _see_moved(known, tree, found, places)
    _see_gone(known, tree, found, places)
    known.names = dict(tree.names)
    return found


def inode_row(node: Node, *, now_s: int) -> InodeRow:
    """Return the row of an inode that is made now."""
    return InodeRow(
        ino=node.ino,
        gen=node.gen,
        type=node.kind,
        size=node.size,
        create_time=now_s,
        modify_time=node.mtime_ns // _SECOND_NS,
        uid=node.uid,
        gid=node.gid,
        online=int(node.online),
    )


def path_row(node: Node, path: str, readlink: Callable[[str], str]) -> PathRow | None:
    """Return the row of a directory or a symlink; others have none."""
    if node.kind is Kind.DIRECTORY:
        return PathRow(ino=node.ino, gen=node.gen, path=f"{path}/")
    if node.kind is Kind.SYMLINK:
        return PathRow(ino=node.ino, gen=node.gen, path=readlink(path))
    return None


def name_rows(known: Known) -> list[NameRow]:
    """Return the rows of all names."""
    ids = {key: (node.ino, node.gen) for key, node in known.nodes.items()}
    ids[ROOT] = _ROOT_ID
    return [
        _name_row(ids[parent], name, ids[key])
        for (parent, name), key in known.names.items()
    ]


def _name_row(parent: tuple[int, int], name: str, child: tuple[int, int]) -> NameRow:
    return NameRow(
        p_ino=parent[0], p_gen=parent[1], name=name, ino=child[0], gen=child[1]
    )


def _see_present(known: Known, tree: Tree, found: Look, now_s: int) -> None:
    for key, status in tree.stats.items():
        node = known.nodes.get(key)
        if node is None:
            node = known.nodes[key] = found.nodes[key] = _new(known, key, status)
            found.born.add(key)
        elif node.gone:
            # It was missed by a look, while it was being moved.
            node.gone = False
            found.nodes[key] = node
            found.born.add(key)
        elif node.ctime_ns == status.st_ctime_ns:
            continue
        else:
            happened = _update(node, status)
            found.nodes[key] = node
            if happened and tree.paths[key] not in known.lost:
                found.changes.changed.append(inode_row(node, now_s=now_s))
            continue
        if tree.paths[key] not in known.lost:
            found.changes.inodes.append(inode_row(node, now_s=now_s))


def _see_names(
    known: Known,
    tree: Tree,
    found: Look,
    places: dict[str, tuple[str, str]],
    ids: dict[str, tuple[int, int]],
) -> None:
    for (parent, name), key in known.names.items():
        if tree.names.get((parent, name)) != key:
            found.gone_names.append((parent, name))
            if f"{_path(places, parent)}/{name}" not in known.lost:
                found.changes.gone_names.append(_name_row(ids[parent], name, ids[key]))
    for (parent, name), key in tree.names.items():
        if known.names.get((parent, name)) != key or key in found.born:
            found.new_names.append((parent, name, key))
            above = "" if parent == ROOT else tree.paths[parent]
            if f"{above}/{name}" not in known.lost:
                found.changes.names.append(_name_row(ids[parent], name, ids[key]))


def _see_moved(
    known: Known, tree: Tree, found: Look, places: dict[str, tuple[str, str]]
) -> None:
    now = _places(tree.names, known)
    moved = [
        key for key, place in now.items() if key in places and places[key] != place
    ]
    current = {**now, **places}
    # From the top down, as each path holds the one above it.
    for key in sorted(moved, key=lambda key: tree.paths[key].count("/")):
        old = _path(current, key)
        current[key] = now[key]
        new = _path(current, key)
        if not {old, new} & known.lost:
            found.changes.moved.append((f"{old}/", f"{new}/"))


def _see_gone(
    known: Known, tree: Tree, found: Look, places: dict[str, tuple[str, str]]
) -> None:
    paths = {
        key: f"{_path(places, parent)}/{name}"
        for parent, name in found.gone_names
        if (key := known.names[parent, name]) not in tree.stats
    }
    for key in known.nodes.keys() - tree.stats.keys():
        node = known.nodes[key]
        if not node.gone and paths.get(key) not in known.lost:
            found.changes.gone.append((node.ino, node.gen))
        if node.gone or (node.bytes is Bytes.ONLINE and key not in known.copies):
            del known.nodes[key]
            found.forgotten.append(key)
        else:
            node.gone = True
            found.nodes[key] = node
    # Of files that were copied and deleted between two looks.
    found.forgotten += known.copies.keys() - known.nodes.keys() - {*found.forgotten}


def _new(known: Known, key: str, status: os.stat_result) -> Node:
    ino = status.st_ino
    if ino >= _NUMBERS:
        ino = max(*known.generations, _OWN - 1, 0) + 1
    # SAM-QFS gives files numbers from 1025 on. Here they are the file system's, which
    # may be 2, as on tmpfs; the root's generation is 2 then, and no file's.
    gen = known.generations.get(ino, 2 if ino == _ROOT_ID[0] else 0) + 1
    known.generations[ino] = gen
    return Node(
        key=key,
        ino=ino,
        gen=gen,
        kind=kind_of(status),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _update(node: Node, status: os.stat_result) -> bool:
    """Bring a node up to its file's status, and say whether there was an event."""
    written = status.st_mtime_ns == status.st_ctime_ns
    if node.kind is not Kind.FILE:
        happened = False
    elif node.bytes in {Bytes.OFFLINE, Bytes.STAGING}:
        # The mtime may be off: bytes are going, or on their way.
        happened = status.st_size != node.size
    else:
        # Of times set by utime(2) only the ctime is now.
        happened = status.st_size != node.size or (
            written and status.st_mtime_ns != node.mtime_ns
        )
    if happened:
        node.bytes = Bytes.ONLINE
    if node.bytes in {Bytes.ONLINE, Bytes.RELEASING, Bytes.STAGED} or not written:
        node.mtime_ns = status.st_mtime_ns
    owners = status.st_uid, status.st_gid
    happened |= owners != (node.uid, node.gid)
    node.uid, node.gid = owners
    node.size = status.st_size
    node.ctime_ns = status.st_ctime_ns
    return happened


def _places(
    names: dict[tuple[str, str], str], known: Known
) -> dict[str, tuple[str, str]]:
    """Return directory's key to its place: the key of the one above, and name."""
    return {
        key: place
        for place, key in names.items()
        if key in known.nodes and known.nodes[key].kind is Kind.DIRECTORY
    }


def _path(places: dict[str, tuple[str, str]], key: str) -> str:
    names = []
    while key != ROOT:
        key, name = places[key]
        names.append(f"/{name}")
    return "".join(reversed(names))
