"""What counted requests may cost: price tables, and an estimate of a month.

Pure, but for `read_prices`.

Only requests and bytes that leave the bucket are priced. Storage is not: a mount does not know how
much there is. Nor are free allowances, taxes, discounts, retrievals from cold classes, replication
and the like. Prices are public list prices and change: a file of one's own replaces them.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucketfs.errors import ConfigurationError

GIB = 1 << 30
"""What all four clouds call a GB when they bill traffic."""
MONTH_S = 30 * 86_400
PER = 10_000
"""Prices are of so many requests."""

CLASSES = ("write", "read", "list", "delete")
CLASS_OF: Mapping[str, str] = {
    **dict.fromkeys(("write", "append", "begin_upload", "add_part", "commit"), "write"),
    **dict.fromkeys(("copy", "copy_part", "move", "make_symlink"), "write"),
    **dict.fromkeys(("read_range", "stat", "read_symlink"), "read"),
    **dict.fromkeys(("list_page", "list_uploads", "list_parts", "check"), "list"),
    **dict.fromkeys(("delete", "delete_many", "abort"), "delete"),
}
"""Which class of requests an operation is billed in. What is not here (asking for the region of a
bucket) is of the class "read"."""

NOT_INCLUDED = "storage, free allowances, taxes, discounts, retrieval fees"


@dataclass(frozen=True, slots=True)
class Prices:
    """What 10,000 requests of each class cost, and a GiB that leaves the cloud."""

    name: str
    currency: str
    requests: Mapping[str, float]
    egress_per_gb: float


BUILT_IN: Mapping[str, Prices] = {
    # https://aws.amazon.com/s3/pricing, us-east-1, Standard, first 10 TB a month (2025): PUT, COPY,
    # POST and LIST 0.005 USD for 1000, GET and all others 0.0004, DELETE and CANCEL free. That
    # DeleteObjects, a POST, is free as DELETE is, is not said there in so many words.
    "s3": Prices(
        "Amazon S3 Standard, us-east-1, list prices of 2025",
        "USD",
        {"write": 0.05, "read": 0.004, "list": 0.05, "delete": 0.0},
        0.09,
    ),
    # https://buy.cloud.tencent.com/price/cos, mainland China, Standard (2025): 0.01 CNY for 10,000
    # reads or writes, 0.50 CNY a GB. "Request Fees" (document 436/40100 of 2025-10-28): requests
    # that failed are billed, too, and deletes.
    "cos": Prices(
        "Tencent COS Standard, mainland China, list prices of 2025",
        "CNY",
        {"write": 0.01, "read": 0.01, "list": 0.01, "delete": 0.01},
        0.50,
    ),
    # https://cloud.baidu.com/doc/BOS/s/Okeuvv28x (worked examples, prices of 2020-09): 0.01 CNY for
    # 10,000, 0.49 CNY a GB from 8 to 24 o'clock (0.25 at night). https://cloud.baidu.com/doc/BOS/s/
    # Ukev2g8zr of 2025-08-19: PUT, COPY and DELETE are writes, GET is a read.
    "bos": Prices(
        "Baidu BOS Standard, Beijing, prices of the documentation's examples of 2020",
        "CNY",
        {"write": 0.01, "read": 0.01, "list": 0.01, "delete": 0.01},
        0.49,
    ),
    # https://www.qiniu.com/prices/kodo of 2026-10-07, mainland China, Standard: 0.01 CNY for 10,000
    # PUT and DELETE, 0.26 CNY a GB up to 100 TB. GET and listings: the same, from memory.
    "kodo": Prices(
        "Qiniu Kodo Standard, mainland China, list prices of 2026-10",
        "CNY",
        {"write": 0.01, "read": 0.01, "list": 0.01, "delete": 0.01},
        0.26,
    ),
}
"""By scheme. Each with its source and date; of other classes and regions others hold."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Money, in the currency of the prices."""

    requests: float
    egress: float

    @property
    def total(self) -> float:
        """Return both together."""
        return self.requests + self.egress

    def scaled(self, factor: float) -> Cost:
        """Return so many times as much."""
        return Cost(self.requests * factor, self.egress * factor)

    def report(self) -> dict[str, float]:
        """Return it by name, in digits that still show a single request."""
        figures = {"requests": self.requests, "egress": self.egress, "total": self.total}
        return {name: round(amount, 9) for name, amount in figures.items()}


def cost(prices: Prices, requests: Mapping[str, int], received_bytes: int) -> Cost:
    """Return what requests (a number for each operation) and the bytes that came cost."""
    priced = sum(
        count * prices.requests.get(CLASS_OF.get(operation, "read"), 0.0)
        for operation, count in requests.items()
    )
    return Cost(priced / PER, received_bytes / GIB * prices.egress_per_gb)


def bill(
    prices: Prices, requests: Mapping[str, int], received_bytes: int, observed_s: float
) -> dict[str, Any]:
    """Return what was spent in `observed_s`, and what 30 days at that pace would cost."""
    so_far = cost(prices, requests, received_bytes)
    month = so_far.scaled(MONTH_S / observed_s) if observed_s > 0 else Cost(0.0, 0.0)
    return {
        "prices": prices.name,
        "currency": prices.currency,
        "observed_s": round(observed_s, 3),
        "so_far": so_far.report(),
        "per_30_days": month.report(),
        "not_included": NOT_INCLUDED,
    }


def read_prices(file: Path | None) -> Prices | None:
    """Return what a file of prices says. Raises: ConfigurationError."""
    if file is None:
        return None
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"prices={file} cannot be read: {reason}") from exc
    return parse_prices(text, f"prices={file}")


def parse_prices(text: str, where: str) -> Prices:
    """Return the prices of a TOML file; `where` names it. Raises: ConfigurationError (one line).

    name = "our gateway"            # optional
    currency = "EUR"
    egress_per_gb = 0.01            # optional: 0
    [requests_per_10000]            # each optional: 0
    write = 0.05
    read = 0.004
    list = 0.05
    delete = 0
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{where} is no TOML: {exc}") from exc
    _check_names(found, ("name", "currency", "egress_per_gb", "requests_per_10000"), where)
    currency, name = found.get("currency"), found.get("name", where)
    if not isinstance(currency, str) or not currency.strip():
        raise ConfigurationError(f'{where}: currency is missing (currency = "EUR")')
    if not isinstance(name, str):
        raise ConfigurationError(f"{where}: name is no text")
    requests = found.get("requests_per_10000", {})
    if not isinstance(requests, dict):
        raise ConfigurationError(f"{where}: requests_per_10000 is a table, [requests_per_10000]")
    _check_names(requests, CLASSES, f"{where}: requests_per_10000")
    return Prices(
        name,
        currency.strip(),
        {key: _price(value, f"{where}: {key}") for key, value in requests.items()},
        _price(found.get("egress_per_gb", 0), f"{where}: egress_per_gb"),
    )


def _check_names(found: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for name in found:
        if name not in known:
            raise ConfigurationError(f"{where} knows no {name!r}; it has {', '.join(known)}")


def _price(value: object, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type,operator]
        raise ConfigurationError(f"{where} is no price: {value!r}")
    return float(value)  # type: ignore[arg-type]
