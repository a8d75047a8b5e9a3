/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What units print: lines go to the console and to log files with a size limit.
 *
 * A unit writes to a FIFO that it holds open for reading and writing, so a
 * manager that dies neither kills it (no SIGPIPE) nor loses it: the next
 * manager opens the same FIFO and reads on.
 */
#ifndef INIT_UNIT_LOG_H
#define INIT_UNIT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	LOG_FILE_BYTES_MAX = 1 << 20,	/* then NAME.log becomes NAME.log.1 */
	LOG_LINE_BYTES_MAX = 1024,	/* longer lines are cut into several */
	LOG_EARLY_BYTES_MAX = 16384,	/* kept until there is a folder for files */
	LOG_FILES_MAX = 16,
	LOG_NAME_BYTES = 32,
};

struct log_file {
	char name[LOG_NAME_BYTES];
	int fd;
	uint64_t bytes;
};

/* Where all lines go. */
struct log_sink {
	int console_fd;			/* borrowed; -1: none */
	char dir[256];			/* "" until there is one */
	struct log_file files[LOG_FILES_MAX];
	unsigned n_files;
	char early[LOG_EARLY_BYTES_MAX];	/* "name\nline\n" pairs */
	size_t early_bytes;
};

void log_sink_init(struct log_sink *s, int console_fd);
/* From here on lines go to dir/NAME.log too, the early ones first. */
void log_sink_open(struct log_sink *s, const char *dir);
/* Closes the files (before the data volume is unmounted); lines go to the console only. */
void log_sink_close(struct log_sink *s);
/* One line without its newline.  `who` is put in front when the file is shared by several units. */
void log_sink_line(struct log_sink *s, const char *name, const char *who, const char *line, bool console);

/* One unit's output. */
struct unit_log {
	struct log_sink *sink;
	char name[LOG_NAME_BYTES];	/* of the log file */
	char who[96];			/* "" or the unit's name */
	bool console;
	int fd;				/* read end */
	int write_fd;			/* for the unit's stdout and stderr */
	char path[512];			/* of the FIFO */
	struct loop_src *src;
	char line[LOG_LINE_BYTES_MAX];
	size_t n;
};

/* Makes (or finds) the FIFO `path` and reads it on the loop from now on. */
MUSTUSE int unit_log_open(struct unit_log *u, struct loop *l, struct log_sink *sink, const char *path,
			  const char *name, const char *who, bool console, struct err *e);
/* Reads what is left and closes.  Idempotent. */
void unit_log_close(struct unit_log *u);
/* Closes and removes the FIFO: the unit will not come again. */
void unit_log_remove(struct unit_log *u);

#endif
