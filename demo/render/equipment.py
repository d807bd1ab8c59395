"""The equipment classes that the demo knows: how big, how they are mounted, how often, who draws them.

How one looks is drawn in `rack_devices` and `power_devices`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from demo.render import power_devices, rack_devices
from demo.render.texture import Canvas

Mount = Literal["rack", "half", "din", "shelf"]


@dataclass(frozen=True)
class Equipment:
    """One class; sizes in cabinet units (a 19-inch panel is 640 wide), a rack panel takes the width of its rails."""

    name: str
    mount: Mount
    width: int
    height: int
    depth: int
    weight: float
    most: int
    draw: Callable[[np.random.Generator, int, int], Canvas]


BASE_EQUIPMENT = (
    Equipment("battery", "shelf", 200, 205, 170, 1.2, 3, power_devices.battery),
    Equipment("circuit_breaker", "din", 140, 178, 90, 1.0, 2, power_devices.circuit_breaker),
    Equipment("fan_unit", "rack", 640, 118, 110, 1.9, 1, rack_devices.fan_unit),
    Equipment("optical_splitter", "half", 300, 112, 120, 1.5, 2, rack_devices.optical_splitter),
    Equipment("patch_panel", "rack", 640, 98, 110, 1.4, 2, rack_devices.patch_panel),
    Equipment("power_supply", "din", 148, 188, 105, 1.4, 2, power_devices.power_supply),
    Equipment("router", "rack", 640, 106, 160, 1.5, 2, rack_devices.router),
    Equipment("splice_tray", "rack", 640, 128, 130, 1.5, 2, rack_devices.splice_tray),
    Equipment("surge_protector", "din", 138, 182, 90, 0.9, 2, power_devices.surge_protector),
)
"""Installed from the first day; the order is the class order of the YOLO labels."""

NEW_EQUIPMENT = Equipment("energy_meter", "din", 150, 198, 100, 0.0, 2, power_devices.energy_meter)
"""Rolled out on the last day."""

FILLERS = {
    "rack": Equipment("blank_panel", "rack", 640, 124, 20, 0.0, 0, rack_devices.blank_panel),
    "din": Equipment("terminal_strip", "din", 120, 96, 60, 0.0, 0, power_devices.terminal_strip),
}
"""What may sit in an empty slot and is no equipment: it must not be taken for any."""

EQUIPMENT = {kind.name: kind for kind in (*BASE_EQUIPMENT, NEW_EQUIPMENT, *FILLERS.values())}
