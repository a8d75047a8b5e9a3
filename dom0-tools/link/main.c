/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvtls: the only holder of the host key.  Opens its files and sockets, gives
 * up what it does not need, and loops.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "link/hvtls.h"
#include "link/sandbox.h"
#include "link/selftest.h"

enum { API_UID = 102 };

static struct hvtls_cfg cfg = { .run = "/run/hvapi", .data = "/data", .allow_uid = API_UID };
static const char *opt_user;
static uint64_t opt_allow_uid = API_UID;
static bool opt_self_test, opt_no_sandbox, opt_verbose, opt_usage;

static const struct opt options[] = {
	{ "run", OPT_TEXT, &cfg.run, "DIR", "where the control sockets are (/run/hvapi)" },
	{ "data", OPT_TEXT, &cfg.data, "DIR", "key, pins and codes are in DIR/host (/data)" },
	{ "listen", OPT_LIST, &cfg.listen, "ADDR:PORT", "may be repeated (0.0.0.0:8443 and [::]:8443)" },
	{ "name", OPT_TEXT, &cfg.name, "NAME", "of this host (its host name)" },
	{ "user", OPT_TEXT, &opt_user, "UID[:GID]", "whom to become when started as root" },
	{ "allow-uid", OPT_U64, &opt_allow_uid, "UID", "who may use the control socket beside root (102, hvapid)" },
	{ "no-ktls", OPT_FLAG, &cfg.no_ktls, NULL, "pump all bytes, also where the kernel could" },
	{ "no-sandbox", OPT_FLAG, &opt_no_sandbox, NULL, "without the system call filter, for debuggers" },
	{ "verbose", OPT_FLAG, &opt_verbose, NULL, "log more" },
	{ "self-test-ktls", OPT_FLAG, &opt_self_test, NULL, "test kernel TLS on this host and exit; 77: it has none" },
	{ "help", OPT_FLAG, &opt_usage, NULL, "this text" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static void on_term(void *arg, int signo)
{
	log_info("ends on signal %d", signo);
	loop_stop(arg, 0);
}

static int self_test(struct err *e)
{
	char dir[512];
	int rc;

	snprintf(dir, sizeof(dir), "%s/hvtls-selftest", cfg.run);
	rc = selftest_ktls(dir, e);
	if (rc < 0)
		log_fail(e, "ktls self-test");
	return rc < 0 ? 1 : rc;
}

static int become_user(struct err *e)
{
	char dir[512];

	if (!opt_user || geteuid() != 0)
		return 0;
	snprintf(dir, sizeof(dir), "%s/host", cfg.data);
	return sandbox_become(opt_user, dir, e);
}

static int serve(struct err *e)
{
	struct loop *l = NULL;
	struct hvtls *h = NULL;
	int rc = -1;

	if (become_user(e) < 0 || loop_new(&l, e) < 0)
		return -1;
	if (loop_signal(l, SIGTERM, on_term, l, e) == 0 && loop_signal(l, SIGINT, on_term, l, e) == 0 &&
	    hvtls_new(l, &cfg, &h, e) == 0 && (opt_no_sandbox || sandbox_enter(e) == 0))
		rc = loop_run(l);
	hvtls_free(h);
	loop_free(l);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int n;

	log_init("hvtls", LOG_INFO);
	if (opt_parse(options, argc, argv, &n, &e) == 0 && n > 0)
		err_set(&e, ERR_USAGE, "'%s': hvtls takes options only", argv[1]);
	if (e.code != ERR_NONE) {
		log_fail(&e, "command line");
		return err_exit_status(e.code);
	}
	if (opt_usage) {
		printf("hvtls: holds the host key; TLS outside, plain descriptors inside\n");
		opt_help(options, stdout);
		return 0;
	}
	cfg.allow_uid = (uid_t)opt_allow_uid;
	signal(SIGPIPE, SIG_IGN);
	log_init("hvtls", opt_verbose ? LOG_DEBUG : LOG_INFO);
	if (opt_self_test)
		return self_test(&e);
	if (serve(&e) < 0) {
		log_fail(&e, "start");
		return err_exit_status(e.code);
	}
	return 0;
}
