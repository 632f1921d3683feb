"""Whatever Apache Libcloud can reach, through its `StorageDriver` alone.

Only `opening` may be imported without the package apache-libcloud.
"""
