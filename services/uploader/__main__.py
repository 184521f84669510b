"""`python -m services.uploader`: chunks to Meta."""

from functools import partial

from connector.runtime.memory import give_back
from connector.runtime.process import run
from connector.runtime.settings import load_or_exit
from connector.telemetry.logs import configure
from services.uploader.settings import UploaderSettings


def main() -> None:
    """Runs the uploader until it is told to stop; the exit code says how it ended."""
    settings = load_or_exit(UploaderSettings)
    give_back()
    from services.uploader.app import NAME, serve  # noqa: PLC0415 -- loads polars, which reads what `give_back` set

    configure(settings.log, NAME)
    raise SystemExit(run(NAME, partial(serve, settings)))


if __name__ == "__main__":
    main()
