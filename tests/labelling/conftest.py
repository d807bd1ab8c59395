"""Lets the tests of this folder use `tests/path_support.py` and each other's helpers."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
