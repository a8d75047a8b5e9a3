/* SPDX-License-Identifier: Apache-2.0 */
/* The table of stages, and the questions to each VM's hvdomd. */
#include "init/stopping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/ctl.h"
#include "base/log.h"
#include "domd/domd_ctl.h"
#include "init/manager.h"
#include "init/pid1.h"

struct guest_ask {
	struct stopping *s;
	char name[UNIT_NAME_BYTES];
	struct ctl_client *client;
	bool refused;			/* it will not end by this question */
};

struct stopping {
	struct manager *m;
	bool reboot;
	bool shut_guests_down;
	unsigned stage;
	struct loop_timer *timer;
	struct guest_ask asks[UNITS_MAX];
	unsigned n_asks;
	const char *verb;		/* of the questions of this stage */
};

static void refused(struct guest_ask *a, const struct err *e)
{
	log_fail(e, "%s: %s", a->name, a->s->verb);
	a->refused = true;
	stopping_on_unit(a->s);
}

static void on_answer(void *arg, const json_t *ok, const struct err *e)
{
	if (!ok)
		refused(arg, e);
}

static void ask_guest(void *arg, const char *unit)
{
	struct stopping *s = arg;
	struct guest_ask *a = &s->asks[s->n_asks];
	char path[512];
	struct err e = ERR_INIT;

	if (s->n_asks == UNITS_MAX)
		return;
	/* The unit domd/VM has its socket at RUN/domd/VM.sock. */
	snprintf(path, sizeof(path), "%s/%s.sock", s->m->conf.run_dir, unit);
	snprintf(a->name, sizeof(a->name), "%s", unit);
	a->s = s;
	a->client = NULL;
	a->refused = false;
	if (ctl_connect(path, &a->client, &e) < 0 ||
	    ctl_client_attach(a->client, s->m->loop, NULL, NULL, a, &e) < 0 ||
	    ctl_send(a->client, s->verb, NULL, NULL, 0, on_answer, a, &e) < 0)
		refused(a, &e);
	s->n_asks++;
}

static void drop_asks(struct stopping *s)
{
	for (unsigned i = 0; i < s->n_asks; i++)
		ctl_client_free(s->asks[i].client);
	s->n_asks = 0;
}

static void ask_guests(struct stopping *s, const char *verb)
{
	s->verb = verb;
	units_each(s->m->units, "domd/", ask_guest, s);
}

static void stop_moves(struct stopping *s)
{
	units_stop_all(s->m->units, "migrate/", STOP_MOVES_MS / 2);
}

static void shut_guests(struct stopping *s)
{
	if (s->shut_guests_down)
		ask_guests(s, DOMD_SHUTDOWN);
}

static void destroy_guests(struct stopping *s)
{
	ask_guests(s, DOMD_DESTROY);
}

static void stop_daemons(struct stopping *s)
{
	units_stop_all(s->m->units, "hvapid", STOP_DAEMONS_MS / 2);
	units_stop_all(s->m->units, "hvtls", STOP_DAEMONS_MS / 2);
}

static void stop_domds(struct stopping *s)
{
	units_stop_all(s->m->units, "domd/", STOP_DAEMONS_MS / 2);
}

/* After the guests: what they wrote is on stable storage when these are gone. */
static void stop_disks(struct stopping *s)
{
	units_stop_all(s->m->units, "blkd/", STOP_DAEMONS_MS / 2);
}

static const struct stage {
	const char *name;
	void (*begin)(struct stopping *s);
	const char *units;		/* over when none of these runs */
	uint64_t ms;			/* or when so much time has passed */
} stages[] = {
	{ "moves", stop_moves, "migrate/", STOP_MOVES_MS },
	{ "guests", shut_guests, "domd/", STOP_GUESTS_MS },
	{ "guests that did not go", destroy_guests, "domd/", STOP_DESTROY_MS },
	{ "daemons", stop_daemons, "hv", STOP_DAEMONS_MS },
	{ "hvdomd", stop_domds, "domd/", STOP_DAEMONS_MS },
	{ "disks", stop_disks, "blkd/", STOP_DAEMONS_MS },
};

static void finish(struct stopping *s)
{
	struct manager *m = s->m;

	log_info("shutdown: done, %s", s->reboot ? "reboot" : "power off");
	log_sink_close(&m->sink);
	/* Busy: PID 1 tries again when everybody is dead. */
	if (m->conf.boot && umount2(m->conf.data_dir, 0) < 0 && errno != EINVAL)
		log_warn("shutdown: data volume is busy");
	loop_stop(m->loop, s->reboot ? PID1_EXIT_REBOOT : PID1_EXIT_POWEROFF);
}

struct pending {
	const struct stopping *s;
	unsigned n;
};

static void count_pending(void *arg, const char *unit)
{
	struct pending *p = arg;

	for (unsigned i = 0; i < p->s->n_asks; i++)
		if (p->s->asks[i].refused && strcmp(p->s->asks[i].name, unit) == 0)
			return;
	p->n++;
}

/* Questions that were refused are not waited for. */
static bool stage_over(const struct stopping *s)
{
	struct pending p = { .s = s };

	if (stages[s->stage].begin == shut_guests && !s->shut_guests_down)
		return true;
	units_each(s->m->units, stages[s->stage].units, count_pending, &p);
	return p.n == 0;
}

/* Goes on from the present stage as far as nothing is left to wait for. */
static void advance(struct stopping *s, bool time_is_up)
{
	while (s->stage < ARRAY_LEN(stages) && (time_is_up || stage_over(s))) {
		if (time_is_up)
			log_warn("shutdown: %s: time is up", stages[s->stage].name);
		time_is_up = false;
		s->stage++;
		if (s->stage == ARRAY_LEN(stages)) {
			loop_timer_stop(s->timer);
			finish(s);
			return;
		}
		drop_asks(s);
		if (stage_over(s))
			continue;
		log_info("shutdown: %s", stages[s->stage].name);
		stages[s->stage].begin(s);
		loop_timer_set(s->timer, stages[s->stage].ms, 0);
	}
}

static void on_time(void *arg)
{
	struct stopping *s = arg;

	advance(s, !stage_over(s));
}

void stopping_on_unit(struct stopping *s)
{
	/* From the loop: we may be inside the walk over the units. */
	if (s->stage < ARRAY_LEN(stages) && stage_over(s))
		loop_timer_set(s->timer, 1, 0);
}

int stopping_start(struct manager *m, bool reboot, bool shut_guests_down, struct err *e)
{
	struct stopping *s;

	if (m->stopping)
		return err_set(e, ERR_STATE, "the host is shutting down already");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ERR_NO_SPACE, "no memory for the shutdown");
	*s = (struct stopping){ .m = m, .reboot = reboot, .shut_guests_down = shut_guests_down };
	s->timer = loop_timer_new(m->loop, on_time, s);
	m->stopping = s;
	log_info("shutdown: %s", stages[0].name);
	stages[0].begin(s);
	/* The answer to whoever asked goes out first. */
	loop_timer_set(s->timer, stage_over(s) ? 1 : stages[0].ms, 0);
	return 0;
}

void stopping_free(struct stopping *s)
{
	if (!s)
		return;
	drop_asks(s);
	loop_timer_free(&s->timer);
	free(s);
}
