"""What happens in auth, as facts: one log line each, and the metrics they move. No fact carries a token or a name."""

import logging
from dataclasses import dataclass
from typing import ClassVar

from connector.telemetry.facts import Fact, Measure

LEASES = "fbc_auth_leases_total"
DESTINATIONS = "fbc_auth_destinations_total"


@dataclass(frozen=True)
class ProfileConnected(Fact):
    """A profile was created, or got a new token."""

    name: ClassVar[str] = "profile.connected"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_profiles_connected_total", "profiles created or reconnected", labels=("created",)),
    )
    profile_id: str
    company_id: int
    ad_account_id: str
    created: bool
    caller: str


@dataclass(frozen=True)
class AccessDied(Fact):
    """Meta refused a profile's token: deliveries of the profile wait until somebody reconnects it."""

    name: ClassVar[str] = "profile.access_died"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_access_died_total", "profiles whose access Meta refused"),
    )
    profile_id: str
    company_id: int
    reason: str


@dataclass(frozen=True)
class DestinationResolved(Fact):
    """An origin has its audience: it had it before, was given a named one, or one was created or found again."""

    name: ClassVar[str] = "destination.resolved"
    measures: ClassVar[tuple[Measure, ...]] = (Measure(DESTINATIONS, "destinations resolved, by how", labels=("how",)),)
    profile_id: str
    origin: str
    audience_id: str
    how: str


@dataclass(frozen=True)
class CreateUnanswered(Fact):
    """Meta did not answer a create, and the audience is not there (yet): it is looked for again, then repeated."""

    name: ClassVar[str] = "audience.create_unanswered"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_creates_unanswered_total", "creates of audiences Meta never answered"),
    )
    profile_id: str
    origin: str
    ad_account_id: str


@dataclass(frozen=True)
class LeaseIssued(Fact):
    """A token left auth: to whom, for which chunk, until when."""

    name: ClassVar[str] = "lease.issued"
    measures: ClassVar[tuple[Measure, ...]] = (Measure(LEASES, "leases by outcome", labels=("outcome",)),)
    lease_id: str
    caller: str
    profile_id: str
    company_id: int
    ad_account_id: str
    audience_id: str
    chunk_id: str
    expires_at: str
    outcome: str = "issued"


@dataclass(frozen=True)
class LeaseRefused(Fact):
    """A lease was asked for and not given, because something waits for a person."""

    name: ClassVar[str] = "lease.refused"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = LeaseIssued.measures
    caller: str
    profile_id: str
    chunk_id: str
    outcome: str


@dataclass(frozen=True)
class BindingRefused(LeaseRefused):
    """Somebody asked for a lease on what the profile is not bound to: records were about to reach a stranger."""

    name: ClassVar[str] = "lease.binding_refused"
    level: ClassVar[int] = logging.ERROR


@dataclass(frozen=True)
class CallerRefused(Fact):
    """A request came without an identity, or from a service that has no business here."""

    name: ClassVar[str] = "caller.refused"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_callers_refused_total", "requests refused for who sent them", labels=("code",)),
    )
    code: str
    route: str
    why: str


@dataclass(frozen=True)
class GraphUnrecognised(Fact):
    """Meta said something nobody recognises; it was treated as no answer."""

    name: ClassVar[str] = "graph.unrecognised"
    level: ClassVar[int] = logging.ERROR
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_graph_unrecognised_total", "answers of Meta nobody recognised", labels=("operation",)),
    )
    operation: str
    code: int | None
    subcode: int | None
    fbtrace_id: str | None = None


@dataclass(frozen=True)
class ProfileAnnounced(Fact):
    """A profile's state was published."""

    name: ClassVar[str] = "profile.announced"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_profiles_announced_total", "profile states published"),
    )
    profile_id: str
    status: str
    sequence: int


@dataclass(frozen=True)
class AnnouncingFailed(Fact):
    """Profile states could not be published; they stay in the table and are tried again."""

    name: ClassVar[str] = "profile.announcing_failed"
    level: ClassVar[int] = logging.WARNING
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("fbc_auth_announcing_failed_total", "failed attempts to publish profile states"),
    )
    error: str
    retry_in: float
