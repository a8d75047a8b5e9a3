/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvapi vm ...: guests.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "hvapi/cli/api.h"
#include "hvapi/cli/cmd.h"
#include "hvapi/cli/console.h"
#include "hvapi/cli/job.h"
#include "hvapi/cli/out.h"

enum { CFG_BYTES_MAX = 64 << 10 };

static bool opt_all;
static const char *opt_autostart;

static const struct table_col vm_cols[] = {
	{ "NAME", "name", TABLE_TEXT },
	{ "STATE", "state", TABLE_TEXT },
	{ "TYPE", "config.type", TABLE_TEXT },
	{ "VCPUS", "config.vcpus", TABLE_TEXT },
	{ "MEMORY", "config.memory_mib", TABLE_MIB },
	{ "GENERATION", "generation", TABLE_TEXT },
	{ "AUTOSTART", "autostart", TABLE_TEXT },
	{ "UUID", "uuid", TABLE_TEXT },
	{ NULL, NULL, TABLE_TEXT },
};

static const struct table_col vm_show_cols[] = {
	{ "Name", "name", TABLE_TEXT },
	{ "State", "state", TABLE_TEXT },
	{ "Since", "since_ms", TABLE_TIME_MS },
	{ "Reason", "reason", TABLE_TEXT },
	{ "Other host", "peer", TABLE_TEXT },
	{ "Job", "job", TABLE_TEXT },
	{ "Saved", "saved", TABLE_TEXT },
	{ "Autostart", "autostart", TABLE_TEXT },
	{ "Domain", "domid", TABLE_TEXT },
	{ "Generation", "generation", TABLE_TEXT },
	{ "UUID", "uuid", TABLE_TEXT },
	{ "Type", "config.type", TABLE_TEXT },
	{ "VCPUs", "config.vcpus", TABLE_TEXT },
	{ "Memory", "config.memory_mib", TABLE_MIB },
	{ NULL, NULL, TABLE_TEXT },
};

static int vm_define(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_BUF struct buf text = { 0 };
	AUTO_JSON json_t *vm = NULL;

	if (fd_read_file(argv[0], CFG_BYTES_MAX, &text, e) < 0)
		return -1;
	bool is_json = text.len && text.p[0] == '{';
	struct http_request q = {
		.method = "POST",
		.path = "/v1/vms",
		.content_type = is_json ? "application/json" : "text/x-xlcfg",
		.body = { .p = text.p, .len = text.len },
	};
	if (api_send(c->api, &q, &vm, e) < 0)
		return -1;
	out_done(c, vm, "%s defined", js_get_text(vm, "name"));
	return 0;
}

static int vm_undefine(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], NULL);
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "DELETE", path, NULL, &answer, e) < 0)
		return -1;
	out_done(c, answer, "%s undefined; its disks are as they were", argv[0]);
	return 0;
}

static int vm_list(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	(void)argv;
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "GET", opt_all ? "/v1/vms?all=true" : "/v1/vms", NULL, &answer, e) < 0)
		return -1;
	out_list(c, answer, "vms", vm_cols);
	return 0;
}

static int vm_show(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], NULL);
	AUTO_JSON json_t *vm = NULL;

	if (api_call(c->api, "GET", path, NULL, &vm, e) < 0)
		return -1;
	out_one(c, vm, vm_show_cols);
	return 0;
}

static int vm_set(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], NULL);
	AUTO_JSON json_t *vm = NULL;

	if (!opt_autostart || (strcmp(opt_autostart, "on") && strcmp(opt_autostart, "off")))
		return err_set(e, ERR_USAGE, "vm set takes --autostart on or --autostart off");
	AUTO_JSON json_t *body = json_pack("{s:b}", "autostart", !strcmp(opt_autostart, "on"));

	if (api_call(c->api, "PATCH", path, body, &vm, e) < 0)
		return -1;
	out_done(c, vm, "%s: autostart %s", argv[0], opt_autostart);
	return 0;
}

/* The verbs that only name a VM: the API's verb, and what to say when it is done. */
static int simple_verb(struct cli *c, const char *vm, const char *verb, const char *done, struct err *e)
{
	AUTO_FREE char *path = out_path("vms", vm, verb);
	AUTO_JSON json_t *answer = NULL;

	if (api_call(c->api, "POST", path, NULL, &answer, e) < 0)
		return -1;
	if (json_is_object(json_object_get(answer, "job")))
		return job_started(c, answer, e);
	out_done(c, answer, "%s: %s", vm, done);
	return 0;
}

static int vm_start(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "start", "started", e);
}

static int vm_shutdown(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "shutdown", "asked to shut down", e);
}

static int vm_stop(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "stop", "stopped", e);
}

static int vm_reboot(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "reboot", "asked to reboot", e);
}

static int vm_pause(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "pause", "paused", e);
}

static int vm_resume(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "resume", "running", e);
}

static int vm_save(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "save", "saved", e);
}

static int vm_restore(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	return simple_verb(c, argv[0], "restore", "restored", e);
}

static int vm_console(struct cli *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_FREE char *path = out_path("vms", argv[0], "console");

	return console_run(c->api, path, e);
}

static const struct opt list_opts[] = {
	{ "all", OPT_FLAG, &opt_all, NULL, "also guests that moved away" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static const struct opt set_opts[] = {
	{ "autostart", OPT_TEXT, &opt_autostart, "on|off", "start the guest when the host starts" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

const struct cmd cmds_vm[] = {
	{ "vm", "define", "FILE", 1, 1, NULL, false, vm_define, "define a guest from an xl.cfg file or its JSON" },
	{ "vm", "undefine", "VM", 1, 1, NULL, false, vm_undefine, "forget a stopped guest (its disks stay)" },
	{ "vm", "list", "", 0, 0, list_opts, false, vm_list, "the guests of the host" },
	{ "vm", "show", "VM", 1, 1, NULL, false, vm_show, "one guest" },
	{ "vm", "set", "VM", 1, 1, set_opts, false, vm_set, "change a guest's settings" },
	{ "vm", "start", "VM", 1, 1, NULL, false, vm_start, "start a guest" },
	{ "vm", "shutdown", "VM", 1, 1, NULL, false, vm_shutdown, "ask a guest to shut down" },
	{ "vm", "stop", "VM", 1, 1, NULL, false, vm_stop, "stop a guest at once" },
	{ "vm", "reboot", "VM", 1, 1, NULL, false, vm_reboot, "ask a guest to reboot" },
	{ "vm", "pause", "VM", 1, 1, NULL, false, vm_pause, "stop a guest's vCPUs" },
	{ "vm", "resume", "VM", 1, 1, NULL, false, vm_resume, "let a paused guest go on" },
	{ "vm", "save", "VM", 1, 1, NULL, false, vm_save, "write a guest's memory to the host's disk and stop it" },
	{ "vm", "restore", "VM", 1, 1, NULL, false, vm_restore, "start a saved guest where it was" },
	{ "vm", "console", "VM", 1, 1, NULL, false, vm_console, "a guest's console (Ctrl-] ends)" },
	{ NULL, NULL, NULL, 0, 0, NULL, false, NULL, NULL },
};
