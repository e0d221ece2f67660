"""Numbers as people say them aloud: one in six, about an eighth, three times, almost certain."""

from __future__ import annotations

import math
from fractions import Fraction

_COUNTS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip
# Parts of a whole that have a name; between them the nearest is said.
_PARTS = {
    Fraction(1, 10): "a tenth", Fraction(1, 8): "an eighth", Fraction(1, 6): "a sixth",
    Fraction(1, 5): "a fifth", Fraction(1, 4): "a quarter", Fraction(1, 3): "a third",
    Fraction(2, 5): "two fifths", Fraction(1, 2): "half", Fraction(3, 5): "three fifths",
    Fraction(2, 3): "two thirds", Fraction(3, 4): "three quarters", Fraction(9, 10): "nine tenths",
}  # fmt: skip
# A share is said as one in so many where that is within this part of it.
NEAR = 0.06
# The least a word of certainty says; below the last one nothing is said to be likely.
_SURE = {
    0.99: "almost certain", 0.9: "very likely", 0.75: "likely", 0.5: "more likely than not",
}  # fmt: skip
_SIMPLE = ((2, 3), (3, 4), (2, 5), (3, 5), (4, 5), (5, 6), (7, 8), (9, 10))


def say_count(count: int) -> str:
    """Return a number as a word up to twelve, in digits above.

    >>> say_count(3), say_count(1200)
    ('three', '1,200')
    """
    return _COUNTS[count] if 0 <= count < len(_COUNTS) else f"{count:,}"


def say_share(share: float, noun: str = "prediction") -> str:
    """Return a share as so many in so many, the simplest that is near.

    >>> say_share(0.166), say_share(0.4)
    ('one prediction in six', 'two predictions in five')
    >>> say_share(0.234), say_share(0.0004)
    ('23 predictions in 100', 'hardly any prediction')
    """
    if share < 0.0005:
        return f"hardly any {noun}"
    if share > 0.9995:
        return f"every {noun}"
    found = _name_simple_share(share)
    if found is None:
        whole = 100 if share >= 0.02 else 1000
        found = round(share * whole), whole
    part, whole = found
    return f"{say_count(part)} {noun}{'' if part == 1 else 's'} in {say_count(whole)}"


def say_shares(now: float, before: float, noun: str = "prediction") -> tuple[str, str]:
    """Return two shares so that they can be told apart; the second without the noun.

    >>> say_shares(0.31, 0.234), say_shares(0.205, 0.198)
    (('31 predictions in 100', '23'), ('205 predictions in 1,000', '198'))
    """
    simple = _name_simple_share(now), _name_simple_share(before)
    if simple[0] and simple[1] and simple[0] != simple[1]:
        part, whole = simple[1]
        return say_share(now, noun), f"{say_count(part)} in {say_count(whole)}"
    fine = round(100 * now) == round(100 * before) or max(now, before) < 0.02
    whole = 1000 if fine or abs(now - before) < 0.01 else 100
    whole = 10_000 if round(1000 * now) == round(1000 * before) else whole
    first, second = round(now * whole), round(before * whole)
    plain = say_count(second) if first <= 12 else f"{second:,}"
    return f"{say_count(first)} {noun}{'' if first == 1 else 's'} in {whole:,}", plain


def _name_simple_share(share: float) -> tuple[int, int] | None:
    """Return part and whole of a near fraction of small numbers; None where there is none."""
    if not 0.0005 <= share <= 0.9995:
        return None
    whole = round(1.0 / share)
    if whole > 12:
        whole = 10 * round(1.0 / share / 10) if whole < 100 else 100 * round(1.0 / share / 100)
    choices = [(1, whole), *_SIMPLE]
    return next((one for one in choices if one[1] > 1 and _is_near(one, share)), None)


def _is_near(simple: tuple[int, int], share: float) -> bool:
    apart = abs(simple[0] / simple[1] - share)
    # Near one the share of the others counts: 93 in 100 is not nine in ten.
    return apart <= NEAR * min(share, 3.0 * (1.0 - share))


def say_part(part: float) -> str:
    """Return a part of a whole by its nearest name.

    >>> say_part(0.13), say_part(0.5), say_part(0.01), say_part(0.97), say_part(1.4)
    ('about an eighth', 'about half', 'little', 'nearly all', 'all')
    """
    if part < 0.03:
        return "little"
    if part < 0.07:
        return "about a twentieth"
    if part >= 1.0:
        return "all"
    if part > 0.94:
        return "nearly all"
    nearest = min(_PARTS, key=lambda one: abs(math.log(float(one) / part)))
    return f"about {_PARTS[nearest]}"


def say_times(times: float) -> str:
    """Return how many times, in a word.

    >>> say_times(1.3), say_times(3.2), say_times(250.0)
    ('a little more than', 'about three times', 'more than a hundred times')
    """
    if times > 100.0:
        return "more than a hundred times"
    if times < 1.5:
        return "a little more than"
    count = round(times) if times < 12.5 else 10 * round(times / 10)
    return "about twice" if count == 2 else f"about {say_count(count)} times"


def say_certainty(chance: float) -> str:
    """Return a chance as a word.

    >>> say_certainty(0.997), say_certainty(0.8), say_certainty(0.3)
    ('almost certain', 'likely', 'uncertain')
    """
    return next((word for least, word in _SURE.items() if chance >= least), "uncertain")
