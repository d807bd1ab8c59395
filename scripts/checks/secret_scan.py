"""No secret is in the tree: detect-secrets over every file, against the findings that a person has judged.

Runs under the Python of .tools/check. A false finding goes into `.secrets.baseline`: `detect-secrets scan --baseline
.secrets.baseline`, then `detect-secrets audit .secrets.baseline`, which asks for each.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scripts.checks.catalogue import ROOT, files

BASELINE = ".secrets.baseline"
Finding = tuple[str, int, str, str]
"""File, line, kind, SHA-1 of what was found."""


def scan(paths: list[str], baseline: Path) -> list[Finding]:
    """What detect-secrets finds in files, with the baseline's plug-ins and filters."""
    from detect_secrets.core import baseline as baselines
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import transient_settings

    settings = baselines.load_from_file(str(baseline))
    with transient_settings({key: settings[key] for key in ("plugins_used", "filters_used")}):
        return [(path, s.line_number, s.type, s.secret_hash) for path in paths for s in scan_file(path)]


def judged(baseline: Path) -> tuple[set[tuple[str, str]], list[str]]:
    """(file, hash) of findings that a person called no secret, and complaints about entries that nobody judged so."""
    entries = [entry for found in json.loads(baseline.read_text())["results"].values() for entry in found]
    false = {(entry["filename"], entry["hashed_secret"]) for entry in entries if entry.get("is_secret") is False}
    doubtful = [
        f"{BASELINE}: {entry['filename']}:{entry['line_number']} is not judged to be no secret"
        for entry in entries
        if entry.get("is_secret") is not False
    ]
    return false, doubtful


def main() -> int:
    """Scan the tree, or the files that are named (as pre-commit does); 1 if a secret is found."""
    false, problems = judged(ROOT / BASELINE)
    paths = [path for path in sys.argv[1:] or files() if path != BASELINE]
    shares = [share for k in range(8) if (share := paths[k::8])]
    with ProcessPoolExecutor() as pool:
        scanned = pool.map(scan, shares, [ROOT / BASELINE] * len(shares))
        found = sorted(finding for share in scanned for finding in share if (finding[0], finding[3]) not in false)
    problems += [f"{path}:{line}: {kind}" for path, line, kind, _ in found]
    print("\n".join(problems) or f"no secret in {len(paths)} files; {len(false)} findings were judged to be none")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
