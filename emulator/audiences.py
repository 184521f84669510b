"""Custom Audiences: create, list, read, update, delete, share, and the upload sessions."""

from collections.abc import Mapping
from itertools import islice

from emulator.emulation import MANAGE, READ, Node, Route, Routes, Served
from emulator.fields import Page, asked_fields, page, select
from emulator.limits import Meter
from emulator.names import names
from emulator.protocol import Params
from emulator.refusals import Refusal, invalid_parameter, terms_missing
from emulator.world import FLAGGED, Audience

MOST_CUSTOMER_FILE = 500
"""Customer-file audiences in one ad account (Meta reference: limits)."""

LONGEST_RETENTION = 180

SUBTYPES = names(
    "APP BAG_OF_ACCOUNTS BIDDING CLAIM CUSTOM ENGAGEMENT EXCLUSION FOX LOOKALIKE MANAGED MEASUREMENT "
    "MESSENGER_SUBSCRIBER_LIST OFFLINE_CONVERSION PARTNER PRIMARY REGULATED_CATEGORIES_AUDIENCE STUDY_RULE_AUDIENCE "
    "VIDEO WEBSITE"
)
FILE_SOURCES = frozenset({"USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"})

UPDATABLE = names(
    "description opt_out_link customer_file_source retention_days audience_labels rule tags content_type "
    "use_for_products use_in_campaigns usage_restriction"
)
CREATABLE = UPDATABLE | names(
    "is_value_based subscription_info allowed_domains dataset_id countries partner_reference_key rev_share_policy_id "
    "origin_audience_id lookalike_spec rule_aggregation prefill pixel_id event_sources list_of_accounts "
    "marketing_message_channels whats_app_business_phone_number_id regulated_audience_spec is_snapshot "
    "parent_audience_id associated_audience_id claim_objective product_set_id video_group_ids facebook_page_id "
    "inclusions exclusions"
)
STRUCTURES = names(
    "audience_labels rule tags use_for_products subscription_info allowed_domains countries lookalike_spec "
    "event_sources "
    "list_of_accounts marketing_message_channels regulated_audience_spec video_group_ids inclusions exclusions"
)
"""Parameters whose value is JSON, which forms send as text."""

KNOWN_FIELDS = CREATABLE | names(
    "id account_id name subtype approximate_count_lower_bound approximate_count_upper_bound data_source "
    "data_source_types "
    "datafile_custom_audience_uploading_status delete_time delivery_status excluded_custom_audiences "
    "external_event_source fields_violating_integrity_policy household_audience included_custom_audiences "
    "is_eligible_for_sac_campaigns is_household lookalike_audience_ids operation_status owner_business "
    "page_deletion_marked_delete_time "
    "permission_for_actions rule_v2 seed_audience sharing_status time_content_updated time_created time_updated"
)

OPERATION_TEXTS = {
    200: "Normal",
    410: "No data has been uploaded.",
    411: "Low match rate",
    412: "Many rows were invalid",
    414: "The audience is being replaced.",
    415: "The replace of the audience failed.",
    FLAGGED: "The audience is flagged: its name, description or rule suggests information that is not allowed.",
}


def create(served: Served) -> object:
    """`POST /act_{id}/customaudiences` → `{"id"}` and the fields asked for."""
    account, params = served.account(), served.call.params
    if account.business is None:
        raise Refusal(200, "The ad account must belong to a business.", subcode=1870050)
    if not account.terms:
        raise terms_missing(account.id)
    name = params.required("name")
    subtype = params.text("subtype") or "CUSTOM"
    if subtype not in SUBTYPES:
        raise invalid_parameter(f"Param subtype must be one of {{{', '.join(sorted(SUBTYPES))}}}")
    told = _told(params, CREATABLE)
    existing = [one for one in served.world.audiences_of(account.id) if one.subtype == subtype]
    if params.flag("enable_fetch_or_create"):
        # What Meta matches on is not published; the name is what earlier connectors compare.
        same = next((one for one in existing if one.name == name), None)
        if same is not None:
            return _shown(served, same)
    if subtype == "CUSTOM" and len(existing) >= MOST_CUSTOMER_FILE:
        raise Refusal(2654, f"The ad account already has {MOST_CUSTOMER_FILE} customer file audiences.")
    audience = served.world.create_audience(account, name, subtype, told)
    served.call.facts.audience = audience.id
    return _shown(served, audience)


