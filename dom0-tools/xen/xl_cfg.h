/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of an xl.cfg as a VM of docs/interfaces.md.
 *
 * Only converts and refuses: what it gives still has to pass the checks that
 * every VM passes.  A key, disk option or vif option that a VM has no place
 * for is refused by its name, never dropped: a guest must not start with less
 * than its file asks for.
 */
#ifndef XEN_XL_CFG_H
#define XEN_XL_CFG_H

#include <stddef.h>
#include <jansson.h>

#include "base/err.h"

enum {
	XL_CFG_BYTES_MAX = 64 << 10,
	XL_CFG_KEYS_MAX = 64,		/* assignments in one file */
	XL_CFG_ITEMS_MAX = 64,		/* disks, and vifs */
};

/*
 * text: n bytes, need not end with NUL, borrowed.  *out_vm: a new object, caller's reference, with name, uuid and
 * MACs made up where the file has none.  Calls no hypervisor, opens no file, does not block.
 * ERR_USAGE: syntax (with the line) or something not supported (with its name); ERR_LIMIT: too long.
 */
MUSTUSE int xl_cfg_parse(const char *text, size_t n, json_t **out_vm, struct err *e);

#endif
