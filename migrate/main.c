/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvmigrate: one side of one move.  hvapid starts it through hvinit with the
 * line to the peer as descriptor 3:
 *
 *	hvmigrate send    --session S --spec JSON
 *	hvmigrate receive --session S --spec JSON
 *
 * Rights: foreign memory of the one domain (send); none of libxl, no key, no
 * network of its own (sandbox.h).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "migrate/facts.h"
#include "migrate/guest/xen_save.h"
#include "migrate/mig_wire.h"
#include "migrate/recv.h"
#include "migrate/sandbox.h"
#include "migrate/send.h"

enum { LINK_FD = 3 };

static const char *opt_session, *opt_spec = "{}", *opt_run = "/run/hvapi", *opt_data = "/data";

static const struct opt opts[] = {
	{ "session", OPT_TEXT, &opt_session, "ID", "name of the session; names the control socket" },
	{ "spec", OPT_TEXT, &opt_spec, "JSON", "what to do (hvapi/hvapid_ctl.h)" },
	{ "run", OPT_TEXT, &opt_run, "DIR", "folder of the sockets" },
	{ "data", OPT_TEXT, &opt_data, "DIR", "folder of records and reports" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

/* The descriptor hvinit passed, -1 when it passed none.  Looked at before this process opens anything, or its own
 * first descriptor would be taken for it. */
static int link_fd;

static void find_link(void)
{
	link_fd = fcntl(LINK_FD, F_SETFD, FD_CLOEXEC) == 0 ? LINK_FD : -1;
}

static int run_send(struct loop *loop, const json_t *spec)
{
	struct send_setup set = {
		.run_dir = opt_run, .data_dir = opt_data, .session = opt_session, .spec = spec, .link_fd = link_fd,
		.make_xen = xen_save_make, .offer_facts = facts_offer,
	};

	return send_run(loop, &set);
}

static int run_receive(struct loop *loop, const json_t *spec)
{
	struct err e = ERR_INIT;
	struct recv_setup set = {
		.run_dir = opt_run, .data_dir = opt_data, .unit = opt_session, .link_fd = link_fd,
		.check = facts_check,
	};

	if (js_text(spec, "peer", &set.peer, &e) < 0 || set.link_fd < 0) {
		log_fail(&e, set.link_fd < 0 ? "receive: descriptor 3 is not open%s" : "receive: spec%s", "");
		return 1;
	}
	return recv_run(loop, &set);
}

static const struct {
	const char *name;
	int (*run)(struct loop *loop, const json_t *spec);
} roles[] = {
	{ "send", run_send },
	{ "receive", run_receive },
};

static int run_role(const char *name, struct err *e)
{
	AUTO_JSON json_t *spec = NULL;
	struct loop *loop;

	if (!opt_session || !mig_session_ok(opt_session))
		return err_set(e, ERR_USAGE, "--session is missing or not of letters, digits and '-'");
	if (js_parse(opt_spec, strlen(opt_spec), &spec, e) < 0)
		return err_wrap(e, "--spec");
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		if (strcmp(roles[i].name, name))
			continue;
		if (sandbox_enter(e) < 0 || loop_new(&loop, e) < 0)
			return -1;
		int rc = roles[i].run(loop, spec);

		loop_free(loop);
		return rc;
	}
	return err_set(e, ERR_USAGE, "'%s' is neither send nor receive", name);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int n_args;

	find_link();
	signal(SIGPIPE, SIG_IGN);
	log_init("hvmigrate", LOG_INFO);
	if (opt_parse(opts, argc, argv, &n_args, &e) < 0 || n_args != 1) {
		if (e.code == ERR_NONE)
			err_set(&e, ERR_USAGE, "usage: hvmigrate send|receive --session ID --spec JSON");
		log_fail(&e, "command line");
		opt_help(opts, stderr);
		return err_exit_status(e.code);
	}
	int rc = run_role(argv[1], &e);

	if (rc < 0)
		log_fail(&e, "%s", argv[1]);
	return rc < 0 ? err_exit_status(e.code) : rc;
}
