"""Where a bucket of COS is: what to connect to, and which virtual host is asked and signed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bucketfs.errors import ConfigurationError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9]+", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]+", re.ASCII)
_SERVICE_HOST = re.compile(
    r"cos(?:-internal)?\.(?P<region>[a-z0-9-]+)\.(?:myqcloud\.com|tencentcos\.cn)"
)
_OLD_REGIONS = {
    "cossh": "ap-shanghai",
    "cosgz": "ap-guangzhou",
    "cosbj": "ap-beijing",
    "costj": "ap-beijing-1",
    "coscd": "ap-chengdu",
    "cossgp": "ap-singapore",
    "coshk": "ap-hongkong",
    "cosca": "na-toronto",
    "cosger": "eu-frankfurt",
}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one bucket: `origin` is where to connect, `host` what is sent and signed.

    `is_tencent`: we connect to the service itself.
    """

    origin: str
    host: str
    region: str
    is_tencent: bool


def find_address(
    bucket: str, region: str | None, endpoint: str | None, scheme: str | None = None
) -> Address:
    """Return the address of `bucket` (its full name, BUCKET-APPID).

    An `endpoint` of the service itself (`cos.REGION.myqcloud.com`, `cos.accelerate.myqcloud.com`,
    an internal one) names the virtual host; any other is only where to connect. `scheme` counts
    where the endpoint has none. Raises: ConfigurationError.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            f"{bucket!r} is no bucket of COS: its full name is needed, as in cos://name-1250000000"
        )
    parts = urlsplit(endpoint if endpoint and "://" in endpoint else f"//{endpoint or ''}")
    protocol = parts.scheme or scheme or "https"
    if protocol not in _DEFAULT_PORTS or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigurationError("the endpoint of COS is not http(s)://host[:port]")
    service = _SERVICE_HOST.fullmatch(parts.hostname or "")
    if service is not None and service["region"] != "accelerate":
        region = region or service["region"]
    region = _checked_region(region)
    if service is not None:
        host = f"{bucket}.{parts.netloc.removesuffix(_DEFAULT_PORTS[protocol])}"
        return Address(f"{protocol}://{host}", host, region, is_tencent=True)
    host = f"{bucket}.cos.{region}.myqcloud.com"
    is_tencent = not parts.netloc
    return Address(f"{protocol}://{parts.netloc or host}", host, region, is_tencent)


def _checked_region(region: str | None) -> str:
    if not region:
        raise ConfigurationError(
            "COS needs to know the bucket's region: use -o region=ap-guangzhou or another"
        )
    region = _OLD_REGIONS.get(region, region.removeprefix("cos."))
    if not _REGION.fullmatch(region):
        raise ConfigurationError(f"{region!r} is no region of COS")
    return region
