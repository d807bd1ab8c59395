"""The most memory that this process has held, whatever process started it.

`ru_maxrss` would not do: Linux keeps it through exec, so that a child shows at least what its parent held when it was
started.
"""

from pathlib import Path


def peak_mebibytes() -> float:
    """Since this program was started; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024
