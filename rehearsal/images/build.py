"""Executes the stages of a Dockerfile without Docker, so that what is tested is the Dockerfile and no copy of it.

A stage gets a folder that stands for `/`. Its RUN lines are executed there by a shell, with the image's variables and a
Python that stands in for the base image's; its COPY lines take from the working tree what `.dockerignore` lets through.
A path of the image lies where the stage that first worked in its top folder put it, so that `/opt` and `/app` can come
from different stages, and a stage whose inputs did not change is not executed again.

No container: RUN lines see this machine's `/usr` and its C library. So a stage must work in its own folders, and
COPY --from must keep the path, since virtual environments hold absolute ones.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rehearsal.images.dockerfile import Dockerfile, DockerfileError, Instruction, Stage

_KEPT_VARIABLES = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "HOME")
"""How this machine reaches packages and where it caches them: a build's own business, not the image's."""

_DONE = ".complete"


class ImageBuildError(RuntimeError):
    """A step of the build failed; the message ends with what it printed."""


@dataclass
class Places:
    """Where the top folders of the image lie on this machine, such as /opt and /app."""

    tops: dict[str, Path] = field(default_factory=dict)

    def __call__(self, path: str) -> Path:
        """The place of an absolute path of the image.

        Raises:
            DockerfileError: No stage has worked in its top folder.
        """
        top = PurePosixPath(path).parts[1]
        if top not in self.tops:
            raise DockerfileError(f"{path} lies in no folder that a stage works in: {', '.join(self.tops)}")
        return self.tops[top] / path.lstrip("/")

    def value(self, text: str) -> str:
        """A variable's value, whose paths are below those folders."""
        return ":".join(self._part(part) for part in text.split(":"))

    def _part(self, part: str) -> str:
        parts = PurePosixPath(part).parts
        return str(self(part)) if len(parts) > 1 and parts[0] == "/" and parts[1] in self.tops else part


