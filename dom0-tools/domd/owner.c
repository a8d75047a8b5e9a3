/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transition table of the drawing, and the file.
 */
#include "domd/owner.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/fd.h"
#include "base/js.h"
#include "base/log.h"
#include "base/record.h"
#include "domd/domd_ctl.h"

enum { OWNER_DIR_MODE = 0750 };

/* For each word: its name in the record, and where it may go. */
static const struct {
	const char *name;
	unsigned next;
} words[OWNER_N] = {
	[OWNER_NONE] = { "none", BIT(OWNER_HERE) | BIT(OWNER_RECEIVING) },
	[OWNER_HERE] = { "here", BIT(OWNER_HERE) | BIT(OWNER_GIVING) },
	[OWNER_GIVING] = { "giving", BIT(OWNER_HERE) | BIT(OWNER_IN_DOUBT) },
	/* Back to here only on the peer's word that it did not take it, or the operator's. */
	[OWNER_IN_DOUBT] = { "in-doubt", BIT(OWNER_HERE) | BIT(OWNER_AWAY) },
	[OWNER_AWAY] = { "away", BIT(OWNER_RECEIVING) },
	[OWNER_RECEIVING] = { "receiving", BIT(OWNER_HERE) | BIT(OWNER_REFUSED) },
	[OWNER_REFUSED] = { "refused", BIT(OWNER_RECEIVING) },
};

const char *owner_name(enum owner_word w)
{
	return words[w].name;
}

bool owner_may_run(const struct owner *o)
{
	return o->word == OWNER_NONE || o->word == OWNER_HERE || o->word == OWNER_GIVING;
}

bool owner_may_claim(const struct owner *o, const char *uuid)
{
	bool gone = o->word == OWNER_AWAY || o->word == OWNER_REFUSED;

	return o->word == OWNER_NONE || o->word == OWNER_HERE || (gone && strcasecmp(o->uuid, uuid));
}

static void copy(char out[OWNER_TEXT_BYTES], const char *in)
{
	snprintf(out, OWNER_TEXT_BYTES, "%s", in);
}

int owner_put(char out[OWNER_TEXT_BYTES], const char *key, const char *value, struct err *e)
{
	if (strlen(value) >= OWNER_TEXT_BYTES)
		return err_set(e, ERR_LIMIT, "%s '%.40s…' is longer than %d bytes", key, value, OWNER_TEXT_BYTES - 1);
	copy(out, value);
	return 0;
}

static int parse(const json_t *r, struct owner *o, struct err *e)
{
	const char *word, *uuid, *session = "", *peer = "";

	if (js_text(r, "owner", &word, e) < 0 || js_text(r, "uuid", &uuid, e) < 0 ||
	    js_opt_text(r, "session", &session, e) < 0 || js_opt_text(r, "peer", &peer, e) < 0 ||
	    js_u64(r, "generation", INT64_MAX, &o->generation, e) < 0)
		return -1;
	for (int w = OWNER_HERE; w < OWNER_N; w++)
		if (!strcmp(words[w].name, word))
			o->word = (enum owner_word)w;
	if (o->word == OWNER_NONE)
		return err_set(e, ERR_CORRUPT, "owner '%s' is no word of the record", word);
	if (owner_put(o->uuid, "uuid", uuid, e) < 0 || owner_put(o->session, "session", session, e) < 0)
		return -1;
	return owner_put(o->peer, "peer", peer, e);
}

int owner_load(const char *data_dir, const char *vm, struct owner *out, struct err *e)
{
	char dir[OWNER_PATH_BYTES];
	AUTO_JSON json_t *r = NULL;
	struct owner o = { .word = OWNER_NONE };

	copy(o.vm, vm);
	snprintf(dir, sizeof(dir), DOMD_DIR_FMT, data_dir, vm);
	snprintf(o.path, sizeof(o.path), DOMD_OWNER_FMT, data_dir, vm);
	if (fd_make_dirs(dir, OWNER_DIR_MODE, e) < 0)
		return -1;
	if (record_load(o.path, &r, e) < 0) {
		if (e->code != ERR_NOT_FOUND)
			return err_remedy(e, "the record of who owns '%s' is damaged; look at the other host before "
					  "you remove it", vm);
		*e = (struct err)ERR_INIT;
	} else if (parse(r, &o, e) < 0) {
		return err_wrap(e, "'%s'", o.path);
	}
	*out = o;
	return 0;
}

/* A VM with another UUID is a new one under an old name; what is on its way or in doubt holds the name. */
static bool may_enter(const struct owner *o, enum owner_word to, const struct owner *next)
{
	static const unsigned renewed[OWNER_N] = {
		[OWNER_HERE] = BIT(OWNER_RECEIVING),
		[OWNER_AWAY] = BIT(OWNER_HERE),
		[OWNER_REFUSED] = BIT(OWNER_HERE),
	};

	return (words[o->word].next & BIT(to)) ||
	       ((renewed[o->word] & BIT(to)) && strcasecmp(o->uuid, next->uuid));
}

int owner_enter(struct owner *o, enum owner_word to, const struct owner *next, const char *why, struct err *e)
{
	if (next->generation < o->generation && !strcasecmp(o->uuid, next->uuid))
		return err_set(e, ERR_STATE, "generation %llu of '%s' is older than %llu",
			       (unsigned long long)next->generation, o->vm, (unsigned long long)o->generation);
	if (!may_enter(o, to, next))
		return err_set(e, ERR_STATE, "'%s' is %s and cannot become %s", o->vm, words[o->word].name,
			       words[to].name);
	AUTO_JSON json_t *r = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "vm", o->vm, "uuid", next->uuid, "generation",
					(json_int_t)next->generation, "owner", words[to].name, "session", next->session,
					"peer", next->peer);

	if (record_save(o->path, r, e) < 0)
		return err_wrap(e, "write who owns '%s'", o->vm);
	log_info("vm=%s: owner %s -> %s (%s)", o->vm, words[o->word].name, words[to].name, why);
	o->word = to;
	o->generation = next->generation;
	copy(o->uuid, next->uuid);
	copy(o->session, next->session);
	copy(o->peer, next->peer);
	return 0;
}
