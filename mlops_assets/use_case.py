"""What one use case fixes: its classes, thresholds and training settings, read from `use_cases/<name>.yaml`.

Everything that a second use case may want otherwise belongs here; addresses of services belong in
`resources/settings.py`, and nothing here reads the environment.
"""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class UseCaseError(ValueError):
    """A use case file is missing or wrong; the message names the file, the setting and what it takes."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownClass(_Section):
    """An equipment class named ahead of its first label."""

    name: str
    aliases: tuple[str, ...] = ()


class ClassDecisionEntry(_Section):
    """A decision about a class that has an id already; the command `mlops_assets.labels classes` writes the same.

    Once imported it is recorded for good: taking it out of the file undoes nothing, `undo` does.
    """

    decision: Literal["rename", "alias", "merge", "deprecate", "accept", "undo"]
    of: str = Field(min_length=1, description="the class by a name or its key such as c0007; for undo a decision_id")
    to: str | None = Field(None, min_length=1, description="new name, further name, or the class it counts for")
    by: str = Field(min_length=1, description="who decided")
    at: dt.datetime | dt.date = Field(description="when; a day alone counts as its beginning, UTC")
    why: str = Field(min_length=1)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "ClassDecisionEntry":
        needs = self.decision in ("rename", "alias", "merge")
        if needs != (self.to is not None):
            raise ValueError(f"{self.decision} {'needs' if needs else 'takes no'} `to`")
        return self


class FaceBlurRules(_Section):
    """Faces are made unrecognisable on the normalised photo; the original keeps them."""

    model: Path = Field(description="YuNet as an ONNX file, an absolute path on every machine that takes photos in")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of that file, hex")
    min_score: Fraction = Field(0.6, description="lower finds more faces, and more of what is none")

    @model_validator(mode="after")
    def _file_is_the_one_that_is_meant(self) -> "FaceBlurRules":
        if not self.model.is_file():
            raise ValueError(
                f"there is no face detection model {self.model.absolute()}: put it there, or blur no faces"
            )
        found = hashlib.sha256(self.model.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ValueError(f"{self.model.absolute()} has the SHA-256 {found}, not {self.sha256}")
        return self


class IntakeRules(_Section):
    """Limits checked before a landed file is decoded, for how long late files count, and what is kept of a photo."""

    max_bytes: int = Field(100_000_000, gt=0, description="largest file, bytes")
    max_pixels: int = Field(
        120_000_000, gt=0, description="largest picture, pixels; guards against decompression bombs"
    )
    normalised_long_side: int = Field(1280, ge=640, description="long side of the normalised photo, pixels")
    late_days: int = Field(14, ge=0, description="past days that are looked through for photos that landed late")
    keep_coordinates: bool = Field(False, description="whether the ledger holds where a photo was taken")
    face_blur: FaceBlurRules | None = Field(None, description="empty: faces stay")


class NearDuplicateRules(_Section):
    """When a photo counts as the same shot as an earlier one.

    Distances are in bits of the 64-bit perceptual hash. The defaults were chosen on half of the photos of
    ../shared/data; docs/decisions.md has what they find on the other half.
    """

    everywhere_distance: int = Field(16, ge=0, le=64, description="a photo of any day and enclosure is looked into")
    everywhere_view_distance: int = Field(8, ge=0, le=64, description="the same, from the photo's nearest view")
    nearby_distance: int = Field(26, ge=0, le=64, description="a photo of the same enclosure or technician is")
    nearby_view_distance: int = Field(14, ge=0, le=64, description="the same, from the photo's nearest view")
    nearby_days: int = Field(30, ge=0, description="how many days back the enclosure's and technician's photos go")
    max_candidates: int = Field(8, ge=1, description="photos that one is laid over, the nearest first")
    min_correlation: float = Field(0.94, gt=0, le=1, description="of two photos laid over each other")
    max_difference: float = Field(1.5, ge=0, description="of two photos at any place, in standard deviations")


class QualityRules(_Section):
    """Thresholds of the quality verdict, measured on the grey photo scaled to 640 px long side.

    Their source is `make bench SECTION=quality`: real photos of ../shared/data, whole and spoilt by degrees; the
    defaults refuse few of the former and nearly all that no longer show the equipment (docs/decisions.md).
    """

    min_sharpness: float = Field(6.0, ge=0, description="least variance of the second difference of four directions")
    min_brightness: float = Field(20.0, ge=0, le=255, description="mean grey level")
    max_brightness: float = Field(235.0, ge=0, le=255, description="mean grey level")
    max_dark_share: Fraction = Field(0.65, description="share of pixels that are nearly black")
    max_bright_share: Fraction = Field(0.50, description="share of pixels that are white")
    min_contrast: float = Field(12.0, ge=0, description="standard deviation of the grey level")
    min_long_side: int = Field(480, ge=1, description="long side of the upright photo as uploaded, pixels")
    near_duplicates: NearDuplicateRules = NearDuplicateRules()


class NewClassRules(_Section):
    """When a name that annotators use becomes an active class."""

    min_boxes: int = Field(10, ge=1)
    min_enclosures: int = Field(3, ge=1)
    growth_step: int = Field(20, ge=1, description="boxes by which a class must grow before it is asked for again")
    cooldown_hours: float = Field(
        20.0,
        ge=0,
        description="from the decision on a candidate to the next retraining for new classes, so that a day of "
        "labelling gives one: longer than a working day, and shorter than 24 by what a training takes, so that it does "
        "not come later day by day. The first champion starts none, and without a champion none is waited for",
    )
    near_name: Fraction = Field(
        0.8,
        description="likeness of names (1 less edits by length of the longer) from which a new one waits for a person; "
        "1: only plurals and names that differ in no letter wait. Measured in docs/decisions.md",
    )


class LabelRules(_Section):
    """How label files are read."""

    outside_tolerance: Fraction = Field(
        0.02, description="share of the photo by which a box may reach outside; it is clipped, others are quarantined"
    )
    yolo_class_names: tuple[str, ...] = Field(
        (), description="class names by index for YOLO labels that come without classes.txt, *.names or data.yaml"
    )


class LabellingRules(_Section):
    """Tasks in Label Studio, where a deployment has one."""

    keep_days: float = Field(
        3, ge=0, description="days that a task nobody has begun stays once the review queue does not name it any more"
    )


class SplitRules(_Section):
    """Shares of enclosures; the rest is for training."""

    val: Fraction = 0.15
    test: Fraction = 0.20
    seed: int = 0


class BackgroundRules(_Section):
    """Train photos without equipment; Ultralytics advises up to 10 % (tips for best training results)."""

    min_share: float = Field(
        0.05, ge=0, lt=1, description="of train photos; with fewer a check warns and says what to do"
    )
    max_share: float = Field(0.10, ge=0, lt=1, description="of train photos; what is above is left out of training")
    seed: int = Field(0, description="of which photos are left out")

    @model_validator(mode="after")
    def _in_order(self) -> "BackgroundRules":
        if self.min_share > self.max_share:
            raise ValueError(f"min_share {self.min_share} is above max_share {self.max_share}")
        return self


BACKGROUND_RULES = BackgroundRules()
"""As a use case has them that says nothing else."""


class TrainingRules(_Section):
    """Defaults of a training; each can be changed for one run in the launchpad."""

    architecture: Literal["yolo11n", "yolo11s", "yolo11m", "yolo26n", "yolo26s", "yolo26m"] = "yolo11n"
    image_size: int = Field(416, ge=64, multiple_of=32, description="long side of the network's input, pixels")
    epochs: int = Field(40, ge=1)
    retrain_epochs: int = Field(25, ge=1, description="epochs when training starts from the champion")
    max_minutes: float | None = Field(
        None, gt=0, description="train for so long instead of a number of epochs; the learning rate follows"
    )
    pretrained: bool = Field(
        True, description="without a champion, start from the bundled base weights if there are any"
    )
    start_from: Name | None = Field(
        None, description="without a champion, start from that of this other use case in the same registry"
    )
    patience: int = Field(30, ge=1, description="epochs without progress before training stops")
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        8, description="photos a batch; auto: what fits in the memory of the one GPU, on a CPU 8"
    )
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    learning_rate: float = Field(0.002, gt=0)
    retrain_learning_rate: float = Field(0.001, gt=0, description="when training starts from the champion")
    mixed_precision: bool = Field(True, description="bfloat16 where the processor computes it in hardware")
    workers: int | None = Field(
        None, ge=0, description="processes that load photos for a GPU; empty: as many as threads, at most 8"
    )
    checkpoint_epochs: int = Field(1, ge=1, description="epochs from one checkpoint in the store to the next")
    horizontal_flip: Fraction = Field(0.0, description="share of photos that are mirrored; devices have a handed face")
    mosaic: Fraction = Field(1.0, description="share of training pictures that are put together of four")
    close_mosaic: int = Field(5, ge=0, description="last epochs, which see whole photos only")
    seed: int = Field(0, ge=0, description="of the weights, the order of photos and their variation")


class PromotionRules(_Section):
    """DESIGN §3, Promotion."""

    tolerance: Fraction = 0.05
    floor_ap50: Fraction = 0.50
    max_class_fall: Fraction = 0.25
    old_class_fall: Fraction = Field(
        0.02,
        description="fall of the macro AP50 of the classes known before from which a check warns; it decides nothing",
    )
    min_test_enclosures: int = Field(5, ge=1, description="fewer make a class not judgeable")
    bootstrap_samples: int = Field(1000, ge=100)
    provisional_classes: Literal["refuse", "promote"] = "promote"


class InventoryRules(_Section):
    """DESIGN §3, Inventory."""

    min_usable_photos: int = Field(2, ge=1, description="usable photos of a visit that make an unseen item removed")
    default_threshold: Fraction = 0.35


class ReviewShares(_Section):
    """The most of the budget that each reason takes while others have photos to offer; 0 switches a reason off."""

    relabel: Fraction = Field(0.4, description="labelled before a class existed")
    label_conflict: Fraction = Field(0.1, description="annotators differ")
    label_error: Fraction = Field(0.2, description="a label that is likely wrong")
    test_enclosure: Fraction = Field(0.1, description="may give a class its first test boxes")
    rare_class: Fraction = Field(0.15, description="may show a class of few labels")
    unknown_equipment: Fraction = Field(0.2, description="equipment of no known class")
    uncertain: Fraction = Field(0.3, description="detections around their threshold")
    disagreement: Fraction = Field(0.1, description="champion and refused candidate differ")
    drift: Fraction = Field(0.1, description="unlike the photos that were trained on")
    unlabelled_enclosure: Fraction = Field(0.1, description="no photo of the enclosure is labelled")


class ReviewRules(_Section):
    """Which photos are offered for labelling; docs/decisions.md says how they are chosen."""

    budget: int = Field(50, ge=0, description="photos in the queue: what is labelled on a day")
    shares: ReviewShares = ReviewShares()
    enough_boxes: int = Field(50, ge=1, description="labelled boxes from which a class is rare no more")
    enough_enclosures: int = Field(8, ge=1, description="labelled enclosures from which a class is rare no more")
    min_label_suspicion: Fraction = Field(0.4, description="from which a label is offered as likely wrong")
    min_unknown_score: float = Field(
        1.0,
        ge=0,
        description="from which unknown equipment is offered; 95 % of val photos have less than 1",
    )
    disagreement_photos: int = Field(100, ge=0, description="photos that a refused candidate looks at")


class ComponentRules(_Section):
    """What costs too much to be made again by itself when its code changes; it goes stale, and a person decides."""

    retrain: bool = Field(False, description="train anew when the code from splits to promotion changes")
    ingest_photos_again: bool = Field(
        False, description="take all days' photos in again when the code of intake changes"
    )


class UseCase(_Section):
    """One catalogue: what is looked for, since when, and how strict."""

    name: Name = Field(description="prefix of every asset key; the name of the file")
    title: str
    owner: str = Field("team:catalogue", description="owner shown on every asset: an e-mail address or team:<name>")
    start: dt.date = Field(description="first day of the landing zone")
    timezone: str = "Europe/Budapest"
    classes: tuple[KnownClass, ...] = ()
    class_decisions: tuple[ClassDecisionEntry, ...] = ()
    intake: IntakeRules = IntakeRules()
    quality: QualityRules = QualityRules()
    new_class: NewClassRules = NewClassRules()
    labels: LabelRules = LabelRules()
    labelling: LabellingRules = LabellingRules()
    split: SplitRules = SplitRules()
    background: BackgroundRules = BackgroundRules()
    training: TrainingRules = TrainingRules()
    promotion: PromotionRules = PromotionRules()
    inventory: InventoryRules = InventoryRules()
    review: ReviewRules = ReviewRules()
    component_changes: ComponentRules = ComponentRules()

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Budapest") from error
        return value

    @model_validator(mode="after")
    def _starts_from_another(self) -> "UseCase":
        if self.training.start_from == self.name:
            raise ValueError("training.start_from names another use case; from its own champion each goes on anyway")
        return self


def registered_model(use_case: str) -> str:
    """Name in the model registry of the detectors of a use case."""
    return f"{use_case}-detector"


def load_use_case(path: Path) -> UseCase:
    """Read and check one use case file.

    Raises:
        UseCaseError: The file is missing, no YAML mapping, named otherwise than its use case (which may be a copy's
            name left as it was, and would write into the other's store), or a setting is unknown or wrong.
    """
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise UseCaseError(f"No use case file {path}; use cases beside it: {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UseCaseError(f"{path} is no valid YAML: {error}") from error
    try:
        use_case = UseCase.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}, got {e['input']!r}" for e in error.errors()
        ]
        raise UseCaseError(f"{path} has wrong settings:\n" + "\n".join(lines)) from error
    if use_case.name != path.stem:
        raise UseCaseError(f"{path} has the name {use_case.name!r}: write name: {path.stem}, or rename the file")
    return use_case
