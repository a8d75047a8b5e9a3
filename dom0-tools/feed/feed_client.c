/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of feed_proto.h and the reader of the ring, for consumers.
 */
#include "feed/feed_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "feed/feed_proto.h"

enum { NAP_MS = 1 };

struct feed_client {
	struct ctl_client *ctl;
	uint64_t session;
	struct feed_client_info info;
	struct ring_reader *ring;	/* NULL: none */
	int wake_fd;
};

/* ---- attach ---- */

static int read_disk(const json_t *o, struct feed_client_disk *out, struct err *e)
{
	const char *key = NULL;

	if (!json_is_object(o))
		return err_set(e, ERR_CORRUPT, "the feed's list of disks holds no object");
	if (js_text(o, "key", &key, e) < 0 || js_u64(o, "bytes", DIRTY_BYTES_MAX, &out->bytes, e) < 0)
		return -1;
	snprintf(out->key, sizeof(out->key), "%s", key);
	return 0;
}

static int read_attached(const json_t *o, uint64_t *session, struct feed_client_info *i, struct err *e)
{
	json_t *disks = NULL;

	if (js_u64(o, "session", INT64_MAX, session, e) < 0 || js_u64(o, "feed", INT64_MAX, &i->feed_id, e) < 0 ||
	    js_u64(o, "position", INT64_MAX, &i->position, e) < 0 || js_opt_bool(o, "full", &i->full, e) < 0 ||
	    js_opt_bool(o, "coarse", &i->coarse, e) < 0 || js_u64(o, "grain", INT64_MAX, &i->grain, e) < 0 ||
	    js_u64(o, "dirty_bytes", INT64_MAX, &i->dirty_bytes, e) < 0 || js_arr(o, "disks", &disks, e) < 0)
		return -1;
	if (json_array_size(disks) > FEED_DISKS_MAX)
		return err_set(e, ERR_CORRUPT, "the feed names %zu disks", json_array_size(disks));
	i->n_disks = (unsigned)json_array_size(disks);
	for (unsigned k = 0; k < i->n_disks; k++)
		if (read_disk(json_array_get(disks, k), &i->disks[k], e) < 0)
			return -1;
	return 0;
}

static json_t *attach_args(const struct feed_attach *a)
{
	json_t *o = json_pack("{s:s, s:I}", "consumer", a->name, "ring_bytes", (json_int_t)a->ring_bytes);

	if (a->has_position) {
		json_object_set_new(o, "feed", json_integer((json_int_t)a->feed_id));
		json_object_set_new(o, "position", json_integer((json_int_t)a->position));
	}
	if (a->from_now)
		json_object_set_new(o, "from_now", json_true());
	return o;
}

static int attach(struct feed_client *c, const struct feed_attach *a, struct err *e)
{
	AUTO_JSON json_t *args = attach_args(a), *ok = NULL;
	int fds[CTL_CALL_FDS_MAX];
	size_t n_fds = CTL_CALL_FDS_MAX;
	int rc = 0;

	if (ctl_request(c->ctl, "attach", args, NULL, 0, FEED_PROTO_CALL_MS, &ok, fds, &n_fds, e) < 0)
		return err_wrap(e, "attach to the feed");
	if (n_fds > FEED_PROTO_FD_WAKE)
		c->wake_fd = fd_take(&fds[FEED_PROTO_FD_WAKE]);
	else
		rc = err_set(e, ERR_CORRUPT, "the feed sent no wake descriptor");
	if (rc == 0 && a->ring_bytes && n_fds <= FEED_PROTO_FD_RING)
		rc = err_set(e, ERR_CORRUPT, "the feed sent no ring");
	if (rc == 0 && a->ring_bytes)
		rc = ring_reader_new(fds[FEED_PROTO_FD_RING], &c->ring, e);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(&fds[i]);
	return rc < 0 ? rc : read_attached(ok, &c->session, &c->info, e);
}

int feed_client_open(const char *path, const struct feed_attach *a, struct feed_client **out, struct err *e)
{
	struct feed_client *c = mem_alloc(sizeof(*c));

	c->wake_fd = -1;
	if (ctl_connect(path, &c->ctl, e) < 0 || attach(c, a, e) < 0) {
		feed_client_close(c);
		return -1;
	}
	*out = c;
	return 0;
}

static int leave(struct feed_client *c, bool forget, struct err *e)
{
	AUTO_JSON json_t *args = json_pack("{s:I, s:b}", "session", (json_int_t)c->session, "forget", (int)forget);

	return ctl_request(c->ctl, "detach", args, NULL, 0, FEED_PROTO_CALL_MS, NULL, NULL, NULL, e);
}

void feed_client_drop(struct feed_client *c)
{
	ring_reader_free(c->ring);
	fd_close(&c->wake_fd);
	ctl_client_free(c->ctl);
	free(c);
}

void feed_client_close(struct feed_client *c)
{
	struct err e = ERR_INIT;

	if (!c)
		return;
	/* Politely, so that the name is free when we return; if it fails, the closed socket says it too. */
	if (c->session)
		(void)!leave(c, false, &e);
	feed_client_drop(c);
}

int feed_client_forget(struct feed_client *c, struct err *e)
{
	int rc = leave(c, true, e);

	feed_client_drop(c);
	return rc;
}

const struct feed_client_info *feed_client_info(const struct feed_client *c)
{
	return &c->info;
}

/* ---- barrier, map, ack ---- */

