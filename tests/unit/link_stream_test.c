/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers read and end with, where no kernel TLS is: as plain sockets.
 * Its other half runs on the appliance: hvtls --self-test-ktls.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "base/fd.h"
#include "link/stream.h"

static void pair_reads_and_ends(void **state)
{
	int p[2];
	char c[4];
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(fd_pair(p, &e), 0);
	assert_int_equal(send(p[0], "abc", 3, 0), 3);
	assert_int_equal(stream_end(p[0], &e), 0);
	assert_int_equal(stream_read(p[1], c, sizeof(c)), 3);
	assert_memory_equal(c, "abc", 3);
	assert_int_equal(stream_read(p[1], c, sizeof(c)), 0);
	assert_int_equal(send(p[1], "d", 1, 0), 1);
	assert_int_equal(stream_read(p[0], c, sizeof(c)), 1);
	fd_close(&p[1]);
	fd_close(&p[0]);
}

static void errors_come_as_numbers(void **state)
{
	int p[2];
	char c;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(stream_read(-1, &c, 1), -EBADF);
	assert_int_equal(fd_pair(p, &e), 0);
	assert_int_equal(fd_set_nonblock(p[0], true, &e), 0);
	assert_int_equal(stream_read(p[0], &c, 1), -EAGAIN);
	fd_close(&p[0]);
	fd_close(&p[1]);
	assert_int_equal(stream_end(-1, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pair_reads_and_ends),
		cmocka_unit_test(errors_come_as_numbers),
	};

	return check_main(tests);
}
