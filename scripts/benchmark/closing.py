"""`python -m scripts.benchmark.closing`: how long closing a small file takes with `writeback`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from scripts.benchmark.servers import started
from scripts.benchmark.tools import Bucketfs

FILES = 1000
PORT = 9224


def main() -> None:
    """Write files of 4 KiB one after the other and print quantiles of their closes."""
    os.environ["BUCKETFS_OPTS"] = "-o writeback"
    folder = Path(tempfile.mkdtemp(prefix="bucketfs-closing."))
    took_ms = []
    try:
        with started("juicefs", folder, PORT) as server:
            tool = Bucketfs("bucketfs", server, folder)
            tool.prepare()
            tool.mount()
            try:
                for number in range(FILES):
                    file = os.open(tool.mnt / str(number), os.O_WRONLY | os.O_CREAT)
                    os.write(file, b"x" * 4096)
                    began_s = time.perf_counter()
                    os.close(file)
                    took_ms.append((time.perf_counter() - began_s) * 1000)
                tool.unmount()
            finally:
                tool.abandon()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    took_ms.sort()
    for share in (0.5, 0.9, 0.99):
        print(f"p{share * 100:g}: {took_ms[int(share * FILES)]:.2f} ms")


if __name__ == "__main__":
    main()
