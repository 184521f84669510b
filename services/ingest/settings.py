"""What ingest and its progress stream need to know; see `connector.runtime.settings` for how it is read."""

from typing import Annotated

from pydantic import Field

from connector.audience.preflight import RECORDS, Thresholds
from connector.objects.config import StoreConfigs
from connector.runtime.settings import (
    DatabaseSettings,
    FileLimits,
    IdentitySettings,
    KafkaSettings,
    Seconds,
    Section,
    ServiceSettings,
)


class AuthSettings(Section):
    """Where auth is, and how long it may take to answer (it may be creating an audience at Meta)."""

    url: str
    timeout: Seconds = 60.0


class PlanningSettings(Section):
    """Bounds of planning.

    `concurrency` deliveries are read at once. `in_flight` may be known besides: those that wait for a store or for auth
    to come back hold no place, or one outage would stop everybody. A step is given up when both `give_up_attempts` and
    `give_up_seconds` are spent.
    """

    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    in_flight: Annotated[int, Field(ge=1, le=1_024)] = 64
    batch: Annotated[int, Field(ge=1, le=50)] = 50
    retry_base: Seconds = 0.5
    retry_cap: Seconds = 60.0
    give_up_attempts: Annotated[int, Field(ge=1)] = 6
    give_up_seconds: Annotated[float, Field(ge=0)] = 3 * 3600.0


class PreflightSettings(Section):
    """When a delivery is refused for the first records of a file.

    `records` of each file are looked at. Too much is more than the share `cells` of a column's values, or `rows` of the
    records, that could not be sent.
    """

    records: Annotated[int, Field(ge=1, le=10_000)] = RECORDS
    cells: Annotated[float, Field(ge=0, le=1)] = Thresholds.cells
    rows: Annotated[float, Field(ge=0, le=1)] = Thresholds.rows

    @property
    def thresholds(self) -> Thresholds:
        """As the decision wants them."""
        return Thresholds(self.cells, self.rows)


class SweepSettings(Section):
    """How often what a crash left behind is looked for, and how old it must be to be nobody's current work."""

    interval: Seconds = 5.0
    age: Annotated[float, Field(ge=0)] = 5.0
    batch: Annotated[int, Field(ge=1, le=1_000)] = 100


class ProgressSettings(ServiceSettings):
    """The progress stream: outcomes into the ledger."""

    kafka: KafkaSettings
    database: DatabaseSettings
    hold_base: Seconds = 0.2
    hold_cap: Seconds = 30.0


class IngestSettings(ServiceSettings):
    """Deliveries into plans, and the API over the ledger."""

    kafka: KafkaSettings
    database: DatabaseSettings
    identity: IdentitySettings
    auth: AuthSettings
    stores: StoreConfigs = Field(default_factory=dict)
    planning: PlanningSettings = PlanningSettings()
    files: FileLimits = FileLimits()
    preflight: PreflightSettings = PreflightSettings()
    sweep: SweepSettings = SweepSettings()
    publish_timeout: Seconds = 10.0
