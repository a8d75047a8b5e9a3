/* SPDX-License-Identifier: Apache-2.0 */
/* The order matters: the address and the MTU first, up last, so that no frame passes half-configured. */
#include "net/vif.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/netif.h"

static const uint8_t vif_mac[6] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff };

int vif_check_name(const char *vif, struct err *e)
{
	unsigned dom = 0, dev = 0;
	int end = 0;

	if (strlen(vif) >= IFNAMSIZ || sscanf(vif, "vif%9u.%9u%n", &dom, &dev, &end) != 2 || vif[end])
		return err_set(e, ERR_USAGE, "'%.40s' is no name of a vif: must be like vif3.0", vif);
	return 0;
}

/* dom0 must not answer on the guest's wire.  A kernel without IPv6 does not anyway. */
static void no_ipv6(const char *vif)
{
	char path[96];
	AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", vif);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) < 0)
		errno = 0;
}

static int bring_online(struct netif *n, const char *vif, const char *bridge, struct err *e)
{
	struct netif_info b, v;

	if (netif_find(n, bridge, &b, e) < 0) {
		err_wrap(e, "bridge of %s", vif);
		return err_remedy(e, "make the bridge '%s' on this host, or name another in the VM's vif", bridge);
	}
	if (netif_find(n, vif, &v, e) < 0)
		return -1;
	no_ipv6(vif);
	if (netif_set_mac(n, vif, vif_mac, e) < 0)
		return -1;
	if (v.mtu != b.mtu && netif_set_mtu(n, vif, b.mtu, e) < 0)
		return -1;
	if (strcmp(v.master, bridge) != 0 && netif_bridge_join(n, bridge, vif, e) < 0)
		return -1;
	return netif_set_up(n, vif, true, e);
}

int vif_online(const char *vif, const char *bridge, struct err *e)
{
	struct netif *n = NULL;
	int rc;

	if (vif_check_name(vif, e) < 0 || netif_open(&n, e) < 0)
		return -1;
	rc = bring_online(n, vif, bridge, e);
	netif_close(n);
	return rc;
}

int vif_offline(const char *vif, struct err *e)
{
	struct netif *n = NULL;
	int rc;

	if (vif_check_name(vif, e) < 0 || netif_open(&n, e) < 0)
		return -1;
	rc = netif_set_up(n, vif, false, e);
	if (rc == 0)
		rc = netif_bridge_leave(n, vif, e);
	netif_close(n);
	return rc < 0 && e->code == ERR_NOT_FOUND ? 0 : rc;
}
