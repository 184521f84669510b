"""Connecting a profile: is this a living token of our app, with the right scopes, for an ad account that is ready?

The token is checked before it is kept, so that a delivery does not find out a week later. Meta says a token must not be
trusted because somebody has it: `debug_token` tells which app it was issued to (Meta reference: Login Security).
"""

from collections.abc import Callable
from datetime import datetime

from pydantic import SecretStr

from connector.telemetry.facts import Telemetry
from services.auth.answers import Inspected, SeenAccount
from services.auth.facts import ProfileConnected
from services.auth.meta import MetaApi
from services.auth.profiles import AdAccount, Grant, Profile, Profiles, Wish
from services.auth.refusals import RECONNECT, Code, Refusal, terms_advice

SCOPES = frozenset({"ads_management", "business_management"})
"""What delivering needs: to manage audiences, and to reach what a business owns."""

KINDS = frozenset({"USER", "SYSTEM_USER"})


def check_token(seen: Inspected, app_id: str, ad_account_id: str, now: datetime) -> None:
    """The token is alive, ours, and allows what we do with it. Pure.

    Raises:
        Refusal: `token_dead`, `token_of_other_app` or `permission_missing`.
    """
    # A token of another app is told first: Meta says nothing else about it that we could trust.
    if seen.app_id is not None and seen.app_id != app_id:
        raise Refusal(
            Code.TOKEN_OF_OTHER_APP,
            "the token was issued to another app",
            "connect the account through this connector's own login",
        )
    if not seen.is_valid or seen.app_id is None or (seen.expires_at is not None and seen.expires_at <= now):
        raise Refusal(Code.TOKEN_DEAD, f"Meta says the token is not valid{seen.reason}", RECONNECT)
    if seen.kind not in KINDS:
        raise Refusal(
            Code.PERMISSION_MISSING,
            f"the token is of kind {seen.kind}, one of a person or a system user is needed",
            "connect with a person's or a system user's token",
        )
    missing = sorted(SCOPES - set(seen.scopes))
    if missing:
        raise Refusal(
            Code.PERMISSION_MISSING,
            f"the token lacks {', '.join(missing)}",
            "connect again and leave every permission of the dialog ticked",
        )
    if seen.accounts is not None and ad_account_id.removeprefix("act_") not in seen.accounts:
        raise Refusal(
            Code.PERMISSION_MISSING,
            f"the token allows ads_management for other ad accounts, not for {ad_account_id}",
            "connect again and choose this ad account in the dialog",
        )


def check_account(seen: SeenAccount, owner_kind: str | None) -> AdAccount:
    """The ad account can hold audiences: a business owns it, and its terms were accepted. Pure.

    Acceptance is per person. A system user cannot accept; for one the account's own acceptance counts.

    Raises:
        Refusal: `business_missing` or `terms_missing`.
    """
    if seen.business_id is None:
        raise Refusal(
            Code.BUSINESS_MISSING,
            f"{seen.id} belongs to no business: Meta keeps customer lists for business ad accounts only",
            "add the ad account to a business in Meta's Business Manager, then connect again",
        )
    accepted = seen.user_accepted_terms or (owner_kind == "SYSTEM_USER" and seen.accepted_terms)
    if not accepted:
        raise Refusal(
            Code.TERMS_MISSING,
            f"the Custom Audience terms of {seen.id} are not accepted",
            terms_advice(seen.id),
        )
    return AdAccount(seen.id, seen.name, seen.business_id, seen.business_name or seen.business_id)


class Connecting:
    """Connects profiles."""

    def __init__(
        self,
        meta: MetaApi,
        profiles: Profiles,
        telemetry: Telemetry,
        *,
        app_id: str,
        clock: Callable[[], datetime],
        changed: Callable[[], None],
    ) -> None:
        self._meta = meta
        self._profiles = profiles
        self._telemetry = telemetry
        self._app_id = app_id
        self._clock = clock
        self._changed = changed

    async def connect(self, caller: str, wish: Wish, ad_account_id: str, token: SecretStr) -> tuple[Profile, bool]:
        """The profile, created or with its token replaced; whether it was created.

        Raises:
            Refusal: The token or the ad account cannot be used, or Meta does not answer.
        """
        seen = await self._meta.inspect(token)
        check_token(seen, self._app_id, ad_account_id, self._clock())
        account = check_account(await self._meta.account(token, ad_account_id), seen.kind)
        user = await self._meta.user(token)
        grant = Grant(user.id, user.name, seen.scopes, seen.expires_at, seen.data_access_expires_at)
        profile, created = await self._profiles.connect(wish, account, grant, token)
        self._changed()
        self._telemetry.emit(ProfileConnected(str(profile.id), wish.company_id, account.id, created, caller))
        return profile, created
