/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error of control code: a stable code, what failed, and what to do.
 *
 * `struct err *e` is the last parameter; the function returns 0 or -1 and
 * leaves its out-parameters alone on failure.  Setting an error never
 * allocates and never fails; text that does not fit is cut.  `e` is never
 * NULL.  The code maps one to one to the API's problem type and to the CLI's
 * exit status (err_exit_status).
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define MUSTUSE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1u << (unsigned)(n))

enum err_code {
	ERR_NONE = 0,
	ERR_USAGE,		/* the request itself is wrong: field, syntax, unsupported key */
	ERR_NOT_FOUND,
	ERR_EXISTS,
	ERR_STATE,		/* right request, wrong moment: e.g. start of a running VM */
	ERR_BUSY,		/* another operation holds the object; may be tried again */
	ERR_REFUSED,		/* a rule says no: lease, generation, failed checks */
	ERR_DENIED,		/* the caller is not authorised */
	ERR_INCOMPATIBLE,	/* version, CPU or format the other side cannot take */
	ERR_LIMIT,		/* a named limit would be exceeded */
	ERR_NO_SPACE,		/* memory or disk of this host is short */
	ERR_CORRUPT,		/* bytes that break their format's rules */
	ERR_IO,
	ERR_NET,		/* peer unreachable, connection cut */
	ERR_TIMEOUT,
	ERR_CANCELLED,
	ERR_PEER,		/* the peer reported a failure of its own */
	ERR_IN_DOUBT,		/* hand-over whose outcome is not known yet */
	ERR_XEN,		/* hypervisor, libxl or xenstore failed */
	ERR_INTERNAL,		/* a bug of ours */
	ERR_CODE_N
};

enum { ERR_DETAIL_BYTES = 512, ERR_REMEDY_BYTES = 256 };

struct err {
	enum err_code code;
	char detail[ERR_DETAIL_BYTES];	/* what failed and why, one line */
	char remedy[ERR_REMEDY_BYTES];	/* what to do, one line, may be empty */
};

#define ERR_INIT { .code = ERR_NONE }

/* Sets code and detail, clears the remedy.  Returns -1 so that callers can `return err_set(...)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, from an errno value: picks the code and appends strerror. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " in front of the detail that is there.  Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Says what to do about the error that is there.  Returns -1. */
int err_remedy(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The stable name: "not-found".  Never NULL. */
const char *err_name(enum err_code code);

/* The code of a stable name; ERR_INTERNAL for names this version does not know. */
enum err_code err_from_name(const char *name);

/* The CLI's exit status of a code: 0 for ERR_NONE, else 2 to 63. */
int err_exit_status(enum err_code code);

#endif
