"""A local folder as a bucket (`file:///folder`): objects are files that ordinary tools can read.

`store` is the door (one thread hop a call); `objects`, `listing` and `upload` do the work;
`folder` reaches files without following symbolic links; `labels` keeps what stands beside an
object's bytes; `layout` is the pure rule of which key is which file; `failures` translates errors.
"""

from bucketfs.storage.directory.store import DirectoryStore

__all__ = ["DirectoryStore"]
