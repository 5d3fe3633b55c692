"""Hold a list of mounts (proc(5), mountinfo) to a spec: each as asked for, and none besides. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.engine import Evidence
from sandbox.spec import OWN_KERNEL, ContainerSpec, DriverMount, Mount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT: Final = "/"
# Writable for root alone, or views of the kernel; nobody in a container of ours is root.
_OF_THE_RUNTIME: Final = frozenset({"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"})
_DEVICES: Final = frozenset(
    {"/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"}
)
_OF_THE_ENGINE: Final = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})
_FLAGS: Final = frozenset({"nosuid", "nodev", "noexec"})
_LAYERS: Final = ("lowerdir", "upperdir", "workdir")
_SUFFIXES: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One mount as a process sees it."""

    target: str
    options: frozenset[str]
    """Options of this mount: `ro`, `nosuid`, …"""
    kind: str
    """The file system's type."""
    superblock: Mapping[str, str]
    """Options of the file system: `size`, `lowerdir`, …; a flag has the value ``."""
    root: str = ""
    """What of the file system is mounted: `/null` for the null device of a /dev."""

    @property
    def read_only(self) -> bool:
        """Tell whether nothing can be written through this mount."""
        return "ro" in self.options or "ro" in self.superblock


def parse(lines: Iterable[str]) -> Iterator[Mounted]:
    """Yield the mounts of a mountinfo file; lines that are none are left out."""
    for line in lines:
        place, dash, kind = line.partition(" - ")
        left, right = place.split(" "), kind.split(" ")
        if dash and len(left) >= 6 and len(right) >= 3:
            yield mounted(left[4], left[5], right[0], right[2], root=left[3])


def mounted(target: str, options: str, kind: str, superblock: str, *, root: str = "") -> Mounted:
    """Return one mount from the words of its line."""
    return Mounted(
        target=_unescaped(target),
        options=frozenset(options.split(",")),
        kind=kind,
        superblock=dict(_pair(option) for option in superblock.split(",")),
        root=_unescaped(root),
    )


def judged(spec: ContainerSpec, mounts: Iterable[Mounted], *, source: str) -> Iterator[Evidence]:
    """Yield a piece of evidence for each mount that should be there, and for each that should not.

    Args:
        spec: What was asked for.
        mounts: What a witness saw; of several at one place, the last lies on top.
        source: The witness, `host` or `guest`.
    """
    found = {mount.target: mount for mount in mounts}
    own_kernel = spec.runtime in OWN_KERNEL
    yield _piece(ROOT, "ro", _shown(found.get(ROOT)), source, holds=_is_read_only(found.get(ROOT)))
    for mount in spec.mounts:
        yield _asked_for(mount, found.get(mount.target), source, own_kernel=own_kernel)
    for target, options in spec.tmpfs.items():
        if not own_kernel or target in found:  # gVisor's mountinfo lacks some
            yield _memory(target, options, found.get(target), source, own_kernel=own_kernel)
    ours = {ROOT, *(mount.target for mount in spec.mounts), *spec.tmpfs}
    wrong = [
        extra for target, extra in sorted(found.items()) if target not in ours and not _lawful(spec, extra)
    ]
    yield Evidence(
        check="other mounts",
        expected="none but the runtime's own, masked or read-only",
        observed="; ".join(f"{extra.target} {_shown(extra)}" for extra in wrong)[:300] or "none but those",
        source=source,
        holds=not wrong,
    )


