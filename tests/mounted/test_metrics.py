"""`metrics=` tells collectors what is counted, as OpenMetrics, and only on this machine."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.mounted.conftest import s3_options
from tests.mounted.test_command_line import bucketfs
from tests.mounted.test_stats import stats
from tests.mounts.mounting import mounted
from tests.servers.s3_server import RunningS3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, method: str = "GET", path: str = "/metrics") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: dict[str, list[Sample]], name: str, **labels: str) -> float:
    (sample,) = [each for each in found[name] if labels.items() <= each.labels.items()]
    return float(sample.value)


@pytest.mark.mounted
def test_what_is_told_is_openmetrics(moto: RunningS3, tmp_path: Path) -> None:
    port, url = free_port(), f"s3://{moto.make_bucket()}"
    with mounted(
        url, tmp_path, s3_options(moto), f"metrics=127.0.0.1:{port}", environment=moto.environment
    ) as mount:
        (mount.path / 'a"b\\c').write_bytes(b"x" * 1000)
        before = stats(mount.path)
        with (mount.path / "open").open("wb", buffering=0) as file:
            # No program is started here: its copy of the handle would be closed, which saves.
            file.write(b"y" * 70)
            status, kind, text = get(port)
        after = stats(mount.path)
        refused = [get(port, "POST")[0], get(port, path="/etc/passwd")[0]]
        head = get(port, "HEAD")
    found = samples(text)
    assert (status, head[0], head[2], refused) == (200, 200, "", [405, 404])
    assert kind.startswith("application/openmetrics-text")
    assert value(found, "bucketfs_build_info", url=url, mountpoint=str(mount.path)) == 1
    was, is_now = (report["requests"]["write"] for report in (before, after))
    for name in ("requests", "sent_bytes", "failures"):
        told = value(found, f"bucketfs_store_{name}_total", operation="write")
        assert was[name] <= told <= is_now[name]
    assert value(found, "bucketfs_pending_files") == 1
    assert value(found, "bucketfs_pending_bytes") == 70
    assert value(found, "bucketfs_kernel_bytes_total", request="write") == 1070
    assert value(found, "bucketfs_budget_limit_bytes", budget="memory") > 1 << 20
    buckets = [
        (float(each.labels["le"]), each.value)
        for each in found["bucketfs_store_latency_seconds_bucket"]
        if each.labels["operation"] == "write"
    ]
    assert buckets == sorted(buckets)
    count = value(found, "bucketfs_store_latency_seconds_count", operation="write")
    assert buckets[-1] == (float("inf"), count)
    assert count >= 1
    total = value(found, "bucketfs_store_latency_seconds_sum", operation="write")
    assert was["latency_s"]["total"] - 1e-6 <= total <= is_now["latency_s"]["total"] + 1e-6


@pytest.mark.mounted
def test_a_unix_socket_is_its_owners_only(bucket_folder: Path, tmp_path: Path) -> None:
    place = Path(os.path.relpath(tmp_path / "s"))
    path = tmp_path / "s"
    with mounted(f"file://{bucket_folder}", tmp_path, f"metrics={path}") as mount:
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(place) if len(os.fspath(place)) < 100 else os.fspath(path))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        mount.process.kill()
        mount.process.wait()
    text = answer.partition("\r\n\r\n")[2]
    assert value(samples(text), "bucketfs_pending_files") == 0
    with mounted(f"file://{bucket_folder}", tmp_path, f"metrics={path}"):
        assert path.is_socket(), "that of a killed mount is in nobody's way"
    assert not path.exists()


@pytest.mark.mounted
def test_other_machines_are_refused(bucket_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        in_use = f"127.0.0.1:{taken.getsockname()[1]}"
        for address, said in (
            ("0.0.0.0:9100", "not of this machine only"),
            ("10.1.2.3:9100", "not of this machine only"),
            ("example.com:9100", "not of this machine only"),
            ("9100", "is no address"),
            ("127.0.0.1:0", "is no address"),
            (in_use, "cannot be used: Address already in use"),
        ):
            given = f"metrics={address},cache_dir={tmp_path / 'cache'}"
            done = bucketfs("mount", f"file://{bucket_folder}", place, "-o", given)
            assert (done.returncode, said in done.stderr) == (1, True), done.stderr
            assert len(done.stderr.splitlines()) == 1
