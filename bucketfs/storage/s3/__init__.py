"""The S3 dialect: Amazon's, Ceph's, MinIO's and their kin."""
