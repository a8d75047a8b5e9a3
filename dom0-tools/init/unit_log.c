/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink and the FIFOs of unit_log.h.  Nothing here fails loudly: a log
 * that cannot be written must not stop what it logs.
 */
#include "init/unit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

void log_sink_init(struct log_sink *s, int console_fd)
{
	memset(s, 0, sizeof(*s));
	s->console_fd = console_fd;
}

static void file_open(struct log_sink *s, struct log_file *f)
{
	char path[sizeof(s->dir) + LOG_NAME_BYTES + 8];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s.log", s->dir, f->name);
	f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	f->bytes = f->fd >= 0 && fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void file_rotate(struct log_sink *s, struct log_file *f)
{
	char path[sizeof(s->dir) + LOG_NAME_BYTES + 8];
	char old[sizeof(path) + 2];

	snprintf(path, sizeof(path), "%s/%s.log", s->dir, f->name);
	snprintf(old, sizeof(old), "%s.1", path);
	fd_close(&f->fd);
	if (rename(path, old) < 0)
		unlink(path);
	file_open(s, f);
}

static struct log_file *file_of(struct log_sink *s, const char *name)
{
	struct log_file *f;

	for (unsigned i = 0; i < s->n_files; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return &s->files[i];
	if (s->n_files == LOG_FILES_MAX)
		return NULL;
	f = &s->files[s->n_files++];
	snprintf(f->name, sizeof(f->name), "%s", name);
	file_open(s, f);
	return f;
}

static void file_line(struct log_sink *s, const char *name, const char *who, const char *line)
{
	struct log_file *f = file_of(s, name);
	char text[CLOCK_TEXT_BYTES + sizeof(((struct unit_log *)0)->who) + LOG_LINE_BYTES_MAX + 8];
	char when[CLOCK_TEXT_BYTES];
	int n;

	if (!f || f->fd < 0)
		return;
	clock_text(clock_real_ms(), when);
	n = snprintf(text, sizeof(text), "%s %s%s%s\n", when, who, who[0] ? "| " : "", line);
	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	if (write(f->fd, text, (size_t)n) != (ssize_t)n)
		return;		/* disk full: the console still has it */
	f->bytes += (uint64_t)n;
	if (f->bytes >= LOG_FILE_BYTES_MAX)
		file_rotate(s, f);
}

static void early_line(struct log_sink *s, const char *name, const char *line)
{
	size_t a = strlen(name), b = strlen(line);

	if (s->early_bytes + a + b + 2 > sizeof(s->early))
		return;
	memcpy(s->early + s->early_bytes, name, a);
	s->early[s->early_bytes + a] = '\0';
	memcpy(s->early + s->early_bytes + a + 1, line, b);
	s->early[s->early_bytes + a + 1 + b] = '\0';
	s->early_bytes += a + b + 2;
}

void log_sink_open(struct log_sink *s, const char *dir)
{
	const char *p = s->early, *end = s->early + s->early_bytes;

	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	while (p < end) {
		const char *line = p + strlen(p) + 1;

		file_line(s, p, "", line);
		p = line + strlen(line) + 1;
	}
	s->early_bytes = 0;
}

void log_sink_close(struct log_sink *s)
{
	for (unsigned i = 0; i < s->n_files; i++)
		fd_close(&s->files[i].fd);
	s->n_files = 0;
	s->dir[0] = '\0';
	s->early_bytes = sizeof(s->early);	/* nothing is early any more */
}

void log_sink_line(struct log_sink *s, const char *name, const char *who, const char *line, bool console)
{
	struct iovec v[4] = {
		{ .iov_base = (void *)(uintptr_t)who, .iov_len = strlen(who) },
		{ .iov_base = (void *)(uintptr_t)"| ", .iov_len = who[0] ? 2 : 0 },
		{ .iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line) },
		{ .iov_base = (void *)(uintptr_t)"\n", .iov_len = 1 },
	};

	if (console && s->console_fd >= 0 && writev(s->console_fd, v, 4) < 0 && errno == EBADF)
		s->console_fd = -1;
	if (s->dir[0])
		file_line(s, name, who, line);
	else
		early_line(s, name, line);
}

static void flush_line(struct unit_log *u)
{
	u->line[u->n] = '\0';
	for (size_t i = 0; i < u->n; i++)
		if ((unsigned char)u->line[i] < ' ' || u->line[i] == 0x7f)
			u->line[i] = u->line[i] == '\t' ? ' ' : '?';
	if (u->n > 0)
		log_sink_line(u->sink, u->name, u->who, u->line, u->console);
	u->n = 0;
}

static void feed(struct unit_log *u, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			flush_line(u);
		else if (p[i] != '\r')
			u->line[u->n++] = p[i];
		if (u->n == sizeof(u->line) - 1)
			flush_line(u);
	}
}

/* Bounded, so that a unit that prints without end cannot hold the loop. */
static void on_output(void *arg, unsigned events)
{
	struct unit_log *u = arg;
	char text[4096];

	(void)events;
	for (int i = 0; i < 16; i++) {
		ssize_t n = read(u->fd, text, sizeof(text));

		if (n <= 0)
			return;
		feed(u, text, (size_t)n);
	}
}

int unit_log_open(struct unit_log *u, struct loop *l, struct log_sink *sink, const char *path,
		  const char *name, const char *who, bool console, struct err *e)
{
	memset(u, 0, sizeof(*u));
	u->sink = sink;
	u->console = console;
	u->write_fd = -1;
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->who, sizeof(u->who), "%s", who);
	snprintf(u->path, sizeof(u->path), "%s", path);
	if (mkfifo(path, 0600) < 0 && errno != EEXIST) {
		u->fd = -1;
		return err_sys(e, errno, "make FIFO '%s'", path);
	}
	u->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (u->fd < 0)
		return err_sys(e, errno, "open FIFO '%s'", path);
	/* Both ways, so that the unit is its own reader while there is no manager. */
	u->write_fd = open(path, O_RDWR | O_CLOEXEC);
	if (u->write_fd < 0) {
		fd_close(&u->fd);
		return err_sys(e, errno, "open FIFO '%s'", path);
	}
	if (loop_watch(l, u->fd, LOOP_READ, on_output, u, &u->src, e) < 0) {
		unit_log_close(u);
		return -1;
	}
	return 0;
}

void unit_log_close(struct unit_log *u)
{
	if (u->src) {
		loop_unwatch(&u->src);
		on_output(u, 0);
		flush_line(u);
	}
	fd_close(&u->fd);
	fd_close(&u->write_fd);
}

void unit_log_remove(struct unit_log *u)
{
	unit_log_close(u);
	if (u->path[0])
		unlink(u->path);
}
