"""Qiniu Kodo, in its own language: several services, each with its host, instead of one."""
