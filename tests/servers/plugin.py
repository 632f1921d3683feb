"""Fixtures: four S3 servers that others wrote, started when a test first asks for them."""

from __future__ import annotations

import fcntl
import functools
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.s3_server import ACCESS_KEY, SECRET_KEY, RunningS3
from tests.servers.starting import free_port, program, running

_RADOSGW = Path(__file__).with_name("radosgw.sh")


def _at(name: str, port: int, checks_signatures: bool = True) -> RunningS3:
    return RunningS3(name, f"http://127.0.0.1:{port}", checks_signatures)


@contextmanager
def radosgw_of_one_machine(folder: Path) -> Iterator[RunningS3]:
    """Run Ceph's radosgw, with what it writes in `folder`, for the time of the block."""
    program("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph-mgr", "ceph", "monmaptool")

    def command(port: int) -> list[str]:
        place = str(folder / str(port))
        return ["bash", str(_RADOSGW), place, str(port), str(free_port()), ACCESS_KEY, SECRET_KEY]

    starting = running(
        functools.partial(_at, "radosgw"), command, folder / "log", is_stopped_by_stdin=True
    )
    with ExitStack() as stack:
        # Two that begin at once may take each other's daemons for their own ("wrong fsid").
        with open(Path(tempfile.gettempdir()) / "bucketfs-tests-ceph.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = stack.enter_context(starting)
        yield server


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """Ceph's radosgw: a production server with flat keys; it is the judge where servers differ."""
    with radosgw_of_one_machine(tmp_path_factory.mktemp("radosgw")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """moto: flat keys and conditions as at Amazon; it checks no signatures."""
    (path,) = program("moto_server")
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(
        functools.partial(_at, "moto", checks_signatures=False),
        lambda port: [path, "-H", "127.0.0.1", "-p", str(port)],
        log,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """`rclone serve s3` over a folder: a name is a file or a directory there, not both."""
    (path,) = program("rclone")
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "buckets").mkdir()

    def command(port: int) -> list[str]:
        keys = f"{ACCESS_KEY},{SECRET_KEY}"
        place = ["--addr", f"127.0.0.1:{port}", "--auth-key", keys, str(folder / "buckets")]
        return [path, "serve", "s3", *place]

    environment = {"RCLONE_CONFIG": str(folder / "rclone.conf")}
    with running(functools.partial(_at, "rclone"), command, folder / "log", environment) as server:
        yield server


@contextmanager
def juicefs_gateway(folder: Path) -> Iterator[RunningS3]:
    """Run `juicefs gateway`, with its files in `folder`, for the time of the block."""
    (path,) = program("juicefs")
    meta = f"sqlite3://{folder}/meta.db"
    bucket = f"{folder}/chunks/"
    subprocess.run(
        [
            path,
            "format",
            "--storage",
            "file",
            "--bucket",
            bucket,
            "--trash-days",
            "0",
            meta,
            "test",
        ],
        check=True,
        capture_output=True,
    )
    options = ["--multi-buckets", "--keep-etag", "--object-meta", "--umask", "022"]
    options += ["--cache-size", "0", "--no-usage-report", "--no-banner"]
    with running(
        functools.partial(_at, "juicefs"),
        lambda port: [path, "gateway", *options, meta, f"127.0.0.1:{port}"],
        folder / "log",
        {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY},
    ) as server:
        yield server


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningS3]:
    """`juicefs gateway`: MinIO's S3 over a file system."""
    with juicefs_gateway(tmp_path_factory.mktemp("juicefs")) as server:
        yield server
