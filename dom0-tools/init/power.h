/* SPDX-License-Identifier: Apache-2.0 */
/* The power button: any input device that has KEY_POWER. */
#ifndef INIT_POWER_H
#define INIT_POWER_H

#include "base/err.h"
#include "base/loop.h"

enum { POWER_DEVICES_MAX = 8 };

struct power;

/* Looks at /dev/input at once; pressed is called for each press. */
MUSTUSE int power_new(struct loop *l, void (*pressed)(void *arg), void *arg, struct power **out, struct err *e);
void power_free(struct power *p);
/* Devices were added or removed. */
void power_look(struct power *p);

#endif
