"""What the server gives to plain HTTP clients: the roof for every mount.

curl for the big file; for all else presigned requests with next to no work of the client's. Every
figure is of the requests that a mount which keeps one object a file cannot do without.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scripts.benchmark.plain import Call, carry_out
from scripts.benchmark.results import Results, seconds
from scripts.benchmark.servers import Server
from scripts.benchmark.tools import wait_mounted
from scripts.benchmark.work import APPENDS, SMALL, THREADS, big_file, title

BUCKET = "bench-limit"
MIB = 1 << 20
PARTS = 16
FEW = 300
LISTED = 5000
RENAMED = 100


class Limit:
    """Measures one server. Keys are made where they are needed."""

    def __init__(self, server: Server, folder: Path, mib: int, results: Results) -> None:
        self._client: Any = server.client()
        self._results = results
        self._source = big_file(folder, mib)
        self._mib = mib

    def run(self, wanted: set[str]) -> None:
        """Do what is wanted (empty: all)."""
        self._client.create_bucket(Bucket=BUCKET)
        self._put_big()
        for names, measure in (
            ({"w1", "r1", "r2"}, self._stream),
            ({"w2", "w3", "r4", "r5", "w8"}, self._small),
            ({"l1", "l2"}, self._list),
            ({"w4"}, self._append),
            ({"w5", "w6"}, self._copy_big),
            ({"w7"}, self._rename),
        ):
            if not wanted or wanted & names:
                measure()

    def _url(self, operation: str, **named: object) -> str:
        where = {"Bucket": BUCKET, **named}
        url: str = self._client.generate_presigned_url(operation, Params=where)
        return url

    def _rate(self, name: str, amount: float, unit: str, work: Callable[[], object]) -> None:
        self._results.put(title(name), amount / seconds(work), unit)

    def _put_big(self) -> None:
        _curl("-T", str(self._source), self._url("put_object", Key="big"))

    def _stream(self) -> None:
        get = self._url("get_object", Key="big")
        self._rate("w1", self._mib, "MiB/s", self._put_big)
        if os.geteuid() == 0:
            subprocess.run(["sync"], check=True)
            Path("/proc/sys/vm/drop_caches").write_text("3")
        self._rate("r1", self._mib, "MiB/s", lambda: _curl("-o", "/dev/null", get))
        self._rate("r2", self._mib, "MiB/s", lambda: _curl("-o", "/dev/null", get))

    def _small(self) -> None:
        few = [self._put(f"s/{number}", b"y" * 4096) for number in range(FEW)]
        many = [self._put(f"t/{number}", b"y" * 4096) for number in range(SMALL)]
        reads = [Call("GET", self._url("get_object", Key=f"t/{n}")) for n in range(SMALL)]
        deletes = [Call("DELETE", self._url("delete_object", Key=f"t/{n}")) for n in range(SMALL)]
        self._rate("w2", FEW, "file/s", lambda: carry_out(few))
        self._rate("w3", SMALL, "file/s", lambda: carry_out(many, THREADS))
        self._rate("r4", SMALL, "file/s", lambda: carry_out(reads))
        self._rate("r5", SMALL, "file/s", lambda: carry_out(reads, THREADS))
        self._rate("w8", SMALL, "file/s", lambda: carry_out(deletes))

    def _list(self) -> None:
        keys = [f"l/d{number % 50:02}/f{number // 50:03}" for number in range(LISTED)]
        carry_out([self._put(key, b"x" * 10) for key in keys], THREADS)
        heads = [Call("HEAD", self._url("head_object", Key=key)) for key in keys]

        def listed() -> None:
            assert sum(page.count(b"<Key>") for page in self._pages("l/")) == LISTED

        def looked_at() -> None:
            listed()
            carry_out(heads, THREADS)

        self._rate("l1", LISTED, "entry/s", listed)
        self._rate("l2", LISTED, "entry/s", looked_at)

    def _pages(self, prefix: str) -> Iterator[bytes]:
        """Yield the pages of a listing without delimiter."""
        after = ""
        while True:
            url = self._url("list_objects_v2", Prefix=prefix, StartAfter=after)
            (page,) = carry_out([Call("GET", url)])
            yield page
            if b"<IsTruncated>true" not in page:
                return
            after = re.findall(rb"<Key>([^<]*)", page)[-1].decode()

    def _append(self) -> None:
        """Send all of the file each time: S3 has no appends, and no parts below 5 MiB."""
        block = b"z" * 65536
        calls = (self._put("log", block * count) for count in range(1, APPENDS + 1))
        self._rate("w4", APPENDS, "op/s", lambda: carry_out(calls))

    def _copy_big(self) -> None:
        """Make the object anew of its own parts, as an edit does; and of one copy, as a rename."""
        edit = seconds(self._copy_by_parts)
        self._results.put(title("w5"), edit, "s")
        copy = self._copy("big", "moved")
        delete = Call("DELETE", self._url("delete_object", Key="big"))
        self._results.put(title("w6"), seconds(lambda: carry_out([copy, delete])), "s")

    def _copy_by_parts(self) -> None:
        size = self._mib * MIB
        begun = self._client.create_multipart_upload(Bucket=BUCKET, Key="edited")
        step = size // PARTS
        named = {"Key": "edited", "UploadId": begun["UploadId"]}
        calls = []
        for number in range(PARTS):
            last = size if number == PARTS - 1 else (number + 1) * step
            source = {
                "CopySource": f"{BUCKET}/big",
                "CopySourceRange": f"bytes={number * step}-{last - 1}",
            }
            url = self._url("upload_part_copy", PartNumber=number + 1, **named, **source)
            headers = (
                ("x-amz-copy-source", source["CopySource"]),
                ("x-amz-copy-source-range", source["CopySourceRange"]),
            )
            calls.append(Call("PUT", url, headers=headers))
        carry_out(calls, PARTS // 2)
        parts = self._client.list_parts(Bucket=BUCKET, **named)["Parts"]
        known = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
        assert len(known) == PARTS
        self._client.complete_multipart_upload(
            Bucket=BUCKET, **named, MultipartUpload={"Parts": known}
        )

    def _rename(self) -> None:
        names = [f"f{number}" for number in range(RENAMED)]
        carry_out([self._put(f"old/{name}", b"x" * 10) for name in names], THREADS)
        copies = [self._copy(f"old/{name}", f"new/{name}") for name in names]
        deletes = [Call("DELETE", self._url("delete_object", Key=f"old/{n}")) for n in names]

        def rename() -> None:
            carry_out(copies, THREADS)
            carry_out(deletes, THREADS)

        self._results.put(title("w7"), seconds(rename), "s")

    def _put(self, key: str, body: bytes) -> Call:
        return Call("PUT", self._url("put_object", Key=key), body)

    def _copy(self, source: str, target: str) -> Call:
        place = f"{BUCKET}/{source}"
        url = self._url("copy_object", Key=target, CopySource=place)
        return Call("PUT", url, headers=(("x-amz-copy-source", place),))


def measure_empty(folder: Path, mib: int, results: Results) -> None:
    """Read and write through an empty file system on pyfuse3: the roof of whoever uses it."""
    mountpoint = folder / "mnt-empty"
    mountpoint.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "scripts.benchmark.empty", str(mountpoint), str(mib * MIB)]
    with subprocess.Popen(command) as process:
        try:
            wait_mounted(mountpoint, process)
            zeros, target = mountpoint / "zeros", mountpoint / "w.bin"
            read = ["dd", f"if={zeros}", "of=/dev/null", "bs=1M"]
            write = ["dd", f"if={big_file(folder, mib)}", f"of={target}", "bs=1M", "conv=fsync"]
            for name, command in (("r1", read), ("r2", read), ("w1", write)):
                run = partial(subprocess.run, command, check=True, capture_output=True)
                results.put(title(name), mib / seconds(run), "MiB/s")
        finally:
            subprocess.run(["fusermount3", "-u", mountpoint], check=False)


def _curl(*arguments: str) -> None:
    subprocess.run(["curl", "-sf", *arguments], check=True)
