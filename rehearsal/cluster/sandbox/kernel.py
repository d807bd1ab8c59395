"""Calls to the Linux kernel that Python has no name for (until 3.12): namespaces, mounts, death signals."""

import ctypes
import os
import signal
from pathlib import Path

NEW_MOUNTS, NEW_PROCESSES, NEW_NETWORK, NEW_USER = 0x00020000, 0x20000000, 0x40000000, 0x10000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the parent's namespaces for own ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, as the system call does."""
    words = [source.encode(), target.encode(), kind.encode() or None]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"mount {source} on {target}")


def bind(source: str, target: str, read_only: bool) -> None:
    """Show a file or folder at another place, with what is mounted below it."""
    mount(source, target, flags=BIND | RECURSIVE)
    if read_only:
        remount_read_only(target)


def remount_read_only(target: str) -> None:
    """Forbid writes below a mount; flags that it has stay, or a user namespace is refused."""
    has = os.statvfs(target).f_flag
    kept = sum(flag for flag in (NO_SUID, NO_DEVICES, NO_EXEC) if has & flag)
    mount("none", target, flags=REMOUNT | BIND | READ_ONLY | kept)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone."""
    _check(_libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")


def no_new_privileges() -> None:
    """Forbid set-user-ID programs for this process and what it starts."""
    _check(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")


def become_root_of_namespace(uid: int, gid: int) -> None:
    """In a new user namespace, let this process appear as `uid` and `gid` there."""
    outer_uid, outer_gid = os.getuid(), os.getgid()
    unshare(NEW_USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")
