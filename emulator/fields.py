"""Pure: which fields of an object a call asked for, and one page of a list."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from emulator.protocol import Call, Params
from emulator.refusals import invalid_parameter

Fields = dict[str, "Fields | None"]
"""Field name to the fields asked of it (`owner_business{id,name}`), or `None` for the whole value."""

_TOKEN = re.compile(r"\s*([A-Za-z0-9_]+|[{},])")
DEFAULT_PAGE = 25
LARGEST_PAGE = 5000


def parse_fields(text: str) -> Fields:
    """Read `id,name,owner_business{id,name}`.

    Raises:
        Refusal: Code 100, braces do not match or a name is malformed.
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise invalid_parameter("Syntax error in the fields parameter")
    tree: Fields = {}
    stack: list[Fields] = [tree]
    last: str | None = None
    for mark in tokens:
        if mark == "{" and last is not None:
            inner: Fields = {}
            stack[-1][last] = inner
            stack.append(inner)
        elif mark == "}" and len(stack) > 1:
            stack.pop()
        elif mark in "{}":
            raise invalid_parameter("Syntax error in the fields parameter")
        elif mark != ",":
            stack[-1][mark] = None
        last = None if mark in "{}," else mark
    if len(stack) != 1:
        raise invalid_parameter("Syntax error in the fields parameter")
    return tree


def asked_fields(params: Params) -> Fields | None:
    """The `fields` parameter (text or JSON array), or `None` when the call has none."""
    value = params.values.get("fields")
    if isinstance(value, list):
        value = ",".join(str(name) for name in value)
    elif isinstance(value, str) and value.startswith("["):
        names = params.structure("fields")
        value = ",".join(str(name) for name in names) if isinstance(names, list) else ""
    return parse_fields(value) if isinstance(value, str) and value else None


def select(node: Mapping[str, object], fields: Fields, *, known: frozenset[str], kind: str) -> dict[str, object]:
    """The asked fields that have a value, `id` always among them.

    Raises:
        Refusal: Code 100, a field does not exist on this kind of node.
    """
    unknown = [name for name in fields if name not in known and name not in node]
    if unknown:
        raise invalid_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type ({kind})")
    picked: dict[str, object] = {}
    for name, inner in fields.items():
        value = node.get(name)
        if inner is not None and isinstance(value, Mapping):
            value = {key: value[key] for key in inner if key in value}
        if value is not None:
            picked[name] = value
    return picked | {"id": node["id"]}


@dataclass(frozen=True)
class Page:
    """One page of a list, ready to be answered."""

    data: list[dict[str, object]]
    paging: dict[str, object] | None
    summary: dict[str, object] | None

    def answer(self) -> dict[str, object]:
        """The JSON object; an empty list has no `paging` (observed in recorded traffic)."""
        parts = {"data": self.data, "paging": self.paging, "summary": self.summary}
        return {name: value for name, value in parts.items() if value is not None}


def cursor_of(item: str) -> str:
    """The opaque cursor that stands right at *item*."""
    return base64.urlsafe_b64encode(item.encode()).decode()


def _position(cursor: str, ids: Sequence[str], *, descending: bool) -> tuple[int, int]:
    """Indices (before, after) between which the cursor's item stands, or stood: it may be deleted by now."""
    try:
        item = int(base64.urlsafe_b64decode(cursor).decode())
    except (ValueError, binascii.Error) as error:
        raise invalid_parameter("Invalid cursor") from error
    ahead = sum((int(one) > item) if descending else (int(one) < item) for one in ids)
    here = ahead < len(ids) and int(ids[ahead]) == item
    return ahead, ahead + here


def page(
    call: Call, ids: Sequence[str], render: Callable[[str], dict[str, object]], *, descending: bool = False
) -> Page:
    """Cut the page that *call* asks for.

    Args:
        call: Its `limit`, `after`, `before` and `summary` are read; links repeat its other parameters, so `next`
            contains the token, as Meta's does.
        ids: Decimal ids of the whole list, in list order.
        render: An id to the object that stands in the list.
        descending: Whether ids fall along the list (newest first).

    Raises:
        Refusal: Code 100, a limit or cursor is malformed.
    """
    limit = call.params.integer("limit")
    if limit is not None and limit <= 0:
        raise invalid_parameter("Param limit must be a positive integer")
    size = min(limit or DEFAULT_PAGE, LARGEST_PAGE)
    after, before = call.params.text("after"), call.params.text("before")
    start = _position(after, ids, descending=descending)[1] if after else 0
    if before and not after:
        stop = _position(before, ids, descending=descending)[0]
        start = max(0, stop - size)
        size = stop - start
    shown = ids[start : start + size]
    summary: dict[str, object] | None = {"total_count": len(ids)} if call.params.flag("summary") else None
    return Page([render(one) for one in shown], _paging(call, ids, start, shown), summary)


def _paging(call: Call, ids: Sequence[str], start: int, shown: Sequence[str]) -> dict[str, object] | None:
    if not shown:
        return None
    first, last = cursor_of(shown[0]), cursor_of(shown[-1])
    paging: dict[str, object] = {"cursors": {"before": first, "after": last}}
    if start + len(shown) < len(ids):
        paging["next"] = _link(call, after=last)
    if start:
        paging["previous"] = _link(call, before=first)
    return paging


def _link(call: Call, **cursor: str) -> str:
    kept = {name: call.params.text(name) for name in call.params.values if name not in {"after", "before"}}
    if call.token:
        kept["access_token"] = call.token
    texts = {name: text for name, text in kept.items() if text is not None}
    return f"{call.origin}{call.path}?{urlencode(texts | cursor)}"
