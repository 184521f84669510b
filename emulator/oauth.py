"""Tokens on the wire: the code and long-lived exchanges, debug_token, system users' tokens."""

import hmac

from emulator.emulation import Node, Route, Routes, Served
from emulator.refusals import Refusal, invalid_parameter, unknown_object
from emulator.world import DATA_ACCESS, LONG_LIVED, SHORT_LIVED, Token

SIXTY_DAYS = 60 * 86_400


def exchange(served: Served) -> object:
    """`GET|POST /oauth/access_token`: a code, a token or the app's credentials become a token."""
    params = served.call.params
    app = served.world.app
    if params.text("client_id") != app.app_id:
        raise Refusal(101, "Error validating application. Cannot get application info due to a system error.")
    if not hmac.compare_digest((params.text("client_secret") or "").encode(), app.secret.encode()):
        raise Refusal(1, "Error validating client secret.", status=400, transient=False)
    grant = params.text("grant_type") or "authorization_code"
    if grant == "client_credentials":
        return {"access_token": app.token, "token_type": "bearer"}
    if grant == "fb_exchange_token":
        return _exchange_token(served)
    if grant == "authorization_code":
        return _exchange_code(served)
    raise invalid_parameter(f"Unsupported grant_type {grant!r}")


def _exchange_token(served: Served) -> dict[str, object]:
    """A living token becomes one of 60 days; a dead one stays dead: the user has to log in again."""
    token = served.world.tokens.get(served.call.params.required("fb_exchange_token"))
    if token is None:
        raise Refusal(190, "Invalid OAuth access token - Cannot parse access token")
    death = token.death(served.now)
    if death is not None:
        raise death
    fresh = served.world.issue(token.user_id, token.scopes, LONG_LIVED, kind=token.kind)
    return _token_answer(fresh, LONG_LIVED)


def _exchange_code(served: Served) -> dict[str, object]:
    code = served.world.codes.get(served.call.params.required("code"))
    if code is None:
        raise Refusal(100, "Invalid verification code format.", subcode=36009)
    if code.redirect_uri != served.call.params.text("redirect_uri"):
        message = (
            "Error validating verification code. Please make sure your redirect_uri is identical to the one you used."
        )
        raise Refusal(100, message, subcode=36008)
    if code.used:
        raise Refusal(100, "This authorization code has been used.", subcode=36009)
    if code.expires_at <= served.now:
        raise Refusal(100, "This authorization code has expired.", subcode=36007)
    code.used = True
    return _token_answer(served.world.issue(code.user_id, code.scopes, SHORT_LIVED), SHORT_LIVED)


def _token_answer(token: Token, lifetime: int) -> dict[str, object]:
    return {"access_token": token.text, "token_type": "bearer", "expires_in": lifetime}


def debug_token(served: Served) -> object:
    """`GET /debug_token`: what a token is; a dead one answers HTTP 200 with `is_valid: false` and its error."""
    wanted = served.call.params.required("input_token")
    app = served.world.app
    if wanted == app.token:
        return {
            "data": {"app_id": app.app_id, "type": "APP", "application": "Emulator", "is_valid": True, "scopes": []}
        }
    token = served.world.tokens.get(wanted)
    if token is None:
        error = {"code": 190, "message": "Invalid OAuth access token."}
        return {"data": {"is_valid": False, "error": error, "scopes": []}}
    return {"data": _debugged(served, token)}


def _debugged(served: Served, token: Token) -> dict[str, object]:
    death = token.death(served.now)
    data: dict[str, object] = {
        "app_id": served.world.app.app_id,
        "type": token.kind,
        "application": "Emulator",
        "data_access_expires_at": int(token.issued_at) + DATA_ACCESS,
        "expires_at": int(token.expires_at),
        "is_valid": death is None,
        "issued_at": int(token.issued_at),
        "scopes": sorted(token.scopes),
        "granular_scopes": [{"scope": scope} for scope in sorted(token.scopes)],
        "user_id": token.user_id,
    }
    if death is not None:
        data["error"] = {"code": death.code, "message": death.message, "subcode": death.subcode}
    return data


def system_user_token(served: Served) -> object:
    """`POST /{system-user}/access_tokens`: a token that never expires, or in 60 days when asked so."""
    params = served.call.params
    if params.text("business_app") != served.world.app.app_id:
        raise invalid_parameter("Param business_app must be the id of this app")
    scopes = {scope.strip() for scope in params.required("scope").split(",")}
    lifetime = SIXTY_DAYS if params.flag("set_token_expires_in_60_days") else 0
    token = served.world.issue(served.user().id, scopes, lifetime, kind="SYSTEM_USER")
    return {"access_token": token.text} | ({"expires_in": lifetime} if lifetime else {})


def install_app(served: Served) -> object:
    """`POST /{system-user}/applications`: allow the app to make tokens for a system user."""
    if served.call.params.text("business_app") != served.world.app.app_id:
        raise unknown_object(served.call.method, served.call.params.text("business_app") or "")
    return {"success": True}


_EXCHANGE = Route(exchange, needs_token=False, checks_proof=False)

ROUTES: Routes = {
    (Node.APP_EDGE, "oauth/access_token", "GET"): _EXCHANGE,
    (Node.APP_EDGE, "oauth/access_token", "POST"): _EXCHANGE,
    (Node.APP_EDGE, "debug_token", "GET"): Route(debug_token, app_token=True, checks_proof=False),
    (Node.USER, "access_tokens", "POST"): Route(system_user_token, frozenset({"business_management"})),
    (Node.USER, "applications", "POST"): Route(install_app, frozenset({"business_management"})),
}
