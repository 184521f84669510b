"""Everything we know about talking to the Graph API, without a socket: requests as values, answers deciphered. Pure.

A call is `request → RawAnswer → decipher → Success | Refusal | Garbled`; when none came the client says `NoAnswer`.
What a refusal means is decided in `connector.graph.verdicts`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import orjson

from connector.graph.errors import MAX_ID, GraphError, is_int, read_error, redacted, short
from connector.graph.usage import Usage, usage

MAX_SAMPLES = 1_000


@dataclass(frozen=True)
class Credentials:
    """A customer's token and its proof (hex HMAC-SHA256 of the token with the app secret; Meta: securing requests)."""

    token: str = field(repr=False)
    proof: str | None = field(default=None, repr=False)


def _nothing() -> None:
    """Nobody wants to know."""


Pieces = tuple[bytes, ...]
"""Bytes one after another."""


class Once:
    """Bytes that are given away once: whoever sends them lets go of them, while the answer takes its time.

    Kept until the answer, the bodies of sixteen calls are 120 MB that nobody needs any more.
    """

    def __init__(self, value: Pieces) -> None:
        self._value: Pieces | None = value

    def take(self) -> Pieces:
        """The bytes.

        Raises:
            RuntimeError: They were taken before: a request is sent once, another attempt makes another one.
        """
        value, self._value = self._value, None
        if value is None:
            raise RuntimeError("the body was sent already")
        return value


@dataclass(frozen=True)
class GraphRequest:
    """A call: `operation` is a bounded label for metrics, `path` is below the version, `document` the JSON body.

    `raw` holds already encoded members of the body (a payload of 10,000 rows is encoded once, column-wise, not again).
    With such a member the body can be taken once; `sent` is called when it was written, or will not be.
    """

    operation: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: Mapping[str, Once] = field(default_factory=dict, repr=False)
    rows: int = 0
    sent: Callable[[], None] = field(default=_nothing, repr=False, compare=False)

    def body(self, credentials: Credentials) -> Pieces | None:
        """The JSON body with the proof in it, or None for a GET (whose proof has to travel in the query).

        In pieces, one after another: joined, a payload of six megabytes would lie in memory twice for as long as the
        call takes.
        """
        if self.method == "GET":
            return None
        members = dict(self.document)
        if credentials.proof is not None:
            members["appsecret_proof"] = credentials.proof
        encoded: list[tuple[str, Pieces]] = [(name, (orjson.dumps(value),)) for name, value in members.items()]
        encoded += [(name, value.take()) for name, value in self.raw.items()]
        pieces: list[bytes] = [b"{"]
        for number, (name, value) in enumerate(encoded):
            pieces += [b"," if number else b"", orjson.dumps(name), b":", *value]
        return (*pieces, b"}")


@dataclass(frozen=True)
class RawAnswer:
    """An HTTP answer as it came: header names in lower case. Neither headers nor body are shown: they may quote us."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Meta:
    """What came with an answer: usage, the version that really served it, and the ids Meta's support asks for.

    `request_id` is also the `fbtrace_id` of an error (observed in recorded traffic); `trace_id` is a shorter one.
    """

    status: int
    usage: Usage
    served_version: str | None = None
    version_warning: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    revision: str | None = None
    debug: str | None = None


@dataclass(frozen=True)
class Success:
    """A 2xx answer with a JSON object that is no error."""

    document: Mapping[str, Any] = field(repr=False)
    meta: Meta


@dataclass(frozen=True)
class Refusal:
    """An error envelope, whatever the HTTP status (a 200 with an error body is one too)."""

    error: GraphError
    meta: Meta


@dataclass(frozen=True)
class Garbled:
    """Not an answer of the Graph API: HTML, empty, cut off, not JSON. Never a success."""

    why: str
    meta: Meta


@dataclass(frozen=True)
class NoAnswer:
    """No complete answer came. With `sent`, the request may have had its effect."""

    why: str
    sent: bool


Answer = Success | Refusal | Garbled | NoAnswer


class MemberOperation(StrEnum):
    """What a `users` call does."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


