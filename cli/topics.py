"""`fbc topics`: the declared topics, made real on the broker."""

import asyncio
import sys

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def ensure() -> None:
    """Creates the topics that are missing; existing ones are left as they are and differences are reported."""
    from aiokafka.errors import KafkaError  # noqa: PLC0415 -- heavy imports only for the command that needs them
    from pydantic_settings import BaseSettings, SettingsConfigDict  # noqa: PLC0415 -- same

    from connector.kafka.admin import TopicError  # noqa: PLC0415 -- same
    from connector.kafka.admin import ensure as ensure_topics  # noqa: PLC0415 -- same
    from connector.kafka.topics import ALL  # noqa: PLC0415 -- same
    from connector.runtime.settings import KafkaSettings, load_or_exit  # noqa: PLC0415 -- same

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="FBC_", env_nested_delimiter="__", extra="ignore")
        kafka: KafkaSettings

    settings = load_or_exit(Settings)
    try:
        ensured = asyncio.run(ensure_topics(settings.kafka, ALL))
    except (TopicError, KafkaError, TimeoutError) as error:
        sys.stderr.write(
            f"topics could not be ensured on {settings.kafka.bootstrap}: {error or type(error).__name__}\n"
        )
        raise typer.Exit(1) from None
    for name in ensured.created:
        typer.echo(f"created {name}")
    for line in ensured.differing:
        typer.echo(f"differs {line}", err=True)
    typer.echo(f"{len(ensured.created)} created, {len(ensured.existing)} existed", err=True)
