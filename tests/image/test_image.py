# SPDX-License-Identifier: Apache-2.0
"""The image's tools on made-up input: each rule of check_root finds what it is for, and no download is trusted."""
import io
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "image"))
import check_root  # noqa: E402
import cpio  # noqa: E402
import elf  # noqa: E402
import fetch  # noqa: E402
import lists  # noqa: E402


def c_object(path, text, *options):
    subprocess.run(["gcc", *options, "-x", "c", "-o", path, "-"], input=text, text=True, check=True)


def module(path, depends):
    path.parent.mkdir(parents=True, exist_ok=True)
    c_object(path, f'const char d[] __attribute__((section(".modinfo"), used)) = "depends={depends}";\n', "-c")


@pytest.fixture
def root(tmp_path):
    """A root with which every rule is content."""
    tree = tmp_path / "usr/lib/modules/6.1"
    module(tree / "kernel/a-b.ko", "")
    module(tree / "kernel/c.ko", "a_b,inside")
    (tree / "modules.builtin").write_text("kernel/inside.ko\n")
    for name in ("dep", "alias", "builtin", "symbols"):
        (tree / f"modules.{name}.bin").write_bytes(b"")
    for folder in ("usr/sbin", "usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    c_object(tmp_path / "usr/sbin/hvinit", "int main(void) { return 0; }\n")
    (tmp_path / "usr/lib/x86_64-linux-gnu/libc.so.6").write_bytes(b"")
    return tmp_path


def test_sound_root_passes(root):
    assert check_root.check(root, "ship") > 5


def shell(root):
    (root / "usr/bin/sh").write_text("")


def shell_as_link(root):
    (root / "usr/bin/bash").symlink_to("../sbin/hvinit")


def script(root):
    (root / "etc/rc").write_text("#!/nowhere\n")


def unnamed_program(root):
    (root / "usr/sbin/hvother").write_bytes((root / "usr/sbin/hvinit").read_bytes())
    (root / "usr/sbin/hvother").chmod(0o755)


def setuid(root):
    (root / "usr/sbin/hvinit").chmod(0o4755)


def library_gone(root):
    (root / "usr/lib/x86_64-linux-gnu/libc.so.6").unlink()


def link_to_nothing(root):
    (root / "etc/link").symlink_to("/usr/sbin/absent")


def dependency_gone(root):
    (root / "usr/lib/modules/6.1/kernel/a-b.ko").unlink()


def index_gone(root):
    (root / "usr/lib/modules/6.1/modules.alias.bin").unlink()


@pytest.mark.parametrize("spoil, words", [
    (shell, "usr/bin/sh: an interpreter"), (shell_as_link, "usr/bin/bash: an interpreter"),
    (script, "etc/rc: a script"), (unnamed_program, "usr/sbin/hvother: a program that"),
    (setuid, "usr/sbin/hvinit: runs with"), (library_gone, "hvinit: needs libc.so.6"),
    (link_to_nothing, "etc/link: leads to"), (dependency_gone, "module a_b is needed"),
    (index_gone, "modules.alias.bin is not there")], ids=lambda v: getattr(v, "__name__", ""))
def test_fault_is_found(root, spoil, words):
    spoil(root)
    with pytest.raises(lists.ImageError, match=words):
        check_root.check(root, "ship")


def test_elf_reads_what_readelf_reads():
    theirs = subprocess.run(["readelf", "-d", "/usr/bin/gcc"], capture_output=True, text=True, check=True).stdout
    ours = elf.read_elf("/usr/bin/gcc")
    assert ours.needed and ours.interpreter == check_root.LOADER
    assert all(f"[{name}]" in theirs for name in ours.needed) and theirs.count("(NEEDED)") == len(ours.needed)


def test_cpio_depends_on_content_only(tmp_path):
    archives = []
    for order in (("b", "a"), ("a", "b")):
        folder = tmp_path / order[0]
        (folder / "d").mkdir(parents=True)
        for name in order:
            (folder / "d" / name).write_text(name)
            os.utime(folder / "d" / name, (ord(order[0]), 1))
        (folder / "link").symlink_to("d/a")
        out = io.BytesIO()
        cpio.write(out, folder, list(folder.rglob("*")))
        archives.append(out.getvalue())
    assert archives[0] == archives[1]
    listed = subprocess.run(["cpio", "-t"], input=archives[0], capture_output=True, check=True).stdout
    assert listed.split() == [b"d", b"d/a", b"d/b", b"link"]


PINNED = fetch.Package("tool", "tool", "1.0", "aa")


def test_pin_is_kept_while_the_mirror_has_it():
    assert fetch.choose("tool", "tool", PINNED, {"tool": {"2.0": "bb", "1.0": "aa"}}) == PINNED


def test_dropped_pin_gives_way_and_says_so(capsys):
    got = fetch.choose("tool", "tool", PINNED, {"tool": {"2.0": "bb"}})
    assert got == fetch.Package("tool", "tool", "2.0", "bb")
    assert capsys.readouterr().out == "image: the mirror no longer has tool 1.0; using tool 2.0\n"


def test_other_content_under_a_pinned_version_is_refused():
    with pytest.raises(lists.ImageError, match="SHA-256 is not that of packages.lock"):
        fetch.choose("tool", "tool", PINNED, {"tool": {"1.0": "cc"}})


def test_altered_download_is_refused_and_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "DEBS", tmp_path)
    monkeypatch.setattr(fetch, "UNPACKED", tmp_path / "x")
    PINNED.deb.write_bytes(b"not what the index promised")
    with pytest.raises(lists.ImageError, match="deleted, run again"):
        fetch.unpack([PINNED])
    assert not PINNED.deb.exists()
