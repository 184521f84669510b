"""`fbc match-keys normalise`: the published vectors through the tool, and lines nobody should write."""

import io
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.match_keys import MAX_LINE, answers
from connector.audience.keys import DOB, UNHASHED, Key

VECTORS = Path(__file__).parents[1] / "vectors"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "match-keys.md"
ORIGINALS = Path(__file__).parents[3] / "shared" / "vectors"
"""Where they came from, on machines that have it beside the checkout."""

TRUNK_ZERO = "(+84) 091-2345678"
"""The one published difference in which we follow the implementation: see docs/reference/match-keys.md."""

HASH = sha256(b"ann@example.com").hexdigest()


def vectors(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()]


def ask(*questions: object) -> list[dict[str, str | None]]:
    return answers_to(b"".join(json.dumps(question).encode() + b"\n" for question in questions))


def answers_to(text: bytes) -> list[dict[str, str | None]]:
    return list(answers(io.BytesIO(text), this_year=2026))


def as_asked(vector: dict[str, Any]) -> dict[str, Any]:
    asked = {"key": vector["field"], "value": vector["input"]}
    return asked | ({"country": vector["country"]} if "country" in vector else {})


class TestVectors:
    def test_published(self) -> None:
        """Every published vector comes out as published, hash included."""
        published = vectors("normalization.jsonl")
        assert len(published) == 747
        differing = [
            (vector, answer)
            for vector, answer in zip(published, ask(*map(as_asked, published)), strict=True)
            if (answer["normalised"] or "") != (vector["normalized"] or "")
            or ("sha256" in vector and answer["sha256"] != vector["sha256"])
        ]
        assert differing == []

    def test_deliberate_differences(self) -> None:
        """Where a published implementation leaves Meta's documents, we follow the documents."""
        published = vectors("normalization_deviations.jsonl")
        assert len(published) == 57
        differing = [
            vector["input"]
            for vector, answer in zip(published, ask(*map(as_asked, published)), strict=True)
            if answer["normalised"] != vector["doc_value"]
        ]
        assert differing == [TRUNK_ZERO]

    def test_differences_are_documented(self) -> None:
        """Every published difference is in one of the groups that the reference page explains."""
        documented = re.findall(r"^\| .* \((\d+)\) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        assert sum(map(int, documented)) == len(vectors("normalization_deviations.jsonl"))

    def test_every_hashed_key_has_vectors(self) -> None:
        """No key that is hashed is left out of the vectors by a change of names."""
        assert {vector["field"] for vector in vectors("normalization.jsonl")} >= {*Key} - UNHASHED

    @pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the originals are not beside this checkout")
    @pytest.mark.parametrize("name", ["normalization.jsonl", "normalization_deviations.jsonl"])
    def test_our_copies_are_copies(self, name: str) -> None:
        """The vectors here are those that were published."""
        assert (VECTORS / name).read_bytes() == (ORIGINALS / name).read_bytes()


class TestAnswers:
    def test_shape(self) -> None:
        """An answer says the key, the value as it leaves, its hash, and why not, in this order."""
        [answer] = ask({"key": "EMAIL", "value": " Ann@Example.com "})
        assert list(answer.items()) == [
            ("key", "EMAIL"),
            ("normalised", "ann@example.com"),
            ("sha256", HASH),
            ("rejected", None),
        ]

    @pytest.mark.parametrize("key", [*Key, DOB])
    def test_nothing_and_unusable_differ(self, key: str) -> None:
        """A value that holds nothing is empty without a reason; an unusable one is null with one."""
        nothing, none, junk, wrong = ask(*({"key": key, "value": value} for value in (" \t", None, "null", [1])))
        assert nothing == none == {"key": key, "normalised": "", "sha256": None, "rejected": None}
        assert junk == {"key": key, "normalised": None, "sha256": None, "rejected": "junk"}
        if key != Key.DATA_PROCESSING_OPTIONS:
            assert wrong == {"key": key, "normalised": None, "sha256": None, "rejected": "wrong_type"}

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [(None, HASH), ("auto", HASH), ("sha256", HASH), ("raw", None)],
    )
    def test_modes(self, mode: str | None, expected: str | None) -> None:
        """A hash passes in lower case unless the value is said to be plain; then it is refused, not hashed again."""
        [answer] = ask({"key": "EMAIL", "value": HASH.upper()} | ({"mode": mode} if mode else {}))
        assert (answer["normalised"], answer["sha256"]) == (expected, expected)
        assert answer["rejected"] == (None if expected else "already_hashed")

    def test_plain_value_said_to_be_a_hash(self) -> None:
        """What is not a hash where hashes are said to stand is refused."""
        assert ask({"key": "EMAIL", "value": "ann@example.com", "mode": "sha256"})[0]["rejected"] == "not_a_hash"

    def test_hash_of_nothing(self) -> None:
        """The hash of the empty text is refused in every mode."""
        empty = sha256(b"").hexdigest()
        asked = [{"key": "EMAIL", "value": empty}, {"key": "EMAIL", "value": empty, "mode": "sha256"}]
        assert [answer["rejected"] for answer in ask(*asked)] == ["junk", "junk"]

    @pytest.mark.parametrize("country", ["GB", "uk", "United Kingdom", "gbr"])
    def test_country(self, country: str) -> None:
        """A number is read as in its country, however that is written."""
        assert ask({"key": "PHONE", "value": "020 7946 0958", "country": country})[0]["normalised"] == "442079460958"

    def test_birth_date(self) -> None:
        """A whole date of birth is told as YYYYMMDD, as Meta's Conversions API takes it."""
        [answer] = ask({"key": "DOB", "value": "5/17/1990"})
        assert answer["normalised"] == "19900517"
        assert answer["sha256"] == sha256(b"19900517").hexdigest()

    def test_in_plain(self) -> None:
        """What Meta takes in plain has no hash, and 64 hexadecimal digits there are text."""
        [answer] = ask({"key": "EXTERN_ID", "value": HASH.upper()})
        assert (answer["normalised"], answer["sha256"]) == (HASH.upper(), None)


