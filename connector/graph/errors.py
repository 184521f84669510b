"""Meta's error envelope as a value, with its texts made fit to be shown. Pure.

There is no tree of exceptions: every answer is a value (`connector.graph.protocol`), and what an error means is a row
of the table in `connector.graph.verdicts`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_MESSAGE = 300
MAX_ID = 128


@dataclass(frozen=True)
class GraphError:
    """Meta's error envelope. Decisions use code, subcode and is_transient only, never the text."""

    code: int
    subcode: int | None
    kind: str
    is_transient: bool
    title: str
    message: str
    fbtrace_id: str | None

    @property
    def label(self) -> str:
        """`code` or `code/subcode`."""
        return f"{self.code}" if self.subcode is None else f"{self.code}/{self.subcode}"


def read_error(envelope: object, headers: Mapping[str, str], *quoted: str | None) -> GraphError | None:
    """The error under `error` of an answer, or None when it is no envelope.

    Args:
        envelope: What stands there.
        headers: Of the answer; the request id is the trace id of an error (observed in recorded traffic).
        quoted: Secrets of the call, which Meta may quote.
    """
    if not isinstance(envelope, dict) or not is_int(envelope.get("code")):
        return None
    subcode = envelope.get("error_subcode")
    return GraphError(
        code=envelope["code"],
        subcode=subcode if is_int(subcode) else None,
        kind=redacted(str(envelope.get("type", "")), *quoted),
        is_transient=envelope.get("is_transient") is True,
        title=redacted(str(envelope.get("error_user_title") or ""), *quoted),
        message=redacted(str(envelope.get("message") or ""), *quoted),
        fbtrace_id=short(envelope.get("fbtrace_id")) or short(headers.get("x-fb-request-id")),
    )


def is_int(value: object) -> bool:
    """Whether a JSON value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: object) -> str | None:
    """An id from an answer, bounded; None when it is no text or empty."""
    return value[:MAX_ID] if isinstance(value, str) and value else None


_SECRETS = (
    re.compile(r"EAA[A-Za-z0-9]{8,}"),
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),
    re.compile(r"[^\s\"'<>]+@[^\s\"'<>]+"),
    re.compile(r"(?:access_token|appsecret_proof|input_token|client_secret)=[^&\s\"']+"),
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redacted(text: str, *secrets: str | None) -> str:
    """Text from Meta as it may be shown: without tokens, hashes, addresses and *secrets*, and short.

    Errors do quote the input.
    """
    for secret in secrets:
        text = text.replace(secret, "[redacted]") if secret else text
    text = _UNPRINTABLE.sub(" ", text)  # a line break would let Meta's text pose as a log line of ours
    for pattern in _SECRETS:
        text = pattern.sub("[redacted]", text)
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"
