"""How Meta says no: the error envelope, and the refusals this emulator gives by name.

Codes, subcodes and HTTP statuses are those of Meta's error reference, or were observed in recorded traffic where a
comment says so. Texts are our own wording unless Meta's clients are known to read them.
"""

TERMS_LINK = "https://business.facebook.com/ads/manage/customaudiences/tos/?act="

CODE_MESSAGES = {
    1: "An unknown error occurred",
    2: "Service temporarily unavailable",
    3: "Application does not have the capability to make this API call.",
    4: "Application request limit reached",
    10: "Application does not have permission for this action",
    17: "User request limit reached",
    32: "Page request limit reached",
    100: "Invalid parameter",
    102: "Session key invalid or no longer valid",
    190: "Error validating access token.",
    200: "Permissions error",
    294: "Managing advertisements requires the ads_management permission",
    341: "Application limit reached",
    368: "The action attempted has been deemed abusive or is otherwise disallowed",
    613: "Calls to this api have exceeded the rate limit.",
    960: "Request aborted: the batch timed out",
    2635: "You are calling a deprecated version of the Ads API.",
    2650: "Failed to update the custom audience",
    2654: "Failed to create custom audience",
    2656: "Failed to delete custom audience because lookalikes depend on it",
    80003: "There have been too many calls from this ad account to custom audiences.",
    80004: "There have been too many calls to this ad account.",
}
"""Code to message, for refusals that are scripted by code alone."""

CODE_STATUSES = {1: 500, 2: 503, 803: 404}
"""Codes whose HTTP status is not 400 when nobody says otherwise."""

TITLES = {
    (200, 1870047): "Audience Size too Low",
    (200, 1870090): "Custom Audience Terms Not Accepted",
    (100, 1713230): "Audience Flagged",
    (80003, 2446079): "Too Many Calls",
}

THROTTLE_CODES = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
"""Codes that mean: slow down (Meta reference: rate limiting)."""


class Refusal(Exception):
    """Raised when the Graph API answers with an error envelope instead of doing what was asked."""

    def __init__(
        self,
        code: int,
        message: str = "",
        *,
        status: int | None = None,
        subcode: int | None = None,
        kind: str = "OAuthException",
        transient: bool | None = None,
        user_message: str | None = None,
    ) -> None:
        text = message or CODE_MESSAGES.get(code, "Unknown error")
        self.message = text if text.startswith("(#") else f"(#{code}) {text}"
        super().__init__(self.message)
        self.status = CODE_STATUSES.get(code, 400) if status is None else status
        self.code = code
        self.subcode = subcode
        self.kind = kind
        self.transient = code in {1, 2} if transient is None else transient
        self.user_message = user_message

    def envelope(self, fbtrace_id: str) -> dict[str, object]:
        """The `{"error": …}` object of the answer body.

        Args:
            fbtrace_id: Must equal the `x-fb-request-id` header of the same answer (observed in recorded traffic).
        """
        error: dict[str, object] = {
            "message": self.message,
            "type": self.kind,
            "code": self.code,
            "is_transient": self.transient,
            "fbtrace_id": fbtrace_id,
        }
        title = TITLES.get((self.code, self.subcode or 0))
        optional = {
            "error_subcode": self.subcode,
            "error_user_title": title,
            "error_user_msg": self.user_message or (self.message if title else None),
        }
        return {"error": error | {name: value for name, value in optional.items() if value is not None}}


def invalid_parameter(what: str, *, subcode: int | None = None) -> Refusal:
    """Code 100: a parameter is missing, malformed or not allowed here."""
    return Refusal(100, what, subcode=subcode)


def unknown_object(method: str, node: str) -> Refusal:
    """Code 100/33: no such object, or the caller may not see it; Meta does not tell which."""
    return Refusal(
        100,
        f"Unsupported {method.lower()} request. Object with ID '{node}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation.",
        subcode=33,
        kind="GraphMethodException",
    )


def dead_token(subcode: int | None, message: str = "") -> Refusal:
    """Code 190: the token is unknown (no subcode), or died of what the subcode says."""
    return Refusal(190, message, subcode=subcode)


def missing_scope(wanted: str) -> Refusal:
    """Code 200 with HTTP 403: the token lacks a permission."""
    return Refusal(200, f"Requires {wanted} permission to manage the object.", status=403)


def terms_missing(account: str) -> Refusal:
    """Code 200/1870090: nobody accepted the Custom Audience terms for this ad account."""
    link = f"{TERMS_LINK}{account}"
    return Refusal(
        200,
        "Custom Audience terms have not been accepted for this ad account.",
        subcode=1870090,
        user_message=f"Accept the Custom Audience terms at {link}",
    )


def replace_refused(subcode: int, message: str) -> Refusal:
    """Code 2650 with one of the subcodes of the usersreplace reference."""
    return Refusal(2650, message, subcode=subcode)


def account_throttled() -> Refusal:
    """Code 80003/2446079: the ad account's hourly budget of custom audience calls is spent."""
    return Refusal(80003, subcode=2446079)
