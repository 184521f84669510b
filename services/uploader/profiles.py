"""What auth says of profiles: tokens that are not to be used any more, and scopes that go on.

Every process has breakers and leases of its own, so every process reads every record, from now on; what was said before
it began concerns nothing it knows. A missed record costs nothing but time: a chunk that ingest releases opens its door
by itself.
"""

import structlog

from connector.kafka.events import PoisonEvent, decode
from connector.kafka.record import Record
from schemas.events import ProfileChanged, ProfileStatus
from schemas.registry import PROFILE_CHANGED
from services.uploader.doors import Doors
from services.uploader.leases import Leases

log = structlog.get_logger()


class ProfileNews:
    """Handles records of the profiles topic. ingest keeps what cannot be read: here it is passed over."""

    def __init__(self, doors: Doors, leases: Leases) -> None:
        self._doors = doors
        self._leases = leases

    def handle(self, record: Record) -> None:
        """Takes in one record; never raises on what it is."""
        if record.value is None:  # a tombstone
            return
        try:
            event = decode(PROFILE_CHANGED, ProfileChanged, record.value, record.headers)
        except PoisonEvent as error:
            log.warning("profiles.unreadable", partition=record.partition, offset=record.offset, code=error.code)
            return
        self._leases.forget(event.profile_id)
        if event.status is ProfileStatus.CONNECTED:
            self._doors.let_go(f"token:{event.profile_id}", event.changed_at)
            if event.ad_account_id is not None:
                self._doors.let_go(f"account:{event.ad_account_id}", event.changed_at)
