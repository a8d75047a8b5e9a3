/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuts: power cuts under disk images.
 *
 *	cuts [--format NAME] [--cuts N] [--seed FIRST] [--trace]
 *	cuts --prove				every built-in mistake must be found
 *
 * A seed is a run: an image (of a kind that the format has, with a parent if
 * it is differencing), writes, zeroes, flushes and growth on it, power off at
 * some change of the file, sometimes again while the image is opened after
 * that; then the disk is compared with the model and the image checked, and so
 * on with the same image.  Without --format all formats there are.
 *
 * The last lines are for programs: `count cuts_FORMAT N`, `count lost_flushes N`.
 * Exit status 1 if a run failed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/opt.h"
#include "disk/disk.h"
#include "tests/cuts/cut_blob.h"
#include "tests/cuts/cut_model.h"

enum {
	MIB_SECTORS = 2048,
	ROUNDS_MAX = 5,
	OPS_MAX = 80,			/* in a round */
	PROVE_CUTS = 2000,
	BESIDE_SECTORS = 8,
	TIGHT_BYTES = 12 << 20,		/* more than any one step needs */
	BIG_ONE_IN = 8,			/* runs in which the disk grows past 512 MiB: tables move */
};

/* Mistakes that must be found. */
enum brk { BREAK_NONE, BREAK_LYING_FLUSH, BREAK_NO_SYNC };
static const char *const brk_names[] = { "none", "lying-flush", "no-sync" };

struct subject {
	const char *format;
	uint32_t block_bytes;		/* small ones: many blocks in a small disk */
	const char *kinds[3];
	bool has_sync;			/* metadata that waits for a flush */
};

static const struct subject subjects[] = {
	{ "raw", 0, { "fixed" }, false },
	{ "vhd", 512 << 10, { "fixed", "dynamic", "differencing" }, true },
	{ "vhdx", 1 << 20, { "fixed", "dynamic", "differencing" }, true },
};

struct world {
	const struct subject *sub;
	const struct layer_format *format;
	const char *kind;
	struct cut_blob *leaf, *parent;
	struct cut_model m;
	struct disk *d;
	uint64_t rng, seed;
	enum brk brk;
	bool trace, big, tight;
	uint64_t busy, busy_n;		/* sectors that a request has in flight */
	uint64_t cuts;
	char why[CUT_WHY_BYTES];
};

static bool PRINTF_LIKE(2, 3) failed(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	return false;
}

#define TRACE(w, ...) do { if ((w)->trace) printf(__VA_ARGS__); } while (0)

/* ---- images ---------------------------------------------------------------------------------------- */

static bool differencing(const struct world *w)
{
	return !strcmp(w->kind, "differencing");
}

static bool create(struct world *w, struct cut_blob *c, const char *kind, uint64_t sectors, const uint8_t *parent_id)
{
	struct layer_create how = {
		.bytes = sectors * DISK_SECTOR,
		.kind = kind,
		.block_bytes = strcmp(kind, "fixed") ? w->sub->block_bytes : 0,
		.parent_id = parent_id,
		.parent_name = parent_id ? "base" : NULL,
	};
	struct blob *b;
	struct err e = ERR_INIT;
	int rc;

	cut_blob_reset(c);
	b = cut_blob_open(c, false);
	rc = w->format->create(b, &how, &e);
	blob_close(b);
	return rc < 0 ? failed(w, "create %s: %s", kind, e.detail) : true;
}

static bool open_disk(struct world *w, struct err *e)
{
	struct disk_part parts[2] = { { w->format, cut_blob_open(w->leaf, false) } };
	unsigned n = 1;

	if (differencing(w))
		parts[n++] = (struct disk_part){ w->format, cut_blob_open(w->parent, true) };
	if (disk_open(parts, n, false, &w->d, e) == 0)
		return true;
	for (unsigned i = 0; i < n; i++)
		blob_close(parts[i].blob);
	return failed(w, "open: %s", e->detail);
}

