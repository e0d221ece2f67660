"""The tracked notebooks: their form, that each runs alone, and that decisions repeat."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from driftbook.runbook.notebooks import read_parameters
from driftbook.runbook.run import open_run
from driftbook.site import cells

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try,
    ast.If, ast.With, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp,
)  # fmt: skip
DEFAULTS = {"settings_file": "runbook.yaml", "artifacts_dir": "artifacts", "run_id": None}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[cells.Cell]:
    return [cell for cell in cells.read_cells(path) if cell["cell_type"] == "code"]


def test_all_five_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01-train-eval",
        "02-drift",
        "03-retrain-decision",
        "04-serving",
        "05-backtest",
    ]


@each
def test_tracked_without_outputs_and_as_lists_of_lines(path: Path) -> None:
    raw: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in raw:
        assert isinstance(cell["source"], list)
        assert cell["source"] == cells.split_lines("".join(cell["source"])), cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert len({cell["id"] for cell in raw}) == len(raw)


@each
def test_parameters_are_the_agreed_literals(path: Path) -> None:
    window = {} if path.stem == "05-backtest" else {"window": None}
    assert read_parameters(path) == {**DEFAULTS, **window}


@each
def test_opens_with_prose_from_which_pages_take_their_title(path: Path) -> None:
    first, *rest = cells.read_cells(path)
    assert first["cell_type"] == "markdown"
    assert first["source"].startswith("# ")
    front, second, *others = cells.lift_title([first, *rest])
    assert front["cell_type"] == "raw"
    assert set(cells.split_front_matter(front["source"] + "\n")[0]) == {"title", "subtitle"}
    assert second["source"].startswith("**The question.**")
    assert others == rest


@each
def test_one_place_lists_windows_and_three_variations_for_jupyterlab_alone(path: Path) -> None:
    found = cells.read_cells(path)
    shown = "\n".join(cell["source"] for cell in cells.select_shown(found))
    assert "try it" not in shown.lower() and "run.vary" not in shown
    labels = [cells.split_options(cell["source"])[0].get("label") for cell in code(path)]
    assert labels.count("windows") == labels.count("try") == 1
    variations = list_variations(path)
    assert len(variations) == 3
    for line in variations:
        call = ast.parse(line).body[0]
        assert isinstance(call, ast.Assign) and isinstance(call.value, ast.Call)
        assert call.value.args or call.value.keywords


def list_variations(path: Path) -> list[str]:
    labelled = {cells.split_options(c["source"])[0].get("label"): c["source"] for c in code(path)}
    return re.findall(r"^# (run = .+)$", labelled["try"], re.MULTILINE)


@each
def test_each_variation_gives_a_scratch_run_of_its_own(path: Path, finished_run: Path) -> None:
    artifacts = finished_run
    given = str(artifacts.parent / "runbook.yaml"), str(artifacts)
    for line in list_variations(path):
        run = open_run(*given, None, None)
        names = {
            "run": run, "open_run": open_run, "settings_file": given[0], "artifacts_dir": given[1]
        }  # fmt: skip
        exec(line, names)
        varied: Any = names["run"]
        assert varied.folder == artifacts / "scratch"
        assert varied.dataset.fingerprint == run.dataset.fingerprint
        assert (varied.settings, varied.window) != (run.settings, run.window), line


@each
def test_code_calls_shows_and_explains_but_computes_nothing(path: Path) -> None:
    for cell in code(path):
        _, source = cells.split_options(cell["source"])
        assert 1 <= len(source.strip().splitlines()) <= 12, cell["id"]
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, LOGIC), f"{cell['id']}: {ast.unparse(node)}"
            arithmetic = isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr)
            assert not arithmetic, f"{cell['id']}: {ast.unparse(node)}"


@each
def test_cells_are_labelled_and_figures_described(path: Path) -> None:
    labels = []
    for cell in code(path):
        options, _ = cells.split_options(cell["source"])
        if "parameters" in cell["metadata"].get("tags", []):
            continue
        labels.append(options["label"])
        if options["label"].startswith("fig-"):
            # A figure that depends on the task brings its own caption.
            assert ("fig-cap" in options) == ("fig-alt" in options)
            assert options.get("fig-cap", ".").endswith(".")
            assert len(options.get("fig-alt", "its own")) > (40 if "fig-alt" in options else 0)
        if options["label"].startswith("tbl-"):
            assert options["tbl-cap"].endswith(".")
    assert len(set(labels)) == len(labels)


@each
def test_prose_comes_before_every_figure_and_numbers_are_never_typed_in(path: Path) -> None:
    found = cells.read_cells(path)
    for before, cell in pairwise(found):
        options, _ = cells.split_options(cell["source"])
        if str(options.get("label", "")).startswith("fig-"):
            assert before["cell_type"] == "markdown", cell["id"]
    prose = "\n".join(cell["source"] for cell in found if cell["cell_type"] == "markdown")
    assert not re.search(r"\d\.\d", prose)


def test_decision_cells_are_marked_for_nbval() -> None:
    for name in ("02-drift", "03-retrain-decision"):
        marked = [c for c in code(FOLDER / f"{name}.ipynb") if "nbval-check-output" in tags(c)]
        assert marked, name


def tags(cell: cells.Cell) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def test_executed_copies_hold_results_and_no_html(finished_run: Path) -> None:
    executed = sorted((finished_run / "runs").glob("*/executed/*.ipynb"))
    assert len(executed) == 7  # 01 to 04, then 02 to 04
    for path in executed:
        text = path.read_text(encoding="utf-8")
        assert text.count("text/html") == (1 if path.stem == "02-drift" else 0)  # the folds
        assert all(isinstance(cell["source"], list) for cell in json.loads(text)["cells"])
        for cell in code(path):
            assert cell["execution_count"] is not None
            for output in cell["outputs"]:
                assert output["output_type"] in {"execute_result", "display_data"}, path.name
                shown = set(output["data"]) & {"image/png", "text/markdown", "text/html"}
                assert shown, f"{path.name}: {cell['id']} shows a bare value"


def test_numbers_of_drift_and_decision_agree(finished_run: Path) -> None:
    import pandas as pd

    document = json.loads((finished_run / "policy/retrain_recommendation.json").read_text("utf-8"))
    report = pd.read_csv(finished_run / "drift/drift_report.csv")
    evidence = pd.DataFrame(document["evidence"]["drift"])
    numbers = list(report[list(evidence)].select_dtypes("number"))
    evidence[numbers] = evidence[numbers].astype(float)  # a null alone says no type
    pd.testing.assert_frame_equal(report[list(evidence)], evidence, check_dtype=False)
    flagged = report[report["drift_flag"] & ~report["kind"].isin(["prediction", "joint"])]
    assert sorted(flagged["feature"]) == sorted(document["drifted_features"])


def test_tables_and_words_to_take_along(finished_run: Path) -> None:
    import pandas as pd

    words = (finished_run / "drift/drift_summary.md").read_text("utf-8")
    document = json.loads((finished_run / "policy/retrain_recommendation.json").read_text("utf-8"))
    assert all(f"`{name}`" in words for name in document["drifted_features"])
    assert words.rstrip().endswith(f"window {document['window']}")
    splits = json.loads((finished_run / "metrics/splits.json").read_text("utf-8"))["parts"]
    rows = {part["part"]: part["rows"] for part in splits}
    held = pd.read_csv(finished_run / "metrics/holdout_predictions.csv")
    assert len(held) == rows["holdout"] and held["row"].iloc[0] == rows["training"]
    pairs = pd.read_csv(finished_run / "metrics/correlation.csv")
    assert (pairs.set_index("feature")[pairs["feature"]].to_numpy().diagonal() == 1.0).all()


@pytest.fixture(scope="module")
def project(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own with the tracked notebooks, unchanged."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(finished_run.parent / "runbook.yaml", folder)
    shutil.copytree(FOLDER, folder / "notebooks")
    return folder


def test_each_runs_alone_in_a_fresh_kernel_as_it_does_in_jupyterlab(project: Path) -> None:
    names = [path.name for path in NOTEBOOKS]
    command = [sys.executable, "-m", "jupyter", "execute", *names]
    done = subprocess.run(
        command, cwd=project / "notebooks", capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scratch = project / "artifacts" / "scratch"
    written = {path.relative_to(scratch).as_posix() for path in scratch.rglob("*.*")}
    assert {"policy/retrain_recommendation.json", "serving/api_checks.json"} <= written
    assert not (project / "artifacts" / "manifest.json").exists()


def test_decision_cells_repeat_and_an_altered_one_is_noticed(
    finished_run: Path, tmp_path: Path
) -> None:
    run = finished_run / "runs" / json.loads((finished_run / "manifest.json").read_text())["run_id"]
    action = json.loads((run / "policy" / "retrain_recommendation.json").read_text())["action"]
    text = (run / "executed" / "03-retrain-decision.ipynb").read_text(encoding="utf-8")
    assert text.count(f"{action.capitalize()}.** ") == 1
    altered = tmp_path / "test_altered.ipynb"
    altered.write_text(text.replace(f"{action.capitalize()}.** ", "Sell.** "), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-v", "-rA"]
    command += ["-p", "no:cacheprovider", "-c", "/dev/null", str(altered)]
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=600
    )
    outcomes = re.findall(r"^(FAILED|PASSED) \S+::Cell \d+", done.stdout, re.MULTILINE)
    # The marked cells repeat what the run recorded; only the altered one does not.
    assert outcomes.count("FAILED") == 1, done.stdout[-3000:]
    assert outcomes.count("PASSED") == len(code(altered)) - 1
    assert "Sell" in done.stdout
