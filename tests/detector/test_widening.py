from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_detector import RULES, Trained, save_checkpoint, write_dataset

from mlops_assets.class_keys import class_key
from mlops_assets.detector.bundled import bundled_weights
from mlops_assets.detector.training import build_trainer
from mlops_assets.detector.weights import StartingPoint, WeightsError, load_model, starting_point
from mlops_assets.detector.widening import arranged, head_rows
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

BRANCHES = {"yolo11n": ("cv3",), "yolo26n": ("cv3", "one2one_cv3")}
both_architectures = pytest.mark.parametrize("architecture", BRANCHES)


@dataclass(frozen=True)
class Loaded:
    """A champion, and the network as it is before the first step of a training that goes on from it."""

    champion: torch.nn.Module
    network: torch.nn.Module
    architecture: str
    reason: str

    def assert_rows(self, *sources: int | None) -> None:
        """Hold every row of every scale of both heads against the champion's row that it should start from."""
        old_head, head = self.champion.model[-1], self.network.model[-1]
        for branch in BRANCHES[self.architecture]:
            scales = zip(getattr(old_head, branch), getattr(head, branch), strict=True)
            for old, new in ((old[-1], new[-1]) for old, new in scales):
                assert new.weight.shape[0] == len(sources)
                for row, source in enumerate(sources):
                    if source is None:
                        assert all(not torch.equal(new.weight[row], w) for w in old.weight)
                        assert new.bias[row] < -4, "a new class is held to be rare, as Ultralytics initialises it"
                    else:
                        assert torch.equal(new.weight[row], old.weight[source])
                        assert torch.equal(new.bias[row], old.bias[source])

    def assert_all_else_is_the_champions(self) -> None:
        """Backbone, neck, boxes, and the hidden layers of the classification branches."""
        last = tuple(f"{branch}.{scale}.2." for branch in BRANCHES[self.architecture] for scale in range(3))
        mine, theirs = self.network.state_dict(), self.champion.state_dict()
        assert mine.keys() == theirs.keys()
        kept = [name for name in mine if not any(part in name for part in last)]
        assert len(kept) == len(mine) - 2 * len(last)
        assert all(torch.equal(mine[name], theirs[name]) for name in kept)


def random_champion(architecture: str, class_ids: list[int], seed: int = 1) -> torch.nn.Module:
    from ultralytics.nn.tasks import DetectionModel

    champion = DetectionModel(f"{architecture}.yaml", nc=len(class_ids), verbose=False)
    champion.names = dict(enumerate(map(class_key, class_ids)))
    torch.manual_seed(seed)
    for parameter in champion.parameters():
        parameter.data.uniform_(-1, 1)
    return champion


def network_before_the_first_step(
    start: StartingPoint, architecture: str, wanted: list[int], folder: Path
) -> torch.nn.Module:
    from ultralytics.nn.tasks import load_checkpoint

    rules = RULES.model_copy(update={"architecture": architecture})
    data = write_dataset(folder / "data", [class_key(class_id) for class_id in wanted], {"train": 1, "val": 1})
    trainer = build_trainer(data, folder / "run", start, rules, device="cpu", threads=2, plots=False)
    # As BaseTrainer.setup_model, without the report that costs most of its time.
    weights, _ = load_checkpoint(trainer.args.pretrained)
    network: torch.nn.Module = trainer.get_model(cfg=trainer.model, weights=weights, verbose=False)
    return network


def load(architecture: str, known: list[int], wanted: list[int], folder: Path, links: ClassLinks = NO_LINKS) -> Loaded:
    champion = random_champion(architecture, known)
    path = save_checkpoint(champion, folder / "champion.pt")
    start = arranged(starting_point(None, path, architecture), wanted, folder, links)
    network = network_before_the_first_step(start, architecture, wanted, folder)
    return Loaded(champion, network, architecture, start.reason)


