#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Proves of a finished root: nothing in it that nobody named, no interpreter, everything there that is needed.

Reads the folder only, not how it was made.  Runs as part of the build; alone: check_root.py [FLAVOUR].
"""
import os
import stat
import subprocess
import sys

from elf import read_elf
from lists import FLAVOURS, ImageError, root_of, words
from rootfs import LIBRARY_FOLDERS, LOADER, PROGRAMS

# Words of programs that run what somebody types or writes; none is in the shipped image under any name.
INTERPRETERS = {"sh", "ash", "bash", "dash", "zsh", "busybox", "toybox", "python", "python3", "perl", "lua", "awk",
                "tclsh", "ruby", "node", "getty", "agetty", "login", "su", "sudo", "sshd", "dropbear", "telnetd",
                "apt", "apt-get", "dpkg", "rpm", "gdb", "socat", "nc"}


def files_of(root):
    return [p for p in sorted(root.rglob("*")) if p.is_file() and not p.is_symlink()]


def rule_no_interpreter(root, flavour, files):
    if flavour != "ship":
        return
    for p in root.rglob("*"):
        if p.name in INTERPRETERS and not p.is_dir():
            yield f"{p.relative_to(root)}: an interpreter or log-in"
    for p in files:
        with open(p, "rb") as f:
            if f.read(2) == b"#!":
                yield f"{p.relative_to(root)}: a script"


def rule_programs_are_named(root, flavour, files):
    """An executable that is no library stands in image/files or is ours."""
    sections, _ = FLAVOURS[flavour]
    named = {root / path.lstrip("/") for path in words("files", sections)}
    named |= {root / "usr/sbin" / name for name in PROGRAMS} | {root / f"usr/{LOADER.lstrip('/')}"}
    for p in files:
        library = ".so" in p.name and str(p.parent.relative_to(root)) in LIBRARY_FOLDERS
        if p.stat().st_mode & 0o111 and not library and p not in named:
            yield f"{p.relative_to(root)}: a program that image/files does not name"
        if p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{p.relative_to(root)}: runs with another user's rights"


def rule_needed_is_there(root, flavour, files):
    for p in files:
        elf = read_elf(p)
        if elf is None:
            continue
        if elf.interpreter not in (None, LOADER):
            yield f"{p.relative_to(root)}: wants the loader {elf.interpreter}"
        for name in elf.needed:
            if not any((root / d / name).exists() for d in LIBRARY_FOLDERS):
                yield f"{p.relative_to(root)}: needs {name}, which is not there"


def rule_links_lead_somewhere(root, flavour, files):
    """Links into /run and /proc are filled when the host runs."""
    for p in root.rglob("*"):
        if not p.is_symlink():
            continue
        target = os.readlink(p)
        inside = root / target.lstrip("/") if target.startswith("/") else p.parent / target
        if not target.startswith(("/run", "/proc")) and not inside.exists():
            yield f"{p.relative_to(root)}: leads to {target}, which is not there"


def rule_modules_complete(root, flavour, files):
    """What each module's own `depends` names, by modinfo: not by the index that the build wrote."""
    modules = [p for p in files if ".ko" in p.suffixes]
    if not modules:
        yield "no kernel module at all"
        return
    stems = {p.name.split(".ko")[0].replace("-", "_") for p in modules}
    tree = next((root / "usr/lib/modules").iterdir())
    stems |= {line.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")
              for line in (tree / "modules.builtin").read_text().split()}
    out = subprocess.run(["modinfo", "-F", "depends", *modules], capture_output=True, text=True, check=True).stdout
    for name in sorted(set(out.replace(",", "\n").split())):
        if name.replace("-", "_") not in stems:
            yield f"module {name} is needed by another and not there"


def rule_index_is_there(root, flavour, files):
    for tree in (root / "usr/lib/modules").iterdir():
        for name in ("modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.symbols.bin"):
            if not (tree / name).exists():
                yield f"{tree.name}/{name} is not there: libkmod finds no module by alias"


RULES = (rule_no_interpreter, rule_programs_are_named, rule_needed_is_there, rule_links_lead_somewhere,
         rule_modules_complete, rule_index_is_there)


def check(root, flavour):
    files = files_of(root)
    faults = [fault for rule in RULES for fault in rule(root, flavour, files)]
    if faults:
        raise ImageError(f"{root.name} has {len(faults)} faults:\n  " + "\n  ".join(faults))
    return len(files)


def main():
    flavour = sys.argv[1] if len(sys.argv) > 1 else "ship"
    try:
        print(f"{root_of(flavour).name}: {check(root_of(flavour), flavour)} files, {len(RULES)} rules hold")
    except ImageError as e:
        raise SystemExit(f"image: {e}")


if __name__ == "__main__":
    main()
