"""The review queue as CSV for a spreadsheet: `python -m mlops_assets.monitoring [use case] > queue.csv`."""

import argparse
import sys

import polars as pl

from mlops_assets.monitoring.schema import REVIEW_QUEUE
from mlops_assets.photos.retakes import as_csv
from resources.photo_store import PhotoStore
from resources.settings import load_settings
from resources.tables import Tables


def main() -> int:
    """Write the queue to standard output: rank, why, and where the photo lies."""
    settings = load_settings()
    parser = argparse.ArgumentParser(prog="python -m mlops_assets.monitoring", description=__doc__)
    parser.add_argument("use_case", nargs="?", default=settings.use_case)
    places = settings.places(parser.parse_args().use_case)
    queue = Tables(root=places.store).read("review_queue", REVIEW_QUEUE)
    photos = PhotoStore(landing=places.landing, root=places.store)
    listed = queue.sort("rank").select(
        "rank",
        "kind",
        "reason",
        "enclosure_id",
        "queued_on",
        pl.col("suggested_boxes").list.len().alias("suggested_boxes"),
        "photo_id",
        photo=pl.col("photo_id").map_elements(photos.photo_uri, return_dtype=pl.String),
    )
    sys.stdout.buffer.write(as_csv(listed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
