/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database of hvapid.  What must be right before somebody acts on it is
 * not here: who may run a VM is its owner record, kept by hvdomd.
 */
#ifndef HVAPI_SCHEMA_H
#define HVAPI_SCHEMA_H

/* For store_open; a step once released never changes. */
extern const char *const hvapid_schema[];

#endif
