"""`python -m services.auth`: the process."""

import asyncio
import resource

from connector.runtime.process import run
from connector.runtime.settings import load_or_exit
from connector.telemetry.logs import configure
from services.auth.app import serve
from services.auth.settings import Settings


def main() -> None:
    """Entry point of `fbc-auth` and `python -m services.auth`."""
    # A core dump of this process would hold tokens in the clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = load_or_exit(Settings)
    configure(settings.log, "auth")

    async def serving(stop: asyncio.Event) -> None:
        await serve(settings, stop)

    raise SystemExit(run("auth", serving))


if __name__ == "__main__":
    main()
