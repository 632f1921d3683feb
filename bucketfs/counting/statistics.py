"""All that is counted in one mount, and what it tells when it is asked.

The report is JSON; docs/operations.md names its fields, and they stay as they are: `format` changes
where one is taken away or means something else. Times are seconds, sizes bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bucketfs.counting.calls import Calls
from bucketfs.counting.crawlers import Crawlers, Mode
from bucketfs.counting.meter import Meter
from bucketfs.counting.prices import BUILT_IN, Prices, bill
from bucketfs.counting.programs import Programs
from bucketfs.counting.underway import Underway

FORMAT = 1


class Statistics:
    """The counters of a mount, from now on.

    `scheme` says whose prices hold where `prices` is None (of a local folder none do), and
    `has_endpoint` that the server is one that a person named, which may be anybody's.
    `crawlers` and `crawler_names`: see `crawlers.Crawlers`.
    """

    def __init__(
        self,
        *,
        scheme: str,
        has_endpoint: bool = False,
        prices: Prices | None = None,
        crawlers: Mode = "refuse",
        crawler_names: tuple[str, ...] = (),
    ) -> None:
        self.programs = Programs()
        self.meter = Meter(self.programs)
        self.underway = Underway()
        self.crawlers: Crawlers | None = None
        if crawlers != "allow":
            self.crawlers = Crawlers(self.programs, crawlers, crawler_names)
        self._prices = prices or BUILT_IN.get(scheme)
        if prices is None and scheme == "s3" and has_endpoint:
            self._prices = replace(BUILT_IN["s3"], name=f"as if it were {BUILT_IN['s3'].name}")
        self._began_s = time.monotonic()

    @property
    def uptime_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def report(
        self,
        calls: Calls,
        budgets: Mapping[str, Mapping[str, int]],
        *,
        has_histograms: bool = False,
    ) -> dict[str, Any]:
        """Return everything that is known now.

        `calls` are those of the kernel; `budgets` what is in use of each, and its limit.
        `has_histograms`: each latency with all its buckets beside it.
        """
        uptime_s = self.uptime_s
        requests, received_bytes = self.meter.totals()
        none: dict[str, Any] = {"mode": "allow", "refused": {}}
        return {
            "format": FORMAT,
            "uptime_s": round(uptime_s, 3),
            **self.meter.report(has_histograms=has_histograms),
            "kernel": calls.report(has_histograms=has_histograms),
            "budgets": {name: dict(budget) for name, budget in budgets.items()},
            "crawlers": self.crawlers.report() if self.crawlers is not None else none,
            "bill": bill(self._prices, requests, received_bytes, uptime_s)
            if self._prices is not None
            else None,
        }
