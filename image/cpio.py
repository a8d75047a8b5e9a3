# SPDX-License-Identifier: Apache-2.0
"""Writes a folder as a cpio archive (newc, what the kernel unpacks), the same bytes for the same content.

All belongs to root and bears one date; names are sorted.  Written here rather than by cpio(1), which records the
builder's user, times and inode numbers.
"""
import os
import stat

from lists import EPOCH


def header(ino, mode, nlink, size, name):
    fields = (ino, mode, 0, 0, nlink, EPOCH, size, 0, 0, 0, 0, len(name) + 1, 0)
    return b"070701" + b"".join(b"%08X" % f for f in fields) + name + b"\0"


def padded(data):
    return data + b"\0" * (-len(data) % 4)


def content(path, mode):
    if stat.S_ISLNK(mode):
        return os.readlink(path).encode()
    return path.read_bytes() if stat.S_ISREG(mode) else b""


def write(out, root, paths):
    """Writes the paths (below root) and every folder above them to the open file `out`."""
    with_parents = {q for p in paths for q in (p, *p.parents) if root in q.parents}
    for ino, path in enumerate(sorted(with_parents), 1):
        mode = path.lstat().st_mode
        data = content(path, mode)
        nlink = 2 if stat.S_ISDIR(mode) else 1
        name = str(path.relative_to(root)).encode()
        out.write(padded(header(ino, mode, nlink, len(data), name)) + padded(data))
    out.write(padded(header(0, 0, 1, 0, b"TRAILER!!!")))
