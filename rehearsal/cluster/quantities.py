"""Quantities of Kubernetes as numbers."""


def cores_or_bytes(value: object) -> float:
    """`250m` is 0.25, `2Gi` is 2147483648.

    Raises:
        ValueError: Not a quantity.
    """
    from kubernetes.utils.quantity import parse_quantity

    return float(parse_quantity(value))
