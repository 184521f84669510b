"""The member edges: what is stored, what is answered, and what is refused, as Meta does it."""

from typing import Any

import orjson
import pytest

from emulator.sessions import REPLACE_SECONDS, invented_session_id
from tests.unit.emulator_parts import Desk, hashed


def one(number: int) -> list[list[str]]:
    """One row."""
    return [[hashed(number)]]


def session(session_id: int = 7, batch: int = 1, *, last: bool = False) -> dict[str, object]:
    """A `session` parameter."""
    return {"session_id": session_id, "batch_seq": batch, "last_batch_flag": last}


class TestAddAndRemove:
    def test_reply_without_a_session(self) -> None:
        """The server invents a 19-digit session id, equal for equal schemas, and counts this request alone."""
        desk = Desk()
        audiences = [desk.audience(), desk.audience()]
        replies = [desk.upload(audience, one(number)).json for audience in audiences for number in (1, 2)]

        assert [1, 1, 1, 1] == [reply["num_received"] for reply in replies]
        assert {invented_session_id("POST", "EMAIL")} == {reply["session_id"] for reply in replies}
        assert 19 == len(replies[0]["session_id"])
        assert {
            "audience_id": audiences[0],
            "session_id": replies[0]["session_id"],
            "num_received": 1,
            "num_invalid_entries": 0,
            "invalid_entry_samples": {},
        } == replies[0]

    def test_invented_ids_differ(self) -> None:
        """Another schema or another operation gets another invented id."""
        ids = {invented_session_id(*key) for key in [("POST", "EMAIL"), ("DELETE", "EMAIL"), ("POST", "EMAIL,FN")]}

        assert 3 == len(ids)

    def test_totals_run_over_a_session(self) -> None:
        """With the caller's session the counts are of the session so far, and its id comes back as text."""
        desk = Desk()
        audience = desk.audience()
        first = desk.upload(audience, [[hashed(1)], ["bad"]], session=session(batch=1)).json
        second = desk.upload(audience, one(2), session=session(batch=2, last=True)).json

        assert ("7", 2, 1) == (first["session_id"], first["num_received"], first["num_invalid_entries"])
        assert ("7", 3, 1) == (second["session_id"], second["num_received"], second["num_invalid_entries"])
        assert {} == second["invalid_entry_samples"]

    def test_the_sessions_edge_speaks_in_strings(self) -> None:
        """All values of a session row are strings, and it never seems to finish."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, one(1), session=session(last=True))
        rows = desk.ask("GET", f"{audience}/sessions", session_id="7").json["data"]

        assert [("7", "1", "uploading", "-1")] == [
            (row["session_id"], row["num_received"], row["stage"], row["num_matched"]) for row in rows
        ]
        assert all(isinstance(value, str) for row in rows for value in row.values())

    @pytest.mark.parametrize(("method", "said"), [("DELETE", None), ("POST", "DELETE")], ids=["delete", "post"])
    def test_remove(self, method: str, said: str | None) -> None:
        """A removed person is gone, whether by DELETE or by a POST that says so; strangers do not matter."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, [[hashed(1)], [hashed(2)]])
        payload = {"schema": ["EMAIL"], "data": [[hashed(2)], [hashed(9)]]}
        heard = desk.ask(method, f"{audience}/users", method=said, payload=payload)

        assert (200, 2) == (heard.status, heard.json["num_received"])
        assert [{"EMAIL": hashed(1)}] == desk.rows(audience)

    def test_usersofanyaudience(self) -> None:
        """A person is removed from every audience of the account, and from no other account's."""
        desk = Desk()
        audiences = [desk.audience(), desk.audience()]
        other = f"act_{list(desk.world.accounts)[1]}"
        elsewhere = desk.ask("POST", f"{other}/customaudiences", name="x").json["id"]
        for audience in (*audiences, elsewhere):
            desk.upload(audience, one(1))
        payload = {"schema": ["EMAIL"], "data": one(1)}
        heard = desk.ask("DELETE", f"{desk.account}/usersofanyaudience", payload=payload)

        assert 1 == heard.json["num_received"]
        assert [0, 0, 1] == [desk.members(audience) for audience in (*audiences, elsewhere)]

    def test_invalid_rows_are_not_members(self) -> None:
        """HTTP 200, the invalid row sampled under its compact JSON, the others stored."""
        desk = Desk()
        audience = desk.audience()
        bad = [hashed(1), "", hashed(2)]
        heard = desk.upload(audience, [bad, [hashed(3), "crm-3", ""]], ("EMAIL", "EXTERN_ID", "FN"))

        assert 200 == heard.status
        assert {orjson.dumps(bad).decode(): "empty external ID"} == heard.json["invalid_entry_samples"]
        assert (2, 1) == (heard.json["num_received"], heard.json["num_invalid_entries"])
        assert [{"EMAIL": hashed(3), "EXTERN_ID": "crm-3"}] == desk.rows(audience)

    def test_a_request_of_invalid_rows_only(self) -> None:
        """Nobody becomes a member, everybody is counted, under every keeper."""
        for keep in ("counts", "digests", "rows"):
            desk = Desk(keep)
            audience = desk.audience()
            heard = desk.upload(audience, [["bad"], ["worse"]])

            assert (2, 2) == (heard.json["num_received"], heard.json["num_invalid_entries"])
            assert 0 == desk.members(audience)

    def test_the_closing_row_of_the_file_uploader(self) -> None:
        """Meta's Data File Uploader closes a session with a row of "1"s: HTTP 200, counted as invalid."""
        desk = Desk()
        heard = desk.upload(desk.audience(), [["1", "1"]], ("EMAIL", "FN"), session=session(last=True))

        assert (200, 1) == (heard.status, heard.json["num_invalid_entries"])


