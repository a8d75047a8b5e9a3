/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts and failing calls under a VHDX that is written to: whatever call
 * is the last, and whichever unflushed sectors arrive, the image opens and
 * every flushed write is there.
 */
#include "tests/unit/check.h"

#include <stdio.h>

#include "tests/unit/vhdx_rig.h"

enum { DISK = 8 << 20, CUTS = 600, WRITE_MAX = 96 };
/* The soak writes to zones across the borders of chunks, so that an entry of the log has several sectors that belong
 * together and the file grows often. */
enum { ZONES = 24, ZONE_SECTORS = 256, SECTORS = ZONES * ZONE_SECTORS, SOAK_BLOCK = 8 << 20 };
#define CHUNK (4ull << 30)
#define SOAK_DISK ((ZONES + 1) * CHUNK)

struct soak {
	struct rig *k;
	const char *kind;
	uint64_t seed;
	size_t op;			/* the last that want() judged, and how */
	bool verdict;
	uint32_t serial, synced;	/* of the last write; of the last that a sync covers */
	uint32_t durable[SECTORS];	/* what the sector must have if nothing newer arrived; 0: never written */
	uint32_t newest[SECTORS];
	uint8_t buf[WRITE_MAX * DISK_SECTOR];
};

static uint32_t dice(struct soak *s, uint32_t n)
{
	s->seed = s->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(s->seed >> 33) % n;
}

/* What arrives of the sectors that were not flushed: half of them; nearly all; or whole writes, or not at all. */
static bool half(void *arg)
{
	return dice(arg, 2);
}

static bool most(void *arg)
{
	return dice(arg, 40);
}

static bool whole(void *arg)
{
	struct soak *s = arg;

	if (s->op != s->k->settling)
		s->verdict = dice(s, 2);
	s->op = s->k->settling;
	return s->verdict;
}

static void cut(struct soak *s)
{
	static bool (*const ways[])(void *arg) = { half, most, whole, whole, rig_nothing };

	s->op = SIZE_MAX;
	rig_cut(s->k, ways[dice(s, ARRAY_LEN(ways))], s);
}

/* A sector says who it is. */
static void stamp(uint8_t *p, uint32_t sector, uint32_t serial)
{
	for (int i = 0; i < DISK_SECTOR / 8; i++) {
		vhdx_put_le32(p + 8 * i, sector);
		vhdx_put_le32(p + 8 * i + 4, serial);
	}
}

static uint64_t place_of(uint32_t sector)
{
	return (sector / ZONE_SECTORS + 1) * CHUNK + (uint64_t)(sector % ZONE_SECTORS) * DISK_SECTOR -
	       ZONE_SECTORS / 2 * DISK_SECTOR;
}

static int put(struct soak *s, const struct layer *l)
{
	uint32_t n = 1 + dice(s, WRITE_MAX), at = dice(s, ZONES) * ZONE_SECTORS + dice(s, ZONE_SECTORS - n);
	int rc;

	s->serial++;
	for (uint32_t i = 0; i < n; i++) {
		stamp(s->buf + i * DISK_SECTOR, at + i, s->serial);
		s->newest[at + i] = s->serial;
	}
	rc = rig_put(s->k, l, place_of(at), s->buf, (uint64_t)n * DISK_SECTOR);
	return rc;
}

static int sync_all(struct soak *s, const struct layer *l)
{
	int rc = rig_sync(s->k, l);

	if (rc)
		return rc;
	s->synced = s->serial;
	memcpy(s->durable, s->newest, sizeof(s->durable));
	return 0;
}

/* Sector i after a cut: what was durable, or something written to it since. */
static void look_at(struct soak *s, uint32_t i, const uint8_t *p, uint64_t seed)
{
	uint8_t want[DISK_SECTOR], never = strcmp(s->kind, "differencing") ? 0 : RIG_BELOW;
	uint32_t serial = (uint32_t)p[4] | (uint32_t)p[5] << 8 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 24;

	memset(want, never, sizeof(want));
	if (!memcmp(p, want, sizeof(want))) {
		if (s->durable[i])
			fail_msg("seed %llu: sector %u: write %u is lost", (unsigned long long)seed, i, s->durable[i]);
		s->newest[i] = 0;
		return;
	}
	stamp(want, i, serial);
	if (memcmp(p, want, sizeof(want)) || serial > s->serial || (serial <= s->synced && serial != s->durable[i]))
		fail_msg("seed %llu: sector %u: neither write %u nor a newer one, but %02x%02x%02x%02x %u",
			 (unsigned long long)seed, i, s->durable[i], p[3], p[2], p[1], p[0], serial);
	s->durable[i] = s->newest[i] = serial;
}

