"""Bytes to records: every bad line is rejected by its number, every good one goes on."""

import gzip
import json
import zlib
from collections.abc import Callable
from itertools import count

import orjson
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience.layouts import reading_of
from connector.audience.prepare import Prepared, prepare
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, MAX_DEPTH, RECORD, RowReject
from connector.audience.records_ndjson import read_ndjson
from schemas.events import MAX_REJECT_SAMPLES, Layout

DATASET = reading_of(Layout.NARRATIVE_DATASET)
GOOD = b'{"apple_idfa":{"value":"f1c5b2a0-0000-4000-8000-000000000001"}}'


def nested(depth: int) -> bytes:
    return b'{"x":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


BAD = {
    b'{"a":': RowReason.MALFORMED_JSON,
    b'{"a":"\xff"}': RowReason.MALFORMED_JSON,
    b'{"a":"\x00"}': RowReason.MALFORMED_JSON,
    b'{"a":"\\ud800"}': RowReason.MALFORMED_JSON,
    b'{"a":1}{"b":2}': RowReason.MALFORMED_JSON,
    b'{"a":NaN}': RowReason.MALFORMED_JSON,
    b'"': RowReason.MALFORMED_JSON,
    b"\xef\xbb\xbf{}": RowReason.MALFORMED_JSON,
    b"[]": RowReason.NOT_AN_OBJECT,
    b"5": RowReason.NOT_AN_OBJECT,
    b"null": RowReason.NOT_AN_OBJECT,
    nested(MAX_DEPTH + 1): RowReason.TOO_DEEP,
    b"[" * 500_000: RowReason.TOO_DEEP,
    b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}": RowReason.TOO_DEEP,
}


def prepared_from(block: bytes) -> Prepared:
    return prepare(read_ndjson(block, DATASET, first_record=1, first_line=1), DATASET)


class TestBadLines:
    @pytest.mark.parametrize(("line", "reason"), BAD.items(), ids=[f"{line[:20]!a}" for line in BAD])
    @pytest.mark.parametrize("blank", [[], [b""]], ids=["without blank lines", "with blank lines"])
    def test_is_rejected_alone(self, line: bytes, reason: RowReason, blank: list[bytes]) -> None:
        """A bad line is rejected with its reason and numbers; the lines around it go on."""
        records = read_ndjson(b"\n".join([GOOD, *blank, line, GOOD]), DATASET, first_record=11, first_line=21)
        after = 22 + len(blank)
        assert (RowReject(record=12, line=after, reason=reason),) == records.rejects
        assert [(11, 21), (13, after + 1)] == records.frame.select(RECORD, LINE).rows()
        assert 3 == records.count

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from([GOOD, *BAD, b"", b" \t\r", b' {"data": 5}\r', b'{"unique_id":7}']), max_size=8))
    def test_every_record_is_in_one_place(self, lines: list[bytes]) -> None:
        """Whatever the mixture, each line that is not blank is a record with its number: sent on, odd or rejected."""
        records = read_ndjson(b"\n".join(lines), DATASET, first_record=1, first_line=1)
        numbers = count(1)
        expected = {next(numbers): line for line, raw in enumerate(lines, start=1) if raw.strip(b" \t\r")}
        placed = [*records.frame.select(RECORD, LINE).rows(), *((entry.record, entry.line) for entry in records.odd)]
        placed += [(reject.record, reject.line) for reject in records.rejects]
        if not (lines and lines[0].startswith(b"\xef\xbb\xbf")):
            assert expected == dict(placed)
        assert len(expected) == records.count == len(placed)

    @settings(max_examples=500, deadline=None)
    @given(
        st.sampled_from([GOOD, b'{"person_name":{"given_name":"Jos\\u00e9","family_name":null},"birth_year":1.5e3}']),
        st.integers(0, 80),
        st.integers(0, 2),
        st.binary(max_size=2).filter(lambda raw: b"\n" not in raw)
        | st.sampled_from([b"\\", b'"', b"{", b"}", b",", b"\\u"]),
    )
    def test_both_parsers_agree(self, line: bytes, at: int, gone: int, new: bytes) -> None:
        """A damaged line is taken or refused alike by the fast parser and the careful one."""
        damaged = line[:at] + new + line[at + gone :]
        records = read_ndjson(damaged, DATASET, first_record=1, first_line=2)
        try:
            sound = isinstance(orjson.loads(damaged), dict)
        except orjson.JSONDecodeError:
            sound = False
        assert sound is (not records.rejects)

    @pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, zstd.compress])
    def test_nothing_is_unpacked(self, pack: Callable[[bytes], bytes]) -> None:
        """A chunk that begins like something compressed is bytes like any other: it is no way around the limits."""
        packed = (pack(GOOD.replace(b"0001", b"%04d" % number)) for number in count())
        block = next(each for each in packed if b"\n" not in each)
        records = read_ndjson(block, DATASET, first_record=11, first_line=21)
        assert records.rejects == (RowReject(11, 21, RowReason.MALFORMED_JSON),)


