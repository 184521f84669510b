"""Each fault test has a stack to itself: it is about to be hurt."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A fresh stack that plans one chunk at a time, so that the middle of a plan is wide enough to be hit."""
    monkeypatch.setenv("FBC_PLANNING__BATCH", "1")
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started
