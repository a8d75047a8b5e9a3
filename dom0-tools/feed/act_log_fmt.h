/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of the activity log as bytes: checksum, the choice between two
 * copies, head and marks.  The drawing is in act_log.h.
 */
#ifndef FEED_ACT_LOG_FMT_H
#define FEED_ACT_LOG_FMT_H

#include <stdbool.h>
#include <stdint.h>

#include "feed/act_log.h"

enum {
	ACT_LOG_MAGIC_HEAD = 0x31684c41,	/* "ALh1" */
	ACT_LOG_MAGIC_MARKS = 0x316d4c41,	/* "ALm1" */
};

struct act_log_block {
	uint32_t magic;
	uint32_t number;		/* of the marks block; 0 for the head */
	uint32_t incarnation;
	uint64_t seq;
	uint64_t feed_id;
	uint64_t floor;
};

struct act_log_head {
	unsigned extent_shift;
	unsigned n_disks, n_consumers;
	struct act_log_disk disks[ACT_LOG_DISKS_MAX];
	char consumers[ACT_LOG_CONSUMERS_MAX][ACT_LOG_NAME_BYTES];
};

/* Writes header and checksum around the payload that stands in raw. */
void act_log_seal(uint8_t raw[ACT_LOG_BLOCK_BYTES], const struct act_log_block *b);
/* False: not a whole block of this magic. */
bool act_log_unseal(const uint8_t raw[ACT_LOG_BLOCK_BYTES], uint32_t magic, struct act_log_block *out);

void act_log_head_encode(uint8_t raw[ACT_LOG_BLOCK_BYTES], const struct act_log_head *h);
bool act_log_head_decode(const uint8_t raw[ACT_LOG_BLOCK_BYTES], struct act_log_head *out);

#endif
