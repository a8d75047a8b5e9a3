/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the parts together: loop, units, control socket, boot, signals.
 */
#include "init/manager.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "init/boot.h"
#include "init/hvinit_ctl.h"
#include "init/mounts.h"
#include "init/pid1.h"
#include "init/stopping.h"
#include "init/verbs.h"

/* Our own lines are on stderr (the console) already; this adds the file. */
static void on_own_line(enum log_level l, const char *line, void *arg)
{
	struct manager *m = arg;

	(void)l;
	log_sink_line(&m->sink, "hvinit", "", line, false);
}

static void on_unit_event(void *arg, const char *unit, const char *state, int status)
{
	struct manager *m = arg;

	if (m->ctl)
		ctl_publish(m->ctl, json_pack("{s:s, s:s, s:s, s:i}", "event", HVINIT_EVENT_UNIT, "unit", unit,
					      "state", state, "status", status));
	if (m->boot)
		boot_on_unit(m->boot, unit, state, status);
	if (m->stopping)
		stopping_on_unit(m->stopping);
}

static void on_signal(void *arg, int signo)
{
	struct manager *m = arg;
	struct err e = ERR_INIT;
	bool reboot_wanted = signo == SIGINT;

	log_info("signal %d: %s", signo, reboot_wanted ? "reboot" : "shutdown");
	if (!m->conf.boot) {
		loop_stop(m->loop, 0);
		return;
	}
	if (stopping_start(m, reboot_wanted, true, &e) < 0)
		log_fail(&e, "shutdown");
}

static int watch_signals(struct manager *m, struct err *e)
{
	/* SIGINT: ctrl-alt-del; SIGPWR: a UPS; SIGTERM: whoever runs us in a test. */
	static const int signals[] = { SIGINT, SIGTERM, SIGPWR };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (loop_signal(m->loop, signals[i], on_signal, m, e) < 0)
			return -1;
	return 0;
}

/* The socket is for hvapid; as ordinary user (tests) for that user. */
static int open_ctl(struct manager *m, struct err *e)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", m->conf.run_dir, HVINIT_SOCKET);
	return ctl_server_new(m->loop, path, 0660, m->conf.boot ? (uid_t)USER_HVAPID : geteuid(), hvinit_verbs, m,
			      &m->ctl, e);
}

static bool file_exists(const char *dir, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

int manager_init(struct manager *m, const struct manager_conf *conf, struct err *e)
{
	struct units_conf uc = {
		.table = conf->table, .sink = &m->sink, .run_dir = conf->run_dir, .data_dir = conf->data_dir,
		.bin_dir = conf->bin_dir, .switch_users = conf->boot,
		.report_fd = conf->boot ? PID1_REPORT_FD : -1, .on_event = on_unit_event, .arg = m,
	};

	*m = (struct manager){ .conf = *conf };
	log_sink_init(&m->sink, conf->console_fd);
	log_tee(on_own_line, m);
	if (loop_new(&m->loop, e) < 0 || watch_signals(m, e) < 0)
		return -1;
	uc.loop = m->loop;
	if (conf->boot && mounts_all(e) < 0)
		log_fail(e, "mounts");
	m->restarted = file_exists(conf->run_dir, "units.json");
	if (conf->boot && mounts_run_folders(conf->run_dir, e) < 0)
		log_fail(e, "run folders");
	if (units_new(&uc, &m->units, e) < 0)
		return -1;
	units_adopt(m->units);
	if (open_ctl(m, e) < 0)
		return err_wrap(e, "control socket");
	if (!conf->boot) {
		char dir[512];

		snprintf(dir, sizeof(dir), "%s/log", conf->data_dir);
		if (fd_make_dirs(dir, 0750, e) < 0)
			return -1;
		log_sink_open(&m->sink, dir);
		return 0;
	}
	return boot_start(m, &m->boot, e);
}

int manager_run(struct manager *m)
{
	return loop_run(m->loop);
}

void manager_fini(struct manager *m)
{
	log_tee(NULL, NULL);
	stopping_free(m->stopping);
	m->stopping = NULL;
	boot_free(m->boot);
	m->boot = NULL;
	ctl_server_free(m->ctl);
	m->ctl = NULL;
	units_free(m->units);
	m->units = NULL;
	log_sink_close(&m->sink);
	loop_free(m->loop);
	m->loop = NULL;
}
