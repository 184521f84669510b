"""Edges without a subject of their own: the removed multi-read, the version endpoint, crash reports."""

from emulator.accounts import me_or_user, read_account
from emulator.audiences import read as read_audience
from emulator.emulation import Caller, Node, Route, Routes, Served
from emulator.protocol import NEWEST_KNOWN
from emulator.refusals import Refusal, invalid_parameter, unknown_object


def read_many(served: Served) -> object:
    """`GET /?ids=a,b`: HTTP 500 with code 100, as the live API answers since 2026-10-27, unless switched back."""
    ids = served.call.params.text("ids")
    if not ids:
        raise unknown_object("GET", "/")
    if served.emulation.switches.ids_refused:
        raise Refusal(100, "The ids query parameter is deprecated in v26.0+.", status=500, transient=False)
    return {one: _read_one(served, one) for one in ids.split(",")}


def _read_one(served: Served, node: str) -> object:
    inner = Served(served.emulation, served.call, served.caller, node, ())
    if node in served.world.audiences:
        return read_audience(inner)
    if node.startswith("act_"):
        return read_account(inner)
    return me_or_user(inner)


def api_version(served: Served) -> object:  # noqa: ARG001 - a route takes what it is served
    """`GET /api_version`: asked by the Data File Uploader when no version is configured."""
    return {"api_version": f"v{NEWEST_KNOWN}.0"}


def crash_report(served: Served) -> object:  # noqa: ARG001 - a route takes what it is served
    """`POST /{app}/instruments`: the SDKs' crash reports, taken and forgotten."""
    return {"success": True}


def read_app(served: Served) -> object:
    """`GET /{app}`: its id and name, for the app itself or its users."""
    if served.caller == Caller(None) and served.call.token != served.world.app.token:
        raise invalid_parameter("Cannot query the app with this token")
    return {"id": served.world.app.app_id, "name": "Emulator"}


ROUTES: Routes = {
    (Node.ROOT, "", "GET"): Route(read_many),
    (Node.APP_EDGE, "api_version", "GET"): Route(api_version, needs_token=False),
    (Node.APP, "instruments", "POST"): Route(crash_report, needs_token=False),
    (Node.APP, "", "GET"): Route(read_app, app_token=True),
}
