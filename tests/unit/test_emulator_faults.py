"""Scripted faults: matched, skipped, counted and ended exactly as written."""

from typing import Any

import pytest

from emulator.faults import Faults
from emulator.protocol import Call, build_call
from emulator.shapes import Malformed
from emulator.world import digest_of
from tests.unit.emulator_parts import Desk, hashed

ANSWER = {"code": 2}


def call(method: str = "POST", path: str = "/v26.0/55/users", account: str = "1", audience: str = "55") -> Call:
    """A call on audience 55 of ad account 1, made with the token `t`."""
    payload = {"schema": ["EMAIL", "FN"], "data": [["e1", "f1"], ["e2", ""]]}
    made = build_call(method, path, {"access_token": "t", "payload": payload})
    made.facts.account, made.facts.audience = account, audience
    return made


class TestMatching:
    @pytest.mark.parametrize(
        "match",
        [
            {},
            {"method": "post"},
            {"path": "/users"},
            {"path": "/v26.0/55/users"},
            {"path": "/*/users"},
            {"path": "/v26.0/[0-9]*/users"},
            {"account": "act_1"},
            {"account": "1"},
            {"audience": "55"},
            {"token": "t"},
            {"token": digest_of("t")},
            {"cell": "e2"},
            {"method": "POST", "path": "/users", "account": "1", "audience": "55", "token": "t"},
        ],
        ids=str,
    )
    def test_meant(self, match: dict[str, str]) -> None:
        """Each of these means the call."""
        faults = Faults()
        faults.add({"match": match, "answer": ANSWER})

        assert faults.take(call()) is not None

    @pytest.mark.parametrize(
        "match",
        [
            {"method": "DELETE"},
            {"path": "/usersreplace"},
            {"path": "/users*x"},
            {"account": "2"},
            {"audience": "5"},
            {"token": "T"},
            {"cell": "e3"},
            {"cell": "EMAIL"},
            {"method": "POST", "audience": "56"},
        ],
        ids=str,
    )
    def test_not_meant(self, match: dict[str, str]) -> None:
        """None of these means the call; every named thing has to fit."""
        faults = Faults()
        faults.add({"match": match, "answer": ANSWER})

        assert faults.take(call()) is None


class TestCounting:
    def fired(self, definition: dict[str, Any], calls: int) -> list[bool]:
        """Which of so many matching calls the fault fires for."""
        faults = Faults()
        faults.add({"answer": ANSWER, **definition})
        return [faults.take(call()) is not None for _ in range(calls)]

    def test_once_by_default(self) -> None:
        """A fault without `times` fires for the next call alone."""
        assert [True, False, False] == self.fired({}, 3)

    def test_times_and_after(self) -> None:
        """`after` calls are left alone, then it fires `times` times."""
        assert [False, False, True, True, False] == self.fired({"after": 2, "times": 2}, 5)

    def test_without_end(self) -> None:
        """`times: null` fires until it is deleted."""
        assert [True] * 4 == self.fired({"times": None}, 4)

    def test_first_defined_fires_first(self) -> None:
        """Of two faults for the same call, the older one fires, then the younger."""
        faults = Faults()
        ids = [faults.add({"answer": ANSWER}).id for _ in range(2)]
        fired = [faults.take(call()), faults.take(call())]

        assert ids == [fault.id for fault in fired if fault]

    def test_removal(self) -> None:
        """A removed fault fires no more; ids are not used again."""
        faults = Faults()
        first = faults.add({"answer": ANSWER})

        assert faults.remove(first.id)
        assert not faults.remove(first.id)
        assert faults.take(call()) is None
        assert first.id != faults.add({"answer": ANSWER}).id


