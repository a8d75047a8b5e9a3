/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of the record as numbers of the session.
 */
#include "migrate/owner.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "base/record.h"
#include "domd/domd_ctl.h"

static const char *const words[MIG_OWNER_N] = {
	[MIG_OWNER_HERE] = "here", [MIG_OWNER_GIVING] = "giving", [MIG_OWNER_IN_DOUBT] = "in-doubt",
	[MIG_OWNER_AWAY] = "away", [MIG_OWNER_RECEIVING] = "receiving", [MIG_OWNER_REFUSED] = "refused",
};

static int parse(const json_t *o, struct owner_seen *out, struct err *e)
{
	const char *owner, *uuid, *session = "", *peer = "";
	struct owner_seen seen = { .owner = MIG_OWNER_NONE };

	if (js_text(o, "owner", &owner, e) < 0 || js_text(o, "uuid", &uuid, e) < 0 ||
	    js_opt_text(o, "session", &session, e) < 0 ||
	    js_opt_text(o, "peer", &peer, e) < 0 || js_u64(o, "generation", INT64_MAX, &seen.generation, e) < 0)
		return -1;
	for (int i = MIG_OWNER_HERE; i < MIG_OWNER_N; i++)
		if (!strcmp(words[i], owner))
			seen.owner = (enum mig_owner)i;
	if (seen.owner == MIG_OWNER_NONE)
		return err_set(e, ERR_CORRUPT, "owner '%s' is no word of the record", owner);
	snprintf(seen.session, sizeof(seen.session), "%s", session);
	snprintf(seen.peer, sizeof(seen.peer), "%s", peer);
	snprintf(seen.uuid, sizeof(seen.uuid), "%s", uuid);
	*out = seen;
	return 0;
}

int owner_look(const char *data_dir, const char *vm, struct owner_seen *out, struct err *e)
{
	char path[512];
	AUTO_JSON json_t *o = NULL;

	assert(mig_vm_ok(vm));
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, data_dir, vm);
	if (record_load(path, &o, e) < 0) {
		if (e->code != ERR_NOT_FOUND)
			return -1;
		*e = (struct err)ERR_INIT;
		*out = (struct owner_seen){ .owner = MIG_OWNER_NONE };
		return 0;
	}
	return parse(o, out, e) < 0 ? err_wrap(e, "'%s'", path) : 0;
}
