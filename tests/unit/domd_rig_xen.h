/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up Xen for hvdomd: it remembers what it was told, can fail, block, and
 * looks at the record on disk when it is told to let a guest run.
 */
#ifndef TESTS_UNIT_DOMD_RIG_XEN_H
#define TESTS_UNIT_DOMD_RIG_XEN_H

#include "tests/unit/domd_rig_base.h"

static inline int rig_call(struct rig *r, const char *name, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&r->m);
	size_t n = strlen(r->calls);

	snprintf(r->calls + n, sizeof(r->calls) - n, "%s%s", n ? " " : "", name);
	pthread_cond_broadcast(&r->changed);
	while (r->blocks && !strcmp(r->blocks, name))
		pthread_cond_wait(&r->changed, &r->m);
	if (r->fails && !strcmp(r->fails, name))
		rc = err_set(e, ERR_XEN, "made-up failure of %s", name);
	pthread_mutex_unlock(&r->m);
	return rc;
}

static inline void rig_life(struct rig *r, enum domd_life life)
{
	pthread_mutex_lock(&r->m);
	r->life = life;
	if (life == LIFE_GONE)
		r->domid = DOMD_NO_DOMAIN;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->m);
}

static inline void rig_born(struct rig *r, int *out_domid)
{
	pthread_mutex_lock(&r->m);
	*out_domid = r->domid = ++r->last_domid;
	r->life = LIFE_PAUSED;
	r->cap = 0;
	pthread_mutex_unlock(&r->m);
}

static inline int rig_create(void *x, const json_t *vm, const char *boot_dir, int *out_domid, struct err *e)
{
	(void)vm, (void)boot_dir;
	if (rig_call(x, "create", e) < 0)
		return -1;
	rig_born(x, out_domid);
	return 0;
}

/* The stream is whole when its last byte is 'E'. */
static inline int rig_restore(void *x, const json_t *vm, const char *boot_dir, int fd, bool devices, int *out_domid,
			      struct err *e)
{
	struct rig *r = x;
	size_t n = 0;

	(void)vm, (void)boot_dir;
	if (rig_call(x, devices ? "restore+devices" : "restore", e) < 0)
		return -1;
	while (n < sizeof(r->got) - 1 && read(fd, r->got + n, 1) == 1 && r->got[n++] != 'E')
		;
	if (!n || r->got[n - 1] != 'E')
		return err_set(e, ERR_XEN, "the stream broke off");
	rig_born(x, out_domid);
	return 0;
}

static inline int rig_prepare(void *x, const json_t *vm, bool (*cancelled)(void *arg), void *arg, struct err *e)
{
	struct rig *r = x;
	int rc = rig_call(x, "prepare", e);

	(void)vm;
	pthread_mutex_lock(&r->m);
	while (rc == 0 && !r->devices_ready) {
		struct timespec soon;

		if (cancelled(arg)) {
			rc = err_set(e, ERR_CANCELLED, "told to stop");
			break;
		}
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 5000000;
		soon.tv_sec += soon.tv_nsec / 1000000000;
		soon.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&r->changed, &r->m, &soon);
	}
	pthread_mutex_unlock(&r->m);
	return rc;
}

static inline int rig_turns(void *x, const char *name, enum domd_life life, struct err *e)
{
	if (rig_call(x, name, e) < 0)
		return -1;
	rig_life(x, life);
	return 0;
}

static inline int rig_save(void *x, int domid, int fd, struct err *e)
{
	(void)domid;
	rig_life(x, LIFE_SUSPENDED);
	if (rig_call(x, "save", e) < 0)
		return -1;
	return fd_write_full(fd, "guestE", 6) < 0 ? err_set(e, ERR_IO, "write") : 0;
}

static inline int rig_unpause(void *x, int domid, struct err *e)
{
	struct rig *r = x;
	char path[RIG_PATH_BYTES + 64];
	struct err ignored = ERR_INIT;
	AUTO_JSON json_t *o = NULL;

	(void)domid;
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, r->data_dir, "web1");
	if (record_load(path, &o, &ignored) == 0)
		snprintf(r->owner_at_unpause, sizeof(r->owner_at_unpause), "%.20s %lld",
			 json_string_value(json_object_get(o, "owner")),
			 (long long)json_integer_value(json_object_get(o, "generation")));
	return rig_turns(x, "unpause", LIFE_RUNNING, e);
}

static inline int rig_pause(void *x, int domid, struct err *e)
{
	(void)domid;
	return rig_turns(x, "pause", LIFE_PAUSED, e);
}

#define RIG_XEN_CALL(fn, what)                                       \
	static inline int fn(void *x, int domid, struct err *e)      \
	{                                                            \
		(void)domid;                                         \
		return what;                                         \
	}
RIG_XEN_CALL(rig_shutdown, rig_call(x, "shutdown", e))
RIG_XEN_CALL(rig_reboot, rig_call(x, "reboot", e))
RIG_XEN_CALL(rig_destroy, rig_turns(x, "destroy", LIFE_GONE, e))
RIG_XEN_CALL(rig_resume, rig_turns(x, "resume", LIFE_RUNNING, e))

static inline int rig_find(void *x, const char *uuid)
{
	struct rig *r = x;
	return strcmp(uuid, RIG_UUID) ? DOMD_NO_DOMAIN : r->domid;
}

static inline enum domd_life rig_look(void *x, int domid)
{
	struct rig *r = x;

	pthread_mutex_lock(&r->m);
	enum domd_life life = domid == r->domid && domid != DOMD_NO_DOMAIN ? r->life : LIFE_GONE;
	pthread_mutex_unlock(&r->m);
	return life;
}

static inline int rig_console(void *x, int domid, char *out, size_t n, struct err *e)
{
	(void)x, (void)domid, (void)e;
	snprintf(out, n, "/dev/null");
	return 0;
}

static inline int rig_cap_get(void *x, int domid, uint16_t *out, struct err *e)
{
	struct rig *r = x;

	(void)domid, (void)e;
	*out = r->cap;
	return 0;
}

static inline int rig_cap_set(void *x, int domid, uint16_t cap, struct err *e)
{
	struct rig *r = x;

	(void)domid, (void)e;
	r->cap = cap;
	return 0;
}

static inline void rig_announce(void *x, struct loop *l, const json_t *vm)
{
	(void)l, (void)vm;
	((struct rig *)x)->announced++;
}

#endif
