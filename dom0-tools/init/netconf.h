/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the network of host.json into effect and keeps it so: the uplink into
 * its bridge with the host's address, the management NIC with its own.  A
 * NIC that is missing or has no carrier yet is taken when it shows up.
 */
#ifndef INIT_NETCONF_H
#define INIT_NETCONF_H

#include <jansson.h>

#include "base/loop.h"
#include "init/host_cfg.h"

struct netconf;

/* cfg must stay valid.  Returns when what can be done now is done; DHCP goes on by itself. */
MUSTUSE int netconf_start(struct loop *l, const struct host_cfg *cfg, struct netconf **out, struct err *e);
void netconf_free(struct netconf *nc);		/* leaves the network as it is */
/* The list "network" of the verb info. */
json_t *netconf_info(const struct netconf *nc);

#endif
