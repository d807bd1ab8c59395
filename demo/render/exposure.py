"""What a phone makes of a scene: uneven light, flash, colour cast, tone, blur, noise, and the JPEG with its EXIF.

Works on finished pictures only and knows nothing of what they show.
"""

import datetime as dt
import functools

import numpy as np
import numpy.typing as npt

from demo.render.texture import Canvas

PHONES = (
    ("samsung", "SM-A546B"),
    ("Google", "Pixel 7"),
    ("Apple", "iPhone 13"),
    ("Xiaomi", "2201117TY"),
    ("CAT", "S62 Pro"),
)

_LIGHT_GRID = 48
"""Long side of the coarse light map, cells."""

_NOISE_TILE = 2048


@functools.cache
def _noise(coarse: int) -> npt.NDArray[np.uint8]:
    """Sensor noise round 128 with standard deviation 32, (tile, tile, 3), mostly in brightness, a little in colour."""
    import cv2

    rng = np.random.default_rng(20261006 + coarse)
    shape = (_NOISE_TILE, _NOISE_TILE)
    luma = rng.standard_normal(shape, dtype=np.float32)[:, :, None]
    chroma = cv2.GaussianBlur(rng.standard_normal((*shape, 3), dtype=np.float32), (0, 0), 1.5)
    noise = cv2.GaussianBlur(luma + 1.5 * chroma, (0, 0), 0.4 + 0.5 * coarse)
    return np.asarray(np.clip(128 + 32 * noise / noise.std(), 0, 255), np.uint8)


def light(image: Canvas, rng: np.random.Generator) -> Canvas:
    """Light a picture unevenly: slope, vignette, colour cast, on many a soft shadow, on some flash or sun."""
    import cv2

    height, width = image.shape[:2]
    cells = (round(_LIGHT_GRID * height / max(width, height)), round(_LIGHT_GRID * width / max(width, height)))
    y, x = np.meshgrid(np.linspace(-1, 1, cells[0]), np.linspace(-1, 1, cells[1]), indexing="ij")
    slope = rng.uniform(0, 2 * np.pi)
    gain = rng.uniform(0.78, 1.08) * (1 + rng.uniform(0.08, 0.32) * (x * np.cos(slope) + y * np.sin(slope)))
    gain *= 1 - rng.uniform(0.08, 0.3) * (x**2 + y**2) / 2
    if rng.random() < 0.5:
        gain *= _edge_shadow(rng, x, y)
    glare = np.zeros_like(gain)
    if rng.random() < 0.4:
        spot = np.exp(-((x - rng.normal(0, 0.35)) ** 2 + (y - rng.normal(0, 0.4)) ** 2) / rng.uniform(0.03, 0.35))
        gain *= 0.85 + 0.4 * spot
        glare = rng.uniform(15, 85) * spot**2
    cast = np.array([1 + rng.normal(0, 0.05), 1.0, 1 + rng.normal(0, 0.05)])
    gains = np.clip(gain[:, :, None] * cast * 110, 0, 255).astype(np.uint8)
    lit = cv2.multiply(image, cv2.resize(gains, (width, height), interpolation=cv2.INTER_CUBIC), scale=1 / 110)
    spots = cv2.resize(np.repeat(glare[:, :, None], 3, axis=2).astype(np.uint8), (width, height))
    return np.asarray(cv2.add(lit, spots), np.uint8)


