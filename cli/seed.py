"""`fbc dev seed`: a customer's profile, connected to the emulator, so that deliveries have somewhere to go."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import aiohttp
import orjson
import typer

from cli import services
from cli.output import Output, OutputOption

TIMEOUT = aiohttp.ClientTimeout(total=15)
DIGEST_DIGITS = 12
PASSWORD_CHANGED = 460


def seed(
    profile: Annotated[str, typer.Option(help="name of the profile")] = "demo",
    company: Annotated[int, typer.Option(min=0, help="the customer's company id")] = 1,
    ad_account: Annotated[str | None, typer.Option(help="act_…; default: the emulator's first")] = None,
    output: OutputOption = Output.TABLE,
    *,
    revoke: Annotated[bool, typer.Option("--revoke", help="let all customers' tokens die instead")] = False,
) -> None:
    """Connects a profile to the emulator, as a customer would on Facebook. Again: the same profile, a fresh token.

    With --revoke Facebook forgets every token, as if the customers had changed their passwords: deliveries begin to
    wait. Seeding a profile again restores it, and what waited for it goes on.
    """
    try:
        if revoke:
            killed = asyncio.run(revoke_all())
            typer.echo(f"dead tokens: {killed}; `fbc dev seed --profile {profile}` restores the profile")
            return
        answer = asyncio.run(connect(profile, company, ad_account))
    except (services.Unavailable, services.Refused) as error:
        raise services.fail(error) from None
    if output is Output.JSON:
        typer.echo(orjson.dumps(answer).decode())
    else:
        typer.echo(f"profile {answer['name']} ({answer['id']}) delivers to {answer['ad_account']['id']}")


async def connect(profile: str, company: int, ad_account: str | None) -> dict[str, Any]:
    """Creates or reconnects the profile; the profile as auth shows it (never the token)."""
    variables = services.environment()
    accepted = await _emulator(variables, "GET", "/seed")
    digests = {known["digest"] for known in await _emulator(variables, "GET", "/tokens") if known["alive"]}
    token = accepted["token"]
    if hashlib.sha256(token.encode()).hexdigest()[:DIGEST_DIGITS] not in digests:
        token = (await _emulator(variables, "POST", "/tokens", {}))["token"]
    created: dict[str, Any] = await services.auth(variables).ask(
        "POST",
        "/internal/v1/profiles",
        {
            "company_id": company,
            "name": profile,
            "ad_account_id": ad_account or accepted["ad_accounts"][0],
            "token": token,
            "customer_file_source": "USER_PROVIDED_ONLY",
        },
    )
    return created


async def revoke_all() -> int:
    """Kills all living tokens at the emulator, as a changed password does; how many they were."""
    variables = services.environment()
    living = [known["digest"] for known in await _emulator(variables, "GET", "/tokens") if known["alive"]]
    for digest in living:
        await _emulator(variables, "DELETE", f"/tokens/{digest}", {"subcode": PASSWORD_CHANGED})
    return len(living)


async def _emulator(variables: Mapping[str, str], method: str, path: str, body: object = None) -> Any:
    """The answer of the emulator's control side."""
    control = variables.get("FBC_EMULATOR__CONTROL_URL")
    if not control:
        raise services.Unavailable("the emulator is not known here: start the stack with `fbc dev up`")
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.request(method, f"{control}{path}", json=body) as answer,
        ):
            return await answer.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise services.Unavailable(f"the emulator does not answer at {control} ({type(error).__name__})") from None
