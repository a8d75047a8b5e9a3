/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection a request: the answers are small and the handshake is what
 * proves both sides, so keeping connections would save little and add states.
 */
#include "hvapi/cli/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/js.h"
#include "hvapi/cli/profile.h"
#include "hvapi/hvapid_ctl.h"
#include "link/client.h"

struct api {
	struct profile_host host;
	const char *local;		/* path of this host's unix socket, or NULL: by TLS */
	struct client_keys *keys;
	json_t *problems;
	struct client_conn *conn;	/* of the request under way */
	int fd;				/* the same, local */
	struct http_stream stream;
};

/* The socket that was named is used, there or not; the usual one where it is. */
static const char *local_path(void)
{
	const char *named = getenv("HVAPI_SOCKET");

	if (named && *named)
		return named;
	return access(HVAPID_API_PATH, F_OK) == 0 ? HVAPID_API_PATH : NULL;
}

int api_open(const char *host, struct api **out, struct err *e)
{
	struct api *a = mem_alloc(sizeof(*a));
	char dir[PROFILE_TEXT_BYTES];

	a->fd = -1;
	a->local = host ? NULL : local_path();
	if (a->local) {
		snprintf(a->host.name, sizeof(a->host.name), "localhost");
		*out = a;
		return 0;
	}
	if (profile_find(host, &a->host, e) < 0 || profile_dir(dir, e) < 0 ||
	    client_keys_load(dir, &a->keys, e) < 0) {
		api_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

static void disconnect(struct api *a)
{
	client_close(a->conn);
	a->conn = NULL;
	fd_close(&a->fd);
}

void api_close(struct api *a)
{
	if (!a)
		return;
	disconnect(a);
	client_keys_free(a->keys);
	json_decref(a->problems);
	free(a);
}

const char *api_host(const struct api *a)
{
	return a->host.name;
}

const json_t *api_problems(const struct api *a)
{
	return a->problems;
}

void api_keep_problems(struct api *a, const json_t *o)
{
	json_decref(a->problems);
	a->problems = json_incref(json_object_get(o, "problems"));
}

static ssize_t tls_read(void *arg, void *p, size_t n)
{
	struct api *a = arg;
	return client_read(a->conn, p, n);
}

static ssize_t tls_write(void *arg, const void *p, size_t n)
{
	struct api *a = arg;
	return client_write(a->conn, p, n);
}

static ssize_t local_read(void *arg, void *p, size_t n)
{
	struct api *a = arg;
	ssize_t got = read(a->fd, p, n);
	return got < 0 ? -errno : got;
}

static ssize_t local_write(void *arg, const void *p, size_t n)
{
	struct api *a = arg;
	ssize_t put = send(a->fd, p, n, MSG_NOSIGNAL);
	return put < 0 ? -errno : put;
}

static int connect_local(struct api *a, struct err *e)
{
	struct err bad = ERR_INIT;

	a->stream = (struct http_stream){ local_read, local_write, a };
	if (fd_unix_connect(a->local, &a->fd, &bad) == 0)
		return 0;
	/* No socket is no missing object: the host's service cannot be reached. */
	err_set(e, bad.code == ERR_NOT_FOUND ? ERR_NET : bad.code, "%s", bad.detail);
	return err_remedy(e, "hvapid makes that socket; does it run on this host?");
}

static int connect_host(struct api *a, struct err *e)
{
	disconnect(a);
	if (a->local)
		return connect_local(a, e);
	a->stream = (struct http_stream){ tls_read, tls_write, a };
	if (client_connect(a->keys, a->host.address, a->host.fingerprint, "http/1.1", &a->conn, e) < 0)
		return err_wrap(e, "host %s", a->host.name);
	return 0;
}

/* An answer of 4xx or 5xx as an error; its list of problems is kept. */
static int take_problem(struct api *a, const struct http_response *r, struct err *e)
{
	AUTO_JSON json_t *o = NULL;
	struct err bad = ERR_INIT;

	if (js_parse((const char *)r->body.p, r->body.len, &o, &bad) < 0)
		return err_set(e, ERR_PEER, "%s answered %d without saying why", a->host.name, r->status);
	js_to_err(o, e);
	api_keep_problems(a, o);
	return -1;
}

int api_send(struct api *a, const struct http_request *q, json_t **out, struct err *e)
{
	struct http_response r = { 0 };
	int rc = -1;

	if (connect_host(a, e) < 0 || http_do(&a->stream, a->host.name, q, NULL, NULL, &r, e) < 0)
		goto out;
	if (r.status >= 400) {
		rc = take_problem(a, &r, e);
	} else if (r.body.len && out) {
		rc = js_parse((const char *)r.body.p, r.body.len, out, e);
	} else {
		if (out)
			*out = json_object();
		rc = 0;
	}
out:
	http_response_fini(&r);
	disconnect(a);
	return rc;
}

int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **out, struct err *e)
{
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_request q = {
		.method = method,
		.path = path,
		.content_type = text ? "application/json" : NULL,
		.body = { .p = (const uint8_t *)text, .len = text ? strlen(text) : 0 },
	};

	return api_send(a, &q, out, e);
}

int api_stream(struct api *a, const char *path, const char *accept, int (*fn)(void *arg, const void *p, size_t n),
	       void *arg, struct err *e)
{
	struct http_request q = { .method = "GET", .path = path, .accept = accept };
	struct http_response r = { 0 };
	int rc = -1;

	if (connect_host(a, e) == 0 && http_do(&a->stream, a->host.name, &q, fn, arg, &r, e) == 0)
		rc = r.status >= 400 ? take_problem(a, &r, e) : 0;
	http_response_fini(&r);
	disconnect(a);
	return rc;
}

int api_upgrade(struct api *a, const char *path, const char *protocol, const struct http_stream **out_stream,
		int *out_fd, struct buf *out_early, struct err *e)
{
	struct http_request q = { .method = "GET", .path = path, .upgrade = protocol };
	struct http_response r = { 0 };

	if (connect_host(a, e) < 0 || http_do(&a->stream, a->host.name, &q, NULL, NULL, &r, e) < 0)
		return -1;
	if (r.status != 101) {
		if (r.status < 400)
			err_set(e, ERR_PEER, "%s did not switch to %s", a->host.name, protocol);
		else if (take_problem(a, &r, e) == 0)
			err_set(e, ERR_INTERNAL, "a problem without an error");
		http_response_fini(&r);
		disconnect(a);
		return -1;
	}
	*out_early = r.body;
	*out_stream = &a->stream;
	*out_fd = a->local ? a->fd : client_fd(a->conn);
	return 0;
}