def _edge_shadow(
    rng: np.random.Generator, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Shadow of the photographer or of a roof edge: everything beyond a line, softly."""
    turn = rng.uniform(0, 2 * np.pi)
    beyond = (x * np.cos(turn) + y * np.sin(turn) - rng.uniform(-0.2, 0.6)) / rng.uniform(0.04, 0.2)
    return np.asarray(1 - rng.uniform(0.2, 0.45) / (1 + np.exp(-np.clip(beyond, -30, 30))), np.float64)


def expose(image: Canvas, rng: np.random.Generator) -> Canvas:
    """Take the picture: tone curve, lens softness, motion blur on some, noise."""
    import cv2

    gamma, lift = rng.uniform(0.82, 1.15), rng.uniform(0, 14)
    levels = np.arange(256) / 255
    curve = lift + (255 - lift) * (levels**gamma * (1 + 0.25 * (levels - levels**2)))
    image = cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8))
    image = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.55, 1.0))
    if rng.random() < 0.2:
        image = shake(image, rng.uniform(3, 8), rng.uniform(0, np.pi))
    return add_noise(image, rng, rng.uniform(0.05, 0.24))


def shake(image: Canvas, length: float, angle: float) -> Canvas:
    """Blur along a line `length` pixels long."""
    import cv2

    size = int(length) | 1
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    tip = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = (round(middle - v) for v in tip), (round(middle + v) for v in tip)
    cv2.line(kernel, tuple(start), tuple(end), 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def darken(image: Canvas, rng: np.random.Generator) -> Canvas:
    """Underexpose until nothing can be judged: mean grey level about 10."""
    import cv2

    dim = cv2.convertScaleAbs(image, alpha=rng.uniform(7, 13) / max(1.0, float(image.mean())))
    return add_noise(np.asarray(dim, np.uint8), rng, 0.1)


def defocus(image: Canvas, rng: np.random.Generator) -> Canvas:
    """Put the picture out of focus and shake it beyond use."""
    import cv2

    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(9, 13)), np.uint8)
    return shake(soft, 45, rng.uniform(0, np.pi))


def add_noise(image: Canvas, rng: np.random.Generator, strength: float) -> Canvas:
    """Add sensor noise; strength 0.1 is a standard deviation of about 3 grey levels."""
    import cv2

    height, width = image.shape[:2]
    tile = _noise(int(rng.integers(2)))
    top, left = int(rng.integers(_NOISE_TILE - height + 1)), int(rng.integers(_NOISE_TILE - width + 1))
    piece = tile[top : top + height, left : left + width]
    return np.asarray(cv2.addWeighted(image, 1.0, piece, strength, -128 * strength), np.uint8)


def store_turned(image: Canvas, orientation: int) -> Canvas:
    """Turn an upright picture into the pixels that EXIF orientation 1 to 8 turns back.

    Raises:
        KeyError: Another orientation.
    """
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: image.transpose(1, 0, 2)[::-1],
        7: image[::-1, ::-1].transpose(1, 0, 2),
        8: image.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    return np.ascontiguousarray(turned)


def exif(
    orientation: int, captured_at: dt.datetime, phone: tuple[str, str], place: tuple[float, float] | None
) -> bytes:
    """Build the EXIF block: orientation, local time and its offset, maker, model, and latitude and longitude."""
    from PIL import ExifTags, Image

    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = phone
    tags[ExifTags.Base.DateTime] = f"{captured_at:%Y:%m:%d %H:%M:%S}"
    detail = tags.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.DateTimeOriginal] = f"{captured_at:%Y:%m:%d %H:%M:%S}"
    detail[ExifTags.Base.OffsetTimeOriginal] = "+02:00"
    if place is not None:
        gps = tags.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef] = "N" if place[0] >= 0 else "S"
        gps[ExifTags.GPS.GPSLatitude] = _sexagesimal(abs(place[0]))
        gps[ExifTags.GPS.GPSLongitudeRef] = "E" if place[1] >= 0 else "W"
        gps[ExifTags.GPS.GPSLongitude] = _sexagesimal(abs(place[1]))
    return tags.tobytes()


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes = degrees % 1 * 60
    return float(int(degrees)), float(int(minutes)), round(minutes % 1 * 60, 4)


def encode(image: Canvas, orientation: int, block: bytes, quality: int) -> bytes:
    """Encode an upright picture as JPEG, stored turned as its EXIF block says."""
    import cv2

    stored = store_turned(image, orientation)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, content = cv2.imencode(".jpg", stored, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a picture of {stored.shape} as JPEG")
    jpeg = content.tobytes()
    # The EXIF segment stands right behind the start marker, where phones put it.
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]
