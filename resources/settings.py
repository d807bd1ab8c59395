"""Addresses and sizes of one deployment, read from the environment with the prefix `MLOPS_`.

The only place that reads the environment. What differs between use cases belongs in `use_cases/*.yaml`.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent
PREFIX = "MLOPS_"


class SettingsError(ValueError):
    """A setting is unknown or wrong; the message names its variable and what it takes."""


@dataclass(frozen=True)
class Places:
    """Where one use case keeps what it owns; folders, or addresses such as s3://bucket/folder."""

    landing: str
    labels: str
    store: str
    pages: str
    catalog_database: str


class Settings(BaseSettings):
    """Every setting of a deployment, with the laptop's values as defaults.

    `landing`, `labels`, `store` and `pages` may hold `{use_case}`, so that use cases do not share a folder.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    profile: Literal["local", "k8s"] = Field("local", description="'local' or 'k8s'")
    use_case: str = Field("enclosures", description="a file name in MLOPS_USE_CASE_FOLDER without .yaml")
    use_case_folder: Path = Field(PROJECT / "use_cases", description="a folder of use case files")
    home: Path = Field(PROJECT / ".home", description="the folder for everything that this deployment keeps locally")
    landing: str = Field("{home}/{use_case}/landing", description="a folder or s3:// address, read only")
    labels: str = Field("{home}/{use_case}/labels", description="a folder or s3:// address")
    store: str = Field("{home}/{use_case}/store", description="a folder or s3:// address")
    pages: str = Field("{home}/{use_case}/pages", description="a folder")
    scratch: str = Field("{home}/{use_case}/scratch", description="a local folder for what can be made again")
    alerts: str = Field("{home}/alerts.jsonl", description="a local file that every alert is added to")
    catalog_database: str = Field("sqlite:///{home}/catalog.db", description="an SQLAlchemy URL")
    mlflow_tracking_uri: str = Field("sqlite:///{home}/mlflow.db", description="sqlite:///file or http(s)://server")
    mlflow_artifacts: str = Field("{home}/mlflow-artifacts", description="artifacts where MLflow has no server")
    mlflow_ui: str = Field("", description="address of the MLflow page for links, empty: none")
    device: str = Field("cpu", pattern=r"^(cpu|cuda|\d+(,\d+)*)$", description="'cpu', 'cuda', or GPU numbers as 0,1")
    threads: int = Field(0, ge=0, description="threads of a step, 0: as many as the process may use")
    base_weights: Path | None = Field(None, description="a .pt file that the first training starts from")
    base_weights_uri: str = Field("", description="where to fetch the first weights; needs MLOPS_BASE_WEIGHTS_SHA256")
    base_weights_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the first weights, hex")
    epochs: int | None = Field(None, ge=1, description="epochs of every training; empty: as the use case says")
    label_studio_url: str = Field(
        "", pattern=r"^(https?://[^/].*)?$", description="http(s):// address of a Label Studio server, empty: none"
    )
    label_studio_token: SecretStr = Field(SecretStr(""), description="token of a Label Studio user, a secret")
    label_studio_document_root: str = Field(
        "{home}", description="Label Studio's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, a folder that holds the store"
    )
    label_studio_s3_endpoint: str = Field(
        "", description="address of the object store for browsers of annotators, empty: AWS"
    )
    alert_webhook: str = Field("", description="an http(s):// address that receives alerts as JSON, empty: none")
    cpu_image: str = Field("enclosure-catalog-cpu:latest", description="container image without torch")
    gpu_image: str = Field("enclosure-catalog-gpu:latest", description="container image with torch")
    step_service_account: str = Field("", description="Kubernetes service account of step pods, empty: the run pod's")
    compute_file: Path | None = Field(None, description="a YAML file of compute overrides, empty: none")
    serving_poll_seconds: float = Field(
        10, gt=0, description="seconds between two looks of the live server at the alias"
    )
    serving_max_megabytes: float = Field(20, gt=0, description="largest body of a request to the live server, MB")
    serving_max_whole_megapixels: float = Field(
        25,
        gt=0,
        description="largest photo for the live server that is no plain JPEG (HEIC, PNG, progressive), megapixels",
    )
    serving_max_photos: int = Field(16, ge=1, description="photos of one request to the live server")
    serving_max_requests: int = Field(32, ge=1, description="requests that the live server holds at a time")
    sensor_interval: int = Field(30, ge=1, description="seconds between two evaluations of a sensor")

    @field_validator("home", "use_case_folder")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @model_validator(mode="after")
    def _weights_need_a_hash(self) -> "Settings":
        if self.base_weights_uri and not self.base_weights_sha256:
            raise ValueError(f"{PREFIX}BASE_WEIGHTS_URI needs {PREFIX}BASE_WEIGHTS_SHA256")
        if self.base_weights_sha256 and not (self.base_weights_uri or self.base_weights):
            raise ValueError(f"{PREFIX}BASE_WEIGHTS_SHA256 needs {PREFIX}BASE_WEIGHTS_URI or {PREFIX}BASE_WEIGHTS")
        if self.base_weights_uri and self.base_weights:
            raise ValueError(f"{PREFIX}BASE_WEIGHTS and {PREFIX}BASE_WEIGHTS_URI name the same thing: give one")
        return self

    def places(self, use_case: str) -> Places:
        """Addresses of one use case, with the placeholders filled in.

        Raises:
            SettingsError: Another use case than the deployment's would share its store or pages.
        """
        shared = [name for name in ("store", "pages") if "{use_case}" not in getattr(self, name)]
        if shared and use_case != self.use_case:
            variables = " and ".join(f"{PREFIX}{name.upper()}" for name in shared)
            raise SettingsError(f"{variables} must hold {{use_case}}: {use_case} would write over {self.use_case}")
        return Places(
            landing=self.fill(self.landing, use_case),
            labels=self.fill(self.labels, use_case),
            store=self.fill(self.store, use_case),
            pages=self.fill(self.pages, use_case),
            catalog_database=self.fill(self.catalog_database, use_case),
        )

    def fill(self, address: str, use_case: str = "") -> str:
        """Replace `{home}` and `{use_case}` in an address."""
        return address.replace("{home}", str(self.home)).replace("{use_case}", use_case)

    def thread_count(self) -> int:
        """Threads that a step may use: the setting, or else the processors this process may run on."""
        return self.threads or len(os.sched_getaffinity(0))


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        SettingsError: A variable with our prefix is unknown, or a value is wrong.
    """
    _refuse_unknown_variables()
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(dict(item)) for item in error.errors())) from error


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            closest = difflib.get_close_matches(variable.upper(), known, n=1)
            hint = f"; did you mean {closest[0]}?" if closest else f"; known are {', '.join(sorted(known))}"
            raise SettingsError(f"Unknown setting {variable}{hint}")


def _explain(item: dict[str, object]) -> str:
    location = item["loc"]
    if not isinstance(location, tuple) or not location:
        return str(item["msg"])
    name = str(location[0]).removeprefix(PREFIX.lower())
    takes = Settings.model_fields[name].description if name in Settings.model_fields else "no such setting"
    return f"{PREFIX}{name.upper()}: {item['msg']}, got {item['input']!r}. It takes {takes}."
