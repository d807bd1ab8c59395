"""A changed line in each stage: which assets go stale, and which runs follow; just those that it affects."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest
from component_graph import CATALOGUE, DAYS, LABELS, TRAINING, Deployment, described

from mlops_assets.jobs import INGEST_DAY
from resources.settings import PROJECT


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@dataclass(frozen=True)
class Change:
    """One line written otherwise, and what must come of it: stale assets, and runs as (job, assets), a day each."""

    file: str
    old: str
    new: str
    stale: set[str]
    runs: list[tuple[str, set[str]]]
    follows: frozenset[str] = frozenset()


LOOK_AGAIN = [(INGEST_DAY, {"detections"})]
CHANGES = {
    "photos": Change(
        "photos/quality.py",
        "MEASURED_LONG_SIDE = 640",
        "MEASURED_LONG_SIDE = 641",
        {"raw_photos", "clean_photos"},  # intake measures as well, and waits to be asked
        [(INGEST_DAY, {"clean_photos", "detections"})],
        follows=frozenset(CATALOGUE),
    ),
    "photos, intake": Change(
        "photos/capture_time.py", "_PLAUSIBLE_YEARS = ", "_PLAUSIBLE_YEARS = 0 or ", {"raw_photos"}, []
    ),
    "labels": Change(
        "labels/class_names.py",
        r'_SEPARATORS = re.compile(r"[\s_\-]+")',
        r'_SEPARATORS = re.compile(r"[\s_\-.]+")',
        {"annotations", "equipment_classes"},
        [("import_labels", LABELS)],
        follows=frozenset(CATALOGUE),
    ),
    "dataset": Change(
        "dataset/background.py", "share / (1 - share)", "share / (1.5 - share)", {"training_dataset"}, []
    ),
    "detector, training": Change(
        "detector/training.py", '{".png", ".jpg"}', '{".png", ".jpeg"}', {"detector_weights"}, []
    ),
    "detector, promotion": Change(
        "detector/promotion.py", "_SIGNIFICANCE = 0.05", "_SIGNIFICANCE = 0.04", {"champion_detector"}, []
    ),
    "detector, inference": Change(
        "detector/suppression.py",
        "NMS_IOU = 0.5",
        "NMS_IOU = 0.45",
        {"detector_weights", "detector_evaluation", "champion_detector", "detections"},  # a decision tries the export
        LOOK_AGAIN,
        follows=frozenset(CATALOGUE),
    ),
    "catalog, inventory": Change(
        "catalog/inventory.py",
        "pl.lit(UNCONFIRMED)",
        "pl.lit(str(UNCONFIRMED))",
        {"visit_inventory"},
        [("rebuild_catalog", CATALOGUE)],
    ),
    "catalog, pages": Change(
        "catalog/templates/index.html",
        "{% block heading %}",
        "{% block heading %} ",
        {"catalog_pages"},
        [("rebuild_catalog", {"catalog_pages"})],
    ),
    "a comment": Change("photos/quality.py", "MEASURED_LONG_SIDE = 640", "MEASURED_LONG_SIDE = 640  # px", set(), []),
    "what is seen beside a table": Change("metadata.py", "PREVIEW_ROWS = 10", "PREVIEW_ROWS = 20", set(), []),
}
PACKAGES = {
    "ultralytics": ("gpu", {"detector_weights"}),
    "pycocotools": ("cpu", {"detector_evaluation", "champion_detector"}),
    "sqlalchemy": ("cpu", set()),
}
_VERSIONS_AFTER = """
import json, pathlib, sys
import definitions
from mlops_assets import code_symbols, code_versions
from mlops_assets.compute import PROFILE_TAG, image_of

def versions():
    for module in (code_symbols, code_versions):
        for name in set(dir(module)) - {"parse", "_text"}:  # they go by what is in a file, not by its name
            getattr(getattr(module, name), "cache_clear", lambda: None)()
    assets = definitions.defs.assets
    functions = {a.key.path[-1]: (a.op.compute_fn.decorated_fn, a.op.tags[PROFILE_TAG]) for a in assets}
    return {
        name: code_versions.code_version(made.__module__, made.__name__, image=image_of(profile))
        for name, (made, profile) in functions.items()
    }

found = {"": versions()}
for name, (file, old, new) in json.load(sys.stdin).items():
    path = pathlib.Path(file)
    before = path.read_text()
    assert old in before, f"{file} has no {old!r} any more: change the test"
    path.write_text(before.replace(old, new, 1))
    found[name] = versions()
    path.write_text(before)
declared = definitions.defs.resolve_asset_graph()
assert found[""] == {k.path[-1]: declared.get(k).code_version for k in declared.get_all_asset_keys()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Code versions of every asset as it is ("") and after each change, computed in a copy of the project."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("mlops_assets", "resources", "sensors", "use_cases"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
    (root / "k8s/images").mkdir(parents=True)
    for lock in (PROJECT / "k8s/images").glob("requirements-*.lock"):
        shutil.copy(lock, root / "k8s/images")
    shutil.copy(PROJECT / "definitions.py", root)
    lines = {name: (f"mlops_assets/{change.file}", change.old, change.new) for name, change in CHANGES.items()}
    for package, (image, _) in PACKAGES.items():
        lines[package] = (f"k8s/images/requirements-{image}.lock", f"\n{package}==", f"\n{package}==9.")
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "MLOPS_HOME": str(root), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", _VERSIONS_AFTER],
        cwd=root, env=environment, input=json.dumps(lines), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", CHANGES)
def test_one_line_makes_just_what_it_affects_stale_and_just_that_is_made_again(
    name: str, versions: dict[str, dict[str, str]], instance: dg.DagsterInstance
) -> None:
    change = CHANGES[name]
    deployment = Deployment(instance, versions=versions[""])
    deployment.make_everything()
    assert deployment.ask() == []
    assert deployment.changed_code() == set()

    deployment.deploy(versions[name])
    assert deployment.changed_code() == change.stale
    requests = deployment.ask()
    expected = [(job, day, assets) for job, assets in change.runs for day in (DAYS if job == INGEST_DAY else [None])]
    assert described(requests) == expected
    assert all(deployment.do(request) for request in requests)
    followed = deployment.conditions()
    assert set(followed) == change.follows
    if followed:
        assert deployment.run(set(followed))
    assert deployment.ask() == []
    assert deployment.conditions() == {}
    by_hand = {"raw_photos"} | TRAINING
    assert deployment.changed_code() == change.stale & by_hand


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_of_an_image_counts_for_the_steps_that_import_it(
    package: str, versions: dict[str, dict[str, str]]
) -> None:
    before, after = versions[""], versions[package]
    assert {name for name in after if after[name] != before[name]} == PACKAGES[package][1]
