"""What is wrong with a model version; apart from `model_registry.py`, so that plain code need not import Dagster."""


class ModelRegistryError(RuntimeError):
    """A version or a file of it is not there, or not what was registered."""


class BrokenVersionError(ModelRegistryError):
    """The version itself is broken: a file of it is missing or altered. Asking again does not help."""
