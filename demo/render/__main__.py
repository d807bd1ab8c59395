"""Command line of the renderer: `python -m demo.render --out DIR --seed 7 --enclosures 64`."""

import argparse
import sys
from pathlib import Path

from demo.render.run import render_demo


def main() -> int:
    """Render a demo folder and print what it holds."""
    parser = argparse.ArgumentParser(prog="python -m demo.render", description="Render demo photos of enclosures.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; a finished one is left as it is")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same bytes")
    parser.add_argument("--enclosures", type=int, default=64, help="how many cabinets")
    parser.add_argument("--workers", type=int, default=None, help="processes; one a usable core unless given")
    given = parser.parse_args()
    try:
        summary = render_demo(
            given.out,
            seed=given.seed,
            enclosures=given.enclosures,
            workers=given.workers,
            progress=lambda done, total: print(f"\r{done}/{total} enclosures", end="", file=sys.stderr, flush=True),
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
