/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvinit: one program in three roles, told apart by how it is called.
 *
 *	PID 1                     pid1.c, the little loop that must not die
 *	hvinit --manager          all the rest
 *	hvinit --drivers          loads the drivers that could wait until the API answers
 *	modprobe -q -- NAME       the kernel asking for a module (a link from /sbin/modprobe)
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/opt.h"
#include "init/manager.h"
#include "init/modules.h"
#include "init/pid1.h"

enum { DRIVERS_NICE = 10 };		/* behind the daemons, which just started */

struct args {
	bool manager, boot, drivers, debug, help;
	const char *run, *data, *bin;
};

static int run_drivers(void)
{
	static const char *const names[] = { "loop", "tls" };
	struct modules *m = NULL;
	struct err e = ERR_INIT;

	log_init("hvinit", LOG_INFO);
	if (nice(DRIVERS_NICE) < 0)
		log_debug("nice");
	if (modules_new(&m, &e) < 0) {
		log_fail(&e, "drivers");
		return 1;
	}
	modules_load_devices(m, MODULES_ALL);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (modules_load(m, names[i], &e) < 0)
			log_fail(&e, "module %s", names[i]);
	modules_free(m);
	return 0;
}

static int run_manager(const struct args *a)
{
	static struct manager m;
	struct manager_conf conf = {
		.run_dir = a->run, .data_dir = a->data, .bin_dir = a->bin, .table = unit_table,
		.boot = a->boot, .console_fd = STDERR_FILENO,
	};
	struct err e = ERR_INIT;
	int rc = 1;

	log_init("hvinit", a->debug ? LOG_DEBUG : LOG_INFO);
	if (manager_init(&m, &conf, &e) < 0)
		log_fail(&e, "start");
	else
		rc = manager_run(&m);
	manager_fini(&m);
	return rc;
}

int main(int argc, char **argv)
{
	struct args a = { .run = "/run/hvapi", .data = "/data", .bin = "/usr/sbin" };
	const struct opt table[] = {
		{ "manager", OPT_FLAG, &a.manager, NULL, "be the manager (PID 1 starts it)" },
		{ "boot", OPT_FLAG, &a.boot, NULL, "bring the host up: mounts, drivers, network, daemons" },
		{ "drivers", OPT_FLAG, &a.drivers, NULL, "load the drivers of all devices, then end" },
		{ "run", OPT_TEXT, &a.run, "DIR", "folder of sockets (/run/hvapi)" },
		{ "data", OPT_TEXT, &a.data, "DIR", "folder of the data volume (/data)" },
		{ "bin", OPT_TEXT, &a.bin, "DIR", "folder of our programs (/usr/sbin)" },
		{ "debug", OPT_FLAG, &a.debug, NULL, "log more" },
		{ "help", OPT_FLAG, &a.help, NULL, "this text" },
		{ .name = NULL },
	};
	const char *name = strrchr(argv[0], '/');
	struct err e = ERR_INIT;
	int n = 0;

	if (getpid() == 1) {
		pid1_open_console();
		pid1_run(argv[0]);
	}
	if (strcmp(name ? name + 1 : argv[0], "modprobe") == 0)
		return modules_main(argc, argv);
	if (opt_parse(table, argc, argv, &n, &e) < 0 || n > 0 || a.help || a.manager == a.drivers) {
		fprintf(stderr, "%s\nhvinit is the appliance's PID 1; by hand: hvinit --manager --run DIR --data DIR\n",
			e.detail);
		opt_help(table, stderr);
		return a.help ? 0 : err_exit_status(ERR_USAGE);
	}
	return a.drivers ? run_drivers() : run_manager(&a);
}
