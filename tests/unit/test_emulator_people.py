"""Rows become people: identities compare as Meta's do, and rows that are no people are named."""

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.match_keys import HASHED_KEYS, Schema, read_schema
from emulator.people import MOST_SAMPLES, Batch, read_rows
from emulator.refusals import Refusal
from emulator.skim import HashedRows, skim
from tests.unit.emulator_parts import hashed

PEOPLE_KEYS = ("EMAIL", "PHONE", "FN", "LN", "MADID", "EXTERN_ID", "COUNTRY")
HASHES = st.integers(0, 5).map(hashed)
FREE = st.sampled_from(["x", "y", "x\x1fy", "x\x1e", "\x1f"])
PERSON = st.dictionaries(st.sampled_from(PEOPLE_KEYS), st.just(0), min_size=1).flatmap(
    lambda keys: st.fixed_dictionaries({key: HASHES if key in HASHED_KEYS else FREE for key in keys})
)


def batch(keys: Sequence[str], *rows: Sequence[object]) -> Batch:
    """The rows, judged under a multi-key schema."""
    return read_rows(Schema(tuple(keys), single=False), [list(row) for row in rows])


def digest(keys: Sequence[str], row: Sequence[object]) -> int:
    """The digest of one well-formed row."""
    people = batch(keys, row).people
    assert people is not None
    return people.digests()[0]


