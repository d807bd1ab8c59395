"""Train photos that show no equipment: how many a training wants, which are taken, and what to do about too few.

They teach what is no device. Val and test are left alone: what is measured on follows what technicians photograph.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from mlops_assets.use_case import BackgroundRules

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Background:
    """Train photos of a dataset, and those of them that show nothing."""

    photos: int
    without_box: int

    @property
    def share(self) -> float:
        """Of train photos, 0 to 1; 0 without any."""
        return self.without_box / self.photos if self.photos else 0.0

    def missing(self, rules: BackgroundRules) -> int:
        """Photos without equipment that the dataset lacks of the lower share."""
        with_box = self.photos - self.without_box
        return max(0, math.ceil(with_box * _odds(rules.min_share) - _ROUNDING) - self.without_box)

    def sentence(self, rules: BackgroundRules) -> str:
        """How many there are, and what to do where they are too few."""
        said = f"{self.without_box} of {self.photos} train photos ({self.share:.1%}) show no equipment"
        missing = self.missing(rules)
        if not missing:
            return said
        return (
            f"{said}, fewer than {rules.min_share:.0%}: label {missing} more photos without equipment, such as empty "
            "cabinets or closed doors, as showing nothing"
        )


def background_of(dataset: pl.DataFrame) -> Background:
    """Count the train photos of TRAINING_DATASET."""
    train = dataset.filter(pl.col("split") == "train")
    return Background(train["photo_id"].n_unique(), train.filter(pl.col("class_id").is_null())["photo_id"].n_unique())


def surplus(without_box: Iterable[str], with_box: int, rules: BackgroundRules) -> list[str]:
    """Photos to leave out, so that those without a box are at most `rules.max_share` of what remains.

    The ones that stay come first in the order of a hash of seed and photo_id. So the choice does not depend on the
    order of rows, one more photo puts at most one out, and further photos with boxes only let more in.

    Args:
        without_box: photo_ids of train photos without a box.
        with_box: Number of train photos with one.
        rules: Of the use case.
    """
    allowed = int(with_box * _odds(rules.max_share) + _ROUNDING)
    return sorted(set(without_box), key=lambda photo_id: _place(photo_id, rules.seed))[allowed:]


def _odds(share: float) -> float:
    return share / (1 - share)


def _place(photo_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {photo_id}".encode()).digest()
