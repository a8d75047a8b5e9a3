/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the simulated world.  sim.h says which file does what with it.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/session.h"

enum {
	HOSTS = 2, PROCS_MAX = 64, LINKS_MAX = 64, OPS_MAX = 16, FAULTS_MAX = 6, LINE_MSGS_MAX = 256
};

/* Nothing goes wrong after CALM_MS; SETTLE_MS later every run must have come to its end. */
enum { CALM_MS = 90000, SETTLE_MS = 120000 };

/* Mistakes that a product could make, to prove that the checks see them (--break NAME). */
enum brk {
	BREAK_NONE, BREAK_COMMIT_EARLY, BREAK_TAKE_AFTER_REFUSE, BREAK_NO_HANGUP, BREAK_NO_RECEIVE_HANGUP,
	BREAK_REFUSE_UNSAID, BREAK_NO_SYNC, BREAK_DOUBT_RESUMES, BREAK_BOOT_DOUBT_HERE, BREAK_BLIND_VERDICT,
	BREAK_BLIND_REFUSE, BREAK_LATE_SUSPEND, BREAK_KEEP_THROTTLE, BREAK_SAME_GENERATION, BREAK_IMPATIENT, BREAK_N
};
extern const char *const brk_names[BREAK_N];

struct sim;
struct event {
	uint64_t at_ms;
	uint64_t order;			/* events of one moment run in the order they were made */
	void (*fn)(struct sim *w, const struct event *ev);
	const char *name;
	uint32_t a, b, c;		/* for fn */
	uint64_t epoch;			/* for fn: of the process, hvdomd or boot that it is meant for */
};

enum dom_state { DOM_NONE, DOM_BUILDING, DOM_PAUSED, DOM_RUNNING, DOM_SUSPENDED };

struct record {
	enum mig_owner owner;
	uint32_t session;		/* 0: none */
	uint64_t generation;
};

/* A request to hvdomd, or (kind MIG_ACT_NONE) the hang-up of a process. */
struct op {
	enum mig_act_kind kind;
	uint32_t proc;			/* index + 1; 0: the operator or the guest */
	uint64_t proc_epoch;
	uint32_t session;
	bool not_taken;
	uint64_t generation;
	uint8_t cap;
	unsigned step;
};

struct host {
	bool up, domd_up, hvapid_up;
	uint64_t boot, domd_epoch;
	struct record disk;		/* what survives */
	struct record writing;		/* on its way to the disk */
	bool is_writing;
	struct record mem;		/* what hvdomd believes; differs from disk while writing */
	struct record synced;		/* BREAK_NO_SYNC: what a power cut leaves */
	struct op ops[OPS_MAX];
	unsigned n_ops;
	uint32_t slow_ms;		/* added to each step of hvdomd */
	enum dom_state dom;
	uint32_t dom_id;
	uint32_t mover;			/* process whose hang-up counts, index + 1 */
	uint64_t mover_epoch;
	uint8_t cap;
	bool suspend_asked;
	bool deaf;			/* the guest does not answer the next suspend request */
	bool lost;			/* memory of the owner went with the power */
};

struct line_dir {
	uint8_t *msg[LINE_MSGS_MAX];	/* frames; NULL: end of stream */
	uint32_t len[LINE_MSGS_MAX];
	unsigned head, n, due;		/* due: deliveries that a cut holds back */
	uint64_t last_ms;
};

struct line {
	bool used, open[2];		/* open: that end has not been closed */
	uint32_t proc[2], number[2];	/* the process at each end, and the line's number there */
	uint64_t epoch[2];
	uint32_t host[2];
	struct line_dir dir[2];		/* dir[i]: from end i to the other */
};

struct proc {
	bool alive;
	uint64_t epoch;
	uint32_t host;
	uint32_t session;
	uint64_t timer_armed[MIG_TIMER_N];
	int line, line_end;		/* -1: none */
	uint32_t line_number;
	/* saver */
	uint32_t round, round_left, batches, batches_got;
	uint64_t saver_epoch;
	bool saver_stops;
	bool check_only, offer_check_only;
	uint64_t offer_generation;
	struct mig_msg query;
	bool uses_domd;
	struct session s;
};

struct fault {
	unsigned kind;
	uint32_t at_report;		/* after so many state changes, or 0: at_ms */
	uint32_t ms;
	bool done;
};

struct sim {
	uint64_t seed, rng, now_ms, orders, events_run;
	struct event *heap;
	unsigned n_heap, cap_heap;
	struct host host[HOSTS];
	struct line line[LINKS_MAX];
	unsigned n_lines;
	struct proc *proc[PROCS_MAX];	/* kept between runs */
	unsigned n_procs;
	uint64_t epochs;
	bool cut;
	uint32_t latency_ms;
	uint32_t sessions, moves_left, reports;
	struct fault fault[FAULTS_MAX];
	unsigned n_faults;
	bool calm;			/* faults are over */
	uint64_t calm_ms;
	enum brk brk;
	uint64_t hash;
	bool verbose;
	unsigned moved, aborted, doubted;
	char violation[256];
};

#endif
