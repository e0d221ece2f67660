"""The first screen: the decision, why, quality now, what would reverse it, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from driftbook.narrative import ICONS, MEANINGS, METRIC_LABELS
from driftbook.store.evidence import PublishedRun, find_headline
from driftbook.wording import code, interval, listed, number, prose


@dataclass(frozen=True)
class Command:
    """How the command line is called for these artifacts; by make where no option is needed."""

    options: str = ""

    def line(self, words: str, target: str | None = None) -> str:
        """Return a command to copy: ``make`` with the target (default: the words) or driftbook."""
        name = words if target is None else target
        if not self.options and " " not in name:
            return f"make {name}"
        return f".venv/bin/driftbook {words}{self.options}"


def decision(evidence: PublishedRun, command: Command) -> str:
    """Return the decision page below its title, as Markdown with a few styled blocks."""
    return "\n\n".join(
        [
            _banner(evidence),
            _facts(evidence),
            '<div class="db-reverse">',
            _reverses(evidence.recommendation),
            "</div>",
            f"**Next step:** {_step_text(evidence)}",
            f"```bash\n{next_command(evidence, command)}\n```",
            "## The evidence",
            _cards(evidence),
            _made(evidence),
        ]
    )


def _banner(evidence: PublishedRun) -> str:
    action = str(evidence.recommendation["action"])
    icon = f'<span aria-hidden="true">{ICONS[action]}</span>'
    return "\n".join(
        [
            "```{=html}",
            f'<div class="db-banner db-banner-{action}" role="region" aria-label="Decision">',
            f'<p class="db-banner-word">{icon} {action.capitalize()}</p>',
            f'<p class="db-banner-meaning">{escape(MEANINGS[action])}</p>',
            "</div>",
            "```",
            "",
            f"**Why:** {_sentence(evidence.recommendation['reason'])}",
        ]
    )


def _sentence(text: str) -> str:
    first = text.partition(" ")[0]
    if "_" not in first:  # a name such as insufficient_data stays as it is
        text = text[:1].upper() + text[1:]
    return prose(text if text.endswith((".", "!", "?")) else f"{text}.")


def _facts(evidence: PublishedRun) -> str:
    now = find_headline(evidence.performance)
    facts = {
        "Champion": f"<code>{escape(str(evidence.recommendation['model_version']))}</code>",
        "Window": escape(evidence.window),
        f"{_metric(now)} now": _now(now),
        "Baseline": "–" if now is None else _value(now, "baseline"),
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'```{{=html}}\n<dl class="db-facts">{items}</dl>\n```'


def _metric(now: pd.Series | None) -> str:
    return "Quality" if now is None else METRIC_LABELS[now["metric"]]


def _now(now: pd.Series | None) -> str:
    return "not judged" if now is None else f"{_value(now, 'value')} <small>{now['basis']}</small>"


def _value(row: pd.Series, side: str) -> str:
    low, high = ("ci_low", "ci_high") if side == "value" else ("baseline_low", "baseline_high")
    return escape(interval(row[side], row[low], row[high]))


def _reverses(recommendation: dict[str, Any]) -> str:
    conditions = recommendation.get("reverses") or ["nothing that this run can name"]
    return "**What would reverse it**\n\n" + "\n".join(f"- {prose(c)}" for c in conditions)


def _step_text(evidence: PublishedRun) -> str:
    action = evidence.recommendation["action"]
    if _replaced(evidence):
        return f"judge {code(evidence.champion)}, which is the champion since, on the next window."
    if action == "retrain":
        return "promote the challenger; the gate checks the evidence again."
    if action == "investigate":
        return "open this run and look at the columns that are broken."
    return "judge the next window when it is complete."


def _replaced(evidence: PublishedRun) -> bool:
    """Tell whether another version has become champion since the run."""
    return evidence.champion not in (None, evidence.recommendation["model_version"])


def next_command(evidence: PublishedRun, command: Command) -> str:
    """Return the one command that comes next after this decision."""
    action = evidence.recommendation["action"]
    if _replaced(evidence):
        return command.line("run --from drift", "run-drift")
    if action == "retrain":
        return command.line("promote")
    if action == "investigate":
        return command.line(f"open {evidence.run_id}")
    return command.line("run --from drift", "run-drift")


def _cards(evidence: PublishedRun) -> str:
    cards = [
        ("Data quality", "02-drift.html", *_quality_card(evidence)),
        ("Drift", "02-drift.html", *_drift_card(evidence)),
        ("Performance", "performance.html", *_performance_card(evidence)),
        ("Economics", "03-retrain-decision.html", *_economics_card(evidence)),
    ]
    # Raw HTML, because Markdown cannot make a whole card one link.
    items = "".join(
        f'<a class="db-card db-card-{state}" href="{href}"><span class="db-card-name">{name}</span>'
        f'<span class="db-card-state">{escape(word)}</span>'
        f'<span class="db-card-text">{escape(text)}</span></a>'
        for name, href, state, word, text in cards
    )
    return f'```{{=html}}\n<div class="db-cards">{items}</div>\n```'


def _quality_card(evidence: PublishedRun) -> tuple[str, str, str]:
    faults = evidence.quality
    if faults.empty:
        return "good", "✓ sound", "No column is broken or odd."
    broken = faults[faults["severity"] == "broken"]
    if broken.empty:
        return "note", f"• {len(faults)} noted", f"Nothing is broken; noted: {_findings(faults)}."
    return "bad", f"✗ {len(broken)} broken", f"{_findings(broken)}."


def _findings(faults: pd.DataFrame, most: int = 3) -> str:
    words = [f"{row['feature']}: {row['detail']}" for _, row in faults.head(most).iterrows()]
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(words) + more


def _drift_card(evidence: PublishedRun) -> tuple[str, str, str]:
    report = evidence.drift
    if report.empty:
        return "note", "• not judged", "Too few rows to compare."
    own = report[~report["kind"].isin(["prediction", "joint"])]
    flagged = own[own["drift_flag"].astype(bool)]
    flagged = flagged.sort_values("effect", key=abs, ascending=False)
    matters = bool(report["matters"].astype(bool).any())
    if flagged.empty:
        return "good", "✓ none flagged", f"None of {len(own)} features has moved far enough."
    names = listed(list(flagged["feature"])[:4]).replace("`", "")
    more = "; it matters to the model." if matters else "; the model hardly leans on it."
    return (
        "bad" if matters else "note",
        f"{'✗' if matters else '•'} {len(flagged)} of {len(own)} flagged",
        f"Moved most: {names}{more}",
    )


def _performance_card(evidence: PublishedRun) -> tuple[str, str, str]:
    judged = evidence.performance
    ok = judged[judged["status"] == "ok"] if not judged.empty else judged
    if ok.empty:
        return "note", "• not judged", "No metric can be judged on this window."
    realised = ok[ok["basis"] == "realised"]
    basis = realised if len(realised) else ok[ok["basis"] == "estimated"]
    worse = basis[basis["worse"].astype(bool)]
    how = "measured" if len(realised) else "estimated without labels"
    if worse.empty:
        return "good", "✓ no worse", f"No metric is worse than its baseline ({how})."
    names = ", ".join(METRIC_LABELS.get(m, m) for m in worse["metric"])
    return (
        "bad",
        f"✗ {len(worse)} of {len(basis)} worse",
        f"Worse than the baseline: {names} ({how}).",
    )


def _economics_card(evidence: PublishedRun) -> tuple[str, str, str]:
    parts = evidence.recommendation["evidence"]
    best, terms = parts["challenger"], parts["economics"]
    even = number(terms["break_even_gain"])
    if best is None:
        return (
            "note",
            "• no challenger",
            f"None was needed; one would pay from a gain of {even} a row.",
        )
    gain = interval(best["gain"], best["gain_low"], best["gain_high"])
    text = f"Gain {gain} Brier loss a row against a break-even of {even}."
    if not best["pays"]:
        return "note", "• a retrain is not sure to pay", text
    if evidence.recommendation["action"] != "retrain":
        return "note", "• nothing to mend", f"{text} The champion is neither worse nor stale."
    return "good", "✓ a retrain pays", text


def _made(evidence: PublishedRun) -> str:
    made = (
        str(evidence.manifest.get("created_utc", "–")).replace("T", " ").replace("+00:00", " UTC")
    )
    return (
        f"Made {made} from run `{evidence.run_id}`; every number on these pages is in its "
        "[artifacts](artifacts.qmd)."
    )