class TestDefinitions:
    @pytest.mark.parametrize(
        "definition",
        [
            [],
            {},
            {"answer": {}},
            {"answer": {"code": "2"}},
            {"answer": {"code": True}},
            {"answer": {"cod": 2}},
            {"answer": ANSWER, "matches": {}},
            {"answer": ANSWER, "match": {"acount": "1"}},
            {"answer": ANSWER, "times": -1},
            {"answer": {"reset": "during"}},
            {"answer": {"status": 99}},
            {"answer": {"delay_ms": 10**9}},
            {"answer": {"headers": {"a": "b\r\nc: d"}}},
        ],
        ids=str,
    )
    def test_a_mistake_is_refused(self, definition: object) -> None:
        """A misspelt fault would silently test nothing, so it is not accepted."""
        with pytest.raises(Malformed):
            Faults().add(definition)

    def test_a_token_is_shown_by_its_digest(self) -> None:
        """The listing of faults must not give a token away."""
        shown = Faults().add({"match": {"token": "a-secret-token"}, "answer": ANSWER}).shown()

        assert {"token": digest_of("a-secret-token")} == shown["match"]


class TestEffects:
    def scripted(self, answer: dict[str, Any]) -> tuple[Any, int, Any]:
        """The reply to an upload of one row under a scripted answer, the members after it, and its line of the log."""
        desk = Desk()
        audience = desk.audience()
        desk.emulation.faults.add({"match": {"path": "/users"}, "answer": answer})
        payload = {"schema": ["EMAIL"], "data": [[hashed(1)]]}
        reply = desk.reply("POST", f"/v26.0/{audience}/users", payload=payload)
        return reply, desk.members(audience), desk.emulation.calls.since(0)[-1]

    def test_an_error_has_no_effect(self) -> None:
        """A scripted code answers in place of the upload, with the envelope and the status the code has."""
        reply, members, line = self.scripted({"code": 1, "subcode": 99})

        assert (500, 0) == (reply.answer.status, members)
        assert (500, 1, 99) == (line.status, line.code, line.subcode)

    def test_a_throttle_says_when_to_come_back(self) -> None:
        """A scripted 80003 carries the business-use-case header with a time to wait."""
        reply, _, _ = self.scripted({"code": 80003, "subcode": 2446079})

        assert 400 == reply.answer.status
        assert '"estimated_time_to_regain_access":1' in reply.answer.headers["x-business-use-case-usage"]

    def test_html(self) -> None:
        """A text body goes out as HTML with the scripted status."""
        reply, members, line = self.scripted({"status": 503, "body": "<p>Service Unavailable</p>"})

        assert (503, b"<p>Service Unavailable</p>") == (reply.answer.status, reply.answer.body)
        assert reply.answer.content_type.startswith("text/html")
        assert (0, 503, None) == (members, line.status, line.code)

    @pytest.mark.parametrize(
        ("answer", "members", "reset", "truncate"),
        [
            ({"reset": "before"}, 0, True, None),
            ({"reset": "after"}, 1, True, None),
            ({"truncate": 5}, 1, False, 5),
        ],
    )
    def test_broken_connections(self, answer: dict[str, Any], members: int, reset: bool, truncate: int | None) -> None:  # noqa: FBT001 - a table column
        """A reset before leaves nothing; a reset after and half an answer leave the members; no status is logged."""
        reply, stored, line = self.scripted(answer)

        assert (members, reset, truncate, None) == (stored, reply.reset, reply.truncate, line.status)

    def test_a_hang_has_no_effect(self) -> None:
        """A call that is never answered did not happen."""
        reply, members, line = self.scripted({"hang": True})

        assert (True, 0, None) == (reply.hang, members, line.status)

    def test_delay_and_headers_keep_the_real_answer(self) -> None:
        """Delay and extra headers dress the real answer; the log names the fault."""
        reply, members, line = self.scripted({"delay_ms": 1500, "headers": {"Retry-After": "7"}})

        assert (1.5, "7", 1, 200) == (reply.delay_s, reply.answer.headers["Retry-After"], members, line.status)
        assert 1 == line.fault
