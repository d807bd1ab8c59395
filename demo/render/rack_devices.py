"""Front panels of what is mounted on the rack rails: patch panel, router, splice tray, fan unit, optical splitter.

Every function draws one instance, (height, width, 3) BGR; instances of a class differ in maker, colour, port count,
lamps and age, all from the generator that it is given. Where a panel goes in a cabinet is not decided here.
"""

import numpy as np

from demo.render.texture import (
    Canvas,
    Color,
    barcode,
    bevel,
    box,
    disc,
    label_plate,
    led,
    line,
    plate,
    recess,
    screw,
    shade,
    text,
    vary,
    vents,
    wear,
)

FIBRE_COLORS: tuple[Color, ...] = (
    (200, 90, 20),
    (30, 130, 240),
    (70, 170, 60),
    (40, 70, 120),
    (130, 130, 130),
    (235, 235, 235),
    (50, 50, 215),
    (40, 40, 40),
    (50, 220, 240),
    (160, 60, 140),
    (190, 150, 240),
    (210, 210, 80),
)
"""Fibre colour code of TIA-598: blue, orange, green, brown, slate, white, red, black, yellow, violet, rose, aqua."""


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _ears(canvas: Canvas, rng: np.random.Generator, color: Color) -> None:
    height, width = canvas.shape[:2]
    ear = round(width * 0.045)
    for x in (0, width - ear):
        box(canvas, x, 0, ear, height, color)
        bevel(canvas, x, 0, ear, height, 2)
        for y in (height * 0.22, height * 0.78):
            disc(canvas, x + ear / 2, y, ear * 0.33, (20, 20, 22))
            screw(canvas, rng, x + ear / 2, y, ear * 0.27)


