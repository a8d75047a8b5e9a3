/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments that a consumer wrote, into checked structs.  Numbers are at most
 * what a JSON integer holds, so that the sums made of them do not wrap.
 */
#include "feed/feed_proto.h"

#include "base/js.h"

static int need_u64(const json_t *in, const char *key, uint64_t max, uint64_t *out, struct err *e)
{
	return js_u64(in, key, max, out, e);
}

int feed_proto_attach(const json_t *in, struct feed_attach *out, struct err *e)
{
	static const char *const known[] = { "consumer", "ring_bytes", "feed", "position", "from_now", NULL };
	struct feed_attach a = { .ring_bytes = RING_BYTES };

	if (js_only(in, known, e) < 0 || js_text(in, "consumer", &a.name, e) < 0 ||
	    js_opt_u64(in, "ring_bytes", RING_BYTES_MAX, &a.ring_bytes, e) < 0 ||
	    js_opt_u64(in, "feed", INT64_MAX, &a.feed_id, e) < 0 ||
	    js_opt_u64(in, "position", INT64_MAX, &a.position, e) < 0 ||
	    js_opt_bool(in, "from_now", &a.from_now, e) < 0)
		return -1;
	a.has_position = a.position > 0;
	if (a.has_position && a.from_now)
		return err_set(e, ERR_USAGE, "from_now and position exclude each other");
	*out = a;
	return 0;
}

int feed_proto_session(const json_t *in, struct feed_proto_call *out, struct err *e)
{
	static const char *const known[] = { "session", NULL };

	if (js_only(in, known, e) < 0)
		return -1;
	return need_u64(in, "session", INT64_MAX, &out->session, e);
}

int feed_proto_map(const json_t *in, unsigned n_disks, struct feed_proto_call *out, struct err *e)
{
	static const char *const known[] = { "session", "disk", "from", "runs", NULL };
	struct feed_proto_call c = { .runs = FEED_PROTO_RUNS_MAX };

	if (js_only(in, known, e) < 0 || need_u64(in, "session", INT64_MAX, &c.session, e) < 0 ||
	    need_u64(in, "disk", n_disks - 1, &c.disk, e) < 0 ||
	    js_opt_u64(in, "from", INT64_MAX, &c.from, e) < 0 ||
	    js_opt_u64(in, "runs", FEED_PROTO_RUNS_MAX, &c.runs, e) < 0)
		return -1;
	if (c.runs == 0)
		return err_set(e, ERR_USAGE, "runs: 1 to %d", FEED_PROTO_RUNS_MAX);
	*out = c;
	return 0;
}

int feed_proto_ack(const json_t *in, struct feed_proto_call *out, struct err *e)
{
	static const char *const known[] = { "session", "position", NULL };

	if (js_only(in, known, e) < 0 || need_u64(in, "session", INT64_MAX, &out->session, e) < 0)
		return -1;
	return need_u64(in, "position", INT64_MAX, &out->position, e);
}

int feed_proto_detach(const json_t *in, struct feed_proto_call *out, struct err *e)
{
	static const char *const known[] = { "session", "forget", NULL };

	out->forget = false;
	if (js_only(in, known, e) < 0 || need_u64(in, "session", INT64_MAX, &out->session, e) < 0)
		return -1;
	return js_opt_bool(in, "forget", &out->forget, e);
}

static json_t *consumer_stats(const struct feed_consumer_stats *c)
{
	return json_pack("{s:s, s:b, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:b}}", "consumer", c->name,
			 "attached", (int)c->attached, "acked", (json_int_t)c->acked,
			 "dirty_bytes", (json_int_t)c->dirty_bytes, "ring",
			 "records", (json_int_t)c->ring.records, "bytes", (json_int_t)c->ring.bytes,
			 "losses", (json_int_t)c->ring.losses, "lost", (json_int_t)c->ring.lost,
			 "fill_bytes", (json_int_t)c->ring.fill_bytes, "bad_tail", (int)c->ring.bad_tail);
}

json_t *feed_proto_stats(const struct feed_stats *s)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < s->n_consumers; i++)
		json_array_append_new(list, consumer_stats(&s->consumers[i]));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I}, s:o}",
			 "feed", (json_int_t)s->feed_id, "position", (json_int_t)s->position,
			 "writes_in_flight", (json_int_t)s->writes_in_flight, "barriers", (json_int_t)s->barriers,
			 "barriers_cancelled", (json_int_t)s->barriers_cancelled,
			 "stall_us_max", (json_int_t)(s->stall_ns_max / 1000), "log",
			 "marked", (json_int_t)s->log.marked, "batches", (json_int_t)s->log.batches,
			 "blocks", (json_int_t)s->log.blocks, "waits", (json_int_t)s->log.waits,
			 "failures", (json_int_t)s->log.failures, "consumers", list);
}
