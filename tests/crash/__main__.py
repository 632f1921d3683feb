"""`python -m tests.crash`: the long campaign, and the table of docs/reliability.md."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.crash.campaign import DEFAULT, WRITEBACK, Campaign, Score
from tests.crash.report import Rows, with_rows
from tests.crash.stores import SERVERS, bucket_of
from tests.crash.storm import Storm
from tests.faults.proxy import faulty
from tests.faults.weather import LIES, PASSING, Weather

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    """Run what argv asks for; 1 where something was lost."""
    arguments = parsed()
    modes = [DEFAULT, WRITEBACK] if arguments.mode == "both" else [arguments.mode]
    stores = arguments.store.split(",")
    if arguments.faults:
        return stormed(stores, arguments)
    pairs = [(store, mode) for store in stores for mode in modes]
    scores: list[Score] = []
    for place, (store, mode) in enumerate(pairs):
        kills = arguments.kills // len(pairs) + (place < arguments.kills % len(pairs))
        scores.append(killed(store, mode, kills, arguments))
    if arguments.write_docs:
        DOCUMENT.write_text(with_rows(DOCUMENT.read_text(), "## Kills", rows(scores)))
    return int(any(score.problems for score in scores))


def rows(scores: Sequence[Score]) -> Rows:
    """Return what the document's table says of a run."""
    today = time.strftime("%Y-%m-%d")
    return {
        (score.store, score.mode): (
            score.kills,
            score.acknowledged,
            len(score.problems),
            score.remains,
            score.unfinished,
            today,
            score.seed,
        )
        for score in scores
    }


def stormed(stores: Sequence[str], arguments: argparse.Namespace) -> int:
    """Run the fault campaigns instead; 1 where something was wrong."""
    found: dict[tuple[str, str], Sequence[object]] = {}
    is_wrong = False
    if arguments.dir is not None:
        arguments.dir.mkdir(parents=True, exist_ok=True)
    for store in stores:
        for name, faults in {"passing": PASSING, "passing and lies": LIES}.items():
            folder = Path(tempfile.mkdtemp(prefix="bucketfs-storm.", dir=arguments.dir))
            with SERVERS[store](folder) as server, faulty(server.endpoint) as proxy:
                weather = Weather(arguments.seed, faults=faults)
                bucket = bucket_of(server, proxy.url)
                storm = Storm(bucket, folder, seed=arguments.seed, proxy=proxy, weather=weather)
                score = storm.run(arguments.faults)
                failed = f"{weather.met.total()} of {len(proxy.seen)}"
            today = time.strftime("%Y-%m-%d")
            wrong, longest = len(score.problems), f"{score.longest_s:.0f} s"
            found[store, name] = (score.acknowledged, failed, wrong, longest, today, score.seed)
            told = dict(weather.met)
            print(f"{store} {name}: {found[store, name]} {told}", *score.problems, sep="\n  ")
            is_wrong |= bool(score.problems)
    if arguments.write_docs:
        DOCUMENT.write_text(with_rows(DOCUMENT.read_text(), "## Faults", found))
    return int(is_wrong)


def parsed() -> argparse.Namespace:
    """Return what argv asks for."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all (200)")
    parser.add_argument("--mode", choices=[DEFAULT, WRITEBACK, "both"], default="both")
    parser.add_argument("--store", default=",".join(SERVERS), help=f"of {','.join(SERVERS)}")
    parser.add_argument(
        "--faults", type=int, default=0, help="no kills: so many rounds of failing requests"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", action="store_true", help="into docs/reliability.md")
    parser.add_argument("--dir", type=Path, help="scratch folder; kept")
    arguments = parser.parse_args()
    unknown = set(arguments.store.split(",")) - SERVERS.keys()
    if unknown:
        parser.error(f"unknown stores: {', '.join(sorted(unknown))}")
    return arguments


def killed(store: str, mode: str, kills: int, arguments: argparse.Namespace) -> Score:
    """Run one campaign and tell it. The scratch folder stays where something was lost."""
    folder = arguments.dir or Path(tempfile.mkdtemp(prefix="bucketfs-crash."))
    (folder / store / mode).mkdir(parents=True, exist_ok=True)
    with SERVERS[store](folder / store) as server:
        score = Campaign(bucket_of(server), folder / store / mode, mode, arguments.seed).run(kills)
    print(
        f"{store} {mode}: {score.kills} kills, {score.acknowledged} acknowledged operations,"
        f" {score.remains} remains of renames, {score.unfinished} unfinished uploads,"
        f" longest call {score.longest_s:.1f} s, lost or wrong: {len(score.problems)}",
        *score.problems,
        sep="\n  ",
        flush=True,
    )
    if score.problems:
        print(f"  see {folder}", flush=True)
    elif arguments.dir is None:
        shutil.rmtree(folder, ignore_errors=True)
    return score


if __name__ == "__main__":
    raise SystemExit(main())
