"""The outcomes topic: each record is applied to the ledger, or becomes a dead letter. Nothing raises out of here."""

import asyncio
from functools import partial

from connector.kafka.events import PoisonEvent, decode
from connector.kafka.headers import KafkaRecord
from connector.kafka.topics import OUTCOMES_DLQ
from schemas.events import ChunkSettled
from schemas.registry import CHUNK_SETTLED
from services.ingest.deadletters import DeadLetters
from services.ingest.holding import Holding, Stopped, Unrecordable
from services.ingest.settling import Contradiction, Result, Settler


class OutcomeIntake:
    """Handles records of the outcomes topic."""

    def __init__(self, settler: Settler, dead_letters: DeadLetters, holding: Holding, stop: asyncio.Event) -> None:
        self._settler = settler
        self._dead_letters = dead_letters
        self._holding = holding
        self._stop = stop
        self._turn = asyncio.Lock()

    async def handle(self, record: KafkaRecord) -> bool:
        """Whether the record is done with for good; False means that the process is to stop first.

        An exception would be swallowed by the stream that calls this, and the outcome with it. So a defect of ours puts
        the record aside like any other that cannot be processed.
        """
        async with self._turn:
            if self._stop.is_set():
                return False
            try:
                await self._handle(record)
            except Stopped:
                return False
            return True

    async def finished(self) -> None:
        """Waits for the record at hand: a stop between its commit and its status event would leave that to the sweep.

        Once the process is to stop, no further record is begun.
        """
        async with self._turn:
            return

    async def _handle(self, record: KafkaRecord) -> None:
        try:
            result = await self._applied(record)
        except Stopped:
            raise
        except PoisonEvent as error:
            await self._bury(record, "poison", error.code, str(error))
        except Unrecordable as error:
            await self._bury(record, "poison", "unrecordable", str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- see `handle`
            await self._bury(record, "defect", type(error).__name__, "our own code failed on this record")
        else:
            if isinstance(result, Contradiction):
                await self._bury(record, "contradiction", result.code, result.message)

    async def _applied(self, record: KafkaRecord) -> Result:
        event = decode(CHUNK_SETTLED, ChunkSettled, record.value, record.headers)
        return await self._holding(partial(self._settler.apply, event))

    async def _bury(self, record: KafkaRecord, kind: str, code: str, message: str) -> None:
        await self._dead_letters.bury(record, OUTCOMES_DLQ, kind=kind, code=code, message=message)
