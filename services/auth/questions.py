"""The bodies auth accepts, as models: what is not listed is refused, and no error repeats what was sent."""

from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from schemas.events import AdAccountId, AudienceId, Count
from services.auth.profiles import CustomerFileSource
from services.auth.refusals import Code, Refusal

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
CompanyId = Annotated[Count, Field(lt=2**63)]
Origin = Annotated[
    str,
    StringConstraints(
        pattern=r"^(connection|subscription):[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ),
]
ChunkId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}/[0-9]{1,19}/[0-9]{1,19}$")]


class Question(BaseModel):
    """Base of the bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ConnectProfile(Question):
    """`POST /internal/v1/profiles`.

    `customer_file_source` has no default: it is the customer's legal statement to Meta.
    """

    company_id: CompanyId
    name: Text
    description: Annotated[str, StringConstraints(max_length=1_000)] | None = None
    ad_account_id: AdAccountId
    token: Annotated[SecretStr, Field(min_length=1, max_length=4_096)]
    customer_file_source: CustomerFileSource


class ResolveDestination(Question):
    """`POST /internal/v1/destinations`."""

    profile_id: UUID
    company_id: CompanyId
    origin: Origin
    audience_id: AudienceId | None = None
    audience_name: Annotated[str, StringConstraints(max_length=1_000)] | None = None


class AskLease(Question):
    """`POST /internal/v1/leases`."""

    profile_id: UUID
    company_id: CompanyId
    ad_account_id: AdAccountId
    audience_id: AudienceId
    chunk_id: ChunkId


class FindProfiles(Question):
    """The query of `GET /internal/v1/profiles`."""

    company_id: CompanyId | None = None
    name: Text | None = None


AnyQuestion = TypeVar("AnyQuestion", bound=Question)


def read(model: type[AnyQuestion], body: bytes) -> AnyQuestion:
    """The question in a JSON *body*.

    Raises:
        Refusal: `invalid_request`, naming the fields and what is wrong with each, never a value.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None


def read_query(model: type[AnyQuestion], query: dict[str, str]) -> AnyQuestion:
    """The question in a query string.

    Raises:
        Refusal: As `read`.
    """
    try:
        return model.model_validate_strings(query)
    except ValidationError as error:
        raise _refused(error) from None


def _refused(error: ValidationError) -> Refusal:
    problems = "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)[:10]
    )
    return Refusal(Code.INVALID_REQUEST, problems, "correct the request")