def list_audiences(served: Served) -> object:
    """`GET /act_{id}/customaudiences`: newest first (observed in recorded traffic)."""
    account = served.account()
    fields = asked_fields(served.call.params) or {"id": None}
    nodes = {one.id: node(served, one) for one in served.world.audiences_of(account.id)}
    ids = [one for one, shown in nodes.items() if _passes(shown, served.call.params.structure("filtering"))]
    return page(
        served.call,
        ids,
        lambda one: select(nodes[one], fields, known=KNOWN_FIELDS, kind="CustomAudience"),
        descending=True,
    ).answer()


def read(served: Served) -> object:
    """`GET /{audience}`: the asked fields; just `id` when none are."""
    return _shown(served, served.audience())


def update(served: Served) -> object:
    """`POST /{audience}` → `{"success": true}`."""
    audience, params = served.audience(), served.call.params
    if audience.operation_status == FLAGGED and not set(audience.violations) <= set(params.values):
        raise invalid_parameter("The flagged fields of the audience must be fixed in this edit.", subcode=1713231)
    told = _told(params, UPDATABLE)
    if "name" in params:
        audience.name = params.required("name")
    audience.told.update(told)
    audience.updated = int(served.now)
    return {"success": True}


def delete(served: Served) -> object:
    """`DELETE /{audience}` → `{"success": true}`; refused while a lookalike depends on it."""
    audience = served.audience()
    if any(str(one.told.get("origin_audience_id")) == audience.id for one in served.world.audiences.values()):
        raise Refusal(2656)
    del served.world.audiences[audience.id]
    return {"success": True}


def list_sessions(served: Served) -> object:
    """`GET /{audience}/sessions`: upload sessions, all values strings."""
    rows = served.audience().sessions.rows(served.call.params.text("session_id"))
    summary: dict[str, object] | None = {"total_count": len(rows)} if served.call.params.flag("summary") else None
    return Page(list(islice(rows, 100)), None, summary).answer()


def share(served: Served) -> object:
    """`POST /{audience}/adaccounts`: share with other ad accounts."""
    audience, accounts = served.audience(), _accounts(served)
    if served.call.params.flag("replace"):
        audience.shared_with.clear()
    audience.shared_with += [one for one in accounts if one not in audience.shared_with]
    sharing = [{"ad_acct_id": one, "audience_share_status": "shared"} for one in accounts]
    return {"success": True, "sharing_data": sharing}


def unshare(served: Served) -> object:
    """`DELETE /{audience}/adaccounts`: take sharing back."""
    audience, accounts = served.audience(), _accounts(served)
    audience.shared_with = [one for one in audience.shared_with if one not in accounts]
    return {"success": True}


def list_shared(served: Served) -> object:
    """`GET /{audience}/adaccounts`: whom it is shared with."""
    return {"data": [{"id": f"act_{one}", "account_id": one} for one in served.audience().shared_with]}


def node(served: Served, audience: Audience) -> dict[str, object]:
    """The audience with every field that has a value.

    Booleans and numbers are real ones: the Data File Uploader compares them strictly.
    """
    size = len(audience.members)
    account = served.world.accounts[audience.account]
    return {
        **audience.told,
        "id": audience.id,
        "account_id": audience.account,
        "name": audience.name,
        "subtype": audience.subtype,
        "description": audience.told.get("description", ""),
        "is_value_based": audience.value_based,
        "retention_days": audience.told.get("retention_days", 0),
        "time_created": audience.created,
        "time_updated": audience.updated,
        "time_content_updated": audience.content_updated,
        "operation_status": _status(audience.operation_status),
        "delivery_status": _delivery(audience, size),
        "approximate_count_lower_bound": _rounded(size, up=False),
        "approximate_count_upper_bound": _rounded(size, up=True),
        "data_source": {"type": "FILE_IMPORTED", "sub_type": "HASHES" if audience.single else "MULTI_HASHES"},
        "permission_for_actions": {"can_edit": True, "can_see_insight": "True", "can_share": "True"},
        "fields_violating_integrity_policy": audience.violations or None,
        "owner_business": account.business,
    }


def _shown(served: Served, audience: Audience) -> dict[str, object]:
    fields = asked_fields(served.call.params) or {"id": None}
    return select(node(served, audience), fields, known=KNOWN_FIELDS, kind="CustomAudience")


