"""A zoo of changes that happen to everyday tables, and of tables that did not change.

CHANGES are what a person wants to be told of, SAME draws both tables from one source, and TOO_SMALL are differences
that a p-value sees at 200,000 and 50,000 rows and that no person wants to hear about. Nothing here knows how a
detector works.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

Rng = np.random.Generator
# draws the values of one column
Draw = Callable[[Rng, int], Any]
# draws some columns at once
DrawTable = Callable[[Rng, int], pd.DataFrame]
# takes good values and gives what arrived instead
Spoil = Callable[[Rng, pd.Series], pd.Series]
# draws (reference, current) with so many rows each
Maker = Callable[[Rng, int, int], tuple[pd.DataFrame, pd.DataFrame]]


@dataclass(frozen=True)
class Change:
    """What happened between a reference and a current table."""

    name: str
    make: Maker
    # the column a person would name, "" where it is how columns go together or nothing changed
    column: str
    # current rows (the reference has four times as many) at which a good tool sees it nearly always
    rows: int
    # the columns that are "date" or "text"
    types: Mapping[str, str] = field(default_factory=dict)
    # no single column shows it
    joint: bool = False


# --- drawing values ---------------------------------------------------------------------------------------------


def normal(mean: float = 0.0, sd: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, sd, n)


def lognormal(median: float, sigma: float) -> Draw:
    return lambda rng, n: median * np.exp(sigma * rng.normal(size=n))


def poisson(mean: float, highest: int) -> Draw:
    return lambda rng, n: np.minimum(rng.poisson(mean, n), highest)


def flag(share: float) -> Draw:
    return lambda rng, n: (rng.random(n) < share).astype(int)


def pick(values: Sequence[Any], weights: Sequence[float] | np.ndarray | None = None) -> Draw:
    """One of the values per row, all alike or by their weights."""
    choices = np.array(list(values), dtype=object)
    shares = np.ones(len(choices)) if weights is None else np.asarray(weights, dtype=float)
    shares = shares / shares.sum()
    return lambda rng, n: choices[rng.choice(len(choices), n, p=shares)]


def pick_number(values: Sequence[float], weights: Sequence[float] | np.ndarray | None = None) -> Draw:
    draw = pick(values, weights)
    return lambda rng, n: np.array(draw(rng, n).tolist())


def zipf(prefix: str, levels: int, power: float = 1.0) -> Draw:
    """Levels of which few are common and most are rare."""
    return pick([f"{prefix}{level:04d}" for level in range(levels)], np.arange(1, levels + 1) ** -power)


def days(first: str, last: str) -> Draw:
    """ISO dates from first to last, both included."""
    start = np.datetime64(first, "D")
    span = int((np.datetime64(last, "D") - start).astype(int)) + 1
    return lambda rng, n: (start + rng.integers(0, span, n)).astype(str).astype(object)


def moments(first: str, last: str, hour: float = 13.0, sd: float = 2.5) -> Draw:
    """ISO dates with times that lie around an hour of the day."""
    day = days(first, last)

    def draw(rng: Rng, n: int) -> np.ndarray:
        seconds = np.clip(rng.normal(hour, sd, n) * 3600, 0, 86399).astype(int)
        return (day(rng, n).astype("datetime64[s]") + seconds).astype(str).astype(object)

    return draw


def sentences(words: str, shortest: int = 8, longest: int = 24) -> Draw:
    """Free text, the first words more often than the last."""
    vocabulary = words.split()
    draw_word = pick(vocabulary, np.arange(1, len(vocabulary) + 1) ** -0.7)

    def draw(rng: Rng, n: int) -> np.ndarray:
        lengths = rng.integers(shortest, longest + 1, n)
        stops = np.cumsum(lengths)
        drawn = draw_word(rng, int(stops[-1]))
        pairs = zip(stops, lengths, strict=True)
        return np.array([" ".join(drawn[stop - length : stop]).capitalize() + "." for stop, length in pairs], object)

    return draw


def rounded(draw: Draw, digits: int) -> Draw:
    return lambda rng, n: draw(rng, n).round(digits)


def with_gaps(draw: Draw, share: float) -> Draw:
    """Each row is missing by chance, so the number of gaps varies as well."""
    return lambda rng, n: pd.Series(draw(rng, n)).mask(rng.random(n) < share)


def mixture(share: float, one: Draw, other: Draw) -> Draw:
    """A share of rows from one, the rest from the other."""
    return lambda rng, n: np.where(rng.random(n) < share, one(rng, n), other(rng, n))


ENGLISH = """the customer order was and delivered to with late a please package not from account we our payment address
called back again invoice about asked for refund received broken returned support waiting since monday phone email sent
new wrong size colour replaced warranty question answer store manager friendly quick slow website password login error
help thanks problem solved still open contract cancelled renewed discount voucher missing item box damaged courier
neighbour signed tomorrow yesterday morning evening confirmed changed price total tax receipt printed copy needed"""
GERMAN = """der kunde die bestellung wurde und geliefert zu mit spät eine bitte paket nicht von konto wir unsere zahlung
adresse angerufen zurück wieder rechnung über gefragt für erstattung erhalten kaputt zurückgeschickt hilfe wartet seit
montag telefon gesendet neu falsch größe farbe ersetzt garantie frage antwort filiale leiter freundlich schnell langsam
webseite kennwort anmeldung fehler danke problem gelöst noch offen vertrag gekündigt verlängert rabatt fehlt"""
FRENCH = """été client réservation le annulée la retardé de confirmé commande à réglée chambre café pour hôtel société
avec vérifié très rappelé séjour une téléphone du arrivée départ clé près reçu en qualité dîner facture décembre février
monsieur madame répondu équipe bagage marché intérêt général"""
RECALL = """recall battery overheating smoke burn recalled serial hazard safety injury charger melted unplug hotline"""


# --- spoiling values --------------------------------------------------------------------------------------------


def some_rows(rng: Rng, n: int, share: float) -> np.ndarray:
    """A mask over just this share of rows, over one row at least."""
    return rng.permutation(n) < max(1, round(share * n))


def all_rows(change: Callable[[pd.Series], Any]) -> Spoil:
    return lambda rng, values: pd.Series(change(values), index=values.index)


def some(share: float, change: Callable[[pd.Series], Any]) -> Spoil:
    """The change in a share of the rows only."""
    return lambda rng, values: values.mask(some_rows(rng, len(values), share), change(values))


def replaced(share: float, draw: Draw) -> Spoil:
    """Other values in a share of the rows."""

    def spoil(rng: Rng, values: pd.Series) -> pd.Series:
        return values.mask(some_rows(rng, len(values), share), pd.Series(draw(rng, len(values))))

    return spoil


def missing(share: float) -> Spoil:
    return lambda rng, values: values.mask(some_rows(rng, len(values), share))


def stuck(share: float) -> Spoil:
    """A run of rows that repeats the value it began with."""

    def spoil(rng: Rng, values: pd.Series) -> pd.Series:
        length = max(2, round(share * len(values)))
        start = int(rng.integers(0, len(values) - length + 1))
        values.iloc[start : start + length] = values.iloc[start]
        return values

    return spoil


def missing_run(share: float) -> Spoil:
    """All of the last rows are missing."""
    return lambda rng, values: values.mask(np.arange(len(values)) >= round((1 - share) * len(values)))


def one_outlier(rng: Rng, values: pd.Series) -> pd.Series:
    values.iloc[int(rng.integers(len(values)))] = 1e5
    return values


def off_by_ten_sd(rng: Rng, values: pd.Series) -> pd.Series:
    """One reading in a hundred is ten standard deviations too high or too low."""
    signs = rng.choice([-1, 1], len(values))
    return values.mask(some_rows(rng, len(values), 0.01), values + 10 * signs * values.std())


def typos(share: float) -> Spoil:
    """Some letters within a word replaced, hardly ever the same twice."""

    def mistyped(rng: Rng, word: str) -> str:
        letters = list(word)
        for place in rng.choice(len(letters), 2, replace=False):
            letters[place] = str(rng.choice(list(string.ascii_lowercase)))
        return "".join(letters) + str(rng.choice(list(string.ascii_lowercase)))

    def spoil(rng: Rng, values: pd.Series) -> pd.Series:
        for row in np.flatnonzero(some_rows(rng, len(values), share)):
            values.iloc[row] = mistyped(rng, values.iloc[row])
        return values

    return spoil


def late_shift(rng: Rng, values: pd.Series) -> pd.Series:
    """The second half lies one standard deviation higher."""
    return values + values.std() * (np.arange(len(values)) >= len(values) / 2)


def keep_where(draw: Draw, good: Callable[[np.ndarray], np.ndarray]) -> Draw:
    """Rows whose value is not good were not exported: drawn until there are enough good ones."""

    def draw_good(rng: Rng, n: int) -> np.ndarray:
        kept = np.array([], dtype=object)
        while len(kept) < n:
            values = draw(rng, 2 * n)
            kept = np.concatenate([kept, values[good(values)]]) if len(kept) else values[good(values)]
        return kept[:n]

    return draw_good


def each_twice(draw: Draw) -> Draw:
    """Half as many values, each of them twice, in any order."""

    def draw_twice(rng: Rng, n: int) -> np.ndarray:
        return rng.permutation(np.resize(draw(rng, (n + 1) // 2), n))

    return draw_twice


def day_and_month_swapped(values: pd.Series) -> pd.Series:
    """2024-03-05 becomes 2024-05-03; a day above 12 cannot be a month and stays."""
    swapped = values.str[:5] + values.str[8:10] + "-" + values.str[5:7]
    return values.where(values.str[8:10].astype(int) > 12, swapped)


def hours_later(hours: int) -> Callable[[pd.Series], pd.Series]:
    def change(values: pd.Series) -> pd.Series:
        return (pd.to_datetime(values) + pd.Timedelta(hours=hours)).dt.strftime("%Y-%m-%dT%H:%M:%S")

    return change


def mojibake(values: pd.Series) -> pd.Series:
    return values.map(lambda value: value.encode("utf-8").decode("latin-1"))


def decimal_comma(values: pd.Series) -> pd.Series:
    return values.map(lambda value: f"{value:.2f}".replace(".", ","))


# --- columns that do not change ---------------------------------------------------------------------------------

NUMBERS: dict[str, Draw] = {
    "age": lambda rng, n: np.clip(rng.normal(45, 15, n), 18, 95).round().astype(int),
    "amount": rounded(lognormal(40, 0.8), 2),
    "humidity": normal(55, 9),
    "visits": poisson(2.5, 12),
    "duration": lambda rng, n: rng.exponential(12.0, n),
    "score": lambda rng, n: rng.beta(2, 5, n),
    "member": flag(0.3),
    "stock": lambda rng, n: rng.integers(0, 500, n),
}
CATEGORIES: dict[str, Draw] = {
    "region": pick(["north", "south", "east", "west"], [35, 30, 20, 15]),
    "channel": pick(["web", "shop", "phone"], [60, 30, 10]),
    "product": zipf("P", 40),
    "device": pick(["desktop", "mobile", "tablet"], [45, 48, 7]),
    "grade": pick(list("ABCDEF"), [10, 25, 30, 20, 10, 5]),
    "active": lambda rng, n: rng.random(n) < 0.7,
}
GAPPY: dict[str, Draw] = {
    "income": with_gaps(lognormal(30000, 0.5), 0.08),
    "discount": with_gaps(pick_number([5.0, 10.0, 15.0, 20.0]), 0.4),
    "referrer": with_gaps(pick(["search", "friend", "advert", "letter"], [50, 20, 25, 5]), 0.15),
}
TARGETS: list[Draw] = [flag(0.35), normal(200, 40), pick(["low", "middle", "high"], [50, 30, 20])]


def draw_columns(columns: Mapping[str, Draw]) -> DrawTable:
    return lambda rng, n: pd.DataFrame({name: draw(rng, n) for name, draw in columns.items()})


def choose_others(rng: Rng, taken: set[str]) -> dict[str, Draw]:
    """Three to eight columns: a number, a category, one with gaps and any others; half of the time a target."""
    groups = [
        {name: draw for name, draw in group.items() if name not in taken} for group in (NUMBERS, CATEGORIES, GAPPY)
    ]
    names = [str(rng.choice(list(group))) for group in groups]
    pool = {name: draw for group in groups for name, draw in group.items()}
    rest = [str(name) for name in rng.permutation([name for name in pool if name not in names])]
    chosen = {name: pool[name] for name in names + rest[: int(rng.integers(0, 6))]}
    if "target" not in taken and rng.random() < 0.5:
        chosen["target"] = TARGETS[int(rng.integers(len(TARGETS)))]
    return chosen


def with_others(before: DrawTable, after: DrawTable) -> Maker:
    """The columns that change among columns that do not, in any order."""

    def make(rng: Rng, reference_rows: int, current_rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        reference, current = before(rng, reference_rows), after(rng, current_rows)
        others = choose_others(rng, {*reference.columns, *current.columns})
        reference = reference.join(draw_columns(others)(rng, reference_rows))
        current = current.join(draw_columns(others)(rng, current_rows))
        names = dict.fromkeys([*reference.columns, *current.columns])
        order = [str(name) for name in rng.permutation(list(names))]
        return (
            reference[[name for name in order if name in reference.columns]],
            current[[name for name in order if name in current.columns]],
        )

    return make


# --- ways to write a change -------------------------------------------------------------------------------------


def redrawn(name: str, column: str, before: Draw, after: Draw, rows: int, kind: str = "") -> Change:
    """One column that comes from another source now; kind is "date" or "text"."""
    make = with_others(draw_columns({column: before}), draw_columns({column: after}))
    return Change(name, make, column, rows, {column: kind} if kind else {})


def spoiled(name: str, column: str, draw: Draw, spoil: Spoil, rows: int, kind: str = "") -> Change:
    """One column from the same source, spoiled on its way."""
    return redrawn(name, column, draw, lambda rng, n: spoil(rng, pd.Series(draw(rng, n))), rows, kind)


def together(
    name: str, before: DrawTable, after: DrawTable, rows: int, types: Mapping[str, str] | None = None
) -> Change:
    """Columns that keep their values and go together in another way."""
    return Change(name, with_others(before, after), "", rows, types or {}, joint=True)


# --- numbers ----------------------------------------------------------------------------------------------------

WEIGHT = normal(70, 12)
TEMPERATURE = rounded(normal(21, 2), 2)
PRICE = rounded(lognormal(40, 0.5), 2)
BALANCE = rounded(lambda rng, n: rng.gamma(3, 500, n), 2)
DEPARTMENTS = [110, 120, 130, 210, 220, 230, 310, 320, 410, 900]


def heaped_ages(rng: Rng, n: int) -> np.ndarray:
    """Three in ten people round their age to five years."""
    ages = NUMBERS["age"](rng, n)
    return np.where(rng.random(n) < 0.3, 5 * np.round(ages / 5), ages).astype(int)


NUMBER_CHANGES = [
    redrawn(
        "number shifted by half a sd, one 1e5 in the reference",
        "weight",
        lambda rng, n: one_outlier(rng, pd.Series(WEIGHT(rng, n))),
        normal(76, 12),
        500,
    ),
    redrawn("number shifted by 0.3 sd", "weight", WEIGHT, normal(73.6, 12), 1000),
    redrawn(
        "cauchy twice as wide",
        "error_mm",
        lambda rng, n: rng.standard_cauchy(n),
        lambda rng, n: 2 * rng.standard_cauchy(n),
        1000,
    ),
    redrawn("lognormal of sd 3 tripled", "file_size", lognormal(2000, 3), lognormal(6000, 3), 1000),
    redrawn("spread 1.5 times as large, same mean", "deviation", normal(0, 1), normal(0, 1.5), 1000),
    redrawn("spread 0.6 times as large, same mean", "deviation", normal(0, 1), normal(0, 0.6), 1000),
    redrawn(
        "two humps instead of one, same mean and sd",
        "waiting_time",
        normal(30, 5),
        mixture(0.5, normal(25.5, 5 * np.sqrt(0.19)), normal(34.5, 5 * np.sqrt(0.19))),
        1000,
    ),
    redrawn(
        "heavier tails, same mean and sd",
        "daily_return",
        normal(0, 1),
        lambda rng, n: rng.standard_t(3, n) / np.sqrt(3),
        5000,
    ),
    spoiled("sensor stuck at one value in 3 % of rows", "temperature", TEMPERATURE, stuck(0.03), 1000),
    spoiled("1 % of readings 10 sd off", "pressure", normal(1013, 8), off_by_ten_sd, 2000),
    spoiled("sentinel -999 in 2 %", "temperature", TEMPERATURE, some(0.02, lambda values: -999.0), 1000),
    spoiled("sentinel 0 in 3 %", "weight", WEIGHT, some(0.03, lambda values: 0.0), 1000),
    spoiled("clipped at a maximum", "speed", normal(90, 15), all_rows(lambda values: values.clip(upper=110.0)), 1000),
    spoiled("rounded to whole numbers", "length_cm", normal(20, 5), all_rows(lambda values: values.round()), 500),
    spoiled("unit changed, times 1000", "volume", PRICE, all_rows(lambda values: values * 1000), 500),
    spoiled(
        "miles became kilometres", "distance", lognormal(120, 0.6), all_rows(lambda values: values * 1.609344), 1000
    ),
    spoiled(
        "celsius became fahrenheit",
        "temperature",
        TEMPERATURE,
        all_rows(lambda values: (values * 1.8 + 32).round(2)),
        500,
    ),
    spoiled("sign flipped", "balance", BALANCE, all_rows(lambda values: -values), 500),
    spoiled("sign flipped in 5 %", "balance", BALANCE, some(0.05, lambda values: -values), 500),
    spoiled("decimal point shifted in 5 %", "price", PRICE, some(0.05, lambda values: values * 10), 1000),
    redrawn("counts from 0 to 5 a third higher", "children", poisson(1.2, 5), poisson(1.6, 5), 1000),
    redrawn("flag from 1 to 3 %", "is_fraud", flag(0.01), flag(0.03), 2500),
    redrawn("flag from 2 to 4.5 %", "complained", flag(0.02), flag(0.045), 2500),
    redrawn("flag from 50 to 57 %", "is_weekday", flag(0.50), flag(0.57), 4000),
    redrawn(
        "one integer code from 10 to 16 %",
        "department",
        pick_number(DEPARTMENTS),
        pick_number(DEPARTMENTS, [10, 10, 10, 10, 16, 4, 10, 10, 10, 10]),
        2000,
    ),
    spoiled(
        "two integer codes became one",
        "department",
        pick_number(DEPARTMENTS),
        all_rows(lambda values: values.replace({230: 220})),
        1000,
    ),
    spoiled("negative ages in 2 %", "customer_age", NUMBERS["age"], some(0.02, lambda values: -values), 1000),
    redrawn(
        "more zeros among amounts, 20 to 28 %",
        "claim",
        mixture(0.20, lambda rng, n: np.zeros(n), PRICE),
        mixture(0.28, lambda rng, n: np.zeros(n), PRICE),
        2500,
    ),
    spoiled("shifted by one sd halfway through", "pressure", normal(1013, 8), late_shift, 500),
    redrawn("ages rounded to five years by some", "customer_age", NUMBERS["age"], heaped_ages, 2000),
    redrawn(
        "constant rate became another constant",
        "tax_rate",
        lambda rng, n: np.full(n, 0.19),
        lambda rng, n: np.full(n, 0.16),
        500,
    ),
    redrawn("small amounts no longer exported", "price", PRICE, keep_where(PRICE, lambda values: values > 20), 2500),
    spoiled("numbers written with a decimal comma", "price", PRICE, all_rows(decimal_comma), 500),
]

# --- categories -------------------------------------------------------------------------------------------------

CITIES = ["berlin", "hamburg", "munich", "cologne", "frankfurt", "stuttgart", "dresden", "leipzig"]
CITY = pick(CITIES, [25, 18, 15, 12, 10, 8, 7, 5])
COUNTRIES = [f"country_{number:02d}" for number in range(30)]
PAYMENT = ["card", "cash", "invoice", "voucher", "transfer"]
WEEKDAYS = {
    "Monday": "Montag",
    "Tuesday": "Dienstag",
    "Wednesday": "Mittwoch",
    "Thursday": "Donnerstag",
    "Friday": "Freitag",
}

CATEGORY_CHANGES = [
    redrawn(
        "category from 1 to 5 %", "payment", pick(PAYMENT, [60, 25, 10, 1, 4]), pick(PAYMENT, [58, 23, 10, 5, 4]), 1500
    ),
    redrawn("one of 30 categories doubled", "country", pick(COUNTRIES), pick(COUNTRIES, [2.07] + [1] * 29), 3000),
    redrawn(
        "category with 4 % vanished",
        "payment",
        pick(PAYMENT, [50, 25, 11, 4, 10]),
        pick(PAYMENT, [52, 26, 12, 0, 10]),
        1000,
    ),
    spoiled("new category in 1 %", "payment", pick(PAYMENT), some(0.01, lambda values: "crypto"), 1500),
    spoiled("typos in 8 %, each once", "city", CITY, typos(0.08), 1000),
    spoiled("upper case instead of lower", "city", CITY, all_rows(lambda values: values.str.upper()), 500),
    spoiled("upper case in 5 %", "city", CITY, some(0.05, lambda values: values.str.upper()), 1000),
    spoiled("trailing spaces", "city", CITY, all_rows(lambda values: values + "  "), 500),
    spoiled("trailing spaces in 6 %", "city", CITY, some(0.06, lambda values: values + " "), 1000),
    spoiled(
        "Yes and No became 1 and 0",
        "insured",
        pick(["Yes", "No"], [70, 30]),
        all_rows(lambda values: values.map({"Yes": 1, "No": 0})),
        500,
    ),
    spoiled(
        "two categories became one", "city", CITY, all_rows(lambda values: values.replace({"leipzig": "dresden"})), 1500
    ),
    spoiled(
        "two categories swapped",
        "city",
        CITY,
        all_rows(lambda values: values.replace({"berlin": "cologne", "cologne": "berlin"})),
        500,
    ),
    spoiled("empty strings in 4 %", "city", CITY, some(0.04, lambda values: ""), 1000),
    redrawn(
        "unknown from 2 to 6 %",
        "diagnosis",
        pick(["healthy", "flu", "injury", "unknown"], [50, 30, 18, 2]),
        pick(["healthy", "flu", "injury", "unknown"], [48, 29, 17, 6]),
        1500,
    ),
    spoiled("weekdays in another language", "weekday", pick(list(WEEKDAYS)), all_rows(lambda v: v.map(WEEKDAYS)), 500),
    spoiled("new articles in 10 %", "article", zipf("A", 300), replaced(0.10, zipf("N", 40)), 1000),
    spoiled("true and false inverted", "paid", lambda rng, n: rng.random(n) < 0.8, all_rows(lambda v: ~v), 500),
    spoiled(
        "umlauts written out",
        "town",
        pick(["München", "Köln", "Bonn", "Kiel", "Essen"], [30, 25, 20, 15, 10]),
        all_rows(lambda values: values.str.replace("ü", "ue").str.replace("ö", "oe")),
        500,
    ),
    redrawn(
        "leading category from 60 to 50 %", "plan", pick("abcd", [60, 20, 12, 8]), pick("abcd", [50, 25, 15, 10]), 2000
    ),
    redrawn("constant category became another", "currency", pick(["EUR"]), pick(["USD"]), 500),
]

# --- missing values ---------------------------------------------------------------------------------------------

MISSING_CHANGES = [
    spoiled("4 % missing where none was", "weight", WEIGHT, missing(0.04), 1000),
    spoiled("4 % of categories missing where none was", "city", CITY, missing(0.04), 1000),
    redrawn(
        "missing from 10 to 20 %", "blood_sugar", with_gaps(normal(95, 12), 0.1), with_gaps(normal(95, 12), 0.2), 1000
    ),
    redrawn("categories missing from 10 to 20 %", "city", with_gaps(CITY, 0.1), with_gaps(CITY, 0.2), 1000),
    spoiled("number all missing", "weight", WEIGHT, missing(1.0), 500),
    spoiled("category all missing", "city", CITY, missing(1.0), 500),
    redrawn("none missing where 5 % were", "blood_sugar", with_gaps(normal(95, 12), 0.05), normal(95, 12), 1000),
    spoiled("last 6 % of rows missing", "pressure", normal(1013, 8), missing_run(0.06), 1000),
    spoiled(
        "largest tenth missing", "speed", normal(90, 15), all_rows(lambda values: values.mask(values > 109.2)), 1000
    ),
    spoiled("5 % of dates missing", "visited", days("2023-01-01", "2024-12-31"), missing(0.05), 1000, "date"),
]

# --- dates ------------------------------------------------------------------------------------------------------

YEARS = days("2022-01-01", "2024-12-31")
SPRING = days("2024-03-01", "2024-05-31")
OFFICE = moments("2024-01-01", "2024-06-30")


def on_a_weekday(values: np.ndarray) -> np.ndarray:
    return np.is_busday(values.astype("datetime64[D]"))


DATE_CHANGES = [
    spoiled(
        "all dates 1970-01-01", "ordered", YEARS, all_rows(lambda values: ["1970-01-01"] * len(values)), 500, "date"
    ),
    spoiled("5 % of dates 1970-01-01", "ordered", YEARS, some(0.05, lambda values: "1970-01-01"), 500, "date"),
    spoiled("day and month swapped", "ordered", SPRING, all_rows(day_and_month_swapped), 500, "date"),
    redrawn("dates a year later", "ordered", SPRING, days("2025-03-01", "2025-05-31"), 500, "date"),
    spoiled("1 % of dates in 2099", "valid_until", YEARS, some(0.01, lambda values: "2099-12-31"), 2000, "date"),
    redrawn("last two weeks of dates cut off", "ordered", SPRING, days("2024-03-01", "2024-05-17"), 1000, "date"),
    spoiled("times of day lost", "logged", OFFICE, all_rows(lambda values: values.str[:10] + "T00:00:00"), 500, "date"),
    spoiled("times six hours later", "logged", OFFICE, all_rows(hours_later(6)), 1000, "date"),
    redrawn("no dates at weekends", "logged", OFFICE, keep_where(OFFICE, on_a_weekday), 2000, "date"),
    spoiled(
        "dates moved to the first of the month", "ordered", YEARS, all_rows(lambda v: v.str[:8] + "01"), 1000, "date"
    ),
    spoiled("dates that do not exist in 3 %", "ordered", YEARS, some(0.03, lambda values: "2024-02-30"), 1000, "date"),
    spoiled(
        "dates written as 05.03.2024",
        "ordered",
        YEARS,
        all_rows(lambda values: values.str[8:10] + "." + values.str[5:7] + "." + values.str[:4]),
        500,
        "date",
    ),
]

# --- text -------------------------------------------------------------------------------------------------------

NOTE = sentences(ENGLISH)
NOTE_FRENCH = sentences(FRENCH)


def template(rng: Rng, n: int) -> np.ndarray:
    tickets = rng.integers(100000, 999999, n)
    return np.array([f"Thank you for your message, your ticket is {ticket}." for ticket in tickets], dtype=object)


TEXT_CHANGES = [
    spoiled("all texts ERROR", "note", NOTE, all_rows(lambda values: ["ERROR"] * len(values)), 500, "text"),
    spoiled("10 % of texts say N/A", "note", NOTE, replaced(0.10, pick(["N/A", "n/a", "none", "-"])), 500, "text"),
    redrawn("texts in another language", "note", NOTE, sentences(GERMAN), 500, "text"),
    spoiled("15 % of texts in another language", "note", NOTE, replaced(0.15, sentences(GERMAN)), 1000, "text"),
    spoiled("texts cut after 20 characters", "note", NOTE, all_rows(lambda values: values.str[:20]), 500, "text"),
    spoiled("mojibake in 10 %", "comment", NOTE_FRENCH, some(0.10, mojibake), 1000, "text"),
    spoiled("texts in upper case", "note", NOTE, all_rows(lambda values: values.str.upper()), 500, "text"),
    redrawn("texts twice as long", "note", NOTE, sentences(ENGLISH, 16, 48), 500, "text"),
    spoiled("a template in 20 % of texts", "note", NOTE, replaced(0.20, template), 1000, "text"),
    redrawn("every text twice", "note", NOTE, each_twice(NOTE), 1000, "text"),
    spoiled("5 % of texts empty", "note", NOTE, some(0.05, lambda values: ""), 1000, "text"),
    spoiled("markup in 20 % of texts", "note", NOTE, some(0.20, lambda v: "<p>" + v + "</p><br/>"), 1000, "text"),
    spoiled("15 % of texts on a new topic", "note", NOTE, replaced(0.15, sentences(RECALL)), 1000, "text"),
]

# --- targets ----------------------------------------------------------------------------------------------------

TARGET_CHANGES = [
    redrawn("rare target from 0.2 to 0.6 %", "target", flag(0.002), flag(0.006), 5000),
    redrawn(
        "target class from 38 to 48 %", "target", pick(["yes", "no"], [38, 62]), pick(["yes", "no"], [48, 52]), 1500
    ),
    redrawn("numeric target twice as spread", "target", normal(100, 15), normal(100, 30), 500),
    spoiled(
        "third target class in 1 %",
        "target",
        pick(["keep", "return"], [80, 20]),
        some(0.01, lambda v: "exchange"),
        1500,
    ),
    spoiled("3 % of the target missing", "target", normal(100, 15), missing(0.03), 1000),
]

# --- columns that come, go and are renamed ------------------------------------------------------------------------


def nothing(rng: Rng, n: int) -> pd.DataFrame:
    return pd.DataFrame(index=range(n))


COLUMN_CHANGES = [
    Change(
        "number column renamed",
        with_others(draw_columns({"price": PRICE}), draw_columns({"unit_price": PRICE})),
        "price",
        500,
    ),
    Change(
        "category column renamed",
        with_others(draw_columns({"city": CITY}), draw_columns({"City": CITY})),
        "city",
        500,
    ),
    Change(
        "date column renamed",
        with_others(draw_columns({"ordered": YEARS}), draw_columns({"order_date": YEARS})),
        "ordered",
        500,
        {"ordered": "date", "order_date": "date"},
    ),
    Change("column gone", with_others(draw_columns({"price": PRICE}), nothing), "price", 500),
]

# --- how columns go together ------------------------------------------------------------------------------------


def pair(correlation: float, one: str = "width", other: str = "height") -> DrawTable:
    """Two standard normal columns with this correlation."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        first, noise = rng.normal(size=(2, n))
        return pd.DataFrame({one: first, other: correlation * first + np.sqrt(1 - correlation**2) * noise})

    return draw


