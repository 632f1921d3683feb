"""Where a bucket is: what to connect to, what the Host header says, and what paths begin with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from bucketfs.errors import ConfigurationError
from bucketfs.transport.sign_s3 import encode_path

Addressing = Literal["path", "virtual", "auto"]
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one bucket.

    `origin` is where to connect; `host` what is sent and signed; `base_path` (encoded, without a
    slash at its end) comes before `/key`. `is_service`: the cloud itself, whose promises hold.
    """

    origin: str
    host: str
    base_path: str
    is_service: bool

    @property
    def is_safe_way(self) -> bool:
        """Whether nobody on the way can change what is sent: TLS, or it never leaves the machine.

        Judged by the name or number in the endpoint; a name other than localhost may lead anywhere.
        """
        return self.is_encrypted or _is_loopback(urlsplit(self.origin).hostname or "")

    @property
    def is_encrypted(self) -> bool:
        """Whether it is TLS."""
        return urlsplit(self.origin).scheme == "https"

    def path(self, key: str | None) -> str:
        """Return the encoded path of `key`; None: of the bucket."""
        if key is None:
            return self.base_path or "/"
        return f"{self.base_path}/{encode_path(key)}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_address(bucket: str, endpoint: str | None, region: str, addressing: Addressing) -> Address:
    """Return the address of `bucket`; `endpoint` None is Amazon's in `region`.

    "auto" is virtual hosts at Amazon (except for names with dots, which no certificate covers) and
    paths elsewhere. Raises: ConfigurationError.
    """
    if not bucket or "/" in bucket:
        raise ConfigurationError(f"{bucket!r} is no bucket name")
    if endpoint is None:
        suffix = ".cn" if region.startswith("cn-") else ""
        endpoint = f"https://s3.{region}.amazonaws.com{suffix}"
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.username:
        raise ConfigurationError(
            f"the endpoint {parts.scheme}://{parts.hostname or ''} is not http(s)://host[:port]"
        )
    host = parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
    base = encode_path(parts.path.rstrip("/"))
    is_service = parts.hostname.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    is_virtual = addressing == "virtual" or (
        addressing == "auto" and is_service and not ("." in bucket and parts.scheme == "https")
    )
    if is_virtual:
        host = f"{bucket}.{host}"
    else:
        base = f"{base}/{encode_path(bucket)}"
    return Address(
        f"{parts.scheme}://{host if is_virtual else parts.netloc}", host, base, is_service
    )
