"""The project's images as the stand-in cluster takes them: folders of this machine."""

from rehearsal.cluster.settings import Image
from rehearsal.images.environment import FOLDER, ImageEnvironment, ImageName, image_environment

CPU, GPU = "enclosure-catalog-cpu", "enclosure-catalog-gpu"
DAGSTER_HOME = "/opt/dagster/dagster_home"
_NAMES: dict[str, ImageName] = {CPU: "cpu", GPU: "gpu"}


def images() -> dict[str, Image]:
    """Both images by their names in the manifests, built if they are not there or out of date."""
    return {name: _image(image_environment(short)) for name, short in _NAMES.items()}


def _image(environment: ImageEnvironment) -> Image:
    # What the image has at fixed places is mounted there, not where it lies on this machine.
    in_place = {"PYTHONPATH": "/app", "DAGSTER_HOME": DAGSTER_HOME}
    shown = [folder for folder in environment.folders if folder != environment.app.parent]
    return Image(
        environment=environment.bin.parent.resolve(),
        project=environment.app,
        env={**environment.variables, **in_place},
        paths=[*shown, *sorted(FOLDER.glob("python3*"))],  # the interpreter is found through links there
    )
