/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving a VM's memory to the host's disk; the guest is gone when it is done.
 */
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/kinds.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"

static void succeed(struct job *j)
{
	struct vm *v = registry_find(j->h->registry, j->vm);
	struct err e = ERR_INIT;

	if (v) {
		v->saved = true;
		if (registry_save(j->h->registry, v, &e) < 0) {
			job_fail(j, &e, NULL);
			return;
		}
	}
	job_done(j, v ? hvapid_vm_json(j->h, v) : json_object());
}

static void answered(void *arg, const json_t *ok, const struct err *e)
{
	struct job *j = arg;

	(void)ok;
	if (!job_over(j)) {
		if (e)
			job_fail(j, e, NULL);
		else
			succeed(j);
	}
	job_put(j);
}

static void start(struct job *j)
{
	AUTO_FREE char *path = mem_printf("%s/save/%s", j->h->data, j->vm);
	AUTO_JSON json_t *args = json_pack("{ss}", "path", path);
	struct err e = ERR_INIT;

	if (domds_send(j->h->domds, j->vm, "save", args, answered, job_hold(j), &e) < 0) {
		job_put(j);
		job_fail(j, &e, NULL);
	}
}

/* Taken up after a restart: nobody will answer, but hvdomd's state tells. */
static void on_domd(struct job *j)
{
	const char *state = domds_state(j->h->domds, j->vm);
	AUTO_FREE char *path = mem_printf("%s/save/%s", j->h->data, j->vm);
	struct err e = ERR_INIT;

	if (!j->resumed || !strcmp(state, "saving") || !strcmp(state, "unknown"))
		return;
	if (!strcmp(state, "stopped") && access(path, F_OK) == 0) {
		/* hvdomd destroys the domain of a save only when the file is whole and durable. */
		succeed(j);
		return;
	}
	err_set(&e, ERR_STATE, "VM '%s' is %s: it was not saved", j->vm, state);
	err_remedy(&e, "save it again");
	job_fail(j, &e, NULL);
}

static int cancel(struct job *j, struct err *e)
{
	err_set(e, ERR_STATE, "saving '%s' has begun", j->vm);
	return err_remedy(e, "wait for it, then restore the VM");
}

const struct job_kind job_save = {
	.name = "save", .start = start, .resume = on_domd, .cancel = cancel, .domd = on_domd,
};
