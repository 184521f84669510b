"""What the Graph API is told and what its answers mean, on samples in the shape of recorded traffic."""

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.graph.errors import MAX_MESSAGE, redacted
from connector.graph.protocol import (
    MAX_SAMPLES,
    Answer,
    Credentials,
    Garbled,
    GraphRequest,
    MemberOperation,
    NoAnswer,
    RawAnswer,
    Refusal,
    Session,
    Success,
    debug_token,
    decipher,
    exchange_token,
    list_audiences,
    other_version,
    read_audience,
    session_id,
    users,
    users_reply,
)

SAMPLES = Path(__file__).parent.parent / "samples" / "graph"
CREDENTIALS = Credentials("a-token", "a-proof")
SESSION = Session(session_id=7, batch_seq=1, last=True, estimated_total=2)


def sample(name: str) -> RawAnswer:
    """A recorded answer as the client hands it over."""
    recorded = json.loads((SAMPLES / f"{name}.json").read_text())
    headers = {key.lower(): value for key, value in recorded["headers"].items()}
    return RawAnswer(recorded["status"], headers, recorded["body"].encode())


def deciphered(name: str) -> Answer:
    """What the recorded answer means."""
    return decipher(sample(name))


def sent(request: GraphRequest) -> dict[str, object]:
    """The JSON body as Meta reads it."""
    document: dict[str, object] = orjson.loads(b"".join(request.body(CREDENTIALS) or (b"{}",)))
    return document


class TestSecrets:
    def test_neither_token_nor_proof_is_shown(self) -> None:
        """Credentials in a log line or a traceback give nothing away."""
        assert "Credentials()" == repr(CREDENTIALS)

    @pytest.mark.parametrize(
        "request_",
        [debug_token("a-token"), exchange_token("1", "a-secret", "a-token")],
        ids=lambda request: request.operation,
    )
    def test_secrets_travel_in_the_body(self, request_: GraphRequest) -> None:
        """No secret stands in a path, a query or the request's text form."""
        shown = f"{request_.path} {request_.params} {request_!r}"

        assert "POST" == request_.method
        assert ("a-token" not in shown, "a-secret" not in shown) == (True, True)

    def test_a_payload_is_not_shown(self) -> None:
        """Hashed personal data does not get into a log by way of a request's text form."""
        request = users("1", MemberOperation.ADD, (b'{"schema":["EMAIL"],', b'"data":[["abc"]]}'), SESSION, 1)

        assert "abc" not in repr(request)


