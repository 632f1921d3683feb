"""`python -m scripts.benchmark`: run the tools that were asked for and print the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from shutil import which

from scripts.benchmark.limit import Limit, measure_empty
from scripts.benchmark.results import Results, table
from scripts.benchmark.servers import SERVERS, Server, started
from scripts.benchmark.tools import TOOLS, Tool, version_of
from scripts.benchmark.work import TITLES, Work


def main() -> None:
    """Measure and print; the scratch folder is removed unless `--dir` names one."""
    arguments = parsed()
    folder = arguments.dir or Path(tempfile.mkdtemp(prefix="bucketfs-bench."))
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Results] = []
    try:
        with started(arguments.server, folder, arguments.port) as server:
            for name in arguments.tools.split(","):
                print(name, flush=True)
                results.append(measured(name, server, folder, arguments))
    finally:
        if arguments.dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n" + table(results))
    print(f"\n{platform.platform()}, {os.cpu_count()} CPUs, server {arguments.server}")
    print("; ".join(version_of(name) for name in arguments.tools.split(",") if name in TOOLS))
    if arguments.json:
        figures = {one.tool: one.figures for one in results}
        arguments.json.write_text(json.dumps(figures, indent=1))


def parsed() -> argparse.Namespace:
    """Return what argv asks for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--tools",
        default="limit,empty,rclone,s3fs,juicefs,bucketfs",
        help=f"of limit,empty,{','.join(TOOLS)}",
    )
    parser.add_argument("--mib", type=int, default=512, help="size of the big file (512)")
    parser.add_argument("--only", default="", help=f"of {','.join(TITLES)}")
    parser.add_argument("--server", choices=sorted(SERVERS), default="juicefs")
    parser.add_argument("--port", type=int, default=9222)
    parser.add_argument("--dir", type=Path, help="scratch folder; kept")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    strange = set(filter(None, arguments.only.split(","))) - TITLES.keys()
    if strange:
        parser.error(f"--only: no work {', '.join(sorted(strange))}; there is {', '.join(TITLES)}")
    unknown = set(arguments.tools.split(",")) - {"limit", "empty", *TOOLS}
    if unknown:
        parser.error(f"unknown tools: {', '.join(sorted(unknown))}")
    absent = [name for name in arguments.tools.split(",") if name in TOOLS and not which(name)]
    if absent:
        parser.error(f"not installed: {', '.join(absent)}; --tools chooses others")
    return arguments


def measured(name: str, server: Server, folder: Path, arguments: argparse.Namespace) -> Results:
    """Return the figures of one tool."""
    results = Results(name)
    wanted = set(filter(None, arguments.only.split(",")))
    if name == "limit":
        Limit(server, folder, arguments.mib, results).run(wanted)
        return results
    if name == "empty":
        measure_empty(folder, arguments.mib, results)
        return results
    tool: Tool = TOOLS[name](name, server, folder)
    tool.prepare()
    try:
        Work(tool, folder, arguments.mib, wanted, results).run()
    finally:
        tool.abandon()
    return results


if __name__ == "__main__":
    main()
