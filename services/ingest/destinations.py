"""Asking auth where a delivery goes: profile to ad account, audience found or created once.

`decipher` is the pure half: what an answer means for the delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import aiohttp
import orjson
from pydantic import BaseModel, StringConstraints, ValidationError

from connector.runtime.identity import ServiceSigner
from schemas.events import AdAccountId, AudienceId, DeliveryRequested, Reason
from services.ingest.patience import TryLater
from services.ingest.plan import Destination, reason

AUTH = "auth"
MAX_ANSWER = 256 * 1024
MAX_RETRY_AFTER = 3_600.0


@dataclass(frozen=True)
class Refused:
    """The delivery can never go there as it is."""

    reason: Reason


@dataclass(frozen=True)
class Waits:
    """The delivery can go there once a person did something; the reason's advice says what."""

    reason: Reason


Answer = Destination | Refused | Waits


class _Resolved(BaseModel):
    profile_id: UUID
    ad_account_id: AdAccountId
    audience_id: AudienceId
    value_based: bool = False


class _Problem(BaseModel):
    code: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    message: str
    advice: str = ""


class _Failure(BaseModel):
    error: _Problem


REFUSALS = {
    (404, "unknown_profile"),
    (403, "wrong_company"),
    (422, "audience_not_found"),
    (422, "audience_of_other_account"),
    (422, "audience_not_custom"),
    (422, "audience_name_refused"),
    (422, "invalid_request"),
}
"""Answers that stay the same until upstream or the customer changes what was asked for."""

WAITS_STATUS = 409
"""Auth's word for what a person has to do first, at Meta or with us: its code and advice say what."""


def decipher(profile_id: UUID, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """What auth's answer about *profile_id* means.

    Raises:
        TryLater: It is busy, broken, does not know us, or said what nobody recognises: never taken for a yes or a no.
    """
    if status == 200:
        return _resolved(profile_id, body)
    problem = _problem(body)
    if problem is not None and (status, problem.code) in REFUSALS:
        return Refused(reason(problem.code, problem.message, problem.advice or None))
    if problem is not None and status == WAITS_STATUS:
        return Waits(reason(problem.code, problem.message, problem.advice or None))
    code = problem.code if problem is not None else "unreadable"
    raise TryLater("auth_unavailable", f"auth answered {status} ({code})", _retry_after(headers))


def _resolved(profile_id: UUID, body: bytes) -> Destination:
    try:
        answer = _Resolved.model_validate_json(body)
    except ValidationError:
        raise TryLater("auth_unavailable", "auth answered 200 without a destination") from None
    if answer.profile_id != profile_id:
        raise TryLater("auth_unavailable", "auth answered about another profile")
    return Destination(answer.ad_account_id, answer.audience_id, answer.value_based)


def _problem(body: bytes) -> _Problem | None:
    try:
        return _Failure.model_validate_json(body).error
    except ValidationError:
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in `Retry-After`; a date, which auth does not send, is left out."""
    value = headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else None


def question(event: DeliveryRequested) -> bytes:
    """The body of the request: who wants to deliver where."""
    document: dict[str, object] = {
        "profile_id": str(event.profile_id),
        "company_id": event.company_id,
        "origin": event.origin,
    }
    if event.quick_settings.audience_id is not None:
        document["audience_id"] = event.quick_settings.audience_id
    if event.quick_settings.audience_name is not None:
        document["audience_name"] = event.quick_settings.audience_name
    return orjson.dumps(document)


class Destinations:
    """Auth's `POST /internal/v1/destinations`, called with ingest's identity."""

    def __init__(self, session: aiohttp.ClientSession, url: str, signer: ServiceSigner) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/internal/v1/destinations"
        self._signer = signer

    async def resolve(self, event: DeliveryRequested) -> Answer:
        """Where *event* goes. Asking again gives the same answer: auth creates an audience once.

        Raises:
            TryLater: Auth could not be asked, or could not say.
        """
        headers = {**self._signer.headers(AUTH), "Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._url, data=question(event), headers=headers, allow_redirects=False
            ) as answer:
                body = await _read(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TryLater("auth_unavailable", f"auth could not be asked: {type(error).__name__}") from error
        return decipher(event.profile_id, answer.status, answer.headers, body)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, as far as anybody needs it: what is longer will not decipher, and must not fill our memory."""
    body = b""
    async for block in answer.content.iter_chunked(64 * 1024):
        body += block
        if len(body) > MAX_ANSWER:
            break
    return body
