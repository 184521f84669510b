"""Each fault test has a stack to itself: it is about to be hurt."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A fresh stack."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started
