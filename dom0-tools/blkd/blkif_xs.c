/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When there is a ring: our half of the state machine of blkif.h.
 *
 * blkif_look reads the front-end's state as it is now, not what changed, so
 * nothing is lost when several changes come as one, and a look too many does
 * nothing.  What a state of the front-end means stands in on_front[].
 *
 * Ending a ring takes as long as its last request.  Meanwhile looks do
 * nothing; blkif_ended looks again.
 */
#include "blkd/blkif.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "blkd/blkif_priv.h"

static const char *const names[XB_STATE_END] = {
	"unknown", "initialising", "init-wait", "initialised", "connected", "closing", "closed",
};

const char *blkif_state(const struct blkif *b)
{
	return names[b->state];
}

/* ---- xenstore ------------------------------------------------------------------------------------------ */

static int get(struct blkif *b, const char *dir, const char *node, char out[BLKIF_TEXT_BYTES], struct err *e)
{
	char path[BLKIF_PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return b->s.xen->get(b->s.x, path, out, e);
}

PRINTF_LIKE(4, 5)
static int put(struct blkif *b, struct err *e, const char *node, const char *fmt, ...)
{
	char path[BLKIF_PATH_BYTES + 32], value[32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", b->back, node);
	return b->s.xen->put(b->s.x, path, value, e);
}

/* Decimal digits only. */
static bool parse_u32(const char *text, uint32_t *out)
{
	uint64_t v = 0;
	size_t n = strspn(text, "0123456789");

	if (!n || n > 10 || text[n])
		return false;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	if (v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

/* A number of the front-end. */
static int get_u32(struct blkif *b, const char *node, uint32_t *out, struct err *e)
{
	char text[BLKIF_TEXT_BYTES];

	if (get(b, b->front, node, text, e) < 0)
		return -1;
	if (!parse_u32(text, out))
		return err_set(e, ERR_CORRUPT, "%s is '%s', no number", node, text);
	return 0;
}

/* One that may be missing. */
static int get_u32_or(struct blkif *b, const char *node, uint32_t fallback, uint32_t *out, struct err *e)
{
	if (get_u32(b, node, out, e) == 0)
		return 0;
	if (e->code != ERR_NOT_FOUND)
		return -1;
	*e = (struct err)ERR_INIT;
	*out = fallback;
	return 0;
}

/* Not when our nodes are gone: the write would make them again. */
static int put_state(struct blkif *b, struct err *e)
{
	char ignored[BLKIF_TEXT_BYTES];

	if (get(b, b->back, "frontend", ignored, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	return put(b, e, "state", "%d", (int)b->state);
}

/* The only writer of b->state. */
static void enter(struct blkif *b, enum xb_state to)
{
	struct err e = ERR_INIT;

	if (b->state == to)
		return;
	log_info("disk %u of domain %u: %s -> %s", b->s.devid, b->s.domid, names[b->state], names[to]);
	b->state = to;
	if (put_state(b, &e) < 0)
		log_fail(&e, "disk %u of domain %u: state", b->s.devid, b->s.domid);
}

static int put_features(struct blkif *b, struct err *e)
{
	bool discard = b->s.discard && !b->s.read_only && !disk_read_only(qdisk_disk(b->s.disk));

	if (put(b, e, "feature-flush-cache", "1") < 0 || put(b, e, "feature-persistent", "0") < 0 ||
	    put(b, e, "feature-max-indirect-segments", "%d", BLKIF_INDIRECT_SEGS_MAX) < 0 ||
	    put(b, e, "max-ring-page-order", "%d", BLKIF_RING_ORDER_MAX) < 0 ||
	    put(b, e, "feature-discard", "%d", discard) < 0)
		return -1;
	if (discard && (put(b, e, "discard-granularity", "%d", BLKIF_DISCARD_BYTES) < 0 ||
			put(b, e, "discard-alignment", "0") < 0 || put(b, e, "discard-secure", "0") < 0))
		return -1;
	return 0;
}

/* What the guest reads when we become Connected, and again when we say so again. */
static int put_size(struct blkif *b, struct err *e)
{
	const struct disk *d = qdisk_disk(b->s.disk);
	bool read_only = b->s.read_only || disk_read_only(d);
	struct layer_info info;

	disk_info(d, &info);
	if (put(b, e, "sectors", "%llu", (unsigned long long)(disk_bytes(d) / BLKIF_SECTOR_BYTES)) < 0 ||
	    put(b, e, "sector-size", "%u", disk_sector(d)) < 0 ||
	    put(b, e, "physical-sector-size", "%u",
		info.physical_bytes > disk_sector(d) ? info.physical_bytes : disk_sector(d)) < 0 ||
	    put(b, e, "info", "%d", read_only ? BLKIF_INFO_READ_ONLY : 0) < 0)
		return -1;
	return put(b, e, "mode", read_only ? "r" : "w");
}

/* ---- the ring comes and goes --------------------------------------------------------------------------- */

static int read_abi(struct blkif *b, uint32_t *out, struct err *e)
{
	char text[BLKIF_TEXT_BYTES];

	if (get(b, b->front, "protocol", text, e) < 0) {
		if (e->code != ERR_NOT_FOUND)
			return -1;
		*e = (struct err)ERR_INIT;
		snprintf(text, sizeof(text), "%s", BLKIF_PROTOCOL_64);
	}
	if (!strcmp(text, BLKIF_PROTOCOL_64))
		*out = BLKIF_ABI_64;
	else if (!strcmp(text, BLKIF_PROTOCOL_32))
		*out = BLKIF_ABI_32;
	else
		return err_set(e, ERR_INCOMPATIBLE, "protocol is '%s'", text);
	return 0;
}

static int read_peer(struct blkif *b, struct blkif_front *out, struct err *e)
{
	struct blkif_front f = { 0 };
	uint32_t order, queues;
	char node[16];

	if (read_abi(b, &f.abi, e) < 0 || get_u32_or(b, "ring-page-order", 0, &order, e) < 0 ||
	    get_u32_or(b, "multi-queue-num-queues", 1, &queues, e) < 0 || get_u32(b, "event-channel", &f.port, e) < 0)
		return -1;
	if (order > BLKIF_RING_ORDER_MAX || queues != 1)
		return err_set(e, ERR_LIMIT, "ring-page-order %u, %u queues; offered were %d and 1", order, queues,
			       BLKIF_RING_ORDER_MAX);
	f.pages = 1u << order;
	for (unsigned i = 0; i < f.pages; i++) {
		snprintf(node, sizeof(node), order ? "ring-ref%u" : "ring-ref", i);
		if (get_u32(b, node, &f.refs[i], e) < 0)
			return -1;
	}
	*out = f;
	return 0;
}

static int bring_up(struct blkif *b, struct err *e)
{
	const struct blkif_xen_ops *xen = b->s.xen;
	void *shared;
	int port;

	if (read_peer(b, &b->peer, e) < 0)
		return -1;
	if (xen->map(b->s.x, b->s.domid, b->peer.refs, b->peer.pages, &shared, e) < 0)
		return -1;
	if (blkif_ring_init(&b->ring, shared, b->peer.pages, (enum blkif_abi)b->peer.abi, e) < 0 ||
	    xen->bind(b->s.x, b->s.domid, b->peer.port, &port, e) < 0) {
		xen->unmap(b->s.x, shared, b->peer.pages);
		return -1;
	}
	b->shared = shared;
	b->port = port;
	b->live = true;
	b->seen_connected = false;
	b->stalled = false;
	return 0;
}

static void connect_ring(struct blkif *b)
{
	char path[2 * BLKIF_PATH_BYTES];
	struct err e = ERR_INIT;

	if (bring_up(b, &e) < 0) {
		blkif_break(b, &e);
		return;
	}
	if (put_size(b, &e) < 0)
		log_fail(&e, "disk %u of domain %u: size", b->s.devid, b->s.domid);
	snprintf(path, sizeof(path), "/local/domain/0/error/backend/hvblk/%u/%u", b->s.domid, b->s.devid);
	b->s.xen->remove(b->s.x, path);
	enter(b, XB_CONNECTED);
	b->s.xen->notify(b->s.x, b->port);	/* whoever was here before may have died between response and bell */
	blkif_take(b);
}

static void wind_down(struct blkif *b, enum blkif_end end, enum xb_state then)
{
	b->end = end > b->end ? end : b->end;
	b->end_state = then;
	if (!b->stats.in_flight)
		blkif_ended(b);
}

void blkif_ended(struct blkif *b)
{
	assert(b->live && b->end && !b->stats.in_flight);
	b->s.xen->unbind(b->s.x, b->port);
	b->s.xen->unmap(b->s.x, b->shared, b->peer.pages);
	b->live = false;
	b->end = BLKIF_STAYS;
	b->port = -1;
	b->shared = NULL;
	blkif_io_fini(b);
	if (!b->stopping || !b->keep_state)
		enter(b, b->end_state);
	b->look_again = !b->stopping;
	loop_timer_set(b->timer, 0, 0);
}

void blkif_break(struct blkif *b, const struct err *why)
{
	char path[2 * BLKIF_PATH_BYTES];
	struct err e = ERR_INIT;

	b->barred = true;
	b->breaks++;
	log_fail(why, "disk %u of domain %u: the guest is disconnected", b->s.devid, b->s.domid);
	snprintf(path, sizeof(path), "/local/domain/0/error/backend/hvblk/%u/%u/error", b->s.domid, b->s.devid);
	if (b->s.xen->put(b->s.x, path, why->detail, &e) < 0)
		log_fail(&e, "disk %u of domain %u", b->s.devid, b->s.domid);
	enter(b, XB_CLOSING);
	if (b->live)
		wind_down(b, BLKIF_DROP, XB_CLOSED);
	else
		enter(b, XB_CLOSED);
	if (b->s.broke)
		b->s.broke(b->s.arg, why->detail);
}

/* ---- the front-end's states ---------------------------------------------------------------------------- */

static bool is_online(struct blkif *b)
{
	struct err ignored = ERR_INIT;
	char text[BLKIF_TEXT_BYTES];

	return get(b, b->back, "online", text, &ignored) < 0 || strcmp(text, "0");
}

static void gone(struct blkif *b)
{
	enter(b, XB_CLOSED);
	if (b->s.gone)
		b->s.gone(b->s.arg);
}

static void front_vanished(struct blkif *b)
{
	if (b->live)
		wind_down(b, BLKIF_DROP, XB_CLOSED);
	else
		gone(b);
}

static void front_begins(struct blkif *b)
{
	struct err e = ERR_INIT;

	if (b->live) {
		wind_down(b, BLKIF_DROP, XB_INIT_WAIT);
	} else if (!is_online(b)) {
		gone(b);
	} else if (b->breaks < BLKIF_BREAKS_MAX) {
		if (b->state != XB_INIT_WAIT && put_features(b, &e) < 0)
			log_fail(&e, "disk %u of domain %u: features", b->s.devid, b->s.domid);
		b->barred = false;
		enter(b, XB_INIT_WAIT);
	}
}

static void front_ready(struct blkif *b, bool connected)
{
	struct blkif_front f;
	struct err e = ERR_INIT;

	if (!b->live) {
		if (!is_online(b))
			gone(b);
		else if (!b->barred)
			connect_ring(b);
		b->seen_connected = connected;
		return;
	}
	if (connected)
		b->seen_connected = true;
	else if (b->seen_connected || read_peer(b, &f, &e) < 0 || memcmp(&f, &b->peer, sizeof(f)))
		wind_down(b, BLKIF_DROP, XB_INIT_WAIT);
}

static void front_initialised(struct blkif *b)
{
	front_ready(b, false);
}

static void front_connected(struct blkif *b)
{
	front_ready(b, true);
}

static void front_closing(struct blkif *b)
{
	if (b->state != XB_CLOSED)
		enter(b, XB_CLOSING);
}

static void front_closed(struct blkif *b)
{
	if (b->live) {
		wind_down(b, BLKIF_DROP, XB_CLOSED);
		return;
	}
	enter(b, XB_CLOSED);
	if (!is_online(b))
		gone(b);
}

static void front_waits(struct blkif *b)
{
	(void)b;			/* a state of back-ends; some front-ends pass through it */
}

static void (*const on_front[XB_STATE_END])(struct blkif *b) = {
	[XB_UNKNOWN] = front_vanished,
	[XB_INITIALISING] = front_begins,
	[XB_INIT_WAIT] = front_waits,
	[XB_INITIALISED] = front_initialised,
	[XB_CONNECTED] = front_connected,
	[XB_CLOSING] = front_closing,
	[XB_CLOSED] = front_closed,
};

/* -1: we cannot know. */
static int front_state(struct blkif *b, uint32_t *out, struct err *e)
{
	if (get_u32_or(b, "state", XB_UNKNOWN, out, e) < 0)
		return -1;
	if (*out >= XB_STATE_END)
		return err_set(e, ERR_CORRUPT, "state is %u", *out);
	return 0;
}

static bool may_be_answered(uint32_t front)
{
	return front == XB_INITIALISED || front == XB_CONNECTED || front == XB_CLOSING;
}

void blkif_look(struct blkif *b)
{
	struct err e = ERR_INIT;
	uint32_t state;
	int rc;

	if (b->end == BLKIF_DROP || (b->stopping && !b->live))
		return;
	rc = front_state(b, &state, &e);
	if (b->end) {
		/* It went while it was being answered; its pages may serve others by now. */
		if (rc == 0 && !may_be_answered(state))
			b->end = BLKIF_DROP;
		return;
	}
	if (rc == 0) {
		on_front[state](b);
	} else if (e.code != ERR_CORRUPT && e.code != ERR_LIMIT) {
		log_fail(&e, "disk %u of domain %u: front-end", b->s.devid, b->s.domid);
	} else if (!b->barred) {
		blkif_break(b, &e);
	}
}

/* ---- for the owner --------------------------------------------------------------------------------------- */

/* Only a ring that both ends call Connected is taken over; else the two begin at the beginning. */
int blkif_offer(struct blkif *b, struct err *e)
{
	char text[BLKIF_TEXT_BYTES];
	uint32_t ours = XB_UNKNOWN, theirs;

	snprintf(b->front, sizeof(b->front), "/local/domain/%u/device/vbd/%u", b->s.domid, b->s.devid);
	snprintf(b->back, sizeof(b->back), "/local/domain/0/backend/hvblk/%u/%u", b->s.domid, b->s.devid);
	if (get(b, b->back, "frontend", text, e) < 0)
		return err_wrap(e, "the back-end's nodes are not there");
	if (get(b, b->back, "state", text, e) == 0)
		(void)parse_u32(text, &ours);
	else if (e->code != ERR_NOT_FOUND)
		return -1;
	*e = (struct err)ERR_INIT;
	if (front_state(b, &theirs, e) < 0) {
		if (e->code != ERR_CORRUPT && e->code != ERR_LIMIT)
			return -1;
		theirs = XB_UNKNOWN;		/* blkif_look deals with it */
	}
	if (put_features(b, e) < 0)
		return -1;
	*e = (struct err)ERR_INIT;
	b->barred = ours == XB_CLOSING || ours == XB_CLOSED;
	b->state = ours < XB_STATE_END ? (enum xb_state)ours : XB_UNKNOWN;
	if (!b->barred && !(ours == XB_CONNECTED && theirs == XB_CONNECTED)) {
		b->state = XB_INIT_WAIT;
		if (put_state(b, e) < 0)
			return -1;
	}
	/* Later: the owner cannot be told of anything before it has b. */
	b->look_again = true;
	loop_timer_set(b->timer, 0, 0);
	return 0;
}

int blkif_resized(struct blkif *b, struct err *e)
{
	if (!b->live || b->end)
		return 0;
	if (put_size(b, e) < 0)
		return -1;
	/* Said again for the watch: the front-end then reads the size. */
	return b->state == XB_CONNECTED ? put_state(b, e) : 0;
}

void blkif_stop(struct blkif *b, bool keep_state, void (*fn)(void *arg), void *arg)
{
	assert(!b->stopping);
	b->stopping = true;
	b->keep_state = keep_state;
	b->stop_fn = fn;
	b->stop_arg = arg;
	if (b->live) {
		if (!keep_state)
			enter(b, XB_CLOSING);
		wind_down(b, BLKIF_ANSWER, XB_CLOSED);
		return;
	}
	if (!keep_state)
		enter(b, XB_CLOSED);
	loop_timer_set(b->timer, 0, 0);
}
