"""The content of files: ranged reads, pages, spill and uploads. Never sees inodes or paths."""
