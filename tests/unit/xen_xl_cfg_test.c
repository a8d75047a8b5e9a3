/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xl.cfg to VM: the pairs of tests/golden/xl_cfg, what is made up, and what
 * is refused, by which code and word.  Runs in the top folder (tests/run.py).
 */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/js.h"
#include "xen/xl_cfg.h"

enum { PATH_BYTES = 128, FILE_BYTES_MAX = 4096 };

/* A guest that is fine but for what a case adds. */
#define GOOD "name='a'\ntype='pvh'\nmemory=64\nkernel='k'\n"
#define ON_DISK "name='a'\ntype='pvh'\nmemory=64\ndisk=['/dev/vdb,raw,xvda,w']\n"
#define ROOT_DISK(spec) "name='a'\ntype='pvh'\nmemory=64\nkernel='k'\ndisk=['" spec "']\n"
#define VIF(spec) GOOD "vif=['" spec "']\n"

static void parse_ok(const char *text, json_t **out)
{
	struct err e = ERR_INIT;

	if (xl_cfg_parse(text, strlen(text), out, &e) < 0)
		fail_msg("'%s': %s (%s)", text, e.detail, e.remedy);
}

static const char *text_at(const json_t *vm, const char *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(list ? json_array_get(json_object_get(vm, list), i) : vm, key));
}

static void read_golden(const char *name, const char *suffix, struct buf *b)
{
	char path[PATH_BYTES];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "tests/golden/xl_cfg/%s.%s", name, suffix);
	if (fd_read_file(path, FILE_BYTES_MAX, b, &e) < 0)
		fail_msg("%s", e.detail);
}

static void test_golden(void **state)
{
	static const char *const names[] = { "pvh_minimal", "pvh_full", "pv", "pvh_disk", "pvh_disk_implicit" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_BUF struct buf cfg = { 0 }, text = { 0 };
		AUTO_JSON json_t *want = NULL, *got = NULL;
		AUTO_FREE char *dump = NULL;
		struct err e = ERR_INIT;

		read_golden(names[i], "cfg", &cfg);
		read_golden(names[i], "json", &text);
		assert_int_equal(js_parse((const char *)text.p, text.len, &want, &e), 0);
		if (xl_cfg_parse((const char *)cfg.p, cfg.len, &got, &e) < 0)
			fail_msg("%s: %s", names[i], e.detail);
		dump = json_dumps(got, JSON_SORT_KEYS);
		if (!json_equal(want, got))
			fail_msg("%s: %s", names[i], dump);
	}
}

