/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners, and connections from their first packet until they are somebody.
 * Strangers cost at most SHAKING_MAX slots for the time of the deadline: when
 * all are taken the oldest goes, and one source has few of them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "link/addr.h"
#include "link/attempt.h"
#include "link/hvtls.h"
#include "link/services.h"

enum { LISTENERS_MAX = 8, ACCEPTS_PER_TURN = 16, ACCEPT_RETRY_MS = 200 };

struct slot {
	struct hvtls *h;
	struct slot *next;		/* newest first */
	struct attempt *a;
	char from[ADDR_TEXT_BYTES];
	uint8_t group[16];
	struct hvtls_pairing pairing;
	bool over;			/* told; only lingers */
};

struct listener {
	struct hvtls *h;
	int fd;
	struct loop_src *src;
	char text[ADDR_TEXT_BYTES];
};

struct incoming {
	struct listener v[LISTENERS_MAX];
	unsigned n;
	struct loop_timer *retry;
	struct slot *slots;
	unsigned n_slots;
};

static void slot_free(struct slot *s)
{
	struct incoming *in = s->h->incoming;
	struct slot **at;

	for (at = &in->slots; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	in->n_slots--;
	attempt_free(s->a);
	free(s);
}

static void fail_slot(struct slot *s, const struct err *e)
{
	event_refused(s->h, s->from, e);
	s->over = true;
	if (!attempt_linger(s->a))
		slot_free(s);
}

/* Inside the handshake: may this key have what it asks for? */
static bool judge(void *arg, const char *alpn, const struct tls_peer *peer, struct err *why)
{
	const struct slot *s = arg;
	const struct service *want = service_find(alpn);
	const struct pin *pin = pins_by_fingerprint(s->h->pins, peer->fingerprint);
	char fp[FINGERPRINT_TEXT_BYTES];

	if (!want) {
		err_set(why, ERR_DENIED, "no service was asked for (ALPN)");
		return false;
	}
	if (!want->roles)
		return true;
	fingerprint_text(peer->fingerprint, fp);
	if (!pin)
		err_set(why, ERR_DENIED, "%s: key %.16s is not known here", alpn, fp);
	else if (!(want->roles & BIT(pin->role)))
		err_set(why, ERR_DENIED, "%s: not for %s, who is %s", alpn, pin->name, role_name(pin->role));
	return pin && want->roles & BIT(pin->role);
}

/* The end of the peer's certificate may have moved since it was pinned. */
static void refresh_pin(struct hvtls *h, const struct pin *pin, const struct tls_peer *peer)
{
	struct pin now = *pin;
	struct err e = ERR_INIT;

	if (pin->not_after_ms == peer->not_after_ms)
		return;
	now.not_after_ms = peer->not_after_ms;
	if (pins_put(h->pins, &now, &e) < 0)
		log_fail(&e, "keep the new certificate's end of %s", now.name);
}

static void serve(struct slot *s)
{
	struct hvtls *h = s->h;
	struct tls *t = attempt_take_tls(s->a);
	const struct pin *pin = pins_by_fingerprint(h->pins, tls_peer(t)->fingerprint);
	const struct service *service = service_find(tls_alpn(t));
	const char *transport;
	struct err e = ERR_INIT;
	struct pin who;
	int fd;

	if (!pin || !service) {		/* unpinned since the judgement */
		tls_free(t);
		slot_free(s);
		return;
	}
	refresh_pin(h, pin, tls_peer(t));
	who = *pin;
	if (handoff(h, t, TLS_SERVER, who.name, &fd, &transport, &e) < 0)
		log_fail(&e, "%s: %s", who.name, service->alpn);
	else
		apid_accept(h, service->alpn, &who, s->from, transport, fd);
	slot_free(s);
}

static void pair(struct slot *s)
{
	struct pair_setup ps = {
		.side = PAIR_LISTENER, .kind = PAIR_HOST, .name = s->h->name, .port = s->h->port,
		.hooks = &hvtls_pair_hooks, .arg = &s->pairing,
	};
	struct err e = ERR_INIT;

	memcpy(ps.own, s->h->id->fingerprint, sizeof(ps.own));
	s->pairing.h = s->h;
	s->pairing.not_after_ms = tls_peer(attempt_tls(s->a))->not_after_ms;
	snprintf(s->pairing.from, sizeof(s->pairing.from), "%s", s->from);
	*strrchr(s->pairing.from, ':') = '\0';
	if (attempt_pair(s->a, &ps, &e) < 0)
		fail_slot(s, &e);
}

static void slot_done(void *arg, struct attempt *a, const struct err *e)
{
	struct slot *s = arg;
	const struct service *service;

	if (s->over) {
		slot_free(s);
		return;
	}
	if (e) {
		fail_slot(s, e);
		return;
	}
	if (attempt_pair_result(a)->role != ROLE_NONE) {
		s->over = true;		/* paired; lets the peer read the last word */
		if (!attempt_linger(a))
			slot_free(s);
		return;
	}
	service = service_find(tls_alpn(attempt_tls(a)));
	if (service && !service->roles)
		pair(s);
	else
		serve(s);
}

/* Of this source, and the oldest of all. */
static unsigned count_group(const struct incoming *in, const uint8_t group[16], struct slot **out_oldest)
{
	unsigned n = 0;

	*out_oldest = NULL;
	for (struct slot *s = in->slots; s; s = s->next) {
		n += memcmp(s->group, group, sizeof(s->group)) == 0;
		*out_oldest = s;
	}
	return n;
}

/* Room for one more, or -1 with the reason. */
static int make_room(struct hvtls *h, const uint8_t group[16], struct err *e)
{
	struct incoming *in = h->incoming;
	struct slot *oldest;
	struct err why = ERR_INIT;

	if (count_group(in, group, &oldest) >= SHAKING_PER_SOURCE_MAX)
		return err_set(e, ERR_LIMIT, "%d handshakes of this address are under way", SHAKING_PER_SOURCE_MAX);
	if (in->n_slots < SHAKING_MAX)
		return 0;
	if (!oldest->over) {
		err_set(&why, ERR_LIMIT, "the slowest of %d handshakes makes room", SHAKING_MAX);
		event_refused(h, oldest->from, &why);
	}
	slot_free(oldest);
	return 0;
}

static void welcome(struct hvtls *h, int fd, const struct sockaddr_storage *sa)
{
	struct slot *s = mem_alloc(sizeof(*s));
	struct attempt_setup as = {
		.l = h->l, .id = h->id, .side = TLS_SERVER, .fd = fd, .alpn = service_alpns, .gcm_first = h->ktls,
		.limit_ms = h->cfg.limit_ms, .judge = judge, .done = slot_done, .arg = s,
	};
	struct err e = ERR_INIT;

	*s = (struct slot){ .h = h };
	addr_text(sa, 0, s->from);
	addr_group(sa, s->group);
	if (make_room(h, s->group, &e) < 0) {
		event_refused(h, s->from, &e);
		fd_close(&fd);
		free(s);
		return;
	}
	if (attempt_new(&as, &s->a, &e) < 0) {
		log_fail(&e, "%s", s->from);
		free(s);
		return;
	}
	s->next = h->incoming->slots;
	h->incoming->slots = s;
	h->incoming->n_slots++;
}

static void accept_ready(void *arg, unsigned events)
{
	struct listener *l = arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof(sa);
		int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(l->h, fd, &sa);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return;
		/* Out of descriptors or memory: the socket stays ready, so looking again at once would spin. */
		loop_set_events(l->src, 0);
		loop_timer_set(l->h->incoming->retry, ACCEPT_RETRY_MS, 0);
		return;
	}
}

