"""MLflow's scoring server around the version that serves: `/invocations`, `/ping`, `/health` and `/version`.

That server loads its model once. The model that it is given here is one that never changes, and asks the follower for
the version that serves at each request.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import ASGIApp

from mlops_assets.detector.mlflow_model import PHOTO, signature
from mlops_assets.serving.bodies import confidence_of
from mlops_assets.serving.detector import ServedDetector
from mlops_assets.serving.following import Follower
from mlops_assets.serving.refusals import FAILED, RefusalError

_log = logging.getLogger(__name__)


class LiveModel:
    """What MLflow calls a model's implementation; threads may call it at the same time.

    Args:
        follower: Knows the version that serves.
        pool: In which photos are looked at, whichever way they came.
    """

    def __init__(self, follower: Follower, pool: ThreadPoolExecutor) -> None:
        self._follower = follower
        self._pool = pool

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Boxes of every row's photo.

        Args:
            model_input: Frame of pandas, as the signature says.
            params: `confidence`, instead of the classes' thresholds.

        Raises:
            MlflowException: A photo is refused, which MLflow's server answers with 400, or the server failed: 500.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

        detector = self._follower.current()
        if detector is None:
            raise MlflowException("No version serves yet", TEMPORARILY_UNAVAILABLE)
        try:
            confidence = confidence_of((params or {}).get("confidence"))
            photos = [bytes(photo) for photo in model_input[PHOTO]]
            return [{**found, "model_version": detector.version} for found in self._looks(detector, photos, confidence)]
        except RefusalError as error:
            raise MlflowException(error.reason, INVALID_PARAMETER_VALUE) from error
        except Exception as error:
            # Of an exception of another kind MLflow's server would answer 400 with the stack trace.
            _log.exception("A photo sent to MLflow's scoring server could not be looked at")
            raise MlflowException(FAILED, INTERNAL_ERROR) from error

    def _looks(self, detector: ServedDetector, photos: list[bytes], confidence: float | None) -> list[dict[str, Any]]:
        looks = [self._pool.submit(detector.detect, photo, confidence) for photo in photos]
        try:
            return [look.result() for look in looks]
        finally:
            for look in looks:
                look.cancel()  # nobody waits for the others once one has failed


def scoring_app(follower: Follower, pool: ThreadPoolExecutor) -> ASGIApp:
    """MLflow's scoring server, as an ASGI application."""
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel, add_to_model, scoring_server

    about = Model(signature=signature())
    add_to_model(about, loader_module=__name__)
    app: ASGIApp = scoring_server.init(PyFuncModel(model_meta=about, model_impl=LiveModel(follower, pool)))
    return app
