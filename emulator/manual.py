"""What `GET /` of the control side says: every endpoint, every name of a fault, every limit."""

ENDPOINTS = {
    "GET /": "this page",
    "GET /seed": "what the emulator accepts when fresh: app_id, app_secret, token, user_id, ad_accounts",
    "GET /audiences": "list of audiences with id, name, account, subtype, operation_status, count …",
    "PATCH /audiences/{id}": "set operation_status (471 flagged, 415 replace failed …), delivery_status, "
    "fields_violating_integrity_policy",
    "GET /audiences/{id}/members": "JSON lines, one object of key to stored value per member; ?keys=EMAIL,… picks "
    "keys; needs --keep rows",
    "POST /audiences/{id}/contains": 'body {"schema","data"} in any form users takes → {"members": n, "missing": '
    "[row indices from 0, first 100]}; needs --keep digests or rows",
    "GET /audiences/{id}/count": '{"count": n}',
    "GET /calls": "the log of calls, oldest first; ?since=N leaves out those up to seq N; the newest 200,000 are kept",
    "POST /reset": "back to fresh: no audiences, calls, faults or limits; same credentials; audience ids are not used "
    "again",
    "POST /faults": "script the next calls of a kind to fail; answers the fault with its id",
    "GET /faults": "all faults and how often each matched and fired",
    "DELETE /faults": "forget all faults",
    "GET /faults/{id}": "one fault",
    "DELETE /faults/{id}": "forget one fault",
    "GET /limits": "the limits in force",
    "PUT /limits": "change limits; names left out keep their value",
    "GET /switches": "behaviours of the app",
    "PUT /switches": "turn ids_refused (GET /?ids= answers HTTP 500, code 100) or proof_required (appsecret_proof is "
    "mandatory)",
    "POST /tokens": 'make a token: {"kind": "user"|"system_user", "scopes": [names], "expires_in": seconds, '
    '"user_id"}, all optional',
    "GET /tokens": "digests of the tokens there are, and whether they live",
    "DELETE /tokens/{token}": 'kill a token, given in full or as digest: {"code": 190, "subcode": 463} is what it '
    "answers from then on",
    "POST /accounts": 'open an ad account: {"id", "name", "terms": bool, "business": bool, "users": [ids]}, '
    "all optional",
}

FAULTS = {
    "match": {
        "method": "GET, POST or DELETE; a POST with method=DELETE is a DELETE",
        "path": "a glob when it has * ? or [, of the path with or without its version; otherwise any part of the path",
        "account": "act_1 or 1",
        "audience": "audience id",
        "token": "the token or its digest, the first 12 hex digits of its SHA-256",
        "cell": "a value one of the rows holds (not with --keep counts)",
    },
    "times": "how often it fires, 1 if left out, null without end",
    "after": "matching calls that are left alone first",
    "answer": {
        "status": "HTTP status; alone it means an empty body",
        "code": "Graph error code, in an error envelope; a throttle code also sends usage headers",
        "subcode": "error_subcode",
        "transient": "is_transient",
        "headers": "added to the answer, scripted or real",
        "body": "text is sent as HTML, an object or array as JSON",
        "delay_ms": "the answer comes this much later; the call takes effect at once",
        "truncate": "bytes of the body that are sent before the connection closes",
        "reset": "before: the connection is reset and nothing happens; after: the call takes effect, then it is reset",
        "hang": "no answer, for ten minutes or until the client leaves",
    },
    "note": "the call takes effect unless status, code, body, hang or reset before answers in its place; of several "
    "faults the one defined first fires",
}

LIMITS = {
    "latency_ms": "every answer takes at least this long, from when the request begins to arrive",
    "jitter_ms": "and up to this much longer",
    "time_scale": "emulated seconds per real second: budgets, the 90 minutes of a replace and token lifetimes run that "
    "much faster",
    "budget": 'calls per rolling hour and ad account, {"act_1": n, "*": n for every other}; beyond it 80003/2446079; '
    "blocked calls count too",
}


def explained(keep: str) -> dict[str, object]:
    """The manual, with the mode this emulator keeps members in."""
    return {
        "what": "A Graph API emulator. This is its control side; the Graph side is on the other port.",
        "keep": keep,
        "endpoints": ENDPOINTS,
        "faults": FAULTS,
        "limits": LIMITS,
    }
