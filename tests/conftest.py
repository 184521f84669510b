"""What every ring shares: the ring's name as a marker, taken from the folder a test lives in."""

from pathlib import Path

import pytest
from hypothesis import settings

# A property is never timed: on a busy machine the first example of a test pays for what it loads.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

RINGS = ("unit", "contract", "integration", "system", "faults")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its ring, so that `pytest -m unit` and `pytest tests/unit` mean the same."""
    for item in items:
        ring = item.path.relative_to(TESTS).parts[0]
        if ring in RINGS:
            item.add_marker(ring)
