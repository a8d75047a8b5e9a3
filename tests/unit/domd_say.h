/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of hvdomd say and look at.  What takes its time is waited for,
 * with an end.
 */
#ifndef TESTS_UNIT_DOMD_SAY_H
#define TESTS_UNIT_DOMD_SAY_H

#include "tests/unit/domd_box.h"

#define OTHER_UUID "99999999-2222-3333-4444-555555555555"

static inline json_t *vm_of(const char *name, const char *uuid)
{
	return json_pack("{s:s, s:s, s:s}", "name", name, "uuid", uuid, "type", "pvh");
}

static inline json_t *create_args(const char *uuid, int generation)
{
	return json_pack("{s:o, s:i}", "config", vm_of("g1", uuid), "generation", generation);
}

static inline json_t *session(const char *s)
{
	return json_pack("{s:s}", "session", s);
}

static inline json_t *not_taken(const char *s)
{
	return json_pack("{s:s, s:b}", "session", s, "not_taken", 1);
}

/* The whole of what Xen was told since the last look. */
static inline void said_is(struct box *b, const char *want)
{
	char said[FAKE_SAID_BYTES];

	pthread_mutex_lock(&b->x.lock);
	memcpy(said, b->x.said, sizeof(said));
	*b->x.said = '\0';
	pthread_mutex_unlock(&b->x.lock);
	assert_string_equal(said, want);
}

static inline void wait_said(struct box *b, const char *want)
{
	uint64_t end = clock_mono_ms() + BOX_WAIT_MS;
	bool same = false;

	while (!same && clock_mono_ms() < end) {
		poll(NULL, 0, FAKE_STEP_MS);
		pthread_mutex_lock(&b->x.lock);
		same = !strcmp(b->x.said, want);
		pthread_mutex_unlock(&b->x.lock);
	}
	said_is(b, want);
}

static inline void state_is(struct box *b, const char *want)
{
	uint64_t end = clock_mono_ms() + BOX_WAIT_MS;
	char state[32] = "";

	while (clock_mono_ms() < end) {
		AUTO_JSON json_t *s = NULL;

		assert_int_equal(box_ask_fds(b, DOMD_STATUS, NULL, NULL, 0, &s), ERR_NONE);
		snprintf(state, sizeof(state), "%s", json_string_value(json_object_get(s, "state")));
		if (!strcmp(state, want))
			return;
		poll(NULL, 0, FAKE_STEP_MS);
	}
	fail_msg("state is %s, not %s", state, want);
}

static inline void owner_is(struct box *b, const char *want)
{
	char word[FAKE_WORD_BYTES];

	fake_owner(&b->x, word);
	assert_string_equal(word, want);
}

static inline void wait_owner(struct box *b, const char *want)
{
	uint64_t end = clock_mono_ms() + BOX_WAIT_MS;
	char word[FAKE_WORD_BYTES] = "";

	while (strcmp(word, want) && clock_mono_ms() < end) {
		poll(NULL, 0, FAKE_STEP_MS);
		fake_owner(&b->x, word);
	}
	assert_string_equal(word, want);
}

static inline uint64_t generation_of(struct box *b)
{
	AUTO_JSON json_t *s = NULL;

	assert_int_equal(box_ask_fds(b, DOMD_STATUS, NULL, NULL, 0, &s), ERR_NONE);
	return (uint64_t)json_integer_value(json_object_get(s, "generation"));
}

/* It ends by itself. */
static inline void wait_end(struct box *b)
{
	uint64_t end = clock_mono_ms() + BOX_WAIT_MS;

	while (!__atomic_load_n(&b->ended, __ATOMIC_ACQUIRE) && clock_mono_ms() < end)
		poll(NULL, 0, FAKE_STEP_MS);
	assert_true(__atomic_load_n(&b->ended, __ATOMIC_ACQUIRE));
}

/* A guest that runs here, generation 3. */
static inline void created(struct box *b)
{
	assert_int_equal(box_ask(b, DOMD_CREATE, create_args(FAKE_UUID, 3)), ERR_NONE);
	state_is(b, "running");
	said_is(b, "create:here unpause:here");
}

#endif
