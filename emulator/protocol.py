"""Pure: the bytes of an HTTP request become a Graph call, whatever encoding the client prefers.

Meta's own clients send the same parameters in four ways (query, urlencoded form, multipart form, JSON), nested
values being JSON text in all but the last; observed traffic of the Python, Java and Node SDKs and of the Data File
Uploader is what this module accepts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

import orjson

from emulator.refusals import Refusal, invalid_parameter

OLDEST_SERVED = 24
NEWEST_KNOWN = 26
RETIRED = {24: 25}
"""Expired Marketing versions that are silently served by the next one (Meta reference: versioning)."""

_VERSION = re.compile(r"v(\d+)\.(\d+)")
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_PART_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_OVERRIDES = frozenset({"GET", "POST", "DELETE"})


class Params:
    """The parameters of a call, read by the type the reader wants rather than the encoding they came in."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = dict(values)

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def structure(self, name: str) -> object:
        """The value as JSON: text is parsed, anything else is returned as it is; `None` when absent.

        Raises:
            Refusal: Code 100, the text is not JSON.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise invalid_parameter(f"Param {name} must be valid JSON") from error

    def text(self, name: str) -> str | None:
        """The value as text: numbers and structures as their JSON; `None` when absent."""
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        return orjson.dumps(value).decode()

    def flag(self, name: str) -> bool | None:
        """The value as a boolean, forms having sent `true`, `false`, `1` or `0`; `None` when absent.

        Raises:
            Refusal: Code 100, it is something else.
        """
        text = self.text(name)
        if text is None:
            return None
        if text.lower() in {"true", "1"}:
            return True
        if text.lower() in {"false", "0", ""}:
            return False
        raise invalid_parameter(f"Param {name} must be a boolean")

    def integer(self, name: str) -> int | None:
        """The value as an integer; `None` when absent.

        Raises:
            Refusal: Code 100, it is not one.
        """
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"-?\d{1,19}", text):
            raise invalid_parameter(f"Param {name} must be an integer")
        return int(text)

    def required(self, name: str) -> str:
        """The value as text.

        Raises:
            Refusal: Code 100, it is absent or empty.
        """
        text = self.text(name)
        if not text:
            raise invalid_parameter(f"The parameter {name} is required.")
        return text


@dataclass(slots=True)
class Facts:
    """What became known about a call while it was served, for its line in the log of calls."""

    account: str | None = None
    audience: str | None = None
    rows: int = 0
    invalid: int = 0
    session: str | None = None


@dataclass(slots=True)
class Call:
    """One Graph call.

    Attributes:
        method: What the call means: `POST` with `method=DELETE` is a `DELETE`.
        path: As received, without the query.
        version: Major version asked for, or `None` when the path names none.
        segments: The path after the version, empty segments dropped (SDKs send double and trailing slashes).
        params: Query and body together; the body wins.
        token: From the parameters or the `Authorization` header.
        origin: Scheme and authority the client used, for the links of a list.
        facts: Filled in while the call is served.
    """

    method: str
    path: str
    version: int | None
    segments: tuple[str, ...]
    params: Params
    token: str | None
    origin: str
    facts: Facts = field(default_factory=Facts)


def split_path(path: str) -> tuple[int | None, tuple[str, ...]]:
    """The major version (or `None`) and the remaining segments of a path, percent-decoded."""
    segments = tuple(unquote(segment) for segment in path.split("/") if segment)
    if segments and (match := _VERSION.fullmatch(segments[0])):
        return int(match[1]), segments[1:]
    return None, segments


def served_version(version: int | None) -> tuple[int, str | None]:
    """The version that really serves a call, and the text of `X-Ad-Api-Version-Warning` if it is another one."""
    if version is None:
        return NEWEST_KNOWN, None
    newer = RETIRED.get(version)
    if newer is None:
        return version, None
    return newer, f"The call has been auto-upgraded to v{newer}.0 as v{version}.0 has been deprecated."


def query_params(query: str) -> dict[str, object]:
    """Parameters of a query string or a urlencoded body; of a repeated name the last value counts."""
    return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=10_000))


def body_params(content_type: str, body: bytes) -> dict[str, object]:
    """Parameters in a request body.

    Args:
        content_type: The header as sent; without one a body is taken for a form, as Graph does.
        body: The raw bytes; empty bodies have no parameters whatever their type (SDKs send typed empty bodies).

    Raises:
        Refusal: Code 100, the body is not what its type says.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return {}
    if kind == "application/json":
        return json_params(body)
    if kind == "multipart/form-data":
        return multipart_params(content_type, body)
    try:
        return query_params(body.decode())
    except ValueError as error:
        raise invalid_parameter("The form body cannot be decoded") from error


def json_params(body: bytes) -> dict[str, object]:
    """Parameters of a JSON body.

    Raises:
        Refusal: Code 100, it is no JSON object.
    """
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid_parameter("The JSON body cannot be parsed") from error
    if not isinstance(values, dict):
        raise invalid_parameter("The JSON body must be an object")
    return values


def multipart_params(content_type: str, body: bytes) -> dict[str, object]:
    """Parameters of a multipart form: UTF-8 parts without file names (observed: the Java SDK).

    Raises:
        Refusal: Code 100, there is no boundary or a part has no name.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise invalid_parameter("The multipart body has no boundary")
    params: dict[str, object] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:]:
        if part.startswith(b"--"):
            return params
        head, _, value = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        if name is None:
            raise invalid_parameter("A part of the multipart body has no name")
        params[name[1].decode(errors="replace")] = value.decode(errors="replace")
    raise invalid_parameter("The multipart body ends without its closing boundary")


def build_call(
    method: str, path: str, params: Mapping[str, object], *, authorization: str = "", origin: str = ""
) -> Call:
    """Put together what the client sent.

    Args:
        method: The HTTP method.
        path: Path without query.
        params: Query and body parameters merged, the body winning.
        authorization: The `Authorization` header, for a bearer token.
        origin: Scheme and authority, for links.
    """
    version, segments = split_path(path)
    values = Params(params)
    override = (values.text("method") or "").upper()
    scheme, _, bearer = authorization.partition(" ")
    token = values.text("access_token") or (bearer.strip() if scheme.lower() == "bearer" else "")
    return Call(
        method=override if method == "POST" and override in _OVERRIDES else method,
        path=path,
        version=version,
        segments=segments,
        params=values,
        token=token or None,
        origin=origin,
    )


def check_version(call: Call, *, marketing: bool) -> None:
    """Refuse versions that are gone, and Marketing calls without one (Meta reference: versioning).

    Raises:
        Refusal: Code 2635.
    """
    if call.version is None and not marketing:
        return
    if call.version is None or call.version < OLDEST_SERVED:
        asked = "no version" if call.version is None else f"v{call.version}.0"
        raise Refusal(
            2635,
            f"You are calling a deprecated version of the Ads API ({asked}). Please update to the latest version: "
            f"v{NEWEST_KNOWN}.0.",
        )
