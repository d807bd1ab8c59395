"""Imported once a run by the local executor's forkserver, so that its steps start with slow libraries at hand.

Nothing else imports this module. It follows the advice of Python's documentation for processes that fork (`gc.freeze`):
no collections while libraries load, what is loaded set apart before each fork, collections again in each child.
Measured in docs/decisions.md, "Where the demo's minutes go".
"""

import gc
import importlib
import importlib.util
import os
import sys


def load_lazily(name: str) -> None:
    """Have a submodule loaded at its first use; the recipe of importlib's documentation.

    Great Expectations imports scipy.stats, a third of its start-up, for expectations on distributions.
    """
    parent, _, child = name.rpartition(".")
    package = importlib.import_module(parent)
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(package, child, module)


gc.disable()
os.register_at_fork(before=gc.freeze, after_in_child=gc.enable)
load_lazily("scipy.stats")
importlib.import_module("great_expectations")
