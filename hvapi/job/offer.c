/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All problems at once; the codes are stable (clients act on them).
 */
#include "hvapi/job/offer.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/js.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/jobs.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"

void offer_problem(json_t *problems, const char *code, const char *severity, const char *remedy, const char *fmt, ...)
{
	AUTO_BUF struct buf detail = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&detail, fmt, ap);
	va_end(ap);
	json_array_append_new(problems, json_pack("{ss ss ss ss}", "code", code, "severity", severity, "remedy", remedy,
						  "detail", (const char *)detail.p));
}

bool offer_refused(const json_t *problems)
{
	size_t i;
	json_t *p;

	json_array_foreach(problems, i, p)
		if (strcmp(js_get_text(p, "severity"), "warning"))
			return true;
	return false;
}

/* A hvdomd may be left of its last stay here, without a domain. */
static bool is_idle(const char *state)
{
	return !strcmp(state, "stopped") || !strcmp(state, "away") || !strcmp(state, "refused");
}

static void check_name(struct hvapid *h, const struct vm *same, const char *name, const char *uuid, json_t *out)
{
	const struct vm *other = registry_find_uuid(h->registry, uuid);

	if (same && (same->place == VM_HERE || strcasecmp(same->uuid, uuid)))
		offer_problem(out, "name-taken", "error", "undefine it there, or rename one of the two",
			      "the other host has a VM '%s' of its own", name);
	else if ((same && same->place == VM_RECEIVING) || jobs_of_vm(h->jobs, name))
		offer_problem(out, "name-busy", "error", "wait until the job there has ended",
			      "a job of the other host holds '%s'", name);
	else if (!is_idle(domds_state(h->domds, name)))
		offer_problem(out, "name-busy", "error",
			      "look at the VM on the other host: it is in doubt or ends just now",
			      "a hvdomd of '%s' runs on the other host (%s)", name, domds_state(h->domds, name));
	if (other && other != same)
		offer_problem(out, "uuid-taken", "error", "undefine it there, or give one of the two another UUID",
			      "UUID %s belongs to VM '%s' of the other host", uuid, other->name);
}

/* A VM that comes home is newer than what is remembered of it: each hand-over raises the number. */
static void check_generation(struct hvapid *h, const struct vm *same, const char *name, const char *uuid,
			     uint64_t generation, json_t *out)
{
	AUTO_JSON json_t *rec = NULL;
	const char *rec_uuid = "";
	uint64_t known = same && !strcasecmp(same->uuid, uuid) ? same->generation : 0, recorded = 0;
	struct err e = ERR_INIT;
	bool refused = false;

	if (registry_owner(h->registry, name, &rec, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			offer_problem(out, "owner-record", "error",
				      "restore or remove the record on the other host", "%s", e.detail);
	} else if (js_text(rec, "uuid", &rec_uuid, &e) == 0 && !strcasecmp(rec_uuid, uuid) &&
		   js_u64(rec, "generation", INT64_MAX, &recorded, &e) == 0) {
		/* A move that was refused leaves the generation that it came with: the next try brings it again. */
		refused = !strcmp(js_get_text(rec, "owner"), "refused");
		known = recorded > known ? recorded : known;
	}
	if (known && generation < known + (refused ? 0 : 1))
		offer_problem(out, "generation-old", "error", "this copy is stale: do not run it; undefine it",
			      "generation %llu of '%s' is not newer than %llu, which the other host has seen",
			      (unsigned long long)generation, name, (unsigned long long)known);
}

static void check_boot_file(struct hvapid *h, const json_t *vm, const char *key, json_t *out)
{
	const char *file = json_string_value(json_object_get(vm, key));
	AUTO_FREE char *path = mem_printf("%s/boot/%s", h->data, file ? file : "");

	if (file && access(path, F_OK) < 0)
		offer_problem(out, "boot-file-missing", "warning", "upload it to the other host: hvapi file put",
			      "%s '%s' is not on the other host: the guest runs there, but cannot be started again",
			      key, file);
}

json_t *offer_problems(struct hvapid *h, const json_t *vm, uint64_t generation)
{
	const char *name = json_string_value(json_object_get(vm, "name"));
	const char *uuid = json_string_value(json_object_get(vm, "uuid"));
	const struct vm *same = registry_find(h->registry, name);
	json_t *out = json_array();

	check_name(h, same, name, uuid, out);
	check_generation(h, same, name, uuid, generation, out);
	check_boot_file(h, vm, "kernel", out);
	check_boot_file(h, vm, "ramdisk", out);
	return out;
}