static void look_over(struct soak *s, const struct layer *l, uint64_t seed)
{
	uint8_t zone[ZONE_SECTORS * DISK_SECTOR];
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < SECTORS; i++) {
		uint8_t *p = zone + i % ZONE_SECTORS * DISK_SECTOR;

		if (p == zone)
			assert_int_equal(rig_get(s->k, l, place_of(i), zone, sizeof(zone)), 0);
		look_at(s, i, p, seed);
	}
	s->synced = s->serial;
	if (l->ops->check(l->l, true, NULL, NULL, &e) != 0)
		fail_msg("seed %llu: check finds something: %s", (unsigned long long)seed, e.detail);
}

/* Opens, which may itself be cut short a few times. */
static struct layer reopen(struct soak *s)
{
	struct layer l = { 0 };
	struct err e = ERR_INIT;

	for (int tries = 0; tries < 3; tries++) {
		s->k->fail_in = 1 + (int)dice(s, 12);
		if (vhdx_format.open(s->k->b, &l, &e) == 0)
			l.ops->close(l.l);
		cut(s);
	}
	return rig_open(s->k);
}

static void soak(struct rig *k, const char *kind, uint64_t first_seed, int cuts)
{
	struct soak *s = mem_alloc(sizeof(*s));
	struct layer l;

	*s = (struct soak){ .k = k, .kind = kind, .seed = first_seed };
	rig_create(k, kind, SOAK_DISK, SOAK_BLOCK, 0);
	l = rig_open(k);
	for (int i = 0; i < cuts; i++) {
		uint64_t seed = s->seed;
		int rc = 0;

		k->fail_in = 1 + (int)dice(s, 90);
		while (!rc)
			rc = dice(s, 4) ? put(s, &l) : sync_all(s, &l);
		if (rc != -EIO)
			fail_msg("seed %llu: error %d", (unsigned long long)seed, rc);
		l.ops->close(l.l);
		cut(s);
		l = reopen(s);
		look_over(s, &l, seed);
		/* A new image every so often: a full one allocates nothing any more. */
		if (i % 8 == 7) {
			l.ops->close(l.l);
			rig_file_size(&k->now, 0);
			rig_cut(k, rig_nothing, NULL);
			rig_file_size(&k->kept, 0);
			rig_file_size(&k->now, 0);
			rig_blob(k, false);
			memset(s->durable, 0, sizeof(s->durable));
			memset(s->newest, 0, sizeof(s->newest));
			rig_create(k, kind, SOAK_DISK, SOAK_BLOCK, 0);
			l = rig_open(k);
		}
	}
	l.ops->close(l.l);
	print_message("%s: %d cuts, %u writes of the guest\n", kind, cuts, s->serial);
	free(s);
}

static void cuts_of_a_dynamic_one(void **state)
{
	soak(*state, "dynamic", 1, CUTS);
}

static void cuts_of_a_differencing_one(void **state)
{
	soak(*state, "differencing", 2, CUTS);
}

/* Cuts at every call of a growth: old size or new size, and what was there is there. */
static void cuts_of_a_resize(void **state)
{
	struct rig *k = *state;
	uint64_t seed = 7;
	struct soak s = { .k = k, .seed = seed };
	uint8_t p[DISK_SECTOR], got[DISK_SECTOR];

	stamp(p, 5, 9);
	for (int turn = 0; turn < 160; turn++) {
		int calls = 1 + turn / 4;
		struct err e = ERR_INIT;
		struct layer_info info;
		struct layer l;
		int rc;

		rig_file_size(&k->now, 0);
		rig_file_size(&k->kept, 0);
		rig_blob(k, false);
		rig_create(k, turn % 2 ? "dynamic" : "fixed", 3 * RIG_BLOCK, RIG_BLOCK, 0);
		l = rig_open(k);
		assert_int_equal(rig_put(k, &l, 5 * DISK_SECTOR, p, sizeof(p)), 0);
		assert_int_equal(rig_sync(k, &l), 0);
		k->fail_in = calls;
		rc = l.ops->resize(l.l, 9 * RIG_BLOCK, &e);
		l.ops->close(l.l);
		cut(&s);
		l = rig_open(k);
		l.ops->info(l.l, &info);
		if (info.bytes != 9 * RIG_BLOCK && (rc == 0 || info.bytes != 3 * RIG_BLOCK))
			fail_msg("%d calls: %llu bytes", calls, (unsigned long long)info.bytes);
		assert_int_equal(rig_get(k, &l, 5 * DISK_SECTOR, got, sizeof(got)), 0);
		assert_memory_equal(got, p, sizeof(p));
		assert_int_equal(l.ops->check(l.l, true, NULL, NULL, &e), 0);
		assert_int_equal(l.ops->resize(l.l, 12 * RIG_BLOCK, &e), 0);
		assert_int_equal(rig_get(k, &l, 12 * RIG_BLOCK - DISK_SECTOR, got, sizeof(got)), 0);
		assert_int_equal(got[0], 0);
		l.ops->close(l.l);
	}
}