static void close_disk(struct world *w)
{
	struct disk *d = w->d;

	w->d = NULL;		/* write_beside keeps off */
	disk_close(d);
}

static bool put(struct world *w, uint64_t first, uint64_t n, uint32_t stamp)
{
	AUTO_FREE uint8_t *p = mem_alloc(n * DISK_SECTOR);
	int rc;

	cut_model_fill(p, first, n, stamp);
	cut_model_write(&w->m, first, n, stamp);
	w->busy = first;
	w->busy_n = n;
	rc = disk_write(w->d, first * DISK_SECTOR, p, n * DISK_SECTOR);
	w->busy_n = 0;
	return rc && !cut_blob_is_off(w->leaf) ? failed(w, "write: %s", strerror(-rc)) : true;
}

/* A dynamic image with some data, then only read; its values are where the child's begin. */
static bool make_parent(struct world *w, uint64_t sectors, uint8_t id[DISK_ID_BYTES])
{
	struct disk_part part = { .format = w->format };
	struct layer_info info;
	struct err e = ERR_INIT;
	bool ok = true;

	if (!create(w, w->parent, "dynamic", sectors, NULL))
		return false;
	part.blob = cut_blob_open(w->parent, false);
	if (disk_open(&part, 1, false, &w->d, &e) < 0) {
		blob_close(part.blob);
		return failed(w, "open the parent: %s", e.detail);
	}
	for (unsigned i = 0; i < 6 && ok; i++) {
		uint64_t first = cut_below(&w->rng, sectors - 256);

		ok = put(w, first, 1 + cut_below(&w->rng, sectors - first), cut_model_stamp(&w->m));
	}
	if (ok && disk_sync(w->d))
		ok = failed(w, "sync of the parent");
	cut_model_flushed(&w->m, w->m.n);
	disk_info(w->d, &info);
	memcpy(id, info.id, sizeof(info.id));
	close_disk(w);
	return ok;
}

static bool make_images(struct world *w)
{
	uint64_t sectors = MIB_SECTORS + cut_below(&w->rng, 6 * MIB_SECTORS);
	uint8_t id[DISK_ID_BYTES];
	unsigned kinds = 0;

	while (kinds < ARRAY_LEN(w->sub->kinds) && w->sub->kinds[kinds])
		kinds++;
	w->kind = w->sub->kinds[cut_below(&w->rng, kinds)];
	w->tight = cut_below(&w->rng, 2);
	w->big = strcmp(w->kind, "fixed") && cut_below(&w->rng, BIG_ONE_IN) == 0;
	cut_model_reset(&w->m, sectors);
	TRACE(w, "%s %s, %" PRIu64 " sectors\n", w->sub->format, w->kind, sectors);
	if (!differencing(w))
		return create(w, w->leaf, w->kind, sectors, NULL);
	return make_parent(w, cut_below(&w->rng, 2) ? sectors : sectors / 2, id) &&
	       create(w, w->leaf, w->kind, sectors, id);
}

/* ---- what happens to a disk ------------------------------------------------------------------------- */

/* Often at a border of blocks, or where something was before. */
static uint64_t some_sector(struct world *w)
{
	uint64_t at = cut_below(&w->rng, w->m.sectors), unit = MIB_SECTORS / 2;

	switch (cut_below(&w->rng, 4)) {
	case 0:
		at = at / unit * unit + cut_below(&w->rng, 16);
		at -= at < 8 ? 0 : 8;
		break;
	case 1:
		at %= 4 * unit;
		break;
	case 2:
		at = w->m.sectors - 1 - cut_below(&w->rng, 64);
		break;
	default:
		break;
	}
	return at < w->m.sectors ? at : w->m.sectors - 1;
}

static uint64_t some_length(struct world *w, uint64_t first)
{
	static const uint64_t most[] = { 1, 8, 8, 64, 64, 256, 2 * MIB_SECTORS };
	uint64_t n = 1 + cut_below(&w->rng, most[cut_below(&w->rng, ARRAY_LEN(most))]);

	return n < w->m.sectors - first ? n : w->m.sectors - first;
}

