"""Where a training starts: the champion's weights, those of another use case's, the user's, the bundled ones, or none.

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
from mlops_assets.detector.other_champion import OtherChampion
from mlops_assets.detector.ultralytics_setup import go_offline


class WeightsError(ValueError):
    """Starting weights are missing, broken or of another architecture; the message names the file and the remedy."""


@dataclass(frozen=True)
class StartingPoint:
    """What a training starts from; `path` is None for scratch, `reason` says in words why this was chosen.

    sha256 is that of the file as it was given, which for another use case's champion is not the one at `path`: there
    its classes are left out.
    """

    kind: Literal["champion", "other_champion", "user", "bundled", "scratch"]
    path: Path | None
    reason: str
    sha256: str | None = None


def starting_point(
    user_path: Path | None,
    champion_weights: Path | None,
    architecture: str,
    bundled: BundledWeights | None = None,
    other: OtherChampion | None = None,
) -> StartingPoint:
    """Choose the starting weights: the champion's, else for a first training another's, the user's or the bundled.

    Args:
        user_path: Ultralytics checkpoint named in the deployment's settings, for the first training.
        champion_weights: Checkpoint of the champion, None while there is no champion.
        architecture: Such as yolo11n. A champion of another architecture cannot be gone on with.
        bundled: Base weights of that architecture that come with the code, if there are any and they are wanted.
        other: What the use case wants its first training to start from. It comes before the user's weights, which
            are for every use case of a deployment; what cannot be had is said in `reason`, and the next one counts.

    Raises:
        WeightsError: The file chosen is missing or broken, or the user's is of another architecture.
    """
    if champion_weights is not None:
        found = checkpoint_architecture(champion_weights)
        if found == architecture:
            return _from("champion", champion_weights, f"goes on from the champion ({champion_weights.name})")
        return _anew(f"the champion is {found}, {architecture} is asked for", bundled)
    why = "no champion yet"
    if other is not None:
        refused = _refused(other, architecture)
        if refused is None:
            return _from_other(other, why)
        why = f"{why}, {refused}"
    if user_path is not None:
        found = checkpoint_architecture(user_path)
        if found != architecture:
            raise WeightsError(
                f"{user_path} holds {found}, but the use case trains {architecture}: "
                f"set training.architecture to {found}, or give weights of {architecture}"
            )
        return _from("user", user_path, f"{why}: starts from {user_path.name}")
    return _anew(f"{why}, no weights given", bundled)


def _from(kind: Literal["champion", "user"], path: Path, reason: str) -> StartingPoint:
    return StartingPoint(kind, path, reason, _file_hash(path))


def _refused(other: OtherChampion, architecture: str) -> str | None:
    """Say why the other use case's champion cannot be started from, None where it can."""
    if other.weights is None:
        return f"none of {other.model} to start from"
    found = checkpoint_architecture(other.weights)
    return None if found == architecture else f"{other} is {found}, {architecture} is asked for"


def _from_other(other: OtherChampion, why: str) -> StartingPoint:
    if other.weights is None:
        raise WeightsError(f"{other.model} has no weights to start from")
    sha256 = _file_hash(other.weights)
    path = with_fresh_classes(other.weights, other.weights.with_name("without_classes.pt"))
    reason = f"{why}: starts from {other} (SHA-256 {sha256[:12]}) without its classes"
    return StartingPoint("other_champion", path, reason, sha256)


def _anew(why: str, bundled: BundledWeights | None) -> StartingPoint:
    if bundled is None:
        return StartingPoint("scratch", None, f"{why}: from scratch")
    name = f"{bundled.path.name}, SHA-256 {bundled.sha256[:12]}"
    reason = f"{why}: starts from the bundled base weights ({name})"
    return StartingPoint("bundled", bundled.path, reason, bundled.sha256)


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


def require_hash(path: Path, sha256: str) -> Path:
    """Refuse a file whose bytes are not those that were registered, before anything is read from it.

    Args:
        path: A local file.
        sha256: Expected SHA-256, hex.

    Raises:
        WeightsError: Missing, or another file.
    """
    require_checkpoint(path)
    found = _file_hash(path)
    if found != sha256.lower():
        raise WeightsError(f"{path} has SHA-256 {found}, expected {sha256}; correct one of the two")
    return path


def load_model(path: Path) -> Any:
    """Load the torch model of a checkpoint: fp32, evaluation mode, CPU, raw one-to-many output.

    Only tensors and Ultralytics' own classes are unpickled (ULTRALYTICS_SAFE_LOAD); anything else in the file makes it
    unreadable, and does not run.

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


def with_fresh_classes(source: Path, target: Path) -> Path:
    """Copy a checkpoint, with all that it learnt but which class is which.

    Two use cases have different classes under the same stable names (c0000 …). Ultralytics would take over the rows of
    the classification head whose names match, and all rows where the number of classes is the same. So the rows get
    the values of an untrained head, and the classes names that no use case gives.

    Args:
        source: Checkpoint of the other use case.
        target: Local file, written atomically.

    Raises:
        WeightsError: Missing, broken, or no Ultralytics checkpoint.
    """
    model = load_model(source)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same values for the same source
        untrained = DetectionModel(model.yaml, nc=len(model.names), verbose=False)
        for branch in ("cv3", "one2one_cv3"):  # the second is yolo26's
            new, old = (getattr(m.model[-1], branch, None) or () for m in (untrained, model))
            for untrained_scale, scale in zip(new, old, strict=True):
                scale[-1].reset_parameters()
                # How rare a class is held to be before anything is learnt.
                scale[-1].bias.data.copy_(untrained_scale[-1].bias)
    model.names = {index: f"left out {index}" for index in model.names}
    model.pt_path = None
    partial = target.with_name(f".{target.name}.part")
    torch.save({"model": model, "train_args": {}}, partial)
    partial.replace(target)
    return target


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
