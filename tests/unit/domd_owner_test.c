/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of who owns a VM: every pair of words, and what a power cut or a
 * damaged disk leaves of it.
 */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "domd/owner.h"
#include "tests/unit/tmp.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "fedcba98-7654-3210-fedc-ba9876543210"

/* How each word is reached from none. */
static const enum owner_word way[OWNER_N][4] = {
	[OWNER_HERE] = { OWNER_HERE },
	[OWNER_GIVING] = { OWNER_HERE, OWNER_GIVING },
	[OWNER_IN_DOUBT] = { OWNER_HERE, OWNER_GIVING, OWNER_IN_DOUBT },
	[OWNER_AWAY] = { OWNER_HERE, OWNER_GIVING, OWNER_IN_DOUBT, OWNER_AWAY },
	[OWNER_RECEIVING] = { OWNER_RECEIVING },
	[OWNER_REFUSED] = { OWNER_RECEIVING, OWNER_REFUSED },
};

/* The drawing of domd_ctl.h: same UUID, and (capitals) only with another one. */
static const char *const allowed[OWNER_N] = {
	[OWNER_NONE] = "here receiving", [OWNER_HERE] = "here giving RECEIVING", [OWNER_GIVING] = "here in-doubt",
	[OWNER_IN_DOUBT] = "here away", [OWNER_AWAY] = "receiving HERE", [OWNER_RECEIVING] = "here refused",
	[OWNER_REFUSED] = "receiving HERE",
};

static bool has_word(const char *list, const char *word, bool capitals)
{
	char want[32];
	size_t n = strlen(word);

	for (size_t i = 0; i <= n; i++)
		want[i] = capitals && word[i] >= 'a' && word[i] <= 'z' ? (char)(word[i] - 32) : word[i];
	for (const char *p = strstr(list, want); p; p = strstr(p + 1, want)) {
		if ((p == list || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' '))
			return true;
	}
	return false;
}

static struct owner next_of(const char *uuid, uint64_t generation)
{
	struct owner o = { .generation = generation };

	snprintf(o.uuid, sizeof(o.uuid), "%s", uuid);
	snprintf(o.session, sizeof(o.session), "s-1");
	snprintf(o.peer, sizeof(o.peer), "b");
	return o;
}

static struct owner reach(struct tmp *t, enum owner_word w)
{
	struct owner o, next = next_of(UUID, 4);
	struct err e = ERR_INIT;

	assert_int_equal(owner_load(t->dir, "web1", &o, &e), 0);
	for (int i = 0; i < 4 && w != OWNER_NONE && way[w][i] != OWNER_NONE; i++) {
		if (owner_enter(&o, way[w][i], &next, "test", &e) < 0)
			fail_msg("%s: %s", owner_name(way[w][i]), e.detail);
	}
	assert_int_equal(o.word, w);
	return o;
}

static void one_way(enum owner_word from, enum owner_word to, bool other)
{
	struct tmp t;
	struct err e = ERR_INIT;

	tmp_init(&t);
	struct owner o = reach(&t, from), next = next_of(other ? OTHER : UUID, 4), disk;
	bool want = has_word(allowed[from], owner_name(to), false) ||
		    (other && has_word(allowed[from], owner_name(to), true));
	int rc = owner_enter(&o, to, &next, "test", &e);

	if ((rc == 0) != want)
		fail_msg("%s -> %s, %s uuid: %d", owner_name(from), owner_name(to), other ? "other" : "same", rc);
	if (rc < 0)
		assert_int_equal(e.code, ERR_STATE);
	assert_int_equal(o.word, rc == 0 ? to : from);
	e = (struct err)ERR_INIT;
	assert_int_equal(owner_load(t.dir, "web1", &disk, &e), 0);
	assert_int_equal(disk.word, o.word);
	if (o.word != OWNER_NONE)
		assert_memory_equal(&disk, &o, sizeof(o));
	tmp_fini(&t);
}

static void test_every_way(void **state)
{
	(void)state;
	for (int from = OWNER_NONE; from < OWNER_N; from++) {
		for (int to = OWNER_HERE; to < OWNER_N; to++) {
			one_way((enum owner_word)from, (enum owner_word)to, false);
			one_way((enum owner_word)from, (enum owner_word)to, true);
		}
	}
}

