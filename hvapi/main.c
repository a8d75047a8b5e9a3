/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapid: the API of a host, its registry of VMs, its jobs and events.  It
 * has no rights over domains; it asks those who have.
 */
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "hvapi/hvapid.h"
#include "hvapi/sandbox.h"

static const char *opt_run = "/run/hvapi", *opt_data = "/data", *opt_user;
static uint64_t opt_idle_ms = 60000;
static bool opt_help_wanted, opt_no_filter;

static const struct opt opts[] = {
	{ "run", OPT_TEXT, &opt_run, "DIR", "folder of the sockets" },
	{ "data", OPT_TEXT, &opt_data, "DIR", "folder of what is kept" },
	{ "user", OPT_TEXT, &opt_user, "UID[:GID]", "user to become when started as root" },
	{ "idle-timeout", OPT_MS, &opt_idle_ms, "TIME", "close API connections that move nothing for so long (60s)" },
	{ "no-syscall-filter", OPT_FLAG, &opt_no_filter, NULL, "allow all system calls (for debuggers)" },
	{ "help", OPT_FLAG, &opt_help_wanted, NULL, "this text" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static void on_signal(void *arg, int signo)
{
	log_info("ends by %s", signo == SIGTERM ? "SIGTERM" : "SIGINT");
	loop_stop(arg, 0);
}

static int run(struct err *e)
{
	struct hvapid_options o = { .run = opt_run, .data = opt_data, .idle_s = (unsigned)(opt_idle_ms / 1000) };
	struct loop *l;
	struct hvapid *h;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (hvapid_become(opt_user, e) < 0 || loop_new(&l, e) < 0)
		return -1;
	if (loop_signal(l, SIGTERM, on_signal, l, e) < 0 || loop_signal(l, SIGINT, on_signal, l, e) < 0 ||
	    (!opt_no_filter && hvapid_filter(e) < 0) || hvapid_start(l, &o, &h, e) < 0) {
		loop_free(l);
		return -1;
	}
	log_info("ready");
	rc = loop_run(l);
	hvapid_stop(h);
	loop_free(l);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int n_args;

	log_init("hvapid", LOG_INFO);
	if (opt_parse(opts, argc, argv, &n_args, &e) < 0 ||
	    (n_args && err_set(&e, ERR_USAGE, "'%s': no argument is taken", argv[1]) < 0)) {
		log_fail(&e, "command line");
		return err_exit_status(e.code);
	}
	if (opt_help_wanted) {
		printf("hvapid: the API of a host\n\n");
		opt_help(opts, stdout);
		return 0;
	}
	if (run(&e) < 0) {
		log_fail(&e, "does not start");
		return err_exit_status(e.code);
	}
	return 0;
}
