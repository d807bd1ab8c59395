"""What follows the alias, in process, on real registries: swaps, failures, and what becomes of the old version."""

import gc
import logging
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from live_server import until
from tiny_model import CLASSES, THRESHOLDS, contents, jpeg, register, registry, tiny_export

from mlops_assets.detector import files
from mlops_assets.serving.detector import ServedDetector, open_version
from mlops_assets.serving.downloads import keep_only
from mlops_assets.serving.following import POLLS_A_LOOK, Follower
from mlops_assets.serving.photos import PhotoLimits
from resources.alias_lookup import alias_version
from resources.model_registry import ModelRegistry, ModelVersionInfo
from resources.settings import PROJECT

NOWHERE = "http://127.0.0.1:9"


class Address:
    """A registry whose address may change, as a server that goes away and comes back."""

    def __init__(self, uri: str, model: str) -> None:
        self.uri = uri
        self.model = model

    def registry(self) -> ModelRegistry:
        return registry(self.uri, self.model)

    def alias(self) -> str | None:
        return alias_version(self.uri, self.model, "champion")

    def version(self, number: str) -> ModelVersionInfo:
        return self.registry().version(number)


@pytest.fixture
def address(uri: str, request: pytest.FixtureRequest) -> Address:
    return Address(uri, request.node.name)


def follower(address: Address, folder: Path, interval: float = 60) -> Follower:
    there = address.registry()
    opened = partial(
        open_version,
        download=lambda version, name: there.download(version, name, folder / "downloads"),
        default_threshold=0.3,
        limits=PhotoLimits(),
        threads=1,
    )
    return Follower(
        address.alias,
        address.version,
        opened,
        default_threshold=0.3,
        interval=interval,
        forget_others=partial(keep_only, folder=folder / "downloads" / address.model),
    )


def champion(address: Address, folder: Path, **more: Any) -> str:
    """A new version, which is the champion from now on; its number."""
    number = len(address.registry().versions())
    onnx = tiny_export(folder / f"{number}.onnx", router_at=10 + number)
    names = more.pop("class_map", CLASSES)
    local = contents(folder / f"{number}", onnx, mlflow=False)
    version = register(address.uri, local, names, model=address.model, **more).version
    address.registry().set_champion(version)
    return version


def test_without_a_champion_it_says_so_and_takes_the_first_that_comes(address: Address, tmp_path: Path) -> None:
    followed = follower(address, tmp_path)
    followed.poll()
    assert followed.current() is None
    assert "no alias 'champion'" in followed.state().failure
    version = champion(address, tmp_path)
    followed.poll()
    assert (followed.state().version, followed.state().failure) == (version, "")


def test_an_old_version_lives_as_long_as_its_requests_and_is_freed_then(address: Address, tmp_path: Path) -> None:
    first = champion(address, tmp_path)
    followed = follower(address, tmp_path)
    followed.poll()
    in_use = followed.current()
    assert in_use is not None
    old = weakref.ref(in_use.predictor)
    second = champion(address, tmp_path)
    followed.poll()
    gc.collect()
    assert followed.state().version == second
    assert old() is not None
    assert in_use.version == first
    assert in_use.detect(jpeg())["boxes"]
    del in_use
    gc.collect()
    assert old() is None


def test_of_what_was_fetched_the_serving_version_and_the_one_before_are_kept(address: Address, tmp_path: Path) -> None:
    fetched = tmp_path / "downloads" / address.model
    of_another_model = tmp_path / "downloads" / "another-detector" / "1" / files.ONNX
    for left in (fetched / "77" / files.ONNX, of_another_model):  # by an earlier process
        left.parent.mkdir(parents=True)
        left.write_bytes(b"x")
    followed, kept = follower(address, tmp_path), []
    for _ in range(3):
        champion(address, tmp_path)
        followed.poll()
        kept.append(sorted(path.name for path in fetched.iterdir()))
    assert kept == [["1"], ["1", "2"], ["2", "3"]]
    assert of_another_model.is_file()
    address.registry().set_champion("1")  # rolled back further than what is kept: fetched again
    followed.poll()
    serving = followed.current()
    assert serving is not None
    assert (serving.version, bool(serving.detect(jpeg())["boxes"])) == ("1", True)
    assert sorted(path.name for path in fetched.iterdir()) == ["1", "3"]


