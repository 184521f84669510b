"""What auth asks Meta, and what the answers mean for it.

Every answer ends as a value (`answers.py`) or as a refusal in our own words.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar, assert_never

from pydantic import SecretStr, ValidationError

from connector.graph import protocol
from connector.graph.protocol import Answer, Credentials, Garbled, GraphRequest, NoAnswer, Success
from connector.graph.verdicts import (
    UNREACHABLE,
    Impossible,
    RetryLater,
    Split,
    Throttled,
    Trouble,
    Unknown,
    WaitForPerson,
    classify,
)
from connector.telemetry.facts import Telemetry
from services.auth.answers import (
    AccountDocument,
    AudienceDocument,
    AudiencePage,
    CreatedAudience,
    DebuggedToken,
    Document,
    Inspected,
    SeenAccount,
    SeenAudience,
    User,
    UserDocument,
)
from services.auth.facts import GraphUnrecognised
from services.auth.issue import appsecret_proof
from services.auth.profiles import Profile
from services.auth.refusals import Code, Refusal, terms_advice

MAX_PAGES = 100
"""Pages of an account's audiences we read: Meta allows 500 customer lists in an account, a page holds 100 audiences."""

DEAD_TOKEN = frozenset({102, 190})
"""Codes that mean the token itself is refused (Meta's error reference: OAuth)."""


AnyDocument = TypeVar("AnyDocument", bound=Document)


class GraphApi(Protocol):
    """Who makes the calls."""

    async def send(self, request: GraphRequest, credentials: Credentials) -> Answer:
        """The answer to *request*, never an exception."""


@dataclass(frozen=True)
class Unanswered:
    """A create whose effect is not known."""

    why: str


def refusal_of(trouble: Trouble, label: str, ad_account_id: str | None, impossible: Code) -> Refusal:
    """What *trouble* means for whoever asked us. Pure.

    Args:
        trouble: The verdict.
        label: Meta's code, or what came instead of one.
        ad_account_id: Whose terms may be missing.
        impossible: What it means when Meta will never do what this call asks.
    """
    match trouble:
        case RetryLater():
            return Refusal(Code.GRAPH_UNAVAILABLE, f"Meta does not answer ({trouble.reason}, {label})", "ask again")
        case Throttled():
            message = f"Meta limits the calls of this {trouble.scope.value} ({label})"
            return Refusal(Code.THROTTLED, message, "ask again later", retry_after=trouble.wait_seconds)
        case WaitForPerson() if trouble == UNREACHABLE:  # deleted or forbidden: what the call asked for is not there
            return Refusal(impossible, f"Meta refuses: {trouble.cause} ({label})", trouble.advice)
        case WaitForPerson():
            return _waits(trouble, label, ad_account_id)
        case Impossible():
            return Refusal(impossible, f"Meta refuses: {trouble.reason} ({label})", trouble.advice)
        case Split() | Unknown():
            message = f"Meta said what nobody recognises ({label})"
            return Refusal(Code.GRAPH_UNAVAILABLE, message, "ask again; the log of auth has the details")
        case _:
            assert_never(trouble)


def _waits(trouble: WaitForPerson, label: str, ad_account_id: str | None) -> Refusal:
    if label.partition("/")[0] in {str(code) for code in DEAD_TOKEN}:
        return Refusal(Code.TOKEN_DEAD, f"Meta refuses the token: {trouble.cause} ({label})", trouble.advice)
    if trouble.cause == "terms_missing":
        advice = terms_advice(ad_account_id) if ad_account_id else trouble.advice
        return Refusal(Code.TERMS_MISSING, f"Meta's terms are not accepted ({label})", advice)
    return Refusal(Code.PERMISSION_MISSING, f"Meta does not allow this: {trouble.cause} ({label})", trouble.advice)


