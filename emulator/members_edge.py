"""The edges that change members: `users`, `usersreplace`, `usersofanyaudience`. The heart of the emulator."""

from dataclasses import dataclass

from emulator.emulation import MANAGE, Node, Route, Routes, Served
from emulator.limits import Meter
from emulator.match_keys import Schema, read_schema
from emulator.people import Batch, read_rows
from emulator.protocol import Params
from emulator.refusals import Refusal, invalid_parameter, replace_refused, terms_missing
from emulator.sessions import (
    Ending,
    Replacement,
    SessionParam,
    invented_session_id,
    read_session,
)
from emulator.skim import HashedRows
from emulator.world import FLAGGED, REPLACING, Audience

MOST_ROWS = 10_000
"""Rows in one request (Meta reference: custom audience users)."""


@dataclass(frozen=True)
class Upload:
    """A member request, judged: nothing is changed before all of it is known to be allowed."""

    schema: Schema
    batch: Batch
    session: SessionParam | None


def add_users(served: Served) -> object:
    """`POST /{audience}/users`."""
    audience = served.audience()
    upload = _upload(served, audience)
    _no_replace_running(audience)
    audience.members.add(upload.batch)
    return _settled(served, audience, upload, "POST")


def remove_users(served: Served) -> object:
    """`DELETE /{audience}/users`."""
    audience = served.audience()
    upload = _upload(served, audience)
    _no_replace_running(audience)
    audience.members.remove(upload.batch)
    return _settled(served, audience, upload, "DELETE")


def replace_users(served: Served) -> object:
    """`POST /{audience}/usersreplace`: the membership changes as a whole when the session ends."""
    audience = served.audience()
    if audience.subtype != "CUSTOM":
        raise invalid_parameter("Only customer file audiences can be replaced.")
    upload = _upload(served, audience)
    session = upload.session
    if session is None:
        raise invalid_parameter("The parameter session is required.")
    refusal = audience.replaces.refusal(session, upload.schema.text)
    if refusal is not None:
        raise refusal
    if audience.replaces.starts(session):
        audience.replaces.running = Replacement(
            session.session_id, upload.schema.text, served.now, served.world.empty_members()
        )
        audience.operation_status = REPLACING
    if audience.replaces.running is not None:
        audience.replaces.running.staged.add(upload.batch)
    if session.last:
        audience.end_replace(Ending.FINISHED, served.now)
    return _settled(served, audience, upload, "REPLACE")


def remove_everywhere(served: Served) -> object:
    """`DELETE /act_{id}/usersofanyaudience`: remove people from every audience of the ad account."""
    account = served.account()
    if not account.terms:
        raise terms_missing(account.id)
    schema, batch = read_payload(served.call.params, MOST_ROWS)
    for audience in served.world.audiences_of(account.id):
        audience.members.remove(batch)
    upload = Upload(schema, batch, read_session(served.call.params))
    session_id = _note(served, upload, "DELETE EVERYWHERE")
    return _reply({}, session_id, batch, batch.received, len(batch.invalid))


def read_payload(params: Params, most_rows: int) -> tuple[Schema, Batch]:
    """Read and judge the `payload` parameter.

    Args:
        params: Of the call.
        most_rows: More rows than this are refused.

    Raises:
        Refusal: Code 100, something is missing or malformed; 1/99 with HTTP 500, too many rows (reported for the live
            API, which is why a client must be able to halve a batch).
    """
    payload = params.structure("payload")
    if not isinstance(payload, dict):
        raise invalid_parameter("The parameter payload is required and must be an object.")
    values = Params(payload)
    schema = read_schema(payload.get("schema"))
    _companions(schema, values)
    data = values.structure("data")
    counted = isinstance(data, HashedRows)
    size = data.count if isinstance(data, HashedRows) else len(data) if isinstance(data, list) else 0
    if size > most_rows:
        raise Refusal(1, "Please reduce the amount of data you're asking for, then retry.", subcode=99)
    return schema, Batch(size, None) if counted else read_rows(schema, data)


def _companions(schema: Schema, payload: Params) -> None:
    """Some keys mean nothing without the ids they are scoped to (Meta reference: custom audience users)."""
    for key, companion in (("UID", "app_ids"), ("APPUID", "app_ids"), ("PAGEUID", "page_ids")):
        if key in schema.keys and not payload.structure(companion):
            raise invalid_parameter(f"Param payload[{companion}] is required with {key}")


def _upload(served: Served, audience: Audience) -> Upload:
    """Read the request and check everything that does not depend on a running replace."""
    if not served.world.accounts[audience.account].terms:
        raise terms_missing(audience.account)
    if audience.operation_status == FLAGGED:
        raise invalid_parameter("The audience is flagged; its members cannot be changed.", subcode=1713230)
    schema, batch = read_payload(served.call.params, MOST_ROWS)
    if audience.single not in {None, schema.single}:
        raise Refusal(2650, "Single-key and multi-key schemas cannot be mixed on one audience.")
    if audience.value_based and served.call.method == "POST" and "LOOKALIKE_VALUE" not in schema.keys:
        raise invalid_parameter("A value-based audience needs LOOKALIKE_VALUE in the schema.")
    return Upload(schema, batch, read_session(served.call.params))


def _no_replace_running(audience: Audience) -> None:
    if audience.replaces.running is not None:
        raise replace_refused(1870145, "Another update of the audience is running.")


def _settled(served: Served, audience: Audience, upload: Upload, operation: str) -> dict[str, object]:
    """Account for an upload that took effect, and answer it."""
    audience.single = upload.schema.single
    audience.content_updated = int(served.now)
    session_id = _note(served, upload, operation)
    received, invalid = upload.batch.received, len(upload.batch.invalid)
    if upload.session is not None:
        # Totals run over the session; for an invented one they are of this request alone (observed).
        totals = audience.sessions.record(session_id, upload.batch, last=upload.session.last, now=served.now)
        received, invalid = totals.received, totals.invalid
    return _reply({"audience_id": audience.id}, session_id, upload.batch, received, invalid)


def _note(served: Served, upload: Upload, operation: str) -> str:
    """Put the upload into the call's line of the log; returns its session id."""
    facts = served.call.facts
    facts.rows, facts.invalid = upload.batch.received, len(upload.batch.invalid)
    facts.session = (
        invented_session_id(operation, upload.schema.text) if upload.session is None else str(upload.session.session_id)
    )
    return facts.session


def _reply(head: dict[str, object], session_id: str, batch: Batch, received: int, invalid: int) -> dict[str, object]:
    return {
        **head,
        "session_id": session_id,
        "num_received": received,
        "num_invalid_entries": invalid,
        "invalid_entry_samples": dict(batch.samples),
    }


ROUTES: Routes = {
    (Node.AUDIENCE, "users", "POST"): Route(add_users, MANAGE, marketing=True, meter=Meter.MEMBERS),
    (Node.AUDIENCE, "users", "DELETE"): Route(remove_users, MANAGE, marketing=True, meter=Meter.AUDIENCES),
    (Node.AUDIENCE, "usersreplace", "POST"): Route(replace_users, MANAGE, marketing=True, meter=Meter.MEMBERS),
    (Node.ACCOUNT, "usersofanyaudience", "DELETE"): Route(
        remove_everywhere, MANAGE, marketing=True, meter=Meter.AUDIENCES
    ),
}
