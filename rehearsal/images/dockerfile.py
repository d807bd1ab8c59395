"""Reads a Dockerfile into stages and instructions, with its variables filled in.

It knows what this project's Dockerfiles use and refuses the rest, so that nothing is passed over in silence.
"""

import io
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

INSTRUCTIONS = {
    *("ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"),
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OPTION = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")


class DockerfileError(ValueError):
    """The Dockerfile uses what is not read here; the message says where."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: `RUN --mount=type=cache,target=/x make` has options {"mount": …} and value `make`."""

    keyword: str
    options: tuple[tuple[str, str], ...]
    value: str
    line: int

    def option(self, name: str) -> str | None:
        """The value of an option that is given once at most, None without it."""
        return dict(self.options).get(name)

    def mounts(self) -> list[dict[str, str]]:
        """What a RUN mounts, such as {"type": "cache", "target": "/x"}."""
        given = [value for option, value in self.options if option == "mount"]
        return [dict(part.split("=", 1) for part in value.split(",") if "=" in part) for value in given]

    def words(self, variables: Mapping[str, str]) -> list[str]:
        """The value split as a shell does, with `variables` filled in."""
        return [fill(word, variables) for word in shlex.split(self.value)]

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The value of ENV, LABEL or ARG as names and values; a name without a value is left out."""
        return dict(word.split("=", 1) for word in self.words(variables) if "=" in word)

    def command(self) -> list[str]:
        """The value of CMD, or of HEALTHCHECK CMD, in its exec form.

        Raises:
            DockerfileError: It is in shell form, which would put a shell between the kubelet and the process.
        """
        text = self.value.removeprefix("CMD ").strip()
        try:
            return [str(word) for word in json.loads(text)]
        except json.JSONDecodeError as error:
            raise DockerfileError(f'Line {self.line}: {self.keyword} is no list such as ["a", "b"]') from error


@dataclass(frozen=True)
class Stage:
    """What follows one FROM; `parent` is an image, or the name of an earlier stage."""

    name: str
    parent: str
    instructions: tuple[Instruction, ...]

    def all(self, keyword: str) -> list[Instruction]:
        """Its instructions of one kind, in order."""
        return [each for each in self.instructions if each.keyword == keyword]


@dataclass(frozen=True)
class Dockerfile:
    """Stages by name, in order, and the build arguments that stand before the first."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    @property
    def final(self) -> Stage:
        """The stage that becomes the image."""
        return list(self.stages.values())[-1]

    def ancestry(self, stage: Stage) -> list[Stage]:
        """The stages that a stage starts from, oldest first, and itself."""
        parent = self.stages.get(stage.parent)
        return [*(self.ancestry(parent) if parent else []), stage]

    @property
    def base_image(self) -> str:
        """The image that the final stage goes back to."""
        return self.ancestry(self.final)[0].parent


def fill(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$NAME` and `${NAME}`; an unknown one becomes empty, as in Docker."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def read_dockerfile(path: Path) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        DockerfileError: It holds an instruction that is not read here, or a stage without a name.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, tuple[str, list[Instruction]]] = {}
    current: list[Instruction] | None = None
    for instruction in _instructions(path):
        if instruction.keyword == "FROM":
            parent, name = _stage_of(instruction, arguments)
            current = []
            stages[name] = (parent, current)
        elif current is not None:
            current.append(instruction)
        else:
            arguments |= instruction.pairs({})
    return Dockerfile(arguments, {name: Stage(name, parent, tuple(body)) for name, (parent, body) in stages.items()})


def _instructions(path: Path) -> list[Instruction]:
    content: Any = io.BytesIO(path.read_bytes())  # the stubs ask for text, the parser for bytes
    parsed = DockerfileParser(fileobj=content).structure
    return [_instruction(path, each) for each in parsed if each["instruction"] != "COMMENT"]


def _instruction(path: Path, parsed: Mapping[str, Any]) -> Instruction:
    line = int(parsed["startline"]) + 1
    if parsed["instruction"] not in INSTRUCTIONS:
        raise DockerfileError(f"{path.name}, line {line}: {parsed['instruction']} is not read here")
    value, options = parsed["value"], []
    while match := _OPTION.match(value):
        options.append((match[1], match[2] or ""))
        value = value[match.end() :]
    return Instruction(parsed["instruction"], tuple(options), value, line)


def _stage_of(instruction: Instruction, arguments: Mapping[str, str]) -> tuple[str, str]:
    words = instruction.words(arguments)
    if len(words) != 3 or words[1].upper() != "AS":
        raise DockerfileError(f"Line {instruction.line}: a stage here is FROM <image> AS <name>")
    return words[0], words[2]