class TestIdentity:
    @given(person=PERSON, data=st.data())
    def test_order_width_and_case_do_not_matter(self, person: dict[str, str], data: st.DataObject) -> None:
        """A person is the same under any schema that has its keys, in any order, hashes in any case."""
        extra = [key for key in PEOPLE_KEYS if key not in person and key != "EXTERN_ID"]
        wider = data.draw(
            st.permutations([*person, *data.draw(st.lists(st.sampled_from(extra or ["ZIP"]), unique=True))])
        )
        row = [person.get(key, "").upper() if key in HASHED_KEYS else person.get(key, "") for key in wider]

        assert digest(list(person), list(person.values())) == digest(wider, row)

    @given(one=PERSON, other=PERSON)
    def test_different_people_differ(self, one: dict[str, str], other: dict[str, str]) -> None:
        """Two people are the same exactly when their pairs are, also when a value imitates the inner separator."""
        same = digest(list(one), list(one.values())) == digest(list(other), list(other.values()))

        assert (one == other) is same

    def test_attributes_are_no_part_of_it(self) -> None:
        """A customer value does not make another member."""
        plain = digest(["EMAIL"], [hashed(1)])

        assert plain == digest(["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), 12.5])
        assert plain == digest(["DATA_PROCESSING_OPTIONS", "EMAIL"], [["LDU"], hashed(1)])

    def test_stored_rows(self) -> None:
        """Stored values are lower-cased hashes; what is empty is left out; attributes are kept."""
        people = batch(["EMAIL", "FN", "LOOKALIKE_VALUE"], [hashed(0xAB).upper(), "", 3]).people

        assert people is not None
        assert [{"EMAIL": hashed(0xAB), "LOOKALIKE_VALUE": 3}] == list(people.rows())


class TestInvalidRows:
    @pytest.mark.parametrize(
        ("keys", "row", "reason"),
        [
            (["EMAIL", "EXTERN_ID"], [hashed(1), ""], "empty external ID"),
            (["EMAIL"], ["a@example.com"], "malformed hash for EMAIL"),
            (["EMAIL"], [hashed(1)[:-1]], "malformed hash for EMAIL"),
            (["EMAIL"], [hashed(1)[:-2] + "  "], "malformed hash for EMAIL"),
            (["EMAIL"], [hashed(1)[:-1] + "g"], "malformed hash for EMAIL"),
            (["EMAIL", "FN"], [hashed(1), "1"], "malformed hash for FN"),
            (["EMAIL"], [["x"]], "invalid value for EMAIL"),
            (["EMAIL", "FN"], ["", ""], "no identifier in the row"),
            (["EMAIL", "FN"], [None, ""], "no identifier in the row"),
            (["EMAIL", "FN"], [hashed(1)], "number of values differs from the schema"),
            (["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), -1], "invalid customer value"),
            (["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), "much"], "invalid customer value"),
            (["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), "nan"], "invalid customer value"),
        ],
    )
    def test_reasons(self, keys: list[str], row: list[object], reason: str) -> None:
        """The row is invalid for this reason, its sample is its compact JSON, and its neighbours are people."""
        good = [hashed(2) if key in HASHED_KEYS else "7" for key in keys]
        judged = batch(keys, good, row, good)

        assert {orjson.dumps(row).decode(): reason} == judged.samples
        assert [1] == list(judged.invalid)
        assert judged.people is not None
        assert 2 == judged.people.size == judged.accepted

    @pytest.mark.parametrize(
        ("keys", "row"),
        [
            (["MADID", "FN"], [hashed(1), ""]),
            (["MADID"], ["0f1e2d3c-0000-4000-8000-000000000001"]),
            (["EXTERN_ID"], [12345]),
            (["EMAIL", "FN"], [hashed(1), None]),
            (["EMAIL"], [hashed(0xABC).upper()]),
            (["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), 0]),
            (["EMAIL", "LOOKALIKE_VALUE"], [hashed(1), "3.5"]),
        ],
        ids=["hashed madid", "plain madid", "number", "null", "upper case", "zero value", "text value"],
    )
    def test_what_clients_really_send_is_taken(self, keys: list[str], row: list[object]) -> None:
        """Oddities seen from Meta's own clients are people."""
        assert 1 == batch(keys, row).accepted

    def test_samples_are_bounded(self) -> None:
        """At most a hundred samples, but every invalid row is counted."""
        judged = batch(["EMAIL"], *[[f"bad {number}"] for number in range(150)])

        assert MOST_SAMPLES == len(judged.samples)
        assert 150 == len(judged.invalid)

    def test_bare_cells_of_a_single_key(self) -> None:
        """With one key as a string, cells may stand bare or in rows, and a sample shows what was sent."""
        judged = read_rows(Schema(("EMAIL_SHA256",), single=True), [hashed(1), [hashed(2)], "bad"])

        assert 2 == judged.accepted
        assert {'"bad"': "malformed hash for EMAIL_SHA256"} == judged.samples


class TestSchemas:
    @pytest.mark.parametrize("value", [None, [], "", "NAME", ["EMAIL", "EMAIL"], [1], ["LOOKALIKE_VALUE"], {"a": 1}])
    def test_refused(self, value: object) -> None:
        """A schema that cannot be is code 100."""
        with pytest.raises(Refusal) as refused:
            read_schema(value)

        assert 100 == refused.value.code

    def test_styles(self) -> None:
        """A string is the single style, an array the multi style, also as JSON text."""
        assert read_schema("EMAIL_SHA256").single
        assert not read_schema(["EMAIL_SHA256"]).single
        assert Schema(("EMAIL", "FN"), single=False) == read_schema('["EMAIL","FN"]')


CELLS = st.one_of(HASHES, st.just(""), st.sampled_from(["1", hashed(1) + "0", hashed(1)[1:], "A" * 64, "g" * 64, "]]"]))
TABLES = st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6)


class TestSkimming:
    @given(
        rows=st.one_of(TABLES, st.lists(st.lists(HASHES, min_size=2, max_size=2), min_size=1, max_size=6)),
        keys=st.sampled_from([["EMAIL", "FN"], ["EMAIL", "EXTERN_ID"]]),
        tail=st.sampled_from([{}, {"session": {"note": "]]"}}, {"other": [[1], [2]]}]),
    )
    def test_it_agrees_with_parsing(self, rows: list[list[str]], keys: list[str], tail: dict[str, object]) -> None:
        """What is counted without parsing is what parsing would have found; anything doubtful is left to parsing."""
        skimmed = skim(orjson.dumps({"payload": {"schema": keys, "data": rows}, **tail}))

        if skimmed is not None:
            parsed = batch(keys, *rows)
            assert {"payload": {"schema": keys, "data": HashedRows(parsed.accepted)}, **tail} == skimmed
            assert () == tuple(parsed.invalid)

    def test_it_is_used(self) -> None:
        """A compact body of hashes, some cells empty, is counted: the property above is not vacuous."""
        rows = [[hashed(number), "" if number % 2 else hashed(7)] for number in range(1000)]
        skimmed = skim(orjson.dumps({"access_token": "t", "payload": {"schema": ["EMAIL", "FN"], "data": rows}}))

        assert {"access_token": "t", "payload": {"schema": ["EMAIL", "FN"], "data": HashedRows(1000)}} == skimmed

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no json",
            b'{"payload":{"schema":["EMAIL"],"metadata":{"data":[["' + b"a" * 64 + b'"]]},"data":[]}}',
            b'{"payload":{"schema":"EMAIL","data":[["' + b"a" * 64 + b'"]]}}',
            b'{"payload":{"schema":["EMAIL"],"data":[["' + b"a" * 64 + b'"], ["' + b"a" * 64 + b'"]]}}',
            b'{"payload":{"schema":["EMAIL"],"data":[["' + b"a" * 32 + b'"],["' + b"a" * 96 + b'"]]}}',
            b'{"payload":{"schema":["EMAIL"],"data":[["\x00' + b"a" * 63 + b'"]]}}',
        ],
        ids=["empty", "rubbish", "another data", "single style", "blanks", "right on average", "control character"],
    )
    def test_doubt_means_parsing(self, body: bytes) -> None:
        """Bodies that only look right are parsed."""
        assert skim(body) is None
