"""Where a bucket of BOS is: what to connect to, what is signed as Host, what paths begin with."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from bucketfs.errors import ConfigurationError
from bucketfs.storage.s3.addressing import Address, Addressing
from bucketfs.transport.sign_bos import encode_path

DEFAULT_REGION = "bj"
_DOMAIN = "bcebos.com"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]+")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def find_address(
    bucket: str,
    endpoint: str | None,
    region: str | None,
    *,
    scheme: str | None = None,
    addressing: Addressing = "auto",
) -> Address:
    """Return the address of `bucket`; `endpoint` None is BOS itself in `region`.

    "auto" is virtual hosts at BOS, and paths at a number or `localhost`, as Baidu's SDKs do it.
    "virtual" with such an endpoint connects there and signs the bucket's host at BOS.
    Raises: ConfigurationError.
    """
    service = f"{_checked_region(bucket, region)}.{_DOMAIN}"
    endpoint = endpoint or service
    parts = urlsplit(endpoint if "://" in endpoint else f"{scheme or 'https'}://{endpoint}")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.username:
        raise ConfigurationError(
            f"the endpoint {parts.scheme}://{parts.hostname or ''} is not http(s)://host[:port]"
        )
    base = encode_path(parts.path.rstrip("/"))
    host = parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
    is_machine = _is_machine(parts.hostname)
    if addressing == "path" or (addressing == "auto" and is_machine):
        base = f"{base}/{encode_path(bucket)}"
        return Address(f"{parts.scheme}://{parts.netloc}", host, base, False)
    if is_machine:
        return Address(f"{parts.scheme}://{parts.netloc}", f"{bucket}.{service}", base, False)
    is_service = parts.hostname.endswith(f".{_DOMAIN}")
    is_of_bucket = parts.hostname.startswith(f"{bucket}.") and (
        not is_service or parts.hostname.count(".") > service.count(".")
    )
    host = host if is_of_bucket else f"{bucket}.{host}"
    return Address(f"{parts.scheme}://{host}", host, base, is_service)


def _checked_region(bucket: str, region: str | None) -> str:
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            f"{bucket!r} is no bucket of BOS: 3 to 63 of a-z, 0-9 and - (none at the ends)"
        )
    region = region or DEFAULT_REGION
    if not _REGION.fullmatch(region):
        raise ConfigurationError(f"{region!r} is no region of BOS (as bj, gz, su)")
    return region


def _is_machine(host: str) -> bool:
    """Whether `host` names one machine, which has no virtual hosts below it."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
