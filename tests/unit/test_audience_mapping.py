"""Mapping files: what a person wrote is either understood wholly or refused with words that help."""

import orjson
import pytest

from connector.audience.layouts import reading_of
from connector.audience.mapping import MAX_BYTES, MappingError, missing_scopes, read_mapping
from schemas.events import Layout
from schemas.match_keys import MatchKey, Mode

MAIL = {"key": "EMAIL", "mode": "raw"}


class TestReadMapping:
    def test_a_whole_one(self) -> None:
        """Columns in their order, which is their precedence, with country and delimiter; a byte order mark is none."""
        document = {
            "columns": {"b": MAIL, "a.x": {"key": "DOB", "mode": "raw"}},
            "default_country": "DE",
            "delimiter": ";",
        }
        mapping = read_mapping(b"\xef\xbb\xbf" + orjson.dumps(document))
        assert [("b", MatchKey.EMAIL, Mode.RAW), ("a.x", "DOB", Mode.RAW)] == [
            (name, column.key, column.mode) for name, column in mapping.columns.items()
        ]
        assert ("DE", ";") == (mapping.default_country, mapping.delimiter)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"", "no JSON"),
            (b"[]", "no JSON object"),
            (b"{}", "columns"),
            (b'{"columns":{}}', "at least 1"),
            (b'{"colums":{}}', "unknown members .colums.: it takes columns"),
            (b'{"columns":{"a":{"key":"EMAIL","mode":"raw","modus":1}}}', "columns.a has unknown members .modus."),
            (
                b'{"columns":{"a":{"key":"MAIL","mode":"raw"}}}',
                "^columns.a.key is no match key: it is one of EMAIL, [A-Z, _]*$",
            ),
            (b'{"columns":{"a":{"key":"EMAIL"}}}', "columns.a.mode .* raw or sha256"),
            (b'{"columns":{"a":{"key":"MADID","mode":"sha256"}}}', "columns.a: .* Meta takes it as it is"),
            (b'{"columns":{"a":5}}', "columns.a"),
            (b'{"columns":{"a":{"key":"EMAIL","mode":"raw"}},"default_country":"Germany"}', "default_country"),
            (b" " * (MAX_BYTES + 1), "longer than"),
        ],
    )
    def test_a_wrong_one(self, text: bytes, words: str) -> None:
        """The error names what is wrong, where, and what would be right."""
        with pytest.raises(MappingError, match=words):
            read_mapping(text)

    def test_ids_without_their_scope(self) -> None:
        """Ids that mean nothing outside an app or page are told."""
        document = {"columns": {"u": {"key": "UID", "mode": "raw"}, "m": MAIL}}
        (words,) = missing_scopes(read_mapping(orjson.dumps(document)))
        assert "columns.u" in words
        assert "app_ids" in words
        assert () == missing_scopes(read_mapping(orjson.dumps(document | {"app_ids": ["1"]})))


class TestReading:
    def test_names_and_places(self) -> None:
        """A dotted name is a path within objects and one header in a table; the places keep the mapping's order."""
        document = {"columns": {"o.mail": MAIL, "mail": MAIL}}
        reading = reading_of(Layout.COLUMNS, read_mapping(orjson.dumps(document)))
        assert (("o", "mail"), ("mail",)) == reading.paths
        assert ("o.mail", "mail") == reading.headers

    @pytest.mark.parametrize("layout", list(Layout))
    def test_a_mapping_belongs_to_columns(self, layout: Layout) -> None:
        """The layout `columns` needs a mapping and no other takes one."""
        mapping = None if layout is Layout.COLUMNS else read_mapping(orjson.dumps({"columns": {"m": MAIL}}))
        with pytest.raises(ValueError, match="needs a mapping"):
            reading_of(layout, mapping)
