"""
The tables of the sideband database: what is read of them, and no more.

Columns that are not read are left out, so that it does not matter how a release names
them: the offset of a copy is ``offset`` in Sun's and Oracle's, ``off_set`` elsewhere.
Nothing is ever created from these.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table

__all__ = ["sam_file", "sam_inode", "sam_path"]

_metadata = MetaData()

#: The paths of directories, from the mount point on; also the targets of symlinks.
sam_path = Table(
    "sam_path",
    _metadata,
    Column("ino", Integer),
    Column("gen", Integer),
    Column("path", String),
)

#: The names in directories: of directory (p_ino, p_gen), for inode (ino, gen).
sam_file = Table(
    "sam_file",
    _metadata,
    Column("p_ino", Integer),
    Column("p_gen", Integer),
    Column("name", String),
    Column("ino", Integer),
    Column("gen", Integer),
)

#: Inodes. A number that was freed and used again has a greater ``gen``.
sam_inode = Table(
    "sam_inode",
    _metadata,
    Column("ino", Integer),
    Column("gen", Integer),
    Column("type", Integer),
    Column("size", Integer),
    Column("online", Integer),
)
