/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines.  A line is built in full and goes out in one write, so lines of
 * processes that share a standard error do not mix; what does not fit is cut.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 2048, LINE_BYTES = 3072 };

static struct {
	const char *prog;
	enum log_level most;
	void (*tee)(enum log_level l, const char *line, void *arg);
	void *tee_arg;
} log_state = { .prog = "hvapi", .most = LOG_INFO };

/* The other levels need no word. */
static const char *const words[] = {
	[LOG_ERR] = "error: ", [LOG_WARN] = "warning: ", [LOG_INFO] = "", [LOG_DEBUG] = "",
};

void log_init(const char *prog, enum log_level most)
{
	log_state.prog = prog;
	log_state.most = most;
}

void log_tee(void (*fn)(enum log_level l, const char *line, void *arg), void *arg)
{
	log_state.tee = fn;
	log_state.tee_arg = arg;
}

/* Appends text with control bytes as \xNN, always ended; returns the new length. */
static size_t put_escaped(char *line, size_t at, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		int control = c < 0x20 || c == 0x7f;

		if (at + (control ? 4 : 1) >= LINE_BYTES - 1)
			break;
		if (!control) {
			line[at++] = *p;
			continue;
		}
		line[at++] = '\\';
		line[at++] = 'x';
		line[at++] = hex[c >> 4];
		line[at++] = hex[c & 15];
	}
	line[at] = '\0';
	return at;
}

static void emit(enum log_level l, const char *text)
{
	char line[LINE_BYTES];
	size_t n;

	if (l > log_state.most)
		return;
	n = put_escaped(line, 0, log_state.prog);
	n = put_escaped(line, n, ": ");
	n = put_escaped(line, n, words[l]);
	n = put_escaped(line, n, text);
	if (log_state.tee)
		log_state.tee(l, line, log_state.tee_arg);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;		/* nowhere left to say so */
}

void log_line(enum log_level l, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	emit(l, text);
}

void log_fail(const struct err *e, const char *fmt, ...)
{
	char context[TEXT_BYTES / 2], text[TEXT_BYTES];
	const char *open = e->remedy[0] ? " (" : "", *shut = e->remedy[0] ? ")" : "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s: %s [%s]%s%s%s", context, e->detail, err_name(e->code),
		 open, e->remedy, shut);
	emit(LOG_ERR, text);
}
