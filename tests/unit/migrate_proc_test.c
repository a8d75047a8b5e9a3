/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole moves of hvmigrate's two roles against each other over a socket, with
 * everything but Xen, TLS and hvapid real; and what happens when the line, the
 * receiver or the operator ends them.
 */
#include "tests/unit/migrate_rig.h"

#include <poll.h>
#include <signal.h>

struct rig {
	struct side src, dst;
	struct guest guest;
	json_t *spec;
};

static int setup(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));
	char path[RIG_PATH_BYTES + 64];

	rig_side_start(&r->src, &r->dst);
	rig_side_start(&r->dst, &r->src);
	r->guest = (struct guest){ .host = &r->src, .first_pages = 700, .dirty_pages = 90, .seed = 88172645463325252u };
	rig_guest = &r->guest;
	snprintf(path, sizeof(path), DOMD_SOCKET_FMT, r->src.run_dir, "web1");
	r->spec = json_pack("{ss ss ss ss ss si si ss}", "vm", "web1", "uuid", RIG_UUID, "peer", "other",
			    "address", "a:1", "domd", path, "max_downtime_ms", 1, "max_rounds", 3, "on_stall", "stop");
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_side_fini(&r->src);
	rig_side_fini(&r->dst);
	buf_fini(&r->guest.sent);
	json_decref(r->spec);
	free(r);
	return 0;
}

static void begin(struct rig *r)
{
	int line[2];
	struct err e = ERR_INIT;

	assert_int_equal(fd_pair(line, &e), 0);
	r->src.cut_fd = dup(line[0]);
	r->dst.cut_fd = dup(line[0]);
	rig_start(&r->dst, 0, false, "u1", line[1], NULL);
	rig_start(&r->src, 0, true, "s-1", line[0], r->spec);
}

static void end(struct rig *r)
{
	rig_runs_end(&r->src);
	rig_runs_end(&r->dst);
	rig_serve_end(&r->src);
	rig_serve_end(&r->dst);
}

static json_t *report_of(struct side *s, const char *unit)
{
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	json_t *o = NULL;

	snprintf(path, sizeof(path), MIGRATE_REPORT_FMT, s->data_dir, unit);
	if (record_load(path, &o, &e) < 0)
		fail_msg("%s", e.detail);
	return o;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static json_int_t number(const json_t *o, const char *key)
{
	if (!json_is_integer(json_object_get(o, key))) {
		AUTO_FREE char *all = json_dumps(o, 0);

		fail_msg("no number '%s' in %s", key, all);
	}
	return json_integer_value(json_object_get(o, key));
}

/* Both outcomes, by what the reports say, and all that both hvdomds heard. */
static void over(struct rig *r, const char *src, const char *src_heard, const char *dst, const char *dst_heard)
{
	AUTO_JSON json_t *a = report_of(&r->src, "s-1"), *b = report_of(&r->dst, "u1");

	assert_string_equal(r->src.heard, src_heard);
	assert_string_equal(r->dst.heard, dst_heard);
	assert_string_equal(text(a, "outcome"), src);
	assert_string_equal(text(b, "outcome"), dst);
}

static void cancel(struct side *s, const char *unit)
{
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, s->run_dir, unit);
	if (ctl_once(path, MIGRATE_CANCEL, NULL, NULL, 0, 5000, NULL, NULL, NULL, &e) < 0)
		fail_msg("%s", e.detail);
}

/* What hvdomd was given is the libxl stream around what the guest wrote. */
static void same_bytes(struct rig *r)
{
	AUTO_BUF struct buf want = { 0 };
	static const uint8_t libxl_end[REC_HDR_BYTES] = { LIBXL_REC_END };

	buf_put_be64(&want, LIBXL_STREAM_ID);
	buf_put_be32(&want, LIBXL_VERSION_WANT);
	buf_put_be32(&want, 0);
	buf_put_le64(&want, LIBXL_REC_LIBXC_CONTEXT);
	buf_put(&want, r->guest.sent.p, r->guest.sent.len);
	buf_put(&want, libxl_end, sizeof(libxl_end));
	assert_int_equal(r->dst.got.len, want.len);
	assert_memory_equal(r->dst.got.p, want.p, want.len);
}