def shuffled(draw: DrawTable, column: str) -> DrawTable:
    """The column keeps its values and loses its rows."""

    def draw_shuffled(rng: Rng, n: int) -> pd.DataFrame:
        table = draw(rng, n)
        return table.assign(**{column: rng.permutation(table[column].to_numpy())})

    return draw_shuffled


def exchanged(draw: DrawTable, one: str, other: str) -> DrawTable:
    """Two columns swapped with each other."""

    def draw_exchanged(rng: Rng, n: int) -> pd.DataFrame:
        table = draw(rng, n)
        return table.assign(**{one: table[other], other: table[one]})

    return draw_exchanged


def site_and_load(rng: Rng, n: int) -> pd.DataFrame:
    """Three sites, and a load that lies higher at one than at the next."""
    load = rng.normal(size=n)
    site = np.digitize(load + rng.normal(0, 0.7, n), np.array([-0.43, 0.43]) * np.sqrt(1.49))
    return pd.DataFrame({"site": np.array(["A", "B", "C"], dtype=object)[site], "load": 100 + 10 * load})


def swap_sites(rng: Rng, n: int) -> pd.DataFrame:
    """The names of the lowest and the highest site, which are as common as each other, are swapped."""
    table = site_and_load(rng, n)
    return table.assign(site=table["site"].replace({"A": "C", "C": "A"}))


