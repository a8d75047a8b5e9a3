#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of style and structure that a program can check.

One function a rule; each yields (file, line, what).  RULES at the end is the list.  A rule that needs an
exception gets it here, with the reason beside it, never in the file that breaks it.
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 600
HEADER_LINES_MAX = 200
FUNCTION_LINES_MAX = 70
DEPTH_MAX = 4
LINE_COLUMNS_MAX = 120
README_LINES_MAX = 60
FILE_BYTES_MAX = 256 << 10

# Folder -> the folders it may include from (besides itself).  Daemons are met by *_ctl.h only.
LAYERS = {
    "base": [],
    "link": ["base"],
    "disk": ["base"],
    "xen": ["base"],
    "feed": ["base", "link", "disk", "xen"],
    "net": ["base", "xen"],
    "init": ["base", "net"],
    "domd": ["base", "xen", "net"],
    "blkd": ["base", "disk", "feed", "xen"],
    "migrate": ["base", "link", "xen", "feed", "net"],
    "replica": ["base", "link", "disk", "feed"],
    "hvapi": ["base", "link", "xen"],
}
XEN_HEADERS = re.compile(r'#include\s+<(xen\w*|libxl\w*|xs|xen/.*)\.h>')
# Call -> what to use instead.
BANNED = {
    "strcpy": "snprintf or mem_strdup", "strcat": "buf_printf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "atoi": "strtoul with checks (opt.h)", "atol": "strtoul with checks", "atof": "strtod with checks",
    "strtok": "strchr or rd.h", "system": "posix_spawn of a fixed program", "popen": "posix_spawn",
    "alloca": "a fixed buffer or mem_alloc", "usleep": "an event of the loop", "sleep": "an event of the loop",
    "gets": "fgets", "mktemp": "mkstemp",
}
# tests/guest is init of a guest, without our libraries: it may sleep to pace its own load.
MAY_SLEEP = ("tests/guest/",)


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True,
                         check=True).stdout.split("\n")
    return [TOP / f for f in out if f and (TOP / f).is_file()]


def rel(p):
    return str(p.relative_to(TOP))


