"""Mount a bucket of an object store as a directory."""

__version__ = "0.1.0"
