/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of both ends in order, what is offered, and each way a front-end
 * can be wrong in its nodes.
 */
#include "blkd/blkif_priv.h"
#include "tests/unit/blkif_guest.h"

enum { STEPS = 10 };

static struct rig *begin(bool read_only)
{
	struct rig *g = rig_new(NULL);

	rig_blkif(g, read_only);
	rig_settle(g);
	return g;
}

static void node_is(struct rig *g, const char *path, const char *want)
{
	const char *v = rig_node(g, path);

	if (!v || strcmp(v, want))
		fail_msg("%s is '%s', want '%s'", path, v ? v : "(none)", want);
}

/* Each state of the front-end, then all that we said so far. */
static void states_in_order(void **state)
{
	static const struct {
		const char *label;
		struct { char front; const char *ours; } steps[STEPS];
	} cases[] = {
		{ "by_the_book", { { '1', "2" }, { '3', "24" }, { '4', "24" }, { '5', "245" }, { '6', "2456" } } },
		{ "back_again", { { '3', "24" }, { '4', "24" }, { '5', "245" }, { '6', "2456" }, { '1', "24562" },
				  { '3', "245624" }, { '4', "245624" } } },
		{ "crashed_guest_kernel", { { '3', "24" }, { '4', "24" }, { '1', "242" }, { '3', "2424" } } },
		{ "resumed", { { '3', "24" }, { '4', "24" }, { '3', "2424" }, { '4', "2424" } } },
		{ "never_came", { { '5', "25" }, { '6', "256" }, { '1', "2562" } } },
		{ "straight_to_connected", { { '4', "24" }, { '6', "246" } } },
		{ "looks_too_many", { { '3', "24" }, { '3', "24" }, { '4', "24" }, { '4', "24" }, { '6', "246" },
				      { '6', "246" } } },
		{ "passes_init_wait", { { '2', "2" }, { '3', "24" } } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rig *g = begin(false);
		struct guest u;

		guest_init(&u, g, 0);
		for (unsigned k = 0; cases[i].steps[k].ours; k++) {
			guest_state(&u, (char[]){ cases[i].steps[k].front, '\0' });
			rig_settle(g);
			if (strcmp(g->states, cases[i].steps[k].ours))
				fail_msg("%s, step %u: %s, want %s", cases[i].label, k, g->states,
					 cases[i].steps[k].ours);
		}
		assert_int_equal(g->broke, 0);
		rig_free(g);
	}
}

static void what_is_offered(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	node_is(g, RIG_BACK "feature-flush-cache", "1");
	node_is(g, RIG_BACK "feature-persistent", "0");
	node_is(g, RIG_BACK "feature-discard", "1");
	node_is(g, RIG_BACK "discard-granularity", "4096");
	node_is(g, RIG_BACK "feature-max-indirect-segments", "256");
	node_is(g, RIG_BACK "max-ring-page-order", "4");
	assert_null(rig_node(g, RIG_BACK "feature-barrier"));
	guest_connect(&u, g, 4);
	node_is(g, RIG_BACK "sectors", "65536");
	node_is(g, RIG_BACK "sector-size", "512");
	node_is(g, RIG_BACK "info", "0");
	node_is(g, RIG_BACK "mode", "w");
	rig_free(g);

	g = begin(true);
	node_is(g, RIG_BACK "feature-discard", "0");
	guest_connect(&u, g, 0);
	node_is(g, RIG_BACK "info", "4");
	node_is(g, RIG_BACK "mode", "r");
	rig_free(g);
}

/* One node wrong, or missing (NULL). */
static void wrong_nodes(void **state)
{
	static const struct { const char *label, *node, *value, *says; } cases[] = {
		{ "ref_missing", "ring-ref", NULL, "ring-ref" },
		{ "ref_text", "ring-ref", "many", "'many'" },
		{ "ref_negative", "ring-ref", "-1", "'-1'" },
		{ "ref_huge", "ring-ref", "4294967296", "4294967296" },
		{ "ref_empty", "ring-ref", "", "no number" },
		{ "ref_spaces", "ring-ref", " 1", "' 1'" },
		{ "ref_not_granted", "ring-ref", "99999", "99999" },
		{ "bell_missing", "event-channel", NULL, "event-channel" },
		{ "bell_of_another", "event-channel", "34", "34" },
		{ "order_5", "ring-page-order", "5", "ring-page-order 5" },
		{ "order_2_one_ref", "ring-page-order", "2", "ring-ref0" },
		{ "protocol", "protocol", "arm-abi", "'arm-abi'" },
		{ "queues", "multi-queue-num-queues", "2", "2 queues" },
		{ "state_9", "state", "9", "state is 9" },
		{ "state_text", "state", "x", "'x'" },
		{ "too_long", "protocol",
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "too long" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rig *g = begin(false);
		char path[128];
		const char *why;
		struct guest u;

		guest_init(&u, g, 0);
		rig_set(g, RIG_FRONT "state", "3");
		snprintf(path, sizeof(path), RIG_FRONT "%s", cases[i].node);
		if (cases[i].value)
			rig_set(g, path, cases[i].value);
		else
			fake_remove(g, path);
		blkif_look(g->b);
		blkif_look(g->b);
		rig_settle(g);
		why = rig_node(g, RIG_ERROR);
		if (!why || !strstr(why, cases[i].says) || g->broke != 1 || strcmp(g->states, "256"))
			fail_msg("%s: error '%s', states %s", cases[i].label, why ? why : "", g->states);
		assert_int_equal(g->mapped + g->bound, 0);
		rig_free(g);
	}
}

static void a_ring_that_cannot_be(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_init(&u, g, 0);
	guest_store(u.ring + BLKIF_REQ_PROD_AT, 33, 4);
	guest_state(&u, "3");
	assert_string_equal(g->states, "256");
	assert_int_equal(g->mapped + g->bound, 0);
	rig_free(g);
}

static void patience_ends(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_init(&u, g, 0);
	rig_set(g, RIG_FRONT "event-channel", "no");
	for (unsigned i = 0; i < BLKIF_BREAKS_MAX + 3; i++) {
		guest_state(&u, "3");
		guest_state(&u, "1");
	}
	assert_int_equal(g->broke, BLKIF_BREAKS_MAX);
	assert_string_equal(blkif_state(g->b), "closed");
	rig_free(g);
}

/* The guest was suspended and came back in the same domain: another ring, and requests of the old one in flight. */
static void another_ring(void **state)
{
	struct rig *g = begin(false);
	struct blkif_stats s;
	struct guest u;

	(void)state;
	guest_connect(&u, g, 0);
	rig_hold(g, true);
	for (unsigned i = 0; i < 5; i++)
		guest_put(&u, BLKIF_READ, i, 0, GUEST_DATA + i, 1);
	guest_ring(&u);
	guest_init(&u, g, 2);
	guest_state(&u, "3");
	assert_string_equal(g->states, "24");
	rig_hold(g, false);
	RIG_UNTIL(g, !strcmp(g->states, "2424"));
	guest_state(&u, "4");
	assert_int_equal(g->mapped, 4);
	guest_fill(&u, GUEST_DATA, 1, 1);
	assert_int_equal(guest_run(&u, BLKIF_WRITE, 0, GUEST_DATA, 1), BLKIF_OKAY);
	blkif_stats(g->b, &s);
	assert_int_equal(s.dropped, 5);
	rig_free(g);
}

/* The same before it ever said Connected: the ring itself tells. */
static void another_ring_early(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_init(&u, g, 0);
	guest_state(&u, "3");
	guest_init(&u, g, 1);
	guest_state(&u, "3");
	rig_settle(g);
	assert_string_equal(g->states, "2424");
	assert_int_equal(g->mapped, 2);
	rig_free(g);
}

static void after_resize(void *arg, const struct err *e)
{
	struct rig *g = arg;
	struct err mine = ERR_INIT;

	assert_int_equal(e->code, ERR_NONE);
	assert_int_equal(blkif_resized(g->b, &mine), 0);
}

static void resize(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_connect(&u, g, 0);
	assert_int_equal(guest_run(&u, BLKIF_READ, 65536, GUEST_DATA, 1), BLKIF_FAILED);
	queue_resize(g->qd, RIG_DISK_BYTES, after_resize, g);
	RIG_UNTIL(g, !strcmp(g->states, "244"));
	node_is(g, RIG_BACK "sectors", "131072");
	assert_int_equal(guest_run(&u, BLKIF_READ, 65536, GUEST_DATA, 1), BLKIF_OKAY);
	rig_free(g);
}

/* ---- the toolstack takes it away ----------------------------------------------------------------------- */

static void node_vanishes(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_connect(&u, g, 0);
	rig_hold(g, true);
	guest_put(&u, BLKIF_WRITE, 0, 0, GUEST_DATA, 1);
	guest_ring(&u);
	fake_remove(g, RIG_FRONT);
	blkif_look(g->b);
	assert_int_equal(g->gone, 0);		/* not while requests are in flight */
	rig_hold(g, false);
	RIG_UNTIL(g, g->gone);
	assert_string_equal(g->states, "246");
	assert_int_equal(g->mapped, 0);
	rig_free(g);
}

static void offline(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_connect(&u, g, 0);
	rig_set(g, RIG_BACK "online", "0");
	blkif_look(g->b);
	assert_int_equal(g->gone, 0);		/* the guest is asked to let it go first */
	guest_state(&u, "5");
	guest_state(&u, "6");
	rig_settle(g);
	assert_int_equal(g->gone > 0, 1);
	assert_string_equal(g->states, "2456");
	rig_free(g);

	g = begin(false);			/* the guest never came */
	rig_set(g, RIG_BACK "online", "0");
	blkif_look(g->b);
	assert_int_equal(g->gone, 1);
	assert_string_equal(g->states, "26");
	rig_free(g);
}

/* A write would make them again, for nobody to remove. */
static void our_nodes_vanish(void **state)
{
	struct rig *g = begin(false);
	struct guest u;

	(void)state;
	guest_connect(&u, g, 0);
	fake_remove(g, RIG_FRONT);
	fake_remove(g, RIG_BACK);
	blkif_look(g->b);
	rig_settle(g);
	assert_true(g->gone > 0);
	assert_null(rig_node(g, RIG_BACK "state"));
	rig_free(g);
}

/* ---- the beginning ------------------------------------------------------------------------------------- */

/* What another process left, and what the front-end says, when we begin. */
static void what_was_left(void **state)
{
	static const struct { const char *label, *ours, *front, *states, *end; } cases[] = {
		{ "new", "1", "1", "2", "init-wait" },
		{ "died_early", "2", "3", "24", "connected" },
		{ "taken_over", "4", "4", "", "connected" },
		{ "came_back_meanwhile", "4", "3", "24", "connected" },
		{ "went_meanwhile", "4", "6", "26", "closed" },
		{ "was_ended", "6", "4", "", "closed" },
		{ "was_ended_and_it_begins", "6", "1", "2", "init-wait" },
		{ "nonsense", "77", "1", "2", "init-wait" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rig *g = rig_new(NULL);
		struct guest u;

		guest_init(&u, g, 0);
		rig_set(g, RIG_BACK "state", cases[i].ours);
		rig_set(g, RIG_FRONT "state", cases[i].front);
		rig_blkif(g, false);
		rig_settle(g);
		if (strcmp(g->states, cases[i].states) || strcmp(blkif_state(g->b), cases[i].end))
			fail_msg("%s: wrote '%s', is %s", cases[i].label, g->states, blkif_state(g->b));
		rig_free(g);
	}
}

static void no_nodes(void **state)
{
	struct rig *g = rig_new(NULL);
	struct blkif_setup s = { .domid = RIG_DOMID, .devid = RIG_DEVID, .loop = g->loop, .queue = g->q, .disk = g->qd,
				 .xen = &fake_ops, .x = g };
	struct err e = ERR_INIT;

	(void)state;
	fake_remove(g, RIG_BACK);
	assert_int_equal(blkif_new(&s, &g->b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	s.domid = BLKIF_DOMID_MAX + 1;
	assert_int_equal(blkif_new(&s, &g->b, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_null(g->b);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_in_order),
		cmocka_unit_test(what_is_offered),
		cmocka_unit_test(wrong_nodes),
		cmocka_unit_test(a_ring_that_cannot_be),
		cmocka_unit_test(patience_ends),
		cmocka_unit_test(another_ring),
		cmocka_unit_test(another_ring_early),
		cmocka_unit_test(resize),
		cmocka_unit_test(node_vanishes),
		cmocka_unit_test(offline),
		cmocka_unit_test(our_nodes_vanish),
		cmocka_unit_test(what_was_left),
		cmocka_unit_test(no_nodes),
	};

	return check_main(tests);
}
