# SPDX-License-Identifier: Apache-2.0
"""Takes the kernel proper out of Debian's bzImage and packs it for a fast start.

Xen unpacks dom0's kernel itself, and xz, Debian's choice, costs seconds under emulation.  Xen takes any of the formats
that Linux knows, also without the bzImage around it: the compressed ELF file with its length (32 bits) behind it.
The kernel inside stays what Debian built, bit for bit.
"""
import lzma
import struct
import subprocess

from lists import WORK, ImageError

# Offsets in the boot header: Linux, Documentation/x86/boot.rst.
SETUP_SECTORS, MAGIC, PAYLOAD = 0x1F1, 0x202, 0x248


def unpack(image):
    """The ELF file inside a bzImage."""
    data = image.read_bytes()
    if data[MAGIC:MAGIC + 4] != b"HdrS":
        raise ImageError(f"{image.name} is no bzImage: boot header not found")
    offset, length = struct.unpack_from("<II", data, PAYLOAD)
    start = ((data[SETUP_SECTORS] or 4) + 1) * 512 + offset
    payload, size = data[start:start + length - 4], data[start + length - 4:start + length]
    if payload[:6] != b"\xfd7zXZ\0":
        raise ImageError(f"{image.name} is not packed with xz, as Debian's kernels were: add its format to vmlinux.py")
    elf = lzma.decompress(payload)
    if elf[:4] != b"\x7fELF" or struct.unpack("<I", size)[0] != len(elf):
        raise ImageError(f"{image.name}: what is inside is not the kernel that its header promises")
    return elf


def repack(image, how):
    """Path of the repacked kernel, made once for each kernel version."""
    out = WORK / "modules" / "-".join([image.name, how[0], *(w.strip("-") for w in how[1:])])
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        elf = unpack(image)
        packed = subprocess.run(how, input=elf, capture_output=True, check=True).stdout
        part = out.with_name(out.name + ".part")
        part.write_bytes(packed + struct.pack("<I", len(elf)))
        part.rename(out)
    return out