class TestGoodLines:
    def test_depth_at_the_limit(self) -> None:
        """A record nested as deep as allowed is read; brackets in its strings do not count."""
        deep = nested(MAX_DEPTH)[:-1] + b',"text":"' + b"[{" * 50 + b'\\"[["}'
        assert () == read_ndjson(deep, DATASET, first_record=1, first_line=1).rejects

    def test_depth_of_a_million_quotes(self) -> None:
        """Looking for the depth of a line that is all escapes and quotes takes one pass over it."""
        line = b"[" * 17 + b'"' + b'\\"' * 500_000
        assert RowReason.TOO_DEEP == read_ndjson(line, DATASET, first_record=1, first_line=1).rejects[0].reason
        shallow = b'["[[[[[[[[[[[[[[[[[' + b'\\"' * 500_000
        assert RowReason.MALFORMED_JSON == read_ndjson(shallow, DATASET, first_record=1, first_line=1).rejects[0].reason

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("last", [b"", b"\n", b"\r\n"])
    def test_line_ends(self, end: bytes, last: bytes) -> None:
        """Line feeds and Windows line ends are read alike, with and without one at the end."""
        records = read_ndjson(end.join([GOOD, GOOD]) + last, DATASET, first_record=1, first_line=1)
        assert (2, 2, ()) == (records.count, records.frame.height, records.rejects)

    def test_byte_order_mark(self) -> None:
        """A byte order mark before the first line of a file is no part of its record."""
        assert () == read_ndjson(b"\xef\xbb\xbf" + GOOD, DATASET, first_record=1, first_line=1).rejects

    def test_surrogate_pairs(self) -> None:
        """A whole pair is a character, also as escapes; half a pair is malformed and never becomes a NUL."""
        pair = json.dumps({"person_name": {"given_name": "Ann\N{PARTY POPPER}"}}).encode()
        records = read_ndjson(pair, DATASET, first_record=1, first_line=1)
        assert ["Ann\N{PARTY POPPER}"] == records.frame["/person_name/given_name"].to_list()

    @pytest.mark.parametrize("block", [b"", b"\n", b" \n\t\r\n", b"\xef\xbb\xbf"])
    def test_nothing(self, block: bytes) -> None:
        """A block without records gives none, and no rows to send."""
        prepared = prepared_from(block)
        assert (0, (), {}) == (prepared.records, prepared.batches, prepared.rejects.counts)


class TestAccount:
    def test_counts_are_complete_and_samples_bounded(self) -> None:
        """All rejects are counted by reason; the first hundred are named, in the order of the file."""
        lines = [b"{}", b"[", GOOD] * 200
        prepared = prepared_from(b"\n".join(lines))
        assert {"no_identifier": 200, "malformed_json": 200} == prepared.rejects.counts
        assert (600, 400, 200) == (prepared.records, prepared.rejects.total, prepared.sent)
        numbers = [reject.record for reject in prepared.rejects.samples]
        assert [number for number in range(1, 151) if number % 3] == numbers
        assert len(numbers) == MAX_REJECT_SAMPLES

    def test_nothing_of_a_record_is_told(self) -> None:
        """What is told about a rejected record holds none of its text."""
        prepared = prepared_from(b'{"person_name":"Smith"}\n{"Smith')
        assert "Smith" not in f"{prepared!r}"
        assert 2 == prepared.rejects.total
