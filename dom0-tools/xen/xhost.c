/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libxenctrl behind our error type; a handle per call, since these are asked
 * a few times a move.
 */
#include "xen/xhost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xenctrl.h>
#include <xenguest.h>

#include "base/rd.h"

static void auto_close(xc_interface **x)
{
	if (*x)
		xc_interface_close(*x);
}
#define AUTO_XC __attribute__((cleanup(auto_close)))

static int open_xc(xc_interface **out, struct err *e)
{
	xc_interface *x = xc_interface_open(NULL, NULL, 0);

	if (!x) {
		err_set(e, ERR_XEN, "the hypervisor does not answer: %s", strerror(errno));
		return err_remedy(e, "is this dom0 of a Xen host?");
	}
	*out = x;
	return 0;
}

int xhost_info(struct xhost_info *out, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	xc_physinfo_t p = { 0 };
	xen_extraversion_t extra = { 0 };

	if (open_xc(&x, e) < 0)
		return -1;
	int version = xc_version(x, XENVER_version, NULL);

	if (version < 0 || xc_version(x, XENVER_extraversion, &extra) < 0 || xc_physinfo(x, &p) < 0)
		return err_set(e, ERR_XEN, "ask the hypervisor for its facts: %s", strerror(errno));
	memset(out, 0, sizeof(*out));
	snprintf(out->xen_version, sizeof(out->xen_version), "%d.%d%.20s", version >> 16, version & 0xffff, extra);
	out->total_kib = p.total_pages * 4;
	out->free_kib = p.free_pages * 4;
	out->cpus = p.nr_cpus;
	return 0;
}

/* | leaves 4 | MSRs 4 | leaf 24 each | MSR 16 each |, little-endian, each field as Xen's struct has it */
static void put_policy(struct buf *out, const xen_cpuid_leaf_t *l, uint32_t n_l, const xen_msr_entry_t *m, uint32_t n_m)
{
	buf_put_le32(out, n_l);
	buf_put_le32(out, n_m);
	for (uint32_t i = 0; i < n_l; i++) {
		buf_put_le32(out, l[i].leaf);
		buf_put_le32(out, l[i].subleaf);
		buf_put_le32(out, l[i].a);
		buf_put_le32(out, l[i].b);
		buf_put_le32(out, l[i].c);
		buf_put_le32(out, l[i].d);
	}
	for (uint32_t i = 0; i < n_m; i++) {
		buf_put_le32(out, m[i].idx);
		buf_put_le32(out, m[i].flags);
		buf_put_le64(out, m[i].val);
	}
}

static void auto_policy(xc_cpu_policy_t **p)
{
	if (*p)
		xc_cpu_policy_destroy(*p);
}
#define AUTO_POLICY __attribute__((cleanup(auto_policy)))

int xhost_policy_of(uint32_t domid, struct buf *out, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	AUTO_POLICY xc_cpu_policy_t *p = NULL;
	uint32_t n_l = 0, n_m = 0;

	if (open_xc(&x, e) < 0)
		return -1;
	p = xc_cpu_policy_init();
	if (!p || xc_cpu_policy_get_size(x, &n_l, &n_m) < 0)
		return err_set(e, ERR_XEN, "size of a CPU policy: %s", strerror(errno));
	AUTO_FREE xen_cpuid_leaf_t *l = mem_alloc(n_l * sizeof(*l));
	AUTO_FREE xen_msr_entry_t *m = mem_alloc(n_m * sizeof(*m));

	if (xc_cpu_policy_get_domain(x, domid, p) < 0 || xc_cpu_policy_serialise(x, p, l, &n_l, m, &n_m) < 0)
		return err_set(e, ERR_XEN, "CPU policy of domain %u: %s", domid, strerror(errno));
	put_policy(out, l, n_l, m, n_m);
	return 0;
}

enum { LEAF_BYTES = 24, MSR_BYTES = 16 };

