"""Runs the stand-in cluster as a process: `python -m rehearsal.cluster --config cluster.json --kubeconfig out.yaml`.

It ends with SIGTERM or SIGINT, kills its pods, and writes their records. The configuration has the fields of
`ClusterSettings` (paths as text), and `manifests`, a list of YAML files to apply at the start.
"""

import argparse
import json
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.records import table
from rehearsal.cluster.settings import ClusterSettings


def main() -> None:
    """Read the arguments, serve until told to end, print the table of pods."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.cluster", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see above")
    parser.add_argument("--port", type=int, help="port on loopback; by default the configuration's, or a free one")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="where to write the administrator's kubeconfig")
    parser.add_argument("--records", type=Path, help="where to write one JSON line a pod at the end")
    arguments = parser.parse_args()
    config: dict[str, Any] = json.loads(arguments.config.read_text())
    manifests = [Path(path) for path in config.pop("manifests", [])]
    if arguments.port is not None:
        config["port"] = arguments.port
    settings = TypeAdapter(ClusterSettings).validate_python(config)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Cluster(settings) as cluster:
        for path in manifests:
            left = cluster.apply(path)
            print(
                f"{path}: not stored, of kinds that the stand-in lacks: {', '.join(left)}"
                if left
                else f"{path}: applied"
            )
        shutil.copy(cluster.kubeconfig(), arguments.kubeconfig)
        kept = "namespaces" if cluster.isolated else "plain processes"
        print(f"Serving https://127.0.0.1:{cluster.port}, pods as {kept}", flush=True)
        ended.wait()
        records = cluster.records()
        if arguments.records:
            cluster.write_records(arguments.records)
    print(table(records))


if __name__ == "__main__":
    main()
