"""Python where importing Dagster fails: `python plain_process.py SCRIPT`, with the project on the path."""

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class NoDagster:
    """Refuses dagster and all that begins with its name, whoever asks."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.split(".", maxsplit=1)[0].startswith("dagster"):
            raise ModuleNotFoundError(f"{name} is blocked in this process", name=name)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, NoDagster())
    runpy.run_path(sys.argv[1], run_name="__main__")
    assert not [name for name in sys.modules if name.startswith("dagster")]
