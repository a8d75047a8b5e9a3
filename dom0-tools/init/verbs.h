/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of hvinit_ctl.h, as the table that base/ctl.h serves; arg is the struct manager. */
#ifndef INIT_VERBS_H
#define INIT_VERBS_H

#include "base/ctl.h"

extern const struct ctl_verb hvinit_verbs[];

#endif
