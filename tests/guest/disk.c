/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on a disk that tell afterwards what of them was lost.  Record n lies
 * in slot n % SLOTS, is one block, and is flushed before n + 1 is written:
 *
 *    0        8      16     24      28              4096
 *    +--------+------+------+-------+----------------+
 *    | magic  | n    | run  | crc32 | pattern of n   |    crc32 of the block with crc32 = 0
 *    +--------+------+------+-------+----------------+
 *
 * If the highest whole record is `last`, all of last - SLOTS + 2 .. last must
 * be there: each missing one is a hole.  The slot behind `last` may hold
 * anything: a write that nobody was told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/guest.h"

enum { BLOCK = 4096, SLOTS = 1024, READ_BLOCKS = 128, PER_S = 50, PER_S_MAX = 1000, AT_CRC = 24, AT_PATTERN = 28 };
static const char magic[8] = "HVRECORD";

struct found {
	uint64_t last, run, records, holes, first_hole, bad;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char dev[64], error[96];
	int fd;
	bool running;
	unsigned run;
	uint64_t start, durable, per_s, slowest_ms;
} disk = { .fd = -1 };

static uint32_t crc32(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	uint32_t c = UINT32_MAX;

	for (uint32_t i = 0; i < 256 && !table[255]; i++) {
		table[i] = i;
		for (int k = 0; k < 8; k++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	while (n--)
		c = table[(c ^ *p++) & 0xff] ^ c >> 8;
	return ~c;
}

static void record_make(uint8_t *b, uint64_t n, uint64_t run)
{
	uint64_t x = n * 0x9e3779b97f4a7c15ull | 1;

	memcpy(b, magic, 8);
	memcpy(b + 8, &n, 8);
	memcpy(b + 16, &run, 8);
	memset(b + AT_CRC, 0, 4);
	for (size_t i = AT_PATTERN; i + 8 <= BLOCK; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(b + i, &x, 8);
	}
	memset(b + BLOCK - 4, 0, 4);
	uint32_t crc = crc32(b, BLOCK);

	memcpy(b + AT_CRC, &crc, 4);
}

/* True and *n, *run if the block is a whole record. */
static bool record_read(uint8_t *b, uint64_t *n, uint64_t *run)
{
	uint32_t crc;

	memcpy(&crc, b + AT_CRC, 4);
	memset(b + AT_CRC, 0, 4);
	memcpy(n, b + 8, 8);
	memcpy(run, b + 16, 8);
	return !memcmp(b, magic, 8) && crc32(b, BLOCK) == crc;
}

static void scan_block(uint8_t *b, unsigned slot, uint64_t *out_n, struct found *f)
{
	uint64_t n, run;

	*out_n = 0;
	if (!record_read(b, &n, &run) || n % SLOTS != slot) {
		f->bad += !memcmp(b, magic, 8);
		return;
	}
	*out_n = n;
	if (n > f->last) {
		f->last = n;
		f->run = run;
	}
}

/* Which record each slot holds (0: none) and the highest of them; -1 with errno when the disk cannot be read. */
static int scan(int fd, uint64_t slots[SLOTS], struct found *f)
{
	uint8_t *b = aligned_alloc(BLOCK, READ_BLOCKS * BLOCK);
	int rc = b ? 0 : -1;

	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; !rc && i < SLOTS; i += READ_BLOCKS) {
		if (pread(fd, b, READ_BLOCKS * BLOCK, (off_t)i * BLOCK) != READ_BLOCKS * BLOCK) {
			rc = -1;
			break;
		}
		for (unsigned k = 0; k < READ_BLOCKS; k++)
			scan_block(b + k * BLOCK, i + k, &slots[i + k], f);
	}
	free(b);
	return rc;
}

static void find_holes(const uint64_t slots[SLOTS], struct found *f)
{
	uint64_t first = f->last > SLOTS - 2 ? f->last - (SLOTS - 2) : 1;

	for (uint64_t n = first; n <= f->last; n++) {
		if (slots[n % SLOTS] == n) {
			f->records++;
			continue;
		}
		if (!f->holes++)
			f->first_hole = n;
	}
}

/* One record, durable when it returns 0. */
static int write_record(uint8_t *b, uint64_t n)
{
	uint64_t t0 = now_ms(CLOCK_BOOTTIME);

	record_make(b, n, disk.start);
	if (pwrite(disk.fd, b, BLOCK, (off_t)(n % SLOTS) * BLOCK) != BLOCK || fdatasync(disk.fd) < 0)
		return -1;
	uint64_t took = now_ms(CLOCK_BOOTTIME) - t0;

	disk.durable = n;
	if (took > disk.slowest_ms)
		disk.slowest_ms = took;
	return 0;
}

static void *writer(void *arg)
{
	unsigned run = (unsigned)(uintptr_t)arg;
	uint8_t *b = aligned_alloc(BLOCK, BLOCK);
	bool go_on = b != NULL;

	while (go_on) {
		pthread_mutex_lock(&lock);
		go_on = disk.run == run && disk.running;
		if (go_on && write_record(b, disk.durable + 1) < 0) {
			snprintf(disk.error, sizeof(disk.error), "record %llu: %s",
				 (unsigned long long)disk.durable + 1, strerror(errno));
			say("guest: disk %s: %s", disk.dev, disk.error);
			disk.running = go_on = false;
		}
		unsigned pause_ms = (unsigned)(1000 / disk.per_s);

		pthread_mutex_unlock(&lock);
		wait_ms(pause_ms);
	}
	free(b);
	return NULL;
}

static void disk_close(void)
{
	disk.run++;
	disk.running = false;
	if (disk.fd >= 0)
		close(disk.fd);
	disk.fd = -1;
}

static int disk_open(const char *dev)
{
	char path[80];

	snprintf(path, sizeof(path), "%s%.60s", dev[0] == '/' ? "" : "/dev/", dev);
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

/* Goes on behind the last record that is there. */
void disk_start(struct answer *a, const char *dev, const char *per_s_text)
{
	static uint64_t slots[SLOTS];
	struct found f;
	uint64_t per_s = PER_S;

	if (*per_s_text && (!parse_u64(per_s_text, PER_S_MAX, &per_s) || !per_s)) {
		answer_error(a, "disk start DEV PER_S, not '%s'", per_s_text);
		return;
	}
	pthread_mutex_lock(&lock);
	disk_close();
	disk.fd = disk_open(dev);
	if (disk.fd < 0 || scan(disk.fd, slots, &f) < 0) {
		answer_error(a, "disk %s: %s", dev, strerror(errno));
		pthread_mutex_unlock(&lock);
		return;
	}
	snprintf(disk.dev, sizeof(disk.dev), "%s", dev);
	disk.error[0] = '\0';
	disk.start = now_ms(CLOCK_REALTIME);
	disk.durable = f.last;
	disk.per_s = per_s;
	disk.slowest_ms = 0;
	disk.running = true;
	run_thread(writer, (void *)(uintptr_t)disk.run);
	answer_add(a, "\"dev\": \"%s\", \"from\": %llu", disk.dev, (unsigned long long)f.last + 1);
	pthread_mutex_unlock(&lock);
}

void disk_stop(struct answer *a)
{
	pthread_mutex_lock(&lock);
	disk_close();
	answer_add(a, "\"durable\": %llu", (unsigned long long)disk.durable);
	pthread_mutex_unlock(&lock);
}

void disk_check(struct answer *a, const char *dev)
{
	static uint64_t slots[SLOTS];
	struct found f;

	pthread_mutex_lock(&lock);
	int fd = disk_open(*dev ? dev : disk.dev);

	if (fd < 0 || scan(fd, slots, &f) < 0) {
		answer_error(a, "disk %s: %s", *dev ? dev : disk.dev, strerror(errno));
	} else {
		find_holes(slots, &f);
		answer_add(a, "\"last\": %llu, \"records\": %llu, \"holes\": %llu, ", (unsigned long long)f.last,
			   (unsigned long long)f.records, (unsigned long long)f.holes);
		answer_add(a, "\"first_hole\": %llu, \"torn\": %llu, \"run\": %llu", (unsigned long long)f.first_hole,
			   (unsigned long long)f.bad, (unsigned long long)f.run);
	}
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&lock);
}

void disk_stat(struct answer *a)
{
	pthread_mutex_lock(&lock);
	answer_add(a, "\"dev\": \"%s\", \"running\": %s, \"durable\": %llu, \"slowest_ms\": %llu, \"failed\": \"%s\"",
		   disk.dev, disk.running ? "true" : "false", (unsigned long long)disk.durable,
		   (unsigned long long)disk.slowest_ms, disk.error);
	pthread_mutex_unlock(&lock);
}
