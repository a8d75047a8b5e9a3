/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM and its domain.  Xen comes in by pointer (struct domd_xen), so that
 * the whole of it runs in a test.
 *
 * One operation at a time: what blocks (libxl) runs on a worker thread while
 * `busy` names it; the loop answers status, refuse and hang-ups meanwhile.
 */
#ifndef DOMD_DOMD_H
#define DOMD_DOMD_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/ctl.h"
#include "base/err.h"
#include "base/loop.h"
#include "domd/note.h"
#include "domd/owner.h"

enum {
	DOMD_NO_DOMAIN = -1,
	DOMD_PATH_BYTES = 512,
	DOMD_IDLE_MS = 60000,		/* without a domain and without a call */
	DOMD_LEAVE_MS = 500,		/* for replies and events to be read */
	DOMD_CRASH_MS = 10000,		/* a guest that crashes sooner is not restarted: it would crash for ever */
	DOMD_API_UID = 102,
};

/* What Xen says of a domain; the order is xen/xl_dom.h's enum xl_life. */
enum domd_life { LIFE_GONE, LIFE_RUNNING, LIFE_PAUSED, LIFE_POWEROFF, LIFE_REBOOT, LIFE_SUSPENDED, LIFE_CRASHED };

/* All calls block, may come from any thread, and are those of xen/xl_dom.h, xen/xdev.h and domd/blk.h. */
struct domd_xen {
	int (*create)(void *x, const json_t *vm, const char *boot_dir, int *out_domid, struct err *e);
	int (*restore)(void *x, const json_t *vm, const char *boot_dir, int fd, bool with_devices, int *out_domid,
		       struct err *e);
	int (*prepare)(void *x, const json_t *vm, bool (*cancelled)(void *arg), void *arg, struct err *e);
	int (*save)(void *x, int domid, int fd, struct err *e);
	int (*unpause)(void *x, int domid, struct err *e);
	int (*pause)(void *x, int domid, struct err *e);
	int (*shutdown)(void *x, int domid, struct err *e);
	int (*reboot)(void *x, int domid, struct err *e);
	int (*destroy)(void *x, int domid, struct err *e);
	int (*resume)(void *x, int domid, struct err *e);
	/* The guest stands still: all that it wrote is on stable storage, and no more is written until resume. */
	int (*still)(void *x, const json_t *vm, struct err *e);
	int (*find)(void *x, const char *uuid);
	enum domd_life (*look)(void *x, int domid);
	int (*console)(void *x, int domid, char *out, size_t n, struct err *e);
	int (*cap_get)(void *x, int domid, uint16_t *out, struct err *e);
	int (*cap_set)(void *x, int domid, uint16_t cap, struct err *e);
	/* The guest's addresses on its bridges; repeated by itself. */
	void (*announce)(void *x, struct loop *l, const json_t *vm);
	/* The state of the VM changed; never blocks.  NULL: nobody asks. */
	void (*changed)(void *x);
	void *x;
};

struct domd {
	struct loop *loop;
	const struct domd_xen *xen;
	struct ctl_server *ctl;
	char vm[OWNER_TEXT_BYTES], data_dir[DOMD_PATH_BYTES], boot_dir[DOMD_PATH_BYTES];
	struct owner owner;
	struct note note;		/* the worker's while busy, else the loop's */
	json_t *config;			/* of the domain; NULL: never had one */
	int domid;			/* the loop's */
	int work_domid;			/* the worker's; becomes domid when its work is over */
	const char *state;		/* STATUS.state */
	const char *busy;		/* the operation under way, or NULL */
	char reason[256];
	uint64_t since_ms;
	uint64_t started_ms;		/* monotonic: the domain was made or taken over; 0: not by this process */
	struct loop_timer *idle;
	struct loop_src *alive;		/* of the mover of give-begin or receive */
	int alive_fd;
	char given_back[OWNER_TEXT_BYTES];	/* the session that gave up last */
	/* receive */
	struct receiving *receiving;
	bool complete;			/* what was received is whole and paused */
};

/* Reads record and configuration, finds the domain, settles what a crash or a power cut left. */
MUSTUSE int domd_init(struct domd *d, struct loop *l, const struct domd_xen *xen, const char *data_dir, const char *vm,
		      struct err *e);
/* Opens the control socket; acts on a guest that ended while nobody looked. */
MUSTUSE int domd_serve(struct domd *d, const char *run_dir, struct err *e);
/* Takes the socket away; the guest runs on. */
void domd_fini(struct domd *d);
/* The domain's state may have changed (@releaseDomain). */
void domd_look(struct domd *d);

/* ---- between the files of this folder ---- */

/* The only function that writes d->state; publishes it. */
void domd_enter(struct domd *d, const char *state, const char *why);
/* The state that Xen and the record say together. */
void domd_settle(struct domd *d, const char *why);
json_t *domd_status(const struct domd *d);
/* Keeps the configuration for a restart of this process or of the guest. */
MUSTUSE int domd_keep_config(struct domd *d, const json_t *config, struct err *e);

/* Work is done with d->work_domid, never with d->domid. */
typedef int domd_work_fn(struct domd *d, void *arg, struct err *e);
/* e NULL: it went well. */
typedef void domd_done_fn(struct domd *d, void *arg, const struct err *e);
/* Off the loop: fn; then on it: done.  ERR_BUSY names what is under way. */
MUSTUSE int domd_work(struct domd *d, const char *what, domd_work_fn *fn, domd_done_fn *done, void *arg, struct err *e);
/* As domd_work for a verb: its answer comes from done, whose arg is the deferred call; a failure to start is answered
 * here. */
void domd_work_call(struct domd *d, struct ctl_call *c, const char *what, domd_work_fn *fn, domd_done_fn *done);
/* Work: the domain is gone afterwards; fine if there is none. */
domd_work_fn domd_destroy_work;
/* Work: a domain made from the configuration, which runs. */
domd_work_fn domd_build_work;

/* Done of a verb that answers STATUS; arg: the deferred call. */
domd_done_fn domd_answered;
/* Configuration and record of create and restore: ours from here on. */
MUSTUSE int domd_claim(struct domd *d, const json_t *in, const char *why, struct err *e);

MUSTUSE int domd_need_domain(const struct domd *d, struct err *e);
MUSTUSE int domd_need_idle(const struct domd *d, struct err *e);
/* A domain, idle, and in no move. */
MUSTUSE int domd_need_free(const struct domd *d, struct err *e);
/* Ends the process after the reply of this moment, if nothing is left to hold. */
void domd_leave_if_over(struct domd *d);
void domd_forget_mover(struct domd *d);

/* life.c: what an earlier hvdomd left. */
MUSTUSE int domd_settle_start(struct domd *d, struct err *e);
/* give.c */
void give_restore_cap(struct domd *d);
/* A guest that stands still though nobody moves it goes on. */
MUSTUSE int give_resume(struct domd *d, struct err *e);
void give_mover_gone(struct domd *d);
/* receive.c */
void receive_mover_gone(struct domd *d);

extern const struct ctl_verb domd_verbs[];
int verb_save(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_restore(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_give_begin(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_throttle(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_give_commit(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_give_done(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_give_abort(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_receive(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_take(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);
int verb_refuse(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e);

#endif
