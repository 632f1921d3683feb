"""The disk cache: clean blocks of objects on local disk, which outlive the mount.

`blockfile` is one block in a file, `recency` which go first, `folder` all of them, `filling` how
received bytes become blocks, `source` what a reader asks instead of the store, `warming` how whole
objects are brought here.
"""
