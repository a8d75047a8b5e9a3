/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small nouns: cert, file, events, and what the CLI says about itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/help.h"
#include "hvapi/cli/out.h"
#include "hvapi/cli/sse.h"

static const char *opt_vm;
static uint64_t opt_limit = 50;
static bool opt_follow;

static const struct table_col cert_cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "ROLE", "role", TABLE_TEXT },
	{ "NOT AFTER", "not_after_ms", TABLE_TIME_MS },
	{ "FINGERPRINT", "fingerprint", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static const struct table_col file_cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "SIZE", "bytes", TABLE_BYTES },
	{ "MODIFIED", "modified_ms", TABLE_TIME_MS },
	{ "USED BY", "used_by", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static const struct table_col event_cols[] = {
	{ "TIME", "time_ms", TABLE_TIME_MS },
	{ "TYPE", "type", TABLE_TEXT },
	{ "VM", "vm", TABLE_TEXT },
	{ "TEXT", "text", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static int cert_list(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "GET", "/v1/certs", NULL, &answer, e) < 0)
		return -1;
	/* For people the host's own certificate is the first row. */
	if (!c->json) {
		json_t *own = json_object_get(answer, "identity");

		json_object_set_new(own, "role", json_string("(this host)"));
		json_array_insert(json_object_get(answer, "pins"), 0, own);
	}
	out_list(c, answer, "pins", cert_cols);
	return 0;
}

static int cert_renew(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "POST", "/v1/certs/renew", NULL, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s has a new certificate", api_host(c->api));
	return 0;
}

const struct cmd cmds_cert[] = {
	{ "cert", "list", "", 0, 0, NULL, false, cert_list, "the host's certificate and those it trusts" },
	{ "cert", "renew", "", 0, 0, NULL, false, cert_renew, "give the host a new certificate for its key" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};

static int file_put(struct cli *c, int argc, char **argv, struct err *e)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = argc > 1 ? argv[1] : slash ? slash + 1 : argv[0];
	AUTO_FREE char *path = out_path("boot-files", name, NULL);
	AUTO_FD int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	AUTO_JSON json_t *answer = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", argv[0]);
	if (!S_ISREG(st.st_mode) || !st.st_size)
		return err_set(e, ERR_USAGE, "'%s' is no file with something in it", argv[0]);
	struct http_request q = {
		.method = "PUT",
		.path = path,
		.content_type = "application/octet-stream",
		.body_fd = fd,
		.body_fd_bytes = (uint64_t)st.st_size,
	};
	if (api_send(c->api, &q, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s is on %s", name, api_host(c->api));
	return 0;
}

static int file_list(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "GET", "/v1/boot-files", NULL, &answer, e) < 0)
		return -1;
	out_list(c, answer, "boot_files", file_cols);
	return 0;
}

static int file_remove(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("boot-files", argv[0], NULL);
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "DELETE", path, NULL, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s removed", argv[0]);
	return 0;
}

const struct cmd cmds_file[] = {
	{ "file", "put", "FILE [NAME]", 1, 2, NULL, false, file_put, "send a kernel or ramdisk that guests boot from" },
	{ "file", "list", "", 0, 0, NULL, false, file_list, "kernels and ramdisks on the host" },
	{ "file", "remove", "NAME", 1, 1, NULL, false, file_remove, "remove one" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};

static int put_stdout(void *arg, const void *p, size_t n)
{
	(void)arg;
	return fwrite(p, 1, n, stdout) != n || fflush(stdout) != 0;
}

static void put_vm(struct buf *path)
{
	if (!opt_vm)
		return;
	buf_printf(path, "&vm=");
	http_escape(path, opt_vm);
}

/* One line an event: as a program reads it, or as a row of the list. */
static int put_event(void *arg, const json_t *event)
{
	const struct cli *c = arg;

	if (c->json) {
		json_dumpf(event, stdout, JSON_COMPACT | JSON_SORT_KEYS);
		printf("\n");
	} else {
		table_line(stdout, event_cols, event);
	}
	return fflush(stdout) != 0;
}

/* What is there already, then what comes: nothing between is missed. */
static int follow_events(struct cli *c, const json_t *listed, struct err *e)
{
	struct sse s = { .fn = put_event, .arg = c };
	AUTO_BUF struct buf path = { 0 };
	const json_t *event;
	size_t i;

	json_array_foreach(json_object_get(listed, "events"), i, event)
		(void)put_event(c, event);
	buf_printf(&path, "/v1/events?since=%lld", (long long)json_integer_value(json_object_get(listed, "last")));
	put_vm(&path);
	int rc = api_stream(c->api, (const char *)path.p, "text/event-stream", sse_bytes, &s, e);

	sse_fini(&s);
	return rc;
}

static int events(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_BUF struct buf path = { 0 };
	AUTO_JSON json_t *answer = NULL;

	buf_printf(&path, "/v1/events?limit=%llu", (unsigned long long)opt_limit);
	put_vm(&path);
	if (api_call(c->api, "GET", (const char *)path.p, NULL, &answer, e) < 0)
		return -1;
	if (opt_follow)
		return follow_events(c, answer, e);
	out_list(c, answer, "events", event_cols);
	return 0;
}

static const struct opt event_opts[] = {
	{ "vm", OPT_TEXT, &opt_vm, "VM", "only those of one guest" },
	{ "limit", OPT_U64, &opt_limit, "N", "the last N (50)" },
	{ "follow", OPT_FLAG, &opt_follow, NULL, "print them as they come, one a line" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

const struct cmd cmds_events[] = {
	{ "events", NULL, "", 0, 0, event_opts, false, events, "what happened on the host" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};

static int metrics(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	return api_stream(c->api, "/metrics", "application/openmetrics-text", put_stdout, NULL, e);
}

static int openapi(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	return api_stream(c->api, "/v1/openapi.json", NULL, put_stdout, NULL, e);
}

static int completion(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)c;
	(void)argc;
	(void)argv;
	(void)e;
	help_completion(stdout);
	return 0;
}

static int man(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)c;
	(void)argc;
	(void)argv;
	(void)e;
	help_man(stdout);
	return 0;
}

const struct cmd cmds_other[] = {
	{ "metrics", NULL, "", 0, 0, NULL, false, metrics, "the host's figures in OpenMetrics format" },
	{ "openapi", NULL, "", 0, 0, NULL, false, openapi, "the API's description" },
	{ "completion", NULL, "", 0, 0, NULL, true, completion, "a completion script for bash" },
	{ "man", NULL, "", 0, 0, NULL, true, man, "the manual page in mdoc" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};
