/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator wants of this host: host.json from the volume HVAPI, then
 * the kernel's command line, which wins.
 *
 *	{"hostname": "hv1",
 *	 "network": {"bridge": "xenbr0", "uplink_mac": "52:54:00:77:00:01", "address": "10.77.0.1/24",
 *	             "gateway": "10.77.0.254", "dns": ["10.77.0.254"], "dhcp": false},
 *	 "management": {"mac": "52:54:00:78:00:01", "dhcp": true},
 *	 "data": {"disk": "hvdata-hv1", "format_if_empty": true}}
 *
 *	hvapi.hostname=  hvapi.address=IP/LEN  hvapi.gateway=  hvapi.uplink=MAC|NAME  hvapi.data=format  hvapi.debug
 *
 * All members are optional; unknown ones are errors that name them.
 */
#ifndef INIT_HOST_CFG_H
#define INIT_HOST_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	HOST_JSON_BYTES_MAX = 64 << 10,
	HOST_DNS_MAX = 3,
	HOST_NAME_BYTES = 64,
	HOST_IF_BYTES = 20,		/* a MAC, or the name of an interface */
};

/* IPv4 addresses are in network order; 0: none. */
struct host_nic {
	bool wanted;
	char match[HOST_IF_BYTES];	/* "" : the first with a carrier */
	bool dhcp;
	uint32_t ip;
	unsigned prefix;
	uint32_t gateway;
};

struct host_cfg {
	char hostname[HOST_NAME_BYTES];
	char bridge[16];
	struct host_nic uplink;		/* goes into the bridge, which gets the address */
	struct host_nic management;	/* keeps its own address */
	uint32_t dns[HOST_DNS_MAX];
	unsigned n_dns;
	char data_disk[128];		/* serial or /dev path; "": the one whose serial starts with "hvdata" */
	bool data_format;		/* permission to make a file system on it if it is empty */
	bool debug;
	bool from_file;			/* a host.json was read */
	bool from_cmdline;		/* the command line configures the network */
};

/* The defaults: bridge xenbr0, DHCP on the first NIC with a carrier. */
void host_cfg_init(struct host_cfg *c);
/* On failure c is as it was. */
MUSTUSE int host_cfg_read(struct host_cfg *c, const char *json, size_t n, struct err *e);
/* Goes on after a bad key, so that one typo does not cut a host off; e is the first. */
MUSTUSE int host_cfg_cmdline(struct host_cfg *c, const char *cmdline, struct err *e);

/* "10.77.0.1/24"; prefix 1..32. */
MUSTUSE int host_cfg_address(const char *text, uint32_t *ip, unsigned *prefix, struct err *e);

#endif
