"""The topics, declared once. `fbc topics ensure` creates them; brokers never do by accident."""

from dataclasses import dataclass, field

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Topic:
    """A topic as it should be. *name* is without the configured prefix; *retention_ms* is ignored when *compacted*."""

    name: str
    key: str
    partitions: int
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False
    note: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def full_name(self, prefix: str) -> str:
        """The name on the broker."""
        return f"{prefix}{self.name}"

    def config(self) -> dict[str, str]:
        """Topic configuration in Kafka's own terms."""
        if self.compacted:
            return {"cleanup.policy": "compact", **self.extra}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms), **self.extra}


def dead_letters_of(topic: Topic) -> Topic:
    """Where records of *topic* go that nobody can process: same partitions, kept for 30 days for the operators."""
    return Topic(
        name=f"{topic.name}.dlq",
        key=topic.key,
        partitions=topic.partitions,
        retention_ms=30 * DAY_MS,
        note=f"dead letters of {topic.name}: original bytes, headers and the reason",
    )


def _delay_tier(name: str) -> Topic:
    return Topic(f"chunks.v1.retry.{name}", "ad account id", 12, 7 * DAY_MS, note=f"chunks to try again after {name}")


DELIVERIES = Topic("deliveries.v1", "connection or subscription id", 6, note="upstream and ingest's API to ingest")
CHUNKS = Topic("chunks.v1", "ad account id", 12, note="ingest to uploader; one account, one partition, one uploader")
CHUNK_RETRIES = tuple(_delay_tier(name) for name in ("30s", "5m", "30m", "2h"))
OUTCOMES = Topic("outcomes.v1", "revision", 6, note="uploader to ingest's progress stream")
DELIVERY_STATUS = Topic("delivery-status.v1", "revision", 6, compacted=True, note="ingest to upstream")
PROFILES = Topic("profiles.v1", "profile id", 3, compacted=True, note="auth to ingest and uploader; no secrets")
CONTROLS = Topic("controls.v1", "scope", 1, compacted=True, note="operators' switches to the uploader")
AUDIT = Topic("audit.v1", "actor", 3, retention_ms=365 * DAY_MS, note="who did what, and why")

DELIVERIES_DLQ = dead_letters_of(DELIVERIES)
CHUNKS_DLQ = dead_letters_of(CHUNKS)
OUTCOMES_DLQ = dead_letters_of(OUTCOMES)
PROFILES_DLQ = dead_letters_of(PROFILES)

ALL = (
    DELIVERIES,
    DELIVERIES_DLQ,
    CHUNKS,
    *CHUNK_RETRIES,
    CHUNKS_DLQ,
    OUTCOMES,
    OUTCOMES_DLQ,
    DELIVERY_STATUS,
    PROFILES,
    PROFILES_DLQ,
    CONTROLS,
    AUDIT,
)
