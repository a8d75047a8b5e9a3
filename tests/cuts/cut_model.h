/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may hold after a power cut: each sector the value that it had
 * when the last flush ended, or one that was written since; the size the last
 * one that was durable, or one on the way to what was asked since.
 *
 * A value is the number of the write that made it (a stamp); 0 is zeroes.
 */
#ifndef TESTS_CUTS_CUT_MODEL_H
#define TESTS_CUTS_CUT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk.h"

enum { CUT_SECTORS_MAX = 2 << 20, CUT_WHY_BYTES = 256 };

struct cut_op {
	uint64_t first, n;
	uint32_t stamp;
};

struct cut_model {
	uint32_t *settled;		/* CUT_SECTORS_MAX; 0 behind the end */
	uint64_t sectors;		/* now */
	uint64_t sectors_min;		/* durable */
	struct cut_op *ops;		/* since the last flush */
	unsigned n, room;
	uint32_t last_stamp;
};

void cut_model_init(struct cut_model *m);
void cut_model_fini(struct cut_model *m);
/* A new disk, all zeroes. */
void cut_model_reset(struct cut_model *m, uint64_t sectors);

/* Before the write.  A new stamp, or `stamp` 0 for zeroes. */
uint32_t cut_model_stamp(struct cut_model *m);
void cut_model_write(struct cut_model *m, uint64_t first, uint64_t n, uint32_t stamp);
/* A flush ended that began when the model had n writes (m->n then). */
void cut_model_flushed(struct cut_model *m, unsigned n);
/* Before a resize; after one that worked. */
void cut_model_grow(struct cut_model *m, uint64_t sectors);
void cut_model_grown(struct cut_model *m);

/* The bytes of n sectors that a write with that stamp makes. */
void cut_model_fill(uint8_t *p, uint64_t first, uint64_t n, uint32_t stamp);

/* False, and why: the disk holds what it may not.  live: only the last value of each sector will do, no power was lost.
 * Else (not live) what it holds counts as settled afterwards. */
bool cut_model_compare(struct cut_model *m, struct disk *d, bool live, char why[CUT_WHY_BYTES]);

#endif