def patch_panel(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a row of coloured adaptors with numbers below and a designation strip above."""
    body = ((38, 38, 40), (58, 56, 54), (150, 152, 150))[int(rng.integers(3))]
    canvas = plate(rng, width, height, vary(rng, body, 6), "paint")
    _ears(canvas, rng, vary(rng, body, 4))
    left, right = width * 0.07, width * 0.93
    box(canvas, left, height * 0.1, right - left, height * 0.17, (225, 230, 228))
    groups = int(rng.integers(2, 5))
    for group in range(groups):
        words = f"{_pick(rng, ('ODF', 'PP', 'FDH'))}-{rng.integers(1, 9)}{chr(65 + group)}"
        text(canvas, words, left + 8 + (right - left) * group / groups, height * 0.24, height * 0.14, (40, 40, 40))
    adaptor = ((70, 175, 60), (205, 120, 30), (190, 190, 60))[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    count = int(rng.choice((12, 16, 24)))
    pitch = (right - left) / count
    filled = rng.random(count) < rng.uniform(0.25, 0.8)
    for port in range(count):
        _adaptor(canvas, left + pitch * port, height, pitch, vary(rng, adaptor, 5), plugged=bool(filled[port]))
        text(canvas, str(port + 1), left + pitch * (port + 0.25), height * 0.95, height * 0.12, (215, 215, 215))
    bevel(canvas, 0, 0, width, height, 2)
    wear(canvas, rng, rng.uniform(0.1, 0.6))
    return canvas


def _adaptor(canvas: Canvas, x: float, height: int, pitch: float, color: Color, *, plugged: bool) -> None:
    x, size = x + pitch * 0.12, pitch * 0.76
    recess(canvas, x - 1, height * 0.34, size + 2, height * 0.48)
    box(canvas, x, height * 0.36, size, height * 0.44, color)
    bevel(canvas, x, height * 0.36, size, height * 0.44, 2)
    if plugged:
        box(canvas, x + size * 0.2, height * 0.42, size * 0.6, height * 0.34, shade(color, 1.25))
        box(canvas, x + size * 0.32, height * 0.56, size * 0.36, height * 0.24, (60, 215, 240))
    else:
        recess(canvas, x + size * 0.22, height * 0.44, size * 0.56, height * 0.28)


def router(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw maker, vents and lamps at the left, then copper ports in two rows, optical cages at the right."""
    body = ((112, 74, 34), (70, 66, 62), (196, 198, 196), (120, 92, 20))[int(rng.integers(4))]
    canvas = plate(rng, width, height, vary(rng, body, 8), "paint")
    _ears(canvas, rng, shade(body, 0.75))
    brand = _pick(rng, ("NORDLINK", "Vertessa", "ARCWAVE", "TeleCore", "Ostrava"))
    ink = (245, 245, 245) if sum(body) < 420 else (60, 40, 30)
    text(canvas, brand, width * 0.07, height * 0.36, height * 0.26, ink, 700)
    text(
        canvas,
        f"{_pick(rng, ('MX', 'CR', 'EdgeR'))} {rng.integers(100, 999)}",
        width * 0.07,
        height * 0.55,
        height * 0.15,
        ink,
    )
    vents(canvas, width * 0.07, height * 0.64, width * 0.2, height * 0.24, 8)
    for lamp in range(5):
        color = (60, 235, 80) if rng.random() < 0.75 else (30, 160, 250)
        led(canvas, width * 0.31, height * (0.16 + 0.17 * lamp), 3.5, color, lit=rng.random() < 0.8)
    columns = int(rng.choice((4, 6, 8)))
    left, right = width * 0.35, width * 0.74
    pitch = (right - left) / columns
    for column in range(columns):
        for row in (0.14, 0.54):
            _copper_port(canvas, rng, left + pitch * (column + 0.06), height * row, pitch * 0.88, height * 0.34)
    for cage in range(4):
        x, y = width * (0.77 + 0.085 * (cage % 2)), height * (0.18 + 0.36 * (cage // 2))
        box(canvas, x, y, width * 0.075, height * 0.28, (172, 178, 180))
        recess(canvas, x + 3, y + 3, width * 0.075 - 6, height * 0.28 - 6)
        if rng.random() < 0.5:
            box(canvas, x + 5, y + 6, width * 0.05, height * 0.17, (190, 195, 195))
            box(canvas, x + 5, y + 6, width * 0.018, height * 0.17, (210, 110, 20))
    bevel(canvas, 0, 0, width, height, 3)
    wear(canvas, rng, rng.uniform(0.1, 0.5))
    return canvas


def _copper_port(canvas: Canvas, rng: np.random.Generator, x: float, y: float, width: float, height: float) -> None:
    box(canvas, x, y, width, height, (150, 155, 158))
    recess(canvas, x + 2, y + 2, width - 4, height - 4)
    if rng.random() < 0.4:
        plug = ((200, 140, 40), (60, 200, 230), (215, 215, 210), (70, 70, 200))[int(rng.integers(4))]
        box(canvas, x + width * 0.2, y + height * 0.25, width * 0.6, height * 0.7, plug)
        return
    for pin in range(5):
        line(
            canvas, [(x + width * (0.28 + 0.11 * pin), y + 4), (x + width * (0.28 + 0.11 * pin), y + 9)], (70, 180, 215)
        )
    led(canvas, x + width * 0.2, y + height * 0.85, 2, (60, 235, 80), lit=rng.random() < 0.5)


def splice_tray(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw coiled fibres round a comb of splice sleeves in a pale tray under a glossy lid."""
    body = vary(rng, ((205, 215, 218), (190, 205, 180), (214, 222, 228))[int(rng.integers(3))], 6)
    canvas = plate(rng, width, height, body, "paint")
    recess(canvas, width * 0.03, height * 0.07, width * 0.94, height * 0.86, shade(body, 0.8))
    for centre in (0.24, 0.76):
        _coil(canvas, rng, width * centre, height * 0.5, width * 0.19, height * 0.38)
    comb = width * 0.4
    box(canvas, comb, height * 0.2, width * 0.2, height * 0.6, shade(body, 0.62))
    for sleeve in range(8):
        y = height * (0.24 + 0.067 * sleeve)
        box(canvas, comb + 4, y, width * 0.2 - 8, height * 0.045, FIBRE_COLORS[int(rng.integers(12))])
        box(canvas, comb + 4, y, width * 0.2 - 8, 2, (240, 240, 240))
    for x in (0.05, 0.95):
        for y in (0.16, 0.84):
            screw(canvas, rng, width * x, height * y, 6)
    label_plate(canvas, rng, width * 0.42, height * 0.82, width * 0.16, height * 0.13, (f"TRAY {rng.integers(1, 25)}",))
    _gloss(canvas, rng.uniform(0.1, 0.8), 0.16)
    bevel(canvas, 0, 0, width, height, 4)
    wear(canvas, rng, rng.uniform(0.05, 0.35))
    return canvas


def _coil(canvas: Canvas, rng: np.random.Generator, x: float, y: float, across: float, down: float) -> None:
    import cv2

    for loop in range(int(rng.integers(9, 15))):
        grow = 1 - 0.045 * loop
        centre = (round(x + rng.normal(0, 3)), round(y + rng.normal(0, 2)))
        axes = (round(across * grow), round(down * grow))
        color = FIBRE_COLORS[int(rng.integers(12))]
        cv2.ellipse(canvas, centre, axes, rng.normal(0, 3), 0, 360, shade(color, 0.5), 3, cv2.LINE_AA)
        cv2.ellipse(canvas, centre, axes, rng.normal(0, 3), 0, 360, color, 2, cv2.LINE_AA)
    disc(canvas, x, y, down * 0.28, (150, 158, 160))
    disc(canvas, x, y, down * 0.2, (190, 198, 200))


def _gloss(canvas: Canvas, where: float, strength: float) -> None:
    height, width = canvas.shape[:2]
    along = np.arange(width)[None, :] / width + np.arange(height)[:, None] / height * 0.25
    shine = np.exp(-(((along - where) / 0.07) ** 2)) * strength
    canvas[:] = (canvas + (255 - canvas.astype(np.float32)) * shine[:, :, None]).astype(np.uint8)


def fan_unit(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw two to four fans behind wire guards."""
    body = vary(rng, ((120, 124, 126), (52, 52, 54), (186, 190, 190))[int(rng.integers(3))], 8)
    canvas = plate(rng, width, height, body, "brushed")
    _ears(canvas, rng, shade(body, 0.85))
    count = int(rng.integers(2, 5))
    radius = min(height * 0.42, width * 0.84 / count / 2)
    for fan in range(count):
        _fan(canvas, rng, width * (0.08 + 0.84 * (fan + 0.5) / count), height / 2, radius)
    led(canvas, width * 0.065, height * 0.12, 4, (60, 235, 80))
    bevel(canvas, 0, 0, width, height, 2)
    wear(canvas, rng, rng.uniform(0.2, 0.9))
    return canvas


def _fan(canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    import cv2

    disc(canvas, x, y, radius * 1.06, (90, 92, 94))
    disc(canvas, x, y, radius, (14, 14, 16))
    turn, blade = rng.uniform(0, 360), vary(rng, (52, 50, 48), 6)
    for number in range(7):
        angle = turn + number * 360 / 7
        axes = (round(radius * 0.88), round(radius * 0.88))
        cv2.ellipse(canvas, (round(x), round(y)), axes, angle, 0, 34, blade, -1, cv2.LINE_AA)
        cv2.ellipse(canvas, (round(x), round(y)), axes, angle, 0, 7, shade(blade, 1.7), -1, cv2.LINE_AA)
    disc(canvas, x, y, radius * 0.34, (32, 32, 34))
    disc(canvas, x, y, radius * 0.26, (70, 66, 160) if rng.random() < 0.4 else (150, 150, 150))
    for ring in (0.5, 0.68, 0.86, 1.0):
        disc(canvas, x, y, radius * ring, (176, 180, 182), 2)
    for spoke in range(4):
        angle = np.pi / 4 + spoke * np.pi / 2
        tip = (x + np.cos(angle) * radius * 1.12, y + np.sin(angle) * radius * 1.12)
        line(canvas, [(x, y), tip], (176, 180, 182), 2)
        screw(canvas, rng, tip[0], tip[1], 5)


def optical_splitter(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a module whose label shows the fan-out tree, beside a row of upright connectors with their boots."""
    body = vary(rng, ((178, 182, 184), (60, 58, 56), (170, 120, 60))[int(rng.integers(3))], 8)
    canvas = plate(rng, width, height, body, "brushed")
    outputs = int(rng.choice((4, 8)))
    left = width * 0.05
    label_plate(canvas, rng, left, height * 0.1, width * 0.4, height * 0.8, (" ",), (235, 240, 240))
    root = (left + width * 0.04, height * 0.46)
    for output in range(8):
        tip = (left + width * 0.21, height * (0.16 + 0.6 * output / 7))
        line(canvas, [root, (left + width * 0.1, height * 0.46), (left + width * 0.15, tip[1]), tip], (150, 60, 20), 2)
    text(
        canvas, f"1:{outputs * 2}", left + width * 0.235, height * 0.42, height * 0.28, (30, 30, 160), 700, width * 0.14
    )
    text(canvas, _pick(rng, ("PLC", "FBT", "LUX")), left + width * 0.245, height * 0.62, height * 0.17, (40, 40, 40))
    barcode(canvas, rng, left + width * 0.23, height * 0.68, width * 0.15, height * 0.16)
    cap = ((80, 180, 60), (215, 140, 40))[int(rng.integers(2))]
    pitch = width * 0.46 / outputs
    for output in range(outputs):
        x = width * 0.49 + pitch * output
        box(canvas, x, height * 0.18, pitch * 0.8, height * 0.44, vary(rng, cap, 6))
        bevel(canvas, x, height * 0.18, pitch * 0.8, height * 0.44, 2)
        disc(canvas, x + pitch * 0.4, height * 0.4, pitch * 0.22, (235, 238, 238))
        box(canvas, x + pitch * 0.25, height * 0.62, pitch * 0.3, height * 0.26, (225, 230, 232))
        line(canvas, [(x + pitch * 0.4, height * 0.86), (x + pitch * 0.4, height)], (60, 215, 240), 3)
    for x in (0.02, 0.98):
        screw(canvas, rng, width * x, height * 0.5, 6)
    bevel(canvas, 0, 0, width, height, 3)
    wear(canvas, rng, rng.uniform(0.05, 0.4))
    return canvas


def blank_panel(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a cover of an empty rack place: plain, vented or stickered; no equipment."""
    body = vary(rng, ((50, 50, 52), (150, 154, 156), (190, 194, 196))[int(rng.integers(3))], 8)
    canvas = plate(rng, width, height, body, "paint" if rng.random() < 0.5 else "brushed")
    _ears(canvas, rng, body)
    if rng.random() < 0.4:
        vents(canvas, width * 0.12, height * 0.25, width * 0.76, height * 0.5, 12)
    elif rng.random() < 0.5:
        label_plate(canvas, rng, width * rng.uniform(0.1, 0.6), height * 0.3, 150, 40, ("SPARE",), (90, 210, 240))
    bevel(canvas, 0, 0, width, height, 2)
    wear(canvas, rng, rng.uniform(0.2, 0.8))
    return canvas
