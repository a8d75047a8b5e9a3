/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real Xen behind saver.h: xc_domain_save with our decisions.
 */
#ifndef MIGRATE_XEN_SAVE_H
#define MIGRATE_XEN_SAVE_H

#include "base/err.h"
#include "migrate/guest/saver.h"

/* The handles live as long as the process. */
MUSTUSE int xen_save_make(uint32_t domid, struct saver_xen *out, struct err *e);

#endif
