/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of its own, because the owner record is written only when the
 * owner changes.
 */
#include "domd/note.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "domd/domd_ctl.h"

static int parse(const json_t *o, struct note *n, struct err *e)
{
	uint64_t cap = 0;

	if (js_opt_bool(o, "building", &n->building, e) < 0 || js_opt_bool(o, "paused", &n->paused, e) < 0 ||
	    js_opt_bool(o, "capped", &n->capped, e) < 0 || js_opt_u64(o, "cap", UINT16_MAX, &cap, e) < 0)
		return -1;
	n->cap = (uint16_t)cap;
	return 0;
}

void note_load(const char *data_dir, const char *vm, struct note *out)
{
	struct note n = { .building = false };
	struct err e = ERR_INIT;
	AUTO_JSON json_t *o = NULL;

	snprintf(n.path, sizeof(n.path), DOMD_NOTE_FMT, data_dir, vm);
	*out = n;
	if (record_load(n.path, &o, &e) == 0 && parse(o, &n, &e) == 0)
		*out = n;
	else if (e.code != ERR_NOT_FOUND)
		log_fail(&e, "vm=%s: what the last hvdomd was doing", vm);
}

int note_save(const struct note *n, struct err *e)
{
	if (!n->building && !n->paused && !n->capped)
		return unlink(n->path) < 0 && errno != ENOENT ? err_sys(e, errno, "remove '%s'", n->path) : 0;
	AUTO_JSON json_t *o = json_pack("{s:b, s:b, s:b, s:i}", "building", n->building, "paused", n->paused, "capped",
					n->capped, "cap", (int)n->cap);

	return record_save(n->path, o, e);
}
