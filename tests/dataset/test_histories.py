"""Whatever happens in whatever order, no enclosure moves, the test set keeps its photos, and no shot leaks."""

from dataclasses import dataclass, field

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.dataset.building import build_dataset, select_photos
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.dataset.shots import splits_by_shot, with_shots
from mlops_assets.dataset.splits import assign_splits, enclosure_class_counts, near_duplicate_enclosures
from mlops_assets.labels.schema import ANNOTATIONS, CLASS_STATUSES, EQUIPMENT_CLASSES
from mlops_assets.use_case import SplitRules

CLASSES = 5
PHOTO = {"photo_id": pl.String, "enclosure_id": pl.String, "near_duplicate_of": pl.String, "usable": pl.Boolean}


@dataclass
class History:
    """What has happened so far, and the frozen assignments."""

    photos: list[dict] = field(default_factory=list)
    labels: dict[str, tuple[list[int], int]] = field(default_factory=dict)
    statuses: list[str] = field(default_factory=lambda: ["active"])
    splits: pl.DataFrame = field(default_factory=SPLIT_ASSIGNMENTS.to_frame)
    in_test: set[str] = field(default_factory=set)

    def all_photos(self) -> pl.DataFrame:
        return with_shots(pl.DataFrame(self.photos, schema=PHOTO))

    def annotations(self) -> pl.DataFrame:
        box = {"box_x": 0.5, "box_y": 0.5, "box_w": 0.1, "box_h": 0.1}
        rows = [
            {
                "photo_id": photo_id,
                "class_id": class_id,
                "class_map_version": known,
                **(box if class_id is not None else {}),
            }
            for photo_id, (class_ids, known) in self.labels.items()
            for class_id in class_ids or [None]
        ]
        return pl.DataFrame(rows, schema=ANNOTATIONS)

    def classes(self) -> pl.DataFrame:
        rows = [{"class_id": n, "class_name": f"class {n}", "status": each} for n, each in enumerate(self.statuses)]
        return pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)

    # -- what may happen ---------------------------------------------------------------------------------------------

    def photo_arrives(self, enclosure: int, near: int | None, usable: bool) -> None:
        repeated = self.photos[near % len(self.photos)]["photo_id"] if near is not None and self.photos else None
        self.photos.append(
            {"photo_id": f"p{len(self.photos):03d}", "enclosure_id": f"E{enclosure}", "near_duplicate_of": repeated}
            | {"usable": usable}
        )

    def near_duplicate_is_found(self, later: int, earlier: int) -> None:
        """A rerun of a day compares again: an old photo turns out to be the shot of another one."""
        if len(self.photos) > 1:
            first, second = sorted((later % len(self.photos), earlier % len(self.photos)))
            if first != second:
                self.photos[second]["near_duplicate_of"] = self.photos[first]["photo_id"]

    def photo_is_labelled(self, photo: int, class_ids: list[int]) -> None:
        if self.photos:
            known = [class_id for class_id in class_ids if class_id < len(self.statuses)]
            self.labels[self.photos[photo % len(self.photos)]["photo_id"]] = (known, len(self.statuses))

    def class_changes(self, class_id: int, status: str) -> None:
        if class_id < len(self.statuses):
            self.statuses[class_id] = status
        elif len(self.statuses) < CLASSES:
            self.statuses.append("proposed")

    # -- what then must hold -----------------------------------------------------------------------------------------

    def retrain(self) -> None:
        photos, annotations = self.all_photos(), self.annotations()
        usable = photos.filter("usable")
        labelled = annotations.join(usable, on="photo_id", how="semi")
        counted = enclosure_class_counts(labelled, photos)
        splits = assign_splits(counted, near_duplicate_enclosures(photos, photos), self.splits, SplitRules())
        assert splits[: self.splits.height].equals(self.splits)
        assert splits["enclosure_id"].is_unique().all()
        assert set(counted["enclosure_id"]) <= set(splits["enclosure_id"])
        for _, members in splits[self.splits.height :].group_by("group"):
            assert members["split"].n_unique() == 1
        dataset = build_dataset(labelled, usable, self.classes(), splits)
        homes = dataset.select("photo_id", "enclosure_id", "split").unique()
        assert homes["photo_id"].is_unique().all()
        assert homes.group_by("enclosure_id").agg(pl.n_unique("split")).filter(pl.col("split") > 1).is_empty()
        assert homes.join(splits, on=["enclosure_id", "split"], how="anti").is_empty()
        assert set(splits_by_shot(dataset, photos)["splits"]) <= {1}
        in_test = set(homes.filter(pl.col("split") == "test")["photo_id"])
        assert self.in_test <= in_test
        selection = select_photos(labelled, usable, self.classes(), splits)
        assert selection.height == labelled["photo_id"].n_unique()
        assert set(selection.filter(pl.col("left_out").is_null())["photo_id"]) == set(homes["photo_id"])
        shuffled = build_dataset(labelled.reverse(), usable.reverse(), self.classes(), splits.reverse())
        assert shuffled.equals(dataset)
        self.splits, self.in_test = splits, in_test


number = st.integers(0, 30)
photo_arrives = st.tuples(
    st.just(History.photo_arrives), st.integers(0, 9), st.none() | number, st.sampled_from([True, True, True, False])
)
photo_is_labelled = st.tuples(
    st.just(History.photo_is_labelled), number, st.lists(st.integers(0, CLASSES - 1), max_size=3)
)
events = st.one_of(
    photo_arrives,
    photo_is_labelled,
    st.tuples(st.just(History.near_duplicate_is_found), number, number),
    st.tuples(st.just(History.class_changes), st.integers(0, CLASSES), st.sampled_from(CLASS_STATUSES)),
    st.tuples(st.just(History.retrain)),
)
opening = st.lists(photo_arrives, min_size=4, max_size=14)


@settings(deadline=None, max_examples=50)
@given(opening, st.lists(photo_is_labelled, min_size=4, max_size=14), st.lists(events, max_size=25))
def test_no_enclosure_moves_the_test_set_keeps_its_photos_and_no_shot_leaks(photos, labels, later):
    history = History()
    for act, *arguments in [*photos, *labels, (History.retrain,), *later, (History.retrain,)]:
        act(history, *arguments)


def test_photos_that_connect_frozen_enclosures_of_different_splits_are_used_once():
    history = History()
    for enclosure in range(9):
        history.photo_arrives(enclosure, None, True)
        history.photo_is_labelled(enclosure, [0])
    history.retrain()
    homes = dict(history.splits.select("enclosure_id", "split").iter_rows())
    train, test = (next(e for e, split in homes.items() if split == wanted) for wanted in ("train", "test"))
    # A photo of the test enclosure arrives again, for the train enclosure, and is labelled there too.
    original = next(n for n, photo in enumerate(history.photos) if photo["enclosure_id"] == test)
    history.photo_arrives(int(train[1:]), original, True)
    history.photo_is_labelled(9, [0])
    history.retrain()
    usable = history.all_photos().filter("usable")
    dataset = build_dataset(history.annotations(), usable, history.classes(), history.splits)
    assert "p009" not in set(dataset["photo_id"])
    assert dict(history.splits.select("enclosure_id", "split").iter_rows()) == homes
    leaking = pl.concat([dataset, dataset.filter(enclosure_id=train).with_columns(photo_id=pl.lit("p009"))])
    found = splits_by_shot(leaking, history.all_photos()).filter(pl.col("splits") > 1)
    assert found.select("photos", "splits").rows() == [(2, 2)]
