# SPDX-License-Identifier: Apache-2.0
"""What a 64-bit ELF file says it needs: interpreter and DT_NEEDED.  Nothing is run to find out."""
import struct
from typing import NamedTuple

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


class Elf(NamedTuple):
    interpreter: str | None
    needed: list


def cstring(data, at):
    return data[at:data.index(b"\0", at)].decode()


def read_elf(path):
    """An Elf, or None for a file that is no 64-bit little-endian program or shared library."""
    with open(path, "rb") as f:
        if f.read(6) != b"\x7fELF\2\1":
            return None
        f.seek(0)
        data = f.read()
    kind, = struct.unpack_from("<H", data, 16)
    if kind not in (2, 3):
        return None
    segments = read_segments(data)
    interpreter = next((cstring(data, s["offset"]) for s in segments if s["type"] == PT_INTERP), None)
    return Elf(interpreter, read_needed(data, segments))


def read_segments(data):
    phoff, = struct.unpack_from("<Q", data, 32)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    names = ("type", "flags", "offset", "vaddr", "paddr", "filesz", "memsz", "align")
    return [dict(zip(names, struct.unpack_from("<IIQQQQQQ", data, phoff + i * phentsize))) for i in range(phnum)]


def read_needed(data, segments):
    dynamic = next((s for s in segments if s["type"] == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    at, end = dynamic["offset"], dynamic["offset"] + dynamic["filesz"]
    entries = [struct.unpack_from("<QQ", data, i) for i in range(at, end, 16)]
    strings = next((value for tag, value in entries if tag == DT_STRTAB), 0)
    for s in segments:
        if s["type"] == PT_LOAD and s["vaddr"] <= strings < s["vaddr"] + s["filesz"]:
            base = strings - s["vaddr"] + s["offset"]
            return [cstring(data, base + value) for tag, value in entries if tag == DT_NEEDED]
    return []