static bool do_write(struct world *w)
{
	uint64_t first = some_sector(w), n = some_length(w, first);
	uint32_t stamp = cut_model_stamp(&w->m);

	TRACE(w, "write %u: %" PRIu64 "+%" PRIu64 "\n", stamp, first, n);
	return put(w, first, n, stamp);
}

static bool do_zero(struct world *w)
{
	uint64_t first = some_sector(w), n = some_length(w, first);
	int rc;

	TRACE(w, "zero: %" PRIu64 "+%" PRIu64 "\n", first, n);
	cut_model_write(&w->m, first, n, 0);
	w->busy = first;
	w->busy_n = n;
	rc = disk_zero(w->d, first * DISK_SECTOR, n * DISK_SECTOR);
	w->busy_n = 0;
	return rc && !cut_blob_is_off(w->leaf) ? failed(w, "zero: %s", strerror(-rc)) : true;
}

static bool do_flush(struct world *w)
{
	unsigned n = w->m.n;
	int rc = w->brk == BREAK_NO_SYNC ? blob_flush(disk_leaf(w->d)) : disk_sync(w->d);

	TRACE(w, "flush%s\n", rc ? " not ended" : "");
	if (rc)
		return cut_blob_is_off(w->leaf) ? true : failed(w, "flush: %s", strerror(-rc));
	cut_model_flushed(&w->m, n);
	return true;
}

static bool do_grow(struct world *w)
{
	uint64_t to = w->m.sectors + 1 + cut_below(&w->rng, 3 * MIB_SECTORS);
	struct err e = ERR_INIT;

	if (w->big && to < 520 * MIB_SECTORS && cut_below(&w->rng, 2))
		to += 512 * MIB_SECTORS;
	if (to > CUT_SECTORS_MAX || (!strcmp(w->kind, "fixed") && to > 40 * MIB_SECTORS))
		return true;
	TRACE(w, "grow to %" PRIu64 "\n", to);
	cut_model_grow(&w->m, to);
	if (disk_resize(w->d, to * DISK_SECTOR, &e) < 0)
		return cut_blob_is_off(w->leaf) ? true : failed(w, "grow: %s", e.detail);
	cut_model_grown(&w->m);
	return true;
}

static bool do_look(struct world *w)
{
	return cut_model_compare(&w->m, w->d, true, w->why);
}

/* A place of the leaf, n sectors from *first on; rather one that reads as the parent's still. */
static bool place_beside(struct world *w, uint64_t *first, struct disk_run *run)
{
	uint64_t sectors = disk_bytes(w->d) / DISK_SECTOR, n;
	struct disk_run now;

	for (unsigned tries = 8; tries--;) {
		*first = cut_below(&w->rng, sectors);
		n = BESIDE_SECTORS < sectors - *first ? BESIDE_SECTORS : sectors - *first;
		disk_map(w->d, *first * DISK_SECTOR, n * DISK_SECTOR, true, run);
		disk_map(w->d, *first * DISK_SECTOR, n * DISK_SECTOR, false, &now);
		if (*first < w->busy + w->busy_n && w->busy < *first + n)
			continue;
		if (run->where == LAYER_DATA && (!tries || now.blob != run->blob))
			return true;
	}
	return false;
}

/* Beside a flush that another step waits for, on the I/O thread.  The cut that tells whether the step minds comes
 * soon after. */
static void write_beside(void *arg)
{
	struct world *w = arg;
	uint8_t p[BESIDE_SECTORS * DISK_SECTOR];
	struct disk_run run;
	uint64_t first, n;
	uint32_t stamp;

	if (!w->d || cut_below(&w->rng, 2) || !place_beside(w, &first, &run))
		return;
	n = run.bytes / DISK_SECTOR;
	stamp = cut_model_stamp(&w->m);
	TRACE(w, "beside: write %u: %" PRIu64 "+%" PRIu64 "\n", stamp, first, n);
	cut_model_fill(p, first, n, stamp);
	cut_model_write(&w->m, first, n, stamp);
	if (blob_write(run.blob, run.off, p, run.bytes) == 0)
		disk_written(w->d, first * DISK_SECTOR, run.bytes);
	if (!cut_blob_is_off(w->leaf) && cut_below(&w->rng, 3) == 0)
		cut_blob_arm(w->leaf, 1 + (unsigned)cut_below(&w->rng, 3));
}

