"""The login dialog: a page on which a person grants permissions, and the redirect that follows.

Shapes are of Meta's reference on the manual login flow.
"""

from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from emulator.world import SCOPES, User, World, new_code

ALWAYS_GRANTED = "public_profile"


class BadDialog(ValueError):
    """Raised when the dialog cannot be shown; as on the live site, nothing is redirected then."""


@dataclass(frozen=True)
class Dialog:
    """What the app asked for."""

    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]


def read_dialog(world: World, query: dict[str, str]) -> Dialog:
    """Read the dialog's query; `config_id` (Login for Business) asks for every permission of the app.

    Raises:
        BadDialog: The app id, the redirect address or the response type cannot be served.
    """
    if query.get("client_id") != world.app.app_id:
        raise BadDialog("Invalid App ID: the client_id is not the id of this app.")
    redirect_uri = query.get("redirect_uri", "")
    parts = urlsplit(redirect_uri)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise BadDialog("The redirect_uri must be an absolute http or https address.")
    if query.get("response_type", "code") != "code":
        raise BadDialog("Only response_type=code is emulated.")
    asked = SCOPES if "config_id" in query else tuple(filter(None, query.get("scope", "").replace(" ", ",").split(",")))
    unknown = [scope for scope in asked if scope not in SCOPES]
    if unknown:
        raise BadDialog(f"Invalid Scopes: {unknown[0]}")
    return Dialog(redirect_uri, query.get("state"), tuple(dict.fromkeys((*asked, ALWAYS_GRANTED))))


def page(world: World, dialog: Dialog) -> str:
    """The page: who logs in, one box per permission, and the two buttons; a plain form without scripts."""
    users = "".join(_option(user) for user in world.users.values())
    boxes = "".join(_box(scope) for scope in dialog.scopes)
    return _document(
        "Log in with the emulator",
        f'<form method="post"><p><label>Continue as <select name="user">{users}</select></label></p>'
        f"<fieldset><legend>The app would like to have</legend>{boxes}</fieldset>"
        '<p><button name="answer" value="continue">Continue</button> '
        '<button name="answer" value="cancel">Cancel</button></p></form>',
    )


def refused_page(reason: str) -> str:
    """The page shown when the dialog itself is wrong."""
    return _document("Sorry, something went wrong", f"<p>{escape(reason)}</p>")


def granted(world: World, dialog: Dialog, user_id: str, ticked: set[str], now: float) -> str:
    """The address to redirect to after *Continue*: a single-use code for the ticked permissions.

    Raises:
        BadDialog: There is no such user.
    """
    user = world.users.get(user_id)
    if user is None:
        raise BadDialog("There is no such user.")
    scopes = {scope for scope in dialog.scopes if scope in ticked or scope == ALWAYS_GRANTED}
    user.declined = (user.declined | set(dialog.scopes)) - scopes
    code = new_code(user.id, scopes, dialog.redirect_uri, now)
    world.remember_code(code)
    return _redirect(dialog, {"code": code.text})


def denied(dialog: Dialog) -> str:
    """The address to redirect to after *Cancel*."""
    return _redirect(
        dialog,
        {
            "error": "access_denied",
            "error_code": "200",
            "error_description": "Permissions error",
            "error_reason": "user_denied",
        },
    )


def _redirect(dialog: Dialog, values: dict[str, str]) -> str:
    """The redirect address with *values* added to its own query, the state returned verbatim, and Meta's fragment."""
    parts = urlsplit(dialog.redirect_uri)
    added = urlencode(values | ({"state": dialog.state} if dialog.state is not None else {}))
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, "_=_"))


def _option(user: User) -> str:
    return f'<option value="{escape(user.id)}">{escape(user.name)}</option>'


def _box(scope: str) -> str:
    fixed = " disabled" if scope == ALWAYS_GRANTED else ""
    name = escape(scope)
    return f'<p><label><input type="checkbox" name="scope" value="{name}" checked{fixed}> {name}</label></p>'


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
