"""The one place where our settings become aiokafka's connection arguments."""

from typing import Any

from aiokafka.helpers import create_ssl_context

from connector.runtime.settings import KafkaSettings


def connection_arguments(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Keyword arguments common to aiokafka's producer, consumer and admin client."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in {"SSL", "SASL_SSL"}:
        arguments["ssl_context"] = create_ssl_context(cafile=settings.ssl_ca_file and str(settings.ssl_ca_file))
    if settings.sasl_mechanism is not None:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = settings.sasl_password.get_secret_value() if settings.sasl_password else None
    return arguments
