/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DHCP packet from anybody on the wire: the first ten bytes choose our MAC
 * and transaction.  What is taken must be usable: times in order, an address.
 * sources: dom0-tools/init/dhcp_proto.c dom0-tools/base/err.c dom0-tools/base/rd.c
 */
#include <stdlib.h>
#include <string.h>

#include "init/dhcp_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct dhcp_answer a;
	struct err e = ERR_INIT;
	uint32_t xid;

	if (n < 10)
		return 0;
	memcpy(&xid, p + 6, 4);
	if (dhcp_decode(p + 10, n - 10, p, xid, &a, &e) < 0)
		return 0;
	if (a.t1_s >= a.t2_s || a.t2_s >= a.lease_s || a.n_dns > DHCP_DNS_MAX || a.prefix < 1 || a.prefix > 32)
		abort();
	if (a.type != DHCP_NAK && !a.ip)
		abort();
	return 0;
}
