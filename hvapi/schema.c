/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema steps, in order.
 */
#include "hvapi/schema.h"

#include <stddef.h>

const char *const hvapid_schema[] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE vms("
	"  name TEXT PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, config TEXT NOT NULL, generation INTEGER NOT NULL,"
	"  autostart INTEGER NOT NULL, place TEXT NOT NULL, peer TEXT, session TEXT, saved INTEGER NOT NULL);"
	"CREATE TABLE jobs("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, vm TEXT NOT NULL, who TEXT NOT NULL,"
	"  state TEXT NOT NULL, session TEXT, spec TEXT, progress TEXT, result TEXT, error TEXT,"
	"  created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL);"
	"CREATE INDEX jobs_state ON jobs(state);"
	"CREATE TABLE events("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, type TEXT NOT NULL, vm TEXT NOT NULL,"
	"  job INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL);",
	NULL,
};
