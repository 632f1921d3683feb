"""An upload whose mount was killed goes on with the next mount: counted at the server."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from bucketfs.pagecache.journal import Journal
from tests.faults.proxy import FaultyServer, faulty
from tests.mounted.conftest import s3_options, wait_until
from tests.mounts.mounting import mounted

MIB = 1 << 20
PARTS = 5
PART = re.compile(r"(?:[?&]partNumber=|/uploads/[^/?]+/)([0-9]+)")
REFUSED_FROM = 4


def part_number(method: str, path: str) -> int:
    """Return the number of the part that a request sends; 0: it sends none."""
    found = PART.search(path)
    return int(found[1]) if method == "PUT" and found else 0


def refuse_later_parts(method: str, path: str) -> str | None:
    return "reset" if part_number(method, path) >= REFUSED_FROM else None


def sent_parts(proxy: FaultyServer, since: int = 0) -> Counter[int]:
    numbers = Counter(part_number(method, path) for method, path in proxy.seen[since:])
    del numbers[0]
    return numbers


@pytest.mark.parametrize("cloud", ["radosgw", "cos", "bos", "kodo"])
def test_a_killed_upload_goes_on(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(cloud)
    scheme = "s3" if cloud == "radosgw" else cloud
    url, environment = f"{scheme}://{server.make_bucket()}", server.environment
    data = os.urandom((PARTS - 1) * 8 * MIB + 12345)
    with faulty(server.endpoint) as proxy:
        options = s3_options(server) if cloud == "radosgw" else f"endpoint={server.endpoint}"
        options = options.replace(server.endpoint, proxy.url) + ",writeback"
        proxy.rule = refuse_later_parts
        with mounted(url, tmp_path, options, environment=environment) as mount:
            (mount.path / "f").write_bytes(data)
            cache = mount.path.with_name(f"{mount.path.name}.cache")

            def noted() -> list[int]:
                uploads = Journal.read(cache).uploads
                return [part.number for upload in uploads for part in upload.parts]

            wait_until(lambda: noted() == [1, 2, 3], "three parts in the journal")
            mount.kill()
        began = len(proxy.seen)
        assert all(sent_parts(proxy)[number] == 1 for number in range(1, REFUSED_FROM))
        proxy.heal()
        with mounted(url, tmp_path, options, environment=environment) as mount:
            assert mount.unmount() == 0
        assert sent_parts(proxy, began) == {4: 1, 5: 1}
        with mounted(url, tmp_path, options, environment=environment, name="cold") as mount:
            assert (mount.path / "f").read_bytes() == data
    assert Journal.read(cache).uploads == ()
