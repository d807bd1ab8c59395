"""The live server: `python -m mlops_assets.serving [--host HOST] [--port PORT]`; settings are `MLOPS_…` as everywhere.

It serves the champion of one use case (MLOPS_USE_CASE) from the MLflow of the settings.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mlops_assets.serving.detector import open_version
from mlops_assets.serving.downloads import keep_only
from mlops_assets.serving.following import Follower
from mlops_assets.serving.front import Front, RequestLimits
from mlops_assets.serving.photos import PhotoLimits
from mlops_assets.use_case import UseCaseError, load_use_case, registered_model
from resources.alias_lookup import alias_version
from resources.mlflow_client import fail_soon
from resources.model_registry import CHAMPION, ModelRegistry
from resources.settings import Settings, SettingsError, load_settings

KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep an idle connection, so that none is closed under a request (nginx: 60)."""

SHUTDOWN_SECONDS = 25


def build_app(settings: Settings) -> Front:
    """The application of a deployment; nothing is asked or opened before it starts.

    Raises:
        UseCaseError: The use case's file is missing or wrong.
    """
    from mlops_assets.serving.scoring import scoring_app

    use_case = load_use_case(settings.use_case_folder / f"{settings.use_case}.yaml")
    registry = ModelRegistry(
        tracking_uri=settings.fill(settings.mlflow_tracking_uri), model_name=registered_model(use_case.name)
    )
    downloads = Path(settings.fill(settings.scratch, use_case.name)) / "serving-models"  # steps keep theirs elsewhere
    follower = Follower(
        partial(alias_version, registry.tracking_uri, registry.model_name, CHAMPION),
        registry.version,
        partial(
            open_version,
            download=lambda version, name: registry.download(version, name, downloads),
            default_threshold=use_case.inventory.default_threshold,
            threads=settings.thread_count(),
            limits=PhotoLimits(
                use_case.intake.max_pixels,
                use_case.intake.normalised_long_side,
                int(settings.serving_max_whole_megapixels * 1_000_000),
            ),
        ),
        default_threshold=use_case.inventory.default_threshold,
        interval=settings.serving_poll_seconds,
        forget_others=partial(keep_only, folder=downloads / registry.model_name),
    )
    pool = ThreadPoolExecutor(settings.thread_count(), thread_name_prefix="detect")
    limits = RequestLimits(
        max_bytes=int(settings.serving_max_megabytes * 1_000_000),
        max_photos=settings.serving_max_photos,
        max_requests=settings.serving_max_requests,
    )
    return Front(registry.model_name, follower, scoring_app(follower, pool), pool, limits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it; 1 where a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m mlops_assets.serving", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args(arguments)
    try:
        settings = load_settings()
        fail_soon()
        app = build_app(settings)
    except (SettingsError, UseCaseError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    import cv2
    import uvicorn

    cv2.setNumThreads(1)  # as many photos as there are threads are decoded beside each other
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
