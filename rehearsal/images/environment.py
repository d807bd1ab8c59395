"""The environments of the images on this machine: which Python, which variables, where the project lies.

The CPU image's is built by its Dockerfile's own steps. The GPU image's 7 GB are not installed a second time: the
running environment stands in for them, once it has been found to hold exactly the versions of that image's lock.
"""

import fcntl
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal, TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rehearsal.images.build import Build, ImageBuildError
from rehearsal.images.dockerfile import read_dockerfile

ImageName: TypeAlias = Literal["cpu", "gpu"]

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = PROJECT / "k8s" / "images"
FOLDER = PROJECT / ".tools" / "images"
_DAY_S = 24 * 3600


@dataclass(frozen=True)
class ImageEnvironment:
    """What a container of an image would find.

    Attributes:
        name: cpu or gpu.
        app: What /app is in the image, the working directory.
        bin: The programs of its virtual environment.
        variables: ENV of the image; /opt and /app are replaced by their places here, /tmp and /scratch are not.
        command: CMD, the code server.
        health: The command of HEALTHCHECK.
        folders: Everything that is the image's; on a cluster nothing can be written there.
    """

    name: ImageName
    app: Path
    bin: Path
    variables: dict[str, str]
    command: list[str]
    health: list[str]
    folders: tuple[Path, ...]

    @property
    def python(self) -> Path:
        """The image's interpreter."""
        return self.bin / "python"

    def environ(self, **overrides: str) -> dict[str, str]:
        """Variables for a process of the image: ENV with a pod's own over it, and nothing of this process's."""
        return self.variables | overrides


def image_environment(name: ImageName, folder: Path = FOLDER) -> ImageEnvironment:
    """The environment of an image, built if its Dockerfile, lock or files changed.

    Args:
        name: cpu or gpu.
        folder: Where environments are kept; about 1.4 GB.

    Raises:
        ImageBuildError: A step of the Dockerfile failed, or the running environment is not what the GPU image pins.
        DockerfileError: The Dockerfile holds what is not read.
    """
    dockerfile = read_dockerfile(IMAGES / f"{name}.Dockerfile")
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / ".lock"):
        build = Build(dockerfile, PROJECT, folder)
        if name == "gpu":
            # The stand-in has its bytecode beside its modules.
            stand_in = {"dependencies": _running_environment(folder)}
            build = Build(dockerfile, PROJECT, folder, without=stand_in, unset=frozenset({"PYTHONPYCACHEPREFIX"}))
        build.run()
        _remove_old(folder, kept=set(build.places.tops.values()))
    final = dockerfile.final
    return ImageEnvironment(
        name=name,
        app=build.places(final.all("WORKDIR")[-1].value),
        bin=build.places("/opt/venv/bin"),
        variables=build.environ(final),
        command=final.all("CMD")[-1].command(),
        health=final.all("HEALTHCHECK")[-1].command(),
        folders=tuple(dict.fromkeys(build.places.tops.values())),
    )


def megabytes(image: ImageEnvironment) -> float:
    """What an image has above its base, in MB (10^6 bytes).

    Links count nothing, nor does what only this machine has: the bytecode of earlier builds of the project.
    """
    files = (path for folder in image.folders for path in folder.rglob("*") if not path.is_symlink())
    ours = str(image.app.parent)
    other = str(image.app.parent.parent / f"{image.app.parent.name.split('-')[0]}-")
    counted = (path for path in files if other not in str(path) or ours in str(path))
    return sum(path.stat().st_size for path in counted if path.is_file()) / 1e6


def differences(lock: Path) -> list[str]:
    """Where the running environment is not what a lock pins, in words; what it has beside that does not matter."""
    installed = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    found = []
    for pin in pins(lock):
        has = installed.get(canonicalize_name(pin.name), "nothing")
        if has == "nothing" or not pin.specifier.contains(has, prereleases=True):
            found.append(f"{pin.name}{pin.specifier}: here is {has}")
    return found


def pins(lock: Path) -> list[Requirement]:
    """The packages that a lock pins for this machine and Python."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    stated = [Requirement(line.removesuffix("\\").strip()) for line in lines if line[:1].isalnum()]
    return [pin for pin in stated if pin.marker is None or pin.marker.evaluate()]


def _running_environment(folder: Path) -> Path:
    wrong = differences(IMAGES / "requirements-gpu.lock")
    if wrong:
        raise ImageBuildError("This environment cannot stand in for the GPU image: " + "; ".join(wrong))
    root = folder / "dependencies"
    link = root / "opt" / "venv"
    (root / "opt" / "pycache").mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.resolve() != Path(sys.prefix):
        link.unlink(missing_ok=True)
        link.symlink_to(sys.prefix)
    return root


def _remove_old(folder: Path, kept: set[Path]) -> None:
    """Remove earlier builds that nobody can still be running: they are a day old."""
    for done in folder.glob("*-*/.complete"):
        if done.parent not in kept and time.time() - done.stat().st_mtime > _DAY_S:
            shutil.rmtree(done.parent)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One builder at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
