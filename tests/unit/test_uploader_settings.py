"""What the uploader refuses to be told."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from connector.runtime.settings import IdentitySettings, KafkaSettings, Stage
from services.uploader.settings import AuthSettings, PaceSettings, UploaderSettings


def settings(stage: Stage, speed: float) -> UploaderSettings:
    """The least there can be, and how fast time passes."""
    return UploaderSettings(
        stage=stage,
        kafka=KafkaSettings(bootstrap="localhost:9092"),
        identity=IdentitySettings(service="uploader", key_file=Path("key"), trusted_file=Path("trusted")),
        auth=AuthSettings(url="http://localhost"),
        pace=PaceSettings(speed=speed),
    )


class TestPace:
    def test_meta_is_not_called_sooner_than_it_asks(self) -> None:
        """A pause that is cut short in production is a call into a block."""
        with pytest.raises(ValidationError, match="in prod it is 1"):
            settings(Stage.PROD, 60)

    @pytest.mark.parametrize(("stage", "speed"), [(Stage.PROD, 1), (Stage.DEV, 60)])
    def test_a_rehearsal_may_be_fast(self, stage: Stage, speed: float) -> None:
        """Where there is nobody to be hurt."""
        assert speed == settings(stage, speed).pace.speed
