"""Where a bucket of COS is."""

from __future__ import annotations

import pytest

from bucketfs.errors import ConfigurationError
from bucketfs.storage.cos.addressing import find_address

BUCKET = "b-1250000000"


@pytest.mark.parametrize(
    ("region", "endpoint", "scheme", "origin", "host"),
    [
        ("ap-beijing", None, None, "https://{0}.cos.ap-beijing.{1}", "{0}.cos.ap-beijing.{1}"),
        ("cosbj", None, "http", "http://{0}.cos.ap-beijing.{1}", "{0}.cos.ap-beijing.{1}"),
        ("ap-x", "http://127.0.0.1:9001", None, "http://127.0.0.1:9001", "{0}.cos.ap-x.{1}"),
        ("ap-x", "127.0.0.1:9001", "http", "http://127.0.0.1:9001", "{0}.cos.ap-x.{1}"),
        (None, "https://cos.ap-x.{1}", None, "https://{0}.cos.ap-x.{1}", "{0}.cos.ap-x.{1}"),
        (None, "cos.ap-x.{1}:443", None, "https://{0}.cos.ap-x.{1}", "{0}.cos.ap-x.{1}"),
        (
            *("ap-x", "https://cos.accelerate.{1}", None),
            *("https://{0}.cos.accelerate.{1}", "{0}.cos.accelerate.{1}"),
        ),
        (
            *(None, "https://cos-internal.ap-x.tencentcos.cn", None),
            *("https://{0}.cos-internal.ap-x.tencentcos.cn", "{0}.cos-internal.ap-x.tencentcos.cn"),
        ),
    ],
)
def test_addresses(
    region: str | None, endpoint: str | None, scheme: str | None, origin: str, host: str
) -> None:
    domain = "myqcloud.com"
    where = endpoint.format(BUCKET, domain) if endpoint else None
    found = find_address(BUCKET, region, where, scheme)
    assert found.origin == origin.format(BUCKET, domain)
    assert found.host == host.format(BUCKET, domain)
    assert found.is_tencent is ("127.0.0.1" not in origin)


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint", "reason"),
    [
        ("b", "ap-x", None, "full name"),
        ("B-1250000000", "ap-x", None, "full name"),
        ("-b-12.50", "ap-x", None, "full name"),
        (BUCKET, None, None, "region"),
        (BUCKET, None, "https://cos.accelerate.myqcloud.com", "region"),
        (BUCKET, "ap x", None, "no region"),
        (BUCKET, "ap-x", "ftp://127.0.0.1", "endpoint"),
        (BUCKET, "ap-x", "http://127.0.0.1/path", "endpoint"),
        (BUCKET, "ap-x", "http://user:secret@127.0.0.1", "endpoint"),
    ],
)
def test_what_is_no_address(
    bucket: str, region: str | None, endpoint: str | None, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        find_address(bucket, region, endpoint)
    assert "secret" not in str(caught.value)
