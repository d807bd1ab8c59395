"""Many processes that use MLflow at the same moment; run as a program, it writes what each of them saw as JSON.

They are forked from one that has imported MLflow, so that they begin together and cost little.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from resources.mlflow_client import ensure_experiment, open_client

CROWD = 8
METRICS = 10
PROJECT_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def crowd(uri: str, weights: Path) -> list[dict[str, Any]]:
    """What each process saw: experiment, run and version."""
    done = subprocess.run(
        [sys.executable, __file__, uri, str(weights)],
        env=PROJECT_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def _use(uri: str, weights: Path, number: int, together: Barrier, seen: Any) -> None:
    from resources.mlflow_run import join_run
    from resources.model_registry import ModelRegistry

    together.wait(120)
    client = open_client(uri)
    experiment = ensure_experiment(client, "crowd", uri)
    run_id = join_run(client, experiment, ["the Dagster run"], "retrain")
    for step in range(METRICS):
        client.log_metric(run_id, f"loss_{number}", 1 / (step + 1), step=step)
        client.set_tag(run_id, "last", str(number))
    registry = ModelRegistry(tracking_uri=uri, model_name="crowd-detector")
    version = registry.register(run_id, {"best.pt": weights}, {"by": number}).version
    seen.put({"experiment": experiment, "run": run_id, "version": version})


def tag_at_once(uri: str, tags: int) -> dict[str, str]:
    """A run's tags after many threads have each set all of them for the first time, each tag at the same moment."""
    client = open_client(uri)
    run_id = client.create_run(ensure_experiment(client, "tags", uri)).info.run_id
    together = threading.Barrier(CROWD)

    def set_all(number: int) -> None:
        for tag in range(tags):
            together.wait(60)
            client.set_tag(run_id, f"tag {tag}", str(number))

    with ThreadPoolExecutor(CROWD) as pool:
        for done in [pool.submit(set_all, number) for number in range(CROWD)]:
            done.result()
    return {name: value for name, value in client.get_run(run_id).data.tags.items() if name.startswith("tag ")}


def kill_while_it_makes_tables(uri: str, partial: Path) -> None:
    """SIGKILL a process that opens a new file, in the middle of it."""
    code = "import sys; from resources.mlflow_client import open_client; open_client(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, uri], env=PROJECT_ENVIRONMENT)
    while not (partial.is_file() and partial.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()


def main(uri: str, weights: Path) -> list[dict[str, Any]]:
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - once for all

    fork = multiprocessing.get_context("fork")
    together, seen = fork.Barrier(CROWD), fork.SimpleQueue()
    processes = [fork.Process(target=_use, args=(uri, weights, number, together, seen)) for number in range(CROWD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"exit codes {[process.exitcode for process in processes]}")
    return [seen.get() for _ in processes]


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
