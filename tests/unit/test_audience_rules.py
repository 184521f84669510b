"""What the rules of all match keys promise together, and those of names, countries and whom they identify."""

import unicodedata
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.audience.keys import UNHASHED, Key, Mode, identifies
from connector.audience.normalise import digest, normalise
from connector.audience.reasons import CellReason
from connector.audience.rules.countries import normalise_country
from connector.audience.rules.digests import JUNK_DIGESTS, normalise_digest
from connector.audience.rules.names import normalise_name, normalise_names
from connector.audience.rules.text import WHITESPACE

HASH = sha256(b"ann@example.com").hexdigest()

HASHED = sorted({*Key} - UNHASHED)

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
ALPHABETS: dict[Key, str] = {
    Key.PHONE: DIGITS,
    Key.GEN: "mf",
    Key.DOBY: DIGITS,
    Key.DOBM: DIGITS,
    Key.DOBD: DIGITS,
    Key.CT: LETTERS,
    Key.ST: LETTERS,
    Key.ZIP: LETTERS + DIGITS,
    Key.COUNTRY: LETTERS,
    Key.MADID: "abcdef-" + DIGITS,
    Key.UID: DIGITS,
    Key.APPUID: DIGITS,
    Key.PAGEUID: DIGITS,
    Key.LOOKALIKE_VALUE: DIGITS + ".",
    Key.DATA_PROCESSING_OPTIONS: '[]"LDU',
    Key.DATA_PROCESSING_OPTIONS_COUNTRY: "01",
    Key.DATA_PROCESSING_OPTIONS_STATE: DIGITS,
}
"""What a value of a key may be made of. Names, e-mail addresses and the advertiser's own ids may hold any letter."""

LIKELY = st.text(
    alphabet=DIGITS + LETTERS[:6] + "+-/. ()@\u0660\uff11\u00e9\u0301\u0130\u03a3\u6771\x00\n", max_size=20
)
"""Text that gets far into the rules, which text of all of Unicode seldom does."""

countries = st.none() | st.sampled_from(["us", "gb", "de", "vn", "zz", "pr"])


class TestModes:
    @pytest.mark.parametrize("key", HASHED)
    def test_hash_in_a_raw_place(self, key: Key) -> None:
        """A hash where a plain value is due is refused: hashing it again would match nobody."""
        assert CellReason.ALREADY_HASHED == normalise(key, f" {HASH.upper()} ", mode=Mode.RAW)

    @pytest.mark.parametrize("text", ["ann@example.com", HASH[:-1], HASH + "0", "g" * 64, HASH[:32], "x"])
    def test_no_hash_in_a_hashed_place(self, text: str) -> None:
        """What is not 64 hexadecimal digits never leaves as a hash."""
        assert CellReason.NOT_A_HASH == normalise(Key.EMAIL, text, mode=Mode.SHA256)

    def test_hash_is_lower_cased(self) -> None:
        """A hash is trimmed and lower-cased, so that it can match."""
        assert HASH == normalise(Key.EMAIL, f"\t{HASH.upper()}\n", mode=Mode.SHA256)

    @pytest.mark.parametrize("word", ["", "null", "None", "nan", "undefined", "NULL", "n/a"])
    def test_hashes_of_junk(self, word: str) -> None:
        """The hash of nothing never leaves, in any case."""
        junk = sha256(word.encode()).hexdigest()
        assert junk in JUNK_DIGESTS
        assert CellReason.JUNK == normalise_digest(junk.upper())

    @pytest.mark.parametrize("key", Key)
    @pytest.mark.parametrize("text", ["null", " None ", "NaN", "undefined", "N/A", "NULL"])
    def test_words_of_junk(self, key: Key, text: str) -> None:
        """A program's word for nothing is never hashed as a value."""
        assert isinstance(normalise(key, text), CellReason)

    @pytest.mark.parametrize("key", HASHED)
    def test_words_of_junk_in_punctuation(self, key: Key) -> None:
        """What is a word for nothing once its punctuation is gone is never hashed either."""
        assert isinstance(normalise(key, "(null)"), CellReason)


