/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's virtual interface in dom0 (vifDOMID.N): on its bridge and up, or
 * off it.  Used by the hot-plug program and by hvdomd, which does it while a
 * guest's memory still arrives.  Blocks for some exchanges with the kernel.
 */
#ifndef NET_VIF_H
#define NET_VIF_H

#include "base/err.h"

/* "vif3.0": what the kernel and libxl call it. */
MUSTUSE int vif_check_name(const char *vif, struct err *e);

/* MAC fe:ff:ff:ff:ff:ff (so that the bridge never takes a guest's), the bridge's MTU, no IPv6 of dom0's own, on the
 * bridge, up.  ERR_NOT_FOUND names what is missing: bridge or vif. */
MUSTUSE int vif_online(const char *vif, const char *bridge, struct err *e);
/* It is fine if it is gone already. */
MUSTUSE int vif_offline(const char *vif, struct err *e);

#endif
