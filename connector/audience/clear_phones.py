"""The clear cases of phone numbers, decided in columns: what `rules.phones` would say, or null where only it can tell.

Everything that is known about a country's numbers is read from the metadata of Google's phone library: the calling
code, the lengths numbers have, what people dial before a number at home (trunk prefix) and abroad. A number is clear
when the library has nothing to decide: it has the right length and nothing that could be such a prefix in front of it.
"""

import re
from dataclasses import dataclass
from functools import cache

import phonenumbers
import polars as pl
from phonenumbers import PhoneMetadata

WRITTEN, LIVES = "written", "lives"
"""Columns of a table of inputs: the text, and the country of the row in lower case."""

_MAX_PREFIX = 100
"""Characters of a pattern of prefixes that is worth deciding in columns. Three countries have longer ones."""

_PUNCTUATION = "[ ./()-]"
_FLOATING = r"\.0+ *$"
"""What may be the end of a floating-point number, of which the last zero is no digit."""

_DIGITS = "digits"


@dataclass(frozen=True)
class _Country:
    """What is known of the numbers of a region.

    Attributes:
        code: The calling code.
        lengths: Lengths of a national number.
        longest: Of a number of which the library does not ask whether it begins with the calling code.
        prefix: Pattern of what may stand before a national number.
        abroad: Pattern of what is dialled before a calling code.
        numbers: Pattern of all national numbers.
    """

    code: str
    lengths: frozenset[int]
    longest: int
    prefix: str
    abroad: str
    numbers: str


def clear_phones(table: pl.DataFrame, lives: str | None) -> pl.Series:
    """The E.164 digits of the clear numbers of *table*; *lives* is the country of all rows where it has no `LIVES`."""
    written = table[WRITTEN]
    # Most numbers of most files: no need to look at them as numbers of their country.
    is_clean = written.str.contains(_safe_international())
    found = _where(is_clean, written.str.slice(1))
    rest = (~is_clean).arg_true()
    if not len(rest):
        return found
    is_number = ~pl.col(WRITTEN).str.contains(_FLOATING)
    digits = pl.when(is_number).then(pl.col(WRITTEN).str.replace_all(_PUNCTUATION, "")).alias(_DIGITS)
    texts = table.select(WRITTEN)[rest].select(digits)
    countries = table[LIVES][rest] if LIVES in table.columns else None
    return found.scatter(rest, _by_country(texts, countries, lives))


def _by_country(texts: pl.DataFrame, countries: pl.Series | None, lives: str | None) -> pl.Series:
    if countries is None:
        return _of_one_country(texts, lives)
    result = pl.repeat(None, texts.height, dtype=pl.String, eager=True)
    for country in countries.unique():
        rows = (countries.is_null() if country is None else countries == country).arg_true()
        result = result.scatter(rows, _of_one_country(texts[rows], country))
    return result


def _of_one_country(texts: pl.DataFrame, country: str | None) -> pl.Series:
    facts = _country(country)
    if facts is None:
        return texts.select(_plain(country)).to_series()
    # What most people write at home first; few are left for the many questions about the others.
    found = texts.select(_bare(facts)).to_series()
    rest = found.is_null().arg_true()
    return found.scatter(rest, texts[rest].select(_plain(country)).to_series()) if len(rest) else found


def _where(condition: pl.Series, values: pl.Series) -> pl.Series:
    return values.zip_with(condition, pl.repeat(None, len(values), dtype=pl.String, eager=True))


def _plain(country: str | None) -> pl.Expr:
    known, unsafe = _international_patterns()
    text = pl.col(_DIGITS)
    abroad = text.str.replace("^00([1-9])", "+${1}")
    international = pl.when(abroad.str.contains(known) & ~abroad.str.contains(unsafe)).then(abroad.str.slice(1))
    facts = _country(country)
    if facts is not None:
        return international.otherwise(_national(facts))
    if country is not None and country.upper() in phonenumbers.SUPPORTED_REGIONS:
        return international
    code = "+" + text
    as_it_is = text.str.contains("^[1-9][0-9]{0,14}$") & code.str.contains(_known_codes()) & ~code.str.contains(unsafe)
    return international.when(as_it_is).then(text)


def _bare(facts: _Country) -> pl.Expr:
    """A national number without anything in front."""
    text = pl.col(_DIGITS)
    is_bare = text.str.contains(f"^{_number(facts)}$") & ~text.str.starts_with(facts.code)
    return pl.when(is_bare & ~_is_foreign(text, facts) & ~_has_prefix(text, facts)).then(facts.code + text)