class TestBadLines:
    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (b"{", "not JSON"),
            (b'{"key":"FN","value":"\xff"}', "not JSON"),
            (b"[1]", "not an object with a value"),
            (b'{"key":"FN"}', "not an object with a value"),
            (b'{"key":"NAME","value":"Ann"}', "no such key"),
            (b'{"key":[],"value":"Ann"}', "no such key"),
            (b'{"key":"FN","value":"Ann","mode":"hashed"}', "mode is auto, raw or sha256"),
            (b'{"key":"MADID","value":"x","mode":"sha256"}', "Meta takes MADID as it is, so it has no hashed form"),
            (b'{"key":"PHONE","value":"1","country":49}', "country is text"),
            (b'{"key":"FN","value":"' + b"x" * MAX_LINE + b'"}', "longer than 1048576 bytes"),
        ],
    )
    def test_has_its_place(self, line: bytes, why: str) -> None:
        """A line that cannot be answered is told by its number and takes nothing from its neighbours."""
        good = b'{"key":"FN","value":"Ann"}'
        first, bad, last = answers_to(good + b"\n" + line + b"\n" + good)
        assert first["normalised"] == last["normalised"] == "ann"
        assert bad == {"key": None, "normalised": None, "sha256": None, "rejected": None, "error": f"line 2: {why}"}

    def test_blank_lines(self) -> None:
        """A blank line asks nothing, but counts as a line."""
        assert [answer.get("error") for answer in answers_to(b"\n  \r\nx\n")] == ["line 3: not JSON"]

    @given(st.binary())
    def test_rubbish(self, text: bytes) -> None:
        """Whatever the bytes, every line that is not blank gets an answer."""
        assert len(answers_to(text)) == sum(bool(line.strip()) for line in text.split(b"\n"))

    @given(
        st.lists(
            st.fixed_dictionaries(
                {
                    "key": st.sampled_from([*Key, DOB, "F5FIRST"]),
                    "value": st.text()
                    | st.integers(-(2**63), 2**63)
                    | st.floats(allow_nan=False, allow_infinity=False),
                },
                optional={"country": st.text() | st.sampled_from(["US", "gb"])},
            )
        )
    )
    def test_any_value(self, asked: list[dict[str, Any]]) -> None:
        """Whatever the values, each is answered in its place: with what it becomes or with a reason."""
        answered = ask(*asked)
        assert [answer["key"] for answer in answered] == [question["key"] for question in asked]
        assert all((answer["normalised"] is None) == (answer["rejected"] is not None) for answer in answered)
