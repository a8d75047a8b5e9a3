/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is small and rewritten whole (fd_write_file), so that a crash
 * leaves the old or the new one.
 */
#include "hvapi/cli/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"

int profile_dir(char out[PROFILE_TEXT_BYTES], struct err *e)
{
	const char *own = getenv("HVAPI_CONFIG_DIR"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (own && *own)
		n = snprintf(out, PROFILE_TEXT_BYTES, "%s", own);
	else if (xdg && *xdg)
		n = snprintf(out, PROFILE_TEXT_BYTES, "%s/hvapi", xdg);
	else if (home && *home)
		n = snprintf(out, PROFILE_TEXT_BYTES, "%s/.config/hvapi", home);
	else
		return err_set(e, ERR_USAGE, "no folder for profiles: set HVAPI_CONFIG_DIR");
	if (n >= PROFILE_TEXT_BYTES - 16)
		return err_set(e, ERR_LIMIT, "the profile folder's name is longer than %d", PROFILE_TEXT_BYTES - 16);
	return fd_make_dirs(out, 0700, e);
}

static int hosts_path(char out[PROFILE_TEXT_BYTES + 16], struct err *e)
{
	char dir[PROFILE_TEXT_BYTES];

	if (profile_dir(dir, e) < 0)
		return -1;
	snprintf(out, PROFILE_TEXT_BYTES + 16, "%s/hosts.json", dir);
	return 0;
}

/* The whole file; an empty list when there is none yet. */
static int load(json_t **out, struct err *e)
{
	char path[PROFILE_TEXT_BYTES + 16];
	AUTO_BUF struct buf text = { 0 };
	AUTO_JSON json_t *all = NULL;
	json_t *hosts;

	if (hosts_path(path, e) < 0)
		return -1;
	if (fd_read_file(path, PROFILE_FILE_BYTES_MAX, &text, e) < 0) {
		if (e->code != ERR_NOT_FOUND)
			return -1;
		*e = (struct err)ERR_INIT;
		*out = json_pack("{s:{}}", "hosts");
		return 0;
	}
	if (js_parse((const char *)text.p, text.len, &all, e) < 0 || js_obj(all, "hosts", &hosts, e) < 0)
		return err_wrap(e, "'%s'", path);
	*out = json_incref(all);
	return 0;
}

static int save(const json_t *all, struct err *e)
{
	char path[PROFILE_TEXT_BYTES + 16];
	AUTO_FREE char *text = json_dumps(all, JSON_INDENT(2) | JSON_SORT_KEYS);

	if (!text || hosts_path(path, e) < 0)
		return text ? -1 : err_set(e, ERR_INTERNAL, "write the list of hosts");
	return fd_write_file(path, text, strlen(text), 0600, e);
}

static int not_known(const char *name, size_t n_hosts, struct err *e)
{
	if (name)
		err_set(e, ERR_NOT_FOUND, "no host '%s' is known here", name);
	else if (n_hosts)
		err_set(e, ERR_NOT_FOUND, "none of the hosts known here is the default");
	else
		err_set(e, ERR_NOT_FOUND, "no host is known here");
	if (n_hosts)
		return err_remedy(e, "hvapi host list shows those that are; hvapi host use NAME makes one the default");
	return err_remedy(e, "enrol with it: hvapi host enroll ADDRESS --code CODE (the host shows the code)");
}

int profile_find(const char *name, struct profile_host *out, struct err *e)
{
	AUTO_JSON json_t *all = NULL;
	const char *address, *fingerprint;

	if (load(&all, e) < 0)
		return -1;
	if (!name)
		name = json_string_value(json_object_get(all, "default"));
	const json_t *h = name ? json_object_get(json_object_get(all, "hosts"), name) : NULL;

	if (!h)
		return not_known(name, json_object_size(json_object_get(all, "hosts")), e);
	if (js_text(h, "address", &address, e) < 0 || js_text(h, "fingerprint", &fingerprint, e) < 0)
		return err_wrap(e, "profile of host '%s'", name);
	snprintf(out->name, sizeof(out->name), "%s", name);
	snprintf(out->address, sizeof(out->address), "%s", address);
	snprintf(out->fingerprint, sizeof(out->fingerprint), "%s", fingerprint);
	return 0;
}

int profile_put(const struct profile_host *h, bool make_default, struct err *e)
{
	AUTO_JSON json_t *all = NULL;

	if (load(&all, e) < 0)
		return -1;
	json_object_set_new(json_object_get(all, "hosts"), h->name,
			    json_pack("{s:s, s:s}", "address", h->address, "fingerprint", h->fingerprint));
	if (make_default || !json_object_get(all, "default"))
		json_object_set_new(all, "default", json_string(h->name));
	return save(all, e);
}

int profile_remove(const char *name, struct err *e)
{
	AUTO_JSON json_t *all = NULL;

	if (load(&all, e) < 0)
		return -1;
	if (json_object_del(json_object_get(all, "hosts"), name) < 0)
		return err_set(e, ERR_NOT_FOUND, "no host '%s' is known here", name);
	const char *was = json_string_value(json_object_get(all, "default"));

	if (was && !strcmp(was, name))
		json_object_del(all, "default");
	return save(all, e);
}

int profile_list(json_t **out, struct err *e)
{
	AUTO_JSON json_t *all = NULL;
	const char *name;
	json_t *h;

	if (load(&all, e) < 0)
		return -1;
	const char *def = json_string_value(json_object_get(all, "default"));
	json_t *list = json_array();

	json_object_foreach(json_object_get(all, "hosts"), name, h) {
		json_t *row = json_deep_copy(h);

		json_object_set_new(row, "name", json_string(name));
		json_object_set_new(row, "default", json_boolean(def && !strcmp(def, name)));
		json_array_append_new(list, row);
	}
	*out = list;
	return 0;
}
