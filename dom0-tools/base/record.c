/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on disk.  The checksum covers the one spelling that json_dumps
 * gives with sorted keys and no spaces, so it does not depend on how the file
 * is laid out.
 */
#include "base/record.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"

#define CRC_KEY "crc"
enum { CRC_TEXT_BYTES = 9 };

/* The text of o, which has no member "crc", and its checksum in hex. */
static char *spell(const json_t *o, char crc[CRC_TEXT_BYTES])
{
	char *text = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);

	if (text)
		snprintf(crc, CRC_TEXT_BYTES, "%08lx", crc32(0, (const Bytef *)text, (uInt)strlen(text)));
	return text;
}

int record_save(const char *path, const json_t *o, struct err *e)
{
	union { const json_t *in; json_t *out; } u = { .in = o };	/* json_copy changes nothing */
	AUTO_JSON json_t *copy = json_copy(u.out);
	AUTO_FREE char *plain = NULL, *text = NULL;
	char crc[CRC_TEXT_BYTES];

	if (!json_is_object(copy))
		return err_set(e, ERR_INTERNAL, "record '%s' is not an object", path);
	json_object_del(copy, CRC_KEY);
	plain = spell(copy, crc);
	if (plain && json_object_set_new(copy, CRC_KEY, json_string(crc)) == 0)
		text = json_dumps(copy, JSON_SORT_KEYS | JSON_COMPACT);
	if (!text)
		return err_set(e, ERR_INTERNAL, "record '%s' cannot be written as JSON", path);
	if (strlen(text) > RECORD_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "record '%s' of %zu bytes, limit %d", path, strlen(text),
			       RECORD_BYTES_MAX);
	return fd_write_file(path, text, strlen(text), RECORD_MODE, e);
}

static int corrupt(struct err *e, const char *path, const char *why)
{
	err_set(e, ERR_CORRUPT, "record '%s' %s", path, why);
	return err_remedy(e, "keep the file for inspection; restore it from a backup or remove it on purpose");
}

int record_load(const char *path, json_t **out, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	AUTO_JSON json_t *o = NULL, *want = NULL;
	AUTO_FREE char *text = NULL;
	char crc[CRC_TEXT_BYTES];

	if (fd_read_file(path, RECORD_BYTES_MAX, &b, e) < 0)
		return -1;
	if (js_parse((const char *)b.p, b.len, &o, e) < 0 || !json_is_object(o))
		return corrupt(e, path, "is not a JSON object");
	want = json_incref(json_object_get(o, CRC_KEY));
	json_object_del(o, CRC_KEY);
	text = spell(o, crc);
	if (!json_is_string(want))
		return corrupt(e, path, "has no checksum");
	if (!text || strcmp(json_string_value(want), crc))
		return corrupt(e, path, "does not fit its checksum");
	*out = json_incref(o);
	return 0;
}
