/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvblkd: the disks of one VM.
 *
 *	hvblkd serve --nbd PATH [options] DISK...	by hand, until SIGTERM
 *	hvblkd run --vm NAME				as hvinit starts it: control socket
 *
 * Rights: the images it was given; no network, no other file (sandbox.h).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "blkd/run.h"
#include "blkd/serve.h"

static struct serve_setup set = { .format = "raw" };
static struct run_setup of_vm = { .run = "/run/hvapi", .data = "/data" };

static const struct opt opts[] = {
	{ "nbd", OPT_TEXT, &set.nbd_path, "PATH", "unix socket to serve NBD at" },
	{ "format", OPT_TEXT, &set.format, "NAME", "of all images: raw (default), vhd, vhdx; never guessed" },
	{ "read-only", OPT_FLAG, &set.read_only, NULL, "open images for reading only" },
	{ "direct", OPT_FLAG, &set.direct, NULL, "go past the page cache where the file system can" },
	{ "iops", OPT_U64, &set.limits.iops, "N", "operations per second and disk" },
	{ "bytes-per-s", OPT_U64, &set.limits.bytes_s, "N", "bytes per second and disk" },
	{ "burst", OPT_MS, &set.limits.burst_ms, "TIME", "what the limits let through at once (100ms)" },
	{ "feed", OPT_TEXT, &set.feed_path, "PATH", "unix socket to serve the change feed at" },
	{ "log", OPT_TEXT, &set.log_path, "FILE", "the feed's activity log: consumers outlive this process" },
	{ "dirty", OPT_TEXT, &set.dirty, "NAME", "NBD's context hvapi:dirty shows what this consumer lacks" },
	{ "vm", OPT_TEXT, &of_vm.vm, "NAME", "run: the VM" },
	{ "run", OPT_TEXT, &of_vm.run, "DIR", "run: folder of the sockets (/run/hvapi)" },
	{ "data", OPT_TEXT, &of_vm.data, "DIR", "run: folder of records and logs (/data)" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

enum mode { MODE_NONE, MODE_SERVE, MODE_RUN };

static enum mode mode_of(int argc, char **argv, int n_args)
{
	if (argc > 1 && n_args >= 2 && !strcmp(argv[1], "serve") && set.nbd_path)
		return MODE_SERVE;
	if (argc > 1 && n_args == 1 && !strcmp(argv[1], "run") && of_vm.vm)
		return MODE_RUN;
	return MODE_NONE;
}

static int go(enum mode mode, struct err *e)
{
	struct loop *loop;
	int rc;

	if (loop_new(&loop, e) < 0)
		return -1;
	rc = mode == MODE_RUN ? run_run(loop, &of_vm, e) : serve_run(loop, &set, e);
	loop_free(loop);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	enum mode mode = MODE_NONE;
	int n_args;

	signal(SIGPIPE, SIG_IGN);
	log_init("hvblkd", LOG_INFO);
	if (opt_parse(opts, argc, argv, &n_args, &e) == 0)
		mode = mode_of(argc, argv, n_args);
	if (mode == MODE_NONE) {
		if (e.code == ERR_NONE)
			err_set(&e, ERR_USAGE, "usage: hvblkd serve --nbd PATH [options] [NAME=]IMAGE[,PARENT...] ... "
				"| hvblkd run --vm NAME [--run DIR] [--data DIR]");
		log_fail(&e, "command line");
		opt_help(opts, stderr);
		return err_exit_status(e.code);
	}
	set.disks = (const char *const *)&argv[2];
	set.n_disks = (unsigned)n_args - 1;
	if (go(mode, &e) < 0) {
		log_fail(&e, "%s", argv[1]);
		return err_exit_status(e.code);
	}
	return 0;
}