@both_architectures
def test_a_head_that_widens_and_comes_in_another_order_keeps_each_known_class(
    architecture: str, tmp_path: Path
) -> None:
    loaded = load(architecture, [0, 1, 4], [4, 2, 1, 0, 7], tmp_path)
    loaded.assert_rows(2, None, 1, 0, None)
    loaded.assert_all_else_is_the_champions()
    assert loaded.reason.endswith("keeps 3 of 3 classes, new: c0002 c0007")


@both_architectures
def test_another_order_of_as_many_classes_takes_the_rows_along(architecture: str, tmp_path: Path) -> None:
    load(architecture, [0, 1, 4], [4, 0, 1], tmp_path).assert_rows(2, 0, 1)


@both_architectures
def test_another_name_on_display_changes_nothing_since_the_key_stays(architecture: str, tmp_path: Path) -> None:
    loaded = load(architecture, [0, 1, 4], [0, 1, 4], tmp_path)
    loaded.assert_rows(0, 1, 2)
    loaded.assert_all_else_is_the_champions()


@both_architectures
def test_of_a_deprecated_class_the_row_goes_and_a_class_that_takes_its_place_starts_anew(
    architecture: str, tmp_path: Path
) -> None:
    loaded = load(architecture, [0, 1, 4], [0, 4, 5], tmp_path)
    loaded.assert_rows(0, 2, None)
    loaded.assert_all_else_is_the_champions()
    assert loaded.reason.endswith("keeps 2 of 3 classes, new: c0005, dropped: c0001")


@both_architectures
def test_a_class_that_is_active_again_starts_as_a_new_one(architecture: str, tmp_path: Path) -> None:
    load(architecture, [0, 4], [0, 1, 4], tmp_path).assert_rows(0, None, 1)


@both_architectures
def test_a_class_merged_into_a_known_one_goes_and_the_other_keeps_its_row(architecture: str, tmp_path: Path) -> None:
    loaded = load(architecture, [0, 1, 4], [0, 4], tmp_path, ClassLinks({1: 4}))
    loaded.assert_rows(0, 2)
    assert loaded.reason.endswith("keeps 2 of 3 classes, dropped: c0001")


@both_architectures
def test_a_class_unknown_so_far_starts_from_the_row_of_the_class_merged_into_it(
    architecture: str, tmp_path: Path
) -> None:
    loaded = load(architecture, [0, 1, 4], [0, 4, 6], tmp_path, ClassLinks({1: 6}))
    loaded.assert_rows(0, 2, 1)
    loaded.assert_all_else_is_the_champions()
    assert "c0006 starts from c0001, merged into it" in loaded.reason


@both_architectures
def test_as_many_classes_none_of_which_is_known_start_untrained_and_not_from_rows_by_position(
    architecture: str, tmp_path: Path
) -> None:
    loaded = load(architecture, [0, 1, 4], [2, 3, 5], tmp_path)
    loaded.assert_rows(None, None, None)
    loaded.assert_all_else_is_the_champions()


@both_architectures
def test_branches_that_would_become_wider_with_the_number_of_classes_keep_what_they_learnt(
    architecture: str, tmp_path: Path
) -> None:
    loaded = load(architecture, list(range(60)), [110, *range(109)], tmp_path)
    loaded.assert_rows(None, *range(60), *[None] * 49)
    loaded.assert_all_else_is_the_champions()


def test_the_averaged_weights_are_what_a_training_goes_on_from(tmp_path: Path) -> None:
    average = random_champion("yolo11n", [0, 1], seed=2)
    path = tmp_path / "last.pt"
    torch.save({"model": random_champion("yolo11n", [0, 1]), "ema": average, "train_args": {}}, path)
    start = arranged(starting_point(None, path, "yolo11n"), [1, 2], tmp_path)
    network = network_before_the_first_step(start, "yolo11n", [1, 2], tmp_path)
    Loaded(average, network, "yolo11n", start.reason).assert_rows(1, None)


