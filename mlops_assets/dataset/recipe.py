"""The version of the code that makes a dataset of annotations; part of every dataset's fingerprint."""

from mlops_assets.code_versions import code_version

BUILDING_CODE = code_version("mlops_assets.dataset.building", "build_dataset")