static void look_again(void *arg)
{
	struct hvtls *h = arg;

	for (unsigned i = 0; i < h->incoming->n; i++)
		loop_set_events(h->incoming->v[i].src, LOOP_READ);
}

static int bind_one(const struct addrinfo *ai, int *out_fd, struct err *e)
{
	AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return err_sys(e, errno, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		return err_sys(e, errno, "bind");
	if (listen(fd, SHAKING_MAX) < 0)
		return err_sys(e, errno, "listen");
	*out_fd = fd_take(&fd);
	return 0;
}

static int listen_at(struct hvtls *h, const char *text, struct err *e)
{
	struct listener *l = &h->incoming->v[h->incoming->n];
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addrinfo *list;
	struct addr a = { .host = "127.0.0.1" };
	const char *any_port = "127.0.0.1:0";
	int rc;

	if (h->incoming->n == LISTENERS_MAX)
		return err_set(e, ERR_LIMIT, "at most %d --listen", LISTENERS_MAX);
	/* Port 0 is for tests: the kernel picks one. */
	if (strcmp(text, any_port) != 0 && addr_parse(text, HVTLS_PORT, &a, e) < 0)
		return -1;
	if (addr_resolve(&a, 1, &list, e) < 0)
		return err_wrap(e, "listen at '%s'", text);
	rc = bind_one(list, &l->fd, e);
	freeaddrinfo(list);
	if (rc < 0)
		return err_wrap(e, "listen at '%s'", text);
	h->incoming->n++;
	l->h = h;
	if (getsockname(l->fd, (struct sockaddr *)&sa, &len) < 0)
		return err_sys(e, errno, "getsockname");
	addr_text(&sa, 0, l->text);
	if (!h->port)
		h->port = (uint16_t)strtoul(strrchr(l->text, ':') + 1, NULL, 10);
	return loop_watch(h->l, l->fd, LOOP_READ, accept_ready, l, &l->src, e);
}

int incoming_new(struct hvtls *h, struct err *e)
{
	struct err none = ERR_INIT;

	h->incoming = mem_alloc(sizeof(*h->incoming));
	h->incoming->retry = loop_timer_new(h->l, look_again, h);
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		h->incoming->v[i].fd = -1;
	for (unsigned i = 0; i < h->cfg.listen.n; i++)
		if (listen_at(h, h->cfg.listen.v[i], e) < 0)
			return -1;
	if (h->cfg.listen.n)
		return 0;
	if (listen_at(h, "0.0.0.0:8443", e) < 0)
		return -1;
	if (listen_at(h, "[::]:8443", &none) < 0)
		log_info("no IPv6: %s", none.detail);
	return 0;
}

void incoming_free(struct hvtls *h)
{
	struct incoming *in = h->incoming;

	if (!in)
		return;
	while (in->slots)
		slot_free(in->slots);
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		loop_unwatch(&in->v[i].src);
		fd_close(&in->v[i].fd);
	}
	loop_timer_free(&in->retry);
	free(in);
	h->incoming = NULL;
}

json_t *incoming_addresses(const struct hvtls *h)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < h->incoming->n; i++)
		json_array_append_new(list, json_string(h->incoming->v[i].text));
	return list;
}
