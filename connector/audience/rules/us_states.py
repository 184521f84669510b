"""The states and territories of the United States. Source: ANSI INCITS 38 (the postal abbreviations)."""

US_COUNTRIES = frozenset({"us", "as", "gu", "mp", "pr", "um", "vi"})
"""The United States and those of its territories that have a country code of their own."""

_NAMES = """
al Alabama|ak Alaska|az Arizona|ar Arkansas|ca California|co Colorado|ct Connecticut|de Delaware
dc District of Columbia|dc Washington DC|dc Washington District of Columbia|fl Florida|ga Georgia|hi Hawaii|id Idaho
il Illinois|in Indiana|ia Iowa|ks Kansas|ky Kentucky|la Louisiana|me Maine|md Maryland|ma Massachusetts|mi Michigan
mn Minnesota|ms Mississippi|mo Missouri|mt Montana|ne Nebraska|nv Nevada|nh New Hampshire|nj New Jersey|nm New Mexico
ny New York|ny New York State|nc North Carolina|nd North Dakota|oh Ohio|ok Oklahoma|or Oregon|pa Pennsylvania
ri Rhode Island|sc South Carolina|sd South Dakota|tn Tennessee|tx Texas|ut Utah|vt Vermont|va Virginia|wa Washington
wa Washington State|wv West Virginia|wi Wisconsin|wy Wyoming|as American Samoa|gu Guam|mp Northern Mariana Islands
pr Puerto Rico|vi Virgin Islands|vi US Virgin Islands|vi U.S. Virgin Islands|vi Virgin Islands of the United States
"""

US_STATES: dict[str, str] = {
    "".join(filter(str.isalpha, name.lower())): code
    for entry in _NAMES.strip().replace("\n", "|").split("|")
    for code, _, name in [entry.partition(" ")]
}
"""Names without spaces and punctuation, in lower case, to codes."""