class TestEveryRule:
    @pytest.mark.parametrize("key", Key)
    @given(text=st.text() | LIKELY, country=countries, mode=st.sampled_from(Mode))
    def test_any_text(self, key: Key, text: str, country: str | None, mode: Mode) -> None:
        """Whatever the text, a rule gives a value, nothing or a reason, and nothing has no hash."""
        plain = normalise(key, text, country=country, mode=mode)
        assert isinstance(plain, CellReason) or digest(plain) not in JUNK_DIGESTS

    @pytest.mark.parametrize("key", Key)
    @given(text=st.text() | LIKELY, country=countries)
    def test_alphabet(self, key: Key, text: str, country: str | None) -> None:
        """A value holds the characters of its key and no others: no white space, no stray punctuation."""
        plain = normalise(key, text, country=country)
        if isinstance(plain, str):
            assert set(plain) <= set(ALPHABETS.get(key, plain))
            assert plain == plain.strip(WHITESPACE)

    @pytest.mark.parametrize("key", sorted({*Key} - {Key.PHONE}))
    @given(text=st.text() | LIKELY, country=countries)
    def test_is_stable(self, key: Key, text: str, country: str | None) -> None:
        """Normalising what is normalised changes nothing."""
        once = normalise(key, text, country=country)
        if isinstance(once, str):
            assert once == normalise(key, once, country=country)

    @pytest.mark.parametrize("key", Key)
    @given(text=st.text() | LIKELY)
    def test_nothing_but_space_is_nothing(self, key: Key, text: str) -> None:
        """White space around a value does not matter, and alone it is nothing."""
        assert normalise(key, text) == normalise(key, f"\t{text}\n ")
        assert normalise(key, " \t\r\n") == ""

    @pytest.mark.parametrize("key", sorted({*Key} - {Key.EXTERN_ID}))
    @given(text=st.text() | LIKELY)
    @example(text="13100AA\u0128")
    def test_composition_does_not_matter(self, key: Key, text: str) -> None:
        """A value is the same however its accents are encoded."""
        composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
        assert normalise(key, composed) == normalise(key, decomposed)


class TestNames:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("Jose\u0301", "josé"),
            ("O\u2019Brien", "obrien"),
            ("  von  der\u00a0Leyen ", "vonderleyen"),
            ("e-\u0301", "é"),
            ("J\u030c", "ǰ"),
            ("\u0928\u093f\u0930\u094d\u092e\u0932\u093e", "\u0928\u093f\u0930\u094d\u092e\u0932\u093e"),
            ("🎉Ann🎉", "ann"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("...", ""),
        ],
    )
    def test_examples(self, written: str, expected: str) -> None:
        """Accents stay, composed; spaces, punctuation and symbols of any script go."""
        assert expected == normalise_name(written)

    @given(st.text())
    def test_is_stable(self, text: str) -> None:
        """A normalised name is composed, and normalising it again changes nothing."""
        once = normalise_name(text)
        assert unicodedata.is_normalized("NFC", once)
        assert once == normalise_name(once)

    @given(st.text())
    def test_composition_does_not_matter(self, text: str) -> None:
        """A name has one hash, however its accents are encoded."""
        assert normalise_name(unicodedata.normalize("NFC", text)) == normalise_name(unicodedata.normalize("NFD", text))

    @given(st.lists(st.text()))
    def test_many_at_once(self, texts: list[str]) -> None:
        """Normalising many names in one sweep gives what each alone gives: they do not influence each other."""
        assert [normalise_name(text) for text in texts] == normalise_names(texts)


class TestCountries:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("US", "us"),
            (" uk ", "gb"),
            ("GBR", "gb"),
            ("United States", "us"),
            ("The United States of America", "us"),
            ("U.S.A.", "us"),
            ("Germany", "de"),
            ("Deutschland", "de"),
            ("COTE D'IVOIRE", "ci"),
            ("Türkiye", "tr"),
            ("the Netherlands", "nl"),
            ("zz", "zz"),
            ("", ""),
            ("Atlantis", CellReason.UNKNOWN_COUNTRY),
            ("49", CellReason.UNKNOWN_COUNTRY),
        ],
    )
    def test_examples(self, written: str, expected: str | CellReason) -> None:
        """Codes, alpha-3 codes and names become the alpha-2 code; what is no country is refused, never cut short."""
        assert expected == normalise_country(written)


class TestWhoIsIdentified:
    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            *(({key}, True) for key in ("EMAIL", "PHONE", "MADID", "EXTERN_ID", "UID", "APPUID", "PAGEUID")),
            *(({Key.LN, first, place}, True) for first in ("FN", "FI") for place in ("ZIP", "CT", "DOBY")),
            ({Key.LN, Key.FN, Key.DOBM, Key.DOBD, Key.ST, Key.COUNTRY, Key.GEN, Key.LOOKALIKE_VALUE}, False),
            ({Key.FN, Key.FI, Key.DOBY, Key.ZIP, Key.CT}, False),
            (set(), False),
        ],
    )
    def test_rule(self, keys: set[str], *, expected: bool) -> None:
        """One identifier, or last name with first name or initial and one of post code, city, year of birth."""
        assert expected is identifies(keys)


class TestGender:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (" Female ", "f"),
            ("BOY", "m"),
            ("unknown", ""),
            ("Other", ""),
            ("UN", ""),
            ("neuter", CellReason.UNKNOWN_GENDER),
            ("malé", CellReason.UNKNOWN_GENDER),
        ],
    )
    def test_a_word_is_one_of_two_or_nothing(self, text: str, expected: object) -> None:
        """HL7's words for neither hold nothing; a word nobody knows is told, and nobody is male by default."""
        assert expected == normalise(Key.GEN, text)
