"""Which stores there are: `{"name": {"kind": "folder" | "s3", ...}}`, read from the environment as JSON."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from connector.runtime.settings import Seconds, Section
from schemas.events import Slug


class FolderStore(Section):
    """A folder on this machine: the demo, the tests, a mounted volume. Keys are paths below `root`."""

    kind: Literal["folder"] = "folder"
    root: Path


class S3Store(Section):
    """A bucket. Without access keys the usual AWS chain is asked (environment, profile, instance role).

    `prefix` goes before every key as it is, so write its final slash. The worst case of one call is
    `attempts * (connect_timeout + read_timeout)` seconds plus botocore's back-off of at most 20 s between attempts.
    """

    kind: Literal["s3"] = "s3"
    bucket: Annotated[str, Field(min_length=3, max_length=255)]
    region: Annotated[str, Field(min_length=1, max_length=64)] = "us-east-1"
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    prefix: str = ""
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 30.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    connections: Annotated[int, Field(ge=1, le=512)] = 32

    @model_validator(mode="after")
    def _has_both_keys_or_none(self) -> "S3Store":
        """Half a key pair would silently fall back to whatever identity the machine has."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give both access_key_id and secret_access_key, or neither")
        return self


StoreConfig = Annotated[FolderStore | S3Store, Field(discriminator="kind")]

StoreConfigs = dict[Slug, StoreConfig]
"""The stores of a process by the name that events use."""
