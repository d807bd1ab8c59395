"""Where the cables of a cabinet run: bundles along the sides, cords from panels, wires of the power devices.

Geometry only, in cabinet units; `painter` draws them. Every run comes from the generator of its bundle or device, so
that a cable hangs the same on every photo of it.
"""

import numpy as np

from demo.render.cabinet import PLATE_Z
from demo.render.camera import Points3
from demo.render.equipment import Equipment
from demo.render.layout import Layout
from demo.render.painter import Line
from demo.render.texture import Color, vary

_JACKETS: tuple[Color, ...] = (
    (38, 38, 40),
    (60, 205, 235),
    (190, 110, 40),
    (205, 205, 200),
    (60, 60, 190),
    (40, 130, 235),
    (150, 150, 60),
)
_WIRES: tuple[Color, ...] = ((40, 40, 190), (36, 36, 38), (180, 100, 40), (70, 170, 80), (60, 90, 130))


def _curve(points: Points3, steps: int = 14) -> Points3:
    """Catmull-Rom spline through (n, 3) points, `steps` pieces between two of them."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic = (3 * b - a - 3 * c + d) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2 + (c - a) * t + 2 * b
        pieces.append(cubic / 2)
    return np.concatenate([*pieces, points[-1:]])


def _jacket(rng: np.random.Generator, colors: tuple[Color, ...] = _JACKETS) -> Color:
    return vary(rng, colors[int(rng.integers(len(colors)))], 10)


def side_bundles(layout: Layout, rng: np.random.Generator) -> list[Line]:
    """Bundles from top to bottom behind and beside the rails, with ties."""
    runs: list[Line] = []
    edges = {x for pair in layout.rails for x in pair} | {14.0, float(layout.width - 14)}
    for edge in sorted(edges):
        depth, colors = rng.uniform(90, 150), [_jacket(rng) for _ in range(3)]
        levels = np.linspace(-5, layout.height + 5, 9)
        sway = rng.normal(0, 5, 9)
        for _ in range(int(rng.integers(3, 9))):
            x = np.clip(edge + rng.normal(0, 9) + sway + rng.normal(0, 2, 9), 4, layout.width - 4)
            path = np.stack([x, levels, np.full(9, depth) + rng.normal(0, 6, 9)], axis=1)
            runs.append(Line(_curve(path, 6), colors[int(rng.integers(3))], rng.uniform(5, 10)))
        for level in levels[1:-1:2]:
            tie = [[edge - 22, level, depth - 14], [edge, level + 3, depth - 20], [edge + 22, level, depth - 14]]
            runs.append(Line(np.array(tie), (30, 30, 32), 6))
    return runs


def device_cables(kind: Equipment, front: Points3, layout: Layout, rng: np.random.Generator) -> list[Line]:
    """Cords or wires of one device, given its front rectangle (4, 3)."""
    left, top, z = front[0]
    right, bottom = front[2, 0], front[2, 1]
    if kind.mount == "din":
        return _wires(rng, left, right, top, bottom, z)
    if kind.mount == "shelf":
        return _leads(rng, left, right, top, z)
    share = {"patch_panel": (0.1, 0.9), "router": (0.36, 0.94), "optical_splitter": (0.5, 0.94)}.get(kind.name)
    if share is None:
        return []
    span = (left + (right - left) * share[0], left + (right - left) * share[1])
    return _cords(rng, span, top, bottom, z, layout)


def _cords(
    rng: np.random.Generator, span: tuple[float, float], top: float, bottom: float, z: float, layout: Layout
) -> list[Line]:
    runs = []
    color = _jacket(rng)
    middle = (span[0] + span[1]) / 2
    exits = sorted(x for pair in layout.rails for x in pair)
    for _ in range(int(rng.integers(2, 7))):
        x = rng.uniform(*span)
        end = exits[0] if x < middle else exits[1]
        start_y = rng.uniform(top + (bottom - top) * 0.5, top + (bottom - top) * 0.8)
        sag = bottom + rng.uniform(-8, 26)
        path = np.array(
            [
                [x, start_y, z - 4],
                [x + (end - x) * 0.04, (start_y + sag) / 2, z - 34],
                [x + (end - x) * 0.4, sag, z - 40],
                [end + rng.normal(0, 6), sag + rng.uniform(-10, 30), z - 14],
                [end + rng.normal(0, 8), sag + rng.uniform(60, 130), z + 40],
            ]
        )
        runs.append(Line(_curve(path), color if rng.random() < 0.7 else _jacket(rng), rng.uniform(4.5, 7)))
    return runs


def _wires(rng: np.random.Generator, left: float, right: float, top: float, bottom: float, z: float) -> list[Line]:
    runs = []
    for x in np.linspace(left + 20, right - 20, int(rng.integers(2, 5))):
        for edge, out in ((top + 8, -1), (bottom - 8, 1)):
            bend = x + rng.normal(0, 8)
            path = np.array([[x, edge, z - 2], [bend, edge + out * 24, z + 6], [bend, edge + out * 46, PLATE_Z - 20]])
            runs.append(Line(_curve(path, 6), _jacket(rng, _WIRES), rng.uniform(5, 8)))
    return runs


def _leads(rng: np.random.Generator, left: float, right: float, top: float, z: float) -> list[Line]:
    runs = []
    for share, color in ((0.2, (40, 40, 200)), (0.8, (34, 34, 36))):
        x = left + (right - left) * share
        out = x + rng.normal(0, 40)
        path = np.array(
            [[x, top + 14, z - 2], [x, top - 12, z + 4], [out, top - 34, z + 70], [out, top - 60, PLATE_Z - 8]]
        )
        runs.append(Line(_curve(path, 8), vary(rng, color, 8), rng.uniform(8, 11)))
    return runs


def loose_bundle(layout: Layout, rng: np.random.Generator) -> list[Line]:
    """A thick bundle that hangs out in front of the equipment and hides some of it."""
    x, drift = rng.uniform(0.15, 0.85) * layout.width, rng.normal(0, 0.16) * layout.width
    lowest = layout.height * rng.uniform(0.55, 0.9)
    levels = np.append(np.linspace(-20, lowest, 6), lowest + rng.uniform(40, 110))
    spine = x + np.linspace(0, 1, 6) * drift + rng.normal(0, 22, 6)
    # It ends behind the rails of the nearer side.
    spine = np.append(spine, 8 if spine[-1] < layout.width / 2 else layout.width - 8)
    depth = np.append(np.full(6, -6.0), 40.0)
    color, count = _jacket(rng), int(rng.integers(5, 11))
    runs = []
    for strand in range(count):
        offset = (strand - count / 2) * 9.5
        path = np.stack([spine + offset + rng.normal(0, 3, 7), levels + offset * 0.6, depth - strand % 3], axis=1)
        runs.append(Line(_curve(path), vary(rng, color, 6) if rng.random() < 0.8 else _jacket(rng), 11))
    return runs
