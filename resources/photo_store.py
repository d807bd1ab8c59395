"""`photo_files` as a resource of Dagster; what it does stands there."""

from dagster import ConfigurableResource
from pydantic import Field

from resources.photo_files import PhotoFiles


class PhotoStore(ConfigurableResource, PhotoFiles):  # type: ignore[type-arg]  # generic only for resources that hand out another value
    """The landing zone and the store of one use case."""

    landing: str = Field(description="Landing zone, a local folder or s3://bucket/prefix; read only, but for erasure.")
    root: str = Field(description="Store of originals and normalised photos, a local folder or s3://bucket/prefix.")
