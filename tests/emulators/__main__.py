"""Start an emulator by hand: `python -m tests.emulators cos --port 9001`.

Prints the address, the variables that hold its keys, and a bucket that it has; ends by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import threading

import tests.emulators
from tests.emulators.serving import Emulator, serving


def main() -> None:
    """Serve until interrupted."""
    clouds = [item.name for item in pkgutil.iter_modules(tests.emulators.__path__) if item.ispkg]
    parser = argparse.ArgumentParser(prog="python -m tests.emulators", description=__doc__)
    parser.add_argument("cloud", choices=clouds)
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    arguments = parser.parse_args()
    emulator: Emulator = importlib.import_module(f"tests.emulators.{arguments.cloud}").make()
    with serving(emulator, arguments.port) as endpoint:
        print(f"# {arguments.cloud} at {endpoint}")
        for name, value in emulator.environment.items():
            print(f"export {name}={value}")
        print(f"# bucketfs mount {arguments.cloud}://{emulator.make_bucket()} FOLDER", end=" ")
        print(f"-o endpoint={endpoint}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
