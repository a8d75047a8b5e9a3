/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domd/blk.c between a stand-in of hvinit, whose `spawn` makes the stand-in of
 * hvblkd appear a moment later, and images that are plain files.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ctl.h"
#include "base/fd.h"
#include "base/js.h"
#include "base/loop.h"
#include "blkd/hvblkd_ctl.h"
#include "domd/blk.h"
#include "init/hvinit_ctl.h"
#include "tests/unit/check.h"
#include "tests/unit/tmp.h"

enum { APPEARS_MS = 50 };

struct world {
	struct tmp t;
	struct loop *loop;
	struct ctl_server *hvinit, *hvblkd;
	struct loop_timer *appears;
	pthread_t thread;
	pthread_mutex_t lock;
	char said[512];
	const char *fails;		/* the verb that fails */
	bool runs;
	struct blk blk;
};

static int say(struct world *w, const char *verb, const char *what, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	size_t n = strlen(w->said);

	snprintf(w->said + n, sizeof(w->said) - n, "%s%s%s%s", n ? " " : "", verb, *what ? ":" : "", what);
	bool fails = w->fails && !strcmp(w->fails, verb);

	pthread_mutex_unlock(&w->lock);
	return fails ? err_set(e, ERR_IO, "made up") : 0;
}

static int on_attach(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct stat st;
	const char *disk;
	json_t *parts;
	char what[64];
	AUTO_FD int fd = ctl_take_fd(c, 0);

	(void)out;
	if (fd < 0 || fstat(fd, &st) < 0 || js_text(in, "disk", &disk, e) < 0 || js_arr(in, "parts", &parts, e) < 0)
		return err_set(e, ERR_USAGE, "no image came");
	snprintf(what, sizeof(what), "%s=%lld,%s%s", disk, (long long)st.st_size,
		 json_string_value(json_object_get(json_array_get(parts, 0), "format")),
		 json_is_true(json_object_get(in, "read_only")) ? ",ro" : "");
	return say(arg, BLKD_ATTACH, what, e);
}

static int on_connect(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	char what[64];

	(void)c, (void)out;
	snprintf(what, sizeof(what), "%s->%lld", json_string_value(json_object_get(in, "disk")),
		 (long long)json_integer_value(json_object_get(in, "domid")));
	return say(arg, BLKD_CONNECT, what, e);
}

static int on_quiesce(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	return (void)c, (void)in, (void)out, say(arg, BLKD_QUIESCE, "", e);
}

static int on_go_on(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	return (void)c, (void)in, (void)out, say(arg, BLKD_GO_ON, "", e);
}

static const struct ctl_verb blkd_verbs[] = {
	{ BLKD_ATTACH, on_attach, "" }, { BLKD_CONNECT, on_connect, "" }, { BLKD_QUIESCE, on_quiesce, "" },
	{ BLKD_GO_ON, on_go_on, "" }, { NULL, NULL, NULL },
};

static void appear(void *arg)
{
	struct world *w = arg;
	AUTO_FREE char *path = mem_printf(BLKD_SOCKET_FMT, w->blk.run_dir, w->blk.vm);
	struct err e = ERR_INIT;

	assert_int_equal(ctl_server_new(w->loop, path, 0600, (uid_t)-1, blkd_verbs, w, &w->hvblkd, &e), 0);
}

static int on_spawn(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct world *w = arg;

	(void)c, (void)out;
	if (say(w, HVINIT_SPAWN, json_string_value(json_object_get(in, "unit")), e) < 0)
		return -1;
	w->runs = true;
	loop_timer_set(w->appears, APPEARS_MS, 0);
	return 0;
}

static int on_stop(void *arg, struct ctl_call *c, const json_t *in, json_t **out, struct err *e)
{
	struct world *w = arg;

	(void)c, (void)out, (void)in;
	if (say(w, HVINIT_STOP, "", e) < 0)
		return -1;
	if (!w->runs)
		return err_set(e, ERR_NOT_FOUND, "no such unit");
	w->runs = false;
	ctl_server_free(w->hvblkd);
	w->hvblkd = NULL;
	return 0;
}

static const struct ctl_verb hvinit_verbs[] = {
	{ HVINIT_SPAWN, on_spawn, "" }, { HVINIT_STOP, on_stop, "" }, { NULL, NULL, NULL },
};

