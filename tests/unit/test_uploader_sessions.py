"""How calls are numbered: nothing said twice under one number, the first first, and one schema in a replacement."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.graph.errors import GraphError
from connector.graph.protocol import Session
from schemas.events import ByteRange, ChunkReady, Layout, Operation, ReplaceBatch
from schemas.match_keys import ColumnMapping
from services.uploader.sessions import ReplaceSession, SessionOver, replace_schema


def chunk(number: int, total: int, **changes: object) -> ChunkReady:
    """Part *number* of a replacement."""
    fields: dict[str, object] = {
        "revision": 1,
        "file_index": 0,
        "chunk_index": number,
        "company_id": 1,
        "profile_id": UUID(int=1),
        "ad_account_id": "act_1",
        "audience_id": "2",
        "operation": Operation.REPLACE,
        "layout": Layout.NARRATIVE_DATASET,
        "file_name": "f",
        "store": "s",
        "key": "k",
        "etag": "e",
        "range": ByteRange(start=0, end=1),
        "first_record": 1,
        "first_line": 1,
        "records": 1,
        "replace": ReplaceBatch(number=number, total=total),
        **changes,
    }
    return ChunkReady.model_validate(fields)


def replacing(number: int, total: int, attempt: int = 1, **changes: object) -> ReplaceSession:
    """The session of an attempt for part *number*."""
    return ReplaceSession(chunk(number, total, **changes), ReplaceBatch(number=number, total=total), attempt)


def refusal(subcode: int, code: int = 2650) -> GraphError:
    """An error of Meta."""
    return GraphError(code, subcode, "OAuthException", is_transient=False, title="", message="no", fbtrace_id="t")


def numbers(session: ReplaceSession, calls: int) -> list[int]:
    """The numbers of so many calls."""
    return [session.batch(ends_session=False, ends_chunk=False).batch_seq for _ in range(calls)]


class TestReplaceSession:
    @given(
        places=st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 12)), unique=True, min_size=2, max_size=2),
        calls=st.integers(1, 60),
    )
    def test_no_number_is_used_for_two_calls(self, places: list[tuple[int, int]], calls: int) -> None:
        """Whatever part and attempt: a number Meta has seen never comes with other rows."""
        one, other = (set(numbers(replacing(number, 10_000, attempt), calls)) for number, attempt in places)

        assert not one & other
        assert (1 in one, 1 in other) == tuple(place == (1, 1) for place in places)

    def test_all_parts_share_a_session_and_an_emission_begins_a_new_one(self) -> None:
        """Named by revision, audience and emission."""

        def name(session: ReplaceSession) -> int:
            return session.batch(ends_session=True, ends_chunk=True).session_id

        assert name(replacing(1, 3)) == name(replacing(3, 3, attempt=4))
        assert 3 == len({name(replacing(1, 3, **one)) for one in ({}, {"emission": 2}, {"audience_id": "3"})})

    def test_only_the_last_call_of_the_last_part_closes_it(self) -> None:
        """Meta takes nothing after that."""
        last = [
            replacing(number, 2).batch(ends_session=True, ends_chunk=ends).last
            for number in (1, 2)
            for ends in (False, True)
        ]

        assert [False, False, False, True] == last

    def test_a_repeated_first_goes_under_another_number(self) -> None:
        """1870148: it was seen."""
        session = replacing(1, 2)
        first = session.batch(ends_session=True, ends_chunk=True)

        again = session.refused(refusal(1870148), first)

        assert isinstance(again, Session)
        assert (1, 2) == (first.batch_seq, again.batch_seq)

    def test_an_unseen_first_is_sent_as_such_and_only_then(self) -> None:
        """1870147 on a later attempt: batch 1. Once batch 1 was taken, it means that the session is over."""
        session = replacing(1, 2, attempt=3)
        probe = session.batch(ends_session=True, ends_chunk=True)
        assert probe.batch_seq != 1

        first = session.refused(refusal(1870147), probe)
        assert isinstance(first, Session)
        assert 1 == first.batch_seq

        session.taken()
        assert isinstance(session.refused(refusal(1870147), probe), SessionOver)

    @pytest.mark.parametrize("subcode", [1870147, 1870158, 1870159])
    def test_for_any_other_part_it_is_over(self, subcode: int) -> None:
        """Not seen, timed out, finished: nothing of it can go on."""
        session = replacing(2, 3)

        assert isinstance(
            session.refused(refusal(subcode), session.batch(ends_session=True, ends_chunk=True)), SessionOver
        )

    @pytest.mark.parametrize("error", [refusal(1870145), refusal(1870148), refusal(1870158, code=100)])
    def test_everything_else_is_for_the_table(self, error: GraphError) -> None:
        """Another replacement running is waited for, a failed call is tried again."""
        session = replacing(2, 3)

        assert session.refused(error, session.batch(ends_session=True, ends_chunk=True)) is None


class TestSchema:
    def test_a_mapping_names_its_keys(self) -> None:
        """In Meta's order; a whole date is its parts; no EXTERN_ID beside another identifier."""
        columns = {
            "id": {"key": "EXTERN_ID", "mode": "raw"},
            "mail": {"key": "EMAIL", "mode": "sha256"},
            "born": {"key": "DOB", "mode": "raw"},
        }
        mapped = {"layout": Layout.COLUMNS, "mapping": ColumnMapping.model_validate({"columns": columns})}

        assert ("EMAIL", "DOBY", "DOBM", "DOBD") == replace_schema(chunk(1, 1, **mapped))

    def test_alone_it_stays(self) -> None:
        """It is what identifies the person."""
        mapping = ColumnMapping.model_validate({"columns": {"id": {"key": "EXTERN_ID", "mode": "raw"}}})

        assert ("EXTERN_ID",) == replace_schema(chunk(1, 1, layout=Layout.COLUMNS, mapping=mapping))
