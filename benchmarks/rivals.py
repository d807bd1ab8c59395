"""Other libraries on the same photos, in a process of its own that has them beside the project's packages.

`python benchmarks/rivals.py <library> <photo> …` prints the seconds that it took for all of them, without its imports.
"""

import contextlib
import io
import sys
import time


def _cleanvision(paths: list[str]) -> float:
    from cleanvision import Imagelab

    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        Imagelab(filepaths=paths).find_issues(n_jobs=1, verbose=False)
    return time.perf_counter() - begun


def _imagededup(paths: list[str]) -> float:
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    begun = time.perf_counter()
    for path in paths:
        hasher.encode_image(image_file=path)
    return time.perf_counter() - begun


if __name__ == "__main__":
    seconds = {"cleanvision": _cleanvision, "imagededup": _imagededup}[sys.argv[1]](sys.argv[2:])
    print(seconds)
