"""`fbc match-keys`: what a single value becomes before it leaves, and why."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

import orjson
import typer

from connector.audience.keys import DOB, UNHASHED, Key, Mode
from connector.audience.normalise import digest, normalise, normalise_date
from connector.audience.reasons import CellReason
from connector.audience.rules.countries import normalise_country
from connector.audience.rules.digests import is_digest, normalise_digest
from connector.audience.rules.text import is_junk
from connector.audience.values import text_of

app = typer.Typer(no_args_is_help=True)

MAX_LINE = 1024 * 1024
"""Bytes of a line, as for a record of a delivery."""

AUTO = "auto"
"""The mode of this tool alone, as in Meta's tools: 64 hexadecimal digits are a hash, all else is plain."""

_STARTS = {"F5FIRST": Key.FN, "F5LAST": Key.LN}
"""Keys of Meta's uploader that its documentation does not have: the first five letters of a name. To compare only."""

_KEYS = frozenset({*Key, DOB, *_STARTS})


class BadLine(Exception):
    """A line that asks nothing that could be answered."""


@app.callback()
def match_keys() -> None:
    """What a single value becomes before it leaves, and why."""


@app.command(name="normalise")
def normalise_lines() -> None:
    """Reads JSON lines {"key","value","country"?,"mode"?} and answers each with a line, in the same order.

    The answer is {"key","normalised","sha256","rejected"}: "normalised" is "" for a value that holds nothing and null
    for one that is unusable, which "rejected" explains; "sha256" is null where there is nothing to hash, and for keys
    that Meta takes in plain. DOB, a whole birth date, becomes YYYYMMDD. The mode is raw, sha256 or (when not given)
    auto: 64 hexadecimal digits are a hash. A line that cannot be answered has its place all the same, with an "error"
    that says why, and the exit code is 1. Blank lines are skipped.
    """
    failed = 0
    try:
        for answer in answers(sys.stdin.buffer, this_year=datetime.now(UTC).year):
            failed += "error" in answer
            sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
            sys.stdout.buffer.flush()  # somebody may write the next line only when this one is answered
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more when it closes the pipe.
        sys.stderr.close()
        raise typer.Exit(1) from None
    if failed:
        sys.stderr.write(f"{failed} lines could not be answered\n")
        raise typer.Exit(1)


def answers(lines: IO[bytes], *, this_year: int) -> Iterator[dict[str, str | None]]:
    """An answer for each line that is not blank. Never more than one line is held, and of a line only `MAX_LINE`."""
    number = 0
    while line := lines.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            _skip_rest(lines)
        if line.strip():
            yield _answer_or_error(line, number, this_year)


def _skip_rest(lines: IO[bytes]) -> None:
    while rest := lines.readline(MAX_LINE):
        if rest.endswith(b"\n"):
            return


def _answer_or_error(line: bytes, number: int, this_year: int) -> dict[str, str | None]:
    try:
        return _answer(line, this_year)
    except BadLine as why:
        nothing = dict.fromkeys(("key", "normalised", "sha256", "rejected"))
        return {**nothing, "error": f"line {number}: {why}"}


def _answer(line: bytes, this_year: int) -> dict[str, str | None]:
    asked = _read(line)
    key, text = asked["key"], _text(asked["key"], asked["value"])
    if isinstance(text, CellReason):
        return _told(key, text, is_hash=False)
    mode = asked.get("mode") or AUTO
    if key not in UNHASHED and (mode == Mode.SHA256 or (mode == AUTO and is_digest(text))):
        return _told(key, normalise_digest(text), is_hash=True)
    return _told(key, _plain(key, text, _country(asked.get("country")), this_year), is_hash=False)


def _read(line: bytes) -> dict[str, Any]:
    """What a line asks."""
    if len(line) > MAX_LINE:
        raise BadLine(f"longer than {MAX_LINE} bytes")
    try:
        asked = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise BadLine("not JSON") from None
    if not isinstance(asked, dict) or "value" not in asked:
        raise BadLine("not an object with a value")
    key = asked.get("key")
    if not isinstance(key, str) or key not in _KEYS:
        raise BadLine("no such key")
    if asked.get("mode") not in (None, AUTO, *Mode):
        raise BadLine(f"mode is {AUTO}, {Mode.RAW} or {Mode.SHA256}")
    if asked.get("mode") == Mode.SHA256 and key in UNHASHED:
        raise BadLine(f"Meta takes {key} as it is, so it has no hashed form")
    if not isinstance(asked.get("country"), str | None):
        raise BadLine("country is text")
    return asked


def _text(key: str, value: Any) -> str | CellReason:
    """A value as text, as a delivery would read it: a number where the key takes numbers, nothing as nothing."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else text_of(value, {key})
    return CellReason.WRONG_TYPE if text is None else text


def _country(written: str | None) -> str | None:
    """A country as the rules take it; one that is unknown is none, as in a delivery."""
    country = normalise_country(written or "")
    return country or None if isinstance(country, str) else None


def _plain(key: str, text: str, country: str | None, this_year: int) -> str | CellReason:
    if key == DOB:
        if is_digest(text):
            return CellReason.ALREADY_HASHED
        day = CellReason.JUNK if is_junk(text) else normalise_date(text, this_year=this_year, country=country)
        return "".join(day) if isinstance(day, tuple) else day or ""
    name = normalise(_STARTS.get(key) or Key(key), text, country=country, this_year=this_year)
    return name[:5] if key in _STARTS and isinstance(name, str) else name


def _told(key: str, result: str | CellReason, *, is_hash: bool) -> dict[str, str | None]:
    if isinstance(result, CellReason):
        return {"key": key, "normalised": None, "sha256": None, "rejected": result.value}
    hashed = result if is_hash else digest(result)
    return {
        "key": key,
        "normalised": result,
        "sha256": (hashed or None) if key not in UNHASHED else None,
        "rejected": None,
    }
