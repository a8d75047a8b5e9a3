# SPDX-License-Identifier: Apache-2.0
"""Assembles the root of the appliance as a folder and packs it into the initrd.

Every file comes from a package named in `packages` or is one of our own programs; a library is there because some
program's NEEDED entry names it.  Nothing is taken from the build machine.
"""
import hashlib
import io
import os
import shutil
import subprocess
from typing import NamedTuple

import cpio
import kmods
from elf import read_elf
from fetch import manifest
from lists import BUILD, WORK, ImageError, root_of, words

# Our programs, all in /usr/sbin.
PROGRAMS = ("hvinit", "hvapid", "hvtls", "hvdomd", "hvblkd", "hvmigrate", "hvapi", "hvhotplug")

LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "init": "usr/sbin/hvinit",
    "var/run": "/run",
    "var/lock": "/run/lock",
    "etc/mtab": "/proc/self/mounts",
    "etc/resolv.conf": "/run/resolv.conf",
}
# libxl runs these for each vif and disk.
HOTPLUG = ("etc/xen/scripts/vif-bridge", "etc/xen/scripts/block")
FOLDERS = ("data", "dev", "etc/xen/scripts", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib64", "usr/sbin",
           "usr/lib/x86_64-linux-gnu", "var/lib/xen/dump", "var/lib/xen/userdata", "var/log/xen/console", "var/cache",
           "var/tmp")
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\n"
                  "hvtls:x:101:101:hvtls:/:/nonexistent\n"
                  "hvapid:x:102:102:hvapid:/:/nonexistent\n"
                  "hvmigrate:x:103:103:hvmigrate:/:/nonexistent\n",
    "etc/group": "root:x:0:\nhv:x:100:\nhvtls:x:101:\nhvapid:x:102:\nhvmigrate:x:103:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    "etc/os-release": 'NAME=hvapi\nID=hvapi\nPRETTY_NAME="hvapi host"\n',
}
# xl's settings, which our daemons do not read, and xl and xenstore under the names that one types.
BENCH_TEXTS = {"etc/xen/xl.conf": 'autoballoon="off"\nlockfile="/run/xl.lock"\n'}

TYPED = {"usr/sbin/xl": "../lib/xen-4.17/bin/xl"} | {
    f"usr/bin/xenstore-{verb}": "xenstore" for verb in ("read", "write", "rm", "list", "ls", "watch", "chmod")}

# Where Debian puts what, before and after its merge of /lib into /usr/lib.
LIBRARY_FOLDERS = ("usr/lib64", "usr/lib/x86_64-linux-gnu")
LOADER = "/lib64/ld-linux-x86-64.so.2"


def merged(path):
    """The path of a package's file in the image, where /bin, /sbin and /lib* lie in /usr."""
    top = path.split("/", 1)[0]
    return f"usr/{path}" if top in ("bin", "sbin", "lib", "lib64") else path


class Sources:
    """Every file of the unpacked packages by its path in the image."""

    def __init__(self, packages):
        self.files = {}
        for p in packages:
            for folder, _, names in os.walk(p.folder):
                for name in names:
                    full = os.path.join(folder, name)
                    self.files[merged(os.path.relpath(full, p.folder))] = full
        self.used = set()

    def real(self, path):
        """The regular file behind a path, through the links that packages ship."""
        for _ in range(8):
            full = self.files.get(path)
            if full is None or not os.path.islink(full):
                return full
            path = merged(os.path.normpath(os.path.join("/", os.path.dirname(path), os.readlink(full))).lstrip("/"))
        return None

    def library(self, name):
        return next((path for d in LIBRARY_FOLDERS if self.real(path := f"{d}/{name}")), None)


def add_file(root, sources, path):
    """Copies a packages' file to its place; returns it, or None when it was there."""
    target = root / path
    full = sources.real(path)
    if full is None:
        raise ImageError(f"image/files: no package of image/packages has /{path}")
    if target.exists():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(full, target)
    target.chmod(0o755 if os.access(full, os.X_OK) else 0o644)
    return target


