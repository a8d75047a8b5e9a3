/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi migrate ...: move a guest while it runs.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/help.h"
#include "hvapi/cli/job.h"
#include "hvapi/cli/out.h"

static const char *opt_to, *opt_on_stall, *opt_compress, *opt_outcome;
static bool opt_accept_risk;
static uint64_t opt_max_downtime_ms = UINT64_MAX, opt_max_rounds = UINT64_MAX;	/* UINT64_MAX: not given */

static const struct opt migrate_opts[] = {
	{ "to", OPT_TEXT, &opt_to, "HOST", "the paired host that the guest goes to" },
	{ "max-downtime", OPT_MS, &opt_max_downtime_ms, "TIME",
	  "stop the guest when what is left fits in this (300ms)" },
	{ "max-rounds", OPT_U64, &opt_max_rounds, "N", "rounds of pre-copy at the most (30)" },
	{ "on-stall", OPT_TEXT, &opt_on_stall, "throttle|stop|abort",
	  "what to do when the guest dirties memory faster than the line" },
	{ "compress", OPT_TEXT, &opt_compress, "auto|zstd|zlib|none",
	  "codec of the memory stream (auto: the best both have)" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct opt check_opts[] = {
	{ "to", OPT_TEXT, &opt_to, "HOST", "the paired host that the guest would go to" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct opt resolve_opts[] = {
	{ "outcome", OPT_TEXT, &opt_outcome, "ask|here|away",
	  "ask the other host (default), or decide by hand when it is lost for good" },
	{ "accept-risk", OPT_FLAG, &opt_accept_risk, NULL, "with here or away: two copies may run if you are wrong" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static int need_to(struct err *e)
{
	if (opt_to)
		return 0;
	err_set(e, ERR_USAGE, "where to? --to HOST is missing");
	return err_remedy(e, "hvapi host peers lists the paired hosts");
}

static void put_text(json_t *o, const char *key, const char *v)
{
	if (v)
		json_object_set_new(o, key, json_string(v));
}

static void put_u64(json_t *o, const char *key, uint64_t v)
{
	if (v != UINT64_MAX)
		json_object_set_new(o, key, json_integer((json_int_t)(v > INT64_MAX ? INT64_MAX : v)));
}

static int migrate(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], "migrate");
	AUTO_JSON json_t *body = json_object();
	AUTO_JSON json_t *answer = NULL;

	if (need_to(e) < 0)
		return -1;
	put_text(body, "to", opt_to);
	put_text(body, "on_stall", opt_on_stall);
	put_text(body, "compress", opt_compress);
	put_u64(body, "max_downtime_ms", opt_max_downtime_ms);
	put_u64(body, "max_rounds", opt_max_rounds);
	if (api_call(c->api, "POST", path, body, &answer, e) < 0)
		return -1;
	return job_started(c, answer, e);
}

/* True if one of the problems is an error (the others are warnings). */
static bool any_error(const json_t *problems)
{
	size_t i;
	const json_t *p;

	json_array_foreach(problems, i, p) {
		const char *s = json_string_value(json_object_get(p, "severity"));

		if (!s || strcmp(s, "warning"))
			return true;
	}
	return false;
}

static int migrate_check(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], "migrate");
	AUTO_JSON json_t *answer = NULL;

	if (need_to(e) < 0)
		return -1;
	AUTO_JSON json_t *body = json_pack("{s:s, s:b}", "to", opt_to, "check_only", 1);

	if (api_call(c->api, "POST", path, body, &answer, e) < 0)
		return -1;
	const char *id = json_string_value(json_object_get(json_object_get(answer, "job"), "id"));
	AUTO_JSON json_t *job = NULL;

	if (!id)
		return err_set(e, ERR_PEER, "%s did not say which job checks", api_host(c->api));
	if (job_wait(c, id, &job, e) < 0)
		return -1;
	const json_t *result = json_object_get(job, "result"), *problems = json_object_get(result, "problems");

	if (c->json)
		out_json(result);
	else if (!json_array_size(problems))
		printf("%s can move to %s\n", argv[0], opt_to);
	else
		help_problems(stdout, problems);
	if (any_error(problems))
		return err_set(e, ERR_REFUSED, "%s cannot move to %s as things are", argv[0], opt_to);
	return 0;
}

static int migrate_resolve(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], "resolve");
	AUTO_JSON json_t *body = json_object();
	AUTO_JSON json_t *answer = NULL;

	put_text(body, "outcome", opt_outcome);
	if (opt_accept_risk)
		json_object_set_new(body, "accept_risk", json_true());
	if (api_call(c->api, "POST", path, body, &answer, e) < 0)
		return -1;
	const char *state = json_string_value(json_object_get(answer, "state"));

	out_done(c, answer, "%s: %s", argv[0], state ? state : "asked");
	return 0;
}

const struct cmd cmds_migrate[] = {
	{ "migrate", NULL, "VM", 1, 1, migrate_opts, false, migrate, "move a running guest to another host" },
	{ "migrate", "check", "VM", 1, 1, check_opts, false, migrate_check,
	  "say everything that would keep a guest from moving" },
	{ "migrate", "resolve", "VM", 1, 1, resolve_opts, false, migrate_resolve,
	  "settle a move whose outcome is in doubt" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};