/* uuid and MACs that the file does not have: well-formed, and new each time. */
static void test_made_up(void **state)
{
	AUTO_JSON json_t *a = NULL, *b = NULL;
	const char *uuid, *mac;
	unsigned v[3];
	int n = 0;

	(void)state;
	parse_ok(GOOD "vif=['','bridge=br1']\n", &a);
	parse_ok(GOOD "vif=['','bridge=br1']\n", &b);
	uuid = text_at(a, NULL, 0, "uuid");
	assert_int_equal(strlen(uuid), 36);
	assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
	assert_true(uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' && uuid[23] == '-');
	assert_int_equal(uuid[14], '4');
	assert_non_null(strchr("89ab", uuid[19]));
	assert_string_not_equal(uuid, text_at(b, NULL, 0, "uuid"));
	mac = text_at(a, "vifs", 0, "mac");
	assert_int_equal(sscanf(mac, "00:16:3e:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &n), 3);
	assert_int_equal(n, 17);
	assert_string_equal(text_at(a, "vifs", 0, "bridge"), "xenbr0");
	assert_string_equal(text_at(a, "vifs", 1, "bridge"), "br1");
	assert_string_not_equal(mac, text_at(a, "vifs", 1, "mac"));
}

/* Each way to write one thing. */
static void test_spellings(void **state)
{
	static const struct { const char *label, *text, *key, *want; } cases[] = {
		{ "root_alone", GOOD "root='/dev/xvda'", "cmdline", "root=/dev/xvda" },
		{ "extra_alone", GOOD "extra='quiet'", "cmdline", "quiet" },
		{ "add_text", GOOD "extra='a'\nextra += ' b'\n", "cmdline", "a b" },
		{ "kernel_in_boot", "name='a';memory=64;kernel='boot/k'", "kernel", "k" },
		{ "pvgrub", ON_DISK "bootloader='pvgrub'", "boot", "disk" },
		{ "word_in_string", GOOD "extra='pci = 1'", "cmdline", "pci = 1" },
		{ "hash_in_string", GOOD "extra=\"a#b\"", "cmdline", "a#b" },
		{ "other_quote", GOOD "extra=\"it's\"", "cmdline", "it's" },
		{ "key_in_comment", GOOD "# pci = [ 'x' ]", "name", "a" },
		{ "comment_any_bytes", GOOD "# gr\xc3\xb6\xc3\x9f\xff\n", "name", "a" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_JSON json_t *vm = NULL;
		const char *got;

		parse_ok(cases[i].text, &vm);
		got = text_at(vm, NULL, 0, cases[i].key);
		if (!got || strcmp(got, cases[i].want))
			fail_msg("%s: %s is '%s'", cases[i].label, cases[i].key, got ? got : "(missing)");
	}
}

struct refusal {
	const char *label, *text, *detail, *remedy;	/* words of both */
};

static void check_refused(const struct refusal *r, size_t n, enum err_code code)
{
	for (size_t i = 0; i < n; i++) {
		json_t *vm = NULL;
		struct err e = ERR_INIT;

		if (xl_cfg_parse(r[i].text, strlen(r[i].text), &vm, &e) == 0)
			fail_msg("%s: taken", r[i].label);
		assert_null(vm);
		if (e.code != code || !strstr(e.detail, r[i].detail) || !strstr(e.remedy, r[i].remedy))
			fail_msg("%s: %s '%s' (%s)", r[i].label, err_name(e.code), e.detail, e.remedy);
	}
}

static void test_bad_syntax(void **state)
{
	static const struct refusal cases[] = {
		{ "empty", "", "name", "" },
		/* libxlutil counts a newline to the line before, if at all. */
		{ "no_value", "name='a'\nmemory=\n", "config parsing error near <newline>", "" },
		{ "bare_word", "name='a'\ntype=pvh\n", "xl.cfg:2: config parsing error", "" },
		{ "python", "\nname=os.getenv('a')\n", "xl.cfg:2: config parsing error", "Python" },
		{ "open_list", GOOD "disk=[ 'a'\n", "config parsing error", "" },
		{ "open_string", "name='a'\nuuid='b\n", "xl.cfg:2: string", "" },
		{ "crlf", "name='a'\r\n", "xl.cfg:1: byte 0x0d", "Unix" },
		{ "not_ascii", "\nname='\xc3\xa4'\n", "xl.cfg:2: byte 0xc3", "ASCII" },
		/* libxlutil would take the octal one and drop its character. */
		{ "hex_escape", GOOD "extra='\\x41'\n", "escape '\\x'", "backslash" },
		{ "hex_at_end", GOOD "extra='\\x'\n", "escape '\\x'", "backslash" },
		{ "octal_escape", GOOD "extra='\\101'\n", "xl.cfg:5: escape '\\1'", "backslash" },
		{ "escape_at_end", GOOD "extra='\\", "escape", "backslash" },
		{ "twice", GOOD "memory=65\n", "xl.cfg:5: 'memory' is set already in line 3", "" },
		{ "list_as_text", "name=['a']\nmemory=64\nkernel='k'\n", "`name'", "" },
		{ "text_as_list", GOOD "vif='bridge=b'\n", "`vif'", "" },
		{ "list_in_list", GOOD "vif=[['bridge=b']]\n", "vif[0]", "" },
		{ "number_words", GOOD "vcpus='many'\n", "xl.cfg:5: warning: parameter `vcpus'", "" },
		{ "number_zero", GOOD "vcpus=0\n", "smaller", "" },
		{ "number_huge", GOOD "maxmem=99999999999999999999\n", "`maxmem'", "" },
	};

	(void)state;
	check_refused(cases, ARRAY_LEN(cases), ERR_USAGE);
}

static void test_unsupported_keys(void **state)
{
	static const struct refusal cases[] = {
		{ "unknown", GOOD "\nfrobnicate = 1\n", "xl.cfg:6: key 'frobnicate'", "on_crash" },
		{ "long", GOOD "frobnicate_frobnicate_frobnicate_frobnicate=1\n", "xl.cfg:5: key 'frobnicate_", "" },
		{ "builder", GOOD "builder='hvm'\n", "'builder'", "pvh" },
		{ "pci", GOOD "pci=['00:1f.0']\n", "'pci'", "passed-through" },
		{ "dotted", GOOD "name.uuid=1\n", "'name.uuid'", "remove" },
		{ "behind_semicolon", GOOD "vcpus=1;tmem=1\n", "'tmem'", "remove" },
		{ "behind_list", GOOD "vif=[\n'' # ]\n] ; vfb=[]\n", "xl.cfg:7: key 'vfb'", "console" },
		{ "added", GOOD "usbdev+=['a']\n", "'usbdev'", "remove" },
		{ "no_blanks", GOOD "vnc=1", "'vnc'", "console" },
		{ "maxvcpus", GOOD "maxvcpus=2", "'maxvcpus'", "vcpus" },
	};

	(void)state;
	check_refused(cases, ARRAY_LEN(cases), ERR_USAGE);
}

static void test_unsupported_values(void **state)
{
	static const struct refusal cases[] = {
		{ "no_name", "memory=64\nkernel='k'\n", "'name'", "" },
		{ "no_memory", "name='a'\nkernel='k'\n", "'memory'", "" },
		{ "hvm", "name='a'\nmemory=64\ntype='hvm'\n", "xl.cfg:3: type 'hvm' needs a device model", "pvh" },
		{ "type_word", "name='a'\nmemory=64\ntype='vm'\n", "type 'vm'", "pvh or pv" },
		{ "balloon", GOOD "maxmem=128\n", "maxmem 128 is not memory 64", "memory" },
		{ "kernel_elsewhere", "name='a'\nmemory=64\nkernel='/boot/vmlinuz'\n", "/boot/vmlinuz", "PUT /v1" },
		{ "kernel_up", "name='a'\nmemory=64\nkernel='/data/boot/../x'\n", "../x", "PUT" },
		{ "kernel_folder", "name='a'\nmemory=64\nkernel='/data/boot/'\n", "kernel", "PUT" },
		{ "kernel_empty", "name='a'\nmemory=64\nkernel=''\n", "kernel", "PUT" },
		{ "kernel_pvgrub", "name='a'\nmemory=64\nkernel='/usr/lib/grub-xen/x'\n", "grub-xen", "with GRUB" },
		{ "ramdisk_elsewhere", GOOD "ramdisk='/tmp/i'\n", "ramdisk '/tmp/i'", "PUT" },
		{ "both_cmdlines", GOOD "cmdline='a'\nextra='b'\n", "xl.cfg:6: 'extra'", "cmdline" },
		{ "root_and_cmdline", GOOD "cmdline='a'\nroot='b'\n", "'root'", "cmdline" },
		{ "bootloader_word", ON_DISK "bootloader='/bin/sh'\n", "bootloader 'sh'", "pygrub" },
		{ "bootloader_and_kernel", GOOD "bootloader='pygrub'\n", "'kernel' exclude", "remove" },
		{ "nothing_to_boot", "name='a'\ntype='pvh'\nmemory=64\n", "neither 'kernel' nor 'disk'", "" },
		{ "disk_boot_cmdline", ON_DISK "extra='quiet'\n", "'extra' has no effect", "grub.cfg" },
		{ "disk_boot_pv", "name='a'\nmemory=64\ndisk=['/dev/vdb,raw,xvda,w']\n", "pv guest cannot", "pvh" },
		{ "poweroff", GOOD "on_poweroff='preserve'\n", "on_poweroff 'preserve'", "destroy" },
		{ "reboot", GOOD "on_reboot='rename-restart'\n", "on_reboot 'rename-restart'", "restart or destroy" },
		{ "crash", GOOD "on_crash='coredump-destroy'\n", "xl.cfg:5: on_crash 'coredump-destroy'", "preserve" },
	};

	(void)state;
	check_refused(cases, ARRAY_LEN(cases), ERR_USAGE);
}

static void test_bad_devices(void **state)
{
	static const struct refusal cases[] = {
		{ "qcow2", ROOT_DISK("/dev/vdb,qcow2,xvda,w"), "disk[0]: xl.cfg:5: disk format 'qcow2'", "qemu-img" },
		{ "qdisk", ROOT_DISK("vdev=xvda,backendtype=qdisk,target=/dev/vdb"), "backendtype 'qdisk'", "phy" },
		{ "file", ROOT_DISK("file:/srv/a.img,xvda,w"), "'/srv/a.img' is not a device", "/dev" },
		{ "phy_short", ROOT_DISK("phy:vg0/a,xvda,w"), "vg0/a", "" },
		{ "script", ROOT_DISK("script=block-iscsi,vdev=xvda,target=/dev/vdb"), "option 'script'", "remove" },
		{ "backend", ROOT_DISK("backend=driver,vdev=xvda,target=/dev/vdb"), "option 'backend'", "remove" },
		{ "cdrom", ROOT_DISK("/dev/sr0,raw,xvdc:cdrom,r"), "cdrom", "remove" },
		{ "discard", ROOT_DISK("discard,vdev=xvda,target=/dev/vdb"), "option 'discard'", "remove" },
		{ "direct_io", ROOT_DISK("direct-io-safe,vdev=xvda,target=/dev/vdb"), "direct-io-safe", "remove" },
		{ "colo", ROOT_DISK("colo,vdev=xvda,target=/dev/vdb"), "colo", "remove" },
		{ "no_vdev", ROOT_DISK("target=/dev/vdb"), "no vdev specified", "" },
		{ "no_target", ROOT_DISK("vdev=xvda"), "no target specified", "" },
		{ "access_word", ROOT_DISK("/dev/vdb,raw,xvda,rwx"), "access", "" },
		{ "option_word", ROOT_DISK("colour=red,vdev=xvda,target=/dev/vdb"), "disk[0]: xl.cfg: config", "" },
		{ "ide_name", ROOT_DISK("/dev/vdb,raw,hda,w"), "vdev 'hda'", "xvda" },
		{ "vif_script", VIF("bridge=b,script=vif-route"), "vif[0]: xl.cfg:5: vif option 'script'", "mac" },
		{ "vif_ip", VIF("ip=10.0.0.1"), "vif option 'ip'", "remove 'ip'" },
		{ "vif_rate", VIF("mac=00:16:3e:00:00:01, rate=1Mb/s"), "vif option 'rate'", "remove" },
		{ "vif_no_value", VIF("bridge"), "'bridge' has no value", "" },
		{ "vif_empty_value", VIF("bridge= ,"), "'bridge' has no value", "" },
		{ "vif_twice", VIF("bridge=a,bridge=b"), "'bridge' is set twice", "" },
		{ "second_vif", GOOD "vif=['bridge=a','vifname=x']\n", "vif[1]", "vifname" },
	};

	(void)state;
	check_refused(cases, ARRAY_LEN(cases), ERR_USAGE);
}

static void test_limits(void **state)
{
	AUTO_BUF struct buf keys = { 0 }, vifs = { 0 }, text = { 0 };
	struct refusal cases[2];
	json_t *vm = NULL;
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i <= XL_CFG_KEYS_MAX; i++)
		buf_printf(&keys, "extra += ' '\n");
	buf_printf(&vifs, GOOD "vif=[");
	for (int i = 0; i <= XL_CFG_ITEMS_MAX; i++)
		buf_printf(&vifs, "'',");
	buf_printf(&vifs, "]\n");
	cases[0] = (struct refusal){ "keys", (const char *)keys.p, "more than 64 keys", "" };
	cases[1] = (struct refusal){ "vifs", (const char *)vifs.p, "vif has 65 entries, limit 64", "" };
	check_refused(cases, ARRAY_LEN(cases), ERR_LIMIT);

	/* As long as allowed, then one byte more. */
	buf_printf(&text, GOOD "#");
	while (text.len < XL_CFG_BYTES_MAX)
		buf_put_u8(&text, 'x');
	assert_int_equal(xl_cfg_parse((const char *)text.p, text.len, &vm, &e), 0);
	json_decref(vm);
	vm = NULL;
	buf_put_u8(&text, 'x');
	assert_int_equal(xl_cfg_parse((const char *)text.p, text.len, &vm, &e), -1);
	assert_null(vm);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_non_null(strstr(e.detail, "limit 65536"));
}

/* The text needs no NUL behind, and a NUL inside does not end it. */
static void test_nul(void **state)
{
	static const char text[] = GOOD "\0pci=1\n";
	AUTO_JSON json_t *vm = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(xl_cfg_parse(text, sizeof(GOOD) - 1, &vm, &e), 0);
	assert_int_equal(xl_cfg_parse(text, sizeof(text) - 1, &vm, &e), -1);
	assert_non_null(strstr(e.detail, "byte 0x00"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_made_up),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_bad_syntax),
		cmocka_unit_test(test_unsupported_keys),
		cmocka_unit_test(test_unsupported_values),
		cmocka_unit_test(test_bad_devices),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_nul),
	};

	return check_main(tests);
}
