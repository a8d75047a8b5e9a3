/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model is a number per sector and the list of writes since the last flush.
 * Comparing goes by the disk's runs: what it says is zero needs no reading.
 */
#include "tests/cuts/cut_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { CHUNK_SECTORS = 512 };
#define NOT_OURS UINT32_MAX		/* bytes that no write made */

void cut_model_init(struct cut_model *m)
{
	*m = (struct cut_model){ .settled = mem_alloc(CUT_SECTORS_MAX * sizeof(uint32_t)) };
}

void cut_model_fini(struct cut_model *m)
{
	free(m->settled);
	free(m->ops);
}

void cut_model_reset(struct cut_model *m, uint64_t sectors)
{
	memset(m->settled, 0, m->sectors * sizeof(uint32_t));
	m->sectors = m->sectors_min = sectors;
	m->n = 0;
	m->last_stamp = 0;
}

uint32_t cut_model_stamp(struct cut_model *m)
{
	return ++m->last_stamp;
}

void cut_model_write(struct cut_model *m, uint64_t first, uint64_t n, uint32_t stamp)
{
	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 64;
		m->ops = mem_realloc(m->ops, m->room * sizeof(*m->ops));
	}
	m->ops[m->n++] = (struct cut_op){ first, n, stamp };
}

void cut_model_flushed(struct cut_model *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (uint64_t s = 0; s < m->ops[i].n; s++)
			m->settled[m->ops[i].first + s] = m->ops[i].stamp;
	m->n -= n;
	if (m->n)
		memmove(m->ops, m->ops + n, m->n * sizeof(*m->ops));
}

void cut_model_grow(struct cut_model *m, uint64_t sectors) { m->sectors = sectors; }
void cut_model_grown(struct cut_model *m) { m->sectors_min = m->sectors; }

/* ---- bytes ----------------------------------------------------------------------------------------- */

static uint64_t word(uint32_t stamp, uint64_t sector, unsigned i)
{
	uint64_t v = (uint64_t)stamp << 32 | (uint32_t)sector;

	return i ? (v + i) * 0x9e3779b97f4a7c15ull : v;
}

void cut_model_fill(uint8_t *p, uint64_t first, uint64_t n, uint32_t stamp)
{
	if (!stamp)
		memset(p, 0, n * DISK_SECTOR);
	for (uint64_t s = 0; s < n && stamp; s++)
		for (unsigned i = 0; i < DISK_SECTOR / 8; i++) {
			uint64_t v = word(stamp, first + s, i);

			memcpy(p + s * DISK_SECTOR + 8 * i, &v, 8);
		}
}

static uint32_t stamp_of(const uint8_t *p, uint64_t sector)
{
	uint8_t want[DISK_SECTOR];
	uint64_t v;

	memcpy(&v, p, 8);
	cut_model_fill(want, sector, 1, (uint32_t)(v >> 32));
	return memcmp(p, want, sizeof(want)) ? NOT_OURS : (uint32_t)(v >> 32);
}

/* ---- comparing ------------------------------------------------------------------------------------- */

struct compare {
	struct cut_model *m;
	bool live;
	char *why;
};

static bool may_hold(const struct compare *k, uint64_t sector, uint32_t stamp)
{
	const struct cut_model *m = k->m;

	for (unsigned i = m->n; i-- > 0;) {
		const struct cut_op *o = &m->ops[i];

		if (sector < o->first || sector >= o->first + o->n)
			continue;
		if (o->stamp == stamp)
			return true;
		if (k->live)
			return false;
	}
	return m->settled[sector] == stamp;
}

static void name_stamp(char *out, size_t n, uint32_t stamp)
{
	if (stamp == NOT_OURS)
		snprintf(out, n, "bytes that no write made");
	else if (stamp)
		snprintf(out, n, "write %u", stamp);
	else
		snprintf(out, n, "zeroes");
}

static bool take(const struct compare *k, uint64_t sector, uint32_t stamp)
{
	char has[32], flushed[32];

	if (!may_hold(k, sector, stamp)) {
		name_stamp(has, sizeof(has), stamp);
		name_stamp(flushed, sizeof(flushed), k->m->settled[sector]);
		snprintf(k->why, CUT_WHY_BYTES, "sector %" PRIu64 " of %" PRIu64 " holds %s; flushed was %s", sector,
			 k->m->sectors, has, flushed);
		return false;
	}
	return true;
}

static bool compare_zero(const struct compare *k, uint64_t first, uint64_t n)
{
	for (uint64_t s = first; s < first + n; s++)
		if (!take(k, s, 0))
			return false;
	return true;
}

static bool compare_data(const struct compare *k, struct disk *d, uint64_t first, uint64_t n, uint32_t *found)
{
	AUTO_FREE uint8_t *p = mem_alloc(n * DISK_SECTOR);
	int rc = disk_read(d, first * DISK_SECTOR, p, n * DISK_SECTOR);

	if (rc) {
		snprintf(k->why, CUT_WHY_BYTES, "read of sector %" PRIu64 ": %s", first, strerror(-rc));
		return false;
	}
	for (uint64_t s = 0; s < n; s++) {
		found[first + s] = stamp_of(p + s * DISK_SECTOR, first + s);
		if (!take(k, first + s, found[first + s]))
			return false;
	}
	return true;
}

static bool compare_all(const struct compare *k, struct disk *d, uint64_t sectors, uint32_t *found)
{
	struct disk_run run;

	for (uint64_t s = 0, n; s < sectors; s += n) {
		disk_map(d, s * DISK_SECTOR, (sectors - s) * DISK_SECTOR, false, &run);
		n = run.bytes / DISK_SECTOR;
		if (run.where == LAYER_DATA && n > CHUNK_SECTORS)
			n = CHUNK_SECTORS;
		if (!(run.where == LAYER_DATA ? compare_data(k, d, s, n, found) : compare_zero(k, s, n)))
			return false;
	}
	return true;
}

bool cut_model_compare(struct cut_model *m, struct disk *d, bool live, char why[CUT_WHY_BYTES])
{
	struct compare k = { m, live, why };
	uint64_t sectors = disk_bytes(d) / DISK_SECTOR;
	AUTO_FREE uint32_t *found = mem_alloc(CUT_SECTORS_MAX * sizeof(uint32_t));

	if (sectors < (live ? m->sectors : m->sectors_min) || sectors > m->sectors) {
		snprintf(why, CUT_WHY_BYTES, "size is %" PRIu64 " sectors; durable was %" PRIu64 ", asked for %" PRIu64,
			 sectors, m->sectors_min, m->sectors);
		return false;
	}
	if (!compare_all(&k, d, sectors, found))
		return false;
	if (live)
		return true;		/* nothing has become durable */
	memcpy(m->settled, found, sectors * sizeof(uint32_t));
	m->n = 0;
	m->sectors = m->sectors_min = sectors;
	return true;
}
