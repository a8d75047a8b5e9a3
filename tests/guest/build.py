#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the test guest: build/guest/vmlinuz (Debian's cloud kernel), initrd.gz (our init and two drivers with what
they need), and disk.img, which boots the same by GRUB from the guest's own disk.

    tests/guest/build.py [--force]

The kernel's package is downloaded by apt (which checks it) and unpacked below build/guest, never installed.
"""
import argparse
import fcntl
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(os.environ.get("HVAPI_BUILD", TOP / "build")) / "guest"
META = "linux-image-cloud-amd64"
DRIVERS = ["xen-netfront", "xen-blkfront"]
DISK_MIB = 64
EPOCH = 1700000000
CFLAGS = ("-std=gnu11 -D_GNU_SOURCE -O2 -static -s -I. -Wall -Wextra -Wshadow -Wstrict-prototypes "
          "-Wmissing-prototypes -Wcast-qual -Wconversion -Wformat=2 -Wvla -Wundef -Werror").split()
GRUB_CFG = """set timeout=0
menuentry "guest" {
    linux /boot/vmlinuz console=hvc0 guest.ip=@IP@
    initrd /boot/initrd.gz
}
"""


class BuildError(Exception):
    pass


def run(*argv, **kw):
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode:
        raise BuildError(f"{' '.join(map(str, argv[:3]))}: {p.stderr.strip() or p.stdout.strip()}")
    return p.stdout


def kernel_package():
    """Name and version of what the meta-package stands for."""
    shown = run("apt-cache", "show", "--no-all-versions", META)
    m = re.search(r"^Depends: (linux-image-\S+) \(= ([^)]+)\)", shown, re.M)
    if not m:
        raise BuildError(f"{META} is not in apt's index: run `apt-get update`")
    return m.groups()


def kernel():
    """The folder with the unpacked kernel package; an unpacked one is used whatever the mirror has since."""
    have = sorted(OUT.glob("linux-image-*_*/"))
    if have:
        return have[-1]
    name, version = kernel_package()
    folder = OUT / f"{name}_{version}"
    run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", f"{name}={version}", cwd=OUT)
    deb = next(OUT.glob(f"{name}_*.deb"))
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    run("dpkg-deb", "-x", deb, part)
    part.rename(folder)
    deb.unlink()
    return folder


def modules(folder):
    """Files of the drivers, each behind what it needs."""
    files = {p.stem.replace("_", "-"): p for p in folder.glob("lib/modules/*/kernel/**/*.ko")}
    ordered = []

    def add(name):
        path = files.get(name.replace("_", "-"))
        if path is None:
            raise BuildError(f"the kernel has no module {name}")
        for needed in run("modinfo", "-F", "depends", path).strip().split(","):
            if needed:
                add(needed)
        if path not in ordered:
            ordered.append(path)

    for name in DRIVERS:
        add(name)
    return ordered


def entry(ino, name, mode, data=b""):
    """One file of a cpio archive (newc)."""
    fields = (ino, mode, 0, 0, 1, EPOCH, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initrd(program, mods):
    listing = "".join(f"{p.name}\n" for p in mods).encode()
    files = [(d, 0o040755, b"") for d in ("dev", "proc", "sys", "modules", "sbin")]
    files += [("init", 0o100755, program.read_bytes()), ("modules/list", 0o100644, listing)]
    files += [(f"sbin/{n}", 0o120777, b"/init") for n in ("poweroff", "reboot")]
    files += [(f"modules/{p.name}", 0o100644, p.read_bytes()) for p in mods]
    data = b"".join(entry(i, *f) for i, f in enumerate(files, 1)) + entry(0, "TRAILER!!!", 0)
    return gzip.compress(data + b"\0" * (-len(data) % 512), 9, mtime=0)


def disk(path, ip):
    """A FAT volume without partitions, which PVH GRUB searches for /boot/grub/grub.cfg."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with open(part, "wb") as f:
        f.truncate(DISK_MIB << 20)
    cfg = OUT / "grub.cfg"
    cfg.write_text(GRUB_CFG.replace("@IP@", ip))
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    run("mformat", "-i", part, "-F", "-T", str(DISK_MIB << 11), "-v", "GUEST", "::", env=env)
    run("mmd", "-i", part, "::/boot", "::/boot/grub", env=env)
    run("mcopy", "-i", part, OUT / "vmlinuz", OUT / "initrd.gz", "::/boot/", env=env)
    run("mcopy", "-i", part, cfg, "::/boot/grub/grub.cfg", env=env)
    with open(part, "r+b") as f:        # mformat also writes a partition table, which the volume does not have
        f.seek(446)
        f.write(bytes(64))
    part.rename(path)


def fresh(target):
    sources = [*(TOP / "tests/guest").glob("*.[ch]"), pathlib.Path(__file__)]
    return target.exists() and all(s.stat().st_mtime < target.stat().st_mtime for s in sources)


def build(force=False):
    """Makes what is missing or old; safe to call from two processes at once."""
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fresh(OUT / "disk.img") and not force:
            return
        folder = kernel()
        shutil.copyfile(next(folder.glob("boot/vmlinuz-*")), OUT / "vmlinuz")
        sources = sorted(str(p.relative_to(TOP)) for p in (TOP / "tests/guest").glob("*.c"))
        run("gcc", *CFLAGS, "-o", OUT / "init", *sources, "-lpthread", cwd=TOP)
        (OUT / "initrd.gz").write_bytes(initrd(OUT / "init", modules(folder)))
        disk(OUT / "disk.img", "10.77.0.20")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--force", action="store_true", help="make all anew")
    try:
        build(ap.parse_args().force)
    except BuildError as e:
        sys.exit(f"tests/guest/build.py: {e}")


if __name__ == "__main__":
    main()
