"""Ports that nobody else takes before their part listens."""

import socket
from contextlib import ExitStack, suppress
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
        """Of fifty ports the only free one; and where there is none, that is told."""
        ephemeral.write_text(f"{FIRST + 50}\t60999\n")
        (free,) = free_ports(1, ephemeral=ephemeral)
        with ExitStack() as held:
            for port in {*range(FIRST, FIRST + 50)} - {free}:
                somebody = held.enter_context(socket.socket())
                with suppress(OSError):  # another one than we has it: as good
                    somebody.bind((HOST, port))
            assert [free] == free_ports(1, ephemeral=ephemeral)
            held.enter_context(socket.socket()).bind((HOST, free))
            with pytest.raises(OSError, match="0 of 1 ports are free"):
                free_ports(1, ephemeral=ephemeral)

    @pytest.mark.parametrize("text", ["1024\t65535\n", "nothing\n", ""])
    def test_the_system_chooses_where_nothing_is_left(self, ephemeral: Path, text: str) -> None:
        """Where all ports are the system's own, or nobody knows which, it is asked for some."""
        ephemeral.write_text(text)
        found = free_ports(3, ephemeral=ephemeral)
        assert 3 == len(set(found))
        assert all(found)
