"""What the uploader needs to know; see `connector.runtime.settings` for how it is read."""

from typing import Annotated

from pydantic import Field

from connector.objects.config import StoreConfigs
from connector.runtime.settings import (
    GraphSettings,
    IdentitySettings,
    KafkaSettings,
    Seconds,
    Section,
    ServiceSettings,
)


class AuthSettings(Section):
    """Where leases come from."""

    url: str
    timeout: Seconds = 15.0


class UploadSettings(Section):
    """Bounds of the work: `concurrency` calls in flight in all, `workers` threads that normalise and hash."""

    concurrency: Annotated[int, Field(ge=1, le=1_024)] = 16
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    lane_concurrency: Annotated[int, Field(ge=1, le=1_024)] = 16


class ReadingSettings(Section):
    """Bounds of reading what can only be read forwards: compressed files and row groups.

    `kept_bytes` is what is kept, over all streams, for chunks that lag behind others; `streams` are open at once
    besides those somebody waits for, each at most `idle` seconds without a chunk; `threads` decode.
    """

    kept_bytes: Annotated[int, Field(ge=0)] = 32 << 20
    streams: Annotated[int, Field(ge=1, le=256)] = 16
    idle: Seconds = 60.0
    threads: Annotated[int, Field(ge=1, le=64)] = 4


class RetrySettings(Section):
    """How long trouble that passes is waited for, in memory. Throttling has its own patience: it spends no attempt."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    base: Seconds = 0.5
    cap: Seconds = 20.0
    total: Seconds = 120.0
    throttle_patience: Seconds = 3 * 3600.0


class UploaderSettings(ServiceSettings):
    """Chunks to Meta."""

    kafka: KafkaSettings
    identity: IdentitySettings
    auth: AuthSettings
    graph: GraphSettings = GraphSettings()
    stores: StoreConfigs = Field(default_factory=dict)
    upload: UploadSettings = UploadSettings()
    reading: ReadingSettings = ReadingSettings()
    retry: RetrySettings = RetrySettings()