@dataclass(frozen=True)
class Build:
    """One Dockerfile to be executed.

    Attributes:
        dockerfile: As read.
        context: The working tree that COPY takes from.
        folder: Below which the stages' folders are made.
        without: Stages that are not executed because something stands in for them, with the folder that is their `/`.
        unset: Variables of the image that make no sense with what stands in.
    """

    dockerfile: Dockerfile
    context: Path
    folder: Path
    without: Mapping[str, Path] = field(default_factory=dict)
    unset: frozenset[str] = frozenset()
    places: Places = field(default_factory=Places)

    def run(self) -> None:
        """Execute every stage whose inputs changed, and the final one's folders."""
        key = hashlib.sha256(f"{self._python()} {sys.version_info[:3]}".encode()).hexdigest()
        for stage in self.dockerfile.stages.values():
            if stage is self.dockerfile.final:
                self._finish(stage)
            elif stage.all("RUN") or stage.all("COPY"):
                key = self._stage(stage, key)

    def environ(self, stage: Stage) -> dict[str, str]:
        """ENV of a stage and those before it, with the image's folders replaced by their places.

        Where the stage's folders have no place yet, the values are as written.
        """
        variables = {"PATH": f"{self._base() / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        for each in self.dockerfile.ancestry(stage):
            for instruction in each.all("ENV"):
                pairs = instruction.pairs(variables)
                variables |= {name: self.places.value(text) for name, text in pairs.items() if name not in self.unset}
        return variables

    def _stage(self, stage: Stage, previous: str) -> str:
        key = hashlib.sha256(f"{previous} {self._inputs(stage)}".encode()).hexdigest()
        root = self.without.get(stage.name, self.folder / f"{stage.name}-{key[:12]}")
        for instruction in stage.all("WORKDIR"):
            self.places.tops.setdefault(PurePosixPath(instruction.value).parts[1], root)
        if stage.name in self.without or (root / _DONE).is_file():
            return key
        shutil.rmtree(root, ignore_errors=True)
        workdir = root
        for instruction in stage.instructions:
            if instruction.keyword == "WORKDIR":
                workdir = self.places(instruction.value)
                workdir.mkdir(parents=True, exist_ok=True)
            elif instruction.keyword == "COPY":
                self._copy(instruction, workdir)
            elif instruction.keyword == "RUN":
                self._execute(instruction, stage, workdir)
        self._prune(stage, root)
        (root / _DONE).touch()
        return key

    def _finish(self, stage: Stage) -> None:
        for instruction in stage.all("WORKDIR"):
            self.places(instruction.value).mkdir(parents=True, exist_ok=True)
        for instruction in stage.all("COPY"):
            source = self._copied(instruction)
            if not self.places(source).exists():
                raise ImageBuildError(f"Line {instruction.line} copies {source}, which no stage made")

    def _copied(self, instruction: Instruction) -> str:
        source, target = instruction.words({})
        if instruction.option("from") not in self.dockerfile.stages or source != target:
            raise DockerfileError(f"Line {instruction.line}: the final stage copies from a stage, to the same path")
        return source

    def _inputs(self, stage: Stage) -> str:
        text = [repr(each.instructions) for each in self.dockerfile.ancestry(stage)]
        digests = [
            f"{path}={hashlib.sha256((self.context / path).read_bytes()).hexdigest()}"
            for instruction in stage.all("COPY")
            for path in self._files(instruction.words({})[:-1])
        ]
        return json.dumps([*text, *digests, repr(sorted(self.unset))])

    def _files(self, sources: list[str]) -> Iterator[str]:
        """Files of the working tree that sources of a COPY name and `.dockerignore` lets through."""
        allowed = sorted(context_files(self.context))
        for source in sources:
            found = [path for path in allowed if path == source or path.startswith(f"{source}/")]
            if not found:
                raise ImageBuildError(f"COPY {source}: .dockerignore lets no such file through")
            yield from found

    def _copy(self, instruction: Instruction, workdir: Path) -> None:
        *sources, target = instruction.words({})
        for source in sources:
            folder = (self.context / source).is_dir()
            for path in self._files([source]):
                # A folder's content is copied, a file under its own name.
                relative = PurePosixPath(path).relative_to(source) if folder else PurePosixPath(path).name
                destination = workdir / target / relative
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.context / path, destination)

    def _execute(self, instruction: Instruction, stage: Stage, workdir: Path) -> None:
        machine = {name: value for name, value in os.environ.items() if name.upper().startswith(_KEPT_VARIABLES)}
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 the Dockerfile's own line
            ["/bin/sh", "-c", instruction.value],
            cwd=workdir,
            env=machine | self._step_environ(stage, instruction),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ImageBuildError(f"Line {instruction.line} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        seconds = time.monotonic() - started
        sys.stderr.write(f"{stage.name}: {seconds:.0f} s for {' '.join(instruction.value.split())[:90]}\n")

    def _step_environ(self, stage: Stage, instruction: Instruction) -> dict[str, str]:
        """ENV of a stage, whose PATH leads into no folder that only another stage works in, unless it is mounted."""
        own = {each.value for known in self.dockerfile.ancestry(stage) for each in known.all("WORKDIR")}
        own |= {mount["target"] for mount in instruction.mounts() if mount.get("from") in self.dockerfile.stages}
        tops = {PurePosixPath(path).parts[1] for path in own}
        others = {place / top for top, place in self.places.tops.items() if top not in tops}
        variables = self.environ(stage)
        parts = [p for p in variables["PATH"].split(":") if not any(Path(p).is_relative_to(o) for o in others)]
        return variables | {"PATH": ":".join(parts)}

    def _prune(self, stage: Stage, root: Path) -> None:
        """Remove what the final stage does not copy."""
        copies = [i for i in self.dockerfile.final.all("COPY") if i.option("from") == stage.name]
        kept = {self.places(self._copied(instruction)) for instruction in copies}
        _keep_only(root, {path for path in kept if path.is_relative_to(root)})

    def _base(self) -> Path:
        """A Python without packages, in place of the base image's /usr/local."""
        version = base_python(self.dockerfile)
        folder = self.folder.parent / f"python{version}"
        if not (folder / _DONE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([self._python(), "-m", "venv", str(folder)], check=True)  # noqa: S603 the next line says what
            (folder / _DONE).touch()
        return folder

    def _python(self) -> str:
        """An interpreter of the base image's version on this machine.

        Raises:
            ImageBuildError: There is none.
        """
        version = base_python(self.dockerfile)
        name = f"python{version}"
        own = f"{sys.version_info.major}.{sys.version_info.minor}" == version
        found = str(Path(sys.base_prefix) / "bin" / name) if own else shutil.which(name)
        if found is None or not Path(found).exists():
            raise ImageBuildError(f"The image has Python {version}, which is not on this machine")
        return found


def base_python(dockerfile: Dockerfile) -> str:
    """The version of Python in a base image such as python:3.11-slim-bookworm."""
    return dockerfile.base_image.removeprefix("python:").split("-")[0]


def context_files(context: Path) -> set[str]:
    """What `.dockerignore` lets through, as relative paths of files, with Docker's own rules."""
    from docker.utils.build import exclude_paths  # type: ignore[import-untyped]

    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found = {path for path in exclude_paths(str(context), patterns) if (context / path).is_file()}
    return found - {".dockerignore"}  # the builder gets it in any case, COPY does not


def _keep_only(folder: Path, kept: set[Path]) -> None:
    for path in folder.iterdir():
        if path in kept:
            continue
        if any(other.is_relative_to(path) for other in kept) and path.is_dir() and not path.is_symlink():
            _keep_only(path, kept)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
