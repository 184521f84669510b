"""What Meta's answers say, read by models: what they do not recognise is no answer. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints


@dataclass(frozen=True)
class Inspected:
    """What `debug_token` says. `app_id` is None for what Meta cannot read as a token.

    `accounts`: ids (without `act_`) the person restricted ads_management to, None when it holds for all.
    """

    app_id: str | None
    kind: str | None
    is_valid: bool
    expires_at: datetime | None
    data_access_expires_at: datetime | None
    scopes: tuple[str, ...]
    accounts: frozenset[str] | None
    reason: str


@dataclass(frozen=True)
class User:
    """Whose token it is."""

    id: str
    name: str


@dataclass(frozen=True)
class SeenAccount:
    """An ad account as Meta shows it to the token's owner."""

    id: str
    name: str
    business_id: str | None
    business_name: str | None
    accepted_terms: bool
    user_accepted_terms: bool


@dataclass(frozen=True)
class SeenAudience:
    """An audience as Meta shows it; `account_id` without `act_`."""

    id: str
    name: str
    account_id: str
    subtype: str
    value_based: bool = False


def _object(value: object) -> object:
    """Maps that may be absent, null, or (as PHP encodes an empty map) an empty list."""
    return value if isinstance(value, dict) else {}


def _text(value: object) -> object:
    """Ids come as strings or numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _short(value: object) -> object:
    """Names are shown, so they are bounded."""
    return value[:500] if isinstance(value, str) else value


JsonMap = Annotated[dict[str, Any], BeforeValidator(_object)]
Id = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^[0-9]{1,32}$")]
AccountId = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^(act_)?[0-9]{1,32}$")]
Name = Annotated[str, BeforeValidator(_short)]


class Document(BaseModel):
    """Base of what Meta sends: fields we do not know are ignored, and no error repeats what was sent."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class TokenError(Document):
    """Why `debug_token` says a token is not valid."""

    code: int
    subcode: int | None = None

    @property
    def label(self) -> str:
        """`code` or `code/subcode`."""
        return f"{self.code}" if self.subcode is None else f"{self.code}/{self.subcode}"


class GranularScope(Document):
    """A scope and, when the person restricted it, what it holds for."""

    scope: str
    target_ids: tuple[Id, ...] | None = None


class TokenDocument(Document):
    """The `data` of `debug_token`; what Meta cannot read as a token has little more than `is_valid: false`."""

    app_id: Id | None = None
    type: str | None = None
    is_valid: bool
    expires_at: int | None = None
    data_access_expires_at: int | None = None
    scopes: tuple[str, ...] = ()
    granular_scopes: tuple[GranularScope, ...] = ()
    error: TokenError | None = None


class DebuggedToken(Document):
    """`debug_token`."""

    data: TokenDocument

    def inspected(self) -> Inspected:
        """As auth sees it."""
        seen = self.data
        restrictions = [
            grant.target_ids
            for grant in seen.granular_scopes
            if grant.scope == "ads_management" and grant.target_ids is not None
        ]
        return Inspected(
            app_id=seen.app_id,
            kind=seen.type,
            is_valid=seen.is_valid,
            expires_at=_moment(seen.expires_at),
            data_access_expires_at=_moment(seen.data_access_expires_at),
            scopes=tuple(sorted(seen.scopes)),
            accounts=frozenset(one for ids in restrictions for one in ids) if restrictions else None,
            reason="" if seen.error is None else f" ({seen.error.label})",
        )


def _moment(seconds: int | None) -> datetime | None:
    """Unix seconds; 0 is how Meta says "never"."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


class UserDocument(Document):
    """`GET /me`."""

    id: Id
    name: Name = ""


class BusinessDocument(Document):
    """The business an ad account belongs to."""

    id: Id
    name: Name = ""


class AccountDocument(Document):
    """`GET /act_{id}`."""

    id: AccountId
    name: Name = ""
    business: BusinessDocument | None = None
    tos_accepted: JsonMap = {}
    user_tos_accepted: JsonMap = {}

    def seen(self) -> SeenAccount:
        """As auth sees it. Terms count as accepted only by the number 1 (Meta's notes on `user_tos_accepted`)."""
        return SeenAccount(
            id=f"act_{self.id.removeprefix('act_')}",
            name=self.name,
            business_id=self.business.id if self.business else None,
            business_name=self.business.name if self.business else None,
            accepted_terms=self.tos_accepted.get("custom_audience_tos") == 1,
            user_accepted_terms=self.user_tos_accepted.get("custom_audience_tos") == 1,
        )


class AudienceDocument(Document):
    """`GET /{audience}`."""

    id: Id
    name: Name = ""
    account_id: AccountId
    subtype: str
    is_value_based: bool | None = None


class ListedAudience(Document):
    """One of an account's audiences."""

    id: Id
    name: Name = ""
    description: str = ""
    subtype: str = ""


class CreatedAudience(Document):
    """`POST /act_{id}/customaudiences`."""

    id: Id


class AudiencePage(Document):
    """`GET /act_{id}/customaudiences`."""

    data: tuple[ListedAudience, ...]
    paging: JsonMap = {}

    def next_cursor(self) -> str | None:
        """Where the next page begins, None on the last one (an empty list comes without `paging`)."""
        cursors = self.paging.get("cursors")
        after = cursors.get("after") if isinstance(cursors, dict) and "next" in self.paging else None
        return after if isinstance(after, str) and after else None