def _told(params: Params, allowed: frozenset[str]) -> dict[str, object]:
    """The parameters an audience remembers, by their real types.

    Raises:
        Refusal: Code 100, one has a value that is not allowed.
    """
    told: dict[str, object] = {
        name: params.structure(name) if name in STRUCTURES else params.text(name) for name in allowed if name in params
    }
    if "is_value_based" in told:
        told["is_value_based"] = params.flag("is_value_based")
    if "retention_days" in told:
        days = params.integer("retention_days") or 0
        if not 0 <= days <= LONGEST_RETENTION:
            raise invalid_parameter(f"Param retention_days must be between 0 and {LONGEST_RETENTION}")
        told["retention_days"] = days
    if told.get("customer_file_source", "USER_PROVIDED_ONLY") not in FILE_SOURCES:
        raise invalid_parameter(f"Param customer_file_source must be one of {{{', '.join(sorted(FILE_SOURCES))}}}")
    return told


def _accounts(served: Served) -> list[str]:
    wanted = served.call.params.structure("adaccounts")
    if not isinstance(wanted, list) or not wanted:
        raise invalid_parameter("Param adaccounts must be a non-empty array")
    return [str(one).removeprefix("act_") for one in wanted]


def _passes(shown: Mapping[str, object], filtering: object) -> bool:
    """Whether an audience satisfies every filter of the list's `filtering` parameter.

    Raises:
        Refusal: Code 100, a filter is malformed or has an operator this emulator does not know.
    """
    if filtering is None:
        return True
    filters = filtering if isinstance(filtering, list) else [filtering]
    return all(_satisfies(shown, one) for one in filters)


def _satisfies(shown: Mapping[str, object], wish: object) -> bool:
    if not isinstance(wish, dict) or not {"field", "operator", "value"} <= set(wish):
        raise invalid_parameter("Param filtering must be an array of {field, operator, value}")
    have, value = shown.get(str(wish["field"])), wish["value"]
    values = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    verdicts = {
        "EQUAL": str(have) in values,
        "IN": str(have) in values,
        "CONTAIN": any(one.casefold() in str(have).casefold() for one in values),
    }
    operator = str(wish["operator"])
    plain = operator.removeprefix("NOT_")
    if plain not in verdicts:
        raise invalid_parameter(f"Param filtering has an unknown operator {operator!r}")
    return verdicts[plain] is not operator.startswith("NOT_")


def _status(code: int) -> dict[str, object]:
    return {"code": code, "description": OPERATION_TEXTS.get(code, "Unknown")}


def _delivery(audience: Audience, size: int) -> dict[str, object]:
    code = audience.delivery_status or (200 if size >= 100 else 300)
    text = "This audience is ready for use." if code == 200 else "This audience is too small or cannot be used."
    return {"code": code, "description": text}


def _rounded(size: int, *, up: bool) -> int:
    """Meta shows sizes vaguely: -1 for small audiences, otherwise bounds of two significant digits."""
    if size < 1000:
        return -1
    step: int = 10 ** (len(str(size)) - 2)
    return -(-size // step) * step if up else size // step * step


_READS = Route(read, READ, marketing=True, meter=Meter.AUDIENCES)
_SHARING = {
    (Node.AUDIENCE, edge, method): Route(serve, MANAGE, marketing=True, meter=Meter.AUDIENCES)
    for edge in ("adaccounts", "ad_accounts")  # both names are documented; which survives is not known
    for method, serve in (("POST", share), ("DELETE", unshare), ("GET", list_shared))
}

ROUTES: Routes = {
    (Node.ACCOUNT, "customaudiences", "POST"): Route(create, MANAGE, marketing=True, meter=Meter.AUDIENCES),
    (Node.ACCOUNT, "customaudiences", "GET"): Route(list_audiences, READ, marketing=True, meter=Meter.AUDIENCES),
    (Node.AUDIENCE, "", "GET"): _READS,
    (Node.AUDIENCE, "", "POST"): Route(update, MANAGE, marketing=True, meter=Meter.AUDIENCES),
    (Node.AUDIENCE, "", "DELETE"): Route(delete, MANAGE, marketing=True, meter=Meter.AUDIENCES),
    (Node.AUDIENCE, "sessions", "GET"): Route(list_sessions, READ, marketing=True, meter=Meter.AUDIENCES),
    (Node.AUDIENCE, "shared_account_info", "GET"): Route(list_shared, READ, marketing=True, meter=Meter.AUDIENCES),
    **_SHARING,
}
