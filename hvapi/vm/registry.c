/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted list in memory; each change writes one row and takes effect in
 * memory only if that succeeded.
 */
#include "hvapi/vm/registry.h"

#include <string.h>

#include "base/buf.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"

struct registry {
	struct store *store;
	const char *data;
	struct vm *first;
	unsigned n;
};

static const char *const places[VM_PLACE_N] = { "here", "away", "receiving" };

const char *vm_place_name(enum vm_place p)
{
	return places[p];
}

static enum vm_place place_parse(const char *s)
{
	for (enum vm_place p = VM_HERE; p < VM_PLACE_N; p++)
		if (!strcmp(places[p], s))
			return p;
	return VM_HERE;
}

static void set_text(char *to, size_t bytes, const char *from)
{
	size_t n = strnlen(from, bytes - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

static void vm_free(struct vm *v)
{
	json_decref(v->config);
	free(v);
}

static void insert(struct registry *g, struct vm *v)
{
	struct vm **at = &g->first;

	while (*at && strcmp((*at)->name, v->name) < 0)
		at = &(*at)->next;
	v->next = *at;
	*at = v;
	g->n++;
}

static int load_row(void *arg, sqlite3_stmt *row)
{
	struct registry *g = arg;
	struct vm *v = mem_alloc(sizeof(*v));

	set_text(v->name, sizeof(v->name), store_text(row, 0));
	set_text(v->uuid, sizeof(v->uuid), store_text(row, 1));
	v->config = json_loads(store_text(row, 2), 0, NULL);
	v->generation = (uint64_t)store_i64(row, 3);
	v->autostart = store_i64(row, 4) != 0;
	v->place = place_parse(store_text(row, 5));
	set_text(v->peer, sizeof(v->peer), store_text(row, 6));
	set_text(v->session, sizeof(v->session), store_text(row, 7));
	v->saved = store_i64(row, 8) != 0;
	if (!v->config) {
		log_err("VM %s: its definition in the database is not JSON; left out", v->name);
		vm_free(v);
		return 0;
	}
	insert(g, v);
	return 0;
}

int registry_open(struct store *s, const char *data, struct registry **out, struct err *e)
{
	struct registry *g = mem_alloc(sizeof(*g));

	g->store = s;
	g->data = data;
	if (store_each(s, load_row, g, e,
		       "SELECT name, uuid, config, generation, autostart, place, peer, session, saved "
		       "FROM vms",
		       "") < 0) {
		registry_close(g);
		return -1;
	}
	*out = g;
	return 0;
}

void registry_close(struct registry *g)
{
	struct vm *v;

	if (!g)
		return;
	while ((v = g->first) != NULL) {
		g->first = v->next;
		vm_free(v);
	}
	free(g);
}

struct vm *registry_first(struct registry *g)
{
	return g->first;
}

struct vm *registry_find(struct registry *g, const char *name)
{
	struct vm *v = g->first;

	while (v && strcmp(v->name, name))
		v = v->next;
	return v;
}

struct vm *registry_find_uuid(struct registry *g, const char *uuid)
{
	struct vm *v = g->first;

	while (v && strcasecmp(v->uuid, uuid))
		v = v->next;
	return v;
}

int registry_save(struct registry *g, const struct vm *v, struct err *e)
{
	if (store_run(g->store, e,
		      "INSERT INTO vms(name, uuid, config, generation, autostart, place, peer, session, saved) "
		      "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET uuid = excluded.uuid, "
		      "config = excluded.config, generation = excluded.generation, autostart = excluded.autostart, "
		      "place = excluded.place, peer = excluded.peer, session = excluded.session, saved = "
		      "excluded.saved",
		      "ssjiisssi", v->name, v->uuid, v->config, (int64_t)v->generation, (int64_t)v->autostart,
		      places[v->place], v->peer, v->session, (int64_t)v->saved) < 0)
		return err_wrap(e, "VM %s", v->name);
	return 0;
}

static int check_free(struct registry *g, const char *name, const char *uuid, struct err *e)
{
	struct vm *same = registry_find_uuid(g, uuid);

	if (registry_find(g, name)) {
		err_set(e, ERR_EXISTS, "there is a VM '%s' already", name);
		return err_remedy(e, "undefine it first, or choose another name");
	}
	if (same) {
		err_set(e, ERR_EXISTS, "UUID %s belongs to VM '%s'", uuid, same->name);
		return err_remedy(e, "leave the uuid out: a new one is made");
	}
	if (g->n >= REGISTRY_VMS_MAX)
		return err_set(e, ERR_LIMIT, "this host keeps at most %d VMs", REGISTRY_VMS_MAX);
	return 0;
}

int registry_add(struct registry *g, const json_t *config, uint64_t generation, enum vm_place place, struct vm **out,
		 struct err *e)
{
	const char *name, *uuid;
	struct vm *v;

	if (js_text(config, "name", &name, e) < 0 || js_text(config, "uuid", &uuid, e) < 0 ||
	    check_free(g, name, uuid, e) < 0)
		return -1;
	v = mem_alloc(sizeof(*v));
	set_text(v->name, sizeof(v->name), name);
	set_text(v->uuid, sizeof(v->uuid), uuid);
	v->config = json_deep_copy(config);
	v->generation = generation;
	v->place = place;
	if (registry_save(g, v, e) < 0) {
		vm_free(v);
		return -1;
	}
	insert(g, v);
	*out = v;
	return 0;
}

int registry_set_config(struct registry *g, struct vm *v, const json_t *config, struct err *e)
{
	json_t *old = v->config;

	v->config = json_deep_copy(config);
	if (registry_save(g, v, e) < 0) {
		json_decref(v->config);
		v->config = old;
		return -1;
	}
	json_decref(old);
	return 0;
}

int registry_remove(struct registry *g, struct vm *v, struct err *e)
{
	struct vm **at = &g->first;

	if (store_run(g->store, e, "DELETE FROM vms WHERE name = ?", "s", v->name) < 0)
		return -1;
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	g->n--;
	vm_free(v);
	return 0;
}

int registry_owner(struct registry *g, const char *name, json_t **out, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/vm/%s/owner.json", g->data, name);

	return record_load(path, out, e);
}

/* RECEIVING is ours to set: the record says so only once hvdomd has begun. */
static enum vm_place place_by(const struct vm *v, const char *owner)
{
	if (!strcmp(owner, "away"))
		return VM_AWAY;
	if (!strcmp(owner, "receiving"))
		return VM_RECEIVING;
	if (!strcmp(owner, "refused"))
		return v->place == VM_HERE ? VM_AWAY : v->place;
	return VM_HERE;
}

bool registry_follow_owner(struct registry *g, struct vm *v)
{
	AUTO_JSON json_t *rec = NULL;
	struct err e = ERR_INIT;
	const char *owner = "", *peer = "", *uuid = v->uuid;
	uint64_t generation = v->generation;
	struct vm was = *v;

	if (registry_owner(g, v->name, &rec, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			log_fail(&e, "VM %s", v->name);
		return false;
	}
	if (js_text(rec, "owner", &owner, &e) < 0 || js_opt_text(rec, "uuid", &uuid, &e) < 0 ||
	    js_opt_text(rec, "peer", &peer, &e) < 0 ||
	    js_opt_u64(rec, "generation", INT64_MAX, &generation, &e) < 0) {
		log_fail(&e, "VM %s: owner record", v->name);
		return false;
	}
	if (strcasecmp(uuid, v->uuid))
		return false;	/* of an earlier VM of that name */
	v->place = place_by(v, owner);
	v->generation = generation;
	if (v->place == VM_AWAY && *peer)
		set_text(v->peer, sizeof(v->peer), peer);
	else if (v->place == VM_HERE)
		v->peer[0] = '\0';
	if (was.place == v->place && was.generation == v->generation && !strcmp(was.peer, v->peer))
		return false;
	if (registry_save(g, v, &e) < 0)
		log_fail(&e, "VM %s: its new place is not recorded", v->name);
	return true;
}
