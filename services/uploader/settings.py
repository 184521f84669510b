"""What the uploader needs to know; see `connector.runtime.settings` for how it is read."""

from typing import Annotated

from pydantic import Field, model_validator

from connector.kafka.topics import CHUNK_RETRIES
from connector.objects.config import StoreConfigs
from connector.runtime.settings import (
    FileLimits,
    GraphSettings,
    IdentitySettings,
    KafkaSettings,
    Seconds,
    Section,
    ServiceSettings,
    Stage,
)
from schemas.events import MAX_CHUNK_RECORDS
from services.uploader.fuse import FuseBounds
from services.uploader.retrying import RetryPolicy, Tier


class AuthSettings(Section):
    """Where leases come from."""

    url: str
    timeout: Seconds = 15.0


class UploadSettings(Section):
    """Bounds of the work: `concurrency` calls in flight in all, `workers` threads that normalise and hash.

    Of one account `lane_concurrency` calls are in flight, while as many chunks as there are workers are prepared.
    Of the calls in flight `bodies` may still be being sent, 6 to 15 MB each; the others wait for their answer.
    A chunk that takes longer than `stuck_after` is put into a delay tier, as its partition waits for it.
    `removal_rows` go into one call that removes: Meta breaks off larger ones (python SDK issues 279 and 367).
    """

    concurrency: Annotated[int, Field(ge=1, le=1_024)] = 16
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    lane_concurrency: Annotated[int, Field(ge=1, le=1_024)] = 16
    bodies: Annotated[int, Field(ge=1, le=1_024)] = 4
    stuck_after: Seconds = 900.0
    removal_rows: Annotated[int, Field(ge=1, le=MAX_CHUNK_RECORDS)] = 1_000


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
    """Second attempts, and where a chunk waits for them.

    `short` are the pauses in memory before the first ones, `delays` the seconds of the delay tiers 30s, 5m, 30m and 2h
    (a test makes them short). Given up is only what failed `attempts` times and for `seconds`. A wait of at most
    `memory` seconds for an account's turn is spent in memory by `waiting` chunks of it, the others are put into a tier.
    `concurrency` chunks of each tier are worked on at once.
    """

    short: Annotated[tuple[Seconds, ...], Field(max_length=8)] = (0.5, 2.0)
    delays: tuple[Seconds, Seconds, Seconds, Seconds] = (30.0, 300.0, 1_800.0, 7_200.0)
    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    seconds: Annotated[float, Field(ge=0)] = 3 * 3600.0
    concurrency: Annotated[int, Field(ge=1, le=1_024)] = 4
    memory: Seconds = 30.0
    waiting: Annotated[int, Field(ge=0, le=1_024)] = 4

    @model_validator(mode="after")
    def _grow(self) -> "RetrySettings":
        """A later tier waits longer: the smallest one that is long enough has to be the first."""
        if list(self.delays) != sorted(self.delays):
            raise ValueError("delays do not grow")
        return self

    def policy(self) -> RetryPolicy:
        """As the decisions want it."""
        names = (topic.name.rpartition(".")[2] for topic in CHUNK_RETRIES)
        tiers = tuple(Tier(name, seconds) for name, seconds in zip(names, self.delays, strict=True))
        return RetryPolicy(self.short, tiers, self.attempts, self.seconds, self.memory)


class PaceSettings(Section):
    """How fast the time of Meta's pauses and budgets passes: at `speed` 60 a minute of them takes a second.

    For a rehearsal with an emulator; with Meta it would be calls into a block, and in `prod` it is refused.
    """

    speed: Annotated[float, Field(ge=1, le=3_600)] = 1.0


class FuseSettings(Section):
    """When the line stops: `row` dead letters in a row, or more than `share` of the last `window` ends."""

    row: Annotated[int, Field(ge=1)] = 100
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=10, le=100_000)] = 500

    def bounds(self) -> FuseBounds:
        """As the decision wants it."""
        return FuseBounds(self.row, self.share, self.window)


class UploaderSettings(ServiceSettings):
    """Chunks to Meta."""

    kafka: KafkaSettings
    identity: IdentitySettings
    auth: AuthSettings
    graph: GraphSettings = GraphSettings()
    stores: StoreConfigs = Field(default_factory=dict)
    upload: UploadSettings = UploadSettings()
    reading: ReadingSettings = ReadingSettings()
    files: FileLimits = FileLimits()
    retry: RetrySettings = RetrySettings()
    pace: PaceSettings = PaceSettings()
    fuse: FuseSettings = FuseSettings()

    @model_validator(mode="after")
    def _in_earnest(self) -> "UploaderSettings":
        """Meta's minutes are minutes."""
        if self.stage is Stage.PROD and self.pace.speed != 1:
            raise ValueError("pace.speed is for rehearsals: in prod it is 1")
        return self
