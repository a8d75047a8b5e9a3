/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands keys to the kernel (linux/tls.h, Documentation/networking/tls.rst).
 */
#include "link/ktls.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <linux/tls.h>
#include <mbedtls/platform_util.h>

#include "base/fd.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static int set_key(int fd, int dir, const uint8_t key[16], const uint8_t salt[4])
{
	struct tls12_crypto_info_aes_gcm_128 c = {
		.info = { .version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};
	int rc;

	memcpy(c.key, key, sizeof(c.key));
	memcpy(c.salt, salt, sizeof(c.salt));
	c.rec_seq[sizeof(c.rec_seq) - 1] = 1;
	c.iv[sizeof(c.iv) - 1] = 1;	/* mbedTLS uses the record number as explicit nonce */
	rc = setsockopt(fd, SOL_TLS, dir, &c, sizeof(c));
	mbedtls_platform_zeroize(&c, sizeof(c));
	return rc;
}

int ktls_enable(int fd, enum tls_side side, const struct tls_keys *k, bool *out_untouched, struct err *e)
{
	bool client = side == TLS_CLIENT;

	*out_untouched = true;
	if (!k->gcm)
		return err_set(e, ERR_INCOMPATIBLE, "kernel TLS: another suite than AES-128-GCM");
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
		return err_sys(e, errno, "TCP_ULP tls");
	if (set_key(fd, TLS_TX, client ? k->client_key : k->server_key, client ? k->client_salt : k->server_salt) < 0)
		return err_sys(e, errno, "TLS_TX");
	*out_untouched = false;
	if (set_key(fd, TLS_RX, client ? k->server_key : k->client_key, client ? k->server_salt : k->client_salt) < 0)
		return err_sys(e, errno, "TLS_RX");
	return 0;
}

/* A TCP connection to ourselves; out[0] connected, out[1] accepted. */
static int loopback_pair(int out[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	AUTO_FD int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FD int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) < 0 || connect(c, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	out[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (out[1] < 0)
		return -1;
	out[0] = fd_take(&c);
	return 0;
}

bool ktls_probe(void)
{
	static const struct tls_keys keys = { .gcm = true };	/* zeros: nothing is sent that matters */
	struct err e = ERR_INIT;
	int pair[2] = { -1, -1 };
	bool untouched, ok;
	char got = 0;

	if (loopback_pair(pair) < 0)
		return false;
	ok = ktls_enable(pair[0], TLS_CLIENT, &keys, &untouched, &e) == 0 &&
	     ktls_enable(pair[1], TLS_SERVER, &keys, &untouched, &e) == 0 &&
	     send(pair[0], "x", 1, MSG_NOSIGNAL) == 1 && recv(pair[1], &got, 1, 0) == 1 && got == 'x';
	fd_close(&pair[0]);
	fd_close(&pair[1]);
	return ok;
}