def add_libraries(root, sources, programs):
    """Adds what the programs need, and what that needs in turn."""
    todo = list(programs)
    while todo:
        program = todo.pop()
        elf = read_elf(program)
        if elf is None:
            continue
        for name in elf.needed:
            path = sources.library(name)
            if path is None:
                raise ImageError(f"{program.name} needs {name}, which no package of image/packages has: add it there")
            added = add_file(root, sources, path)
            if added:
                todo.append(added)


def add_own(root, init):
    """Our programs without their debug information; `init` replaces hvinit (measurements of the boot)."""
    own = []
    missing = [name for name in PROGRAMS if not (BUILD / "bin" / name).exists()]
    if "hvinit" in missing and not init:
        raise ImageError("build/bin/hvinit is missing: run `make` first")
    if missing and not init:
        print(f"image: not in it, because not built: {', '.join(missing)}")
    for name in PROGRAMS:
        source = init if init and name == "hvinit" else BUILD / "bin" / name
        target = root / "usr/sbin" / name
        if source.exists():
            subprocess.run(["strip", "-o", target, source], check=True)
            target.chmod(0o755)
            own.append(target)
    if root / "usr/sbin/hvhotplug" in own:
        for path in HOTPLUG:
            (root / path).symlink_to("/usr/sbin/hvhotplug")
    return own


def add_skeleton(root, texts):
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path, target in LINKS.items():
        (root / path).symlink_to(target)
    for path, text in texts.items():
        (root / path).write_text(text)
    (root / "tmp").chmod(0o1777)
    (root / "var/tmp").chmod(0o1777)
    (root / "root").chmod(0o700)


def add_shell_names(root):
    """Links for what one types in a shell, where no program of that name is (debug and bench only)."""
    for path, target in TYPED.items():
        if (root / path).parent.joinpath(target).exists():
            (root / path).symlink_to(target)
    busybox = root / "usr/bin/busybox"
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        link = root / "usr/bin" / name
        if not link.exists():
            link.symlink_to("busybox")


def assemble(flavour, sections, packages, packing, init=None):
    """Builds the root anew; returns (root, kernel, the paths of our own programs)."""
    root = root_of(flavour)
    shutil.rmtree(root, ignore_errors=True)
    kernel = kmods.Kernel(next(p.folder for p in packages if p.entry == "@linux-image-amd64"))
    sources = Sources(packages)
    add_skeleton(root, TEXTS | (BENCH_TEXTS if "bench" in sections else {}))
    add_file(root, sources, merged(LOADER.lstrip("/")))
    programs = [add_file(root, sources, path.lstrip("/")) for path in words("files", sections)]
    own = add_own(root, init)
    add_libraries(root, sources, programs + own)
    kmods.install(kernel, root, packing.modules)
    if (root / "usr/bin/busybox").exists():
        add_shell_names(root)
    (root / "usr/share/hvapi").mkdir(parents=True)
    (root / "usr/share/hvapi/packages").write_text(manifest(packages))
    return root, kernel, own


class Packing(NamedTuple):
    """How the pieces are packed: commands from standard input to standard output; None leaves a piece as it came."""
    initrd: tuple
    kernel: tuple | None = ("zstd", "-q", "-19")
    modules: tuple | None = ("zstd", "-q", "-19")


PARTS_KEPT = 24


def compress(data, how):
    """The compressed archive; parts that did not change are kept by their content."""
    name = hashlib.sha256(data + " ".join(how).encode()).hexdigest()[:24]
    kept = WORK / "parts" / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(how, input=data, capture_output=True, check=True).stdout
        part = kept.with_suffix(".part")
        part.write_bytes(packed)
        part.rename(kept)
    os.utime(kept)
    for old in sorted(kept.parent.iterdir(), key=os.path.getmtime)[:-PARTS_KEPT]:
        old.unlink()
    return kept.read_bytes()


def pack(root, own, how):
    """The initrd: one archive of what changes seldom, one of our programs, both in one file."""
    own = set(own)
    rest = [p for p in root.rglob("*") if p not in own]
    out = b""
    for paths in (rest, own):
        archive = io.BytesIO()
        cpio.write(archive, root, paths)
        out += cpio.padded(compress(archive.getvalue(), how))
    return out
