/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi host ...: the host itself, its pairing, and the hosts known here.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/out.h"
#include "hvapi/cli/profile.h"
#include "link/client.h"

static const char *opt_code, *opt_name, *opt_role = "peer";
static uint64_t opt_ttl_ms = UINT64_MAX;	/* not given */
static bool opt_reboot;

static const struct table_col host_cols[] = {
	{ "Name", "name", TABLE_TEXT },
	{ "Version", "version", TABLE_TEXT },
	{ "Xen", "xen.version", TABLE_TEXT },
	{ "CPUs", "cpus", TABLE_TEXT },
	{ "Guests' memory", "memory.guests_mib", TABLE_MIB },
	{ "Guests", "vms.defined", TABLE_TEXT },
	{ "Running", "vms.running", TABLE_TEXT },
	{ "Network", "network", TABLE_TEXT },
	{ "Data volume", "data.device", TABLE_TEXT },
	{ "Data free", "data.free_bytes", TABLE_BYTES },
	{ "Up", "uptime_ms", TABLE_MS },
	{ "Fingerprint", "fingerprint", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static const struct table_col peer_cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "ROLE", "role", TABLE_TEXT },
	{ "ADDRESS", "address", TABLE_TEXT },
	{ "FINGERPRINT", "fingerprint", TABLE_FINGERPRINT },
	{ NULL, NULL, TABLE_TEXT },
};

static const struct table_col known_cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "ADDRESS", "address", TABLE_TEXT },
	{ "DEFAULT", "default", TABLE_TEXT },
	{ "FINGERPRINT", "fingerprint", TABLE_FINGERPRINT },
	{ NULL, NULL, TABLE_TEXT },
};

static int host_show(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *h = NULL;

	if (api_call(c->api, "GET", "/v1/host", NULL, &h, e) < 0)
		return -1;
	out_one(c, h, host_cols);
	return 0;
}

static int need_code(struct err *e)
{
	if (opt_code)
		return 0;
	err_set(e, ERR_USAGE, "--code CODE is missing");
	return err_remedy(e, "the other host shows one: on its console at first boot, or by `hvapi host code`");
}

static int host_enroll(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	struct profile_host h = { .name = "" };
	struct client_enrolled got;
	char dir[PROFILE_TEXT_BYTES], me[PROFILE_TEXT_BYTES] = "operator";

	if (need_code(e) < 0 || profile_dir(dir, e) < 0)
		return -1;
	gethostname(me, sizeof(me) - 1);
	if (client_enroll(dir, argv[0], opt_code, me, &got, e) < 0)
		return -1;
	snprintf(h.name, sizeof(h.name), "%s", opt_name ? opt_name : got.host_name);
	snprintf(h.address, sizeof(h.address), "%s", argv[0]);
	snprintf(h.fingerprint, sizeof(h.fingerprint), "%s", got.fingerprint);
	if (profile_put(&h, false, e) < 0)
		return -1;
	AUTO_JSON json_t *answer = json_pack("{s:s, s:s, s:s, s:s}", "name", h.name, "address", h.address,
					     "fingerprint", h.fingerprint, "role", got.role);

	out_done(c, answer, "enrolled with %s as %s", h.name, got.role);
	return 0;
}

static int host_code(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *body = json_pack("{s:s}", "role", opt_role);
	AUTO_JSON json_t *answer = NULL;

	if (opt_name)
		json_object_set_new(body, "name", json_string(opt_name));
	if (opt_ttl_ms != UINT64_MAX)
		json_object_set_new(body, "ttl_s", json_integer((json_int_t)(opt_ttl_ms / 1000)));
	if (api_call(c->api, "POST", "/v1/host/pairing-codes", body, &answer, e) < 0)
		return -1;

	out_done(c, answer, "%s", js_get_text(answer, "code"));
	return 0;
}

static int host_pair(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_JSON json_t *answer = NULL;

	if (need_code(e) < 0)
		return -1;
	AUTO_JSON json_t *body = json_pack("{s:s, s:s}", "address", argv[0], "code", opt_code);

	if (opt_name)
		json_object_set_new(body, "name", json_string(opt_name));
	if (api_call(c->api, "POST", "/v1/peers", body, &answer, e) < 0)
		return -1;
	const char *name = json_string_value(json_object_get(answer, "name"));

	out_done(c, answer, "%s is paired with %s", api_host(c->api), name ? name : argv[0]);
	return 0;
}

