"""Which images are built: by the real Dockerfiles, by properties, by a real repository, and by what a registry says."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.ci.changed_images import ROOT, all_images, belongs, changed_since, ingredients, to_build
from scripts.ci.registry import Registry, label
from scripts.ci.release_images import release

WORDS = st.text("abc", min_size=1, max_size=2)
PATHS = st.lists(WORDS, min_size=1, max_size=4).map("/".join)
IMAGES = st.dictionaries(st.sampled_from(["cpu", "gpu", "web"]), st.sets(PATHS, max_size=4), min_size=1)
BOTH = {"cpu", "gpu"}


@pytest.mark.parametrize(
    ("path", "built"),
    [
        ("mlops_assets/photos/intake.py", BOTH),
        ("definitions.py", BOTH),
        ("use_cases/enclosures.yaml", BOTH),
        (".dockerignore", BOTH),
        ("k8s/images/requirements-uv.lock", BOTH),
        ("k8s/images/cpu.Dockerfile", {"cpu"}),
        ("k8s/images/gpu.Dockerfile", {"gpu"}),
        ("README.md", set()),
        ("docs/operations.md", set()),
        ("tests/photos/test_intake.py", set()),
        ("demo/story.py", set()),
        ("k8s/base/settings.env", set()),
        ("mlops_assets_of_others/x.py", set()),
        (".github/workflows/ci.yaml", set()),
    ],
)
def test_a_path_of_this_project_makes_just_its_images_necessary(path: str, built: set[str]) -> None:
    images = all_images()
    assert set(images) == BOTH
    assert set(to_build(images, {name: [path] for name in images})) == built


def test_a_file_that_is_copied_between_stages_is_not_one_of_the_context(tmp_path: Path) -> None:
    dockerfile = tmp_path / "x.Dockerfile"
    dockerfile.write_text(
        "FROM a AS b\nCOPY --chown=1:1 ./one two \\\n  three/ /app/\nFROM c\nCOPY --from=b /opt/venv /opt/\n"
    )
    assert ingredients(dockerfile) == {"one", "two", "three"}


@given(IMAGES, st.lists(PATHS, max_size=5))
def test_an_image_is_built_exactly_if_a_change_lies_at_or_below_an_ingredient(
    images: dict[str, set[str]], changed: list[str]
) -> None:
    built = to_build(images, dict.fromkeys(images, changed))
    for name, parts in images.items():
        inside = any(path == part or path.startswith(f"{part}/") for path in changed for part in parts)
        assert (name in built) == inside


@given(IMAGES, st.lists(PATHS, max_size=4), st.lists(PATHS, max_size=4))
def test_more_changes_never_build_less(images: dict[str, set[str]], some: list[str], others: list[str]) -> None:
    fewer = to_build(images, dict.fromkeys(images, some))
    assert set(fewer) <= set(to_build(images, dict.fromkeys(images, some + others)))


@given(IMAGES)
def test_without_a_base_everything_is_built_and_without_a_change_nothing(images: dict[str, set[str]]) -> None:
    assert set(to_build(images, dict.fromkeys(images))) == set(images)
    assert to_build(images, {name: [] for name in images}) == {}


@given(PATHS, PATHS)
def test_what_lies_below_a_folder_belongs_to_it_and_a_longer_name_does_not(folder: str, rest: str) -> None:
    assert belongs(f"{folder}/{rest}", {folder})
    assert not belongs(f"{folder}_{rest}", {folder})


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_changes_come_from_git_with_both_names_of_a_moved_file(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "old name.py").write_text("a = 1\n" * 50)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    base = git(tmp_path, "rev-parse", "HEAD")
    assert changed_since(base, tmp_path) == []
    git(tmp_path, "mv", "old name.py", "néw.py")
    git(tmp_path, "commit", "-q", "-m", "two")
    assert changed_since(base, tmp_path) == ["néw.py", "old name.py"]
    assert changed_since("0" * 40, tmp_path) is None
    assert changed_since(None, tmp_path) is None


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A double of docker that answers `buildx imagetools inspect` from a folder, one file an image and template."""
    program = tmp_path / "docker"
    answer = f'cat "{tmp_path}/$(basename "$4" | tr : _)$(echo "$6" | tr -dc A-Z)" 2>/dev/null'
    program.write_text(f'#!/bin/sh\n{answer} || {{ echo "ERROR: $4: not found" >&2; exit 1; }}\n')
    program.chmod(0o755)
    return program


def test_a_registry_tells_digest_and_commit_of_an_image(docker: Path) -> None:
    platform = {"config": {"Labels": {"org.opencontainers.image.revision": "c0ffee"}}}
    (docker.parent / "enclosure-catalog-cpu_mainI").write_text(json.dumps({"linux/amd64": platform}))
    (docker.parent / "enclosure-catalog-cpu_mainM").write_text(json.dumps({"digest": "sha256:1"}))
    registry = Registry("ghcr.io/owner", str(docker))
    assert registry.revision("enclosure-catalog-cpu:main") == "c0ffee"
    assert registry.digest("enclosure-catalog-cpu:main") == "sha256:1"
    assert registry.revision("enclosure-catalog-gpu:main") is None
    assert registry.digest("enclosure-catalog-gpu:main") is None
    assert label({"config": {}}, "org.opencontainers.image.revision") is None


def test_a_release_takes_what_was_built_and_else_what_main_has(docker: Path, tmp_path: Path) -> None:
    registry = Registry("ghcr.io/owner", str(docker))
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "cpu").write_text("sha256:new\n")
    with pytest.raises(LookupError, match="enclosure-catalog-gpu"):
        release(["cpu", "gpu"], tmp_path / "built", registry)
    (docker.parent / "enclosure-catalog-gpu_mainM").write_text(json.dumps({"digest": "sha256:old"}))
    assert release(["cpu", "gpu"], tmp_path / "built", registry) == {
        "enclosure-catalog-cpu": "ghcr.io/owner/enclosure-catalog-cpu@sha256:new",
        "enclosure-catalog-gpu": "ghcr.io/owner/enclosure-catalog-gpu@sha256:old",
    }


def test_every_ingredient_exists() -> None:
    assert [part for parts in all_images().values() for part in parts if not (ROOT / part).exists()] == []
