"""POSIX attributes and the object metadata that holds them; pure.

Written in s3fs's dialect, so that both see the same files: `mode` is st_mode in decimal with its
type bits, `uid` and `gid` are decimal, `mtime`, `ctime` and `atime` are seconds with nine digits of
nanoseconds where there are any, `xattr` is URL-encoded JSON of base64 values. Two names are our
own: `rdev` (also geesefs's) of device nodes, and `bucketfs-special` on a directory's marker. What
other tools wrote (s3sync, gsutil, rclone, gcsfuse, geesefs, cosfs, bosfs) is read by `dialects`.
Metadata that is not about attributes is carried along untouched.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from bucketfs.errors import AttributesTooLarge
from bucketfs.namespace import dialects
from bucketfs.storage.interface import ObjectInfo

SPECIAL_HINT = "bucketfs-special"
"""Metadata of a marker: "1" where the directory may hold symlinks, fifos, sockets or devices."""

MAX_METADATA_BYTES = 2048
"""S3's limit for names and values together; the default where a store's own is not given."""

_TYPES = frozenset(
    (
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFCHR,
        stat.S_IFBLK,
    )
)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What entries have whose objects say nothing: permission bits without a type."""

    uid: int
    gid: int
    file_mode: int = 0o644
    directory_mode: int = 0o755

    @classmethod
    def from_masks(
        cls, uid: int, gid: int, umask: int = 0o022, fmask: int = 0, dmask: int = 0
    ) -> Defaults:
        """Take the bits of the masks (mount options) from 0666 (files) and 0777 (directories)."""
        return cls(uid, gid, 0o666 & ~(umask | fmask), 0o777 & ~(umask | dmask))


@dataclass(slots=True)
class Attributes:
    """What stat(2) and getxattr(2) say of a file besides its size.

    `mode` has the type bits; times are ns since 1970. `holds_special` is of directories: see
    `SPECIAL_HINT`. `foreign` is metadata of others that goes back with every write.
    """

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    rdev: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    holds_special: bool = False
    foreign: Mapping[str, str] = field(default_factory=dict)

    def copy(self) -> Attributes:
        """Return attributes that may be changed without changing these."""
        return Attributes(
            self.mode,
            self.uid,
            self.gid,
            self.mtime_ns,
            self.ctime_ns,
            self.atime_ns,
            self.rdev,
            dict(self.xattrs),
            self.holds_special,
            self.foreign,
        )


def from_metadata(info: ObjectInfo, defaults: Defaults, is_directory: bool) -> Attributes:
    """Return what `info` says of a file, or of a directory whose marker it is.

    Where metadata is absent or makes no sense the defaults stand in, and Last-Modified for the
    times. The key decides what is a directory: a type in `mode` that contradicts it is ignored.
    An object that grows by appends keeps the metadata of its beginning: it was changed when the
    store says so, if that is later. (Who sets other times on it makes it one that does not grow.)
    """
    metadata = info.metadata or {}
    found = dialects.parse(metadata)
    mode = defaults.directory_mode if is_directory else defaults.file_mode
    if found.mode is not None:
        mode = found.mode
    mtime_ns = _changed_ns(found.mtime_ns, info)
    return Attributes(
        mode=_with_type(mode, is_directory),
        uid=defaults.uid if found.uid is None else found.uid,
        gid=defaults.gid if found.gid is None else found.gid,
        mtime_ns=mtime_ns,
        ctime_ns=_changed_ns(found.ctime_ns, info),
        atime_ns=mtime_ns if found.atime_ns is None else found.atime_ns,
        rdev=found.rdev or 0,
        xattrs=found.xattrs,
        holds_special=is_directory and metadata.get(SPECIAL_HINT) == "1",
        foreign=found.foreign,
    )


def implicit_directory(defaults: Defaults, time_ns: int = 0) -> Attributes:
    """Return the attributes of a directory without a marker; nothing says when it was changed."""
    mode = stat.S_IFDIR | defaults.directory_mode
    return Attributes(mode, defaults.uid, defaults.gid, time_ns, time_ns, time_ns)


def to_metadata(
    attributes: Attributes, max_metadata_bytes: int = MAX_METADATA_BYTES
) -> dict[str, str]:
    """Return the metadata that holds `attributes`: ASCII, in s3fs's dialect.

    `xattr` is left out where there is none. Raises: AttributesTooLarge.
    """
    metadata = dict(attributes.foreign)
    metadata["mode"] = str(attributes.mode)
    metadata["uid"] = str(attributes.uid)
    metadata["gid"] = str(attributes.gid)
    metadata["mtime"] = dialects.format_time(attributes.mtime_ns)
    metadata["ctime"] = dialects.format_time(attributes.ctime_ns)
    metadata["atime"] = dialects.format_time(attributes.atime_ns)
    if attributes.rdev:
        metadata["rdev"] = str(attributes.rdev)
    if attributes.xattrs:
        metadata["xattr"] = dialects.format_xattrs(attributes.xattrs)
    if attributes.holds_special:
        metadata[SPECIAL_HINT] = "1"
    used_bytes = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if used_bytes > max_metadata_bytes:
        raise AttributesTooLarge(
            f"the attributes need {used_bytes} bytes of object metadata and the store has room for"
            f" {max_metadata_bytes}: remove or shorten extended attributes"
        )
    return metadata


def is_special(mode: int) -> bool:
    """Whether `mode` is of a type that a listing cannot show: all but files and directories."""
    return stat.S_IFMT(mode) not in (stat.S_IFREG, stat.S_IFDIR)


def _changed_ns(stored_ns: int | None, info: ObjectInfo) -> int:
    """Return a time of change of which the metadata say `stored_ns`."""
    if stored_ns is None or (info.is_appendable and info.modified_ns > stored_ns):
        return info.modified_ns
    return stored_ns


def _with_type(mode: int, is_directory: bool) -> int:
    if is_directory:
        return stat.S_IFDIR | stat.S_IMODE(mode)
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR or kind not in _TYPES:
        kind = stat.S_IFREG
    return kind | stat.S_IMODE(mode)
