#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the ISO: packages -> root -> check -> initrd -> ISO.  Does nothing when nothing it reads has changed."""
import argparse
import hashlib
import sys
import time

import check_root
import fetch
import iso
import rootfs
import vmlinux
from lists import BUILD, EPOCH, FLAVOURS, HERE, WORK, ImageError, file_sha256

# Chosen by measure.py; image/README.md has the figures.
PACKING = rootfs.Packing(initrd=("zstd", "-q", "-15"))
ISO_MIB_MAX = 64


def inputs(flavour, init):
    """A sum over all that the ISO is made of."""
    ours = [init] if init else []
    ours += [p for name in rootfs.PROGRAMS if (p := BUILD / "bin" / name).exists()]
    sources = sorted(p for p in HERE.iterdir() if p.is_file() and p.name != "README.md")
    text = f"{flavour} {EPOCH}\n" + "".join(f"{p} {file_sha256(p)}\n" for p in sources + ours)
    return hashlib.sha256(text.encode()).hexdigest()


def build(flavour, init=None, packing=PACKING, out=None):
    sections, default = FLAVOURS[flavour]
    out = out or default
    packages = fetch.fetch(sections)
    root, kernel, own = rootfs.assemble(flavour, sections, packages, packing, init)
    count = check_root.check(root, flavour)
    initrd = rootfs.pack(root, own, packing.initrd)
    hypervisor = next(p.folder for p in packages if p.name.startswith("xen-hypervisor"))
    text = fetch.manifest(packages)
    (WORK / "manifest").write_text(text)
    image = vmlinux.repack(kernel.image, packing.kernel) if packing.kernel else kernel.image
    iso.make(flavour, next(hypervisor.glob("boot/xen-*.gz")), image, initrd, text, out)
    print(f"image: {out.name}: {count} files, {len(own)} programs of ours, initrd {len(initrd) / (1 << 20):.1f} MiB")
    return out


def report(out, flavour):
    mib = out.stat().st_size / (1 << 20)
    print(f"count iso_mib {mib:.1f}")
    if flavour == "ship" and mib > ISO_MIB_MAX:
        raise ImageError(f"{out.name} has {mib:.1f} MiB, limit {ISO_MIB_MAX}: see `du` of build/image/iso-ship")


def options():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--debug", dest="flavour", action="store_const", const="debug", default="ship",
                   help="with busybox and a shell on the console: build/hvapi-debug.iso")
    p.add_argument("--bench", dest="flavour", action="store_const", const="bench",
                   help="with xl, socat and a shell, to measure the peer: build/hvapi-bench.iso")
    p.add_argument("--relock", action="store_true", help="pin the versions that apt's index has now")
    return p.parse_args()


def main():
    o = options()
    if o.relock:
        fetch.write_lock(fetch.fetch(["base", "debug", "bench"], relock=True))
    start = time.monotonic()
    stamp = WORK / f"stamp-{o.flavour}"
    _, out = FLAVOURS[o.flavour]
    state = inputs(o.flavour, None)
    if not out.exists() or not stamp.exists() or stamp.read_text() != state:
        build(o.flavour)
        stamp.write_text(state)
        print(f"image: built in {time.monotonic() - start:.1f} s")
    report(out, o.flavour)


if __name__ == "__main__":
    try:
        main()
    except ImageError as e:
        sys.exit(f"image: {e}")
