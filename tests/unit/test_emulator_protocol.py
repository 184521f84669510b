"""The emulator reads the same call out of every encoding Meta's clients use."""

from urllib.parse import urlencode

import orjson
import pytest

from emulator.fields import cursor_of, page, parse_fields
from emulator.protocol import Params, body_params, build_call, query_params, served_version, split_path
from emulator.refusals import Refusal

PAYLOAD = {"schema": ["EMAIL", "FN"], "data": [["a" * 64, ""]]}
SESSION = {"session_id": 7, "batch_seq": 1, "last_batch_flag": True}


def multipart(values: dict[str, str], boundary: str = "----b") -> tuple[str, bytes]:
    """A multipart body as the Java SDK writes it: no file names, no types of the parts."""
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in values.items()]
    return f"multipart/form-data; boundary={boundary}", ("".join(parts) + f"--{boundary}--\r\n").encode()


def texts() -> dict[str, str]:
    """The parameters as forms carry them: nested values are JSON text."""
    return {"payload": orjson.dumps(PAYLOAD).decode(), "session": orjson.dumps(SESSION).decode(), "name": "Łódź & co"}


class TestEncodings:
    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", orjson.dumps({"payload": PAYLOAD, "session": SESSION, "name": "Łódź & co"})),
            ("application/json; charset=utf-8", orjson.dumps(texts())),
            ("application/x-www-form-urlencoded", urlencode(texts()).encode()),
            ("", urlencode(texts()).encode()),
            multipart(texts()),
        ],
        ids=["json", "json of texts", "form", "untyped form", "multipart"],
    )
    def test_bodies(self, content_type: str, body: bytes) -> None:
        """Every body encoding yields the same payload, session and text."""
        params = Params(body_params(content_type, body))

        assert PAYLOAD == params.structure("payload")
        assert SESSION == params.structure("session")
        assert "Łódź & co" == params.text("name")

    def test_query(self) -> None:
        """A payload in the query is read as one in a body."""
        assert PAYLOAD == Params(query_params(urlencode(texts()))).structure("payload")

    def test_a_repeated_query_key_is_no_error(self) -> None:
        """The Java SDK repeats appsecret_proof in the links it follows; the last value counts."""
        assert {"appsecret_proof": "b"} == query_params("appsecret_proof=a&appsecret_proof=b")

    @pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "multipart/x"])
    def test_an_empty_body_has_no_parameters(self, content_type: str) -> None:
        """SDKs send typed but empty bodies with GET."""
        assert {} == body_params(content_type, b"")

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b"{"),
            ("application/json", b"[1]"),
            ("application/x-www-form-urlencoded", b"name=\xff"),
            ("multipart/form-data", b"x"),
            ("multipart/form-data; boundary=b", b"--b\r\nno name\r\n\r\nx\r\n--b--"),
            ("multipart/form-data; boundary=b", b'--b\r\nx; name="a"\r\n\r\n1'),
        ],
        ids=["half json", "json array", "bad utf-8", "no boundary", "nameless part", "unclosed multipart"],
    )
    def test_rubbish_is_refused(self, content_type: str, body: bytes) -> None:
        """A body that is not what its type says is code 100, never an empty set of parameters."""
        with pytest.raises(Refusal) as refused:
            body_params(content_type, body)

        assert 100 == refused.value.code

    @pytest.mark.parametrize(
        ("sent", "read"), [("true", True), ("1", True), (True, True), ("false", False), (0, False)]
    )
    def test_booleans(self, sent: object, read: bool) -> None:  # noqa: FBT001 - a table column
        """Booleans travel as text in forms and as themselves in JSON."""
        assert read is Params({"flag": sent}).flag("flag")


