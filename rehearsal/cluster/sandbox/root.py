"""Builds a container's file system in a mount namespace: what the image has, its volumes, and nothing else."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cluster.sandbox import kernel

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/sys")
_ETC = ("alternatives", "ca-certificates", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
_ETC_MORE = ("mime.types", "nsswitch.conf", "protocols", "services", "ssl")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SHARED_MEMORY = "64m"  # what a container has without a volume for it


@dataclass(frozen=True)
class Mount:
    """One thing to show in the container: a host path, or memory where `source` is empty."""

    source: str
    target: str
    read_only: bool = False
    memory: str = ""


def build(root: str, mounts: Sequence[Mount], hosts: str, uid: int, read_only: bool) -> None:
    """Mount everything below `root` and make it the root directory of this process.

    Args:
        root: An empty folder.
        mounts: Image, project and volumes.
        hosts: Content of /etc/hosts.
        uid: User of the container, for /etc/passwd.
        read_only: Whether the root file system itself refuses writes.
    """
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", root, "tmpfs", data="mode=755,size=64m")
    for path in SYSTEM:
        _system_folder(root, path)
    _devices(root)
    _etc(root, hosts, uid)
    for folder in ("/tmp", "/var/tmp", "/run"):  # noqa: S108 of the container
        (Path(root) / folder[1:]).mkdir(parents=True, exist_ok=True)
        (Path(root) / folder[1:]).chmod(0o1777)
    Path(root, "proc").mkdir()
    kernel.mount("proc", f"{root}/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC)
    for wanted in sorted(mounts, key=lambda mount: mount.target.count("/")):
        _volume(root, wanted)
    if read_only:
        kernel.remount_read_only(root)
    os.chroot(root)
    os.chdir("/")


def _system_folder(root: str, path: str) -> None:
    here = Path(path)
    if here.is_symlink():
        Path(root + path).symlink_to(here.readlink())
    elif here.is_dir():
        Path(root + path).mkdir()
        kernel.bind(path, root + path, read_only=True)


def _devices(root: str) -> None:
    Path(root, "dev").mkdir()
    for name in _DEVICES:
        Path(root, "dev", name).touch()
        kernel.bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    for name, target in (("fd", "/proc/self/fd"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        Path(root, "dev", name).symlink_to(target)
    shared_memory = Path(root, "dev", "shm")
    shared_memory.mkdir()
    kernel.mount("tmpfs", str(shared_memory), "tmpfs", data=f"mode=1777,size={_SHARED_MEMORY}")


def _etc(root: str, hosts: str, uid: int) -> None:
    etc = Path(root, "etc")
    etc.mkdir()
    etc.joinpath("hosts").write_text(hosts)
    etc.joinpath("passwd").write_text(f"root:x:0:0::/root:/bin/sh\napp:x:{uid}:{uid}::/tmp:/bin/sh\n")
    etc.joinpath("group").write_text(f"root:x:0:\napp:x:{uid}:\n")
    for name in (*_ETC, *_ETC_MORE):
        source = Path("/etc", name)
        if source.is_dir():
            etc.joinpath(name).mkdir()
        elif source.is_file():
            etc.joinpath(name).touch()
        else:
            continue
        kernel.bind(str(source), str(etc / name), read_only=True)


def _volume(root: str, wanted: Mount) -> None:
    target = Path(root + wanted.target)
    if not wanted.memory and not Path(wanted.source).is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
    if wanted.memory:
        kernel.mount("tmpfs", str(target), "tmpfs", data=f"mode=1777,size={wanted.memory}")
    else:
        kernel.bind(wanted.source, str(target), wanted.read_only)