def test_a_start_that_needs_no_arranging_is_taken_as_it_is(trained: Trained, tmp_path: Path) -> None:
    champion = starting_point(None, trained.result.weights, "yolo11n")
    assert arranged(champion, [0, 3, 9], tmp_path).path == champion.path
    scratch = starting_point(None, None, "yolo11n")
    assert arranged(scratch, [0, 3], tmp_path) == scratch
    user = starting_point(trained.result.weights, None, "yolo11n")
    assert arranged(user, [0, 3], tmp_path) == user
    bundled = starting_point(None, None, "yolo11n", bundled_weights("yolo11n"))
    assert arranged(bundled, [0, 3], tmp_path) == bundled
    assert list(tmp_path.iterdir()) == []


def test_an_arranged_checkpoint_leaves_the_one_it_came_from_as_it_was(tmp_path: Path) -> None:
    path = save_checkpoint(random_champion("yolo11n", [0, 1]), tmp_path / "champion.pt")
    before = path.read_bytes()
    start = arranged(starting_point(None, path, "yolo11n"), [0, 5], tmp_path / "starts", ClassLinks({1: 5}))
    assert start.path is not None
    assert load_model(start.path).names == {0: "c0000", 1: "c0005"}
    assert path.read_bytes() == before
    assert start.sha256 == starting_point(None, path, "yolo11n").sha256, "the hash is that of what was given"


def test_weights_that_are_fused_for_inference_are_refused(trained: Trained, tmp_path: Path) -> None:
    fused = save_checkpoint(load_model(trained.result.weights).fuse(verbose=False), tmp_path / "fused.pt")
    with pytest.raises(WeightsError, match=r"fused\.pt is fused for inference"):
        arranged(starting_point(None, fused, "yolo11n"), [0, 3], tmp_path)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[int | None], list[int], ClassLinks]:
    """A champion's rows, active classes in any order, and merges of classes that are no longer active."""
    classes = st.integers(0, 30)
    known: list[int | None] = list(draw(st.lists(classes, unique=True, max_size=12)))
    foreign = draw(st.integers(0, 3))
    known = draw(st.permutations([*known, *[None] * foreign]))
    wanted = draw(st.lists(classes, unique=True, min_size=1, max_size=12))
    merged = draw(st.dictionaries(classes.filter(lambda c: c not in wanted), st.sampled_from(wanted), max_size=8))
    return known, wanted, ClassLinks(merged)


@given(vocabularies())
def test_whatever_the_vocabularies_a_row_goes_to_its_class_or_to_the_one_it_was_merged_into(
    drawn: tuple[list[int | None], list[int], ClassLinks],
) -> None:
    known, wanted, links = drawn
    rows = head_rows(known, wanted, links)
    taken = [row for row in rows.sources if row is not None]
    assert len(taken) == len(set(taken)), "no two classes start from one row"
    for class_id, row in zip(wanted, rows.sources, strict=True):
        heirs = [k for k in known if k is not None and links.target(k) == class_id]
        if class_id in known:
            assert row is not None
            assert known[row] == class_id, "a class that is known keeps its own row"
        elif heirs:
            assert row is not None
            assert known[row] == min(heirs)
        else:
            assert row is None
    classes = [k for k in known if k is not None]
    assert sorted([*rows.kept, *rows.inherited, *rows.new]) == sorted(wanted), "every class is accounted for once"
    assert sorted([*rows.kept, *rows.inherited.values(), *rows.dropped]) == sorted(classes), "and so is every row"


@given(vocabularies())
def test_the_order_of_the_new_head_moves_rows_and_changes_none(
    drawn: tuple[list[int | None], list[int], ClassLinks],
) -> None:
    known, wanted, links = drawn
    forward, backward = head_rows(known, wanted, links), head_rows(known, wanted[::-1], links)
    assert forward.sources == backward.sources[::-1]
