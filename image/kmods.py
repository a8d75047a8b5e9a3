# SPDX-License-Identifier: Apache-2.0
"""The kernel modules of the image: those of the list `modules`, what they depend on, and depmod's index.

Modules of [common] are stored as they are; those that only [hardware] names are compressed one by one, so that the
kernel copies them at boot without unpacking them and only machines that have the hardware pay for it.
"""
import shutil
import subprocess

from lists import WORK, ImageError, words

# Text forms of indexes that libkmod reads in their binary form.
TEXT_INDEXES = ("modules.alias", "modules.symbols")


def plain(name):
    """Module names write - and _ alike."""
    return name.replace("-", "_")


class Kernel:
    """An unpacked linux-image package."""

    def __init__(self, folder):
        self.image, = (folder / "boot").glob("vmlinuz-*")
        self.version = self.image.name.removeprefix("vmlinuz-")
        self.tree = folder / "lib/modules" / self.version
        if not (self.tree / "modules.dep.bin").exists():
            subprocess.run(["depmod", "-b", folder, self.version], check=True)
        self.deps, self.paths = {}, {}
        for line in (self.tree / "modules.dep").read_text().splitlines():
            path, needed = line.split(":")
            self.paths[stem(path)] = path
            self.deps[stem(path)] = [stem(n) for n in needed.split()]
        self.builtin = {stem(p) for p in (self.tree / "modules.builtin").read_text().split()}

    def closure(self, names):
        """Paths (below the tree) of the named modules and all that they need; built-in ones need no file."""
        found = set()
        for name in map(plain, names):
            if name in self.builtin:
                continue
            if name not in self.paths:
                raise ImageError(f"image/modules: '{name}' is no module of kernel {self.version}")
            found.update([name, *self.deps[name]])
        return {self.paths[name] for name in found}


def stem(path):
    return plain(path.rsplit("/", 1)[-1].split(".ko")[0])


def compressed(kernel, path, how):
    """The module as a .zst file, made once for each kernel version and way."""
    out = WORK / "modules" / kernel.version / "".join(how) / (path.replace("/", ",") + ".zst")
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        with open(kernel.tree / path, "rb") as source, open(part, "wb") as target:
            subprocess.run(how, stdin=source, stdout=target, check=True)
        part.rename(out)
    return out


def install(kernel, root, how):
    """Copies the modules into root, those of [hardware] packed by `how` (None: as they are), and indexes them."""
    common = kernel.closure(words("modules", ["common"]))
    hardware = kernel.closure(words("modules", ["hardware"])) - common
    tree = root / "usr/lib/modules" / kernel.version
    for path in sorted(common | hardware):
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in common or not how:
            shutil.copyfile(kernel.tree / path, target)
        else:
            shutil.copyfile(compressed(kernel, path, how), target.with_name(target.name + ".zst"))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(kernel.tree / name, tree / name)
    subprocess.run(["depmod", "-b", root, kernel.version], check=True)
    for name in TEXT_INDEXES:
        (tree / name).unlink()
