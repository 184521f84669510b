"""`python -m embedded --state FOLDER`: the supervisor's process. `fbc dev up` starts it; options come as JSON on stdin.

On standard input because a PostgreSQL URL holds a password, and everybody on the machine can read arguments.
"""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.options import Options
from embedded.plan import StackPlan
from embedded.supervisor import Supervisor

log = logging.getLogger("embedded")


def main() -> int:
    """Run one stack until it is told to stop; 0 after a clean stop, 1 if it could not start."""
    parser = argparse.ArgumentParser(prog="python -m embedded", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the state folder, made by `fbc dev up`")
    folder = parser.parse_args().state.absolute()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = Options.model_validate_json(sys.stdin.buffer.read())
    try:
        return asyncio.run(_run(folder, options))
    except EmbeddedError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1


async def _run(folder: Path, options: Options) -> int:
    return await Supervisor(folder, StackPlan(folder, options, dict(os.environ))).run()


if __name__ == "__main__":
    sys.exit(main())
