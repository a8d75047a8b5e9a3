/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error of control code: one table gives each code its stable name and
 * its exit status, so that API, CLI and documentation cannot disagree.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Both columns are an interface: neither changes once released. */
static const struct {
	const char *name;
	int exit_status;
} codes[ERR_CODE_N] = {
	[ERR_NONE]         = { "none",          0 },
	[ERR_USAGE]        = { "usage",         2 },
	[ERR_NOT_FOUND]    = { "not-found",     3 },
	[ERR_EXISTS]       = { "exists",        4 },
	[ERR_STATE]        = { "state",         5 },
	[ERR_BUSY]         = { "busy",          6 },
	[ERR_REFUSED]      = { "refused",       7 },
	[ERR_DENIED]       = { "denied",        8 },
	[ERR_INCOMPATIBLE] = { "incompatible",  9 },
	[ERR_LIMIT]        = { "limit",        10 },
	[ERR_NO_SPACE]     = { "no-space",     11 },
	[ERR_CORRUPT]      = { "corrupt",      12 },
	[ERR_IO]           = { "io",           13 },
	[ERR_NET]          = { "net",          14 },
	[ERR_TIMEOUT]      = { "timeout",      15 },
	[ERR_CANCELLED]    = { "cancelled",    16 },
	[ERR_PEER]         = { "peer",         17 },
	[ERR_IN_DOUBT]     = { "in-doubt",     18 },
	[ERR_XEN]          = { "xen",          19 },
	[ERR_INTERNAL]     = { "internal",     20 },
};

/* errno values that mean more than ERR_IO. */
static const struct {
	int errnum;
	enum err_code code;
} errnos[] = {
	{ ENOENT, ERR_NOT_FOUND },
	{ EEXIST, ERR_EXISTS },
	{ EACCES, ERR_DENIED },
	{ EPERM, ERR_DENIED },
	{ ENOSPC, ERR_NO_SPACE },
	{ ENOMEM, ERR_NO_SPACE },
	{ EDQUOT, ERR_NO_SPACE },
	{ ECONNREFUSED, ERR_NET },
	{ ECONNRESET, ERR_NET },
	{ ECONNABORTED, ERR_NET },
	{ EHOSTUNREACH, ERR_NET },
	{ ENETUNREACH, ERR_NET },
	{ EPIPE, ERR_NET },
	{ ETIMEDOUT, ERR_TIMEOUT },
	{ EBUSY, ERR_BUSY },
	{ EAGAIN, ERR_BUSY },
	{ ECANCELED, ERR_CANCELLED },
};

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	char text[ERR_DETAIL_BYTES];	/* the arguments may point into e->detail */
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e->code = code;
	memcpy(e->detail, text, sizeof(text));
	e->remedy[0] = '\0';
	return -1;
}

static enum err_code code_of_errno(int errnum)
{
	for (size_t i = 0; i < ARRAY_LEN(errnos); i++)
		if (errnos[i].errnum == errnum)
			return errnos[i].code;
	return ERR_IO;
}

int err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	char text[ERR_DETAIL_BYTES], reason[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, code_of_errno(errnum), "%s: %s", text, strerror_r(errnum, reason, sizeof(reason)));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char context[ERR_DETAIL_BYTES], old[ERR_DETAIL_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	memcpy(old, e->detail, sizeof(old));
	/* The cut, if there must be one, takes the end of the cause. */
	if (snprintf(e->detail, sizeof(e->detail), "%s: %s", context, old) < 0)
		memcpy(e->detail, old, sizeof(old));
	return -1;
}

int err_remedy(struct err *e, const char *fmt, ...)
{
	char text[ERR_REMEDY_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(e->remedy, text, sizeof(text));
	return -1;
}

const char *err_name(enum err_code code)
{
	return (unsigned)code < ERR_CODE_N ? codes[code].name : codes[ERR_INTERNAL].name;
}

enum err_code err_from_name(const char *name)
{
	for (size_t i = 0; i < ERR_CODE_N; i++)
		if (!strcmp(codes[i].name, name))
			return (enum err_code)i;
	return ERR_INTERNAL;
}

int err_exit_status(enum err_code code)
{
	return (unsigned)code < ERR_CODE_N ? codes[code].exit_status : codes[ERR_INTERNAL].exit_status;
}