class MetaApi:
    """The calls auth makes, each as one method.

    Args:
        graph: Who makes them.
        app_id: Our app at Meta.
        app_secret: Its secret: signs every call with a customer's token; with the id it is the app's own token.
        telemetry: Told of answers nobody recognises.
    """

    def __init__(self, graph: GraphApi, app_id: str, app_secret: SecretStr, telemetry: Telemetry) -> None:
        self._graph = graph
        self._app_secret = app_secret
        self._app_token = SecretStr(f"{app_id}|{app_secret.get_secret_value()}")
        self._telemetry = telemetry

    async def inspect(self, token: SecretStr) -> Inspected:
        """What a token is worth.

        Raises:
            Refusal: `graph_unavailable` or `throttled`; also when Meta refuses our own app's credentials.
        """
        request = protocol.debug_token(token.get_secret_value())
        answer = await self._graph.send(request, Credentials(self._app_token.get_secret_value()))
        if not isinstance(answer, Success) and isinstance(classify(answer), WaitForPerson | Impossible):
            # Not the customer's token is refused here but ours: no customer must be asked to reconnect for that.
            self._unrecognised(request, answer)
            message = f"Meta refuses this app's own credentials ({_label(answer)})"
            raise Refusal(Code.GRAPH_UNAVAILABLE, message, "check FBC_GRAPH__APP_ID and FBC_GRAPH__APP_SECRET")
        return self._read(DebuggedToken, request, answer).inspected()

    async def user(self, token: SecretStr) -> User:
        """Whose token it is.

        Raises:
            Refusal: `token_dead`, `permission_missing`, `graph_unavailable` or `throttled`.
        """
        request = protocol.read_me()
        seen = self._read(UserDocument, request, await self._graph.send(request, self._credentials(token)))
        return User(seen.id, seen.name)

    async def account(self, token: SecretStr, ad_account_id: str) -> SeenAccount:
        """The ad account as the token's owner sees it.

        Raises:
            Refusal: `permission_missing` when the token does not reach it; else as `user`.
        """
        request = protocol.read_ad_account(ad_account_id)
        answer = await self._graph.send(request, self._credentials(token))
        document = self._read(AccountDocument, request, answer, ad_account_id, impossible=Code.PERMISSION_MISSING)
        seen = document.seen()
        if seen.id != ad_account_id:
            raise self._nonsense(request, answer)
        return seen

    async def audience(self, profile: Profile, token: SecretStr, audience_id: str) -> SeenAudience:
        """An audience by id.

        Raises:
            Refusal: `audience_not_found`; else as `user`.
        """
        request = protocol.read_audience(audience_id)
        answer = await self._graph.send(request, self._credentials(token))
        seen = self._read(AudienceDocument, request, answer, profile.ad_account.id, impossible=Code.AUDIENCE_NOT_FOUND)
        if seen.id != audience_id:
            raise self._nonsense(request, answer)
        value_based = seen.is_value_based is True
        return SeenAudience(seen.id, seen.name, seen.account_id, seen.subtype, value_based=value_based)

    async def create(self, profile: Profile, token: SecretStr, name: str, description: str) -> str | Unanswered:
        """Creates a customer list; its id, or that nobody knows whether there is one now.

        Raises:
            Refusal: Meta said no, or was not reached: nothing was created.
        """
        account = profile.ad_account.id
        request = protocol.create_audience(account, name, description, profile.customer_file_source.value)
        answer = await self._graph.send(request, self._credentials(token))
        if _may_have_created(answer):
            return Unanswered(_label(answer))
        try:
            return self._read(CreatedAudience, request, answer, account, impossible=_why_not_created(answer)).id
        except _Unreadable as error:
            return Unanswered(str(error))

    async def find_audience(self, profile: Profile, token: SecretStr, description: str) -> SeenAudience | None:
        """The customer list of the profile's ad account that describes itself so.

        Raises:
            Refusal: As `user`; also when there are more audiences than we read.
        """
        account = profile.ad_account.id
        after: str | None = None
        for _ in range(MAX_PAGES):
            request = protocol.list_audiences(account, after)
            answer = await self._graph.send(request, self._credentials(token))
            page = self._read(AudiencePage, request, answer, account, impossible=Code.PERMISSION_MISSING)
            for seen in page.data:
                if seen.subtype == "CUSTOM" and seen.description == description:
                    return SeenAudience(seen.id, seen.name, account.removeprefix("act_"), seen.subtype)
            after = page.next_cursor()
            if after is None:
                return None
        raise Refusal(Code.GRAPH_UNAVAILABLE, f"{account} has more than {MAX_PAGES} pages of audiences", "delete some")

    def _credentials(self, token: SecretStr) -> Credentials:
        proof = appsecret_proof(self._app_secret, token)
        return Credentials(token.get_secret_value(), proof.get_secret_value())

    def _read(
        self,
        model: type[AnyDocument],
        request: GraphRequest,
        answer: Answer,
        ad_account_id: str | None = None,
        impossible: Code = Code.GRAPH_UNAVAILABLE,
    ) -> AnyDocument:
        if not isinstance(answer, Success):
            trouble = classify(answer)
            if isinstance(trouble, Unknown | Split):
                self._unrecognised(request, answer)
            raise refusal_of(trouble, _label(answer), ad_account_id, _meaning(trouble, impossible))
        try:
            return model.model_validate(answer.document)
        except ValidationError:
            raise self._nonsense(request, answer) from None

    def _nonsense(self, request: GraphRequest, answer: Answer) -> "_Unreadable":
        self._unrecognised(request, answer)
        return _Unreadable(request.operation)

    def _unrecognised(self, request: GraphRequest, answer: Answer) -> None:
        error = answer.error if isinstance(answer, protocol.Refusal) else None
        self._telemetry.emit(
            GraphUnrecognised(
                operation=request.operation,
                code=error.code if error else None,
                subcode=error.subcode if error else None,
                fbtrace_id=error.fbtrace_id if error else None,
            )
        )


class _Unreadable(Refusal):
    """A success that does not say what it should."""

    def __init__(self, operation: str) -> None:
        super().__init__(Code.GRAPH_UNAVAILABLE, f"Meta's answer to {operation} is not what it should be", "ask again")


def _meaning(trouble: Trouble, impossible: Code) -> Code:
    """An ended API version concerns every call alike: it must not be told to a customer as a fault of theirs."""
    ended = isinstance(trouble, Impossible) and trouble.reason == "version_ended"
    return Code.GRAPH_UNAVAILABLE if ended else impossible


def _why_not_created(answer: Answer) -> Code:
    """Of what a create sends only the name is the customer's, so a refused parameter is the name.

    Except when Meta does not know the ad account itself (100/33): then access to it is gone. Pure.
    """
    refused_parameter = isinstance(answer, protocol.Refusal) and answer.error.code == 100 and answer.error.subcode != 33
    return Code.AUDIENCE_NAME_REFUSED if refused_parameter else Code.PERMISSION_MISSING


def _may_have_created(answer: Answer) -> bool:
    """Whether a create may have taken effect although nobody said so. Pure.

    Meta's "unknown error, try again" belongs here: it says that something broke, not that nothing was done.
    """
    match answer:
        case Success():
            return False
        case Garbled():
            return True
        case NoAnswer():
            return answer.sent
        case protocol.Refusal():
            return isinstance(classify(answer), RetryLater | Unknown)
        case _:
            assert_never(answer)


def _label(answer: Answer) -> str:
    match answer:
        case Success():
            return "200"
        case Garbled() | NoAnswer():
            return answer.why
        case protocol.Refusal():
            return answer.error.label
        case _:
            assert_never(answer)
