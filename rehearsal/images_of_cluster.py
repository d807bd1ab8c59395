"""The project's images as the stand-in cluster takes them: folders of this machine."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

from rehearsal.cluster.settings import Image
from rehearsal.images.environment import FOLDER, ImageEnvironment, ImageName, image_environment
from rehearsal.processes import ServiceError

CPU, GPU = "enclosure-catalog-cpu", "enclosure-catalog-gpu"
DAGSTER_HOME = "/opt/dagster/dagster_home"
_NAMES: dict[str, ImageName] = {CPU: "cpu", GPU: "gpu"}


def images(folder: Path, first_day: str | None = None, dagster_home: str | None = None) -> dict[str, Image]:
    """Both images by their names in the manifests, built if they are not there or out of date.

    Args:
        folder: For copies of the project that are changed.
        first_day: YYYY-MM-DD that use cases start on, in a copy of the project; None: as they say.
        dagster_home: Folder of dagster.yaml where pods are not isolated; None: they are.
    """
    found = {name: _image(image_environment(short), dagster_home) for name, short in _NAMES.items()}
    if first_day is None:
        return found
    return {name: _starting_on(first_day, image, folder / name) for name, image in found.items()}


def _starting_on(first_day: str, image: Image, copy: Path) -> Image:
    shutil.copytree(image.project, copy)
    for path in (copy / "use_cases").glob("*.yaml"):
        changed, count = re.subn(r"(?m)^start: .*$", f"start: {first_day}", path.read_text(encoding="utf-8"))
        if count != 1:
            raise ServiceError(f"{path} does not say in one line when it starts")
        path.write_text(changed, encoding="utf-8")
    here = {name: value.replace(str(image.project), str(copy)) for name, value in image.env.items()}
    return replace(image, project=copy, env=here)


def _image(environment: ImageEnvironment, dagster_home: str | None) -> Image:
    # What the image has at fixed places is mounted there, not where it lies on this machine.
    mounted = {"PYTHONPATH": "/app", "DAGSTER_HOME": DAGSTER_HOME}
    in_place = {"DAGSTER_HOME": dagster_home} if dagster_home else mounted
    shown = [folder for folder in environment.folders if folder != environment.app.parent]
    return Image(
        environment=environment.bin.parent.resolve(),
        project=environment.app,
        env={**environment.variables, **in_place},
        paths=[*shown, *sorted(FOLDER.glob("python3*"))],  # the interpreter is found through links there
    )