def code_of(text):
    """The text with comments and string literals blanked, line structure kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def rule_spdx(p, text):
    if p.suffix in (".c", ".h", ".py", ".sh", ".js") or text.startswith("#!"):
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n")[:2]):
            yield 1, "no SPDX line: put `SPDX-License-Identifier: Apache-2.0` in line 1 (or 2 under #!)"


def rule_purpose(p, text):
    if p.suffix in (".c", ".h") and not re.match(r"/\* SPDX.*\*/\n/\*", text):
        yield 2, "no purpose comment: line 2 starts the comment that says why the file exists"


def rule_size(p, text):
    n = text.count("\n")
    if p.suffix in (".c", ".h", ".py", ".js") and n > FILE_LINES_MAX:
        yield n, f"{n} lines, limit {FILE_LINES_MAX}: split it"
    if p.suffix == ".h" and n > HEADER_LINES_MAX:
        yield n, f"header of {n} lines, limit {HEADER_LINES_MAX}"
    if p.name == "README.md" and p.parent != TOP and n > README_LINES_MAX:
        yield n, f"folder README of {n} lines, limit {README_LINES_MAX}"
    if p.stat().st_size > FILE_BYTES_MAX:
        yield 1, f"larger than {FILE_BYTES_MAX >> 10} KiB"


def rule_columns(p, text):
    if p.suffix not in (".c", ".h", ".py"):
        return
    for i, line in enumerate(text.split("\n"), 1):
        if len(line.expandtabs(8)) > LINE_COLUMNS_MAX:
            yield i, f"line wider than {LINE_COLUMNS_MAX} columns"


def rule_comments(p, text):
    if p.suffix not in (".c", ".h"):
        return
    for i, line in enumerate(code_of(text).split("\n"), 1):
        if "//" in line:
            yield i, "// comment: use /* */"


def rule_functions(p, text):
    if p.suffix != ".c":
        return
    start = None
    for i, line in enumerate(code_of(text).split("\n"), 1):
        if line == "{":
            start = i
        elif line.startswith("}") and start:
            if i - start > FUNCTION_LINES_MAX:
                yield start, f"function of {i - start} lines, limit {FUNCTION_LINES_MAX}"
            start = None
        elif start and re.match(r"\t{%d}(?:if|for|while|switch|do)\b" % (DEPTH_MAX + 1), line):
            yield i, f"deeper than {DEPTH_MAX} levels"


def rule_banned(p, text):
    if p.suffix not in (".c", ".h"):
        return
    for i, line in enumerate(code_of(text).split("\n"), 1):
        for m in re.finditer(r"(?<![\w.>])(\w+)\s*\(", line):
            name = m.group(1)
            if name in BANNED and not (name in ("sleep", "usleep") and rel(p).startswith(MAY_SLEEP)):
                yield i, f"{name}(): use {BANNED[name]}"


def folder_of(p):
    parts = p.relative_to(TOP).parts
    return parts[1] if parts[0] == "dom0-tools" and len(parts) > 2 else parts[0]


def rule_layers(p, text):
    here = folder_of(p)
    if p.suffix not in (".c", ".h") or here not in LAYERS:
        return
    for i, line in enumerate(text.split("\n"), 1):
        m = re.match(r'#include "([^"/]+)/([^"]+)"', line)
        if m and m.group(1) != here and m.group(1) not in LAYERS[here] and not m.group(2).endswith("_ctl.h"):
            yield i, f"{here}/ may not include {m.group(1)}/ (allowed: {', '.join(LAYERS[here]) or 'nothing'})"
        if here != "xen" and XEN_HEADERS.match(line):
            yield i, "only dom0-tools/xen includes Xen headers"
        if re.match(r'#include "[^"/]+"', line):
            yield i, 'include by path ("disk/vhd.h"), so that the layer shows'


def rule_outside(p, text):
    """Nothing of the workplace it was written in."""
    if p.name == "tidy.py":
        return
    for i, line in enumerate(text.split("\n"), 1):
        if re.search(r"/work/|\bfarm-studio\b|\.\./shared", line):
            yield i, "names a path or tool outside the repository"


def rule_makefile():
    mk = (TOP / "Makefile").read_text()
    for p in tracked():
        r = rel(p)
        if p.suffix == ".c" and not r.startswith("tests/") and r not in mk:
            yield p, 1, "not listed in the Makefile"


def rule_readmes():
    for d in sorted({p.parent for p in tracked() if p.suffix in (".c", ".py") and p.parent != TOP}):
        top = TOP / d.relative_to(TOP).parts[0]
        if not any((q / "README.md").exists() for q in [d, d.parent] if q != TOP) and d != top:
            yield d, 1, "no README.md here or in the folder above"


def rule_tests():
    """A *_test.c belongs to a source file: disk_vhd_test.c to disk/vhd.c."""
    sources = {(folder_of(p), q) for p in tracked() if p.suffix in (".c", ".h") and not rel(p).startswith("tests/")
               for q in [p.stem]}
    for p in tracked():
        m = re.match(r"tests/unit/([a-z0-9]+)_(\w+)_test\.c", rel(p))
        if m and (m.group(1), m.group(2)) not in sources:
            yield p, 1, f"no source {m.group(1)}/{m.group(2)}.c that it could test"


RULES = [rule_spdx, rule_purpose, rule_size, rule_columns, rule_comments, rule_functions, rule_banned, rule_layers,
         rule_outside]
TREE_RULES = [rule_makefile, rule_readmes, rule_tests]


def main():
    bad = 0
    for p in tracked():
        try:
            text = p.read_text()
        except UnicodeDecodeError:
            continue
        for rule in RULES:
            for line, what in rule(p, text):
                print(f"{rel(p)}:{line}: {what}")
                bad += 1
    for rule in TREE_RULES:
        for p, line, what in rule():
            print(f"{rel(p)}:{line}: {what}")
            bad += 1
    print(f"tidy: {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
