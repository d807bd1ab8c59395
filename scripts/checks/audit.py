"""Known vulnerabilities of what is installed and shipped, by pip-audit, and whether it could be told at all.

The package index answers with the vulnerabilities of a release, a mirror often without: pip-audit then skips every
package and still calls that clean. So a skipped package is counted, and fails the check where AUDIT=strict is set, as
in CI.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from scripts.checks.catalogue import ROOT, TOOLS

PROBE = "k8s/images/requirements-uv.lock"
"""The shortest lock, asked for first: an index that knows nothing of it has no vulnerability data at all."""

LOCKS = ["requirements.lock", "requirements-check.lock", "requirements-policy.lock", "requirements-bench.lock"]
"""The images' own locks hold versions of requirements.lock."""

ACCEPTED: Mapping[str, str] = {}
"""Vulnerabilities by id that do not touch us, each with the reason and the day to look again."""


@dataclass(frozen=True)
class Audit:
    """What pip-audit said: packages it looked up, packages it could not, findings as (package, id, fixed in)."""

    audited: set[str]
    skipped: set[str]
    findings: list[tuple[str, str, str]]


def read(report: Mapping[str, Any]) -> Audit:
    """Read pip-audit's JSON report."""
    entries = report["dependencies"]
    name = "{name} {version}".format
    return Audit(
        audited={name(**entry) for entry in entries if "skip_reason" not in entry},
        skipped={entry["name"] for entry in entries if "skip_reason" in entry},
        findings=[
            (name(**entry), found["id"], ", ".join(found["fix_versions"]) or "no release")
            for entry in entries
            for found in entry.get("vulns", [])
            if not {found["id"], *found.get("aliases", [])} & set(ACCEPTED)
        ],
    )


def judge(audit: Audit, strict: bool) -> tuple[bool, str]:
    """Whether the check passes, and what to say; strict: only if every package could be looked up."""
    lines = [f"{package}: {identifier}, mended in {fixed}" for package, identifier, fixed in sorted(audit.findings)]
    if audit.skipped and not audit.audited:
        lines.append(f"not audited: the package index has no vulnerability data (asked for {', '.join(audit.skipped)})")
    elif audit.skipped:
        lines.append(f"{len(audit.audited)} packages audited, not audited: {', '.join(sorted(audit.skipped))}")
    else:
        lines.append(f"{len(audit.audited)} packages audited, {len(audit.findings)} vulnerabilities")
    return not audit.findings and not (strict and (audit.skipped or not audit.audited)), "\n".join(lines)


def run(lock: str) -> Audit:
    """Audit one lock.

    Raises:
        RuntimeError: pip-audit could not finish; with what it said.
    """
    command = [str(TOOLS / "pip-audit"), "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command += ["--requirement", lock]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 our own tool
    try:
        return read(json.loads(done.stdout))
    except json.JSONDecodeError as error:
        raise RuntimeError(f"{lock}: {done.stderr.strip()[-2000:]}") from error


def together(audits: Iterable[Audit]) -> Audit:
    """One audit of several."""
    whole = Audit(set(), set(), [])
    for audit in audits:
        whole.audited.update(audit.audited)
        whole.skipped.update(audit.skipped)
        whole.findings.extend(audit.findings)
    return whole


def main() -> int:
    """Audit every lock."""
    strict = os.environ.get("AUDIT") == "strict"
    try:
        audit = run(PROBE)
        if audit.audited:
            with ThreadPoolExecutor() as pool:
                audit = together([audit, *pool.map(run, LOCKS)])
    except RuntimeError as error:
        print(f"{error}\nnot audited: pip-audit could not finish")
        return 1 if strict else 0
    passed, text = judge(audit, strict)
    print(text)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
