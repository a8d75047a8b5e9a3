/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service's life, and what a pairing may do to it.
 */
#include "link/hvtls.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "link/attempt.h"
#include "link/hvtls_ctl.h"
#include "link/ktls.h"

enum { DAY_MS = 86400000, FIRST_LOOK_MS = 60000 };

/* ---- codes ---- */

int hvtls_make_code(struct hvtls *h, enum role role, const char *name, uint64_t expires_ms,
		    char out[PAIR_CODE_TEXT_BYTES], struct err *e)
{
	struct pair_offer offer = { .role = role };
	int rc = mbedtls_ctr_drbg_random(&h->id->rng, offer.secret, sizeof(offer.secret));

	if (rc)
		return err_tls(e, ERR_INTERNAL, rc, "random bytes for a code");
	if (name && !name_is_valid(name))
		return err_set(e, ERR_USAGE, "'%.80s' is no name: 1 to %d letters, digits, '.', '_', '-'", name,
			       IDENTITY_NAME_BYTES - 1);
	if (name)
		memcpy(offer.name, name, strlen(name) + 1);
	if (codes_add(h->codes, &offer, expires_ms, e) < 0)
		return -1;
	pair_code_text(offer.secret, out);
	return 0;
}

void hvtls_show_operator_code(struct hvtls *h)
{
	const struct code *c = codes_lasting(h->codes, ROLE_ADMIN);
	char text[PAIR_CODE_TEXT_BYTES];
	struct err e = ERR_INIT;

	if (pins_count(h->pins, ROLE_ADMIN))
		return;
	if (c)
		pair_code_text(c->offer.secret, text);
	else if (hvtls_make_code(h, ROLE_ADMIN, NULL, 0, text, &e) < 0) {
		log_fail(&e, "make the operator code");
		return;
	}
	log_info("operator code %s", text);
	log_info("nobody is administrator of %s yet: hvapi host enroll ADDRESS:%u --code CODE makes you one", h->name,
		 h->port);
}

/* ---- pairing ---- */

static bool find_code(void *arg, const uint8_t id[PAIR_ID_BYTES], struct pair_offer *out)
{
	struct hvtls_pairing *p = arg;
	const struct code *c = codes_find(p->h->codes, id);

	if (!c)
		return false;
	*out = c->offer;
	return true;
}

static void code_failed(void *arg, const uint8_t id[PAIR_ID_BYTES])
{
	struct hvtls_pairing *p = arg;

	if (!codes_failed(p->h->codes, id))
		return;
	log_warn("a code was proved wrong %d times and is burnt", CODE_ATTEMPTS_MAX);
	hvtls_show_operator_code(p->h);
}

static struct pin pin_of(const struct hvtls_pairing *p, const struct pair_result *r)
{
	struct pin pin = { .role = r->role, .not_after_ms = p->not_after_ms };

	memcpy(pin.name, r->name, sizeof(pin.name));
	memcpy(pin.fingerprint, r->fingerprint, sizeof(pin.fingerprint));
	if (p->address)
		snprintf(pin.address, sizeof(pin.address), "%s", p->address);
	else if (r->kind == PAIR_HOST && r->port)
		snprintf(pin.address, sizeof(pin.address), "%.*s:%u", ADDR_TEXT_BYTES, p->from, r->port);
	return pin;
}

static int pin_it(void *arg, const struct pair_result *r, const uint8_t id[PAIR_ID_BYTES], bool try, struct err *e)
{
	struct hvtls_pairing *p = arg;
	struct hvtls *h = p->h;
	struct pin pin = pin_of(p, r);

	if (memcmp(pin.fingerprint, h->id->fingerprint, FINGERPRINT_BYTES) == 0)
		return err_set(e, ERR_REFUSED, "that is this host itself");
	if (pin.role == ROLE_PEER && strcmp(pin.name, h->name) == 0) {
		err_set(e, ERR_EXISTS, "the other host has this host's own name, %s", h->name);
		return err_remedy(e, "give it another name with --name");
	}
	if (pins_check(h->pins, &pin, e) < 0)
		return -1;
	if (try)
		return 0;
	/* The code first: one that is lost can be made again, one that works twice is a hole. */
	if (!p->address && codes_spend(h->codes, id, e) < 0)
		return -1;
	if (pins_put(h->pins, &pin, e) < 0)
		return -1;
	event_paired(h, &pin, p->address != NULL);
	return 0;
}

static int fill_random(void *arg, uint8_t *p, size_t n)
{
	return mbedtls_ctr_drbg_random(&((struct hvtls_pairing *)arg)->h->id->rng, p, n);
}

