"""The ways auth says no, as a closed set: what callers switch on, and the words for the person who has to act."""

from enum import StrEnum


class Code(StrEnum):
    """Why a request was refused. The values are part of the API."""

    INVALID_REQUEST = "invalid_request"
    UNIDENTIFIED = "unidentified"
    CALLER_REFUSED = "caller_refused"
    UNKNOWN_PROFILE = "unknown_profile"
    WRONG_COMPANY = "wrong_company"
    BINDING_REFUSED = "binding_refused"
    TOKEN_DEAD = "token_dead"  # noqa: S105 -- a reason's name, not a secret
    TOKEN_OF_OTHER_APP = "token_of_other_app"  # noqa: S105 -- same
    PROFILE_DISABLED = "profile_disabled"
    TERMS_MISSING = "terms_missing"
    PERMISSION_MISSING = "permission_missing"
    BUSINESS_MISSING = "business_missing"
    AD_ACCOUNT_DIFFERS = "ad_account_differs"
    AUDIENCE_NOT_FOUND = "audience_not_found"
    AUDIENCE_OF_OTHER_ACCOUNT = "audience_of_other_account"
    AUDIENCE_NOT_CUSTOM = "audience_not_custom"
    AUDIENCE_NAME_REFUSED = "audience_name_refused"
    GRAPH_UNAVAILABLE = "graph_unavailable"
    THROTTLED = "throttled"
    BUSY = "busy"
    DATABASE_UNAVAILABLE = "database_unavailable"


class Refusal(Exception):
    """Raised to refuse a request.

    Args:
        code: Why, for the caller's program.
        message: What is the case, for a person. Never a token, never a secret.
        advice: What to do next.
        retry_after: Seconds after which asking again makes sense, when that is known.
    """

    def __init__(self, code: Code, message: str, advice: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.advice = advice
        self.retry_after = retry_after


RECONNECT = "ask the customer to reconnect the Facebook account; deliveries that wait go on by themselves afterwards"
TERMS = "https://business.facebook.com/ads/manage/customaudiences/tos/?act="


def terms_advice(ad_account_id: str) -> str:
    """Where the Custom Audience terms of an ad account are accepted (Meta's notes on `user_tos_accepted`)."""
    return (
        f"the person who connected the account accepts them at {TERMS}{ad_account_id.removeprefix('act_')} "
        "(for a system user: an administrator of the business does)"
    )
