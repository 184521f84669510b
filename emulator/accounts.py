"""The people side: me, users, their ad accounts and permissions, and the ad accounts themselves with their terms."""

from emulator.emulation import MANAGE, READ, Caller, Node, Route, Routes, Served
from emulator.fields import Fields, asked_fields, page, select
from emulator.limits import Meter
from emulator.names import names
from emulator.refusals import Refusal, invalid_parameter
from emulator.world import AdAccount, User

USER_FIELDS = names("id name first_name last_name email short_name name_format picture")
ACCOUNT_FIELDS = names(
    "account_id account_status age agency_client_declaration all_capabilities amount_spent attribution_spec balance "
    "business business_city business_country_code business_name business_state business_street business_street2 "
    "business_zip can_create_brand_lift_study capabilities created_time currency custom_audience_info disable_reason "
    "end_advertiser end_advertiser_name existing_customers failed_delivery_checks fb_entity funding_source "
    "funding_source_details has_migrated_permissions id io_number is_attribution_spec_system_default "
    "is_direct_deals_enabled is_notifications_enabled is_personal is_prepay_account is_tax_id_required line_numbers "
    "media_agency min_campaign_group_spend_cap min_daily_budget name offsite_pixels_tos_accepted owner partner rf_spec "
    "spend_cap tax_id tax_id_status tax_id_type timezone_id timezone_name timezone_offset_hours_utc tos_accepted "
    "user_tasks user_tos_accepted viewable_business"
)
TERMS_ID = "300000000000001"


def me_or_user(served: Served) -> object:
    """`GET /me` and `GET /{user}`: id and name."""
    user = served.user()
    shown: dict[str, object] = {"id": user.id, "name": user.name}
    return select(shown, asked_fields(served.call.params) or {"id": None, "name": None}, known=USER_FIELDS, kind="User")


def list_accounts(served: Served) -> object:
    """`GET /{user}/adaccounts`: the ad accounts the user has a role on."""
    user = served.user()
    fields = asked_fields(served.call.params) or {"id": None, "account_id": None}
    ids = sorted((one.id for one in served.world.accounts.values() if user.id in one.people), key=int)
    return page(served.call, ids, lambda one: _shown(served.world.accounts[one], fields)).answer()


def read_account(served: Served) -> object:
    """`GET /act_{id}`."""
    fields = asked_fields(served.call.params) or {"id": None, "account_id": None}
    return _shown(served.account(), fields)


def read_terms(served: Served) -> object:
    """`GET /act_{id}/customaudiencestos`: the terms there are."""
    served.account()
    return {"data": [{"id": TERMS_ID, "type": "custom_audience_tos", "content": "Custom Audience Terms"}]}


def accept_terms(served: Served) -> object:
    """`POST /act_{id}/customaudiencestos`: accept them."""
    account = served.account()
    if served.call.params.required("tos_id") != TERMS_ID:
        raise invalid_parameter("Param tos_id is not an id of the customaudiencestos edge")
    account.terms = True
    return {"success": True}


def list_permissions(served: Served) -> object:
    """`GET /{user}/permissions`: what was granted to this token, and what was declined."""
    user, token = served.user(), served.caller.token
    granted = sorted(token.scopes) if token else []
    declined = sorted(user.declined - set(granted))
    rows = [{"permission": one, "status": "granted"} for one in granted]
    return {"data": rows + [{"permission": one, "status": "declined"} for one in declined]}


def revoke_permissions(served: Served) -> object:
    """`DELETE /{user}/permissions[/{name}]`: one permission, or all, which kills the user's tokens (190/458)."""
    user = served.user()
    if not _may_revoke(served.caller, user):
        raise Refusal(200, "The token may not revoke permissions of this user.", status=403)
    name = served.rest[1] if len(served.rest) > 1 else served.call.params.text("permission")
    tokens = [token for token in served.world.tokens.values() if token.user_id == user.id]
    for token in tokens:
        if name is None:
            token.dead = 458
        token.scopes.discard(name or "")
    if name is not None:
        user.declined.add(name)
    return {"success": True}


def _may_revoke(caller: Caller, user: User) -> bool:
    return caller.token is None or caller.token.user_id == user.id


def _shown(account: AdAccount, fields: Fields) -> dict[str, object]:
    accepted = {"custom_audience_tos": 1} if account.terms else None
    shown: dict[str, object] = {
        "id": f"act_{account.id}",
        "account_id": account.id,
        "name": account.name,
        "account_status": 1,
        "business": account.business,
        "owner": account.business["id"] if account.business else None,
        "user_tos_accepted": accepted,
        "tos_accepted": accepted,
        "currency": "USD",
        "timezone_name": "America/New_York",
    }
    return select(shown, fields, known=ACCOUNT_FIELDS, kind="AdAccount")


_REVOKES = Route(revoke_permissions, app_token=True)

ROUTES: Routes = {
    (Node.USER, "", "GET"): Route(me_or_user),
    (Node.USER, "adaccounts", "GET"): Route(list_accounts, READ | {"business_management"}),
    (Node.USER, "permissions", "GET"): Route(list_permissions),
    (Node.USER, "permissions", "DELETE"): _REVOKES,
    (Node.USER, "permissions/*", "DELETE"): _REVOKES,
    (Node.ACCOUNT, "", "GET"): Route(read_account, READ, marketing=True),
    (Node.ACCOUNT, "customaudiencestos", "GET"): Route(read_terms, READ, marketing=True, meter=Meter.AUDIENCES),
    (Node.ACCOUNT, "customaudiencestos", "POST"): Route(accept_terms, MANAGE, marketing=True, meter=Meter.AUDIENCES),
}
