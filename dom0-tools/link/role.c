/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of roles, for the API, the pins file and messages.
 */
#include "link/role.h"

#include <string.h>

static const char *const names[ROLE_END] = {
	[ROLE_NONE] = "none",
	[ROLE_PEER] = "peer",
	[ROLE_ADMIN] = "admin",
	[ROLE_OPERATOR] = "operator",
	[ROLE_VIEWER] = "viewer",
};

const char *role_name(enum role r)
{
	return r > ROLE_NONE && r < ROLE_END ? names[r] : names[ROLE_NONE];
}

int role_parse(const char *text, enum role *out, struct err *e)
{
	for (enum role r = ROLE_PEER; r < ROLE_END; r++) {
		if (strcmp(names[r], text) != 0)
			continue;
		*out = r;
		return 0;
	}
	return err_set(e, ERR_USAGE, "role '%.40s' is not peer, admin, operator or viewer", text);
}
