"""Lets the tests of this folder use `tests/path_support.py` and `tests/photos/upload_samples.py`."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "photos")]
