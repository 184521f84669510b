"""Where a connection or a subscription delivers to: an audience resolved, or created once.

Meta's API has no idempotency key, and creating is what must not happen twice: half of the members would be in each. So:
one resolver at a time per origin; the intent is written before the create is sent; the audience carries its origin in
its description. A create that was never answered is looked up by that before it is repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import SecretStr

from connector.telemetry.facts import Telemetry
from schemas.events import Reason
from services.auth.answers import SeenAudience
from services.auth.audiences import Audience, AudienceLedger, Intent, OneAtATime, Source
from services.auth.facts import AccessDied, CreateUnanswered, DestinationResolved
from services.auth.issue import check_usable
from services.auth.meta import MetaApi, Unanswered
from services.auth.naming import NameRefused, checked_name, default_name
from services.auth.profiles import Profile, Profiles
from services.auth.refusals import RECONNECT, Code, Refusal

MAX_MESSAGE = 512


@dataclass(frozen=True)
class Resolved:
    """An origin's audience; *created*: this very call brought it into being."""

    ad_account_id: str
    audience: Audience
    created: bool


def description_of(profile_id: UUID, origin: str) -> str:
    """What an audience of ours says of itself: whose it is. Short, because Meta's limit is not published. Pure."""
    return f"{origin} profile:{profile_id}"


def check_audience(seen: SeenAudience, profile: Profile) -> Audience:
    """A named audience may be used: it is the profile's ad account's, and a customer list. Pure.

    Raises:
        Refusal: `audience_of_other_account` or `audience_not_custom`.
    """
    if seen.account_id.removeprefix("act_") != profile.ad_account.id.removeprefix("act_"):
        raise Refusal(
            Code.AUDIENCE_OF_OTHER_ACCOUNT,
            f"audience {seen.id} does not belong to {profile.ad_account.id}",
            "name an audience of the profile's own ad account",
        )
    if seen.subtype != "CUSTOM":
        raise Refusal(
            Code.AUDIENCE_NOT_CUSTOM,
            f"audience {seen.id} is of subtype {seen.subtype}; people can only be added to a customer list (CUSTOM)",
            "name a customer list, or none to have one created",
        )
    return Audience(seen.id, seen.name, seen.value_based)


