/* SPDX-License-Identifier: Apache-2.0 */
/* Which disk becomes the data volume: every way to be wrong is refused with words. */
#include <stdio.h>
#include <string.h>

#include "init/volume.h"
#include "tests/unit/check.h"

enum { GIB = 1 << 30 };

static struct disks ds;
static struct host_cfg cfg;

static struct disk *add(const char *name, const char *serial, const char *fs, const char *label)
{
	struct disk *d = &ds.v[ds.n++];

	*d = (struct disk){ .bytes = GIB, .label = { .fs = fs } };
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->serial, sizeof(d->serial), "%s", serial);
	snprintf(d->ids[0], sizeof(d->ids[0]), "virtio-%s", serial);
	snprintf(d->label.text, sizeof(d->label.text), "%s", label);
	return d;
}

/* A boot disk, the shared LUN, and the data disk that is returned. */
static struct disk *lab(void)
{
	memset(&ds, 0, sizeof(ds));
	host_cfg_init(&cfg);
	cfg.data_format = true;
	add("sr0", "QM00005", "iso9660", "HVAPI-ISO");
	add("vda", "cfg", "vfat", "HVAPI");
	add("vdc", "lun0", "", "");
	return add("vdb", "hvdata-hv1", "", "");
}

static void want(enum err_code code, enum volume_plan plan, const char *name, const char *says)
{
	const struct disk *d = NULL;
	enum volume_plan p = VOLUME_MOUNT;
	struct err e = ERR_INIT;
	int rc = volume_choose_data(&ds, &cfg, &p, &d, &e);

	if (rc != (code ? -1 : 0) || (rc < 0 && e.code != code))
		fail_msg("%d %s: %s", rc, err_name(e.code), e.detail);
	if (rc < 0) {
		if (!strstr(e.detail, says) && !strstr(e.remedy, says))
			fail_msg("'%s' / '%s' does not say '%s'", e.detail, e.remedy, says);
		return;
	}
	assert_int_equal(p, plan);
	assert_string_equal(d->name, name);
}

static void finds_by_label(void **state)
{
	struct disk *d = lab();

	(void)state;
	d->label = (struct label){ .fs = "xfs", .text = "HVDATA" };
	cfg.data_format = false;
	want(ERR_NONE, VOLUME_MOUNT, "vdb", "");
	add("vdd", "other", "xfs", "HVDATA");
	want(ERR_REFUSED, VOLUME_MOUNT, NULL, "vdb and vdd");
	snprintf(cfg.data_disk, sizeof(cfg.data_disk), "other");
	want(ERR_NONE, VOLUME_MOUNT, "vdd", "");
}

static void makes_on_the_only_candidate(void **state)
{
	(void)state;
	lab();
	want(ERR_NONE, VOLUME_MAKE, "vdb", "");
	add("vdd", "hvdata-2", "", "");
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "vdb and vdd");
	snprintf(cfg.data_disk, sizeof(cfg.data_disk), "/dev/disk/by-id/virtio-hvdata-2");
	want(ERR_NONE, VOLUME_MAKE, "vdd", "");
	snprintf(cfg.data_disk, sizeof(cfg.data_disk), "/dev/vdb");
	want(ERR_NONE, VOLUME_MAKE, "vdb", "");
	snprintf(cfg.data_disk, sizeof(cfg.data_disk), "nobody");
	want(ERR_NOT_FOUND, VOLUME_MAKE, NULL, "host.json");
}

static void never_without_leave(void **state)
{
	struct disk *d = lab();

	(void)state;
	cfg.data_format = false;
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "format_if_empty");
	cfg.data_format = true;
	d->read_only = true;
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "read-only");
	d->read_only = false;
	d->in_use = true;
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "partitions");
	d->in_use = false;
	d->bytes = VOLUME_DATA_BYTES_MIN - 1;
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "MiB");
	d->bytes = GIB;
	d->label.fs = "vfat";
	want(ERR_REFUSED, VOLUME_MAKE, NULL, "vfat");
	d->label.fs = "";
	d->part = 1;
	want(ERR_NOT_FOUND, VOLUME_MAKE, NULL, "hvdata");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_by_label),
		cmocka_unit_test(makes_on_the_only_candidate),
		cmocka_unit_test(never_without_leave),
	};

	return check_main(tests);
}
