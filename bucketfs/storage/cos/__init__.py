"""The dialect of Tencent COS (its XML API)."""
