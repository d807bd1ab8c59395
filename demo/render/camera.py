"""A pinhole camera in cabinet units: x right, y down, z away from the photographer, the cabinet's front at z = 0."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points3 = npt.NDArray[np.float64]
"""(n, 3) points in cabinet units."""

Points2 = npt.NDArray[np.float64]
"""(n, 2) points in photo pixels."""


@dataclass(frozen=True)
class Camera:
    """Where the phone is, how it is turned (rows: its right, down, forward), and its focal length in pixels."""

    position: npt.NDArray[np.float64]
    rotation: npt.NDArray[np.float64]
    focal: float
    width: int
    height: int

    def depth(self, points: Points3) -> npt.NDArray[np.float64]:
        """Distance of points along the view direction, (n,); not positive: behind the phone."""
        return np.asarray((points - self.position) @ self.rotation[2], np.float64)

    def project(self, points: Points3) -> Points2:
        """Project points that lie before the phone."""
        seen = (points - self.position) @ self.rotation.T
        centre = np.array([self.width / 2, self.height / 2])
        return np.asarray(seen[:, :2] / seen[:, 2:] * self.focal + centre, np.float64)


def aim(
    target: npt.NDArray[np.float64],
    distance: float,
    angles: tuple[float, float, float],
    focal: float,
    size: tuple[int, int],
) -> Camera:
    """Point a camera at a target.

    Args:
        target: (3,) the point in the middle of the photo.
        distance: From the target, cabinet units.
        angles: Yaw (positive: phone to the right), pitch (positive: phone above) and roll, radians.
        focal: Pixels.
        size: Width and height of the photo, pixels.
    """
    yaw, pitch, roll = angles
    out = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    forward = -out
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turned = np.stack([np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward])
    return Camera(target + out * distance, turned, focal, *size)
