/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines of programs: one line per event on standard error,
 *
 *	hvtls: peer hv2: accepted hv-migrate/1
 *
 * Libraries return errors instead.  Lines never contain control characters:
 * foreign text comes out with them escaped, so a guest cannot forge a line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Name in front of each line; `most` is the least urgent level printed.  `prog` must stay valid. */
void log_init(const char *prog, enum log_level most);
/* Gives each line to `fn` too (hvinit's console, a test); NULL ends that. */
void log_tee(void (*fn)(enum log_level l, const char *line, void *arg), void *arg);
void log_line(enum log_level l, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_err(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* Logs an error with its code and remedy behind the given context. */
void log_fail(const struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
