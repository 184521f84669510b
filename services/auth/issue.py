"""★ The lease: the only way a token leaves this process.

An uploader that is about to send a chunk asks for the token of a profile. It names everything it is about to do; auth
checks each of those names against its own tables, which no event can write to. So a defect that addresses records to a
stranger's audience has to happen twice, in two services, before anything leaves.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from pydantic import SecretStr

from connector.telemetry.facts import Telemetry
from schemas.events import ProfileStatus
from services.auth.audiences import AudienceLedger
from services.auth.facts import BindingRefused, LeaseIssued, LeaseRefused
from services.auth.profiles import Profile, Profiles
from services.auth.refusals import RECONNECT, Code, Refusal


@dataclass(frozen=True)
class LeaseRequest:
    """What a caller is about to do with the token."""

    profile_id: UUID
    company_id: int
    ad_account_id: str
    audience_id: str
    chunk_id: str


@dataclass(frozen=True)
class Lease:
    """A token and the proof that goes with it, good until `expires_at`."""

    id: UUID
    token: SecretStr
    proof: SecretStr
    expires_at: datetime


def appsecret_proof(app_secret: SecretStr, token: SecretStr) -> SecretStr:
    """What Meta wants to see beside a token: that its bearer also knows the app's secret.

    Hex HMAC-SHA256, key app secret, message access token (Meta reference: Securing Graph API Requests). Pure.
    """
    key, message = app_secret.get_secret_value().encode(), token.get_secret_value().encode()
    return SecretStr(hmac.new(key, message, hashlib.sha256).hexdigest())


def check_binding(profile: Profile, request: LeaseRequest, *, audience_known: bool) -> None:
    """Everything the caller named belongs together. Pure.

    Raises:
        Refusal: `wrong_company` or `binding_refused`.
    """
    if profile.company_id != request.company_id:
        raise Refusal(Code.WRONG_COMPANY, f"profile {profile.id} does not belong to company {request.company_id}")
    if profile.ad_account.id != request.ad_account_id:
        raise Refusal(Code.BINDING_REFUSED, f"profile {profile.id} does not deliver to {request.ad_account_id}")
    if not audience_known:
        raise Refusal(Code.BINDING_REFUSED, f"profile {profile.id} does not deliver to audience {request.audience_id}")


def check_usable(profile: Profile, now: datetime) -> None:
    """The profile may be delivered to, and its token is alive as far as we know. Pure.

    Raises:
        Refusal: `token_dead` or `profile_disabled`; the advice says who has to do what.
    """
    match profile.status:
        case ProfileStatus.CONNECTED:
            pass
        case ProfileStatus.TOKEN_DEAD:
            known = profile.reason.message if profile.reason else "Meta refused its token"
            raise Refusal(Code.TOKEN_DEAD, f"profile {profile.id} has no living token: {known}", RECONNECT)
        case ProfileStatus.DISABLED | ProfileStatus.ARCHIVED:
            raise Refusal(Code.PROFILE_DISABLED, f"profile {profile.id} is {profile.status.value}", "enable it first")
        case _:
            assert_never(profile.status)
    if profile.grant.expires_at is not None and profile.grant.expires_at <= now:
        raise Refusal(Code.TOKEN_DEAD, f"the token of profile {profile.id} expired", RECONNECT)


def lease_end(profile: Profile, now: datetime, ttl: timedelta) -> datetime:
    """When the lease ends: after *ttl*, or with the token. Pure."""
    end = now + ttl
    return end if profile.grant.expires_at is None else min(end, profile.grant.expires_at)


class LeaseDesk:
    """Issues leases and says so in the log, each time."""

    def __init__(
        self,
        profiles: Profiles,
        ledger: AudienceLedger,
        app_secret: SecretStr,
        telemetry: Telemetry,
        *,
        ttl: timedelta,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._profiles = profiles
        self._ledger = ledger
        self._app_secret = app_secret
        self._telemetry = telemetry
        self._ttl = ttl
        self._clock = clock
        self._new_id = new_id

    async def issue(self, caller: str, request: LeaseRequest) -> Lease:
        """Check the binding, decrypt, prove, answer.

        Raises:
            Refusal: `unknown_profile`, `wrong_company`, `binding_refused`, `token_dead` or `profile_disabled`.
        """
        now = self._clock()
        try:
            profile = await self._profiles.get(request.profile_id)
            known = await self._ledger.holds(profile, request.audience_id)
            check_binding(profile, request, audience_known=known)
            check_usable(profile, now)
        except Refusal as refusal:
            self._refused(caller, request, refusal)
            raise
        token = await self._profiles.token(profile)
        proof = appsecret_proof(self._app_secret, token)
        lease = Lease(self._new_id(), token, proof, lease_end(profile, now, self._ttl))
        self._issued(caller, request, lease)
        return lease

    def _issued(self, caller: str, request: LeaseRequest, lease: Lease) -> None:
        self._telemetry.emit(
            LeaseIssued(
                lease_id=str(lease.id),
                caller=caller,
                profile_id=str(request.profile_id),
                company_id=request.company_id,
                ad_account_id=request.ad_account_id,
                audience_id=request.audience_id,
                chunk_id=request.chunk_id,
                expires_at=lease.expires_at.isoformat(),
            )
        )

    def _refused(self, caller: str, request: LeaseRequest, refusal: Refusal) -> None:
        stranger = refusal.code in {Code.BINDING_REFUSED, Code.WRONG_COMPANY, Code.UNKNOWN_PROFILE}
        fact = BindingRefused if stranger else LeaseRefused
        self._telemetry.emit(fact(caller, str(request.profile_id), request.chunk_id, refusal.code.value))
