/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of hvtls.  Refusals are caused by strangers, so they are limited to
 * a burst and then a rate, in the log too; what is left out is counted and
 * told with the next one.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "link/hvtls.h"
#include "link/hvtls_ctl.h"

static bool may_tell(struct hvtls *h)
{
	uint64_t now = clock_mono_ms(), gained = (now - h->event_ms) / EVENT_EVERY_MS;

	if (gained) {
		uint64_t tokens = h->event_tokens + gained;

		h->event_tokens = tokens > EVENTS_BURST ? EVENTS_BURST : (unsigned)tokens;
		h->event_ms += gained * EVENT_EVERY_MS;
	}
	if (!h->event_tokens) {
		h->suppressed++;
		return false;
	}
	h->event_tokens--;
	return true;
}

void event_refused(struct hvtls *h, const char *from, const struct err *why)
{
	if (!may_tell(h))
		return;
	log_info("refused %s: %s%s", from, why->detail, h->suppressed ? " (and others, not told)" : "");
	ctl_publish(h->ctl, json_pack("{ss ss ss ss sI}", "event", HVTLS_EVENT_REFUSED, "from", from,
				      "reason", why->detail, "code", err_name(why->code),
				      "suppressed", (json_int_t)h->suppressed));
	h->suppressed = 0;
}

void event_paired(struct hvtls *h, const struct pin *pin, bool by_us)
{
	char fp[FINGERPRINT_TEXT_BYTES];

	fingerprint_text(pin->fingerprint, fp);
	log_info("paired with %s as %s, key %.16s", pin->name, role_name(pin->role), fp);
	ctl_publish(h->ctl, json_pack("{ss so ss}", "event", HVTLS_EVENT_PAIRED, "peer", pin_json(pin),
				      "by", by_us ? "us" : "them"));
}

static void tell_if_near(struct hvtls *h, const char *name, uint64_t not_after_ms, bool self)
{
	const uint64_t day_ms = 86400000;
	uint64_t now = clock_real_ms();
	char when[CLOCK_TEXT_BYTES];

	if (!not_after_ms || not_after_ms > now + EXPIRING_DAYS * day_ms)
		return;
	clock_text(not_after_ms, when);
	log_warn("the certificate of %s ends %s; renew it there: hvapi cert renew", name, when);
	ctl_publish(h->ctl, json_pack("{ss ss sI sb}", "event", HVTLS_EVENT_EXPIRING, "name", name,
				      "not_after_ms", (json_int_t)not_after_ms, "self", (int)self));
}

void event_expiring(struct hvtls *h)
{
	const struct pin *p;

	tell_if_near(h, h->name, h->id->not_after_ms, true);
	for (unsigned i = 0; (p = pins_at(h->pins, i)) != NULL; i++)
		tell_if_near(h, p->name, p->not_after_ms, false);
}
