/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim-migrate: runs moves through every kind of trouble, one seed each, and
 * checks the invariants after every event.
 *
 *   sim-migrate --schedules N [--seed FIRST] [--break NAME]    N distinct schedules
 *   sim-migrate --seed N                                       the one of a seed, told event by event
 *   sim-migrate --prove                                        every --break must be found
 *
 * The last lines are for programs: `count schedules_migrate N`, `count
 * violations N`.  Exit status 1 if there was a violation.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const brk_names[BREAK_N] = {
	[BREAK_NONE] = "none",
	[BREAK_COMMIT_EARLY] = "commit-early",
	[BREAK_TAKE_AFTER_REFUSE] = "take-after-refuse",
	[BREAK_NO_HANGUP] = "no-hangup",
	[BREAK_NO_RECEIVE_HANGUP] = "no-receive-hangup",
	[BREAK_REFUSE_UNSAID] = "refuse-unsaid",
	[BREAK_NO_SYNC] = "no-sync",
	[BREAK_DOUBT_RESUMES] = "doubt-resumes",
	[BREAK_BOOT_DOUBT_HERE] = "boot-doubt-here",
	[BREAK_BLIND_VERDICT] = "blind-verdict",
	[BREAK_BLIND_REFUSE] = "blind-refuse",
	[BREAK_LATE_SUSPEND] = "late-suspend",
	[BREAK_KEEP_THROTTLE] = "keep-throttle",
	[BREAK_SAME_GENERATION] = "same-generation",
	[BREAK_IMPATIENT] = "impatient",
};

enum { EVENTS_MAX = 200000, PROVE_RUNS = 50000 };

/* The hashes of the schedules seen, open addressing; never more than half full. */
struct seen {
	uint64_t *slot;
	size_t cap, n;
};

static bool seen_add(struct seen *s, uint64_t hash)
{
	size_t i;

	hash |= 1;	/* 0 is an empty slot */
	if (s->n * 2 >= s->cap) {
		struct seen bigger = { .cap = s->cap ? s->cap * 2 : 1024 };

		bigger.slot = mem_alloc(bigger.cap * sizeof(uint64_t));
		for (size_t k = 0; k < s->cap; k++) {
			if (s->slot[k])
				seen_add(&bigger, s->slot[k]);
		}
		free(s->slot);
		*s = bigger;
	}
	for (i = hash % s->cap; s->slot[i]; i = (i + 1) % s->cap) {
		if (s->slot[i] == hash)
			return false;
	}
	s->slot[i] = hash;
	s->n++;
	return true;
}

static bool run(struct sim *w, uint64_t seed)
{
	world_reset(w, seed);
	while (!w->violation[0] && world_step(w)) {
		if (w->events_run > EVENTS_MAX)
			violated(w, "liveness: more than %d events", EVENTS_MAX);
	}
	if (!w->violation[0])
		check_end(w);
	return !w->violation[0];
}

static int run_many(struct sim *w, uint64_t first, uint64_t schedules)
{
	struct seen seen = { 0 };
	uint64_t violations = 0, runs = 0, events = 0;

	for (; seen.n < schedules && runs < schedules * 4 && !violations; runs++) {
		unsigned long long seed = first + runs;

		if (!run(w, seed)) {
			violations++;
			printf("seed %llu: %s\nagain: make sim SEED=%llu\n", seed, w->violation, seed);
		}
		events += w->events_run;
		seen_add(&seen, w->hash);
	}
	printf("runs %llu, events %llu, moves %u, aborts %u\n", (unsigned long long)runs, (unsigned long long)events,
	       w->moved, w->aborted);
	printf("count schedules_migrate %zu\ncount violations %llu\n", seen.n, (unsigned long long)violations);
	if (!violations && seen.n < schedules)
		printf("only %zu distinct schedules of %llu\n", seen.n, (unsigned long long)schedules);
	free(seen.slot);
	return violations || !w->moved || !w->aborted;
}

/* The checks are worth what they find: each mistake must show within PROVE_RUNS. */
static int prove(struct sim *w)
{
	unsigned found = 0;

	for (unsigned b = BREAK_NONE + 1; b < BREAK_N; b++) {
		uint64_t seed = 1;

		w->brk = (enum brk)b;
		while (seed <= PROVE_RUNS && run(w, seed))
			seed++;
		printf("break %-18s ", brk_names[b]);
		if (seed > PROVE_RUNS) {
			printf("NOT FOUND in %d runs\nagain: sim-migrate --schedules %d --break %s\n", PROVE_RUNS,
			       PROVE_RUNS, brk_names[b]);
			continue;
		}
		printf("seed %-6llu %s\n", (unsigned long long)seed, w->violation);
		found++;
	}
	printf("count sim_breaks_found %u\ncount sim_breaks %u\n", found, BREAK_N - 1);
	return found != BREAK_N - 1;
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || !*text) {
		fprintf(stderr, "sim-migrate: '%s' is no number\n", text);
		exit(2);
	}
	return v;
}

static enum brk break_of(const char *name)
{
	for (unsigned i = 0; i < BREAK_N; i++) {
		if (!strcmp(name, brk_names[i]))
			return (enum brk)i;
	}
	fprintf(stderr, "sim-migrate: no break is called '%s'; they are:\n", name);
	for (unsigned i = 0; i < BREAK_N; i++)
		fprintf(stderr, "  %s\n", brk_names[i]);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "seed", required_argument, NULL, 's' }, { "schedules", required_argument, NULL, 'n' },
		{ "break", required_argument, NULL, 'b' }, { "prove", no_argument, NULL, 'p' }, { NULL, 0, NULL, 0 }
	};
	struct sim *w = mem_alloc(sizeof(*w));
	uint64_t seed = 1, schedules = 0;
	bool one = false, proof = false;
	int c, rc;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (c == 's') {
			seed = number(optarg);
			one = true;
		} else if (c == 'n') {
			schedules = number(optarg);
		} else if (c == 'b') {
			w->brk = break_of(optarg);
		} else if (c == 'p') {
			proof = true;
		} else {
			return 2;
		}
	}
	if (!schedules && !one && !proof) {
		fprintf(stderr, "usage: sim-migrate --schedules N [--seed FIRST] [--break NAME]\n"
			"       sim-migrate --seed N [--break NAME]\n       sim-migrate --prove\n");
		return 2;
	}
	w->verbose = !schedules && !proof;
	if (proof) {
		rc = prove(w);
	} else if (schedules) {
		rc = run_many(w, seed, schedules);
	} else {
		rc = !run(w, seed);
		printf("seed %llu: %s\ncount violations %d\n", (unsigned long long)seed, rc ? w->violation : "ok", rc);
	}
	world_fini(w);
	free(w);
	return rc;
}