static bool do_something(struct world *w)
{
	uint64_t dice = cut_below(&w->rng, 100);

	/* No room for much at once: files grow in small steps. */
	cut_blob_limit(w->leaf, w->tight ? cut_blob_bytes(w->leaf) + TIGHT_BYTES : CUT_BYTES_MAX);

	if (w->big && w->m.sectors < 512 * MIB_SECTORS && dice < 30)
		return do_grow(w);
	if (dice < 55)
		return do_write(w);
	if (dice < 70)
		return do_zero(w);
	if (dice < 90)
		return do_flush(w);
	return dice < 97 ? do_grow(w) : do_look(w);
}

/* ---- cuts -------------------------------------------------------------------------------------------- */

static void cut(struct world *w)
{
	cut_blob_off(w->leaf);	/* before close: it may write */
	close_disk(w);
	cut_blob_cut(w->leaf, &w->rng);
	w->cuts++;
	TRACE(w, "-- cut\n");
}

/* Power goes again while what the first cut left is put in order. */
static bool cut_while_opening(struct world *w)
{
	struct err e = ERR_INIT;

	cut_blob_arm(w->leaf, 1 + (unsigned)cut_below(&w->rng, 8));
	if (!open_disk(w, &e) && !cut_blob_is_off(w->leaf))
		return false;
	cut(w);
	return true;
}

static void say_problem(void *arg, bool fixed, const char *text)
{
	struct world *w = arg;

	TRACE(w, "check: %s%s\n", text, fixed ? " (fixed)" : "");
	if (!fixed)
		failed(w, "check: %.200s", text);
}

static bool look_over(struct world *w)
{
	struct err e = ERR_INIT;
	int left = disk_check(w->d, true, say_problem, w, &e);

	if (left < 0)
		return failed(w, "check: %s", e.detail);
	return left == 0;
}

static bool one_round(struct world *w)
{
	struct err e = ERR_INIT;

	cut_blob_lie(w->leaf, w->brk == BREAK_LYING_FLUSH);
	cut_blob_arm(w->leaf, 1 + (unsigned)cut_below(&w->rng, cut_below(&w->rng, 2) ? 10 : 120));
	cut_blob_on_flush(w->leaf, write_beside, w);
	for (unsigned i = 0; i < OPS_MAX && !cut_blob_is_off(w->leaf); i++)
		if (!do_something(w))
			return false;
	cut_blob_on_flush(w->leaf, NULL, NULL);
	cut(w);
	if (cut_below(&w->rng, 4) == 0 && !cut_while_opening(w))
		return false;
	return open_disk(w, &e) && cut_model_compare(&w->m, w->d, false, w->why) && look_over(w) &&
	       cut_model_compare(&w->m, w->d, true, w->why);
}

/* Without a cut nothing may be lost that was synced, and close leaves the image in order. */
static bool end_cleanly(struct world *w)
{
	struct err e = ERR_INIT;

	cut_blob_lie(w->leaf, false);
	if (!do_write(w) || !do_flush(w))
		return false;
	close_disk(w);
	return open_disk(w, &e) && cut_model_compare(&w->m, w->d, true, w->why) && look_over(w);
}

static bool run(struct world *w, uint64_t seed)
{
	unsigned rounds;
	struct err e = ERR_INIT;
	bool ok;

	w->seed = seed;
	w->busy_n = 0;
	w->rng = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = 0; i < 8; i++)
		cut_rand(&w->rng);
	rounds = 1 + (unsigned)cut_below(&w->rng, ROUNDS_MAX);
	ok = make_images(w) && open_disk(w, &e);
	while (ok && rounds--)
		ok = one_round(w);
	ok = ok && end_cleanly(w);
	close_disk(w);
	return ok;
}

