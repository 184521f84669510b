"""The settings of auth: environment variables with the prefix `FBC_`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from connector.runtime.settings import (
    DatabaseSettings,
    GraphSettings,
    IdentitySettings,
    KafkaSettings,
    Seconds,
    Section,
    ServiceSettings,
)


class GraphAppSettings(GraphSettings):
    """The Graph API, and the Meta app we are there. Only auth knows the app's secret."""

    app_id: Annotated[str, Field(pattern=r"^[0-9]{1,32}$")]
    app_secret: SecretStr


class VaultSettings(Section):
    """Where the key-encryption keys are, and how long unwrapped data keys are kept."""

    key_file: Path
    cache_ttl: Seconds = 300.0
    cache_entries: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class LeaseSettings(Section):
    """How long a lease is good for: the time a stolen one would be."""

    ttl: Annotated[int, Field(ge=10, le=300)] = 300


class DestinationSettings(Section):
    """How audiences are created.

    `settle`: seconds during which a create that Meta never answered may still take effect; it is not repeated before.
    """

    settle: Annotated[float, Field(ge=0)] = 10.0


class Settings(ServiceSettings):
    """Everything auth is told."""

    kafka: KafkaSettings
    database: DatabaseSettings
    identity: IdentitySettings
    graph: GraphAppSettings
    vault: VaultSettings
    lease: LeaseSettings = LeaseSettings()
    destinations: DestinationSettings = DestinationSettings()
