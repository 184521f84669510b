"""`python -m services.ingest.progress`: outcomes into the ledger, states to upstream. A process of its own.

Put together here, read top to bottom; `stream` is the Kafka side, `outcomes` what happens to a record.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from connector.database import engine as database
from connector.kafka.producer import EventProducer
from connector.runtime.process import run
from connector.runtime.settings import load_or_exit
from connector.runtime.web import Health, application, serving
from connector.telemetry import Telemetry
from connector.telemetry.logs import configure
from services.ingest.clock import utc_now
from services.ingest.deadletters import DeadLetters
from services.ingest.emission import Emission
from services.ingest.holding import Holding
from services.ingest.outcomes import OutcomeIntake
from services.ingest.patience import Patience
from services.ingest.settings import ProgressSettings
from services.ingest.settling import Settler
from services.ingest.status import StatusPublisher
from services.ingest.stream import outcome_stream

NAME = "progress"
FINISH_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0
COMMIT_TIMEOUT = 5.0
EMISSION_BATCH = 50

log = structlog.get_logger()


async def serve(settings: ProgressSettings, stop: asyncio.Event) -> None:
    """Runs the progress stream until *stop* is set, then stops in order: stream, HTTP, producer, database.

    Raises:
        RuntimeError: The stream ended by itself; the supervisor starts the process again.
    """
    telemetry = Telemetry()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fbc-progress-"))
        engine = database.create(settings.database, "fbc-progress")
        stack.push_async_callback(engine.dispose)
        producer = await stack.enter_async_context(EventProducer(settings.kafka, NAME))

        status = StatusPublisher(engine, producer, NAME, telemetry, utc_now)
        emission = Emission(engine, producer, telemetry, utc_now, batch=EMISSION_BATCH)
        settler = Settler(engine, emission, status, telemetry, utc_now)
        dead_letters = DeadLetters(producer, settings.kafka.topic_prefix, telemetry, utc_now, stop)
        patience = Patience(base=settings.hold_base, cap=settings.hold_cap)
        intake = OutcomeIntake(settler, dead_letters, Holding("progress", patience, telemetry, stop), stop)
        stream = outcome_stream(settings.kafka, intake.handle, Path(folder))

        app = application(_health(stream, engine), telemetry.registry)
        await stack.enter_async_context(serving(app, settings.http))
        await _run(stream, intake, stop)


async def _run(stream: Any, intake: OutcomeIntake, stop: asyncio.Event) -> None:
    """Runs the Faust app until *stop*, or until it ends by itself; then finishes the record at hand and commits."""
    await stream.start()
    try:
        await stream.wait_first(stop)
        if not stop.is_set():
            raise RuntimeError("the outcome stream ended by itself") from stream.crash_reason
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                await intake.finished()
        await _commit(stream)
        async with asyncio.timeout(STOP_TIMEOUT):
            await stream.stop()


async def _commit(stream: Any) -> None:
    """Commits what was acknowledged since the last regular commit, so that a clean stop repeats nothing.

    Faust does so only where it also waits for what is not acknowledged, for ever (`stream_wait_empty`). When the broker
    does not answer, the next process reads those outcomes again and finds them applied.
    """
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT):
            await stream.consumer.commit()
    except (KafkaError, TimeoutError) as error:
        log.warning("progress.commit_failed", error=type(error).__name__)


def _health(stream: Any, engine: AsyncEngine) -> Health:
    """Alive while the stream has not crashed; ready when it reads and the ledger answers."""

    async def alive() -> bool:
        return not stream.crashed

    async def reading() -> bool:
        return stream.started and not stream.should_stop and not stream.rebalancing

    async def ledger() -> bool:
        return await database.answers(engine)

    return Health(live={"stream": alive}, ready={"stream": reading, "ledger": ledger})


def main() -> None:
    """Runs the progress stream until it is told to stop; the exit code says how it ended."""
    settings = load_or_exit(ProgressSettings)
    configure(settings.log, NAME)
    raise SystemExit(run(NAME, partial(serve, settings)))


if __name__ == "__main__":
    main()
