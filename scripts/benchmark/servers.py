"""The S3 servers that the tools are measured on: others wrote them, each runs on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "ACCESSKEY00000001"
SECRET_KEY = "SECRETKEY00000001"
START_S = 60
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """Where a running server is."""

    url: str

    def client(self) -> Any:
        """Return a new boto3 client."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                signature_version="s3v4",
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"max_attempts": 2},
            ),
        )


Stop = Callable[[], None]


def start_juicefs(folder: Path, port: int) -> Stop:
    """Start the S3 gateway of juicefs (MinIO's code) over a local folder."""
    meta = f"sqlite3://{folder}/server.db"
    if not (folder / "server.db").exists():
        store = ["--storage", "file", "--bucket", f"{folder}/server/", "--trash-days", "0"]
        subprocess.run(
            ["juicefs", "format", *store, meta, "server"], check=True, capture_output=True
        )
    flags = "--multi-buckets --keep-etag --object-meta --object-tag --umask 022 --cache-size 0"
    command = ["juicefs", "gateway", *flags.split(), "--no-usage-report", "--no-banner"]
    keys = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    return _start([*command, meta, f"127.0.0.1:{port}"], folder, keys)


def start_moto(folder: Path, port: int) -> Stop:
    """Start moto: flat keys and metadata as S3 has them; slow, so for behaviour, not for speed."""
    return _start(["moto_server", "-H", "127.0.0.1", "-p", str(port)], folder, {})


def start_radosgw(folder: Path, port: int) -> Stop:
    """Start Ceph's S3 server with its data in memory (8 GiB: `--mib 512` fits four tools)."""
    script = REPOSITORY / "tests" / "servers" / "radosgw.sh"
    place = [str(folder / "ceph"), str(port), str(port + 1)]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            ["bash", script, *place, ACCESS_KEY, SECRET_KEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    end = process.stdin.close  # the script stops all of Ceph when its input ends
    if b"ready" not in process.stdout.readline():
        end()
        raise SystemExit(f"radosgw did not start: see {folder / 'server.log'}")

    def stop() -> None:
        end()
        process.wait(30)

    return stop


SERVERS = {"juicefs": start_juicefs, "moto": start_moto, "radosgw": start_radosgw}


@contextmanager
def started(kind: str, folder: Path, port: int) -> Iterator[Server]:
    """Run a server for the time of the block."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(f"something listens on port {port} already; --port takes another")
    stop = SERVERS[kind](folder, port)
    try:
        server = Server(f"http://127.0.0.1:{port}")
        _wait_until_answering(server)
        yield server
    finally:
        stop()


def _start(command: list[str], folder: Path, environment: dict[str, str]) -> Stop:
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )

    def stop() -> None:
        process.terminate()
        process.wait(30)

    return stop


def _wait_until_answering(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            server.client().list_buckets()
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
