/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of services.  A new one is a row here, a name below it, and an
 * `accept` in hvapid.
 */
#include "link/services.h"

#include <stddef.h>
#include <string.h>

#include "link/pair_wire.h"

const struct service services[] = {
	{ "hv-migrate/1", BIT(ROLE_PEER), true },
	{ "http/1.1", BIT(ROLE_ADMIN) | BIT(ROLE_OPERATOR) | BIT(ROLE_VIEWER), false },
	{ PAIR_ALPN, 0, false },
	{ NULL, 0, false },
};

const char *const service_alpns[] = { "hv-migrate/1", "http/1.1", PAIR_ALPN, NULL };

const struct service *service_find(const char *alpn)
{
	for (const struct service *s = services; alpn && s->alpn; s++)
		if (strcmp(s->alpn, alpn) == 0)
			return s;
	return NULL;
}