/* ---- the program -------------------------------------------------------------------------------------- */

/* True when all runs were good. */
static bool run_many(struct world *w, uint64_t seed, uint64_t cuts)
{
	w->cuts = 0;
	for (; w->cuts < cuts; seed++)
		if (!run(w, seed))
			return false;
	return true;
}

static bool choose(struct world *w, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(subjects); i++)
		if (!strcmp(name, subjects[i].format))
			w->sub = &subjects[i];
	w->format = w->sub ? disk_format(name) : NULL;
	return w->format != NULL;
}

static bool test_format(struct world *w, const char *name, uint64_t seed, uint64_t cuts)
{
	bool ok;

	choose(w, name);
	ok = run_many(w, seed, cuts);
	if (!ok)
		printf("seed %" PRIu64 ": %s %s: %s\nagain: build/bin/cuts --format %s --seed %" PRIu64
		       " --cuts 1 --trace\n", w->seed, name, w->kind, w->why, name, w->seed);
	printf("count cuts_%s %" PRIu64 "\n", name, w->cuts);
	return ok;
}

static int test(struct world *w, const char *only, uint64_t seed, uint64_t cuts)
{
	unsigned bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
		const char *name = subjects[i].format;

		if (only ? !strcmp(only, name) : disk_format(name) != NULL)
			bad += !test_format(w, name, seed, cuts);
	}
	printf("count lost_flushes %u\n", bad);
	return bad != 0;
}

/* The harness is worth what it finds. */
static int prove(struct world *w)
{
	unsigned found = 0, all = 0;

	for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
		if (!choose(w, subjects[i].format))
			continue;
		for (unsigned b = BREAK_NONE + 1; b < ARRAY_LEN(brk_names); b++) {
			bool hidden;

			if (b == BREAK_NO_SYNC && !w->sub->has_sync)
				continue;
			w->brk = (enum brk)b;
			hidden = run_many(w, 1, PROVE_CUTS);
			printf("break %-12s %-5s %s: %s\n", brk_names[b], w->sub->format, hidden ? "any" : w->kind,
			       hidden ? "NOT FOUND" : w->why);
			found += !hidden;
			all++;
		}
	}
	printf("count cut_breaks_found %u\ncount cut_breaks %u\n", found, all);
	return found != all || !all;
}

int main(int argc, char **argv)
{
	const char *format = NULL;
	uint64_t cuts = 300, seed = 1;
	bool trace = false, proof = false;
	const struct opt opts[] = {
		{ "format", OPT_TEXT, &format, "NAME", "raw, vhd or vhdx; without it all there are" },
		{ "cuts", OPT_U64, &cuts, "N", "power cuts of each format, at least" },
		{ "seed", OPT_U64, &seed, "N", "of the first run" },
		{ "trace", OPT_FLAG, &trace, NULL, "tells what happens" },
		{ "prove", OPT_FLAG, &proof, NULL, "every built-in mistake must be found" },
		{ 0 }
	};
	struct world *w = mem_alloc(sizeof(*w));
	struct err e = ERR_INIT;
	int n = 0, rc = 2;

	cut_model_init(&w->m);
	w->leaf = cut_blob_new();
	w->parent = cut_blob_new();
	if (opt_parse(opts, argc, argv, &n, &e) < 0 || n) {
		fprintf(stderr, "cuts: %s\n", n ? "takes no arguments" : e.detail);
		opt_help(opts, stderr);
	} else if (format && !choose(w, format)) {
		fprintf(stderr, "cuts: format '%s' is not there\n", format);
	} else {
		w->trace = trace;
		rc = proof ? prove(w) : test(w, format, seed, cuts);
	}
	cut_blob_free(w->parent);
	cut_blob_free(w->leaf);
	cut_model_fini(&w->m);
	free(w);
	return rc;
}
