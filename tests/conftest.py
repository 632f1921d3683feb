"""What every test gets: hypothesis profiles, and failure on an unexpected WARNING of bucketfs."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = [
    f"tests.{folder}.plugin"
    for folder in ("servers", "mounts", "emulators")
    if (Path(__file__).parent / folder / "plugin.py").exists()
]

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


class WarningCollector(logging.Handler):
    """Remember what was logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text, with its traceback if it has one."""
        self.messages.append(
            logging.Formatter("%(levelname)s %(name)s: %(message)s").format(record)
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test during which bucketfs warned, unless it is marked `allows_warnings`."""
    collector = WarningCollector()
    logger = logging.getLogger("bucketfs")
    logger.addHandler(collector)
    try:
        outcome = yield
    finally:
        logger.removeHandler(collector)
    if collector.messages and item.get_closest_marker("allows_warnings") is None:
        pytest.fail("unexpected warnings:\n" + "\n".join(collector.messages), pytrace=False)
    return outcome
