"""What the server gives to plain HTTP clients: the roof for every mount."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from scripts.benchmark.results import Results, seconds
from scripts.benchmark.servers import Server
from scripts.benchmark.work import big_file

BUCKET = "bench-limit"
SMALL_FILES = 300


def measure_limit(server: Server, folder: Path, mib: int, results: Results) -> None:
    """Write and read a big object with curl and many small ones with boto3."""
    client = server.client()
    client.create_bucket(Bucket=BUCKET)
    source = big_file(folder, mib)
    where = {"Bucket": BUCKET, "Key": "big"}
    put = client.generate_presigned_url("put_object", Params=where)
    get = client.generate_presigned_url("get_object", Params=where)
    results.put(
        "w1 seq write durable", mib / seconds(lambda: _curl("-T", str(source), put)), "MiB/s"
    )
    if os.geteuid() == 0:
        subprocess.run(["sync"], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3")
    results.put("r1 seq read cold", mib / seconds(lambda: _curl("-o", "/dev/null", get)), "MiB/s")
    results.put("r2 seq read again", mib / seconds(lambda: _curl("-o", "/dev/null", get)), "MiB/s")

    def write_small() -> None:
        for number in range(SMALL_FILES):
            client.put_object(Bucket=BUCKET, Key=f"s/{number}", Body=b"y" * 4096)

    def read_small() -> None:
        for number in range(SMALL_FILES):
            client.get_object(Bucket=BUCKET, Key=f"s/{number}")["Body"].read()

    results.put("w2 write 300 4K files", SMALL_FILES / seconds(write_small), "file/s")
    results.put("r4 read 1000 4K files", SMALL_FILES / seconds(read_small), "file/s")


def _curl(*arguments: str) -> None:
    subprocess.run(["curl", "-sf", *arguments], check=True)
