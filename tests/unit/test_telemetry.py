"""Telemetry: a fact moves its metrics, and nothing personal leaves through a log line."""

import logging
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.telemetry import Fact, Measure, Telemetry
from connector.telemetry.logs import HIDDEN, MAX_TEXT, redact, redact_text


@dataclass(frozen=True)
class Shipped(Fact):
    """A fact for the test."""

    name: ClassVar[str] = "shipped"
    level: ClassVar[int] = logging.DEBUG
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("shipped_records_total", "records", labels=("lane",), value="records"),
        Measure("shipped_total", "shipments"),
        Measure("shipped_seconds", "how long", value="seconds", kind="histogram"),
        Measure("shipped_last", "size of the last", value="records", kind="gauge"),
    )
    lane: str
    records: int
    seconds: float
    note: str | None = None


class TestFacts:
    def test_a_fact_moves_its_metrics(self) -> None:
        """Counter, gauge and histogram follow from one emit."""
        telemetry = Telemetry()

        telemetry.emit(Shipped("a", 3, 0.2))
        telemetry.emit(Shipped("a", 4, 0.2))

        value = telemetry.registry.get_sample_value
        assert 7.0 == value("shipped_records_total", {"lane": "a"})
        assert 2.0 == value("shipped_total")
        assert 2.0 == value("shipped_seconds_count")
        assert 4.0 == value("shipped_last")

    def test_absent_fields_are_not_logged(self) -> None:
        """A log line shows what is known."""
        assert {"lane": "a", "records": 3, "seconds": 0.2} == Shipped("a", 3, 0.2).fields()


class TestRedaction:
    @pytest.mark.parametrize(
        "secret",
        [
            "EAA" + "b1" * 20,
            "GET /me?access_token=abcdef123&x=1",
            "appsecret_proof=" + "0" * 10,
            "ab" * 32,
            "AB" * 32,
            "jane.doe+x@example.com",
            "eyJhbGciOiJ.eyJpc3MiOiJ4.c2ln",
            "postgresql://fbc:hunter2@host/db",
        ],
    )
    def test_what_looks_secret_or_personal_is_hidden(self, secret: str) -> None:
        """Tokens, proofs, hashes, addresses and passwords do not survive, wherever they stand."""
        shown = redact_text(f"before {secret} after")

        assert HIDDEN in shown
        assert "hunter2" not in shown
        assert secret not in shown

    @given(st.text(alphabet="abcdef0123456789", min_size=64, max_size=64), st.text(max_size=20))
    def test_no_hash_survives_any_depth(self, digest: str, around: str) -> None:
        """A hash nested in lists and objects is found."""
        assert digest not in str(redact({"rows": [[{"x": f"{around} {digest} {around}"}]]}))

    def test_denied_keys_hide_their_value(self) -> None:
        """A field called token shows nothing, whatever it holds."""
        assert {"access_token": HIDDEN, "n": 1} == redact({"access_token": "short", "n": 1})

    def test_text_is_capped(self) -> None:
        """A dumped body does not flood the log."""
        assert MAX_TEXT + 1 == len(redact_text("x" * 10_000))
