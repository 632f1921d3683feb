"""What a mount says of itself over its control socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Report = Mapping[str, Any]
"""What a mount says of itself: pid, url, mountpoint, dirty_files, dirty_bytes, in_flight, ..."""