def _asked_for(mount: Mount, found: Mounted | None, source: str, *, own_kernel: bool) -> Evidence:
    """Hold a mount of the spec to access, kind, flags and layers."""
    wanted: set[str] = set()
    layers, kind = "", ""
    if isinstance(mount, DriverMount) and not own_kernel:
        wanted |= _FLAGS & set(mount.options.split(","))
        layers = _layers(dict(_pair(option) for option in mount.options.split(",")))
        kind = mount.filesystem
    # gVisor shows a file system that the host mounted read-only as writable, and passes its refusals on.
    left_to_host = own_kernel and isinstance(mount, DriverMount)
    holds = (
        found is not None
        and (left_to_host or found.read_only == mount.read_only)
        and wanted <= found.options
        and (not kind or found.kind == kind)
        and (not layers or _layers(found.superblock) == layers)
    )
    flags = ",".join(sorted({*wanted, "ro" if mount.read_only else "rw"}))
    expected = " ".join(part for part in (kind, flags, layers) if part)
    observed = _shown(found)
    if found is not None and layers:
        observed += f" {_layers(found.superblock)}"
    return _piece(mount.target, expected, observed, source, holds=holds)


def _memory(target: str, options: str, found: Mounted | None, source: str, *, own_kernel: bool) -> Evidence:
    """Hold a memory file system to its flags and its bounds."""
    asked = dict(_pair(option) for option in options.split(","))
    flags = {"noexec"} if own_kernel else _FLAGS
    wanted = {"ro" if "ro" in asked else "rw", *(flags & asked.keys())}
    names = ("size",) if own_kernel else ("size", "nr_inodes")
    bounds = {name: asked[name] for name in names}
    holds = (
        found is not None
        and found.kind == "tmpfs"
        and wanted <= found.options
        and all(_number(found.superblock.get(name)) == _number(bound) for name, bound in bounds.items())
    )
    expected = f"tmpfs {','.join(sorted(wanted))} {_bounds(bounds)}".strip()
    observed = f"{_shown(found)} {_bounds(found.superblock if found else {})}".strip()
    return _piece(target, expected, observed, source, holds=holds)


def _lawful(spec: ContainerSpec, extra: Mounted) -> bool:
    """Tell whether a mount that nobody asked for is the runtime's or the engine's own, and harmless."""
    if extra.target.startswith("/sys/fs/cgroup/") and extra.kind in ("cgroup", "cgroup2"):
        return True  # writable in a user namespace, and its files belong to root outside of it
    if extra.target in _OF_THE_RUNTIME:
        return extra.kind not in _OF_DISKS
    if extra.target in spec.masked_paths:
        return extra.read_only or _is_device(extra, "/null")
    if extra.target in _DEVICES:  # bound one by one where a user namespace cannot make them
        return _is_device(extra, extra.target.removeprefix("/dev"))
    known = extra.target in (*_OF_THE_ENGINE, *spec.read_only_paths)
    return extra.read_only and (known or extra.target.startswith(("/sys/fs/cgroup/", "/proc/")))


def _is_device(found: Mounted, name: str) -> bool:
    return found.kind in ("tmpfs", "devtmpfs") and found.root == name


_OF_DISKS: Final = frozenset({"ext4", "xfs", "btrfs", "overlay", "fuse", "9p", "nfs", "zfs"})


def _piece(target: str, expected: str, observed: str, source: str, *, holds: bool) -> Evidence:
    return Evidence(
        check=f"mount {target}", expected=expected, observed=observed[:300], source=source, holds=holds
    )


def _shown(found: Mounted | None) -> str:
    return f"{found.kind} {','.join(sorted(found.options))}" if found is not None else "absent"


def _is_read_only(found: Mounted | None) -> bool:
    return found is not None and found.read_only


def _layers(options: Mapping[str, str]) -> str:
    return ",".join(f"{name}={_unescaped(options[name])}" for name in _LAYERS if name in options)


def _bounds(options: Mapping[str, str]) -> str:
    return ",".join(f"{name}={options[name]}" for name in ("size", "nr_inodes") if name in options)


def _number(text: str | None) -> int:
    """Return a size as the kernel writes it, `512k` for instance; -1 for none."""
    match = re.fullmatch(r"(\d+)([kmg]?)", text or "")
    return int(match[1]) * _SUFFIXES[match[2]] if match else -1


def _pair(option: str) -> tuple[str, str]:
    name, _, value = option.partition("=")
    return name, value


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
