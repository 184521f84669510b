"""Which events exist: type, version, model. The generator, the producer and the consumers all read this."""

from dataclasses import dataclass
from functools import cached_property

from schemas import events


@dataclass(frozen=True)
class EventType:
    """One kind of event: *name* in kebab case, *version* of its schema, its *model* and the topic it travels on.

    The major version is part of `ce_type` and of the topic's name: a breaking change is a new type on a new topic.
    """

    name: str
    version: str
    model: type[events.Event]
    topic: str

    @cached_property  # asked for with every record
    def ce_type(self) -> str:
        """The CloudEvents type, e.g. `fbc.chunk-ready.v1`."""
        return f"fbc.{self.name}.v{self.version.split('.')[0]}"

    @property
    def dataschema(self) -> str:
        """A URN for the JSON Schema; the file is `schemas/<name>/v<version>.json`."""
        return f"urn:fbc:schema:{self.name}:{self.version}"


DELIVERY_REQUESTED = EventType("delivery-requested", "1.1.0", events.DeliveryRequested, "deliveries.v1")
CHUNK_READY = EventType("chunk-ready", "1.1.0", events.ChunkReady, "chunks.v1")
CHUNK_SETTLED = EventType("chunk-settled", "1.2.0", events.ChunkSettled, "outcomes.v1")
DELIVERY_STATUS_CHANGED = EventType(
    "delivery-status-changed", "1.0.0", events.DeliveryStatusChanged, "delivery-status.v1"
)
PROFILE_CHANGED = EventType("profile-changed", "1.0.0", events.ProfileChanged, "profiles.v1")

ALL = (DELIVERY_REQUESTED, CHUNK_READY, CHUNK_SETTLED, DELIVERY_STATUS_CHANGED, PROFILE_CHANGED)
