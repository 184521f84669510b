"""Ports that nobody else takes before their part listens."""

import socket
from pathlib import Path

import pytest

from embedded.ports import FIRST, HOST, free_ports


@pytest.fixture
def ephemeral(tmp_path: Path) -> Path:
    """The system's own range, as a file."""
    return tmp_path / "range"


class TestFreePorts:
    def test_different_free_and_none_of_the_systems_own(self, ephemeral: Path) -> None:
        """Each can be bound, and no connection is given one meanwhile."""
        ephemeral.write_text("32768\t60999\n")
        found = free_ports(20, ephemeral=ephemeral)
        assert 20 == len(set(found))
        assert all(FIRST <= port < 32_768 for port in found)
        for port in found:
            with socket.socket() as one:
                one.bind((HOST, port))

    def test_one_that_is_taken_is_not_given(self, ephemeral: Path) -> None:
        """Of few ports only the free ones: the others are somebody's."""
        ephemeral.write_text(f"{FIRST + 50}\t60999\n")
        (taken,) = free_ports(1, ephemeral=ephemeral)
        with socket.socket() as somebody:
            somebody.bind((HOST, taken))
            assert all(free_ports(1, ephemeral=ephemeral) != [taken] for _ in range(20))

    @pytest.mark.parametrize("text", ["1024\t65535\n", "nothing\n", ""])
    def test_the_system_chooses_where_nothing_is_left(self, ephemeral: Path, text: str) -> None:
        """Where all ports are the system's own, or nobody knows which, it is asked for some."""
        ephemeral.write_text(text)
        found = free_ports(3, ephemeral=ephemeral)
        assert 3 == len(set(found))
        assert all(found)