class Destinations:
    """Resolves destinations."""

    def __init__(
        self,
        meta: MetaApi,
        profiles: Profiles,
        ledger: AudienceLedger,
        turns: OneAtATime,
        telemetry: Telemetry,
        *,
        settle: timedelta,
        clock: Callable[[], datetime],
        changed: Callable[[], None],
    ) -> None:
        self._meta = meta
        self._profiles = profiles
        self._ledger = ledger
        self._turns = turns
        self._telemetry = telemetry
        self._settle = settle
        self._clock = clock
        self._changed = changed

    async def resolve(
        self, profile_id: UUID, company_id: int, origin: str, audience_id: str | None, audience_name: str | None
    ) -> Resolved:
        """The audience *origin* delivers to.

        What it delivered to before wins, unless *audience_id* names another. A named audience is verified; without one
        an audience is created, called *audience_name* or by default after its origin.

        Raises:
            Refusal: Whatever stands in the way, in words.
        """
        profile = await self._profiles.get(profile_id)
        if profile.company_id != company_id:
            raise Refusal(Code.WRONG_COMPANY, f"profile {profile_id} does not belong to company {company_id}")
        check_usable(profile, self._clock())
        settled = self._settled(profile, await self._ledger.used_by(profile_id, origin), audience_id)
        if settled is not None:
            return settled
        async with self._turns.on(profile_id, origin):
            used = await self._ledger.used_by(profile_id, origin)
            settled = self._settled(profile, used, audience_id)
            if settled is not None:
                return settled
            try:
                if audience_id is not None:
                    return await self._adopt_named(profile, origin, audience_id)
                intent = used if isinstance(used, Intent) else None
                return await self._create_once(profile, origin, audience_name, intent)
            except Refusal as refusal:
                await self._note_dead_token(profile, refusal)
                raise

    @staticmethod
    def _settled(profile: Profile, used: Audience | Intent | None, audience_id: str | None) -> Resolved | None:
        """What needs no work: the audience of before, when it is the one asked for or none was."""
        if isinstance(used, Audience) and audience_id in {None, used.id}:
            return Resolved(profile.ad_account.id, used, created=False)
        return None

    async def _adopt_named(self, profile: Profile, origin: str, audience_id: str) -> Resolved:
        seen = await self._meta.audience(profile, await self._profiles.token(profile), audience_id)
        return await self._use(profile, origin, check_audience(seen, profile), Source.NAMED, "named")

    async def _create_once(
        self, profile: Profile, origin: str, audience_name: str | None, intent: Intent | None
    ) -> Resolved:
        name = _name(origin, audience_name)
        token = await self._profiles.token(profile)
        if intent is not None:
            found = await self._find(profile, token, origin)
            if found is not None:
                return await self._use(profile, origin, found, Source.CREATED, "found_again")
            self._wait_until_settled(intent)
        await self._ledger.intend(profile, origin, name)
        try:
            created = await self._meta.create(profile, token, name, description_of(profile.id, origin))
        except Refusal:
            # Meta answered, with a no: nothing was created, the next attempt starts afresh.
            await self._ledger.give_up_intent(profile, origin)
            raise
        if not isinstance(created, Unanswered):
            return await self._use(profile, origin, Audience(created, name), Source.CREATED, "created")
        found = await self._find(profile, token, origin)
        if found is not None:
            return await self._use(profile, origin, found, Source.CREATED, "found_again")
        raise self._unanswered(profile, origin, created)

    async def _find(self, profile: Profile, token: SecretStr, origin: str) -> Audience | None:
        """The audience an unanswered create left behind.

        Found by its description, not by its name: a customer may own an older audience of that name, which is not ours
        to fill.
        """
        found = await self._meta.find_audience(profile, token, description_of(profile.id, origin))
        return None if found is None else Audience(found.id, found.name)

    def _wait_until_settled(self, intent: Intent) -> None:
        """An unanswered create may take effect late: not repeating it for a while is what prevents a twin.

        Raises:
            Refusal: `graph_unavailable`, with the time that is left.
        """
        left = (intent.since + self._settle - self._clock()).total_seconds()
        if left > 0:
            raise Refusal(Code.GRAPH_UNAVAILABLE, "Meta has not answered a create yet", "ask again", retry_after=left)

    def _unanswered(self, profile: Profile, origin: str, created: Unanswered) -> Refusal:
        self._telemetry.emit(CreateUnanswered(str(profile.id), origin, profile.ad_account.id))
        return Refusal(
            Code.GRAPH_UNAVAILABLE,
            f"Meta did not answer the create of an audience: {created.why}",
            "ask again: it is looked for before it is repeated",
            retry_after=self._settle.total_seconds(),
        )

    async def _use(self, profile: Profile, origin: str, audience: Audience, source: Source, how: str) -> Resolved:
        await self._ledger.use(profile, origin, audience, source)
        self._telemetry.emit(DestinationResolved(str(profile.id), origin, audience.id, how))
        return Resolved(profile.ad_account.id, audience, created=source is Source.CREATED)

    async def _note_dead_token(self, profile: Profile, refusal: Refusal) -> None:
        if refusal.code is not Code.TOKEN_DEAD:
            return
        reason = Reason(code=Code.TOKEN_DEAD.value, message=refusal.message[:MAX_MESSAGE], advice=RECONNECT)
        if await self._profiles.mark_dead(profile, reason):
            self._changed()
            self._telemetry.emit(AccessDied(str(profile.id), profile.company_id, refusal.message))


def _name(origin: str, wanted: str | None) -> str:
    """The name of a new audience.

    Raises:
        Refusal: `audience_name_refused`.
    """
    try:
        return checked_name(default_name(origin) if wanted is None else wanted)
    except NameRefused as error:
        raise Refusal(
            Code.AUDIENCE_NAME_REFUSED, f"the audience may not be called so: {error}", "choose another name"
        ) from None
