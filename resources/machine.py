"""The processor that a step runs on, and what this deployment trains from."""

import dagster as dg


class Machine(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Device, threads and scratch folder of a step; first weights as the deployment's settings give them."""

    device: str = "cpu"
    threads: int = 1
    scratch: str
    epochs: int | None = None
    base_weights: str = ""
    base_weights_uri: str = ""
    base_weights_sha256: str = ""
