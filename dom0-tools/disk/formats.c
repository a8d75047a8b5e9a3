/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats there are.  A new one is a row here.
 */
#include "disk/disk.h"

#include <string.h>

#include "disk/raw.h"
#include "disk/vhd.h"
#include "disk/vhdx.h"

/* raw first: with equal scores the first stays. */
static const struct layer_format *const formats[] = { &raw_format, &vhd_format, &vhdx_format };

const struct layer_format *disk_format(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (!strcmp(name, formats[i]->name))
			return formats[i];
	return NULL;
}

const struct layer_format *disk_probe(struct blob *b)
{
	const struct layer_format *best = &raw_format;
	int most = 0;

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		int score = formats[i]->probe(b);

		if (score > most) {
			most = score;
			best = formats[i];
		}
	}
	return best;
}
