"""One contestant in its own interpreter: ``python _worker.py NAME FOLDER``.

It reads the arrays of the folder, makes the reference's side, says so, and then detects drift of
the window each time it is asked by a line; every answer is a line of JSON: CPU and wall seconds of
the detection alone, the peak MiB since then, and how many columns were judged. NumPy and the
contestant's own library are all it needs.

``reference.npy`` and ``current.npy`` hold floats, column by column; ``…_codes.npy``, where there,
columns of text as the place of each row's level, -1 where it has none.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

os.environ.update(NML_DISABLE_USAGE_LOGGING="1", DO_NOT_TRACK="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _measuring import find_peak_mib, forget_peak, measure_call

LEVELS = 30


class Rows(NamedTuple):
    """One side: floats of shape (n, k), and codes of text of shape (n, t)."""

    floats: np.ndarray[Any, Any]
    codes: np.ndarray[Any, Any]


Detect = Callable[[], int]


def read_rows(folder: Path, side: str) -> Rows:
    """Return the arrays of one side; no columns of text where there is no file of them."""
    floats, codes = np.load(folder / f"{side}.npy"), folder / f"{side}_codes.npy"
    return Rows(floats, np.load(codes) if codes.is_file() else np.empty((len(floats), 0), np.int8))


def make_frame(rows: Rows, text: str) -> Any:
    """Return a data frame of both, text as pandas' ``category`` or ``str``."""
    pd = importlib.import_module("pandas")
    levels = [f"level {k}" for k in range(LEVELS)]
    frame = pd.DataFrame(rows.floats, columns=[f"x{k}" for k in range(rows.floats.shape[1])])
    for k, codes in enumerate(rows.codes.T):
        column = pd.Categorical.from_codes(codes, levels)
        frame[f"t{k}"] = column if text == "category" else pd.Series(column).astype(text)
    return frame


def use_driftbook(reference: Rows, current: Rows, text: str) -> Detect:
    """Return profile and comparison of every column; the reference's profiles are there."""
    from driftbook.data.columns import Feature
    from driftbook.drift.profile import profile_reference, profile_values
    from driftbook.drift.report import compare_columns
    from driftbook.settings import DriftSettings

    before, now, settings = make_frame(reference, text), make_frame(current, text), DriftSettings()
    features = tuple(
        Feature(name, "categorical" if name.startswith("t") else "numeric") for name in before
    )
    known = {one.name: profile_reference(before[one.name], one.kind) for one in features}

    def detect() -> int:
        found = {name: profile_values(now[name], one.bins) for name, one in known.items()}
        return len(compare_columns(features, known, found, settings))

    return detect


def use_alibi_detect(reference: Rows, current: Rows) -> Detect:
    """Return ``KSDrift``, or ``TabularDrift`` (KS, chi-square) where there is text.

    Text arrives as the codes that it asks for, ready-made; a missing value is a code of its own.
    """
    drift = importlib.import_module("alibi_detect.cd")
    if not reference.codes.shape[1]:
        detector = drift.KSDrift(reference.floats)
        return lambda: len(detector.predict(current.floats)["data"]["p_val"])
    before, now = (
        np.asfortranarray(np.hstack([one.floats, np.where(one.codes < 0, LEVELS, one.codes)]))
        for one in (reference, current)
    )
    first = reference.floats.shape[1]
    detector = drift.TabularDrift(
        before, categories_per_feature=dict.fromkeys(range(first, before.shape[1]))
    )
    return lambda: len(detector.predict(now)["data"]["p_val"])


def use_nannyml(reference: Rows, current: Rows) -> Detect:
    """Return its univariate drift: KS of numbers, Jensen-Shannon of text; fitted beforehand."""
    nannyml = importlib.import_module("nannyml")
    before, now = make_frame(reference, "category"), make_frame(current, "category")
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(before),
        continuous_methods=["kolmogorov_smirnov"],
        categorical_methods=["jensen_shannon"],
        chunk_size=len(now),
    )
    calculator.fit(before)
    return lambda: len(calculator.calculate(now).column_names)


def use_evidently(reference: Rows, current: Rows) -> Detect:
    """Return its drift report with the tests that it chooses; it keeps no side of the reference."""
    evidently = importlib.import_module("evidently")
    preset = importlib.import_module("evidently.presets").DataDriftPreset
    before, now = make_frame(reference, "category"), make_frame(current, "category")
    text = [name for name in before if name.startswith("t")]
    kinds = evidently.DataDefinition(
        numerical_columns=[name for name in before if name not in text], categorical_columns=text
    )
    known = evidently.Dataset.from_pandas(before, data_definition=kinds)

    def detect() -> int:
        window = evidently.Dataset.from_pandas(now, data_definition=kinds)
        report = evidently.Report([preset()]).run(window, known)
        return sum("ValueDrift" in json.dumps(one) for one in report.dict()["metrics"])

    return detect


def use_frouros(reference: Rows, current: Rows) -> Detect:
    """Return KS a column, and chi-square a column of codes; fitted beforehand."""
    detectors = importlib.import_module("frouros.detectors.data_drift")
    ready = []
    kinds = (detectors.KSTest, detectors.ChiSquareTest)
    for kind, sides in zip(kinds, zip(reference, current, strict=True), strict=True):
        for before, now in zip(*(side.T for side in sides), strict=True):
            detector = kind()
            detector.fit(X=before)
            ready.append((detector, now))
    return lambda: len([detector.compare(X=now)[0] for detector, now in ready])


CONTESTANTS: dict[str, Callable[[Rows, Rows], Detect]] = {
    "driftbook": lambda reference, current: use_driftbook(reference, current, "category"),
    "driftbook, text as strings": lambda one, other: use_driftbook(one, other, "str"),
    "alibi-detect": use_alibi_detect,
    "nannyml": use_nannyml,
    "evidently": use_evidently,
    "frouros": use_frouros,
}


def main(name: str, folder: Path) -> int:
    """Answer a line of standard input with a measured detection, until there is none."""
    answers = sys.stdout
    warnings.filterwarnings("ignore")
    with contextlib.redirect_stdout(sys.stderr):  # libraries that print would break the answers
        detect = CONTESTANTS[name](read_rows(folder, "reference"), read_rows(folder, "current"))
        forget_peak()  # what was held while the arrays were read is no part of the detection
        about = {"version": version(name.partition(",")[0]), "ready_mib": find_peak_mib()}
        print(json.dumps(about), file=answers, flush=True)
        for _ in sys.stdin:
            judged: list[int] = []
            spent = measure_call(lambda found=judged: found.append(detect()))  # type: ignore[misc]
            answer = {**spent._asdict(), "peak_mib": find_peak_mib(), "columns": judged[0]}
            print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
