"""The layers of the architecture: who may import whom, and what loading the code location may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["resources", "mlops_assets", "sensors", "definitions"]
STAGES = ["photos", "labels", "dataset", "detector", "serving", "catalog", "monitoring", "labelling", "erasure"]
DAGSTER_MODULES = {"assets", "champion_assets", "checks", "job"}
BANNED = [
    *("torch", "ultralytics", "mlflow", "great_expectations", "cv2", "onnxruntime", "openvino", "s3fs"),
    *("sqlalchemy", "alembic", "kubernetes", "matplotlib", "label_studio_sdk", "httpx"),
]


def project_modules() -> list[Path]:
    folders = [ROOT / layer for layer in LAYERS[:-1]]
    return [ROOT / "definitions.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports at any level, but for those only the type checker reads."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "mlops_assets" and parts[1] in STAGES else None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def stage_modules() -> list[Path]:
    return [path for path in sorted((ROOT / "mlops_assets").rglob("*.py")) if stage_of(module_of(path))]


def plain_modules() -> list[Path]:
    return [path for path in stage_modules() if path.stem not in DAGSTER_MODULES]


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", project_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    allowed = LAYERS[: LAYERS.index(layer_of(path)) + 1]
    wrong = [n for n in imports_of(path) if n.split(".")[0] in LAYERS and n.split(".")[0] not in allowed]
    assert not wrong, f"{path} imports {wrong}, which is above its layer"
    if layer_of(path) != "definitions":
        assert "definitions" not in imports_of(path)


@pytest.mark.parametrize("path", stage_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_stage_imports_only_earlier_stages(path: Path) -> None:
    stage = str(stage_of(module_of(path)))
    allowed = STAGES[: STAGES.index(stage) + 1]
    wrong = [n for n in imports_of(path) if (other := stage_of(n)) and other not in allowed]
    assert not wrong, f"{path} imports {wrong}"
    thin = [
        n
        for n in imports_of(path)
        if stage_of(n) not in (None, stage) and len(n.split(".")) > 2 and n.split(".")[2] in DAGSTER_MODULES
    ]
    assert not thin, f"{path} imports Dagster modules of another stage: {thin}"


@pytest.mark.parametrize("path", plain_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_plain_modules_import_no_dagster(path: Path) -> None:
    assert not [n for n in imports_of(path) if n.split(".")[0] == "dagster"]


def test_package_files_are_empty() -> None:
    packages = [path for layer in LAYERS[:-1] for path in (ROOT / layer).rglob("__init__.py")]
    assert packages
    assert [path for path in packages if path.read_text().strip()] == []


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in project_modules()
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    # Ultralytics and MLflow take some settings only from the environment: these modules write it, see their docstrings.
    writers = {"mlops_assets/detector/ultralytics_setup.py", "resources/mlflow_client.py"}
    assert set(readers) - writers == {"resources/settings.py"}


@pytest.mark.parametrize("profile", ["local", "k8s"])
def test_loading_the_definitions_imports_nothing_heavy(profile: str, tmp_path: Path) -> None:
    banned = [name for name in BANNED if not (name == "kubernetes" and profile == "k8s")]
    code = f"import sys, definitions; print([m for m in {banned!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "", "MLOPS_PROFILE": profile, "MLOPS_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
