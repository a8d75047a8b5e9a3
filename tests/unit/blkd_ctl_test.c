/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvblkd's verbs over a real control socket, without the process around them:
 * what each refuses, and a disk's way through them by descriptors in memory.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/js.h"
#include "blkd/vm.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { BYTES = 1 << 20, WAIT_MS = 10000 };

struct rig {
	struct tmp tmp;
	char path[TMP_PATH_BYTES];
	struct vm vm;
	pthread_t thread;
	struct ctl_client *c;
	unsigned fds_before;
};

static void *serve(void *arg)
{
	loop_run(((struct rig *)arg)->vm.loop);
	return NULL;
}

static void ended(void *arg, int res)
{
	struct rig *g = arg;

	loop_stop(g->vm.loop, res);
}

static void end_it(void *arg)
{
	struct rig *g = arg;

	vm_end(&g->vm, ended, g);
}

static struct rig *rig_new(void)
{
	struct rig *g = mem_alloc(sizeof(*g));
	struct err e = ERR_INIT;

	g->fds_before = tmp_open_fds();
	tmp_init(&g->tmp);
	snprintf(g->path, sizeof(g->path), "%s", tmp_path(&g->tmp, "ctl"));
	g->vm.name = "test";
	g->vm.log_fd = open(tmp_path(&g->tmp, "log"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (loop_new(&g->vm.loop, &e) < 0 || queue_new(g->vm.loop, &g->vm.q, &e) < 0 ||
	    fd_unix_listen(tmp_path(&g->tmp, "feed"), 0600, &g->vm.feed_fd, &e) < 0 ||
	    ctl_server_new(g->vm.loop, g->path, 0600, getuid(), blkd_verbs, &g->vm, &g->vm.ctl, &e) < 0 ||
	    pthread_create(&g->thread, NULL, serve, g) || ctl_connect(g->path, &g->c, &e) < 0)
		fail_msg("%s", e.detail);
	return g;
}

static void rig_free(struct rig *g)
{
	unsigned before = g->fds_before;

	ctl_client_free(g->c);
	loop_post(g->vm.loop, end_it, g);
	pthread_join(g->thread, NULL);
	ctl_server_free(g->vm.ctl);
	vm_feed_free(&g->vm);
	queue_free(g->vm.q);
	loop_free(g->vm.loop);
	fd_close(&g->vm.log_fd);
	fd_close(&g->vm.feed_fd);
	tmp_fini(&g->tmp);
	free(g);
	assert_int_equal(tmp_open_fds(), before);
}

static json_t *ask(struct rig *g, const char *verb, json_t *args, const int *fds, size_t n)
{
	struct err e = ERR_INIT;
	json_t *out = NULL;

	if (ctl_request(g->c, verb, args, fds, n, WAIT_MS, &out, NULL, NULL, &e) < 0)
		fail_msg("%s: %s", verb, e.detail);
	json_decref(args);
	return out;
}

static void tell(struct rig *g, const char *verb, json_t *args)
{
	json_decref(ask(g, verb, args, NULL, 0));
}

static enum err_code refusal(struct rig *g, const char *verb, json_t *args, const int *fds, size_t n)
{
	struct err e = ERR_INIT;
	json_t *out = NULL;

	assert_int_equal(ctl_request(g->c, verb, args, fds, n, WAIT_MS, &out, NULL, NULL, &e), -1);
	json_decref(args);
	assert_true(e.detail[0] != '\0');
	return e.code;
}

static int image(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	return fd;
}

static json_t *attach(struct rig *g, const char *disk)
{
	AUTO_FD int fd = image();

	return ask(g, BLKD_ATTACH, json_pack("{s:s, s:[{s:s}]}", "disk", disk, "parts", "format", "raw"), &fd, 1);
}

/* ---- cases ---- */

/* A key that no verb knows is never passed over: it may have meant something to who sent it. */
static void unknown_keys(void **state)
{
	struct rig *g = rig_new();

	(void)state;
	for (const struct ctl_verb *v = blkd_verbs; v->name; v++) {
		assert_int_equal(refusal(g, v->name, json_pack("{s:i}", "bogus", 1), NULL, 0), ERR_USAGE);
		assert_true(v->help && *v->help);
	}
	rig_free(g);
}

static void disks_that_are_not_there(void **state)
{
	static const char *const verbs[] = { BLKD_DETACH, BLKD_EXPORT_NBD, BLKD_FLUSH, BLKD_SET_LIMITS, BLKD_RESUME,
					     BLKD_MIRROR, BLKD_MIRROR_CANCEL };
	struct rig *g = rig_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		assert_int_equal(refusal(g, verbs[i], json_pack("{s:s}", "disk", "xvda"), NULL, 0), ERR_NOT_FOUND);
	assert_int_equal(refusal(g, BLKD_FEED, NULL, NULL, 0), ERR_STATE);
	rig_free(g);
}

static void way_of_a_disk(void **state)
{
	struct rig *g = rig_new();
	json_t *o, *list = NULL;
	uint64_t bytes = 0;
	struct err e = ERR_INIT;

	(void)state;
	json_decref(attach(g, "xvda"));
	o = attach(g, "xvdb");
	assert_int_equal(js_u64(o, "bytes", INT64_MAX, &bytes, &e), 0);
	assert_int_equal(bytes, BYTES);
	json_decref(o);
	o = ask(g, BLKD_FEED, NULL, NULL, 0);
	assert_int_equal(js_arr(o, "disks", &list, &e), 0);
	assert_int_equal(json_array_size(list), 2);
	json_decref(o);
	tell(g, BLKD_BARRIER, NULL);
	tell(g, BLKD_FLUSH, NULL);
	tell(g, BLKD_RESIZE, json_pack("{s:s, s:i}", "disk", "xvdb", "bytes", 2 * BYTES));
	tell(g, BLKD_RESUME, json_pack("{s:s, s:s}", "disk", "xvdb", "on_io_error", "pause"));
	tell(g, BLKD_DETACH, json_pack("{s:s}", "disk", "xvda"));
	o = ask(g, BLKD_STATS, NULL, NULL, 0);
	assert_int_equal(js_arr(o, "disks", &list, &e), 0);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(js_get_text(json_array_get(list, 0), "on_io_error"), "pause");
	assert_int_equal(js_u64(json_array_get(list, 0), "bytes", INT64_MAX, &bytes, &e), 0);
	assert_int_equal(bytes, 2 * BYTES);
	json_decref(o);
	rig_free(g);
}

/* Descriptors that a refused verb came with are closed: rig_free counts. */
static void refused_descriptors(void **state)
{
	struct rig *g = rig_new();
	int fds[3] = { image(), image(), image() };

	(void)state;
	json_decref(attach(g, "xvda"));
	assert_int_equal(refusal(g, BLKD_ATTACH, json_pack("{s:s, s:[{s:s}, {s:s}]}", "disk", "xvdb", "parts", "format",
							   "raw", "format", "raw"), fds, 1), ERR_USAGE);
	assert_int_equal(refusal(g, BLKD_ATTACH, json_pack("{s:s, s:[{s:s}]}", "disk", "xvda", "parts", "format",
							   "raw"), fds, 3), ERR_EXISTS);
	assert_int_equal(refusal(g, BLKD_ATTACH, json_pack("{s:s, s:[{s:s}]}", "disk", "xvdb", "parts", "format",
							   "vhdx"), fds, 1), ERR_CORRUPT);
	assert_int_equal(refusal(g, BLKD_EXPORT_NBD, json_pack("{s:s}", "disk", "xvda"), fds, 1), ERR_USAGE);
	assert_int_equal(refusal(g, BLKD_MIRROR, json_pack("{s:s, s:[{s:s}]}", "disk", "xvda", "parts", "format",
							   "raw"), fds, 1), ERR_USAGE);
	for (unsigned i = 0; i < 3; i++)
		fd_close(&fds[i]);
	rig_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_keys), cmocka_unit_test(disks_that_are_not_there),
		cmocka_unit_test(way_of_a_disk), cmocka_unit_test(refused_descriptors),
	};

	return check_main(tests);
}