static int host_peers(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "GET", "/v1/peers", NULL, &answer, e) < 0)
		return -1;
	out_list(c, answer, "peers", peer_cols);
	return 0;
}

static int host_unpair(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("peers", argv[0], NULL);
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "DELETE", path, NULL, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s is no longer trusted by %s; do the same there", argv[0], api_host(c->api));
	return 0;
}

static int host_list(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	json_t *list = NULL;

	if (profile_list(&list, e) < 0)
		return -1;
	AUTO_JSON json_t *answer = json_pack("{s:o}", "hosts", list);

	out_list(c, answer, "hosts", known_cols);
	return 0;
}

static int host_use(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	struct profile_host h;

	if (profile_find(argv[0], &h, e) < 0 || profile_put(&h, true, e) < 0)
		return -1;
	AUTO_JSON json_t *answer = json_pack("{s:s}", "default", h.name);

	out_done(c, answer, "commands go to %s now", h.name);
	return 0;
}

static int host_forget(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	if (profile_remove(argv[0], e) < 0)
		return -1;
	AUTO_JSON json_t *answer = json_pack("{s:s}", "removed", argv[0]);

	out_done(c, answer, "%s forgotten here; the host still knows this operator", argv[0]);
	return 0;
}

static int host_shutdown(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *body = json_pack("{s:s}", "mode", opt_reboot ? "reboot" : "poweroff");
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "POST", "/v1/host/shutdown", body, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s is shutting down", api_host(c->api));
	return 0;
}

static int host_kill_unit(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_JSON json_t *body = json_pack("{s:s}", "unit", argv[0]);
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "POST", "/v1/host/kill-unit", body, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s was killed; %s starts it again by its rule", argv[0], api_host(c->api));
	return 0;
}

static const struct table_col unit_cols[] = {
	{ "UNIT", "unit", TABLE_TEXT },
	{ "PID", "pid", TABLE_TEXT },
	{ "STATE", "state", TABLE_TEXT },
	{ "RESTARTS", "restarts", TABLE_TEXT },
	{ "LAST EXIT", "last_exit", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static int host_units(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *h = NULL;

	if (api_call(c->api, "GET", "/v1/host", NULL, &h, e) < 0)
		return -1;
	AUTO_JSON json_t *answer = json_pack("{s:O}", "units", json_object_get(h, "units"));

	out_list(c, answer, "units", unit_cols);
	return 0;
}

static const struct opt enroll_opts[] = {
	{ "code", OPT_TEXT, &opt_code, "CODE", "the one-time code that the host shows" },
	{ "name", OPT_TEXT, &opt_name, "NAME", "what to call the host here (default: its own name)" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct opt code_opts[] = {
	{ "role", OPT_TEXT, &opt_role, "peer|admin|operator|viewer", "what the one who uses it becomes (peer)" },
	{ "name", OPT_TEXT, &opt_name, "NAME", "the name he gets here" },
	{ "ttl", OPT_MS, &opt_ttl_ms, "TIME", "how long it is good for, in whole seconds (10m)" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct opt shutdown_opts[] = {
	{ "reboot", OPT_FLAG, &opt_reboot, NULL, "start again afterwards" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

const struct cmd cmds_host[] = {
	{ "host", "show", "", 0, 0, NULL, false, host_show, "what the host is and has" },
	{ "host", "enroll", "ADDRESS", 1, 1, enroll_opts, true, host_enroll, "make this operator known to a host" },
	{ "host", "list", "", 0, 0, NULL, true, host_list, "the hosts enrolled with from here" },
	{ "host", "use", "NAME", 1, 1, NULL, true, host_use, "make a host the default" },
	{ "host", "forget", "NAME", 1, 1, NULL, true, host_forget, "forget a host on this side" },
	{ "host", "code", "", 0, 0, code_opts, false, host_code, "a one-time code for a peer or an operator" },
	{ "host", "pair", "ADDRESS", 1, 1, enroll_opts, false, host_pair, "pair the host with another by its code" },
	{ "host", "peers", "", 0, 0, NULL, false, host_peers, "who is trusted by the host" },
	{ "host", "unpair", "NAME", 1, 1, NULL, false, host_unpair, "stop trusting a host or an operator" },
	{ "host", "units", "", 0, 0, NULL, false, host_units, "the daemons of the host" },
	{ "host", "kill-unit", "UNIT", 1, 1, NULL, false, host_kill_unit, "end a daemon that hangs, as a crash would" },
	{ "host", "shutdown", "", 0, 0, shutdown_opts, false, host_shutdown, "shut the host down, guests first" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};