def switches(rng: Rng, n: int) -> pd.DataFrame:
    """The alarm is on where just one door is open, except in one row of twenty."""
    front, back = rng.integers(0, 2, (2, n))
    return pd.DataFrame({"front_door": front, "back_door": back, "alarm": front ^ back ^ (rng.random(n) < 0.05)})


def segment(share: float) -> DrawTable:
    """30 % come from the harbour and 30 % wait less than 10 days; this share does both."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        cell = rng.choice(4, n, p=[share, 0.3 - share, 0.3 - share, 0.4 + share])
        depot = np.where(cell <= 1, "harbour", pick(["airport", "station", "centre"], [40, 40, 20])(rng, n))
        short = (cell == 0) | (cell == 2)
        wait = np.where(short, rng.uniform(0, 10, n), 10 + rng.gamma(2, 8, n))
        return pd.DataFrame({"depot": depot.astype(object), "wait": wait.round(2)})

    return draw


def ring(rng: Rng, n: int) -> pd.DataFrame:
    """The effort is large where the position is far from the middle, on either side: no correlation."""
    position = rng.normal(size=n)
    ranks = np.argsort(np.argsort(np.abs(position) + rng.normal(0, 0.3, n)))
    return pd.DataFrame({"position": position, "effort": np.sort(rng.normal(size=n))[ranks]})


def gaps(at_once: bool) -> DrawTable:
    """Two columns with 20 % missing each, in the same rows or not."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        pulse, oxygen = normal(75, 10)(rng, n), normal(97, 1)(rng, n)
        first = some_rows(rng, n, 0.2)
        second = first if at_once else some_rows(rng, n, 0.2)
        return pd.DataFrame({"pulse": np.where(first, np.nan, pulse), "oxygen": np.where(second, np.nan, oxygen)})

    return draw


