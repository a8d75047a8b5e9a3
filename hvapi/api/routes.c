/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table.  A route that is not here does not exist; what is here is
 * documented, because the document is made from it.
 */
#include "hvapi/api/routes.h"

#include <stddef.h>

#define VIEWER API_VIEWER
#define OPERATOR API_OPERATOR
#define ADMIN API_ADMIN
#define NONE BODY_NONE
#define JSON BODY_JSON

const struct route api_routes[] = {
	/* method, pattern, role, body, handler, summary, takes, gives, status, query */
	{ "GET", "/v1/host", VIEWER, NONE, api_host_get, "Facts about this host", NULL, "Host", 200, NULL },
	{ "POST", "/v1/host/shutdown", ADMIN, JSON, api_host_shutdown, "Power off or reboot", "Shutdown", "Empty",
	  202, NULL },
	{ "POST", "/v1/host/kill-unit", ADMIN, JSON, api_host_kill_unit,
	  "End a daemon that hangs, as a crash would; it is started again by its rule", "KillUnit", "Empty", 202,
	  NULL },
	{ "POST", "/v1/host/pairing-codes", ADMIN, JSON, api_host_pairing_code,
	  "A one-time code for a host or client to pair with", "PairingCodeRequest", "PairingCode", 201, NULL },

	{ "GET", "/v1/peers", VIEWER, NONE, api_peers_list, "Paired hosts and clients", NULL, "Peers", 200, NULL },
	{ "POST", "/v1/peers", ADMIN, JSON, api_peers_pair, "Pair with another host by its code", "PairRequest",
	  "Peer", 201, NULL },
	{ "PATCH", "/v1/peers/{name}", ADMIN, JSON, api_peers_change, "Change a peer's address", "PeerChange",
	  "Peer", 200, NULL },
	{ "DELETE", "/v1/peers/{name}", ADMIN, NONE, api_peers_remove, "Trust it no more", NULL, NULL, 204, NULL },

	{ "GET", "/v1/certs", VIEWER, NONE, api_certs_get, "This host's certificate and the pinned ones", NULL,
	  "Certs", 200, NULL },
	{ "POST", "/v1/certs/renew", ADMIN, JSON, api_certs_renew, "A new certificate for the same key", "Empty",
	  "Identity", 200, NULL },

	{ "GET", "/v1/vms", VIEWER, NONE, api_vms_list, "The VMs of this host", NULL, "Vms", 200, "all" },
	{ "POST", "/v1/vms", OPERATOR, BODY_VM, api_vms_define, "Define a VM", "VM", "VmInfo", 201, "autostart" },
	{ "GET", "/v1/vms/{name}", VIEWER, NONE, api_vms_get, "One VM", NULL, "VmInfo", 200, NULL },
	{ "PATCH", "/v1/vms/{name}", OPERATOR, JSON, api_vms_change, "Change a VM's settings", "VmChange", "VmInfo",
	  200, NULL },
	{ "DELETE", "/v1/vms/{name}", OPERATOR, NONE, api_vms_undefine, "Forget a VM that does not run here", NULL,
	  NULL, 204, NULL },

	{ "POST", "/v1/vms/{name}/start", OPERATOR, JSON, api_vm_start, "Start", "Empty", "JobAnswer", 202, NULL },
	{ "POST", "/v1/vms/{name}/save", OPERATOR, JSON, api_vm_save, "Save memory to disk and stop", "Empty",
	  "JobAnswer", 202, NULL },
	{ "POST", "/v1/vms/{name}/restore", OPERATOR, JSON, api_vm_restore, "Go on where it was saved", "Empty",
	  "JobAnswer", 202, NULL },
	{ "POST", "/v1/vms/{name}/shutdown", OPERATOR, JSON, api_vm_shutdown, "Ask the guest to shut down", "Empty",
	  "VmInfo", 200, NULL },
	{ "POST", "/v1/vms/{name}/stop", OPERATOR, JSON, api_vm_stop, "Stop at once", "Empty", "VmInfo", 200,
	  NULL },
	{ "POST", "/v1/vms/{name}/reboot", OPERATOR, JSON, api_vm_reboot, "Ask the guest to reboot", "Empty",
	  "VmInfo", 200, NULL },
	{ "POST", "/v1/vms/{name}/pause", OPERATOR, JSON, api_vm_pause, "Stop its virtual CPUs", "Empty", "VmInfo",
	  200, NULL },
	{ "POST", "/v1/vms/{name}/resume", OPERATOR, JSON, api_vm_resume, "Let a paused VM go on", "Empty",
	  "VmInfo", 200, NULL },
	{ "GET", "/v1/vms/{name}/console", OPERATOR, NONE, api_vm_console,
	  "The guest's console (Upgrade: hv-console)", NULL, NULL, 101, NULL },

	{ "POST", "/v1/vms/{name}/migrate", OPERATOR, JSON, api_vm_migrate,
	  "Move a running VM to a paired host, or check it", "MigrateRequest", "JobAnswer", 202, NULL },
	{ "POST", "/v1/vms/{name}/resolve", ADMIN, JSON, api_vm_resolve, "End a move that is in doubt",
	  "ResolveRequest", "VmInfo", 200, NULL },

	{ "GET", "/v1/jobs", VIEWER, NONE, api_jobs_list, "Jobs, newest first", NULL, "Jobs", 200,
	  "vm state kind limit" },
	{ "GET", "/v1/jobs/{id}", VIEWER, NONE, api_jobs_get,
	  "One job; as text/event-stream its progress until it ends", NULL, "Job", 200, NULL },
	{ "DELETE", "/v1/jobs/{id}", OPERATOR, NONE, api_jobs_cancel, "Cancel a job", NULL, "JobAnswer", 202,
	  NULL },

	{ "GET", "/v1/events", VIEWER, NONE, api_events_list, "What happened; as text/event-stream what happens",
	  NULL, "Events", 200, "since limit vm" },

	{ "GET", "/v1/boot-files", VIEWER, NONE, api_boot_files_list, "Kernels and ramdisks of guests", NULL,
	  "BootFiles", 200, NULL },
	{ "PUT", "/v1/boot-files/{name}", OPERATOR, BODY_FILE, api_boot_files_put, "Upload or replace one", NULL,
	  "BootFile", 201, NULL },
	{ "DELETE", "/v1/boot-files/{name}", OPERATOR, NONE, api_boot_files_remove, "Remove one that no VM uses",
	  NULL, NULL, 204, NULL },

	{ "GET", "/metrics", VIEWER, NONE, api_metrics, "OpenMetrics text", NULL, NULL, 200, NULL },
	{ "GET", "/v1/openapi.json", VIEWER, NONE, api_openapi, "This API as OpenAPI 3.1", NULL, "Empty", 200,
	  NULL },
	{ NULL, NULL, API_NONE, NONE, NULL, NULL, NULL, NULL, 0, NULL },
};