static bool no_sizes(void *arg)
{
	struct rig *k = arg;

	return !k->log[k->settling].size;
}

/* The file's length is the last thing to arrive: no table or log entry may count on it before it did. */
static void sizes_arrive_last(void **state)
{
	struct rig *k = *state;
	uint8_t p[DISK_SECTOR] = { 1 };

	for (int calls = 1, all = 0; !all; calls++) {
		struct err e = ERR_INIT;
		struct layer l;

		rig_file_size(&k->now, 0);
		rig_file_size(&k->kept, 0);
		rig_blob(k, false);
		rig_create(k, "dynamic", 192 * RIG_BLOCK, RIG_BLOCK, 0);
		l = rig_open(k);
		assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
		k->fail_in = calls;
		all = l.ops->alloc(l.l, RIG_BLOCK, 150 * RIG_BLOCK) == 0;
		assert_true(all ? calls > 10 : calls < 30);
		l.ops->close(l.l);
		rig_cut(k, no_sizes, k);
		if (vhdx_format.open(k->b, &l, &e) < 0)
			fail_msg("%d calls: %s", calls, e.detail);
		l.ops->close(l.l);
	}
}

/* A full file system: what fits is allocated, the rest says so, and later it goes on. */
static void no_space(void **state)
{
	struct rig *k = *state;
	uint8_t p[DISK_SECTOR] = { 1 };
	struct layer l;
	uint64_t off;
	int rc = 0;

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 0);
	k->bytes_max = k->now.bytes + 5 * RIG_BLOCK;
	l = rig_open(k);
	for (off = 0; off < DISK && !rc; off += RIG_BLOCK)
		rc = rig_put(k, &l, off, p, sizeof(p));
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(off, 6 * RIG_BLOCK);
	k->bytes_max += 10ull * RIG_BLOCK;
	assert_int_equal(rig_put(k, &l, off - RIG_BLOCK, p, sizeof(p)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	l.ops->close(l.l);
}

/* What another program left behind the last block does not come to light in a new one. */
static void garbage_at_the_end(void **state)
{
	struct rig *k = *state;
	uint8_t p[DISK_SECTOR], got[DISK_SECTOR], zeroes[DISK_SECTOR] = { 0 };
	struct layer l;
	uint64_t end;

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 0);
	end = k->now.bytes;
	memset(p, 0x55, sizeof(p));
	rig_file_size(&k->now, end + 3 * RIG_BLOCK);
	rig_file_size(&k->kept, end + 3 * RIG_BLOCK);
	for (uint64_t off = end; off < end + 3 * RIG_BLOCK; off += sizeof(p))
		rig_poke(k, off, p, sizeof(p));
	rig_blob(k, false);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, RIG_BLOCK, p, sizeof(p)), 0);
	for (uint64_t off = RIG_BLOCK + sizeof(p); off < 2 * RIG_BLOCK; off += sizeof(p)) {
		assert_int_equal(rig_get(k, &l, off, got, sizeof(got)), 0);
		assert_memory_equal(got, zeroes, sizeof(got));
	}
	l.ops->close(l.l);
}

/* After a failed table write nothing is allocated any more, reads go on, and reopening puts it right. */
static void failed_table_write(void **state)
{
	struct rig *k = *state;
	uint8_t p[DISK_SECTOR] = { 1 }, got[DISK_SECTOR];
	struct layer l;

	rig_create(k, "dynamic", DISK, RIG_BLOCK, 0);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 0, p, sizeof(p)), 0);
	assert_int_equal(rig_sync(k, &l), 0);
	k->fail_in = 1;
	assert_int_equal(rig_put(k, &l, RIG_BLOCK, p, sizeof(p)), -EIO);
	k->fail_in = -1;
	assert_int_equal(rig_put(k, &l, 2 * RIG_BLOCK, p, sizeof(p)), -EIO);
	assert_int_equal(rig_get(k, &l, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, p, sizeof(p));
	l.ops->close(l.l);
	rig_blob(k, false);
	l = rig_open(k);
	assert_int_equal(rig_put(k, &l, 2 * RIG_BLOCK, p, sizeof(p)), 0);
	l.ops->close(l.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cuts_of_a_dynamic_one, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(cuts_of_a_differencing_one, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(cuts_of_a_resize, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(sizes_arrive_last, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(no_space, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(garbage_at_the_end, rig_up, rig_down),
		cmocka_unit_test_setup_teardown(failed_table_write, rig_up, rig_down),
	};

	return check_main(tests);
}
