/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvblkd: the disks of one VM.
 *
 *	hvblkd serve --nbd PATH [options] DISK...	by hand, until SIGTERM
 *
 * Rights: the images it was given; no network, no other file (sandbox.h).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "blkd/serve.h"

static struct serve_setup set = { .format = "raw" };

static const struct opt opts[] = {
	{ "nbd", OPT_TEXT, &set.nbd_path, "PATH", "unix socket to serve NBD at" },
	{ "format", OPT_TEXT, &set.format, "NAME", "of all images: raw (default), vhd, vhdx; never guessed" },
	{ "read-only", OPT_FLAG, &set.read_only, NULL, "open images for reading only" },
	{ "direct", OPT_FLAG, &set.direct, NULL, "go past the page cache where the file system can" },
	{ "iops", OPT_U64, &set.limits.iops, "N", "operations per second and disk" },
	{ "bytes-per-s", OPT_U64, &set.limits.bytes_s, "N", "bytes per second and disk" },
	{ "burst", OPT_MS, &set.limits.burst_ms, "TIME", "what the limits let through at once (100ms)" },
	{ NULL, OPT_FLAG, NULL, NULL, NULL },
};

static int run(struct err *e)
{
	struct loop *loop;
	int rc;

	if (loop_new(&loop, e) < 0)
		return -1;
	rc = serve_run(loop, &set, e);
	loop_free(loop);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int n_args;

	signal(SIGPIPE, SIG_IGN);
	log_init("hvblkd", LOG_INFO);
	if (opt_parse(opts, argc, argv, &n_args, &e) < 0 || n_args < 2 || strcmp(argv[1], "serve") || !set.nbd_path) {
		if (e.code == ERR_NONE)
			err_set(&e, ERR_USAGE, "usage: hvblkd serve --nbd PATH [options] [NAME=]IMAGE[,PARENT...] ...");
		log_fail(&e, "command line");
		opt_help(opts, stderr);
		return err_exit_status(e.code);
	}
	set.disks = (const char *const *)&argv[2];
	set.n_disks = (unsigned)n_args - 1;
	if (run(&e) < 0) {
		log_fail(&e, "serve");
		return err_exit_status(e.code);
	}
	return 0;
}
