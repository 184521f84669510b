"""A delivery as a record of the deliveries topic, written by the API and when a waiting one is to be planned again."""

from datetime import datetime

from connector.kafka.events import Encoded, encode
from schemas.events import DeliveryRequested
from schemas.registry import DELIVERY_REQUESTED

SOURCE = "ingest"


def delivery_record(event: DeliveryRequested, *, now: datetime, traceparent: str | None) -> Encoded:
    """The record of *event*, keyed by its connection or subscription: deliveries of one are planned in order."""
    return encode(
        DELIVERY_REQUESTED,
        event,
        key=str(event.subscription_id or event.connection_id),
        identity=(event.revision,),
        source=SOURCE,
        subject=str(event.revision),
        now=now,
        traceparent=traceparent,
    )
