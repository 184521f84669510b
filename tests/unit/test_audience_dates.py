"""Birth dates and their parts."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.keys import Key
from connector.audience.normalise import normalise
from connector.audience.reasons import CellReason
from connector.audience.rules.dates import formats_of, normalise_date, normalise_year


class TestDates:
    @pytest.mark.parametrize(
        "written",
        ["1990-05-17", " 1990-05-17 ", "1990-05-17T23:30:00-11:00", "1990-05-17T00:00:00.000Z", "1990-05-17 00:30+14"],
    )
    def test_the_day_as_written(self, written: str) -> None:
        """A birthday is the calendar day as written, whatever its time and offset."""
        assert ("1990", "05", "17") == normalise_date(written, this_year=2026)

    @pytest.mark.parametrize(
        ("written", "reason"),
        [
            ("1990-02-30", CellReason.UNREADABLE_DATE),
            ("17.05", CellReason.UNREADABLE_DATE),
            ("1990", CellReason.UNREADABLE_DATE),
            ("17-05/1990", CellReason.UNREADABLE_DATE),
            ("17/17/1990", CellReason.UNREADABLE_DATE),
            ("03/04/1990", CellReason.AMBIGUOUS_DATE),
            ("04031990", CellReason.AMBIGUOUS_DATE),
            ("01-02-03", CellReason.AMBIGUOUS_DATE),
            ("17/05/2090", CellReason.YEAR_OUT_OF_RANGE),
            ("1990-05-17 or so", CellReason.UNREADABLE_DATE),
            ("١٩٩٠-05-17", CellReason.UNREADABLE_DATE),
            ("1899-12-31", CellReason.YEAR_OUT_OF_RANGE),
            ("2027-01-01", CellReason.YEAR_OUT_OF_RANGE),
        ],
    )
    def test_refused(self, written: str, reason: CellReason) -> None:
        """A day that is none, is not readable or cannot be a birthday is refused with its reason."""
        assert reason == normalise_date(written, this_year=2026)

    @pytest.mark.parametrize(
        "written",
        [
            "5-17-1990",
            "05/17/1990",
            "05171990",
            "17-05-1990",
            "17/5/1990",
            "17051990",
            "1990-5-17",
            "1990/05/17",
            "19900517",
            *["05-17-90", "5/17/90", "051790", "17-05-90", "17/05/90", "170590", "90-05-17", "90/05/17", "900517"],
            *["17.05.1990", "17.5.90", "5/17/1990 0:00", "17/05/1990 23:59:59"],
        ],
    )
    def test_formats_of_metas_uploader(self, written: str) -> None:
        """A date in any format of Meta's uploader is read where it can mean only one day."""
        assert normalise_date(written, this_year=2026) == ("1990", "05", "17")

    @pytest.mark.parametrize("written", ["03/03/1990", "3-3-90", "03031990", "1990/03/03"])
    def test_same_day_whatever_the_order(self, written: str) -> None:
        """Where day and month are the same, their order does not matter."""
        assert normalise_date(written, this_year=2026) == ("1990", "03", "03")

    @pytest.mark.parametrize(("written", "year"), [("05/17/26", "2026"), ("05/17/27", "1927"), ("05/17/00", "2000")])
    def test_centuries(self, written: str, year: str) -> None:
        """Years of two digits up to this year's are of this century, the others of the last."""
        assert normalise_date(written, this_year=2026) == (year, "05", "17")

    @given(
        st.dates(date(1900, 1, 1), date(2026, 12, 31)), st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d"])
    )
    def test_year_first(self, day: date, form: str) -> None:
        """Every date that begins with its year is read, and is that day."""
        assert normalise_date(day.strftime(form), this_year=2026) == (f"{day.year}", f"{day:%m}", f"{day:%d}")

    @given(
        st.dates(date(1900, 1, 1), date(2026, 12, 31)), st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d%m%Y", "%m-%d-%Y"])
    )
    def test_year_last(self, day: date, form: str) -> None:
        """A date that ends in its year is that day or is told to be ambiguous, never another day."""
        read = normalise_date(day.strftime(form), this_year=2026)
        is_ambiguous = day.day <= 12 and day.day != day.month
        assert read == (CellReason.AMBIGUOUS_DATE if is_ambiguous else (f"{day.year}", f"{day:%m}", f"{day:%d}"))

    @given(st.text(alphabet="0123456789/-. :TZ+", max_size=20))
    def test_any_text(self, text: str) -> None:
        """Whatever the digits, what is read is a real day between 1900 and this year."""
        read = normalise_date(text, this_year=2026)
        if isinstance(read, tuple):
            assert 1900 <= date(*map(int, read)).year <= 2026
            assert [len(part) for part in read] == [4, 2, 2]
            assert formats_of(text, this_year=2026)

    @pytest.mark.parametrize(
        ("country", "expected"),
        [
            ("us", ("1990", "03", "04")),
            ("gb", ("1990", "04", "03")),
            ("ca", CellReason.AMBIGUOUS_DATE),
            (None, CellReason.AMBIGUOUS_DATE),
        ],
    )
    @pytest.mark.parametrize("written", ["03/04/1990", "3-4-90", "03041990", "03.04.1990"])
    def test_customs(self, written: str, country: str | None, expected: object) -> None:
        """Where a date can mean two days, the custom of the file's country decides, if it has one."""
        assert normalise_date(written, this_year=2026, country=country) == expected

    @given(st.text(alphabet="0123456789/-.", max_size=10), st.sampled_from(["us", "gb", "ca"]))
    def test_customs_decide_nothing_else(self, text: str, country: str) -> None:
        """A date that is clear, or none, is so in every country."""
        anywhere = normalise_date(text, this_year=2026)
        if anywhere is not CellReason.AMBIGUOUS_DATE:
            assert normalise_date(text, this_year=2026, country=country) == anywhere

    def test_year_first_or_last(self) -> None:
        """Where the year could stand first or last, no custom helps."""
        assert normalise_date("01-02-03", this_year=2026, country="us") is CellReason.AMBIGUOUS_DATE

    def test_formats(self) -> None:
        """It is known in which formats a date may be written, so that a column with two of them is seen."""
        assert formats_of("05/17/1990") == ("MM/DD/YYYY",)
        assert formats_of(" 17/05/1990") == ("DD/MM/YYYY",)
        assert formats_of("03/04/1990") == ("MM/DD/YYYY", "DD/MM/YYYY")
        assert formats_of("1990-05-17T00:00:00Z") == ("YYYY-MM-DD",)
        assert formats_of("soon") == ()

    @pytest.mark.parametrize(
        ("key", "written", "expected"),
        [
            (Key.DOBM, "5", "05"),
            (Key.DOBM, "05.0", "05"),
            (Key.DOBM, "13", CellReason.UNREADABLE_DATE),
            (Key.DOBM, "May", CellReason.UNREADABLE_DATE),
            (Key.DOBD, "31", "31"),
            (Key.DOBD, "0", CellReason.UNREADABLE_DATE),
            (Key.DOBD, "32", CellReason.UNREADABLE_DATE),
            (Key.DOBD, "-1", CellReason.UNREADABLE_DATE),
        ],
    )
    def test_parts(self, key: Key, written: str, expected: str | CellReason) -> None:
        """Month and day have two digits and are such."""
        assert normalise(key, written) == expected

    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("1999", "1999"),
            ("1999.0", "1999"),
            ("99", CellReason.UNREADABLE_DATE),
            ("3000", CellReason.YEAR_OUT_OF_RANGE),
        ],
    )
    def test_years(self, written: str, expected: str | CellReason) -> None:
        """A year has four digits and may have gone through a table of floating-point numbers."""
        assert expected == normalise_year(written, this_year=2026)
