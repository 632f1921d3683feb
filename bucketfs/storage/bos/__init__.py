"""Baidu BOS: JSON, bce-auth-v1, appendable objects and native symlinks."""