@dataclass(frozen=True)
class Session:
    """An upload session: Meta counts received rows per session, `batch_seq` starts at 1; the total is optional."""

    session_id: int
    batch_seq: int
    last: bool
    estimated_total: int | None

    def document(self) -> dict[str, Any]:
        """As the `session` parameter (Meta's custom audience guide)."""
        total = {} if self.estimated_total is None else {"estimated_num_total": self.estimated_total}
        return {
            "session_id": self.session_id,
            "batch_seq": self.batch_seq,
            "last_batch_flag": self.last,
            **total,
        }


def session_id(*identity: object) -> int:
    """A positive 63-bit id derived from *identity*: a repeated delivery of the same batch names the same session."""
    digest = hashlib.sha256("/".join(map(str, identity)).encode()).digest()
    return (int.from_bytes(digest[:8]) >> 1) or 1


def users(audience_id: str, operation: MemberOperation, payload: Pieces, session: Session, rows: int) -> GraphRequest:
    """Adds or removes members, or replaces them all. The payload is in the body also for DELETE.

    In the URL it breaks the connection from about 1,500 e-mails on (python SDK issues 279 and 367).
    """
    return GraphRequest(
        operation=f"users_{operation}",
        method="DELETE" if operation is MemberOperation.REMOVE else "POST",
        path=f"/{audience_id}/{'usersreplace' if operation is MemberOperation.REPLACE else 'users'}",
        document={"session": session.document()},
        raw={"payload": Once(payload)},
        rows=rows,
    )


AUDIENCE_FIELDS = "id,name,account_id,subtype,customer_file_source,is_value_based,operation_status,delete_time"
ACCOUNT_FIELDS = "id,account_id,name,account_status,business,tos_accepted,user_tos_accepted"


def create_audience(ad_account_id: str, name: str, description: str, customer_file_source: str) -> GraphRequest:
    """Creates a customer list (subtype CUSTOM). There is no idempotency key: an unanswered one is found by listing."""
    document = {
        "name": name,
        "description": description,
        "subtype": "CUSTOM",
        "customer_file_source": customer_file_source,
    }
    return GraphRequest("audience_create", "POST", f"/{ad_account_id}/customaudiences", document=document)


def read_audience(audience_id: str) -> GraphRequest:
    """One audience with explicit fields (reading with the defaults is known to fail for some accounts)."""
    return GraphRequest("audience_read", "GET", f"/{audience_id}", {"fields": AUDIENCE_FIELDS})


def list_audiences(ad_account_id: str, after: str | None = None, limit: int = 100) -> GraphRequest:
    """A page of an account's audiences, newest first."""
    params = {
        "fields": "id,name,description,subtype,time_created",
        "limit": str(limit),
        **({"after": after} if after else {}),
    }
    return GraphRequest("audience_list", "GET", f"/{ad_account_id}/customaudiences", params)


def read_ad_account(ad_account_id: str) -> GraphRequest:
    """One ad account with what tells whether it can be delivered to."""
    return GraphRequest("account_read", "GET", f"/{ad_account_id}", {"fields": ACCOUNT_FIELDS})


def list_ad_accounts(after: str | None = None, limit: int = 100) -> GraphRequest:
    """A page of the user's ad accounts."""
    params = {"fields": ACCOUNT_FIELDS, "limit": str(limit), **({"after": after} if after else {})}
    return GraphRequest("account_list", "GET", "/me/adaccounts", params)


def read_me() -> GraphRequest:
    """Who the token belongs to."""
    return GraphRequest("me", "GET", "/me", {"fields": "id,name"})


def debug_token(token: str) -> GraphRequest:
    """What a token is worth. A GET sent as POST with `method=GET`, because the token must not stand in a URL.

    Graph takes the method from that parameter (observed with DELETE; Meta's older SDKs did so for every call). The
    credentials of this call are the app's own (`app_id|app_secret`), without a proof.
    """
    return GraphRequest("debug_token", "POST", "/debug_token", document={"input_token": token, "method": "GET"})


def exchange_token(app_id: str, app_secret: str, token: str) -> GraphRequest:
    """A long-lived token for a short-lived one; by POST, so that no secret stands in a URL."""
    document = {
        "grant_type": "fb_exchange_token",
        "client_id": app_id,
        "client_secret": app_secret,
        "fb_exchange_token": token,
    }
    return GraphRequest("token_exchange", "POST", "/oauth/access_token", document=document)


