/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked for on the one port, by ALPN, and by whom.
 */
#ifndef LINK_SERVICES_H
#define LINK_SERVICES_H

#include <stdbool.h>

#include "link/role.h"

struct service {
	const char *alpn;
	unsigned roles;			/* BIT(role) of each that may use it; 0: also strangers (pairing) */
	bool bulk;			/* kernel TLS where there is; else always pumped, so that the end of the
					 * stream stays visible to the worker (hvtls_ctl.h) */
};

extern const struct service services[];		/* ends with alpn == NULL */
extern const char *const service_alpns[];	/* the same names, for TLS */

const struct service *service_find(const char *alpn);	/* NULL if there is none; alpn may be NULL */

#endif
