"""The benchmark: several mounts do the same work on one S3 server, one after the other."""
