/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service: what its parts share.  One loop, one thread (name look-ups
 * apart).  Start reading at hvtls.c; a connection that comes in goes
 * incoming -> attempt -> handoff -> hvapid, one that goes out
 * verbs -> outgoing -> attempt -> handoff -> its caller.
 */
#ifndef LINK_HVTLS_H
#define LINK_HVTLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ctl.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/opt.h"
#include "link/codes.h"
#include "link/identity.h"
#include "link/pair.h"
#include "link/pins.h"
#include "link/tls.h"

enum {
	HVTLS_PORT = 8443,
	SHAKING_MAX = 64,		/* incoming connections that are not through yet; then the oldest goes */
	SHAKING_PER_SOURCE_MAX = 16,	/* of one address (v6: one /64) */
	PUMPS_MAX = 512,
	DIALS_MAX = 64,
	ACCEPTS_WAITING_MAX = 64,	/* handed to hvapid and not answered */
	EVENTS_BURST = 20,		/* of `refused`; then EVENT_EVERY_MS apart, with a count */
	EVENT_EVERY_MS = 500,
	EXPIRING_DAYS = 30,
	PROBE_EVERY_MS = 5000,		/* for kernel TLS, whose modules may come after us */
	PROBES_MAX = 24,
};

struct hvtls_cfg {
	const char *run, *data;
	const char *name;		/* of this host; NULL: its host name */
	struct opt_list listen;		/* none: all addresses, HVTLS_PORT */
	uid_t allow_uid;		/* may use the control socket beside root */
	uint64_t limit_ms;		/* for handshake and pairing; 0: ATTEMPT_MS */
	bool no_ktls;
};

struct incoming;
struct outgoing;
struct carried;
struct apid;
struct probe;

struct hvtls {
	struct loop *l;
	struct hvtls_cfg cfg;
	char name[IDENTITY_NAME_BYTES];
	char host_dir[256];
	struct identity *id;
	struct pins *pins;
	struct codes *codes;
	bool ktls;			/* this kernel is known to have it */
	struct probe *probe;		/* looks for it */
	uint16_t port;			/* of the first listener */
	struct ctl_server *ctl;
	struct incoming *incoming;
	struct outgoing *outgoing;	/* list */
	unsigned n_outgoing;
	struct carried *carried;	/* list of pumps */
	unsigned n_carried;
	struct apid *apid;
	struct loop_timer *daily;
	/* events.c */
	unsigned event_tokens;
	uint64_t event_ms;
	uint64_t suppressed;
};

/* Opens identity, pins and codes, listens, and answers on the control socket.  Shows the operator code if there is
 * no administrator yet. */
MUSTUSE int hvtls_new(struct loop *l, const struct hvtls_cfg *cfg, struct hvtls **out, struct err *e);
void hvtls_free(struct hvtls *h);		/* cuts everything that it pumps; NULL is fine */
/* A new admin code, shown on the console, while nobody is administrator and none is waiting. */
void hvtls_show_operator_code(struct hvtls *h);
MUSTUSE int hvtls_make_code(struct hvtls *h, enum role role, const char *name, uint64_t expires_ms,
			    char out[PAIR_CODE_TEXT_BYTES], struct err *e);
extern const struct pair_hooks hvtls_pair_hooks;	/* arg: struct hvtls_pairing */

/* What a pairing needs beside the host itself. */
struct hvtls_pairing {
	struct hvtls *h;
	char from[PIN_ADDRESS_BYTES];	/* listener: the peer's IP address, v6 in brackets, without port */
	const char *address;		/* dialer: what was dialled; NULL: listener */
	uint64_t not_after_ms;		/* of the peer's certificate */
};

/* ---- incoming.c: listeners and connections that are not through yet ---- */
MUSTUSE int incoming_new(struct hvtls *h, struct err *e);
void incoming_free(struct hvtls *h);
json_t *incoming_addresses(const struct hvtls *h);	/* ["0.0.0.0:8443", ...] */

/* ---- outgoing.c ---- */
struct outgoing_request {
	struct ctl_call *call;		/* to be deferred and answered */
	const char *address;
	const char *alpn;		/* pairing: PAIR_ALPN */
	const struct pin *peer;		/* dial: who must answer; pairing: NULL */
	const uint8_t *secret;		/* pairing: the code */
	const char *call_it;		/* pairing: may be NULL */
};
/* Defers the call and answers it later; on failure neither. */
MUSTUSE int outgoing_start(struct hvtls *h, const struct outgoing_request *q, struct err *e);
void outgoing_free(struct hvtls *h);

/* ---- handoff.c: a finished handshake becomes a descriptor ---- */
/* Takes t in any case.  *out_fd is blocking and the caller's; *out_transport is a word of hvtls_ctl.h. */
MUSTUSE int handoff(struct hvtls *h, struct tls *t, enum tls_side side, const char *peer, int *out_fd,
		    const char **out_transport, struct err *e);
void handoff_cut(struct hvtls *h, const uint8_t fingerprint[FINGERPRINT_BYTES]);
void handoff_free(struct hvtls *h);

/* ---- apid.c: calls to hvapid ---- */
void apid_new(struct hvtls *h);
void apid_free(struct hvtls *h);
/* Takes fd.  A connection that hvapid does not take is closed and logged. */
void apid_accept(struct hvtls *h, const char *alpn, const struct pin *peer, const char *from, const char *transport,
		 int fd);

/* ---- events.c: what subscribers and the log are told ---- */
void event_refused(struct hvtls *h, const char *from, const struct err *why);
void event_paired(struct hvtls *h, const struct pin *pin, bool by_us);
void event_expiring(struct hvtls *h);		/* looks at all certificates known */

/* ---- verbs.c ---- */
extern const struct ctl_verb hvtls_verbs[];

#endif
