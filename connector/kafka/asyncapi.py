"""The AsyncAPI 3 document of our topics: channels are topics, messages are events, CloudEvents headers are a trait.

Pure: a function of what `topics.py` and the event registry declare, so the document cannot say anything else.
"""

from typing import Any

from connector.kafka.topics import ALL as TOPICS
from connector.kafka.topics import Topic
from schemas.registry import ALL as EVENT_TYPES
from schemas.registry import EventType

ENVELOPE = {
    "ce_specversion": "always 1.0",
    "ce_id": "deterministic: the same fact written twice has the same id",
    "ce_type": "kind of event and its major version",
    "ce_source": "the service that wrote it",
    "ce_subject": "what it is about: a revision, a chunk id, a profile id",
    "ce_time": "when it was written, RFC 3339",
    "ce_dataschema": "the JSON Schema of the value",
    "content-type": "application/json",
    "traceparent": "W3C trace context, passed through",
}

FAILURE = {
    "origin-topic": "where the record was first read; never overwritten",
    "origin-partition": "same",
    "origin-offset": "same",
    "origin-timestamp": "same, epoch milliseconds",
    "first-failure-at": "epoch milliseconds; never overwritten",
    "last-failure-at": "epoch milliseconds",
    "due-at": "epoch milliseconds: not to be tried before (delay topics)",
    "attempt": "how often it was tried",
    "failure-kind": "throttled, transient, auth, poison, ...",
    "error-code": "our reason code, or Meta's code/subcode",
    "error-message": "redacted, at most 512 characters",
    "error-fingerprint": "groups dead letters of one cause",
    "replay-id": "set by a replay",
    "replay-count": "how often it was replayed",
}


def document(version: str) -> dict[str, Any]:
    """The whole document; topic names carry the default prefix `fbc.`."""
    messages = {kind.name: _message(kind) for kind in EVENT_TYPES}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "facebook-connector",
            "version": version,
            "description": "Events between upstream, ingest, uploader and auth. No event carries a record.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {
            "messages": messages,
            "messageTraits": {
                "cloudEvents": {"headers": _header_schema(ENVELOPE)},
                "failure": {"headers": _header_schema(FAILURE)},
            },
        },
    }


def _header_schema(described: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in described.items()},
    }


def _message(kind: EventType) -> dict[str, Any]:
    return {
        "name": kind.ce_type,
        "title": kind.name,
        "summary": (kind.model.__doc__ or "").splitlines()[0],
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/cloudEvents"}],
        "payload": {"$ref": f"./{kind.name}/v{kind.version}.json"},
    }


def _events_on(topic: Topic) -> list[EventType]:
    """Events that travel on *topic*: its own, or for delay and dead-letter topics those of the topic they serve."""
    return [kind for kind in EVENT_TYPES if topic.name == kind.topic or topic.name.startswith(f"{kind.topic}.")]


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.full_name("fbc."),
        "description": topic.note,
        "messages": {kind.name: {"$ref": f"#/components/messages/{kind.name}"} for kind in _events_on(topic)},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": _binding(topic),
            }
        },
    }


def _binding(topic: Topic) -> dict[str, Any]:
    if topic.compacted:
        return {"cleanup.policy": ["compact"]}
    return {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}


def _operations() -> dict[str, Any]:
    """Who writes and who reads, from the system's point of view."""
    described = {
        "acceptDelivery": ("receive", "deliveries.v1", "ingest reads what upstream asks for"),
        "emitChunk": ("send", "chunks.v1", "ingest emits chunks, keyed by the ad account"),
        "deliverChunk": ("receive", "chunks.v1", "uploader sends a chunk to Meta"),
        "settleChunk": ("send", "outcomes.v1", "uploader tells what became of a chunk"),
        "applyOutcome": ("receive", "outcomes.v1", "ingest's progress stream accounts for it"),
        "publishStatus": ("send", "delivery-status.v1", "upstream learns the state of a delivery"),
        "publishProfile": ("send", "profiles.v1", "auth tells what became of a customer's connection"),
    }
    return {
        name: {"action": action, "channel": {"$ref": f"#/channels/{_escaped(channel)}"}, "summary": summary}
        for name, (action, channel, summary) in described.items()
    }


def _escaped(name: str) -> str:
    """A JSON Pointer segment (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
