/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: OpenMetrics text, for a monitor that asks every few seconds.
 */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "hvapi/api/routes.h"
#include "hvapi/event/events.h"
#include "hvapi/http/server.h"
#include "hvapi/hvapid.h"
#include "hvapi/job/jobs.h"
#include "hvapi/vm/domds.h"
#include "hvapi/vm/registry.h"

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

static void put_vms(struct buf *b, struct hvapid *h)
{
	family(b, "hvapi_vm_running", "gauge", "1 if the VM runs on this host");
	for (const struct vm *v = registry_first(h->registry); v; v = v->next)
		buf_printf(b, "hvapi_vm_running{vm=\"%s\"} %d\n", v->name,
			   !strcmp(domds_state(h->domds, v->name), "running"));
	family(b, "hvapi_vm_generation", "gauge", "Generation of the VM: raised by each hand-over");
	for (const struct vm *v = registry_first(h->registry); v; v = v->next)
		buf_printf(b, "hvapi_vm_generation{vm=\"%s\"} %llu\n", v->name, (unsigned long long)v->generation);
	family(b, "hvapi_vm_state", "gauge", "1 for the state that the VM is in");
	for (const struct vm *v = registry_first(h->registry); v; v = v->next)
		buf_printf(b, "hvapi_vm_state{vm=\"%s\",state=\"%s\"} 1\n", v->name,
			   v->place == VM_HERE ? domds_state(h->domds, v->name) : vm_place_name(v->place));
}

void api_metrics(struct req *r)
{
	struct hvapid *h = r->h;
	AUTO_BUF struct buf b = { 0 };
	uint64_t counts[6];

	put_vms(&b, h);
	family(&b, "hvapi_jobs_active", "gauge", "Jobs that have not ended");
	buf_printf(&b, "hvapi_jobs_active %u\n", jobs_count_active(h->jobs));
	family(&b, "hvapi_events", "counter", "Events since hvapid started");
	buf_printf(&b, "hvapi_events_total %llu\n", (unsigned long long)events_count(h->events));
	http_counts(h->http, counts);
	family(&b, "hvapi_http_answers", "counter", "API answers since hvapid started, by class of status");
	for (unsigned i = 1; i < 6; i++)
		buf_printf(&b, "hvapi_http_answers_total{class=\"%uxx\"} %llu\n", i, (unsigned long long)counts[i]);
	family(&b, "hvapi_uptime_seconds", "gauge", "Seconds since hvapid started");
	buf_printf(&b, "hvapi_uptime_seconds %llu\n",
		   (unsigned long long)((clock_mono_ms() - h->started_mono_ms) / 1000));
	buf_printf(&b, "# EOF\n");
	req_text(r, "application/openmetrics-text; version=1.0.0; charset=utf-8", &b);
}
