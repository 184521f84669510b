"""Names of audiences."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.naming import MAX_NAME, NameRefused, checked_name, default_name

ORIGIN = "6f2cfa1e-52d5-5a0f-9d0b-1f3f0c5b1e11"


class TestChecking:
    @pytest.mark.parametrize(
        "name",
        [
            "Spring Newsletter",
            "Kundenliste Q3 (DE)",
            "Été à la mer",
            "客户",
            "Family 👨‍👩‍👧",
            "Scandinavia",
            "Stdout fans",
            "Indebted to nobody",
            "2026-11-24 visitors",
            default_name(f"connection:{ORIGIN}"),
        ],
    )
    def test_ordinary_names_pass(self, name: str) -> None:
        """Words that only contain a suspicious one are left alone."""
        assert name == checked_name(name)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("  ", "empty"),
            ("x" * (MAX_NAME + 1), "characters"),
            ("a\nb", "control"),
            ("a\u202eb", "direction-changing"),
            ("a\u200bb", "invisible"),
            ("Ada <ada@example.com>", "e-mail"),
            ("call +1 555 010 9999", "telephone"),
            ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "a hash"),
            ("Diabetes patients", "health"),
            ("people with DIABETES", "health"),
            ("Mental-Health newsletter", "health"),
            ("HIV+", "health"),
            ("Pregnant women", "health"),
            ("bad credit 2026", "financial"),
            ("High_Income households", "financial"),
        ],
    )
    def test_refused_names(self, name: str, why: str) -> None:
        """Each refusal says why, and does not repeat the name."""
        with pytest.raises(NameRefused, match=why) as caught:
            checked_name(name)

        assert "ada@example.com" not in str(caught.value)

    def test_composed_and_trimmed(self) -> None:
        """One spelling for one name, so that it can be compared."""
        assert "Été" == checked_name("  E\u0301te\u0301\t")

    @given(st.text(max_size=MAX_NAME + 20))
    def test_what_passed_passes_again(self, name: str) -> None:
        """Checking is stable: a checked name is its own checked name."""
        try:
            once = checked_name(name)
        except NameRefused:
            return
        assert once == checked_name(once)
        assert 0 < len(once) <= MAX_NAME


class TestDefault:
    @pytest.mark.parametrize("kind", ["connection", "subscription"])
    def test_tells_the_origin(self, kind: str) -> None:
        """The name leads back to what fills the audience."""
        assert f"{kind.capitalize()} {ORIGIN} Audience" == default_name(f"{kind}:{ORIGIN}")

    @given(st.uuids(), st.sampled_from(["connection", "subscription"]))
    def test_always_passes_the_check(self, origin: UUID, kind: str) -> None:
        """No default name is ever refused."""
        assert checked_name(default_name(f"{kind}:{origin}")) == default_name(f"{kind}:{origin}")
