/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of blkif: a Xen that is made up.  xenstore is an array of
 * paths, granted pages are an array of pages, bells are counted.
 */
#ifndef TESTS_UNIT_BLKIF_RIG_XEN_H
#define TESTS_UNIT_BLKIF_RIG_XEN_H

#include "tests/unit/blkif_rig_base.h"

static int rig_find(struct rig *g, const char *path)
{
	for (int i = 0; i < RIG_NODES; i++)
		if (!strcmp(g->nodes[i].path, path))
			return i;
	return -1;
}

/* NULL: there is no such node. */
static inline const char *rig_node(struct rig *g, const char *path)
{
	int i = rig_find(g, path);

	return i < 0 ? NULL : g->nodes[i].value;
}

static inline void rig_set(struct rig *g, const char *path, const char *value)
{
	int i = rig_find(g, path);

	if (i < 0)
		i = rig_find(g, "");
	assert_true(i >= 0);
	snprintf(g->nodes[i].path, sizeof(g->nodes[i].path), "%s", path);
	snprintf(g->nodes[i].value, sizeof(g->nodes[i].value), "%s", value);
}

static int fake_map(void *x, unsigned domid, const uint32_t *refs, unsigned n, void **out, struct err *e)
{
	struct rig *g = x;

	assert_int_equal(domid, RIG_DOMID);
	for (unsigned i = 0; i < n; i++)
		if (refs[i] >= RIG_PAGES || g->revoked[refs[i]] || refs[i] != refs[0] + i)
			return err_set(e, ERR_IO, "map reference %u", refs[i]);
	g->mapped += n;
	*out = g->pages[refs[0]];
	return 0;
}

static void fake_unmap(void *x, void *p, unsigned n)
{
	(void)p;
	((struct rig *)x)->mapped -= n;
}

static int fake_copy(void *x, unsigned domid, struct gnt_copy *c, unsigned n)
{
	struct rig *g = x;

	assert_int_equal(domid, RIG_DOMID);
	g->copies++;
	for (unsigned i = 0; i < n; i++) {
		assert_true(c[i].len && c[i].off + c[i].len <= BLKIF_PAGE_BYTES);
		c[i].res = c[i].ref >= RIG_PAGES || g->revoked[c[i].ref] ? -EFAULT : 0;
		if (c[i].res == 0 && c[i].to_guest)
			memcpy(g->pages[c[i].ref] + c[i].off, c[i].local, c[i].len);
		else if (c[i].res == 0)
			memcpy(c[i].local, g->pages[c[i].ref] + c[i].off, c[i].len);
	}
	return 0;
}

static int fake_bind(void *x, unsigned domid, uint32_t remote, int *out, struct err *e)
{
	struct rig *g = x;

	(void)domid;
	if (g->no_bind || remote != RIG_REMOTE_PORT)
		return err_set(e, ERR_IO, "bind event channel %u", remote);
	g->bound++;
	*out = RIG_PORT;
	return 0;
}

static void fake_unbind(void *x, int port)
{
	assert_int_equal(port, RIG_PORT);
	((struct rig *)x)->bound--;
}

static void fake_notify(void *x, int port)
{
	assert_int_equal(port, RIG_PORT);
	((struct rig *)x)->bells++;
}

static void fake_unmask(void *x, int port)
{
	assert_int_equal(port, RIG_PORT);
	((struct rig *)x)->unmasked++;
}

static int fake_get(void *x, const char *path, char out[BLKIF_TEXT_BYTES], struct err *e)
{
	const char *v = rig_node(x, path);

	if (!v)
		return err_set(e, ERR_NOT_FOUND, "read '%s'", path);
	if (strlen(v) >= BLKIF_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "'%s' is too long", path);
	snprintf(out, BLKIF_TEXT_BYTES, "%s", v);
	return 0;
}

static int fake_put(void *x, const char *path, const char *value, struct err *e)
{
	struct rig *g = x;

	(void)e;
	if (!strcmp(path, RIG_BACK "state"))
		snprintf(g->states + strlen(g->states), sizeof(g->states) - strlen(g->states), "%s", value);
	rig_set(g, path, value);
	return 0;
}

/* The whole folder, as xenstore does it. */
static void fake_remove(void *x, const char *path)
{
	struct rig *g = x;
	size_t n = strlen(path);

	for (int i = 0; i < RIG_NODES; i++)
		if (!strncmp(g->nodes[i].path, path, n))
			g->nodes[i].path[0] = '\0';
}

static const struct blkif_xen_ops fake_ops = {
	.map = fake_map, .unmap = fake_unmap, .copy = fake_copy, .bind = fake_bind, .unbind = fake_unbind,
	.notify = fake_notify, .unmask = fake_unmask, .get = fake_get, .put = fake_put, .remove = fake_remove,
};

#endif