static int get_policy(struct span in, xc_cpu_policy_t *p, xc_interface *x, struct err *e)
{
	struct rd r = rd_of(in.p, in.len);
	uint32_t n_l = rd_le32(&r), n_m = rd_le32(&r);

	if (in.len > XHOST_POLICY_BYTES_MAX || n_l > XHOST_POLICY_BYTES_MAX / LEAF_BYTES ||
	    n_m > XHOST_POLICY_BYTES_MAX / MSR_BYTES ||
	    rd_left(&r) != n_l * (size_t)LEAF_BYTES + n_m * (size_t)MSR_BYTES)
		return err_set(e, ERR_CORRUPT, "a CPU policy of %u leaves and %u MSRs in %zu bytes", n_l, n_m, in.len);
	AUTO_FREE xen_cpuid_leaf_t *l = mem_alloc(n_l * sizeof(*l));
	AUTO_FREE xen_msr_entry_t *m = mem_alloc(n_m * sizeof(*m));

	for (uint32_t i = 0; i < n_l; i++) {
		l[i].leaf = rd_le32(&r);
		l[i].subleaf = rd_le32(&r);
		l[i].a = rd_le32(&r);
		l[i].b = rd_le32(&r);
		l[i].c = rd_le32(&r);
		l[i].d = rd_le32(&r);
	}
	for (uint32_t i = 0; i < n_m; i++) {
		m[i].idx = rd_le32(&r);
		m[i].flags = rd_le32(&r);
		m[i].val = rd_le64(&r);
	}
	if (xc_cpu_policy_update_cpuid(x, p, l, n_l) < 0 || xc_cpu_policy_update_msrs(x, p, m, n_m) < 0)
		return err_set(e, ERR_INCOMPATIBLE,
			       "the guest's CPU policy has a leaf or MSR that this Xen does not know");
	return 0;
}

int xhost_policy_fits(struct span policy, bool hvm, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	AUTO_POLICY xc_cpu_policy_t *host = NULL, *guest = NULL;

	if (open_xc(&x, e) < 0)
		return -1;
	host = xc_cpu_policy_init();
	guest = xc_cpu_policy_init();
	if (!host || !guest ||
	    xc_cpu_policy_get_system(x, hvm ? XEN_SYSCTL_cpu_policy_hvm_max : XEN_SYSCTL_cpu_policy_pv_max, host) < 0)
		return err_set(e, ERR_XEN, "CPU policy of this host: %s", strerror(errno));
	if (get_policy(policy, guest, x, e) < 0)
		return -1;
	if (!xc_cpu_policy_is_compatible(x, host, guest)) {
		err_set(e, ERR_INCOMPATIBLE, "the guest uses CPU features that this host does not have");
		return err_remedy(e, "move it to a host with the same or a newer CPU, or start it with fewer features");
	}
	return 0;
}

int xhost_cap_get(uint32_t domid, uint16_t *out, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	struct xen_domctl_sched_credit2 s = { 0 };

	if (open_xc(&x, e) < 0)
		return -1;
	if (xc_sched_credit2_domain_get(x, domid, &s) < 0)
		return err_set(e, ERR_XEN, "scheduler parameters of domain %u: %s", domid, strerror(errno));
	*out = s.cap;
	return 0;
}

int xhost_cap_set(uint32_t domid, uint16_t cap, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	struct xen_domctl_sched_credit2 s = { 0 };

	if (open_xc(&x, e) < 0)
		return -1;
	if (xc_sched_credit2_domain_get(x, domid, &s) < 0)
		return err_set(e, ERR_XEN, "scheduler parameters of domain %u: %s", domid, strerror(errno));
	s.cap = cap;
	if (xc_sched_credit2_domain_set(x, domid, &s) < 0)
		return err_set(e, ERR_XEN, "set the cap of domain %u to %u: %s", domid, cap, strerror(errno));
	return 0;
}

int xhost_domain_kib(uint32_t domid, uint64_t *out, struct err *e)
{
	AUTO_XC xc_interface *x = NULL;
	xc_domaininfo_t i;

	if (open_xc(&x, e) < 0)
		return -1;
	if (xc_domain_getinfolist(x, domid, 1, &i) != 1 || i.domain != domid)
		return err_set(e, ERR_NOT_FOUND, "domain %u is not there", domid);
	*out = (i.tot_pages + i.outstanding_pages) * 4;
	return 0;
}
