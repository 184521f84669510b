"""Publishing what became of profiles: after the commit, again after a crash, never an older state last.

A row and its event cannot be written together. So the row counts its changes (`sequence`) and what was published of
them (`published_sequence`); this loop closes the gap, when told and by itself. Leases never wait for Kafka.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from connector.kafka.events import Encoded, encode
from connector.kafka.producer import EventProducer, ProduceError
from connector.kafka.topics import PROFILES
from connector.runtime.settings import KafkaSettings
from connector.telemetry.facts import Telemetry
from schemas.events import ProfileChanged
from schemas.registry import PROFILE_CHANGED
from services.auth.facts import AnnouncingFailed, ProfileAnnounced
from services.auth.profiles import Profile, Profiles

SWEEP_EVERY = 15.0
"""Seconds between looks at the table: another replica may have died between its commit and its publishing."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
MAX_ROUNDS = 10


def announcement(profile: Profile, now: datetime) -> Encoded:
    """The event that tells others *profile*'s state. Pure."""
    event = ProfileChanged(
        profile_id=profile.id,
        company_id=profile.company_id,
        status=profile.status,
        sequence=profile.sequence,
        ad_account_id=profile.ad_account.id,
        reason=profile.reason,
        changed_at=profile.updated_at,
    )
    return encode(
        PROFILE_CHANGED,
        event,
        key=str(profile.id),
        identity=(profile.id, profile.sequence),
        source="/auth",
        subject=str(profile.id),
        now=now,
    )


class Announcer:
    """The loop that publishes. `nudge` makes it look at once."""

    def __init__(
        self, profiles: Profiles, kafka: KafkaSettings, telemetry: Telemetry, clock: Callable[[], datetime]
    ) -> None:
        self._profiles = profiles
        self._kafka = kafka
        self._telemetry = telemetry
        self._clock = clock
        self._wake = asyncio.Event()

    def nudge(self) -> None:
        """Something changed."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Publishes until *stop*, beginning with what an earlier process left.

        An absent broker or database is waited for.
        """
        stopping = asyncio.create_task(self._wake_at(stop))
        pause = FIRST_PAUSE
        try:
            while not stop.is_set():
                try:
                    async with EventProducer(self._kafka, "auth") as producer:
                        while not stop.is_set():
                            await self._sweep(producer)
                            pause = FIRST_PAUSE
                            await self._rest(SWEEP_EVERY)
                except (ProduceError, KafkaError, SQLAlchemyError, OSError, TimeoutError) as error:
                    self._telemetry.emit(AnnouncingFailed(type(error).__name__, pause))
                    await self._stopped_within(stop, pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            stopping.cancel()
            with suppress(asyncio.CancelledError):
                await stopping

    async def _sweep(self, producer: EventProducer) -> None:
        self._wake.clear()
        for profile_id in await self._profiles.unpublished():
            await self._announce(producer, profile_id)

    async def _announce(self, producer: EventProducer, profile_id: UUID) -> None:
        """Publishes the state the profile has now, until the last thing written is the last thing that happened.

        Two replicas may publish two states in the wrong order, and compaction would keep the older one. Whoever finds
        that the row moved on while it published, publishes once more.
        """
        for _ in range(MAX_ROUNDS):
            profile = await self._profiles.get(profile_id)
            await producer.publish(PROFILES, announcement(profile, self._clock()))
            if await self._profiles.mark_published(profile):
                self._telemetry.emit(ProfileAnnounced(str(profile.id), profile.status.value, profile.sequence))
                return

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    @staticmethod
    async def _stopped_within(stop: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
