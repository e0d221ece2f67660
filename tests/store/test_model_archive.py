"""Stored estimators: equal ones have equal bytes, whenever and wherever they were written."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from scipy import sparse
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer

from driftbook.store.model_archive import settle_archive

STORE = """
import hashlib, sys
from pathlib import Path
from driftbook.data import synthetic
from driftbook.model import training
from driftbook.settings import Settings
from driftbook.store import registry_models

frame = synthetic.make_scenario("none", rows=1200, onset=1200)
frame["colour"] = ["red", "green", "blue"] * 400
settings = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"estimator": sys.argv[1],
    "trusted": ["lightgbm.*", "sklearn.*", "collections.*"]}})
version = registry_models.save_model(Path("models"), training.train(frame, settings),
    settings.model.trusted)
for name in ("model.skops", "reference.parquet", "card.json", "scorer.json"):
    print(name, hashlib.sha256((Path("models") / version / name).read_bytes()).hexdigest())
"""


@pytest.mark.parametrize(
    "estimator",
    ["linear", "hist_gradient_boosting", "sklearn.ensemble:RandomForestClassifier"],
)
def test_a_version_is_the_same_to_the_byte_in_another_process(
    tmp_path_factory: pytest.TempPathFactory, estimator: str
) -> None:
    made = []
    for zone, seed, locale in (("Asia/Kolkata", "1", "C"), ("America/St_Johns", "99", "C.UTF-8")):
        odd = {"TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": locale}
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        command = [sys.executable, "-c", STORE, estimator]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | odd, check=True, capture_output=True, timeout=300
        )
        made.append(done.stdout.decode().splitlines())
    assert made[0] == made[1]
    assert len(made[0]) == 4


def test_nothing_of_when_and_where_stays_in_the_archive() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    fitted = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(rows, rows[:, 0] > 0)
    settled = settle_archive(skops.io.dumps(fitted))
    with zipfile.ZipFile(io.BytesIO(settled)) as archive:
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
        assert str(id(fitted)) not in archive.read("schema.json").decode()
    assert settle_archive(settled) == settled


def test_all_kinds_of_members_come_back_and_stay_one_object() -> None:
    numbers = np.arange(6.0)
    kept = {
        "first": numbers,
        "again": numbers,
        "equal": np.arange(6.0),
        "sparse": sparse.csr_matrix(np.eye(3)),
        "bytes": b"\x00text",
        "file": "schema.json",  # as a text of the estimator's own
        "__id__": 7,
        "words": ["a", "a", 5, None],
    }
    step = FunctionTransformer(kw_args=kept)
    content = settle_archive(skops.io.dumps(step))
    trusted = skops.io.get_untrusted_types(data=content)
    found = skops.io.loads(content, trusted=trusted).kw_args
    assert found["first"] is found["again"] and found["first"] is not found["equal"]
    np.testing.assert_array_equal(found["equal"], numbers)
    np.testing.assert_array_equal(found["sparse"].toarray(), np.eye(3))
    assert {k: found[k] for k in ("bytes", "file", "__id__", "words")} == {
        k: kept[k] for k in ("bytes", "file", "__id__", "words")
    }


def test_another_estimator_has_another_archive() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    digests = set()
    for seed in (0, 0, 1):
        forest = RandomForestClassifier(n_estimators=3, random_state=seed)
        content = skops.io.dumps(forest.fit(rows, rows[:, 0] > 0))
        digests.add(hashlib.sha256(settle_archive(content)).hexdigest())
    assert len(digests) == 2
