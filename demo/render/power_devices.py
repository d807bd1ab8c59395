"""Front panels of what stands on the DIN rail or the shelf: power supply, battery, surge protector, breaker, meter.

Every function draws one instance, (height, width, 3) BGR; instances of a class differ in maker, colour, poles, lamps
and age, all from the generator that it is given. Where a panel goes in a cabinet is not decided here.
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
    wear,
)


def _terminals(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, width: float, height: float, count: int
) -> None:
    pitch = width / count
    for number in range(count):
        box(canvas, x + pitch * number + 1, y, pitch - 2, height, (62, 64, 66))
        bevel(canvas, x + pitch * number + 1, y, pitch - 2, height, 1)
        screw(canvas, rng, x + pitch * (number + 0.5), y + height / 2, min(pitch, height) * 0.3)


def power_supply(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a perforated metal case between two rows of terminals, with rating plate and lamp."""
    body = vary(rng, ((172, 176, 178), (150, 158, 150), (196, 198, 200))[int(rng.integers(3))], 8)
    canvas = plate(rng, width, height, body, "brushed")
    block = ((40, 120, 235), (60, 140, 50), (44, 44, 46))[int(rng.integers(3))]
    for y, count in ((0.02, 5), (0.86, 6)):
        box(canvas, width * 0.06, height * y, width * 0.88, height * 0.12, block)
        _terminals(canvas, rng, width * 0.09, height * (y + 0.02), width * 0.82, height * 0.08, count)
    pitch = width / 15
    for row in range(6):
        for column in range(11):
            x = width * 0.14 + pitch * (column + 0.5 * (row % 2))
            disc(canvas, x, height * 0.2 + row * pitch * 0.85, pitch * 0.33, (24, 24, 26))
    maker = ("VOLTARA", "Helios", "PULSAR", "M-Watt")[int(rng.integers(4))]
    words = (maker, f"{rng.choice((24, 48))}V DC", f"{rng.integers(2, 20)}A  {rng.integers(5, 48) * 10}W")
    label_plate(canvas, rng, width * 0.12, height * 0.52, width * 0.54, height * 0.28, words, (225, 225, 220))
    led(canvas, width * 0.8, height * 0.58, 6, (60, 235, 80), lit=rng.random() < 0.9)
    text(canvas, "DC OK", width * 0.71, height * 0.69, height * 0.05, (40, 40, 40))
    disc(canvas, width * 0.8, height * 0.75, 6, (60, 120, 200))
    bevel(canvas, 0, 0, width, height, 3)
    wear(canvas, rng, rng.uniform(0.1, 0.5))
    return canvas