def test_what_cannot_be_removed_stays_and_hinders_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "stray").write_text("no folder")
    keep_only({"2"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["stray"]
    assert "stray stays" in caplog.text
    keep_only({"2"}, tmp_path / "not there")


def test_a_registry_that_is_away_leaves_what_serves_and_is_asked_on(
    address: Address, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = champion(address, tmp_path)
    followed, uri = follower(address, tmp_path), address.uri
    followed.poll()
    answered = followed.state().polled_at
    address.uri = NOWHERE
    followed.poll()
    followed.poll()
    state = followed.state()
    assert (state.version, state.failures, state.polled_at) == (first, 2, answered)
    assert state.failure
    assert followed.current() is not None
    warnings = [
        each for each in caplog.records if each.levelno >= logging.WARNING and "goes on serving" in each.message
    ]
    assert len(warnings) == 1  # said once, not at each poll
    address.uri = uri
    second = champion(address, tmp_path)
    followed.poll()
    assert (followed.state().version, followed.state().failure) == (second, "")


def test_a_version_that_cannot_be_opened_is_not_fetched_at_every_poll(address: Address, tmp_path: Path) -> None:
    first = champion(address, tmp_path)
    followed = follower(address, tmp_path)
    followed.poll()
    broken = champion(address, tmp_path, class_map={0: "router", 9: "fan"}, thresholds=None)
    followed.poll()
    fetched = tmp_path / "downloads" / address.model / broken / files.ONNX
    fetched.unlink()
    followed.poll()
    assert not fetched.exists()
    assert followed.state().version == first
    assert f"Version {broken} cannot be opened" in followed.state().failure
    mended = champion(address, tmp_path)
    followed.poll()
    assert followed.state().version == mended


def test_versions_without_thresholds_take_the_use_cases(address: Address, tmp_path: Path) -> None:
    champion(address, tmp_path, thresholds=None)
    followed = follower(address, tmp_path)
    followed.poll()
    serving = followed.current()
    assert serving is not None
    assert serving.thresholds == dict.fromkeys(THRESHOLDS, 0.3)
    address.registry().set_tags(serving.version, {"thresholds": {"0": 0.8}})
    for _ in range(POLLS_A_LOOK):
        followed.poll()
    changed = followed.current()
    assert changed is not None
    assert changed.thresholds == {0: 0.8, 3: 0.3}
    assert changed.predictor is serving.predictor


def test_it_polls_by_itself_beside_requests(address: Address, tmp_path: Path) -> None:
    first = champion(address, tmp_path)
    followed = follower(address, tmp_path, interval=0.05)
    followed.start()
    until(lambda: followed.state().version == first)
    seen: set[str] = set()
    ends = threading.Event()

    def ask() -> None:
        while not ends.is_set():
            serving = followed.current()
            assert isinstance(serving, ServedDetector)
            assert serving.detect(jpeg())["boxes"]
            seen.add(serving.version)

    asking = threading.Thread(target=ask)
    asking.start()
    second = champion(address, tmp_path)
    until(lambda: second in seen)
    ends.set()
    asking.join()
    followed.stop()
    assert seen == {first, second}
    assert followed.state().swaps == 1


def test_the_bundled_use_case_is_served_by_its_registered_model(tmp_path: Path) -> None:
    from mlops_assets.serving.__main__ import build_app
    from resources.settings import Settings

    front = build_app(Settings(home=tmp_path, use_case_folder=PROJECT / "use_cases"))
    assert front.model_name == "enclosures-detector"