class TestRefusals:
    @pytest.mark.parametrize(
        "payload",
        [
            None,
            "no json",
            [],
            {"schema": ["EMAIL"]},
            {"schema": ["EMAIL"], "data": []},
            {"schema": ["EMAIL"], "data": "x"},
            {"schema": ["NOPE"], "data": [["x"]]},
            {"data": [["x"]]},
            {"schema": ["UID"], "data": [["1"]]},
            {"schema": ["PAGEUID"], "data": [["1"]], "app_ids": ["1"]},
        ],
        ids=str,
    )
    def test_malformed(self, payload: object) -> None:
        """A missing or malformed payload is code 100 and leaves no trace."""
        desk = Desk()
        audience = desk.audience()
        heard = desk.ask("POST", f"{audience}/users", payload=payload)

        assert (400, 100) == (heard.status, heard.error[0])
        assert 0 == desk.members(audience)

    @pytest.mark.parametrize("sent", [{"session_id": 0}, {"session_id": 1 << 63}, {"session_id": 1, "batch_seq": 0}, 5])
    def test_malformed_sessions(self, sent: object) -> None:
        """A session id is a positive 64-bit integer; batches count from 1."""
        desk = Desk()
        audience = desk.audience()

        assert (100, None) == desk.upload(audience, one(1), session=sent).error
        assert 0 == desk.members(audience)

    def test_too_many_rows(self) -> None:
        """10,000 rows are taken, one more is code 1/99 with HTTP 500."""
        desk = Desk("digests")
        audience = desk.audience()
        rows = [[hashed(number)] for number in range(10_001)]

        assert 200 == desk.upload(audience, rows[:-1]).status
        heard = desk.upload(audience, rows)
        assert (500, (1, 99)) == (heard.status, heard.error)
        assert 10_000 == desk.members(audience)

    @pytest.mark.parametrize(("first", "second"), [(("EMAIL",), "EMAIL_SHA256"), ("EMAIL_SHA256", ("EMAIL",))], ids=str)
    def test_styles_do_not_mix(self, first: Any, second: Any) -> None:
        """An audience filled in one style refuses the other with 2650."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, one(1), first)

        assert (2650, None) == desk.upload(audience, one(2), second).error

    def test_value_based(self) -> None:
        """A value-based audience needs the customer value column; zero is a value."""
        desk = Desk()
        audience = desk.audience(is_value_based="true")

        assert (100, None) == desk.upload(audience, one(1)).error
        assert 200 == desk.upload(audience, [[hashed(1), 0]], ("EMAIL", "LOOKALIKE_VALUE")).status

    def test_flagged(self) -> None:
        """A flagged audience takes no members: 100/1713230."""
        desk = Desk()
        audience = desk.audience()
        desk.world.audiences[audience].operation_status = 471

        assert (100, 1713230) == desk.upload(audience, one(1)).error

    def test_terms(self) -> None:
        """Without accepted terms nothing can be uploaded; the text carries the link; accepting them helps."""
        desk = Desk()
        audience = desk.audience()
        desk.world.accounts[desk.account.removeprefix("act_")].terms = False
        heard = desk.upload(audience, one(1))

        assert (200, 1870090) == heard.error
        assert "customaudiences/tos/?act=" in heard.json["error"]["error_user_msg"]

        terms = desk.ask("GET", f"{desk.account}/customaudiencestos").json["data"][0]["id"]
        desk.ask("POST", f"{desk.account}/customaudiencestos", tos_id=terms)

        assert 200 == desk.upload(audience, one(1)).status

    def test_unknown_audience(self) -> None:
        """No such audience, or one of somebody else: 100/33 either way."""
        desk = Desk()
        audience = desk.audience()
        stranger = desk.world.issue(desk.world.user("42").id, {"ads_management"}, 0).text

        assert (100, 33) == desk.upload("23859999999999999", one(1)).error
        assert (100, 33) == desk.upload(audience, one(1), access_token=stranger).error
        assert 0 == desk.members(audience)


class TestReplace:
    def begun(self) -> tuple[Desk, str]:
        """An audience of person 1, and a replace of which batch 1 (person 2) arrived."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, one(1))
        assert desk.upload(audience, one(2), edge="usersreplace", session=session()).status == 200
        return desk, audience

    def status(self, desk: Desk, audience: str) -> int:
        """The audience's operation status."""
        return int(desk.ask("GET", audience, fields="operation_status").json["operation_status"]["code"])

    def test_nothing_changes_before_the_end(self) -> None:
        """While it runs the old members stay and the status is 414; the last batch changes all at once."""
        desk, audience = self.begun()

        assert (414, [{"EMAIL": hashed(1)}]) == (self.status(desk, audience), desk.rows(audience))

        desk.upload(audience, one(3), edge="usersreplace", session=session(batch=2, last=True))

        assert 200 == self.status(desk, audience)
        assert [{"EMAIL": hashed(2)}, {"EMAIL": hashed(3)}] == desk.rows(audience)

    def test_one_batch_is_enough(self) -> None:
        """A replace may begin and end in one request."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, one(1))
        desk.upload(audience, one(2), edge="usersreplace", session=session(last=True))

        assert [{"EMAIL": hashed(2)}] == desk.rows(audience)

    def test_the_first_batch_must_be_first(self) -> None:
        """Batch 2 before batch 1 is 2650/1870147."""
        desk = Desk()

        heard = desk.upload(desk.audience(), one(1), edge="usersreplace", session=session(batch=2))

        assert (2650, 1870147) == heard.error

    def test_batches_may_come_in_any_order_and_again(self) -> None:
        """After batch 1 the order is free and repeats are harmless, except of batch 1."""
        desk, audience = self.begun()
        for batch in (5, 3, 3):
            assert desk.upload(audience, one(batch), edge="usersreplace", session=session(batch=batch)).status == 200

        assert (2650, 1870148) == desk.upload(audience, one(2), edge="usersreplace", session=session()).error

    def test_it_excludes_everything_else(self) -> None:
        """While a replace runs, adding, removing and a second replace are 2650/1870145."""
        desk, audience = self.begun()
        refused = [
            desk.upload(audience, one(4)),
            desk.upload(audience, one(1), method="DELETE"),
            desk.upload(audience, one(4), edge="usersreplace", session=session(8)),
        ]

        assert [(2650, 1870145)] * 3 == [heard.error for heard in refused]

    def test_the_schema_stays(self) -> None:
        """Another schema inside the session is refused."""
        desk, audience = self.begun()

        heard = desk.upload(audience, one(4), ("PHONE",), edge="usersreplace", session=session(batch=2))

        assert (2650, 1870148) == heard.error

    def test_a_finished_session_takes_no_more(self) -> None:
        """A batch after the last one is 2650/1870159; a new session may begin."""
        desk, audience = self.begun()
        desk.upload(audience, one(3), edge="usersreplace", session=session(batch=2, last=True))

        heard = desk.upload(audience, one(4), edge="usersreplace", session=session(batch=3))

        assert (2650, 1870159) == heard.error
        assert 200 == desk.upload(audience, one(5), edge="usersreplace", session=session(8)).status

    def test_ninety_minutes(self) -> None:
        """A batch in time is taken; 90 minutes after the first it closes with what arrived: later ones are 1870158."""
        desk, audience = self.begun()
        desk.passed += REPLACE_SECONDS - 1

        assert 200 == desk.upload(audience, one(3), edge="usersreplace", session=session(batch=2)).status

        desk.passed += 1
        heard = desk.upload(audience, one(4), edge="usersreplace", session=session(batch=3))

        assert (2650, 1870158) == heard.error
        assert [{"EMAIL": hashed(2)}, {"EMAIL": hashed(3)}] == desk.rows(audience)
        assert 200 == desk.upload(audience, one(1)).status

    def test_it_needs_a_session_and_a_list(self) -> None:
        """Without a session, or on an audience that is no customer list, it is code 100."""
        desk = Desk()
        website = desk.audience(subtype="WEBSITE", customer_file_source=None)

        assert (100, None) == desk.upload(desk.audience(), one(1), edge="usersreplace").error
        assert (100, None) == desk.upload(website, one(1), edge="usersreplace", session=session()).error


class TestLog:
    def test_an_upload_leaves_its_facts(self) -> None:
        """The log tells who, where, how many rows and in which session, and neither a token nor a person."""
        desk = Desk()
        audience = desk.audience()
        desk.upload(audience, [[hashed(1)], ["bad"]], session=session(9))
        line = desk.emulation.calls.since(1)[0]

        assert ("POST", f"/v26.0/{audience}/users", desk.account, audience) == (
            line.method,
            line.path,
            line.account,
            line.audience,
        )
        assert (2, 1, "9", 200, None) == (line.rows, line.invalid, line.session, line.status, line.code)
        assert desk.token not in repr(line)
        assert hashed(1) not in repr(line)