def battery(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a ribbed block with red and black posts on top and a coloured maker's label."""
    body = vary(rng, ((46, 44, 42), (70, 66, 62), (120, 118, 112))[int(rng.integers(3))], 5)
    canvas = plate(rng, width, height, body, "rough")
    lid = height * 0.17
    box(canvas, 0, 0, width, lid, shade(body, 1.25))
    bevel(canvas, 0, 0, width, lid, 3)
    for x, color in ((0.2, (40, 40, 205)), (0.8, (28, 28, 30))):
        box(canvas, width * (x - 0.11), height * 0.02, width * 0.22, height * 0.11, color)
        bevel(canvas, width * (x - 0.11), height * 0.02, width * 0.22, height * 0.11, 2)
        disc(canvas, width * x, height * 0.075, width * 0.045, (170, 180, 184))
    for rib in np.linspace(0.06, 0.94, 9):
        line(canvas, [(width * rib, lid + 3), (width * rib, height - 4)], shade(body, 0.6), 3)
        line(canvas, [(width * rib + 3, lid + 3), (width * rib + 3, height - 4)], shade(body, 1.5), 1)
    band: Color = ((40, 60, 220), (200, 90, 20), (30, 150, 240), (70, 150, 50))[int(rng.integers(4))]
    x, y, across, down = width * 0.09, height * 0.3, width * 0.82, height * 0.5
    box(canvas, x, y, across, down, (228, 232, 232))
    box(canvas, x, y, across, down * 0.42, vary(rng, band, 8))
    maker = ("AKKUTEC", "Ensol", "POWERCELL", "Yuvasa")[int(rng.integers(4))]
    text(canvas, maker, x + across * 0.06, y + down * 0.32, across * 0.17, (250, 250, 250), 800, across * 0.9)
    text(
        canvas,
        f"12V {rng.integers(40, 190)}Ah",
        x + across * 0.06,
        y + down * 0.68,
        across * 0.16,
        (40, 40, 40),
        700,
        across * 0.9,
    )
    text(canvas, "VRLA  Pb", x + across * 0.06, y + down * 0.9, across * 0.1, (60, 60, 60))
    bevel(canvas, 0, 0, width, height, 3)
    wear(canvas, rng, rng.uniform(0.2, 0.8))
    return canvas


def surge_protector(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw three or four plug-in cartridges in a strong colour, each with its state window."""
    base = vary(rng, (74, 72, 70), 8)
    canvas = plate(rng, width, height, base, "paint")
    poles = int(rng.integers(3, 5))
    cartridge = vary(rng, ((40, 40, 190), (30, 120, 235), (45, 60, 215))[int(rng.integers(3))], 8)
    _terminals(canvas, rng, 2, height * 0.03, width - 4, height * 0.13, poles)
    _terminals(canvas, rng, 2, height * 0.84, width - 4, height * 0.13, poles)
    pitch = width / poles
    for pole in range(poles):
        x = pitch * pole + 2
        box(canvas, x, height * 0.2, pitch - 4, height * 0.6, cartridge)
        bevel(canvas, x, height * 0.2, pitch - 4, height * 0.6, 3)
        box(canvas, x + 3, height * 0.44, pitch - 10, 3, shade(cartridge, 0.5))
        good = rng.random() < 0.88
        recess(canvas, x + pitch * 0.24, height * 0.25, pitch * 0.42, height * 0.09)
        box(
            canvas,
            x + pitch * 0.29,
            height * 0.265,
            pitch * 0.32,
            height * 0.06,
            (70, 200, 60) if good else (40, 40, 230),
        )
        text(
            canvas,
            f"{rng.choice((275, 320, 385))}",
            x + pitch * 0.18,
            height * 0.56,
            pitch * 0.32,
            (245, 245, 245),
            700,
        )
        text(canvas, f"T{rng.integers(1, 3)}", x + pitch * 0.3, height * 0.7, pitch * 0.3, (235, 235, 235))
    bevel(canvas, 0, 0, width, height, 2)
    wear(canvas, rng, rng.uniform(0.05, 0.4))
    return canvas


def circuit_breaker(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw two to four poles of a stepped white housing with toggle levers."""
    body = vary(rng, ((222, 226, 228), (200, 206, 208), (212, 218, 214))[int(rng.integers(3))], 5)
    canvas = plate(rng, width, height, shade(body, 0.86), "paint")
    poles = int(rng.integers(2, 5))
    lever = vary(rng, ((38, 36, 36), (170, 80, 20), (60, 60, 66))[int(rng.integers(3))], 6)
    pitch = width / poles
    _terminals(canvas, rng, 2, height * 0.02, width - 4, height * 0.1, poles)
    _terminals(canvas, rng, 2, height * 0.88, width - 4, height * 0.1, poles)
    rating = f"{rng.choice(('B', 'C', 'D'))}{rng.choice((6, 10, 16, 25, 32))}"
    for pole in range(poles):
        x = pitch * pole
        box(canvas, x + 1, height * 0.26, pitch - 2, height * 0.48, body)
        bevel(canvas, x + 1, height * 0.26, pitch - 2, height * 0.48, 3)
        recess(canvas, x + pitch * 0.22, height * 0.36, pitch * 0.56, height * 0.3, (52, 54, 56))
        upper = rng.random() < 0.85
        y = height * (0.37 if upper else 0.5)
        box(canvas, x + pitch * 0.26, y, pitch * 0.48, height * 0.14, lever)
        bevel(canvas, x + pitch * 0.26, y, pitch * 0.48, height * 0.14, 2)
        text(canvas, rating, x + pitch * 0.16, height * 0.225, pitch * 0.36, (40, 40, 40), 700)
        text(canvas, "I-ON" if upper else "O-OFF", x + pitch * 0.16, height * 0.81, pitch * 0.24, (40, 40, 170))
        line(canvas, [(x, 0), (x, height)], (70, 72, 74), 2)
    bevel(canvas, 0, 0, width, height, 2)
    wear(canvas, rng, rng.uniform(0.05, 0.45))
    return canvas


def energy_meter(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a pale case with a large liquid crystal display, bar code, pulse lamp, buttons and terminal cover."""
    body = vary(rng, ((214, 224, 230), (225, 226, 222), (196, 216, 222))[int(rng.integers(3))], 5)
    canvas = plate(rng, width, height, body, "paint")
    box(canvas, width * 0.08, height * 0.06, width * 0.84, height * 0.34, (54, 58, 58))
    screen = vary(rng, (120, 168, 152), 8)
    recess(canvas, width * 0.13, height * 0.1, width * 0.74, height * 0.26, screen)
    ink = (34, 46, 40)
    text(canvas, f"{rng.integers(0, 999999):06d}", width * 0.16, height * 0.27, width * 0.19, ink, 700, width * 0.68)
    text(canvas, "kWh", width * 0.66, height * 0.34, width * 0.08, ink, 700)
    barcode(canvas, rng, width * 0.1, height * 0.44, width * 0.5, height * 0.1)
    text(
        canvas,
        f"{rng.choice(('ELMETRA', 'Kamra', 'Izkor'))}",
        width * 0.1,
        height * 0.62,
        width * 0.11,
        (60, 50, 40),
        800,
    )
    text(canvas, "3x230/400V 5(80)A", width * 0.1, height * 0.68, width * 0.07, (70, 70, 70), 500, width * 0.68)
    led(canvas, width * 0.72, height * 0.49, 6, (40, 40, 250), lit=rng.random() < 0.7)
    for y in (0.49, 0.62):
        disc(canvas, width * 0.85, height * y, width * 0.055, (176, 92, 30))
        disc(canvas, width * 0.845, height * (y - 0.006), width * 0.035, (206, 130, 70))
    box(canvas, width * 0.03, height * 0.74, width * 0.94, height * 0.24, vary(rng, (84, 86, 88), 8))
    bevel(canvas, width * 0.03, height * 0.74, width * 0.94, height * 0.24, 3)
    for x in (0.14, 0.86):
        screw(canvas, rng, width * x, height * 0.86, 8)
    for slot in range(6):
        recess(canvas, width * (0.24 + 0.09 * slot), height * 0.9, width * 0.05, height * 0.08)
    bevel(canvas, 0, 0, width, height, 4)
    wear(canvas, rng, rng.uniform(0.0, 0.25))
    return canvas


def terminal_strip(rng: np.random.Generator, width: int, height: int) -> Canvas:
    """Draw a row of rail-mounted feed-through terminals; no equipment."""
    canvas = plate(rng, width, height, (120, 124, 126), "paint")
    count = int(rng.integers(5, 9))
    pitch = width / count
    for number in range(count):
        earth = rng.random() < 0.2
        color = vary(rng, (70, 190, 120) if earth else ((150, 150, 148), (180, 110, 50))[int(rng.integers(2))], 6)
        box(canvas, pitch * number, 0, pitch - 1, height, color)
        bevel(canvas, pitch * number, 0, pitch - 1, height, 2)
        for y in (0.2, 0.8):
            screw(canvas, rng, pitch * (number + 0.5), height * y, pitch * 0.27)
        box(canvas, pitch * (number + 0.15), height * 0.42, pitch * 0.7, height * 0.16, (230, 234, 234))
    wear(canvas, rng, rng.uniform(0.1, 0.5))
    return canvas
