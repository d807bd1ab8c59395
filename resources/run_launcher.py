"""Dagster's Kubernetes run launcher, made careful where an error of the API, or a lost run pod, would do harm.

Named in the cluster's dagster.yaml; nothing else of the project imports it.
"""

from typing import Any

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

NOT_FOUND = "could not be found"
"""dagster-k8s's words for a run whose Job is gone; any other unknown state is an error of the call."""


class CarefulRunLauncher(K8sRunLauncher):  # type: ignore[misc]
    """Differs from dagster-k8s in two things.

    A health check that the API did not answer says nothing about the run: dagster-k8s takes it for a lost worker, and
    one 429 or cut connection fails every run that is looked at, while their pods work on beside the retries.

    A run that run monitoring gives up keeps no Job that still works: its steps would go on beside those of the retry.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """State of the run's Job; RUNNING also where the API could not be asked, and the next look decides."""
        result: CheckRunHealthResult = super().check_run_worker_health(run)
        if result.status == WorkerStatus.UNKNOWN and NOT_FOUND not in (result.msg or ""):
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"The Kubernetes API did not answer: {result.msg}")
        return result

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What is known of the run's pod; afterwards its unfinished Jobs are deleted.

        Run monitoring asks for this right before it marks a run as failed or canceled, and never otherwise; there is no
        other call that it makes then.
        """
        told: str | None = super().get_run_worker_debug_info(run, include_container_logs)
        deleted = self._delete_unfinished_jobs(run)
        return f"{told or ''}\nDeleted with it: {', '.join(deleted)}." if deleted else told

    def _delete_unfinished_jobs(self, run: DagsterRun) -> list[str]:
        """Delete the run's Jobs, of itself and its steps, that have not ended; returns their names."""
        api, namespace = self._api_client.batch_api, self.get_container_context_for_run(run).namespace
        jobs = api.list_namespaced_job(namespace=namespace, label_selector=f"dagster/run-id={run.run_id}").items
        names = [job.metadata.name for job in jobs if not _ended(job)]
        for name in names:
            api.delete_namespaced_job(name=name, namespace=namespace, propagation_policy="Background")
        return names


def _ended(job: Any) -> bool:
    return any(each.type in ("Complete", "Failed") and each.status == "True" for each in job.status.conditions or [])