static void *run(void *arg)
{
	loop_run(((struct world *)arg)->loop);
	return NULL;
}

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));
	struct err e = ERR_INIT;

	tmp_init(&w->t);
	if (loop_new(&w->loop, &e) < 0)
		return -1;
	w->blk = (struct blk){ .run_dir = w->t.dir, .vm = "g1" };
	w->appears = loop_timer_new(w->loop, appear, w);
	pthread_mutex_init(&w->lock, NULL);
	if (ctl_server_new(w->loop, tmp_path(&w->t, HVINIT_SOCKET), 0600, (uid_t)-1, hvinit_verbs, w, &w->hvinit,
			   &e) < 0)
		return -1;
	*state = w;
	return pthread_create(&w->thread, NULL, run, w);
}

static void stop_loop(void *arg)
{
	loop_stop(arg, 0);
}

static int teardown(void **state)
{
	struct world *w = *state;

	loop_post(w->loop, stop_loop, w->loop);
	pthread_join(w->thread, NULL);
	ctl_server_free(w->hvblkd);
	ctl_server_free(w->hvinit);
	loop_timer_free(&w->appears);
	loop_free(w->loop);
	tmp_fini(&w->t);
	free(w);
	return 0;
}

static json_t *vm_with(struct world *w, const char *mode, const char *file, size_t bytes)
{
	struct err e = ERR_INIT;
	AUTO_FREE char *image = mem_alloc(bytes + 1);
	AUTO_FREE char *path = mem_printf("%s/%s", w->t.dir, file);

	if (bytes)
		assert_int_equal(fd_write_file(path, image, bytes, 0600, &e), 0);
	return json_pack("{s:[{s:s, s:s, s:s}]}", "disks", "vdev", "xvda", "target", path, "mode", mode);
}

static void test_up_still_on_down(void **state)
{
	struct world *w = *state;
	AUTO_JSON json_t *vm = vm_with(w, "rw", "a.img", 4096);
	struct err e = ERR_INIT;

	assert_int_equal(blk_up(&w->blk, vm, 7, &e), 0);
	assert_int_equal(blk_still(&w->blk, vm, &e), 0);
	assert_int_equal(blk_go_on(&w->blk, &e), 0);
	assert_int_equal(blk_down(&w->blk, &e), 0);
	assert_string_equal(w->said, "stop spawn:blkd/g1 attach:xvda=4096,raw connect:xvda->7 quiesce go-on stop");
}

static void test_read_only_and_left_over(void **state)
{
	struct world *w = *state;
	AUTO_JSON json_t *vm = vm_with(w, "ro", "a.img", 512);
	struct err e = ERR_INIT;

	assert_int_equal(blk_up(&w->blk, vm, 7, &e), 0);
	w->said[0] = '\0';
	assert_int_equal(blk_up(&w->blk, vm, 8, &e), 0);
	assert_string_equal(w->said, "stop spawn:blkd/g1 attach:xvda=512,raw,ro connect:xvda->8");
}

static void test_failures_name_the_disk(void **state)
{
	struct world *w = *state;
	AUTO_JSON json_t *vm = vm_with(w, "rw", "a.img", 512);
	AUTO_JSON json_t *gone = vm_with(w, "rw", "nowhere.img", 0);
	struct err e = ERR_INIT;

	assert_int_equal(blk_up(&w->blk, gone, 7, &e), -1);
	assert_non_null(strstr(e.detail, "disk xvda: open"));
	assert_non_null(strstr(e.detail, "nowhere.img"));
	assert_true(*e.remedy);
	w->fails = BLKD_ATTACH;
	assert_int_equal(blk_up(&w->blk, vm, 7, &e), -1);
	assert_string_equal(e.detail, "disk xvda: made up");
	w->fails = BLKD_QUIESCE;
	assert_int_equal(blk_still(&w->blk, vm, &e), -1);
	assert_int_equal(e.code, ERR_IO);
}

static void test_without_disks_nothing_is_asked(void **state)
{
	struct world *w = *state;
	AUTO_JSON json_t *vm = json_pack("{s:[]}", "disks");
	struct err e = ERR_INIT;

	assert_int_equal(blk_up(&w->blk, vm, 7, &e), 0);
	assert_int_equal(blk_still(&w->blk, vm, &e), 0);
	assert_int_equal(blk_go_on(&w->blk, &e), 0);
	assert_string_equal(w->said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_up_still_on_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only_and_left_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures_name_the_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_disks_nothing_is_asked, setup, teardown),
	};

	return check_main(tests);
}
