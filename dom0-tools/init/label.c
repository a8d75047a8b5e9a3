/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a disk are foreign: all reads go through struct rd. */
#include "init/label.h"

#include <stdbool.h>
#include <string.h>

#include "base/rd.h"

static bool has(const uint8_t *p, size_t n, size_t at, const char *magic, size_t len)
{
	struct rd r = rd_of(p, n);
	const uint8_t *q;

	rd_skip(&r, at);
	q = rd_bytes(&r, len);
	return q && memcmp(q, magic, len) == 0;
}

/* Labels become names of links: what is not plain becomes '_', padding goes. */
static void copy_label(const uint8_t *p, size_t n, size_t at, size_t len, char out[LABEL_BYTES])
{
	struct rd r = rd_of(p, n);
	size_t i;

	memset(out, 0, LABEL_BYTES);
	rd_skip(&r, at);
	rd_copy(&r, out, len);
	for (i = 0; i < len && out[i]; i++)
		if (out[i] < ' ' || out[i] > '~' || out[i] == '/' || (i == 0 && out[i] == '.'))
			out[i] = '_';
	for (out[i] = '\0'; i > 0 && out[i - 1] == ' '; i--)
		out[i - 1] = '\0';
}

void label_probe(const uint8_t *p, size_t n, struct label *out)
{
	*out = (struct label){ .fs = "" };
	if (has(p, n, 0, "XFSB", 4)) {
		out->fs = "xfs";
		copy_label(p, n, 108, 12, out->text);
	} else if (has(p, n, 510, "\x55\xaa", 2) && has(p, n, 82, "FAT32   ", 8)) {
		out->fs = "vfat";
		copy_label(p, n, 71, 11, out->text);
	} else if (has(p, n, 510, "\x55\xaa", 2) && has(p, n, 54, "FAT1", 4)) {
		out->fs = "vfat";
		copy_label(p, n, 43, 11, out->text);
	} else if (has(p, n, 32768, "\1CD001", 6)) {
		out->fs = "iso9660";
		copy_label(p, n, 32808, 32, out->text);
	}
	if (strcmp(out->text, "NO NAME") == 0)
		out->text[0] = '\0';
}
