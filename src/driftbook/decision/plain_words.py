"""The decision as its owner repeats it: what to do, why, how sure, and what would change it.

No number that needs a statistician: error rates as one in so many, gains as parts and multiples.
The numbers behind each sentence stand in the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from driftbook.decision import costs, plain_numbers
from driftbook.decision.challenger import Challenger
from driftbook.decision.findings import WindowFindings
from driftbook.paths import Action
from driftbook.settings import PolicySettings, Settings
from driftbook.words import name_source, render_words

# Which metric tells how often, or by how much, predictions are wrong; the first one there is.
MISTAKES = ("accuracy", "mae")
# Of error rates: a difference that people would call the same.
SAME_RATE = 0.02
LITTLE = 0.07
# Names of columns in a sentence; the rest are counted.
MOST_NAMED = 3
# A price that would turn the answer is told where somebody might set it.
LEAST_TOLD, MOST_TOLD = 0.05, 100.0


@dataclass(frozen=True)
class PlainWords:
    """A decision in plain words.

    ``what``: to do; ``why``: two sentences; ``sure``: how likely that is right, with its level;
    ``money``: what it costs where prices are set; ``reverses``: what would change the answer.
    """

    what: str
    why: tuple[str, str]
    sure: str
    money: str | None
    reverses: tuple[str, ...]


def explain_decision(
    action: Action, found: WindowFindings, challenger: Challenger | None, settings: Settings
) -> PlainWords:
    """Return the decision in plain words; ``settings``: with the costs of this window."""
    policy, elsewhere = settings.policy, settings.is_external
    loss, mistakes = _find_rows(found)
    values = {
        "action": action,
        "found": found,
        "elsewhere": elsewhere,
        "loss": loss,
        "how_wrong": _say_mistakes(loss, mistakes),
        "right": _say_right(loss, mistakes),
        "moved": _name_columns([str(name) for name in found.moved["feature"]]),
        "seen": _name_columns(found.seen_only),
        "seasonal": _name_columns(found.seasonal),
        "faults": found.broken.to_dict("records"),
        "unseen": found.quality[found.quality["fault"] == "unseen"].to_dict("records"),
        "challenger": challenger,
        "gain": _say_gain(challenger, loss, len(found.worse) > 0),
        "times": _say_times(challenger, policy),
        "policy": policy,
        "asked": policy.confidence,
        "certainty": None
        if challenger is None
        else plain_numbers.say_certainty(challenger.certainty),
        "period": settings.data.window if isinstance(settings.data.window, str) else "window",
        "worst": _say_worst(loss),
        "turning": _say_turning(challenger, policy),
    }
    why = render_words("plain_why.md.j2", **values).split("\n")
    money = render_words("plain_money.md.j2", **values)
    return PlainWords(
        what=render_words("plain_what.md.j2", **values),
        why=(why[0], why[1]),
        sure=render_words("plain_sure.md.j2", **values),
        money=money or None,
        reverses=tuple(render_words("plain_reverses.md.j2", **values).split("\n")),
    )


def _find_rows(
    found: WindowFindings,
) -> tuple[Mapping[Any, Any] | None, Mapping[Any, Any] | None]:
    """Return the rows of the loss and of the mistakes, of the basis that counts."""
    rows: dict[str, Mapping[Any, Any]] = {
        str(row["metric"]): row for row in found.counting.to_dict("records")
    }
    named = next((rows[name] for name in MISTAKES if name in rows), None)
    return rows.get(found.loss), named


def _say_mistakes(
    loss: Mapping[Any, Any] | None, mistakes: Mapping[Any, Any] | None
) -> dict[str, Any] | None:
    """Return how wrong predictions are now and were when the model was made.

    None where that cannot be said, or where it moved the other way than the loss that decides.
    """
    if loss is None or mistakes is None or math.isnan(mistakes["baseline"]):
        return None
    now, before = float(mistakes["value"]), float(mistakes["baseline"])
    if mistakes["metric"] == "mae":
        agree = (now - before) * float(loss["change"]) >= 0.0
        told = {"kind": "values", "now": now, "before": before, "same": False, "rose": now > before}
        return told if agree else None
    now, before = 1.0 - now, 1.0 - before
    if (now - before) * float(loss["change"]) < 0.0:
        return None
    same = abs(now - before) <= SAME_RATE * max(now, before)
    words = plain_numbers.say_shares(now, before)
    rose = now > before and not same
    return {"kind": "classes", "now": words[0], "before": words[1], "same": same, "rose": rose}


def _say_right(loss: Mapping[Any, Any] | None, mistakes: Mapping[Any, Any] | None) -> str | None:
    if loss is None or mistakes is None or mistakes["metric"] != "accuracy":
        return None
    return plain_numbers.say_share(float(mistakes["value"]))


def _name_columns(names: list[str]) -> str:
    """Return names in a sentence: columns as they are called, the tests over all of them in words.

    >>> _name_columns(["temp", "dewp", "(joint)"])
    'temp, dewp and the way columns go together'
    """
    words = [name_source(name) for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        rest = len(names) - MOST_NAMED
        words.append(f"{plain_numbers.say_count(rest)} more")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _say_gain(
    challenger: Challenger | None, loss: Mapping[Any, Any] | None, worse: bool
) -> str | None:
    """Return what part a newer model would win back of what was lost, else of all mistakes."""
    if challenger is None or challenger.gain <= 0.0 or loss is None:
        return None
    lost = float(loss["change"])
    if (worse or loss["verdict"] == "worse") and lost > 0.0:
        more = " and more" if challenger.gain > lost else ""
        return f"win back {plain_numbers.say_part(challenger.gain / lost)} of that{more}"
    if challenger.champion_loss <= 0.0:
        return None
    return f"spare {_say_spared(challenger.gain / challenger.champion_loss)} of its mistakes"


def _say_spared(part: float) -> str:
    """Return a part of all mistakes, small ones as one in so many."""
    if part >= LITTLE:
        return plain_numbers.say_part(part)
    many = 1.0 / max(part, 1e-3)
    step = 10.0 ** math.floor(math.log10(many))
    return f"about one in {round(many / step) * int(step):,}"


def _say_times(challenger: Challenger | None, policy: PolicySettings) -> str | None:
    """Return how many times its own cost a retrain earns; None where it does not."""
    if challenger is None or challenger.gain <= 0.0 or policy.error_cost <= 0.0:
        return None
    cost = challenger.break_even
    if cost <= 0.0:  # The champion ages so fast that any gain pays: the price alone is left.
        cost = policy.retrain_cost / policy.error_cost / challenger.windows
    if cost <= 0.0 or not math.isfinite(cost):
        return None
    times = challenger.gain / cost
    return plain_numbers.say_times(times) if times > 1.0 else None


def _say_worst(loss: Mapping[Any, Any] | None) -> float | None:
    """Return by what share of the baseline the loss may have risen, at most; 0 where it has not."""
    if loss is None or not loss["baseline"] > 0.0 or not math.isfinite(loss["change_high"]):
        return None
    return max(0.0, float(loss["change_high"]) / float(loss["baseline"]))


def _say_turning(challenger: Challenger | None, policy: PolicySettings) -> str | None:
    """Return by what multiple of the price that is set the answer turns."""
    if challenger is None or policy.retrain_cost <= 0.0:
        return None
    cost = costs.find_turning_cost(policy, challenger.worth, challenger.staleness)
    times = cost / policy.retrain_cost
    if not LEAST_TOLD < times < MOST_TOLD:
        return None
    if times > 1.0:
        return f"{plain_numbers.say_times(times)} the price that is set, or more"
    return f"{plain_numbers.say_part(times)} of the price that is set, or less"