def _national(facts: _Country) -> pl.Expr:
    """A number of the country behind its calling code or a trunk zero."""
    text, code, number = pl.col(_DIGITS), facts.code, _number(facts)
    # Longer than any number of the country: the library cannot take the calling code for a part of it.
    rest = text.str.slice(len(code))
    with_code = text.str.contains(f"^{code}{number}$") & (text.str.len_bytes() > facts.longest)
    clear = pl.when(_is_foreign(text, facts)).then(None).when(with_code & ~_has_prefix(rest, facts)).then(text)
    if facts.prefix == "0":
        with_zero = text.str.contains(f"^0{number}$") & ~text.str.contains(f"^(?:{facts.numbers})$")
        clear = clear.when(with_zero).then(code + text.str.slice(1))
    return clear


def _number(facts: _Country) -> str:
    lengths = "|".join(f"[0-9]{{{length - 1}}}" for length in sorted(facts.lengths))
    return f"[1-9](?:{lengths})"


def _is_foreign(text: pl.Expr, facts: _Country) -> pl.Expr:
    return text.str.contains(f"^(?:{facts.abroad})") if facts.abroad else pl.lit(value=False)


def _has_prefix(text: pl.Expr, facts: _Country) -> pl.Expr:
    return text.str.contains(f"^(?:{facts.prefix})") if facts.prefix else pl.lit(value=False)


@cache
def _country(country: str | None) -> _Country | None:
    """None for what is no region of the library, and for the few whose numbers only the library understands."""
    region = country.upper() if country else ""
    if region not in phonenumbers.SUPPORTED_REGIONS:
        return None
    code = phonenumbers.country_code_for_region(region)
    own, main = _metadata(region), _metadata(phonenumbers.region_code_for_country_code(code))
    if own is None or main is None or own.general_desc is None:
        return None
    prefixes = dict.fromkeys(filter(None, (own.national_prefix_for_parsing, main.national_prefix_for_parsing)))
    return _Country(
        code=str(code),
        lengths=_lengths(own) & _lengths(main),
        longest=max(own.general_desc.possible_length + own.general_desc.possible_length_local_only),
        prefix="|".join(prefixes),
        abroad=own.international_prefix or "",
        numbers=own.general_desc.national_number_pattern or "",
    )


@cache
def _international_patterns() -> tuple[str, str]:
    """What a clear international number looks like; and what may have a prefix behind its calling code."""
    known, unsafe = [], []
    for code, metadata in _simple_codes().items():
        lengths = "|".join(f"[0-9]{{{length - 1}}}" for length in sorted(_lengths(metadata)))
        known.append(f"{code}[1-9](?:{lengths})")
        if metadata.national_prefix_for_parsing:
            unsafe.append(f"{code}(?:{metadata.national_prefix_for_parsing})")
    return rf"^\+(?:{'|'.join(known)})$", rf"^\+(?:{'|'.join(unsafe)})"


@cache
def _safe_international() -> str:
    """International numbers of the countries whose prefix is one digit, or none, with another digit in its place."""
    safe = []
    for code, metadata in _simple_codes().items():
        prefix = metadata.national_prefix_for_parsing or ""
        if re.fullmatch("[0-9]?", prefix):
            first = "".join(digit for digit in "123456789" if digit != prefix)
            lengths = "|".join(f"[0-9]{{{length - 1}}}" for length in sorted(_lengths(metadata)))
            safe.append(f"{code}[{first}](?:{lengths})")
    return rf"^\+(?:{'|'.join(safe)})$"


@cache
def _known_codes() -> str:
    return rf"^\+(?:{'|'.join(map(str, _simple_codes()))})[1-9]"


@cache
def _simple_codes() -> dict[int, PhoneMetadata]:
    """The calling codes of countries, with what is known of the country each belongs to first of all."""
    found = {}
    for code in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE):
        metadata = _metadata(phonenumbers.region_code_for_country_code(code))
        if metadata is not None:
            found[code] = metadata
    return found


def _metadata(region: str) -> PhoneMetadata | None:
    """What the library knows of a region, unless its pattern of prefixes is long, or matches nothing at all."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return None
    prefix = metadata.national_prefix_for_parsing or ""
    is_simple = len(prefix) <= _MAX_PREFIX and (not prefix or re.match(prefix, "") is None)
    return metadata if is_simple else None


def _lengths(metadata: PhoneMetadata) -> frozenset[int]:
    """The lengths of a whole national number; one that only works within its town is shorter."""
    return frozenset(metadata.general_desc.possible_length) if metadata.general_desc else frozenset()