def stays(rng: Rng, n: int) -> pd.DataFrame:
    """People leave the clinic one to thirty days after they came."""
    came = YEARS(rng, n)
    left = (came.astype("datetime64[D]") + rng.integers(1, 31, n)).astype(str).astype(object)
    return pd.DataFrame({"came": came, "left": left})


def basket(rng: Rng, n: int) -> pd.DataFrame:
    """The total is what the pieces cost."""
    each, pieces = PRICE(rng, n), rng.integers(1, 6, n)
    return pd.DataFrame({"each": each, "pieces": pieces, "total": (each * pieces).round(2)})


def heating(rng: Rng, n: int) -> pd.DataFrame:
    """The heater follows one of two sensors whose values are alike."""
    table = pair(0.8, "sensor_in", "heater")(rng, n)
    return table.assign(sensor_out=rng.normal(size=n))


def churn(direction: int) -> DrawTable:
    """Whether people leave follows from how often they called."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        calls = rng.normal(size=n)
        leaves = rng.random(n) < 1 / (1 + np.exp(-2 * direction * calls))
        return pd.DataFrame({"calls_score": calls, "target": leaves.astype(int)})

    return draw


def rows_four_times(rng: Rng, reference_rows: int, current_rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every row of the current table was exported four times."""
    draw = draw_columns({"weight": WEIGHT, "file_size": lognormal(2000, 1)})
    reference, current = with_others(draw, draw)(rng, reference_rows, current_rows)
    rows = np.resize(np.arange((current_rows + 3) // 4), current_rows)
    return reference, current.iloc[rows].reset_index(drop=True)


JOINT_CHANGES = [
    together("correlation from 0.9 to -0.9", pair(0.9), pair(-0.9), 500),
    together("correlation from 0 to 0.5", pair(0.0), pair(0.5), 1000),
    together("correlation from 0.9 to 0.5", pair(0.9), pair(0.5), 1000),
    together("category and number tied now", shuffled(site_and_load, "load"), site_and_load, 1000),
    together("names of two categories swapped under a number", site_and_load, swap_sites, 1000),
    together("three flags became an exclusive or", shuffled(switches, "alarm"), switches, 1000),
    together("two columns swapped with each other", heating, exchanged(heating, "sensor_in", "sensor_out"), 1000),
    together("segment from 8 to 19 %", segment(0.08), segment(0.19), 1500),
    together("tied without correlation", shuffled(ring, "effort"), ring, 1000),
    together("gaps in the same rows now", gaps(False), gaps(True), 1000),
    together("ends no longer follow starts", stays, shuffled(stays, "left"), 1000, {"came": "date", "left": "date"}),
    together("total no longer the sum", basket, shuffled(basket, "total"), 1000),
    together("target follows a feature the other way round", churn(1), churn(-1), 1000),
    together("target no longer follows a feature", churn(1), shuffled(churn(1), "target"), 1000),
    Change("every row four times", rows_four_times, "", 1000, joint=True),
]

CHANGES: list[Change] = [
    *NUMBER_CHANGES,
    *CATEGORY_CHANGES,
    *MISSING_CHANGES,
    *DATE_CHANGES,
    *TEXT_CHANGES,
    *TARGET_CHANGES,
    *COLUMN_CHANGES,
    *JOINT_CHANGES,
]

# --- nothing changed --------------------------------------------------------------------------------------------


def same(name: str, draw: DrawTable, types: Mapping[str, str] | None = None, rows: int = 1000) -> Change:
    """Both tables from one source."""

    def make(rng: Rng, reference_rows: int, current_rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        return draw(rng, reference_rows), draw(rng, current_rows)

    return Change(name, make, "", rows, types or {})


def side_by_side(*draws: DrawTable) -> DrawTable:
    return lambda rng, n: pd.concat([draw(rng, n) for draw in draws], axis=1)


def numbered(prefix: str, count: int, draw: Draw) -> DrawTable:
    """Several columns of one kind."""
    return draw_columns({f"{prefix}_{number}": draw for number in range(count)})


def factor_columns(count: int) -> DrawTable:
    """Columns that are nearly one and the same."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        common = rng.normal(size=n)
        return pd.DataFrame({f"size_{number}": common + rng.normal(0, 0.1, n) for number in range(count)})

    return draw


def money(rng: Rng, n: int) -> np.ndarray:
    """Skewed amounts, a third of them list prices."""
    listed = pick_number([4.99, 9.99, 19.99, 49.0, 199.0, 999.0], [30, 25, 20, 15, 8, 2])(rng, n)
    free = (25 * np.exp(1.4 * rng.normal(size=n))).round(2)
    return np.where(rng.random(n) < 0.33, listed, free)


def words_and_numbers(rng: Rng, n: int) -> np.ndarray:
    """A column in which people typed a number or a word."""
    values = rng.integers(1, 50, n).astype(object)
    values[rng.random(n) < 0.1] = "many"
    return values


ALL_KINDS = side_by_side(
    draw_columns(NUMBERS),
    draw_columns(CATEGORIES),
    draw_columns(GAPPY),
    draw_columns({"ordered": YEARS, "logged": OFFICE, "note": NOTE, "target": TARGETS[0]}),
)
SIXTY = side_by_side(
    numbered("reading", 25, normal()),
    numbered("count", 10, poisson(1.5, 8)),
    numbered("code", 10, zipf("C", 25)),
    numbered("flag", 5, flag(0.05)),
    numbered("gappy", 5, with_gaps(normal(), 0.1)),
    numbered("heavy", 5, lognormal(1, 2)),
)

SAME: list[Change] = [
    same("normal numbers", numbered("reading", 6, normal(50, 7))),
    same(
        "heavy-tailed numbers",
        side_by_side(
            numbered("cauchy", 3, lambda rng, n: rng.standard_cauchy(n)), numbered("size", 3, lognormal(10, 3))
        ),
    ),
    same("zipf categories with hundreds of levels", numbered("article", 4, zipf("A", 600))),
    same("zipf categories with a long tail", numbered("word", 3, zipf("W", 5000, 0.8))),
    same("rare flags of 0.1 %", numbered("rare", 6, flag(0.001))),
    same(
        "20 % gaps",
        side_by_side(
            numbered("number", 3, with_gaps(normal(), 0.2)),
            numbered("city", 3, with_gaps(CITY, 0.2)),
        ),
    ),
    same(
        "few-valued integers",
        side_by_side(
            numbered("dice", 3, lambda rng, n: rng.integers(1, 7, n)), numbered("children", 3, poisson(1.2, 5))
        ),
    ),
    same(
        "dates",
        draw_columns({"born": days("1940-01-01", "2006-12-31"), "ordered": SPRING, "logged": OFFICE}),
        {"born": "date", "ordered": "date", "logged": "date"},
    ),
    same(
        "dates with gaps and defaults",
        draw_columns(
            {
                "closed": with_gaps(YEARS, 0.3),
                "valid_until": mixture(0.2, pick(["9999-12-31"]), days("2024-01-01", "2026-12-31")),
            }
        ),
        {"closed": "date", "valid_until": "date"},
    ),
    same("text", draw_columns({"note": NOTE, "comment": NOTE_FRENCH}), {"note": "text", "comment": "text"}),
    same(
        "text with templates and gaps",
        draw_columns({"note": mixture(0.3, template, NOTE), "comment": with_gaps(NOTE_FRENCH, 0.25)}),
        {"note": "text", "comment": "text"},
    ),
    same("strongly correlated columns", factor_columns(8)),
    same(
        "constant columns",
        side_by_side(
            draw_columns({"currency": pick(["EUR"]), "rate": lambda rng, n: np.full(n, 0.19)}),
            draw_columns({"empty": lambda rng, n: np.full(n, np.nan), "reading": normal()}),
        ),
    ),
    same("60 columns", SIXTY),
    same("all of it mixed", ALL_KINDS, {"ordered": "date", "logged": "date", "note": "text"}),
    same("skewed money with repeated prices", numbered("amount", 4, money)),
    same("mostly zero", numbered("claim", 4, mixture(0.97, lambda rng, n: np.zeros(n), PRICE))),
    same("mostly missing", numbered("remark", 4, with_gaps(CITY, 0.98))),
    same("integer codes", numbered("postcode", 3, pick_number(list(range(10000, 12000)), np.arange(1, 2001) ** -0.5))),
    same(
        "columns tied to each other",
        side_by_side(switches, site_and_load, gaps(True), basket, stays),
        {"came": "date", "left": "date"},
    ),
    same("rare target", side_by_side(draw_columns({"target": flag(0.002)}), numbered("reading", 4, normal()))),
    same("one column", draw_columns({"reading": normal()})),
    same("numbers and words in one column", draw_columns({"pieces": words_and_numbers, "reading": normal()})),
    same("gross outliers in both", numbered("meter", 4, mixture(0.001, normal(1e6, 1e5), normal(20, 3)))),
]

# --- too small to tell anyone, at 200,000 and 50,000 rows -------------------------------------------------------

TOO_SMALL: list[Change] = [
    redrawn("shift of 0.02 sd", "weight", WEIGHT, normal(70.24, 12), 50_000),
    redrawn("category from 30.0 to 30.5 %", "plan", pick("abc", [30, 45, 25]), pick("abc", [30.5, 44.5, 25]), 50_000),
    redrawn(
        "missing from 10.0 to 10.6 %",
        "blood_sugar",
        with_gaps(normal(95, 12), 0.100),
        with_gaps(normal(95, 12), 0.106),
        50_000,
    ),
    redrawn(
        "mean 1.005 times as large",
        "duration_ms",
        lambda rng, n: rng.gamma(10, 20, n),
        lambda rng, n: 1.005 * rng.gamma(10, 20, n),
        50_000,
    ),
    redrawn("spread 1.015 times as large", "deviation", normal(0, 1), normal(0, 1.015), 50_000),
    redrawn("flag from 2.0 to 2.2 %", "complained", flag(0.020), flag(0.022), 50_000),
    redrawn("counts 2 % higher", "children", poisson(1.2, 5), poisson(1.224, 5), 50_000),
    redrawn(
        "one of 20 categories from 5.0 to 5.3 %",
        "country",
        pick(COUNTRIES[:20]),
        pick(COUNTRIES[:20], [5.3] + [94.7 / 19] * 19),
        50_000,
    ),
    redrawn("target class from 38.0 to 38.7 %", "target", flag(0.380), flag(0.387), 50_000),
    redrawn(
        "December from 8.5 to 9.2 % of dates",
        "ordered",
        days("2023-01-01", "2023-12-31"),
        mixture(0.992, days("2023-01-01", "2023-12-31"), days("2023-12-01", "2023-12-31")),
        50_000,
        "date",
    ),
    # none is longer than the longest was: texts of a new length in 1 % would be worth a word
    redrawn("texts 0.6 % longer", "note", NOTE, mixture(0.975, NOTE, sentences(ENGLISH, 16, 24)), 50_000, "text"),
    together("correlation from 0.50 to 0.52", pair(0.50), pair(0.52), 50_000),
]
