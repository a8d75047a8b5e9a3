/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads hvdomd's record of who owns a VM (domd/domd_ctl.h), to answer a QUERY
 * or to go on with a move that was in doubt.  Only hvdomd writes it.
 */
#ifndef MIGRATE_OWNER_H
#define MIGRATE_OWNER_H

#include "base/err.h"
#include "migrate/session.h"

enum { OWNER_PEER_BYTES = 128 };

struct owner_seen {
	enum mig_owner owner;
	uint64_t generation;
	char session[MIG_SESSION_BYTES_MAX + 1];
	char uuid[MIG_UUID_BYTES + 1];
	char peer[OWNER_PEER_BYTES];
};

/* No record: MIG_OWNER_NONE, not an error.  vm must satisfy mig_vm_ok. */
MUSTUSE int owner_look(const char *data_dir, const char *vm, struct owner_seen *out, struct err *e);

#endif
