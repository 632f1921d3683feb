"""Replies: what the kernel is told of nodes and of the file system."""

from __future__ import annotations

import pyfuse3
import trio

from bucketfs.namespace.nodes import Node

BLOCK_BYTES = 512
"""st_blocks counts these (stat(2))."""
PREFERRED_IO_BYTES = 128 << 10
"""st_blksize: what stdio and tools should read and write at a time."""
_STATFS_BLOCK_BYTES = 4096
_STATFS_BLOCKS = 1 << 38
"""1 PiB: a bucket has no end that could be told."""
_STATFS_FILES = 1 << 32
_NAME_BYTES = 255


def entry_attributes(node: Node, ttl_s: float) -> pyfuse3.EntryAttributes:
    """Return the attributes of `node`, valid for as long as the bucket's answer may be believed.

    What only this mount changes (open for writing, unsaved) is valid for `ttl_s` from now.
    """
    attributes = node.attributes
    size = node.size
    if node.is_pinned:
        valid_s = ttl_s
    else:
        valid_s = min(max(0.0, node.fresh_until_s - trio.current_time()), ttl_s)
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(node.inode)
    entry.generation = 0
    # An entry whose node has no name (any more) must be looked up anew.
    entry.entry_timeout = 0.0 if node.is_detached else valid_s
    entry.attr_timeout = valid_s
    entry.st_mode = pyfuse3.ModeT(attributes.mode)
    entry.st_nlink = _links(node)
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.st_rdev = attributes.rdev
    entry.st_size = size
    entry.st_blksize = PREFERRED_IO_BYTES
    entry.st_blocks = -(-size // BLOCK_BYTES)
    entry.st_atime_ns = attributes.atime_ns
    entry.st_mtime_ns = attributes.mtime_ns
    entry.st_ctime_ns = attributes.ctime_ns
    return entry


def _links(node: Node) -> int:
    """Return st_nlink: there are no hard links, and 2 for a directory tells nothing of its number
    of subdirectories that find(1) could believe (it needs more than 2 to try)."""
    if node.is_removed:
        return 0
    return 2 if node.is_directory else 1


def file_system() -> pyfuse3.StatvfsData:
    """Return statvfs of a bucket: very large, always free, names of up to 255 bytes."""
    data = pyfuse3.StatvfsData()
    data.f_bsize = _STATFS_BLOCK_BYTES
    data.f_frsize = _STATFS_BLOCK_BYTES
    data.f_blocks = data.f_bfree = data.f_bavail = _STATFS_BLOCKS
    data.f_files = data.f_ffree = data.f_favail = _STATFS_FILES
    data.f_namemax = _NAME_BYTES
    return data