static void straight(struct rig *r)
{
	begin(r);
	end(r);
	over(r, "moved", "give-begin SUSPENDED give-commit give-done", "moved", "receive take");
	same_bytes(r);
}

static void test_straight(void **state)
{
	struct rig *r = *state;
	static const char *const spans[] = { "suspend_ms", "rest_ms", "ready_ms", "commit_ms", "take_ms" };

	straight(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1"), *b = report_of(&r->dst, "u1");

	assert_int_equal(number(a, "rounds"), 3);
	assert_int_equal(json_array_size(json_object_get(a, "round_log")), 3);
	assert_int_equal(number(a, "raw_bytes"), r->dst.got.len);
	assert_int_equal(number(b, "raw_bytes"), r->dst.got.len);
	assert_int_equal(number(a, "pages"), 700 + 3 * 90);
	assert_true(number(a, "wire_bytes") < number(a, "raw_bytes"));
	assert_int_equal(number(a, "wire_bytes"), number(b, "wire_bytes"));
	assert_true(number(a, "downtime_ms") >= 0 && number(a, "downtime_ms") <= number(a, "total_ms"));
	for (size_t i = 0; i < ARRAY_LEN(spans); i++)
		number(json_object_get(a, "phases"), spans[i]);
	assert_int_equal(number(json_object_get(a, "target"), "devices_ms"), 3);
	assert_int_equal(number(json_object_get(a, "target"), "unpause_ms"), 2);
	assert_true(json_is_null(json_object_get(a, "error")));
	assert_string_equal(text(b, "vm"), "web1");
	assert_string_equal(text(b, "session"), "s-1");
	assert_string_equal(text(a, "peer"), "other");
}

static void with_codec(struct rig *r, const char *name)
{
	json_object_set_new(r->spec, "compress", json_string(name));
	straight(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_string_equal(text(a, "codec"), name);
}

static void test_codec_none(void **state) { with_codec(*state, "none"); }
static void test_codec_zlib(void **state) { with_codec(*state, "zlib"); }
static void test_codec_zstd(void **state) { with_codec(*state, "zstd"); }

static void test_check_only(void **state)
{
	struct rig *r = *state;

	json_object_set_new(r->spec, "check_only", json_true());
	begin(r);
	end(r);
	over(r, "checked", "give-begin give-abort", "checked", "");
}

static void test_refused_with_problems(void **state)
{
	struct rig *r = *state;
	AUTO_JSON json_t *problems = json_pack("[{ss ss ss ss}]", "code", "name-taken", "detail", "web1 is here",
					       "remedy", "rename it", "severity", "error");

	r->dst.problems = problems;
	begin(r);
	end(r);
	over(r, "aborted", "give-begin give-abort", "aborted", "");
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_true(json_equal(json_object_get(a, "problems"), problems));
	assert_string_equal(text(json_object_get(a, "error"), "code"), "refused");
}

static void test_warnings_do_not_refuse(void **state)
{
	struct rig *r = *state;
	AUTO_JSON json_t *problems = json_pack("[{ss ss}]", "code", "slow-line", "severity", "warning");

	r->dst.problems = problems;
	straight(r);
}

static void test_give_begin_fails(void **state)
{
	struct rig *r = *state;

	r->src.fail_at = "give-begin";
	begin(r);
	end(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_string_equal(text(a, "outcome"), "aborted");
	assert_non_null(strstr(text(json_object_get(a, "error"), "detail"), "made-up failure of give-begin"));
	assert_string_equal(r->dst.heard, "");
}

static void test_throttle(void **state)
{
	struct rig *r = *state;

	json_object_set_new(r->spec, "on_stall", json_string("throttle"));
	json_object_set_new(r->spec, "max_rounds", json_integer(9));
	r->guest.first_pages = r->guest.dirty_pages = 600;
	begin(r);
	end(r);
	same_bytes(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_string_equal(text(a, "outcome"), "moved");
	assert_non_null(strstr(r->src.heard, "throttle"));
	assert_true(r->src.cap > 0 && r->src.cap <= 80);
	assert_int_equal(number(a, "throttle_percent"), r->src.cap);
}

static void test_does_not_converge(void **state)
{
	struct rig *r = *state;

	json_object_set_new(r->spec, "on_stall", json_string("abort"));
	begin(r);
	end(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_string_equal(text(json_object_get(a, "error"), "code"), "limit");
	over(r, "aborted", "give-begin give-abort", "aborted", "receive refuse");
}

/* ---- cancel, stuck, cut ---- */

static void cancelled(struct rig *r, bool by_target)
{
	uint64_t t0 = clock_mono_ms();

	cancel(by_target ? &r->dst : &r->src, by_target ? "u1" : "s-1");
	RIG_UNTIL(&r->src, r->src.runs[0].done);
	if (r->dst.stuck)	/* it does not read, so not even this; its own limit is 8 s */
		cancel(&r->dst, "u1");
	if (clock_mono_ms() - t0 > 5000)
		fail_msg("cancel took %llu ms", (unsigned long long)(clock_mono_ms() - t0));
	end(r);
	over(r, "aborted", "give-begin give-abort", "aborted", "receive refuse");
	AUTO_JSON json_t *a = report_of(by_target ? &r->dst : &r->src, by_target ? "u1" : "s-1");

	assert_string_equal(text(json_object_get(a, "error"), "code"), "cancelled");
}

static void test_cancel_in_round(void **state)
{
	struct rig *r = *state;

	r->guest.endless = true;
	begin(r);
	RIG_UNTIL(&r->dst, r->dst.got.len > 100000);
	cancelled(r, false);
}

static void test_cancel_by_target(void **state)
{
	struct rig *r = *state;

	r->guest.endless = true;
	begin(r);
	RIG_UNTIL(&r->dst, r->dst.got.len > 100000);
	cancelled(r, true);
}

/* Nobody reads: everything fills up, and cancel comes through all the same. */
static void test_cancel_while_stuck(void **state)
{
	struct rig *r = *state;
	size_t before, now = 0;

	r->guest.endless = true;
	r->dst.stuck = true;
	json_object_set_new(r->spec, "compress", json_string("none"));
	begin(r);
	RIG_UNTIL(&r->dst, strstr(r->dst.heard, "receive"));
	do {				/* until the guest's save stands still */
		before = now;
		(void)poll(NULL, 0, 100);
		now = __atomic_load_n(&r->guest.written, __ATOMIC_SEQ_CST);
	} while (now != before || now == 0);
	assert_true(before < 64 << 20);		/* bounded by the queues, not by memory */
	cancelled(r, false);
}

static void test_cut_in_round(void **state)
{
	struct rig *r = *state;

	r->guest.cut_in_round = 1;
	begin(r);
	end(r);
	over(r, "aborted", "give-begin give-abort", "aborted", "receive refuse");
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");

	assert_string_equal(text(json_object_get(a, "error"), "code"), "net");
}

static void test_cut_suspended(void **state)
{
	struct rig *r = *state;

	r->guest.cut_suspended = true;
	begin(r);
	end(r);
	over(r, "aborted", "give-begin SUSPENDED give-abort", "aborted", "receive refuse");
}

static void test_receive_fails(void **state)
{
	struct rig *r = *state;

	r->dst.fail_at = "receive";
	r->guest.endless = true;
	begin(r);
	end(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1"), *b = report_of(&r->dst, "u1");

	assert_string_equal(text(a, "outcome"), "aborted");
	assert_non_null(strstr(text(json_object_get(b, "error"), "detail"), "made-up failure of receive"));
	assert_non_null(strstr(text(json_object_get(a, "error"), "detail"), "made-up failure of receive"));
	assert_string_equal(r->src.word, "here");
}

static void test_take_fails(void **state)
{
	struct rig *r = *state;

	r->dst.fail_at = "take";
	begin(r);
	end(r);
	over(r, "aborted", "give-begin SUSPENDED give-commit give-abort!", "aborted", "receive take refuse");
}

/* ---- in doubt ---- */

static void test_cut_after_commit_taken(void **state)
{
	struct rig *r = *state;

	r->dst.cut_at = "take";
	r->src.answers_dials = true;
	begin(r);
	end(r);
	over(r, "moved", "give-begin SUSPENDED give-commit dial give-done", "moved", "receive take");
	AUTO_JSON json_t *c = report_of(&r->dst, "u2");

	assert_string_equal(text(c, "outcome"), "answered");
}

static void test_cut_after_commit_refused(void **state)
{
	struct rig *r = *state;

	r->dst.cut_at = r->dst.fail_at = "take";
	r->src.answers_dials = true;
	begin(r);
	end(r);
	assert_string_equal(r->src.heard, "give-begin SUSPENDED give-commit dial give-abort!");
	assert_string_equal(r->src.word, "here");
	assert_string_equal(r->dst.word, "refused");
}

/* Nobody answers: it stays in doubt, resumes nothing, and the operator's word ends it. */
static void test_stays_in_doubt(void **state)
{
	struct rig *r = *state;
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *claim = json_pack("{ss}", "outcome", "taken");

	r->dst.cut_at = "take";
	begin(r);
	RIG_UNTIL(&r->src, strstr(r->src.heard, "dial dial"));
	snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, r->src.run_dir, "s-1");
	assert_int_equal(ctl_once(path, MIGRATE_CANCEL, NULL, NULL, 0, 5000, NULL, NULL, NULL, &e), -1);
	assert_int_equal(e.code, ERR_STATE);
	assert_string_equal(r->src.word, "in-doubt");
	assert_int_equal(ctl_once(path, MIGRATE_CLAIM, claim, NULL, 0, 5000, NULL, NULL, NULL, &e), 0);
	end(r);
	assert_string_equal(r->src.word, "away");
}

/* A new process for a record that is in doubt. */
static void resume(struct rig *r, const char *dst_word, uint64_t generation)
{
	struct err e = ERR_INIT;

	r->src.answers_dials = true;
	json_object_set_new(r->spec, "resume", json_true());
	assert_int_equal(rig_record(&r->src, "in-doubt", RIG_GENERATION, "s-1", &e), 0);
	assert_int_equal(rig_record(&r->dst, dst_word, generation, "s-1", &e), 0);
	rig_start(&r->src, 0, true, "s-1", -1, r->spec);
	end(r);
}

static void test_resume_taken(void **state)
{
	struct rig *r = *state;

	resume(r, "here", RIG_GENERATION + 1);
	assert_string_equal(r->src.heard, "dial give-done");
}

/* Still undecided there: the question decides it. */
static void test_resume_refuses(void **state)
{
	struct rig *r = *state;

	resume(r, "receiving", RIG_GENERATION);
	assert_string_equal(r->src.heard, "dial give-abort!");
	assert_string_equal(r->dst.heard, "refuse");
}

/* The name has passed to another VM since: its record says nothing of ours, unless nothing was taken in between. */
static void resume_renamed(struct rig *r, uint64_t generation)
{
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *o = json_pack("{ss ss sI ss}", "vm", "web1", "uuid", "fedcba98-89ab-cdef-0123-456789abcdef",
					"generation", (json_int_t)generation, "owner", "here");

	snprintf(path, sizeof(path), DOMD_DIR_FMT, r->dst.data_dir, "web1");
	assert_int_equal(fd_make_dirs(path, 0755, &e), 0);
	snprintf(path, sizeof(path), DOMD_OWNER_FMT, r->dst.data_dir, "web1");
	assert_int_equal(record_save(path, o, &e), 0);
	r->src.answers_dials = true;
	json_object_set_new(r->spec, "resume", json_true());
	assert_int_equal(rig_record(&r->src, "in-doubt", RIG_GENERATION, "s-1", &e), 0);
	rig_start(&r->src, 0, true, "s-1", -1, r->spec);
}

/* The target's record is of another VM of that name: it tells nothing, whatever its generation. */
static void renamed_is_unknown(struct rig *r, uint64_t generation)
{
	char path[RIG_PATH_BYTES + 64];
	struct err e = ERR_INIT;
	AUTO_JSON json_t *claim = json_pack("{ss}", "outcome", "refused");

	resume_renamed(r, generation);
	RIG_UNTIL(&r->src, strstr(r->src.heard, "dial dial"));
	assert_string_equal(r->src.word, "in-doubt");
	snprintf(path, sizeof(path), MIGRATE_SOCKET_FMT, r->src.run_dir, "s-1");
	assert_int_equal(ctl_once(path, MIGRATE_CLAIM, claim, NULL, 0, 5000, NULL, NULL, NULL, &e), 0);
	end(r);
	assert_string_equal(r->src.word, "here");
}

static void test_resume_renamed(void **state)
{
	renamed_is_unknown(*state, RIG_GENERATION);
}

static void test_resume_renamed_newer(void **state)
{
	renamed_is_unknown(*state, RIG_GENERATION + 2);
}

/* A record of another session is not ours to settle. */
static void test_resume_other_session(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;

	json_object_set_new(r->spec, "resume", json_true());
	assert_int_equal(rig_record(&r->src, "in-doubt", RIG_GENERATION, "s-9", &e), 0);
	struct send_setup set = { r->src.run_dir, r->src.data_dir, "s-1", r->spec, -1, rig_make_xen, rig_facts };
	struct loop *l;

	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(send_run(l, &set), 1);
	loop_free(l);
	end(r);
	assert_string_equal(r->src.heard, "");
	assert_string_equal(r->src.word, "in-doubt");
}

/* ---- rate ---- */

static void test_rate(void **state)
{
	struct rig *r = *state;
	enum { RATE = 8 << 20 };

	json_object_set_new(r->spec, "compress", json_string("none"));
	json_object_set_new(r->spec, "rate_bytes_s", json_integer(RATE));
	r->guest.first_pages = 2048;	/* half of them zero */
	straight(r);
	AUTO_JSON json_t *a = report_of(&r->src, "s-1");
	json_int_t due_ms = number(a, "wire_bytes") * 1000 / RATE;

	assert_true(due_ms > 300);
	if (number(a, "total_ms") < due_ms - 150)
		fail_msg("%lld ms for what takes %lld", (long long)number(a, "total_ms"), (long long)due_ms);
}

#define MOVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		MOVE(test_straight), MOVE(test_codec_none), MOVE(test_codec_zlib), MOVE(test_codec_zstd),
		MOVE(test_check_only), MOVE(test_refused_with_problems), MOVE(test_warnings_do_not_refuse),
		MOVE(test_give_begin_fails), MOVE(test_throttle), MOVE(test_does_not_converge),
		MOVE(test_cancel_in_round), MOVE(test_cancel_by_target), MOVE(test_cancel_while_stuck),
		MOVE(test_cut_in_round), MOVE(test_cut_suspended), MOVE(test_receive_fails), MOVE(test_take_fails),
		MOVE(test_cut_after_commit_taken), MOVE(test_cut_after_commit_refused), MOVE(test_stays_in_doubt),
		MOVE(test_resume_taken), MOVE(test_resume_refuses), MOVE(test_resume_renamed),
		MOVE(test_resume_renamed_newer), MOVE(test_resume_other_session), MOVE(test_rate),
	};

	signal(SIGPIPE, SIG_IGN);
	return check_main(tests);
}
