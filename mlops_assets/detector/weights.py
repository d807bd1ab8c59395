"""Where a training starts: the user's weights, the champion's, the bundled ones, or none.

Nothing here reaches the network except `fetch_weights`, which fetches what a user named, and checks its hash.
"""

import hashlib
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from mlops_assets.detector.bundled import BundledWeights
from mlops_assets.detector.ultralytics_setup import go_offline


class WeightsError(ValueError):
    """Starting weights are missing, broken or of another architecture; the message names the file and the remedy."""


@dataclass(frozen=True)
class StartingPoint:
    """What a training starts from; `path` is None for scratch, `reason` says in words why this was chosen."""

    kind: Literal["user", "champion", "bundled", "scratch"]
    path: Path | None
    reason: str


def starting_point(
    user_path: Path | None,
    champion_weights: Path | None,
    architecture: str,
    bundled: BundledWeights | None = None,
) -> StartingPoint:
    """Choose the starting weights: the champion's, else the user's (so for the first training only), else the bundled.

    Args:
        user_path: Ultralytics checkpoint named in the settings, for the first training.
        champion_weights: Checkpoint of the champion, None while there is no champion.
        architecture: Such as yolo11n. A champion of another architecture cannot be gone on with.
        bundled: Base weights of that architecture that come with the code, if there are any and they are wanted.

    Raises:
        WeightsError: The file chosen is missing or broken, or the user's is of another architecture.
    """
    if champion_weights is not None:
        found = checkpoint_architecture(champion_weights)
        if found == architecture:
            return StartingPoint("champion", champion_weights, f"goes on from the champion ({champion_weights.name})")
        return _anew(f"the champion is {found}, {architecture} is asked for", bundled)
    if user_path is not None:
        found = checkpoint_architecture(user_path)
        if found != architecture:
            raise WeightsError(
                f"{user_path} holds {found}, but the use case trains {architecture}: "
                f"set training.architecture to {found}, or give weights of {architecture}"
            )
        return StartingPoint("user", user_path, f"no champion yet: starts from {user_path.name}")
    return _anew("no champion yet and no weights given", bundled)


def _anew(why: str, bundled: BundledWeights | None) -> StartingPoint:
    if bundled is None:
        return StartingPoint("scratch", None, f"{why}: from scratch")
    name = f"{bundled.path.name}, SHA-256 {bundled.sha256[:12]}"
    return StartingPoint("bundled", bundled.path, f"{why}: starts from the bundled base weights ({name})")


def require_checkpoint(path: Path) -> None:
    """Refuse a path that Ultralytics would look for on the network.

    Raises:
        WeightsError: No such file, or not named .pt.
    """
    if path.suffix != ".pt":
        raise WeightsError(f"{path} is no .pt file; give an Ultralytics checkpoint such as best.pt")
    if not path.is_file():
        raise WeightsError(
            f"No weights at {path}; put the file there, or leave the setting empty to start from scratch"
        )


def load_model(path: Path) -> Any:
    """Load the torch model of a checkpoint: fp32, evaluation mode, CPU, raw one-to-many output.

    Raises:
        WeightsError: Missing, broken, or no Ultralytics checkpoint.
    """
    require_checkpoint(path)
    go_offline()
    from ultralytics.nn.tasks import load_checkpoint

    try:
        model, _ = load_checkpoint(path)
    except (TypeError, RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is no readable Ultralytics checkpoint ({error}); replace the file") from error
    model.end2end = False
    return model


def checkpoint_architecture(path: Path) -> str:
    """Return the architecture that a checkpoint was built from, such as yolo11n.

    Raises:
        WeightsError: Missing, broken, or no Ultralytics checkpoint.
    """
    return Path(str(load_model(path).yaml["yaml_file"])).stem


def fetch_weights(uri: str, sha256: str, target: Path) -> Path:
    """Copy weights that a user named to `target`, unless they lie there already, and check their hash.

    Args:
        uri: Anything universal_pathlib opens, such as s3://…, https://… or a file.
        sha256: Expected SHA-256 of the file, hex.
        target: Local file, written atomically.

    Raises:
        WeightsError: What came has another hash; nothing is left at `target`.
    """
    if target.is_file() and _file_hash(target) == sha256.lower():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as partial:
        try:
            with UPath(uri).open("rb") as source:
                while block := source.read(1 << 20):
                    digest.update(block)
                    partial.write(block)
            partial.close()
            if digest.hexdigest() != sha256.lower():
                raise WeightsError(f"{uri} has SHA-256 {digest.hexdigest()}, expected {sha256}; correct one of the two")
            Path(partial.name).replace(target)
        finally:
            Path(partial.name).unlink(missing_ok=True)
    return target


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
