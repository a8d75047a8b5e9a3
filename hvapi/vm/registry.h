/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs this host knows: what the operator wants of them.  Kept in memory,
 * written through to the database.
 *
 * `place` follows the owner record (DATA/vm/NAME/owner.json), which is the
 * truth; registry_follow_owner brings the row in line with it.
 */
#ifndef HVAPI_VM_REGISTRY_H
#define HVAPI_VM_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "base/store.h"

enum { VM_NAME_BYTES = 64, VM_UUID_BYTES = 37, VM_SESSION_BYTES = 41, REGISTRY_VMS_MAX = 1024 };

enum vm_place {
	VM_HERE,		/* ours, running or not */
	VM_AWAY,		/* moved to `peer`; kept until undefined */
	VM_RECEIVING,		/* on its way in */
	VM_PLACE_N
};

struct vm {
	char name[VM_NAME_BYTES];
	char uuid[VM_UUID_BYTES];
	json_t *config;
	uint64_t generation;
	bool autostart;
	bool saved;		/* its memory is in DATA/save/NAME and nothing ran since */
	enum vm_place place;
	char peer[VM_NAME_BYTES];
	char session[VM_SESSION_BYTES];	/* RECEIVING: the source's */
	struct vm *next;
};

struct registry;

/* data: folder of the owner records. */
MUSTUSE int registry_open(struct store *s, const char *data, struct registry **out, struct err *e);
void registry_close(struct registry *g);

struct vm *registry_first(struct registry *g);		/* by name; ->next */
struct vm *registry_find(struct registry *g, const char *name);	/* NULL: none */
struct vm *registry_find_uuid(struct registry *g, const char *uuid);

/* config: a checked VM (vm_check), borrowed.  ERR_EXISTS naming the VM that has the name or UUID. */
MUSTUSE int registry_add(struct registry *g, const json_t *config, uint64_t generation, enum vm_place place,
			 struct vm **out, struct err *e);
/* Writes v's row as it is now. */
MUSTUSE int registry_save(struct registry *g, const struct vm *v, struct err *e);
MUSTUSE int registry_set_config(struct registry *g, struct vm *v, const json_t *config, struct err *e);
MUSTUSE int registry_remove(struct registry *g, struct vm *v, struct err *e);

/* The owner record; ERR_NOT_FOUND when there is none. */
MUSTUSE int registry_owner(struct registry *g, const char *name, json_t **out, struct err *e);
/* Takes place, peer and generation from the record.  True if the row changed.  Without a record nothing changes. */
bool registry_follow_owner(struct registry *g, struct vm *v);

const char *vm_place_name(enum vm_place p);

#endif
