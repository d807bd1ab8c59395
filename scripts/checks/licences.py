"""Every installed package's licence goes together with AGPL-3.0-or-later, the licence of the whole.

`licences.toml` beside this holds the licences that do, and the packages that need a word, with the reason.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.checks.catalogue import ROOT, TOOLS

POLICY = Path(__file__).with_name("licences.toml")


@dataclass(frozen=True)
class Policy:
    """`allowed`: licences, lower case, as packages name them; `packages`: name → why it is fine all the same."""

    allowed: frozenset[str]
    packages: Mapping[str, str]


def load(path: Path = POLICY) -> Policy:
    """Read the policy.

    Raises:
        ValueError: An exception has no reason.
    """
    table = tomllib.loads(path.read_text())
    packages = {name.lower(): reason for name, reason in table["packages"].items()}
    if unexplained := sorted(name for name, reason in packages.items() if len(reason.split()) < 4):
        raise ValueError(f"{path.name}: no reason is given for {', '.join(unexplained)}")
    return Policy(frozenset(name.lower() for name in table["allowed"]), packages)


def allows(policy: Policy, licence: str) -> bool:
    """Whether a licence will do: one of `A OR B`, every one of `A AND B` and of classifiers, `A; B`."""
    if licence.lower().strip() in policy.allowed:
        return True
    for separator, enough in ((r"\s*;\s*", all), (r"\s+AND\s+", all), (r"\s+OR\s+", any)):
        if len(parts := re.split(separator, licence)) > 1:
            return enough(allows(policy, part.strip("() ")) for part in parts)
    return False


def judge(policy: Policy, installed: Mapping[str, str]) -> list[str]:
    """Complaints about packages (name → licence), and about exceptions that nothing needs."""
    bad = {name: licence for name, licence in installed.items() if not allows(policy, licence)}
    excused = {pattern for pattern in policy.packages if any(fits(pattern, name) for name in bad)}
    complaints = [
        f"{name}: {licence} is neither allowed nor excepted in {POLICY.name}"
        for name, licence in sorted(bad.items())
        if not any(fits(pattern, name) for pattern in policy.packages)
    ]
    return complaints + [f"{name}: the exception is not needed" for name in sorted(set(policy.packages) - excused)]


def fits(pattern: str, name: str) -> bool:
    """Whether an exception is for a package: by its name, or by its beginning and a star."""
    return name.lower().startswith(pattern[:-1]) if pattern.endswith("*") else name.lower() == pattern


def installed(python: str) -> dict[str, str]:
    """Licences of what an environment holds, as the packages' metadata say."""
    command = [str(TOOLS / "pip-licenses"), "--python", python, "--from", "mixed", "--format", "json"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 a tool
    return {entry["Name"]: entry["License"] for entry in json.loads(listed)}


def main() -> int:
    """Check the project's environment."""
    policy, packages = load(), installed(sys.executable)
    complaints = judge(policy, packages)
    print(
        "\n".join(complaints)
        or f"{len(packages)} packages, {len(policy.packages)} kinds of exceptions, each with a reason"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
