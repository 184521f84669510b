"""Log output: one JSON object a line (or columns for human eyes), the last step of which is redaction.

Redaction is the last fence, not the plan: nothing personal and no token should get here. Third-party loggers run
through the same chain, because it is their request dumps and URLs that leak.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from connector.runtime.settings import LogSettings

MAX_TEXT = 2_000
HIDDEN = "[redacted]"
DENIED_KEYS = re.compile(
    r"token|secret|password|authorization|appsecret|proof|cookie|signed_request|email|phone|\bdsn\b", re.IGNORECASE
)
PATTERNS = (
    (re.compile(r"EAA[A-Za-z0-9]{8,}"), HIDDEN),
    (
        re.compile(r"(access_token|appsecret_proof|input_token|client_secret|fb_exchange_token)=[^&\s\"']+"),
        rf"\1={HIDDEN}",
    ),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), HIDDEN),
    (re.compile(r"\b[0-9a-fA-F]{64}\b"), HIDDEN),
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"), HIDDEN),
    (re.compile(r"(postgresql[a-z+]*://[^:/\s]+):[^@\s]+@"), rf"\1:{HIDDEN}@"),
)


def redact_text(text: str) -> str:
    """*text* without anything that looks like a token, a hash of personal data, an address or a password."""
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def redact(value: Any) -> Any:
    """*value* with every text in it redacted, to any depth."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: HIDDEN if DENIED_KEYS.search(str(key)) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, bool | int | float | None):
        return value
    return redact_text(str(value))


def _redacting(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: HIDDEN if DENIED_KEYS.search(key) else redact(value) for key, value in event.items()}


def configure(settings: LogSettings, service: str) -> None:
    """Sends structlog and the standard library's loggers through one chain to standard error."""

    def name_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"service": service, **event}

    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redacting,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiokafka", "botocore", "aiobotocore", "faust", "mode", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
