"""Pure: a batch request becomes calls, and their answers become the batch's answer (Meta reference: batch requests).

References between items (`{result=name:$.id}`) are not emulated.
"""

from collections.abc import Sequence

import orjson

from emulator.emulation import Answer
from emulator.protocol import Call, build_call, query_params
from emulator.refusals import Refusal, invalid_parameter

MOST_ITEMS = 50


def items_of(call: Call) -> list[dict[str, object]]:
    """The items of the `batch` parameter.

    Raises:
        Refusal: Code 100, it is missing, malformed or has more than 50 items.
    """
    batch = call.params.structure("batch")
    if not isinstance(batch, list) or not batch:
        raise invalid_parameter("The parameter batch is required and must be a non-empty array.")
    if len(batch) > MOST_ITEMS:
        raise Refusal(100, f"Too many requests in batch message. Maximum batch size is {MOST_ITEMS}")
    items = [item for item in batch if isinstance(item, dict)]
    if len(items) != len(batch):
        raise invalid_parameter("Each item of a batch must be an object")
    return items


def calls_of(call: Call) -> list[Call]:
    """One call per item; an item without a token of its own is made with the batch's.

    Raises:
        Refusal: Code 100, the batch or an item is malformed.
    """
    return [_item_call(call, item) for item in items_of(call)]


def _item_call(outer: Call, item: dict[str, object]) -> Call:
    """The call of one item; `relative_url` may or may not name a version (observed: Java does, Python does not)."""
    relative = item.get("relative_url")
    method = item.get("method", "GET")
    body = item.get("body", "")
    if not isinstance(relative, str) or not isinstance(method, str) or not isinstance(body, str):
        raise invalid_parameter("An item of a batch needs method and relative_url, and its body must be text")
    path, _, query = relative.partition("?")
    try:
        params = query_params(query) | query_params(body)
    except ValueError as error:
        raise invalid_parameter("The body of a batch item cannot be decoded") from error
    inherited = {} if "access_token" in params else _credentials(outer)
    call = build_call(method.upper(), "/" + path.lstrip("/"), inherited | params, origin=outer.origin)
    if call.version is None:
        call.version = outer.version
    return call


def _credentials(outer: Call) -> dict[str, object]:
    """The batch's token and its proof; an item with its own token must not be judged by another one's proof."""
    names = ("appsecret_proof", "appsecret_time")
    proof = {name: outer.params.values[name] for name in names if name in outer.params}
    return proof | ({"access_token": outer.token} if outer.token else {})


def answer_of(call: Call, answers: Sequence[Answer | None]) -> bytes:
    """The array of a batch's answer, `null` for an item that was not finished or whose success is to be omitted."""
    with_headers = call.params.flag("include_headers") is not False
    pairs = zip(items_of(call), answers, strict=True)
    return orjson.dumps([_entry(item, answer, with_headers=with_headers) for item, answer in pairs])


def _entry(item: dict[str, object], answer: Answer | None, *, with_headers: bool) -> dict[str, object] | None:
    if answer is None or (item.get("omit_response_on_success") is True and answer.status == 200):
        return None
    entry: dict[str, object] = {"code": answer.status, "body": answer.body.decode()}
    if with_headers:
        headers = {"Content-Type": answer.content_type, **answer.headers}
        entry["headers"] = [{"name": name, "value": value} for name, value in headers.items()]
    return entry
