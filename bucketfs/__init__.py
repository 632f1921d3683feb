"""bucketfs: mount an object storage bucket as a directory."""

__version__ = "0.1.0"