static void test_generation_never_falls(void **state)
{
	struct tmp t;
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	struct owner o = reach(&t, OWNER_HERE), next = next_of(UUID, 3);

	assert_int_equal(owner_enter(&o, OWNER_GIVING, &next, "test", &e), -1);
	assert_int_equal(e.code, ERR_STATE);
	assert_int_equal(o.word, OWNER_HERE);
	assert_int_equal(o.generation, 4);
	tmp_fini(&t);
}

/* What cannot be written is not so: in memory either. */
static void test_not_written(void **state)
{
	struct tmp t;
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	struct owner o = reach(&t, OWNER_GIVING), next = o, disk;

	snprintf(o.path, sizeof(o.path), "%s/no-folder/owner.json", t.dir);
	assert_int_equal(owner_enter(&o, OWNER_IN_DOUBT, &next, "test", &e), -1);
	assert_non_null(strstr(e.detail, "web1"));
	assert_int_equal(o.word, OWNER_GIVING);
	e = (struct err)ERR_INIT;
	assert_int_equal(owner_load(t.dir, "web1", &disk, &e), 0);
	assert_int_equal(disk.word, OWNER_GIVING);
	tmp_fini(&t);
}

/* A temporary file that a power cut left says nothing. */
static void test_half_written(void **state)
{
	struct tmp t;
	struct err e = ERR_INIT;

	(void)state;
	tmp_init(&t);
	struct owner o = reach(&t, OWNER_IN_DOUBT), disk;
	char left[OWNER_PATH_BYTES + 8];

	for (int i = 0; i < 2; i++) {
		snprintf(left, sizeof(left), "%s%s", o.path, i ? ".tmp" : ".new");
		assert_int_equal(fd_write_file(left, "{\"owner\": \"he", 13, 0640, &e), 0);
	}
	assert_int_equal(owner_load(t.dir, "web1", &disk, &e), 0);
	assert_int_equal(disk.word, OWNER_IN_DOUBT);
	assert_string_equal(disk.session, "s-1");
	assert_string_equal(disk.peer, "b");
	tmp_fini(&t);
}

/* Without the syncs of fd_write_file, for there are many. */
static void overwrite(const char *path, const void *p, size_t n)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, p, n), 0);
}

/* One bit anywhere: an error with a remedy, never another owner. */
static void test_damaged(void **state)
{
	struct tmp t;
	struct err e = ERR_INIT;
	AUTO_BUF struct buf good = { 0 };

	(void)state;
	tmp_init(&t);
	struct owner o = reach(&t, OWNER_AWAY), disk = { .word = OWNER_N };
	unsigned refused = 0;

	assert_int_equal(fd_read_file(o.path, 4096, &good, &e), 0);
	for (size_t i = 0; i < good.len; i++) {
		for (int bit = 0; bit < 8; bit += 3) {
			good.p[i] ^= (uint8_t)(1 << bit);
			overwrite(o.path, good.p, good.len);
			good.p[i] ^= (uint8_t)(1 << bit);
			if (owner_load(t.dir, "web1", &disk, &e) == 0) {
				/* White space, or the case of the CRC. */
				assert_int_equal(disk.word, OWNER_AWAY);
				continue;
			}
			refused++;
			assert_true(*e.remedy || e.code != ERR_CORRUPT);
			e = (struct err)ERR_INIT;
		}
	}
	assert_true(refused > good.len * 2);
	assert_int_equal(fd_write_file(o.path, "", 0, 0640, &e), 0);
	assert_int_equal(owner_load(t.dir, "web1", &disk, &e), -1);
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_non_null(strstr(e.remedy, "other host"));
	tmp_fini(&t);
}

static void test_too_long(void **state)
{
	char text[OWNER_TEXT_BYTES + 1], out[OWNER_TEXT_BYTES] = "as it was";
	struct err e = ERR_INIT;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[OWNER_TEXT_BYTES] = '\0';
	assert_int_equal(owner_put(out, "session", text, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(out, "as it was");
	text[OWNER_TEXT_BYTES - 1] = '\0';
	assert_int_equal(owner_put(out, "session", text, &e), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_way), cmocka_unit_test(test_generation_never_falls),
		cmocka_unit_test(test_not_written), cmocka_unit_test(test_half_written),
		cmocka_unit_test(test_damaged), cmocka_unit_test(test_too_long),
	};

	return check_main(tests);
}
