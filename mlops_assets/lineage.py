"""What a step knows of its own asset in Dagster's lineage."""

import dagster as dg


def own_code_version(context: dg.AssetExecutionContext) -> str | None:
    """The code version of the asset that is being made."""
    version: str | None = context.assets_def.specs_by_key[context.asset_key].code_version
    return version
