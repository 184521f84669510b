"""`fbc dev seed`: a customer's profile, connected to the emulator, so that deliveries have somewhere to go."""

import asyncio
from typing import Annotated, Any

import aiohttp
import orjson
import typer

from cli import services
from cli.output import Output, OutputOption

TIMEOUT = aiohttp.ClientTimeout(total=15)


def seed(
    profile: Annotated[str, typer.Option(help="name of the profile")] = "demo",
    company: Annotated[int, typer.Option(min=0, help="the customer's company id")] = 1,
    ad_account: Annotated[str | None, typer.Option(help="act_…; default: the emulator's first")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Connects a profile to the emulator, as a customer would on Facebook. Again: the same profile, a fresh token."""
    try:
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
    control = variables.get("FBC_EMULATOR__CONTROL_URL")
    if not control:
        raise services.Unavailable("the emulator is not known here: start the stack with `fbc dev up`")
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(f"{control}/seed") as answer:
            accepted = await answer.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise services.Unavailable(f"the emulator does not answer at {control} ({type(error).__name__})") from None
    created: dict[str, Any] = await services.auth(variables).ask(
        "POST",
        "/internal/v1/profiles",
        {
            "company_id": company,
            "name": profile,
            "ad_account_id": ad_account or accepted["ad_accounts"][0],
            "token": accepted["token"],
            "customer_file_source": "USER_PROVIDED_ONLY",
        },
    )
    return created
