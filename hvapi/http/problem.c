/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table from error code to status and title.  Every problem carries a
 * remedy: the one that was set where the error arose, else the table's.
 */
#include "hvapi/http/problem.h"

#include "base/js.h"

static const struct {
	int status;
	const char *title;
	const char *remedy;
} kinds[ERR_CODE_N] = {
	[ERR_NONE] = { 500, "Internal error", "report this as a bug of hvapid" },
	[ERR_USAGE] = { 400, "Request not understood", "GET /v1/openapi.json tells what this request takes" },
	[ERR_NOT_FOUND] = { 404, "Not found", "list the collection to see the names there are" },
	[ERR_EXISTS] = { 409, "Exists already", "choose another name, or remove the one that is there" },
	[ERR_STATE] = { 409, "Not in this state",
			"look at the object's state and bring it into the right one first" },
	[ERR_BUSY] = { 409, "Busy", "try again when the operation under way has ended" },
	[ERR_REFUSED] = { 409, "Refused", "remove what the detail names, then try again" },
	[ERR_DENIED] = { 403, "Not allowed",
			 "ask an administrator of this host for a certificate with the role needed" },
	[ERR_INCOMPATIBLE] = { 409, "Incompatible", "bring both sides to what the detail names" },
	[ERR_LIMIT] = { 413, "Limit exceeded", "stay within the limit that the detail names" },
	[ERR_NO_SPACE] = { 507, "No space", "free memory or disk space on this host" },
	[ERR_CORRUPT] = { 500, "Corrupt data", "restore what the detail names from a copy" },
	[ERR_IO] = { 500, "I/O failed", "check the host's disks; the logs in /data/log tell more" },
	[ERR_NET] = { 502, "Not reachable", "check that the other side runs and can be reached, then try again" },
	[ERR_TIMEOUT] = { 504, "No answer in time", "try again; if it stays so, look at the logs in /data/log" },
	[ERR_CANCELLED] = { 409, "Cancelled", "start it again if it is still wanted" },
	[ERR_PEER] = { 502, "The other host failed", "look at the other host's events and logs" },
	[ERR_IN_DOUBT] = { 409, "Outcome in doubt",
			   "POST /v1/vms/NAME/resolve asks the other host and ends the doubt" },
	[ERR_XEN] = { 500, "Xen failed", "look at the logs of the VM in /data/log" },
	[ERR_INTERNAL] = { 500, "Internal error", "report this as a bug, with the log of hvapid" },
};

int problem_status(enum err_code code)
{
	return kinds[code < ERR_CODE_N ? code : ERR_INTERNAL].status;
}

json_t *problem_json(const struct err *e, int status, const json_t *problems)
{
	enum err_code code = e->code < ERR_CODE_N ? e->code : ERR_INTERNAL;
	json_t *o = js_from_err(e);

	json_object_set_new(o, "type", json_sprintf("hvapi:%s", err_name(code)));
	json_object_set_new(o, "title", json_string(kinds[code].title));
	json_object_set_new(o, "status", json_integer(status));
	if (!e->remedy[0])
		json_object_set_new(o, "remedy", json_string(kinds[code].remedy));
	if (problems)
		json_object_set_new(o, "problems", json_deep_copy(problems));
	return o;
}
