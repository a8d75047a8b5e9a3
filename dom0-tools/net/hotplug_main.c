/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvhotplug: installed as /etc/xen/scripts/vif-bridge and .../block, which
 * libxl runs as `SCRIPT online|offline|add|remove ...` with XENBUS_PATH (and
 * vif) in the environment.  libxl logs what comes on stderr.
 */
#include <stdlib.h>

#include "base/log.h"
#include "net/hotplug.h"
#include "xen/xs.h"

int main(int argc, char **argv)
{
	struct hotplug h;
	struct xs *x = NULL;
	struct err e = ERR_INIT;
	int rc;

	log_init("hvhotplug", LOG_INFO);
	if (hotplug_parse(argv[0], argc > 1 ? argv[1] : NULL, getenv("XENBUS_PATH"), getenv("vif"), &h, &e) < 0 ||
	    xs_new(&x, &e) < 0) {
		log_fail(&e, "hot-plug");
		return err_exit_status(e.code);
	}
	rc = hotplug_run(x, &h, &e);
	if (rc < 0)
		log_fail(&e, "%s", h.path);
	xs_free(x);
	return rc < 0 ? err_exit_status(e.code) : 0;
}
