/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Xen as hvdomd sees it, made up.  What it was told stands in `said`, with the
 * owner that the disk named at that moment: "unpause:here".
 */
#ifndef TESTS_UNIT_DOMD_FAKE_H
#define TESTS_UNIT_DOMD_FAKE_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/record.h"
#include "domd/domd.h"
#include "domd/domd_ctl.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { FAKE_DOMID = 7, FAKE_STEP_MS = 2, FAKE_SAID_BYTES = 1024, FAKE_WORD_BYTES = 32 };
#define FAKE_UUID "11111111-2222-3333-4444-555555555555"

struct fake {
	const char *data_dir;
	pthread_mutex_t lock;
	enum domd_life life;
	uint16_t cap;
	bool fails_create, fails_resume, fails_unpause, fails_save, fails_devices, fails_destroy;
	char said[FAKE_SAID_BYTES];
};

static inline void fake_owner(struct fake *f, char out[FAKE_WORD_BYTES])
{
	char path[512];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *o = NULL;

	snprintf(path, sizeof(path), DOMD_OWNER_FMT, f->data_dir, "g1");
	snprintf(out, FAKE_WORD_BYTES, "%s",
		 record_load(path, &o, &e) == 0 ? json_string_value(json_object_get(o, "owner")) : "none");
}

static inline void fake_set_life(struct fake *f, enum domd_life life)
{
	pthread_mutex_lock(&f->lock);
	f->life = life;
	pthread_mutex_unlock(&f->lock);
}

static inline enum domd_life fake_life(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	enum domd_life life = f->life;
	pthread_mutex_unlock(&f->lock);
	return life;
}

static inline void fake_say(struct fake *f, const char *what)
{
	char word[FAKE_WORD_BYTES];

	fake_owner(f, word);
	pthread_mutex_lock(&f->lock);
	size_t n = strlen(f->said);
	snprintf(f->said + n, sizeof(f->said) - n, "%s%s:%s", n ? " " : "", what, word);
	pthread_mutex_unlock(&f->lock);
}

static inline int fake_call(struct fake *f, const char *what, bool fails, enum domd_life then, struct err *e)
{
	fake_say(f, what);
	if (fails)
		return err_set(e, ERR_XEN, "fake %s failed", what);
	fake_set_life(f, then);
	return 0;
}

/* Whoever is killed now must leave word that the domain is half built. */
static inline const char *fake_noted(struct fake *f, const char *what, const char *unnoted)
{
	char path[512];

	snprintf(path, sizeof(path), DOMD_NOTE_FMT, f->data_dir, "g1");
	return access(path, F_OK) == 0 ? what : unnoted;
}

static inline int fake_create(void *x, const json_t *vm, const char *boot, int *domid, struct err *e)
{
	(void)vm, (void)boot;
	if (fake_call(x, fake_noted(x, "create", "create-unnoted"), ((struct fake *)x)->fails_create, LIFE_PAUSED,
		      e) < 0)
		return -1;
	*domid = FAKE_DOMID;
	return 0;
}

/* The domain is there as soon as the first byte came, and whole at the end: "whole" must stand in the stream. */
static inline int fake_restore(void *x, const json_t *vm, const char *boot, int fd, bool devices, int *domid,
			       struct err *e)
{
	char text[64] = "";
	size_t n = 0;

	(void)vm, (void)boot;
	fake_say(x, devices ? fake_noted(x, "restore+devices", "restore-unnoted") : "restore");
	for (ssize_t got; n < sizeof(text) - 1 && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0;) {
		n += (size_t)got;
		fake_set_life(x, LIFE_PAUSED);
	}
	if (!strstr(text, "whole")) {
		fake_set_life(x, LIFE_GONE);
		return err_set(e, ERR_XEN, "fake stream ended early");
	}
	fake_set_life(x, LIFE_PAUSED);
	*domid = FAKE_DOMID;
	return 0;
}

static inline int fake_prepare(void *x, const json_t *vm, bool (*cancelled)(void *arg), void *arg, struct err *e)
{
	(void)vm;
	if (((struct fake *)x)->fails_devices)
		return err_set(e, ERR_NOT_FOUND, "fake bridge is missing");
	while (fake_life(x) != LIFE_PAUSED) {
		if (cancelled(arg))
			return err_set(e, ERR_CANCELLED, "fake devices were cancelled");
		poll(NULL, 0, FAKE_STEP_MS);
	}
	return 0;
}

static inline int fake_save(void *x, int domid, int fd, struct err *e)
{
	(void)domid;
	if (fake_call(x, "save", false, LIFE_SUSPENDED, e) < 0)
		return -1;
	if (((struct fake *)x)->fails_save)
		return err_set(e, ERR_XEN, "fake save failed");
	return fd_write_full(fd, "whole", 5) < 0 ? err_set(e, ERR_IO, "fake save") : 0;
}

#define FAKE_VERB(verb, fails, then)                                                  \
	static inline int fake_##verb(void *x, int domid, struct err *e)               \
	{                                                                              \
		(void)domid;                                                           \
		return fake_call(x, #verb, fails, then, e);                            \
	}

FAKE_VERB(unpause, ((struct fake *)x)->fails_unpause, LIFE_RUNNING)
FAKE_VERB(pause, false, LIFE_PAUSED)
FAKE_VERB(shutdown, false, LIFE_POWEROFF)
FAKE_VERB(reboot, false, LIFE_REBOOT)
FAKE_VERB(destroy, ((struct fake *)x)->fails_destroy, LIFE_GONE)
FAKE_VERB(resume, ((struct fake *)x)->fails_resume, LIFE_RUNNING)
static inline int fake_still(void *x, const json_t *vm, struct err *e) { return (void)x, (void)vm, (void)e, 0; }

static inline int fake_find(void *x, const char *uuid)
{
	return strcmp(uuid, FAKE_UUID) || fake_life(x) == LIFE_GONE ? DOMD_NO_DOMAIN : FAKE_DOMID;
}

static inline enum domd_life fake_look(void *x, int domid)
{
	return domid == FAKE_DOMID ? fake_life(x) : LIFE_GONE;
}

static inline int fake_console(void *x, int domid, char *out, size_t n, struct err *e)
{
	return (void)x, (void)domid, (void)e, snprintf(out, n, "/dev/null") < 0;
}

static inline int fake_cap_get(void *x, int domid, uint16_t *out, struct err *e)
{
	*out = ((struct fake *)x)->cap;
	return (void)domid, (void)e, 0;
}

static inline int fake_cap_set(void *x, int domid, uint16_t cap, struct err *e)
{
	((struct fake *)x)->cap = cap;
	return (void)domid, (void)e, 0;
}

static inline void fake_announce(void *x, struct loop *l, const json_t *vm)
{
	(void)l, (void)vm;
	fake_say(x, "announce");
}

static const struct domd_xen fake_xen = {
	.create = fake_create, .restore = fake_restore, .prepare = fake_prepare, .save = fake_save,
	.unpause = fake_unpause, .pause = fake_pause, .shutdown = fake_shutdown, .reboot = fake_reboot,
	.destroy = fake_destroy, .resume = fake_resume, .still = fake_still, .find = fake_find, .look = fake_look,
	.console = fake_console, .cap_get = fake_cap_get, .cap_set = fake_cap_set, .announce = fake_announce,
};

#endif
