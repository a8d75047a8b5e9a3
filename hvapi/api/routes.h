/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's routes and the handlers they name, one file a resource.
 */
#ifndef HVAPI_API_ROUTES_H
#define HVAPI_API_ROUTES_H

#include <jansson.h>

#include "hvapi/http/request.h"

extern const struct route api_routes[];		/* ends with method == NULL */

/* host.c */
void api_host_get(struct req *r);
void api_host_shutdown(struct req *r);
void api_host_kill_unit(struct req *r);
void api_host_pairing_code(struct req *r);
/* peers.c */
void api_peers_list(struct req *r);
void api_peers_pair(struct req *r);
void api_peers_remove(struct req *r);
void api_peers_change(struct req *r);
/* certs.c */
void api_certs_get(struct req *r);
void api_certs_renew(struct req *r);
/* vms.c */
void api_vms_list(struct req *r);
void api_vms_define(struct req *r);
void api_vms_get(struct req *r);
void api_vms_change(struct req *r);
void api_vms_undefine(struct req *r);
/* vm_verbs.c */
void api_vm_start(struct req *r);
void api_vm_save(struct req *r);
void api_vm_restore(struct req *r);
void api_vm_shutdown(struct req *r);
void api_vm_stop(struct req *r);
void api_vm_reboot(struct req *r);
void api_vm_pause(struct req *r);
void api_vm_resume(struct req *r);
void api_vm_console(struct req *r);
/* migrate.c */
void api_vm_migrate(struct req *r);
void api_vm_resolve(struct req *r);
/* jobs.c */
void api_jobs_list(struct req *r);
void api_jobs_get(struct req *r);
void api_jobs_cancel(struct req *r);
/* events.c */
void api_events_list(struct req *r);
/* boot_files.c */
void api_boot_files_list(struct req *r);
void api_boot_files_put(struct req *r);
void api_boot_files_remove(struct req *r);
/* metrics.c, openapi.c */
void api_metrics(struct req *r);
void api_openapi(struct req *r);

/* openapi.c: the document for these routes; caller's reference. */
json_t *openapi_document(const struct route *routes);
/* schemas.c: {"VM": {...}, ...}; caller's reference. */
json_t *api_schemas(void);

/* vms.c: the VM that the path names, or NULL after answering 404. */
struct vm *api_vm_of(struct req *r);
/* {"job": JOB}, 202. */
struct job;
void api_answer_job(struct req *r, const struct job *j);

#endif
