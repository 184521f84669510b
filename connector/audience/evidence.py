"""What the texts of a file show beside what the rules make of each: numbers of no country, dates in several formats."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from connector.audience.keys import DOB, Key, Mode
from connector.audience.layouts import Reading, Source, column_of
from connector.audience.normalise import normalise
from connector.audience.records import Records
from connector.audience.residence import country_of_digest
from connector.audience.rules.dates import formats_of
from connector.audience.rules.digests import normalise_digest
from connector.audience.rules.phones import has_calling_code


class Evidence:
    """What the texts of the records shown to it say, by the number of a source in the reading.

    `phones_without_country` counts numbers that leave without a calling code; `date_formats` the dates that can be
    read in one format only, by that format. It keeps counts, no texts.
    """

    def __init__(self, reading: Reading, *, this_year: int) -> None:
        self._reading = reading
        self._this_year = this_year
        self.phones_without_country: Counter[int] = Counter()
        self.date_formats: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add(self, records: Records) -> None:
        """Looks at more records."""
        homes = _homes(records, self._reading)
        for number, source in enumerate(self._reading.sources):
            texts = records.frame[column_of(source.path)]
            if source.key is Key.PHONE and source.mode is Mode.RAW:
                self.phones_without_country[number] += sum(map(_is_of_no_country, texts, homes))
            elif source.key == DOB:
                self.date_formats[number].update(_clear_formats(texts, self._this_year))

    def dates_out_of_line(self, number: int) -> int:
        """How many dates of a source are not in its most frequent format."""
        formats = self.date_formats[number]
        return sum(formats.values()) - max(formats.values(), default=0)


def _homes(records: Records, reading: Reading) -> list[str | None]:
    """The country each record's numbers are read in."""
    homes: list[str | None] = [None] * records.frame.height
    for source in reading.sources:
        if source.key is Key.COUNTRY:
            texts = records.frame[column_of(source.path)]
            homes = [home or _country(source, text) for home, text in zip(homes, texts, strict=True)]
    return [home or reading.default_country for home in homes]


def _country(source: Source, text: str | None) -> str | None:
    if text is None:
        return None
    if source.mode is Mode.SHA256:
        digest = normalise_digest(text)
        return country_of_digest(digest) if isinstance(digest, str) else None
    country = normalise(Key.COUNTRY, text)
    return country or None if isinstance(country, str) else None


def _is_of_no_country(text: str | None, home: str | None) -> bool:
    if text is None or has_calling_code(text, home):
        return False
    plain = normalise(Key.PHONE, text, country=home)
    return isinstance(plain, str) and plain != ""


def _clear_formats(texts: Iterable[str | None], this_year: int) -> Iterable[str]:
    for text in texts:
        formats = formats_of(text, this_year=this_year) if text else ()
        if len(formats) == 1:
            yield formats[0]