def decipher(raw: RawAnswer, credentials: Credentials | None = None) -> Success | Refusal | Garbled:
    """What an HTTP answer means.

    The body decides, not the status: an error envelope in a 200 is a refusal, HTML in a 200 is no success. With the
    *credentials* of the call, they are hidden wherever Meta quotes them, whatever tokens may look like by then.
    """
    quoted = (credentials.token, credentials.proof) if credentials else ()
    meta = Meta(
        status=raw.status,
        usage=usage(raw.headers),
        served_version=short(raw.headers.get("facebook-api-version")),
        version_warning=redacted(raw.headers["x-ad-api-version-warning"], *quoted)
        if "x-ad-api-version-warning" in raw.headers
        else None,
        request_id=short(raw.headers.get("x-fb-request-id")),
        trace_id=short(raw.headers.get("x-fb-trace-id")),
        revision=short(raw.headers.get("x-fb-rev")),
        debug=short(raw.headers.get("x-fb-debug")),
    )
    if not raw.body.strip():
        return Garbled("empty body", meta)
    content_type = raw.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in {"application/json", "text/javascript"}:
        return Garbled(f"content type {content_type[:60] or 'missing'}", meta)
    try:
        document = orjson.loads(raw.body)
    except orjson.JSONDecodeError:
        return Garbled("not JSON, or cut off", meta)
    if not isinstance(document, dict):
        return Garbled(f"a JSON {type(document).__name__} instead of an object", meta)
    if "error" in document:
        error = read_error(document["error"], raw.headers, *quoted)
        return Garbled("an error that is no envelope", meta) if error is None else Refusal(error, meta)
    if not 200 <= raw.status < 300:
        return Garbled(f"status {raw.status} without an error envelope", meta)
    return Success(document, meta)


VERSION_ENDED = 2635
"""Code of the refusal of a call in a version that has ended (Marketing API: versioning)."""


@dataclass(frozen=True)
class OtherVersion:
    """Meta served another version than asked for, or none any more, or warns that it will."""

    asked: str
    served: str
    warning: str | None


def other_version(answer: Answer, asked: str) -> OtherVersion | None:
    """What *answer* says about the version that was *asked* for; None when all is well, or nothing is said."""
    if isinstance(answer, NoAnswer):
        return None
    meta = answer.meta
    ended = isinstance(answer, Refusal) and answer.error.code == VERSION_ENDED
    warning = meta.version_warning or (f"code {VERSION_ENDED}: this version has ended" if ended else None)
    if warning is None and meta.served_version in {None, asked}:
        return None
    return OtherVersion(asked, meta.served_version or "", warning)


@dataclass(frozen=True)
class UsersReply:
    """What a `users` call answered. `samples` are the keys of `invalid_entry_samples`: JSON texts of invalid rows.

    They hold hashed personal data: compare them, never show them.
    """

    audience_id: str
    session_id: str
    received: int
    invalid: int
    samples: tuple[str, ...] = field(repr=False, default=())


def users_reply(document: Mapping[str, Any]) -> UsersReply | None:
    """The reply of a `users` call, or None when it is not one (never to be taken for a success).

    Ids are text on the wire; one of Meta's guides calls the session's an integer, so both are read. Samples are a map
    from row to reason, an empty one `{}` in recorded traffic and `[]` for users of PHP.
    """
    audience, session = _id(document.get("audience_id")), _id(document.get("session_id"))
    received, invalid = _count(document.get("num_received")), _count(document.get("num_invalid_entries"))
    samples = document.get("invalid_entry_samples") or {}
    if audience is None or session is None or received is None or invalid is None:
        return None
    if not isinstance(samples, dict | list):
        return None
    texts = tuple(_sample(text) for text in islice(samples, MAX_SAMPLES))
    return UsersReply(audience, session, received, invalid, texts)


def _id(value: object) -> str | None:
    if isinstance(value, str):
        return value if 0 < len(value) <= MAX_ID else None
    return str(value) if is_int(value) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _sample(text: object) -> str:
    """A sample as the canonical JSON of its row: compact separators, whatever spaces Meta put in."""
    if not isinstance(text, str):
        return json.dumps(text, separators=(",", ":"), ensure_ascii=False)
    try:
        return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return text
