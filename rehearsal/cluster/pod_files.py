"""What a pod's container finds: variables from ConfigMaps and Secrets, volumes as folders, credentials."""

import base64
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cluster.objects import Object
from rehearsal.cluster.quantities import cores_or_bytes
from rehearsal.cluster.sandbox.root import Mount
from rehearsal.cluster.store import Store

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


class ConfigError(Exception):
    """A ConfigMap, Secret or key that a pod names is missing, or a volume is of a kind that the stand-in lacks."""


def environment(store: Store, pod: Object, container: Object) -> dict[str, str]:
    """The container's variables, `envFrom` first, then `env`, later ones over earlier.

    Raises:
        ConfigError: Something named is missing and not optional.
    """
    namespace = pod["metadata"]["namespace"]
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        kind, reference = (
            ("ConfigMap", source["configMapRef"]) if source.get("configMapRef") else ("Secret", source["secretRef"])
        )
        content = _content(store, kind, namespace, reference)
        found |= {f"{prefix}{key}": value.decode() for key, value in content.items()}
    for entry in container.get("env") or []:
        value = _value(store, pod, container, entry)
        if value is not None:
            found[entry["name"]] = value
    return found


def _value(store: Store, pod: Object, container: Object, entry: Object) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value") or "")
    if source.get("fieldRef"):
        return _field(pod, source["fieldRef"]["fieldPath"])
    if source.get("resourceFieldRef"):
        return _resource(container, source["resourceFieldRef"])
    kind, reference = (
        ("ConfigMap", source["configMapKeyRef"])
        if source.get("configMapKeyRef")
        else ("Secret", source["secretKeyRef"])
    )
    content = _content(store, kind, pod["metadata"]["namespace"], reference)
    if reference["key"] in content:
        return content[reference["key"]].decode()
    if reference.get("optional"):
        return None
    raise ConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")


def _field(pod: Object, path: str) -> str:
    known = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
    }
    if path not in known:
        raise ConfigError(f"fieldRef {path} is not known to the stand-in")
    return str(known[path])


def _resource(container: Object, reference: Object) -> str:
    group, name = reference["resource"].split(".", 1)
    value = (container.get("resources") or {}).get(group, {}).get(name, "0")
    divisor = cores_or_bytes(reference.get("divisor") or "1") or 1.0
    return str(-int(-cores_or_bytes(value) // divisor))


def _content(store: Store, kind: str, namespace: str, reference: Mapping[str, object]) -> dict[str, bytes]:
    thing = store.find(kind, namespace, str(reference["name"]))
    if thing is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    if kind == "Secret":
        plain = {key: value.encode() for key, value in (thing.get("stringData") or {}).items()}
        return {key: base64.b64decode(value) for key, value in (thing.get("data") or {}).items()} | plain
    binary = {key: base64.b64decode(value) for key, value in (thing.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in (thing.get("data") or {}).items()} | binary


@dataclass(frozen=True)
class Volumes:
    """Makes a pod's volumes below one folder of this machine."""

    store: Store
    folder: Path
    claims: Mapping[str, Path]

    def mounts(self, pod: Object, container: Object) -> list[Mount]:
        """The container's mounts, their sources made.

        Raises:
            ConfigError: A source is missing.
        """
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        found = []
        for wanted in container.get("volumeMounts") or []:
            volume = volumes[wanted["name"]]
            empty = volume.get("emptyDir")
            if empty is not None and empty.get("medium") == "Memory":
                size = str(int(cores_or_bytes(empty.get("sizeLimit") or "1Gi")))
                found.append(Mount("", wanted["mountPath"], memory=size))
                continue
            source, read_only = self._source(pod, volume)
            if wanted.get("subPath"):
                source = source / wanted["subPath"]
            if not source.exists():
                raise ConfigError(f"volume {volume['name']}: {source.name} does not exist")
            found.append(Mount(str(source), wanted["mountPath"], read_only or bool(wanted.get("readOnly"))))
        return found

    def _source(self, pod: Object, volume: Object) -> tuple[Path, bool]:
        """A volume's folder, and whether it can only be read."""
        here = self.folder / volume["name"]
        if volume.get("hostPath"):
            return Path(volume["hostPath"]["path"]), False
        if volume.get("persistentVolumeClaim"):
            claim = volume["persistentVolumeClaim"]
            if claim["claimName"] not in self.claims:
                raise ConfigError(f'persistentvolumeclaim "{claim["claimName"]}" not found')
            return self.claims[claim["claimName"]], bool(claim.get("readOnly"))
        if volume.get("emptyDir") is not None:
            here.mkdir(parents=True, exist_ok=True)
            here.chmod(0o777)
            return here, False
        self._fill(pod, volume, here)
        return here, True

    def _fill(self, pod: Object, volume: Object, here: Path) -> None:
        sources = (volume.get("projected") or {}).get("sources") or [volume]
        here.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source.get("configMap") is not None:
                kind, reference = "ConfigMap", source["configMap"]
            elif source.get("secret") is not None:
                kind = "Secret"
                reference = {"name": source["secret"].get("secretName") or source["secret"].get("name")} | source[
                    "secret"
                ]
            else:
                raise ConfigError(f"volume {volume['name']} is of a kind that the stand-in lacks")
            content = _content(self.store, kind, pod["metadata"]["namespace"], reference)
            items = reference.get("items") or [{"key": key, "path": key} for key in content]
            for item in items:
                if item["key"] not in content:
                    raise ConfigError(f"{kind} {reference['name']} references non-existent key: {item['key']}")
                target = here / item["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content[item["key"]])

    def remove(self) -> None:
        """Delete what was made."""
        shutil.rmtree(self.folder, ignore_errors=True)
