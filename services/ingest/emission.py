"""Handing planned chunks to the uploader: produce, wait for the acknowledgement, mark.

A crash between the acknowledgement and the mark sends a batch again, with the same ids: that window is the only
repetition there is, and the effect of a repeated chunk is that of one.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from connector.kafka.events import Encoded, encode
from connector.kafka.headers import child_traceparent
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import CHUNKS
from connector.telemetry import Telemetry
from schemas.events import Operation, ReplaceBatch
from schemas.registry import CHUNK_READY
from services.ingest import chunks, replacing
from services.ingest.chunks import DueChunk
from services.ingest.clock import Clock
from services.ingest.deliveries import Delivery
from services.ingest.facts import ChunksEmitted
from services.ingest.patience import TryLater
from services.ingest.plan import Destination, chunk_ready

SOURCE = "ingest"


class Emission:
    """Sends the chunks of a delivery that are due, at most *batch* at a time."""

    def __init__(
        self, engine: AsyncEngine, producer: EventProducer, telemetry: Telemetry, clock: Clock, *, batch: int
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._telemetry = telemetry
        self._clock = clock
        self._batch = batch

    async def emit_due(self, delivery: Delivery, destination: Destination) -> None:
        """Sends what is planned and not marked as sent; of a replacement those chunks whose turn it is.

        Raises:
            TryLater: Kafka did not acknowledge a batch; it stays due.
        """
        while due := await self._due(delivery):
            await self._produce([self._encoded(delivery, destination, chunk, place) for chunk, place in due])
            async with self._engine.begin() as connection:
                await chunks.mark_emitted(connection, [chunk for chunk, _ in due])
            records = sum(chunk.chunk.records for chunk, _ in due)
            self._telemetry.emit(ChunksEmitted(delivery.revision, len(due), records))

    async def _due(self, delivery: Delivery) -> list[tuple[DueChunk, ReplaceBatch | None]]:
        """What is to be sent, with its place in the replacement when the delivery is one."""
        revision = delivery.revision
        async with self._engine.connect() as connection:
            if delivery.event.operation is not Operation.REPLACE:
                return [(chunk, None) for chunk in await chunks.due(connection, revision, self._batch)]
            places = await replacing.due(connection, revision, self._batch)
            found = await chunks.due(connection, revision, self._batch, places.keys()) if places else []
            return [(chunk, places[chunk.file_index, chunk.chunk_index]) for chunk in found]

    async def _produce(self, events: list[Encoded]) -> None:
        try:
            await self._producer.publish_all(CHUNKS, events)
        except ProduceError as error:
            raise TryLater("kafka_unavailable", str(error)) from error

    def _encoded(
        self, delivery: Delivery, destination: Destination, due: DueChunk, place: ReplaceBatch | None
    ) -> Encoded:
        event = chunk_ready(
            delivery.event,
            destination,
            file_index=due.file_index,
            etag=due.etag,
            chunk_index=due.chunk_index,
            chunk=due.chunk,
            kind=due.kind,
            table=due.table,
        )
        if place is not None:
            event = event.model_copy(update={"replace": place})
        if due.emission > 1:
            # A token or audience that began to wait before this moment is asked about again by this chunk.
            event = event.model_copy(update={"emission": due.emission, "released_at": self._clock()})
        return encode(
            CHUNK_READY,
            event,
            key=destination.ad_account_id,
            identity=(event.chunk_id, due.emission),
            source=SOURCE,
            subject=event.chunk_id,
            now=self._clock(),
            traceparent=child_traceparent(
                delivery.traceparent, f"delivery/{delivery.revision}", f"chunk/{event.chunk_id}/{due.emission}"
            ),
        )