const struct pair_hooks hvtls_pair_hooks = { find_code, code_failed, pin_it, fill_random };

/* ---- kernel TLS: looked for off the loop, because its modules take their time to load ---- */

struct probe {
	struct hvtls *h;		/* NULL: the service went */
	struct loop_timer *again;
	unsigned left;
	bool running, found;
};

/* Off the loop; touches `found` only. */
static void probe_run(void *arg)
{
	((struct probe *)arg)->found = ktls_probe();
}

static void probe_done(void *arg)
{
	struct probe *p = arg;

	p->running = false;
	if (!p->h) {
		free(p);
		return;
	}
	p->h->ktls = p->found;
	if (p->found)
		log_info("kernel TLS is there");
	else if (--p->left)
		loop_timer_set(p->again, PROBE_EVERY_MS, 0);
	else
		log_info("no kernel TLS: all bytes are pumped");
}

static void probe_now(void *arg)
{
	struct probe *p = arg;
	struct err e = ERR_INIT;

	if (loop_work(p->h->l, probe_run, probe_done, p, &e) < 0)
		log_fail(&e, "look for kernel TLS");
	else
		p->running = true;
}

static void probe_new(struct hvtls *h)
{
	struct probe *p = mem_alloc(sizeof(*p));

	p->h = h;
	p->left = PROBES_MAX;
	p->again = loop_timer_new(h->l, probe_now, p);
	loop_timer_set(p->again, 0, 0);
	h->probe = p;
}

static void probe_free(struct hvtls *h)
{
	struct probe *p = h->probe;

	if (!p)
		return;
	loop_timer_free(&p->again);
	p->h = NULL;
	if (!p->running)
		free(p);
	h->probe = NULL;
}

/* ---- life ---- */

static void daily(void *arg)
{
	event_expiring(arg);
}

static int open_files(struct hvtls *h, struct err *e)
{
	char path[512];

	snprintf(h->host_dir, sizeof(h->host_dir), "%s/host", h->cfg.data);
	if (h->cfg.name)
		snprintf(h->name, sizeof(h->name), "%s", h->cfg.name);
	else if (gethostname(h->name, sizeof(h->name) - 1) < 0 || !name_is_valid(h->name))
		snprintf(h->name, sizeof(h->name), "host");
	if (!name_is_valid(h->name))
		return err_set(e, ERR_USAGE, "--name '%s' is no name: letters, digits, '.', '_', '-'", h->name);
	if (identity_open(h->host_dir, h->name, &h->id, e) < 0)
		return err_wrap(e, "host key");
	snprintf(path, sizeof(path), "%s/pins.json", h->host_dir);
	if (pins_open(path, &h->pins, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/codes.json", h->host_dir);
	return codes_open(path, &h->codes, e);
}

static int open_sockets(struct hvtls *h, struct err *e)
{
	char path[512];

	if (incoming_new(h, e) < 0)
		return -1;
	apid_new(h);
	snprintf(path, sizeof(path), "%s/%s", h->cfg.run, HVTLS_SOCKET);
	return ctl_server_new(h->l, path, 0660, h->cfg.allow_uid, hvtls_verbs, h, &h->ctl, e);
}

int hvtls_new(struct loop *l, const struct hvtls_cfg *cfg, struct hvtls **out, struct err *e)
{
	struct hvtls *h = mem_alloc(sizeof(*h));

	h->l = l;
	h->cfg = *cfg;
	if (!h->cfg.limit_ms)
		h->cfg.limit_ms = ATTEMPT_MS;
	h->event_tokens = EVENTS_BURST;
	h->event_ms = clock_mono_ms();
	if (open_files(h, e) < 0 || open_sockets(h, e) < 0) {
		hvtls_free(h);
		return -1;
	}
	h->daily = loop_timer_new(l, daily, h);
	loop_timer_set(h->daily, FIRST_LOOK_MS, DAY_MS);
	if (!cfg->no_ktls)
		probe_new(h);
	log_info("%s, key %s, port %u", h->name, h->id->fingerprint_text, h->port);
	hvtls_show_operator_code(h);
	*out = h;
	return 0;
}

void hvtls_free(struct hvtls *h)
{
	if (!h)
		return;
	outgoing_free(h);
	incoming_free(h);
	handoff_free(h);
	apid_free(h);
	ctl_server_free(h->ctl);
	loop_timer_free(&h->daily);
	probe_free(h);
	codes_free(h->codes);
	pins_free(h->pins);
	identity_put(h->id);
	free(h);
}
