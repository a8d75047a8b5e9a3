/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts, by name.  Handlers and jobs get this; each part's
 * header says what may be done with it.
 */
#ifndef HVAPI_HVAPID_H
#define HVAPI_HVAPID_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "hvapi/ctl_link.h"

#define HVAPID_VERSION "0.2"

struct ctl_server;
struct domds;
struct events;
struct http;
struct jobs;
struct loop;
struct registry;
struct store;
struct vm;
struct keeper_wait;

struct hvapid {
	struct loop *loop;
	const char *run, *data;
	struct store *store;
	struct registry *registry;
	struct events *events;
	struct jobs *jobs;
	struct domds *domds;
	struct http *http;
	struct ctl_server *ctl;
	struct ctl_link hvinit, hvtls;
	struct keeper_wait *waits;	/* job/keeper.c */
	json_t *states;		/* vm -> state as last told in an event */
	bool autostarted;
	uint64_t started_mono_ms;
};

struct hvapid_options {
	const char *run, *data;
	unsigned idle_s;	/* HTTP: silence after which a connection is closed */
};

MUSTUSE int hvapid_start(struct loop *l, const struct hvapid_options *o, struct hvapid **out, struct err *e);
void hvapid_stop(struct hvapid *h);

/* VMINFO of api/README.md; caller's reference. */
json_t *hvapid_vm_json(struct hvapid *h, const struct vm *v);

#endif
