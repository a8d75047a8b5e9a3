/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager: everything hvinit does besides being PID 1.  It may crash;
 * PID 1 starts it again and it goes on with the units that still run.
 * Outside PID 1 (tests, `hvinit --manager --run DIR --data DIR --bin DIR`)
 * it is units and control socket only.
 */
#ifndef INIT_MANAGER_H
#define INIT_MANAGER_H

#include <stdbool.h>

#include "base/ctl.h"
#include "base/loop.h"
#include "init/unit_log.h"
#include "init/units.h"

struct boot;
struct stopping;

struct manager_conf {
	const char *run_dir;
	const char *data_dir;
	const char *bin_dir;
	const struct unit_def *table;
	bool boot;			/* we are the child of PID 1: mounts, drivers, network, daemons */
	int console_fd;
};

struct manager {
	struct manager_conf conf;
	struct loop *loop;
	struct units *units;
	struct ctl_server *ctl;
	struct boot *boot;		/* NULL outside PID 1 */
	struct stopping *stopping;	/* NULL until a shutdown was asked for */
	struct log_sink sink;
	bool restarted;			/* this boot had a manager before us */
};

/* On failure the manager is half-built; manager_fini takes it. */
MUSTUSE int manager_init(struct manager *m, const struct manager_conf *conf, struct err *e);
void manager_fini(struct manager *m);
/* Runs until a shutdown is through; the exit status for PID 1. */
int manager_run(struct manager *m);

#endif
