/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI remembers on the operator's machine: his own key and
 * certificate, and the hosts he has enrolled with.
 *
 *    DIR/key.der, DIR/cert.der   made at the first enrolment, mode 0600
 *    DIR/hosts.json              {"default": "hv1", "hosts": {"hv1": {"address": "h:8443", "fingerprint": "..."}}}
 *
 * DIR is $HVAPI_CONFIG_DIR, else $XDG_CONFIG_HOME/hvapi, else ~/.config/hvapi.
 */
#ifndef HVAPI_CLI_PROFILE_H
#define HVAPI_CLI_PROFILE_H

#include <stdbool.h>
#include <jansson.h>

#include "base/err.h"

enum { PROFILE_TEXT_BYTES = 256, PROFILE_FILE_BYTES_MAX = 1 << 20 };

struct profile_host {
	char name[PROFILE_TEXT_BYTES];
	char address[PROFILE_TEXT_BYTES];	/* host:port */
	char fingerprint[PROFILE_TEXT_BYTES];
};

/* The folder, made if it is not there. */
MUSTUSE int profile_dir(char out[PROFILE_TEXT_BYTES], struct err *e);
/* name NULL: the default.  ERR_NOT_FOUND with the remedy when there is none. */
MUSTUSE int profile_find(const char *name, struct profile_host *out, struct err *e);
/* Adds or replaces; the first one becomes the default. */
MUSTUSE int profile_put(const struct profile_host *h, bool make_default, struct err *e);
MUSTUSE int profile_remove(const char *name, struct err *e);
/* [{name, address, fingerprint, default}]; caller's reference. */
MUSTUSE int profile_list(json_t **out, struct err *e);

#endif