class TestRequests:
    @pytest.mark.parametrize(
        ("operation", "method"), [(MemberOperation.ADD, "POST"), (MemberOperation.REMOVE, "DELETE")]
    )
    def test_members_travel_in_the_body_whatever_the_method(self, operation: MemberOperation, method: str) -> None:
        """Payload, session and proof are members of one JSON body (a DELETE with them in its URL breaks)."""
        request = users("23850000000000001", operation, (b'{"schema":["EMAIL"],"data":[["h"],["i"]]}',), SESSION, 2)

        expected = {
            "session": {"session_id": 7, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": 2},
            "appsecret_proof": "a-proof",
            "payload": {"schema": ["EMAIL"], "data": [["h"], ["i"]]},
        }
        assert (method, "/23850000000000001/users", {}) == (request.method, request.path, request.params)
        assert expected == sent(request)

    def test_a_get_has_no_body(self) -> None:
        """What a GET asks for is in its query; the client adds the proof there."""
        request = read_audience("1")

        assert request.body(CREDENTIALS) is None
        assert "name" in request.params["fields"]

    def test_a_page_is_asked_for_by_its_cursor(self) -> None:
        """The first page has no cursor, the next one has the one Meta gave."""
        assert "after" not in list_audiences("act_1").params
        assert "cursor" == list_audiences("act_1", after="cursor").params["after"]

    def test_debug_token_is_a_get_in_meaning(self) -> None:
        """The method parameter tells Graph that the POST is a read."""
        assert {"input_token": "t", "method": "GET", "appsecret_proof": "a-proof"} == sent(debug_token("t"))

    def test_without_a_proof_none_is_sent(self) -> None:
        """The app's own token goes without."""
        body = debug_token("t").body(Credentials("app|secret"))

        assert body is not None
        assert "appsecret_proof" not in orjson.loads(b"".join(body))


class TestSessionIds:
    @given(st.lists(st.text() | st.integers(), min_size=1, max_size=5))
    def test_ids_are_positive_63_bit_and_repeatable(self, identity: list[object]) -> None:
        """Meta takes positive 64-bit integers, and a redelivered chunk names the same session."""
        first = session_id(*identity)

        assert 0 < first < 2**63
        assert first == session_id(*identity)

    def test_another_attempt_is_another_session(self) -> None:
        """Running totals of two attempts do not mix."""
        assert session_id("1/0/0", "2385", "add", 1) != session_id("1/0/0", "2385", "add", 2)


class TestDecipher:
    @pytest.mark.parametrize("name", ["users_added", "users_removed", "audience_created", "audiences_none"])
    def test_an_object_in_a_200_is_a_success(self, name: str) -> None:
        """Recorded good answers are understood."""
        answer = deciphered(name)

        assert isinstance(answer, Success)
        assert ("v26.0", "ARequestIdOfMeta") == (answer.meta.served_version, answer.meta.request_id)

    @pytest.mark.parametrize(
        ("name", "code", "subcode", "transient"),
        [
            ("token_expired", 190, 463, False),
            ("terms_missing", 200, 1870090, False),
            ("removal_too_small", 200, 1870047, False),
            ("oversized", 1, 99, False),
            ("transient", 2, None, True),
            ("error_in_200", 100, None, False),
            ("unknown_code", 987654, None, False),
        ],
    )
    def test_an_envelope_is_a_refusal_whatever_the_status(
        self, name: str, code: int, subcode: int | None, *, transient: bool
    ) -> None:
        """Code, subcode and is_transient come out; the HTTP status decides nothing."""
        answer = deciphered(name)

        assert isinstance(answer, Refusal)
        assert (code, subcode, transient) == (answer.error.code, answer.error.subcode, answer.error.is_transient)
        assert "ARequestIdOfMeta" == answer.error.fbtrace_id

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("html_503", "content type text/html"),
            ("html_200", "content type text/html"),
            ("json_as_text", "content type text/plain"),
            ("empty_500", "empty body"),
            ("cut_off", "not JSON, or cut off"),
            ("bare_true", "a JSON bool instead of an object"),
            ("error_without_code", "an error that is no envelope"),
            ("error_is_text", "an error that is no envelope"),
        ],
    )
    def test_anything_else_is_garbled(self, name: str, why: str) -> None:
        """HTML, nothing, half an answer or another type never pass for a success."""
        answer = deciphered(name)

        assert isinstance(answer, Garbled)
        assert why == answer.why

    def test_a_failing_status_is_never_a_success(self) -> None:
        """A good body under a 503 is not believed."""
        raw = sample("users_added")

        assert isinstance(decipher(RawAnswer(503, raw.headers, raw.body)), Garbled)

    @given(
        st.integers(100, 599), st.dictionaries(st.sampled_from(["content-type", "x-app-usage"]), st.text()), st.binary()
    )
    def test_no_answer_breaks_it(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answers are hostile input: whatever comes, there is a meaning and no exception, and noise is no success."""
        assert isinstance(decipher(RawAnswer(status, headers, body)), Garbled)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=12,
        ),
        st.integers(200, 599),
    )
    def test_no_error_value_passes_for_a_success(self, error: object, status: int) -> None:
        """Whatever stands under `error`, and whatever the status, nothing was delivered."""
        raw = RawAnswer(status, {"content-type": "application/json"}, orjson.dumps({"error": error}))

        assert isinstance(decipher(raw), Refusal | Garbled)

    @given(st.data())
    def test_no_part_of_a_good_answer_passes_for_it(self, data: st.DataObject) -> None:
        """Cut off anywhere, and with anything but JSON behind it, it is garbled."""
        raw = sample("users_added")
        end = data.draw(st.integers(0, len(raw.body) - 1))
        behind = data.draw(st.binary(min_size=1, max_size=9).filter(lambda noise: noise.strip(b" \t\r\n")))

        for body in (raw.body[:end], raw.body + behind):
            assert isinstance(decipher(RawAnswer(200, raw.headers, body)), Garbled)

    @given(
        st.integers(100, 599),
        st.dictionaries(
            st.sampled_from(
                [
                    "x-app-usage",
                    "x-ad-account-usage",
                    "x-business-use-case-usage",
                    "retry-after",
                    "date",
                    "facebook-api-version",
                    "x-ad-api-version-warning",
                    "x-fb-request-id",
                ]
            ),
            st.text(),
        ),
        st.binary()
        | st.sampled_from([b"[]", b"null", b"1e999", b'"ok"', b"true", b"[" * 5_000, b"{" * 5_000, b"\xff{}"]),
    )
    def test_noise_that_calls_itself_json_is_no_success(
        self, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        """Whatever stands in the headers and the body: a meaning, no exception, and no success but for an object."""
        answer = decipher(RawAnswer(status, {**headers, "content-type": "application/json"}, body), CREDENTIALS)

        assert isinstance(answer, Garbled) or isinstance(orjson.loads(body), dict)

    def test_an_upgrade_behind_our_back_is_visible(self) -> None:
        """A served version other than asked and Meta's warning are kept."""
        answer = deciphered("auto_upgraded")

        assert isinstance(answer, Success)
        assert "v27.0" == answer.meta.served_version
        assert "auto-upgraded" in (answer.meta.version_warning or "")

    @pytest.mark.parametrize(
        ("headers", "body", "served", "warned"),
        [
            ({"facebook-api-version": "v27.0"}, {}, "v27.0", False),
            ({"facebook-api-version": "v26.0", "x-ad-api-version-warning": "soon"}, {}, "v26.0", True),
            ({}, {"error": {"code": 2635}}, "", True),
        ],
        ids=["upgraded", "warned", "ended"],
    )
    def test_another_version_is_told(
        self, *, headers: dict[str, str], body: dict[str, object], served: str, warned: bool
    ) -> None:
        """Served otherwise than asked, a warning, or the end of the version: somebody has to raise a setting."""
        raw = RawAnswer(200, {"content-type": "application/json", **headers}, orjson.dumps(body))

        other = other_version(decipher(raw), "v26.0")

        assert other is not None
        assert (served, warned) == (other.served, other.warning is not None)

    @pytest.mark.parametrize(
        "answer", [NoAnswer("time-out", sent=True), deciphered("users_added")], ids=["none", "good"]
    )
    def test_the_version_asked_for_is_not_told(self, answer: Answer) -> None:
        """Nothing said, or what was asked for."""
        assert other_version(answer, "v26.0") is None


class TestRedaction:
    def test_meta_quotes_the_input_and_we_do_not(self) -> None:
        """Addresses, tokens and hashes in Meta's text are gone before an object holds it."""
        answer = deciphered("quotes_the_input")

        assert isinstance(answer, Refusal)
        for quoted in ("ada@", "not-a-token", "aaaa", "\n"):
            assert quoted not in answer.error.message

    def test_a_bare_token_is_hidden(self) -> None:
        """Customers' tokens are known by how they begin."""
        assert "Error with [redacted]" == redacted("Error with EAA" + "x" * 20)

    def test_the_credentials_of_the_call_are_hidden_whatever_they_look_like(self) -> None:
        """Meta may change how tokens look; ours is known."""
        body = {"error": {"code": 190, "message": "Malformed access token a-token with a-proof"}}
        raw = RawAnswer(400, {"content-type": "application/json"}, orjson.dumps(body))

        answer = decipher(raw, CREDENTIALS)

        assert isinstance(answer, Refusal)
        assert "Malformed access token [redacted] with [redacted]" == answer.error.message

    @given(st.text())
    def test_texts_are_short(self, text: str) -> None:
        """No text of Meta's floods a log."""
        assert len(redacted(text)) <= MAX_MESSAGE + 1


class TestUsersReply:
    @pytest.mark.parametrize("name", ["users_added", "users_samples_as_list", "users_session_as_number"])
    def test_ids_and_counts_are_read(self, name: str) -> None:
        """Both ways of writing ids and empty samples give the same reply."""
        answer = deciphered(name)
        assert isinstance(answer, Success)

        reply = users_reply(answer.document)

        assert reply is not None
        assert ("23850000000000001", "4611686018427387904") == (reply.audience_id, reply.session_id)
        assert (3, 0, ()) == (reply.received, reply.invalid, reply.samples)

    @pytest.mark.parametrize(
        ("name", "row"),
        [
            ("users_invalid_rows", ["0" * 64, "", "1" * 64, "", ""]),
            ("users_invalid_spaced", ["0" * 64, "", ""]),
        ],
    )
    def test_samples_are_rows_in_canonical_json(self, name: str, row: list[str]) -> None:
        """However Meta spaces the row, it compares equal to ours; and it is not shown."""
        answer = deciphered(name)
        assert isinstance(answer, Success)

        reply = users_reply(answer.document)

        assert reply is not None
        assert (orjson.dumps(row).decode(),) == reply.samples
        assert "0" * 64 not in repr(reply)

    @pytest.mark.parametrize(
        "change",
        [
            {"audience_id": None},
            {"audience_id": True},
            {"audience_id": ""},
            {"session_id": None},
            {"num_received": None},
            {"num_received": "3"},
            {"num_received": True},
            {"num_received": -1},
            {"num_invalid_entries": 1.5},
            {"invalid_entry_samples": "a text"},
            {"invalid_entry_samples": 7},
        ],
        ids=str,
    )
    def test_what_is_no_reply_is_none(self, change: dict[str, object]) -> None:
        """A reply that lacks or retypes a field is not interpreted: unknown is never success."""
        answer = deciphered("users_added")
        assert isinstance(answer, Success)

        assert users_reply({**answer.document, **change}) is None

    def test_samples_are_bounded(self) -> None:
        """An answer is not trusted to keep to a hundred samples."""
        answer = deciphered("users_added")
        assert isinstance(answer, Success)
        flood = {f'["{number}"]': "malformed" for number in range(MAX_SAMPLES + 50)}

        reply = users_reply({**answer.document, "invalid_entry_samples": flood})

        assert reply is not None
        assert MAX_SAMPLES == len(reply.samples)
