/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test guest: one static program that is init and everything else in it.
 * Each part runs on threads of its own and answers commands as JSON text.
 *
 * Kernel command line: guest.ip=10.77.0.10 (24 bits), guest.tick_ms=10.
 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PORT_ECHO = 7,			/* UDP and TCP */
	PORT_COMMAND = 7777,		/* UDP: "NUMBER COMMAND", answered by "NUMBER JSON" */
	TEXT_MAX = 1400,
	WORDS_MAX = 8,
	TICK_MS = 10,
	GAP_MS_MIN = 50,		/* shorter gaps between ticks are the scheduler's */
	GAPS_MAX = 16,
	DIRTY_MIB_MAX = 1 << 16,
};

/* An answer under construction; what does not fit is cut. */
struct answer {
	char text[TEXT_MAX];
	size_t len;
};
void answer_add(struct answer *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Replaces the answer by {"error": ...}. */
void answer_error(struct answer *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line on the console. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Starts a thread that nobody waits for; ends the guest with a message when there is none to be had. */
void run_thread(void *(*fn)(void *arg), void *arg);
uint64_t now_ms(int clock_id);
void wait_ms(unsigned ms);
/* The value of KEY=VALUE on the kernel command line, or def. */
const char *boot_arg(const char *key, const char *def, char *out, size_t bytes);
bool parse_u64(const char *text, uint64_t max, uint64_t *out);
/* mode: a RB_ value of reboot(2); flushes disks first; returns only when refused. */
void end_guest(int mode);

/* ticks.c: counts, and notices when the guest stood still (by CLOCK_BOOTTIME and CLOCK_REALTIME). */
void ticks_start(void);
void ticks_stat(struct answer *a);
void ticks_gaps(struct answer *a, bool reset);

/* memory.c: `dirty` writes n MiB round and round; `fill` and `check` prove that memory survived a move. */
void memory_dirty(struct answer *a, const char *mib, const char *rate);
void memory_dirty_off(struct answer *a);
void memory_fill(struct answer *a, const char *mib);
void memory_check(struct answer *a);
void memory_stat(struct answer *a);

/* disk.c: numbered, checksummed records, each flushed before the next. */
void disk_start(struct answer *a, const char *dev, const char *per_s);
void disk_stop(struct answer *a);
void disk_check(struct answer *a, const char *dev);
void disk_stat(struct answer *a);

/* net.c: brings the interface up, serves the echo and command ports. */
void net_start(void);
void net_tcp(struct answer *a, const char *verb, const char *ip);
void net_stat(struct answer *a);

/* commands.c: one command line in, JSON out. */
void command_run(const char *line, struct answer *a);

#endif
