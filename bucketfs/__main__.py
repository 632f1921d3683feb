"""`python -m bucketfs`: the same as the command `bucketfs`."""

from __future__ import annotations

from bucketfs.cli.main import main

if __name__ == "__main__":
    main()
