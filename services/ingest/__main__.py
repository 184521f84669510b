"""`python -m services.ingest`: deliveries into plans, and the delivery API."""

from functools import partial

from connector.runtime.process import run
from connector.runtime.settings import load_or_exit
from connector.telemetry.logs import configure
from services.ingest.app import NAME, serve
from services.ingest.settings import IngestSettings


def main() -> None:
    """Runs ingest until it is told to stop; the exit code says how it ended."""
    settings = load_or_exit(IngestSettings)
    configure(settings.log, NAME)
    raise SystemExit(run(NAME, partial(serve, settings)))


if __name__ == "__main__":
    main()