int feed_client_barrier(struct feed_client *c, struct feed_client_cut *out, struct err *e)
{
	AUTO_JSON json_t *args = json_pack("{s:I}", "session", (json_int_t)c->session), *ok = NULL;
	struct feed_client_cut cut = { 0 };

	if (ctl_request(c->ctl, "barrier", args, NULL, 0, FEED_PROTO_BARRIER_MS, &ok, NULL, NULL, e) < 0)
		return -1;
	if (js_u64(ok, "position", INT64_MAX, &cut.position, e) < 0 || js_opt_bool(ok, "ring", &cut.ring, e) < 0 ||
	    js_opt_bool(ok, "complete", &cut.complete, e) < 0 ||
	    js_u64(ok, "stall_us", INT64_MAX, &cut.stall_us, e) < 0 ||
	    js_u64(ok, "dirty_bytes", INT64_MAX, &cut.dirty_bytes, e) < 0)
		return -1;
	*out = cut;
	return 0;
}

static int read_run(const json_t *pair, uint64_t from, uint64_t bytes, struct dirty_run *out, struct err *e)
{
	json_int_t off = json_integer_value(json_array_get(pair, 0)), len = json_integer_value(json_array_get(pair, 1));

	if (json_array_size(pair) != 2 || off < 0 || len <= 0 || (uint64_t)off < from || (uint64_t)off >= bytes ||
	    (uint64_t)len > bytes - (uint64_t)off)
		return err_set(e, ERR_CORRUPT, "the feed's map names %lld bytes at %lld of a disk of %llu",
			       (long long)len, (long long)off, (unsigned long long)bytes);
	*out = (struct dirty_run){ .off = (uint64_t)off, .bytes = (uint64_t)len };
	return 0;
}

int feed_client_map(struct feed_client *c, unsigned disk, uint64_t *from, struct dirty_run *runs, unsigned *n,
		    struct err *e)
{
	unsigned room = *n < FEED_PROTO_RUNS_MAX ? *n : FEED_PROTO_RUNS_MAX;
	AUTO_JSON json_t *args = json_pack("{s:I, s:i, s:I, s:i}", "session", (json_int_t)c->session, "disk", (int)disk,
					   "from", (json_int_t)*from, "runs", (int)room), *ok = NULL;
	uint64_t at = *from, next = UINT64_MAX;
	json_t *list = NULL;

	if (ctl_request(c->ctl, "map", args, NULL, 0, FEED_PROTO_CALL_MS, &ok, NULL, NULL, e) < 0)
		return -1;
	if (js_arr(ok, "runs", &list, e) < 0 || js_opt_u64(ok, "next", INT64_MAX, &next, e) < 0)
		return -1;
	if (json_array_size(list) > room)
		return err_set(e, ERR_CORRUPT, "the feed sent %zu ranges, asked for %u", json_array_size(list), room);
	for (unsigned i = 0; i < json_array_size(list); i++) {
		if (read_run(json_array_get(list, i), at, DIRTY_BYTES_MAX, &runs[i], e) < 0)
			return -1;
		at = runs[i].off + runs[i].bytes;
	}
	if (next < at)
		return err_set(e, ERR_CORRUPT, "the feed's map goes backwards");
	*n = (unsigned)json_array_size(list);
	*from = next;
	return 0;
}

int feed_client_ack(struct feed_client *c, uint64_t position, struct err *e)
{
	AUTO_JSON json_t *args = json_pack("{s:I, s:I}", "session", (json_int_t)c->session,
					   "position", (json_int_t)position);

	return ctl_request(c->ctl, "ack", args, NULL, 0, FEED_PROTO_CALL_MS, NULL, NULL, NULL, e);
}

/* ---- ring ---- */

enum ring_step feed_client_next(struct feed_client *c, struct ring_rec *rec, const uint8_t **data, struct err *e)
{
	enum ring_step step;

	if (!c->ring) {
		*rec = (struct ring_rec){ 0 };
		return RING_LOST;
	}
	step = ring_next(c->ring, rec, data, e);
	if (step != RING_REC || (rec->flags & RING_MARK))
		return step;
	if (rec->disk < c->info.n_disks && rec->off <= DIRTY_BYTES_MAX && rec->len <= DIRTY_BYTES_MAX - rec->off)
		return step;
	err_set(e, ERR_CORRUPT, "ring: a record for disk %u at %llu", (unsigned)rec->disk,
		(unsigned long long)rec->off);
	return RING_BAD;
}

void feed_client_release(struct feed_client *c)
{
	if (c->ring)
		ring_release(c->ring);
}

int feed_client_wait(struct feed_client *c, int timeout_ms, struct err *e)
{
	struct pollfd p = { .fd = c->wake_fd, .events = POLLIN };
	uint8_t junk[256];
	int rc;

	/* Of a busy feed the next record is here in a moment: that costs the guest's thread no wake. */
	if (c->ring && timeout_ms > NAP_MS)
		(void)poll(&p, 1, NAP_MS);
	if (c->ring && !ring_arm(c->ring))
		return 1;
	rc = poll(&p, 1, timeout_ms);
	if (rc < 0 && errno != EINTR)
		return err_sys(e, errno, "wait for the feed");
	if (rc <= 0)
		return 0;
	if (recv(c->wake_fd, junk, sizeof(junk), MSG_DONTWAIT) == 0)
		return err_set(e, ERR_NET, "the feed is gone");
	return 1;
}
