/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libxlutil cannot tell about an xl.cfg: which keys it has, and where.
 *
 * libxlutil answers for keys that one asks for and has no list of them, so a
 * key that nobody asks for would be dropped in silence.  In a text that
 * libxlutil accepts, a word outside of strings and comments is always a key;
 * so if this scan finds the same words as its lexer, none slips past.
 *
 * The scan also keeps out what libxlutil 4.17 mishandles: in a string it drops
 * the character of an octal escape without a word, and takes no \x escape.
 */
#ifndef XEN_XL_CFG_SCAN_H
#define XEN_XL_CFG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "xen/xl_cfg.h"

enum { XL_CFG_KEY_BYTES = 40 };

struct xl_cfg_key {
	char name[XL_CFG_KEY_BYTES];
	int line;
	bool add;			/* += */
};

struct xl_cfg_keys {
	struct xl_cfg_key v[XL_CFG_KEYS_MAX];
	size_t n;
};

/* text: n bytes, the last a newline, and a NUL behind.  keys: zeroed.  ERR_USAGE naming the line; ERR_LIMIT.  Syntax is
 * left to libxlutil, which must accept the text too. */
MUSTUSE int xl_cfg_scan(const char *text, size_t n, struct xl_cfg_keys *keys, struct err *e);
/* ERR_USAGE: a key that is not supported, or set twice (+= may follow). */
MUSTUSE int xl_cfg_check_keys(const struct xl_cfg_keys *keys, struct err *e);
/* The last line that sets the key, or 0. */
int xl_cfg_key_line(const struct xl_cfg_keys *keys, const char *name);

#endif
