/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxl says why something failed only in its log, so the handle's logger
 * keeps the last complaint and it becomes the detail of the error.
 */
#include "xen/xl_dom.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <libxl.h>
#include <libxl_utils.h>
#include <xentoollog.h>

#include "base/buf.h"
#include "base/log.h"
#include "xen/xl_build.h"

enum { COMPLAINT_BYTES = 320 };

struct xl {
	xentoollog_logger log;		/* first: the library gives us this pointer back */
	pthread_mutex_t lock;
	char complaint[COMPLAINT_BYTES];
	libxl_ctx *ctx;
};

static void on_message(xentoollog_logger *l, xentoollog_level level, int errnoval, const char *context,
		       const char *format, va_list al) __attribute__((format(printf, 5, 0)));

static void on_message(xentoollog_logger *l, xentoollog_level level, int errnoval, const char *context,
		       const char *format, va_list al)
{
	struct xl *x = (struct xl *)(void *)l;
	char text[COMPLAINT_BYTES];

	(void)context;
	if (level < XTL_WARN)
		return;
	vsnprintf(text, sizeof(text), format, al);
	log_warn("libxl: %s%s%s", text, errnoval >= 0 ? ": " : "", errnoval >= 0 ? strerror(errnoval) : "");
	if (level < XTL_ERROR)
		return;
	pthread_mutex_lock(&x->lock);
	if (!*x->complaint)	/* the first one is the cause */
		snprintf(x->complaint, sizeof(x->complaint), "%s", text);
	pthread_mutex_unlock(&x->lock);
}

static void on_progress(xentoollog_logger *l, const char *context, const char *doing, int percent, unsigned long done,
			unsigned long total)
{
	(void)l;
	(void)context;
	(void)doing;
	(void)percent;
	(void)done;
	(void)total;
}

static void on_destroy(xentoollog_logger *l)
{
	(void)l;
}

static void forget_complaint(struct xl *x)
{
	pthread_mutex_lock(&x->lock);
	*x->complaint = '\0';
	pthread_mutex_unlock(&x->lock);
}

static int complain(struct xl *x, int rc, const char *what, struct err *e)
{
	pthread_mutex_lock(&x->lock);
	err_set(e, rc == ERROR_NOMEM ? ERR_NO_SPACE : ERR_XEN, "%s: %s (libxl %d)", what,
		*x->complaint ? x->complaint : "libxl does not say why", rc);
	pthread_mutex_unlock(&x->lock);
	return -1;
}

int xl_open(struct xl **out, struct err *e)
{
	struct xl *x = mem_alloc(sizeof(*x));

	x->log = (xentoollog_logger){ .vmessage = on_message, .progress = on_progress, .destroy = on_destroy };
	pthread_mutex_init(&x->lock, NULL);
	if (libxl_ctx_alloc(&x->ctx, LIBXL_VERSION, 0, &x->log)) {
		complain(x, 0, "open libxl", e);
		err_remedy(e, "is this dom0 of a Xen host, and does xenstored run?");
		x->ctx = NULL;
		xl_close(x);
		return -1;
	}
	*out = x;
	return 0;
}

