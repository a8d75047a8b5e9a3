/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host's API as functions: connect by profile (or by the unix socket when
 * the CLI runs on the host itself), send, and turn problems into errors.
 */
#ifndef HVAPI_CLI_API_H
#define HVAPI_CLI_API_H

#include <stdint.h>
#include <jansson.h>

#include "base/err.h"
#include "hvapi/cli/http.h"

struct api;

/* host NULL: this host by its unix socket, if $HVAPI_SOCKET names one or /run/hvapi/api.sock is there; else the
 * default profile. */
MUSTUSE int api_open(const char *host, struct api **out, struct err *e);
void api_close(struct api *a);
const char *api_host(const struct api *a);

/* body borrowed, may be NULL.  out (caller's reference) may be NULL.  A problem of the API is an error; a list of
 * problems in it is kept for api_problems. */
MUSTUSE int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **out,
		     struct err *e);
/* Any body by request; the answer must be JSON or empty. */
MUSTUSE int api_send(struct api *a, const struct http_request *q, json_t **out, struct err *e);
/* GET whose answer comes in pieces until fn returns non-zero or the host ends. */
MUSTUSE int api_stream(struct api *a, const char *path, const char *accept,
		       int (*fn)(void *arg, const void *p, size_t n), void *arg, struct err *e);
/* Upgrades to a raw stream; *out_early holds what came with the answer. */
MUSTUSE int api_upgrade(struct api *a, const char *path, const char *protocol, const struct http_stream **out_stream,
			int *out_fd, struct buf *out_early, struct err *e);
/* The "problems" of the last failed call, borrowed; NULL if it had none. */
const json_t *api_problems(const struct api *a);
/* The same for an error that came inside an answer: keeps o's "problems", if it has any. */
void api_keep_problems(struct api *a, const json_t *o);

#endif
