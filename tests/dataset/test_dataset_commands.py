"""`python -m mlops_assets.dataset`, as a person runs it."""

import re
from pathlib import Path

import pytest
from small_dataset import CLASS_MAP, hashes, make, photo_id, rows_of, store_of

from mlops_assets.dataset.__main__ import main
from mlops_assets.dataset.schema import DATASET_VERSIONS
from resources.dataset_versions import DatasetVersions
from resources.settings import Settings

NUMBERS = range(6)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fingerprints of two versions in the store of the settings: a photo came, a class was renamed."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    root = Settings(home=tmp_path).places("enclosures").store
    store = store_of(root, [*NUMBERS, 6])
    first = make(root, rows_of(NUMBERS), store)
    second = make(root, rows_of([*NUMBERS, 6]), store, {**CLASS_MAP, 2: "tap"})
    return [each.manifest["fingerprint"] for each in (first, second)]


def test_the_versions_are_listed_the_last_first(made, tmp_path, capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [made[1][:12], made[0][:12]]
    assert "| 7 | 12 | 2 | code 1 |  |" in lines[2]
    versions = DatasetVersions(root=Settings(home=tmp_path).places("enclosures").store)
    versions.void(made[0], photo_id(0), ["train"])
    assert main(["list"]) == 0
    assert "void: a photo was erased" in capsys.readouterr().out.splitlines()[3]


def test_two_versions_are_compared_by_default_the_last_two(made, capsys):
    assert main(["diff"]) == 0
    text = capsys.readouterr().out
    assert "| photos | 1 | 0 | 0 |" in text
    assert "| 2 | changed | splitter | tap |" in text
    assert main(["diff", made[1][:8], made[0]]) == 0
    assert "| photos | 0 | 1 | 0 |" in capsys.readouterr().out


def test_a_version_is_exported_and_again_into_the_same_folder(made, tmp_path, capsys):
    folder = tmp_path / "out"
    for _ in range(2):
        assert main(["export", "previous", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / "data.yaml")] * 2
    assert len([path for path in hashes(folder) if path.startswith("images/")]) == len(NUMBERS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "0123456789", "x"], "names 0 dataset versions; give latest, previous, or at least 6 digits"),
        (["diff", "ab"], "'ab' names"),
        (["--use-case", "no_such", "diff"], "There is no previous version: the log has 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(made, arguments, said, capsys):
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(re.escape(said), shown.err)
    assert len(shown.err.splitlines()) == 1


def test_the_log_has_its_columns(made, tmp_path):
    from resources.tables import Tables

    log = Tables(root=Settings(home=tmp_path).places("enclosures").store).read("dataset_versions", DATASET_VERSIONS)
    assert log["fingerprint"].to_list() == made
    assert log.select("photos", "boxes", "classes").rows() == [(6, 10, 2), (7, 12, 2)]