void xl_close(struct xl *x)
{
	if (!x)
		return;
	if (x->ctx)
		libxl_ctx_free(x->ctx);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

int xl_create(struct xl *x, const json_t *vm, const char *boot_dir, int *out_domid, struct err *e)
{
	libxl_domain_config c;
	uint32_t domid = (uint32_t)INVALID_DOMID;
	int rc = -1;

	forget_complaint(x);
	if (xl_build(x->ctx, vm, boot_dir, &c, e) == 0) {
		rc = libxl_domain_create_new(x->ctx, &c, &domid, NULL, NULL);
		if (rc)
			rc = complain(x, rc, "create the domain", e);
	}
	libxl_domain_config_dispose(&c);
	if (rc == 0)
		*out_domid = (int)domid;
	return rc;
}

int xl_restore(struct xl *x, const json_t *vm, const char *boot_dir, int fd, int *out_domid, struct err *e)
{
	libxl_domain_config c;
	libxl_domain_restore_params p;
	uint32_t domid = (uint32_t)INVALID_DOMID;
	int rc = -1;

	forget_complaint(x);
	libxl_domain_restore_params_init(&p);
	p.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_NONE;
	p.stream_version = 2;
	if (xl_build(x->ctx, vm, boot_dir, &c, e) == 0) {
		rc = libxl_domain_create_restore(x->ctx, &c, &domid, fd, -1, &p, NULL, NULL);
		if (rc)
			rc = complain(x, rc, "restore the domain", e);
	}
	libxl_domain_restore_params_dispose(&p);
	libxl_domain_config_dispose(&c);
	if (rc == 0)
		*out_domid = (int)domid;
	return rc;
}

int xl_save(struct xl *x, int domid, int fd, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_suspend(x->ctx, (uint32_t)domid, fd, 0, NULL);

	return rc ? complain(x, rc, "save the domain", e) : 0;
}

int xl_unpause(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_unpause(x->ctx, (uint32_t)domid, NULL);

	return rc ? complain(x, rc, "unpause the domain", e) : 0;
}

int xl_pause(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_pause(x->ctx, (uint32_t)domid, NULL);

	return rc ? complain(x, rc, "pause the domain", e) : 0;
}

int xl_shutdown(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_shutdown(x->ctx, (uint32_t)domid, NULL);

	return rc ? complain(x, rc, "ask the guest to shut down", e) : 0;
}

int xl_reboot(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_reboot(x->ctx, (uint32_t)domid, NULL);

	return rc ? complain(x, rc, "ask the guest to reboot", e) : 0;
}

int xl_destroy(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_destroy(x->ctx, (uint32_t)domid, NULL);

	return rc && xl_look(x, domid) != XL_GONE ? complain(x, rc, "destroy the domain", e) : 0;
}

int xl_resume(struct xl *x, int domid, struct err *e)
{
	forget_complaint(x);
	int rc = libxl_domain_resume(x->ctx, (uint32_t)domid, 1, NULL);

	return rc ? complain(x, rc, "resume the domain", e) : 0;
}

int xl_find(struct xl *x, const char *uuid)
{
	libxl_uuid u;
	libxl_dominfo info;
	int domid = XL_NO_DOMAIN, n = 0;

	if (libxl_uuid_from_string(&u, uuid))
		return XL_NO_DOMAIN;
	libxl_dominfo *all = libxl_list_domain(x->ctx, &n);

	for (int i = 0; all && i < n; i++) {
		info = all[i];
		if (!memcmp(&info.uuid, &u, sizeof(u)) && !info.dying)
			domid = (int)info.domid;
	}
	if (all)
		libxl_dominfo_list_free(all, n);
	return domid;
}

enum xl_life xl_look(struct xl *x, int domid)
{
	libxl_dominfo i;
	enum xl_life life = XL_RUNNING;

	libxl_dominfo_init(&i);
	if (domid < 0 || libxl_domain_info(x->ctx, &i, (uint32_t)domid) || i.dying) {
		libxl_dominfo_dispose(&i);
		return XL_GONE;
	}
	if (i.paused)
		life = XL_PAUSED;
	if (i.shutdown) {
		switch (i.shutdown_reason) {
		case LIBXL_SHUTDOWN_REASON_REBOOT:
		case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
			life = XL_REBOOT;
			break;
		case LIBXL_SHUTDOWN_REASON_SUSPEND:
			life = XL_SUSPENDED;
			break;
		case LIBXL_SHUTDOWN_REASON_CRASH:
		case LIBXL_SHUTDOWN_REASON_WATCHDOG:
			life = XL_CRASHED;
			break;
		case LIBXL_SHUTDOWN_REASON_UNKNOWN:
		case LIBXL_SHUTDOWN_REASON_POWEROFF:
		default:
			life = XL_POWEROFF;
		}
	}
	libxl_dominfo_dispose(&i);
	return life;
}

int xl_console(struct xl *x, int domid, char out[XL_PATH_BYTES], struct err *e)
{
	AUTO_FREE char *path = NULL;

	forget_complaint(x);
	int rc = libxl_primary_console_get_tty(x->ctx, (uint32_t)domid, &path);

	if (rc || !path)
		return complain(x, rc, "find the console", e);
	snprintf(out, XL_PATH_BYTES, "%s", path);
	return 0;
}