class TestCalls:
    def test_post_with_method_delete_is_a_delete(self) -> None:
        """Graph lets a POST say what it means."""
        assert "DELETE" == build_call("POST", "/v26.0/1/users", {"method": "delete"}).method

    def test_get_cannot_be_overridden(self) -> None:
        """A GET stays one, or a link could delete."""
        assert "GET" == build_call("GET", "/v26.0/1", {"method": "delete"}).method

    @pytest.mark.parametrize(
        ("params", "authorization"),
        [({"access_token": "t"}, ""), ({}, "Bearer t"), ({}, "bearer  t"), ({"access_token": "t"}, "Bearer other")],
        ids=["parameter", "header", "odd header", "parameter wins"],
    )
    def test_token(self, params: dict[str, object], authorization: str) -> None:
        """The token is taken from the parameters or from the Authorization header."""
        assert "t" == build_call("GET", "/v26.0/me", params, authorization=authorization).token

    @pytest.mark.parametrize(
        ("path", "version", "segments"),
        [
            ("/v26.0/act_1/customaudiences", 26, ("act_1", "customaudiences")),
            ("/v26.0//", 26, ()),
            ("/v26.0/12/", 26, ("12",)),
            ("/oauth/access_token", None, ("oauth", "access_token")),
            ("/v24.0", 24, ()),
        ],
    )
    def test_paths(self, path: str, version: int | None, segments: tuple[str, ...]) -> None:
        """Double and trailing slashes, which SDKs send, do not matter."""
        assert (version, segments) == split_path(path)

    def test_an_expired_version_is_served_by_the_next(self) -> None:
        """v24 ended in October 2026; its calls are upgraded, and the answer says so."""
        version, warning = served_version(24)

        assert 25 == version
        assert warning is not None
        assert "v25.0" in warning
        assert (26, None) == served_version(26)


class TestFields:
    def test_nested(self) -> None:
        """Fields of fields are asked for in braces."""
        assert {"id": None, "business": {"id": None, "name": None}, "name": None} == parse_fields(
            "id, business{id,name},name"
        )

    @pytest.mark.parametrize("text", ["a{b", "a}", "{a}", "a;b", "a{b}}"])
    def test_syntax(self, text: str) -> None:
        """Unbalanced or foreign signs are refused."""
        with pytest.raises(Refusal):
            parse_fields(text)


class TestPages:
    IDS = ("9", "7", "5", "3", "1")

    def ids_of(self, **params: object) -> tuple[list[object], bool]:
        """Ids on the page asked for, and whether a next one is announced."""
        call = build_call("GET", "/v26.0/act_1/customaudiences", params, origin="http://h")
        answer = page(call, self.IDS, lambda one: {"id": one}, descending=True)
        return [one["id"] for one in answer.data], "next" in (answer.paging or {})

    def test_walk(self) -> None:
        """Following the cursor visits everything once; the last page announces no next."""
        assert (["9", "7"], True) == self.ids_of(limit=2)
        assert (["5", "3"], True) == self.ids_of(limit=2, after=cursor_of("7"))
        assert (["1"], False) == self.ids_of(limit=2, after=cursor_of("3"))

    def test_a_cursor_at_the_end_yields_nothing(self) -> None:
        """The Java SDK asks once more after the last page; starting over would loop it for ever."""
        assert ([], False) == self.ids_of(after=cursor_of("1"))

    def test_a_cursor_survives_the_deletion_of_its_item(self) -> None:
        """The walk goes on where the deleted item stood."""
        assert (["5", "3", "1"], False) == self.ids_of(after=cursor_of("6"))

    def test_backwards(self) -> None:
        """`before` gives the page in front of the cursor."""
        assert (["9", "7"], True) == self.ids_of(limit=2, before=cursor_of("5"))

    def test_an_empty_list_has_no_paging(self) -> None:
        """As observed: `{"data": []}` and nothing else."""
        call = build_call("GET", "/x", {})

        assert {"data": []} == page(call, (), lambda one: {"id": one}).answer()

    def test_next_carries_the_token(self) -> None:
        """SDKs fetch `next` verbatim, so it has to work as it stands."""
        call = build_call("GET", "/v26.0/me/adaccounts", {"access_token": "t", "limit": "1"}, origin="http://h")
        paging = page(call, ("1", "2"), lambda one: {"id": one}).paging

        assert paging is not None
        expected = urlencode({"access_token": "t", "limit": "1", "after": cursor_of("1")})
        assert f"http://h/v26.0/me/adaccounts?{expected}" == paging["next"]

    @pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "x"}, {"after": "?"}])
    def test_malformed(self, params: dict[str, object]) -> None:
        """A malformed limit or cursor is code 100, not the first page again."""
        with pytest.raises(Refusal):
            self.ids_of(**params)
