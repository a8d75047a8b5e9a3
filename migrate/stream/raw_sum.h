/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sum over the whole raw stream that both ends compare: XXH64, which
 * costs a tenth of the copy it rides on.  It is against our own mistakes; TLS
 * guards against others'.
 */
#ifndef MIGRATE_RAW_SUM_H
#define MIGRATE_RAW_SUM_H

#include <stddef.h>
#include <stdint.h>

struct raw_sum;

struct raw_sum *raw_sum_new(void);
void raw_sum_free(struct raw_sum *s);
void raw_sum_add(struct raw_sum *s, const void *p, size_t n);
uint64_t raw_sum_value(const struct raw_sum *s);

#endif
