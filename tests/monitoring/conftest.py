"""Lets the tests of this folder use `tests/path_support.py`, whichever of them runs first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
