"""Settings: environment variables with the prefix `FBC_`, read once into one frozen object per process.

A nested object's fields are joined with two underscores: `FBC_KAFKA__BOOTSTRAP`. Absence is safe: whatever can have a
default has one, and what has none is named in the error together with the variable to set.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from connector.files.limits import DEFAULT_LIMITS, Limits

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0)]


class Stage(StrEnum):
    """Where the process runs. `prod` refuses what is only good for a laptop (local keys, plain tokens)."""

    DEV = "dev"
    TEST = "test"
    PROD = "prod"


class Section(BaseModel):
    """A group of settings for one collaborator."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileLimits(Section):
    """What a file may be before it is refused, in bytes but for `ratio` and `rows`.

    Ingest and uploader need the same: what one plans the other has to read. The longest record, the nesting within it
    and the columns of a table are no settings, since both halves must agree on them for files planned long ago.
    """

    compressed: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.compressed
    decoded: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.decoded
    ratio: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.ratio
    rows: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.rows
    row_group: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.row_group

    @property
    def limits(self) -> Limits:
        """As those who read files take them."""
        return Limits(**self.model_dump())


class LogSettings(Section):
    """How the process logs: one JSON object a line, or columns for human eyes."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class HttpSettings(Section):
    """Where the process listens. Port 0 takes a free one and logs it."""

    host: str = "127.0.0.1"
    port: Port = 0


class KafkaSettings(Section):
    """The broker and the names of things on it.

    `group_instance_id` (a pod's stable name) makes this process a static member of its groups: it may restart within
    `session_timeout` without a rebalance, and keeps its partitions for so long when it does not come back.
    """

    bootstrap: str
    topic_prefix: str = "fbc."
    replication: Annotated[int, Field(ge=1, le=9)] = 3
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = None
    request_timeout: Seconds = 30.0
    session_timeout: Seconds = 45.0
    drain_deadline: Seconds = 25.0
    compression: Literal["none", "lz4", "zstd"] = "lz4"
    group_instance_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = None


class DatabaseSettings(Section):
    """A PostgreSQL address with its role: `postgresql://role:password@host:port/database`."""

    dsn: SecretStr
    pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    statement_timeout: Seconds = 30.0


class IdentitySettings(Section):
    """Who this process is to the others: its own private key, and the public keys it trusts."""

    service: str
    key_file: Path
    trusted_file: Path


class GraphSettings(Section):
    """Which Graph API is spoken to, in which version, and for how long.

    Deadlines in seconds: to be connected, to get a request out, between two pieces of the answer, and for all of it.
    """

    url: str = "https://graph.facebook.com"
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v26.0"
    connect_timeout: Seconds = 10.0
    send_timeout: Seconds = 60.0
    answer_timeout: Seconds = 90.0
    total_timeout: Seconds = 120.0
    max_answer: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024


class ServiceSettings(BaseSettings):
    """What every process has; each service adds its own sections."""

    model_config = SettingsConfigDict(env_prefix="FBC_", env_nested_delimiter="__", frozen=True, extra="ignore")

    stage: Stage = Stage.DEV
    log: LogSettings = LogSettings()
    http: HttpSettings = HttpSettings()


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class SettingsError(Exception):
    """Raised when the environment does not make a valid configuration; the text names each variable."""


def load(kind: type[AnySettings]) -> AnySettings:
    """Reads the environment into *kind*.

    Raises:
        SettingsError: One line per wrong or missing variable, never showing a value (it may be a secret).
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = [
            f"  {prefix}{'__'.join(str(part).upper() for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("the environment is not a valid configuration:\n" + "\n".join(lines)) from None


def load_or_exit(kind: type[AnySettings]) -> AnySettings:
    """Like `load`, for a process that cannot go on: prints the problem and exits with 2 (usage)."""
    try:
        return load(kind)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
