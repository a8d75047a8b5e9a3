/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS by mbedTLS 2.28.  Each connection has a configuration of its own: the
 * library keeps ALPN list and key export there, and both differ.
 */
#include "link/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/net_sockets.h>

#include "base/buf.h"
#include "base/fd.h"

struct tls {
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config conf;
	struct identity *id;
	int fd;
	enum tls_side side;
	const char *alpn[9];		/* mbedTLS wants a list it may write to */
	tls_judge_fn *judge;
	void *arg;
	struct tls_peer peer;
	struct err why;			/* of a refusal of ours */
	struct tls_keys keys;
	bool wants_write;
};

static const int suites_gcm_first[] = {
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 0,
};
static const int suites_chacha_first[] = {
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0,
};
static const mbedtls_ecp_group_id curves[] = { MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE };
static const int hashes[] = { MBEDTLS_MD_SHA256, MBEDTLS_MD_NONE };
static const mbedtls_x509_crt_profile profile = {
	.allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256),
	.allowed_pks = MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY),
	.allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1),
	.rsa_min_bitlen = 0,
};

static int bio_send(void *arg, const unsigned char *p, size_t n)
{
	struct tls *t = arg;
	ssize_t put = send(t->fd, p, n, MSG_NOSIGNAL);

	if (put >= 0)
		return (int)put;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_WRITE;
	return errno == EPIPE || errno == ECONNRESET ? MBEDTLS_ERR_NET_CONN_RESET : MBEDTLS_ERR_NET_SEND_FAILED;
}

static int bio_recv(void *arg, unsigned char *p, size_t n)
{
	struct tls *t = arg;
	ssize_t got = recv(t->fd, p, n, 0);

	if (got >= 0)
		return (int)got;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_READ;
	return errno == ECONNRESET ? MBEDTLS_ERR_NET_CONN_RESET : MBEDTLS_ERR_NET_RECV_FAILED;
}

/* Key block of AEAD suites: client key, server key, client IV, server IV. */
static int keys_made(void *arg, const unsigned char *master, const unsigned char *block, size_t mac_len, size_t key_len,
		     size_t iv_len, const unsigned char client_random[32], const unsigned char server_random[32],
		     mbedtls_tls_prf_types prf)
{
	struct tls_keys *k = &((struct tls *)arg)->keys;

	(void)master;
	(void)client_random;
	(void)server_random;
	(void)prf;
	if (mac_len != 0 || key_len != sizeof(k->client_key) || iv_len != sizeof(k->client_salt))
		return 0;
	memcpy(k->client_key, block, 16);
	memcpy(k->server_key, block + 16, 16);
	memcpy(k->client_salt, block + 32, 4);
	memcpy(k->server_salt, block + 36, 4);
	k->gcm = true;
	return 0;
}

static void refuse(struct tls *t, uint32_t *flags)
{
	*flags |= MBEDTLS_X509_BADCERT_OTHER;	/* alert: access denied */
	if (t->why.code == ERR_NONE)
		err_set(&t->why, ERR_DENIED, "refused");
}

/* What mbedTLS found wrong with the certificate itself. */
static void explain_flags(struct tls *t, uint32_t flags)
{
	if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
		err_set(&t->why, ERR_DENIED, "the certificate has expired");
	else if (flags & MBEDTLS_X509_BADCERT_FUTURE)
		err_set(&t->why, ERR_DENIED, "the certificate is not valid yet: a clock is wrong");
	else
		err_set(&t->why, ERR_DENIED, "the certificate is not of our kind (P-256, SHA-256): flags 0x%x", flags);
	if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
		err_remedy(&t->why, "renew it where it comes from: hvapi cert renew; or set the clock right");
}

static int verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls *t = arg;

	if (depth > 0) {
		*flags = 0;		/* chains are refused below */
		return 0;
	}
	*flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_NOT_TRUSTED;
	if (*flags) {
		explain_flags(t, *flags);
		return 0;
	}
	if (crt->next) {
		err_set(&t->why, ERR_DENIED, "a chain of certificates, where one that is self-signed is due");
		refuse(t, flags);
		return 0;
	}
	if (fingerprint_of(&crt->pk, t->peer.fingerprint, &t->why) < 0) {
		refuse(t, flags);
		return 0;
	}
	t->peer.not_after_ms = cert_not_after_ms(crt);
	if (!t->judge(t->arg, mbedtls_ssl_get_alpn_protocol(&t->ssl), &t->peer, &t->why))
		refuse(t, flags);
	return 0;
}

static void configure(struct tls *t, const struct tls_setup *s)
{
	mbedtls_ssl_config *c = &t->conf;

	mbedtls_ssl_conf_min_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_max_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_ciphersuites(c, s->gcm_first ? suites_gcm_first : suites_chacha_first);
	mbedtls_ssl_conf_curves(c, curves);
	mbedtls_ssl_conf_sig_hashes(c, hashes);
	mbedtls_ssl_conf_cert_profile(c, &profile);
	mbedtls_ssl_conf_rng(c, mbedtls_ctr_drbg_random, &t->id->rng);
	mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_REQUIRED);
	/* REQUIRED wants a list of authorities; our own certificate opens no door, because `judge` decides. */
	mbedtls_ssl_conf_ca_chain(c, &t->id->cert, NULL);
	if (s->side == TLS_SERVER)
		mbedtls_ssl_conf_cert_req_ca_list(c, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
	else
		mbedtls_ssl_conf_session_tickets(c, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
	mbedtls_ssl_conf_renegotiation(c, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
	mbedtls_ssl_conf_legacy_renegotiation(c, MBEDTLS_SSL_LEGACY_BREAK_HANDSHAKE);
	mbedtls_ssl_conf_export_keys_ext_cb(c, keys_made, t);
}

/* The steps that can fail; returns mbedTLS's code. */
static int set_up(struct tls *t, const struct tls_setup *s)
{
	int rc = mbedtls_ssl_config_defaults(&t->conf,
					     s->side == TLS_SERVER ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
					     MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

	if (rc)
		return rc;
	configure(t, s);
	for (size_t i = 0; s->alpn[i] && i + 1 < ARRAY_LEN(t->alpn); i++)
		t->alpn[i] = s->alpn[i];
	if ((rc = mbedtls_ssl_conf_own_cert(&t->conf, &t->id->cert, &t->id->key)) != 0 ||
	    (rc = mbedtls_ssl_conf_alpn_protocols(&t->conf, t->alpn)) != 0 ||
	    (rc = mbedtls_ssl_setup(&t->ssl, &t->conf)) != 0)
		return rc;
	mbedtls_ssl_set_verify(&t->ssl, verify, t);
	mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
	return 0;
}

int tls_new(const struct tls_setup *s, struct tls **out, struct err *e)
{
	struct tls *t = mem_alloc(sizeof(*t));
	int rc;

	t->fd = -1;
	t->side = s->side;
	t->id = identity_get(s->id);
	t->judge = s->judge;
	t->arg = s->arg;
	mbedtls_ssl_init(&t->ssl);
	mbedtls_ssl_config_init(&t->conf);
	rc = set_up(t, s);
	if (rc) {
		tls_free(t);
		return err_tls(e, ERR_INTERNAL, rc, "set up TLS");
	}
	t->fd = s->fd;
	*out = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	mbedtls_ssl_free(&t->ssl);
	mbedtls_ssl_config_free(&t->conf);
	mbedtls_platform_zeroize(&t->keys, sizeof(t->keys));
	identity_put(t->id);
	fd_close(&t->fd);
	free(t);
}

int tls_fd(const struct tls *t)
{
	return t->fd;
}

int tls_take_fd(struct tls *t)
{
	return fd_take(&t->fd);
}

/* What the other side's alert means to us. */
static int explain_alert(const struct tls *t, struct err *e)
{
	switch (t->ssl.in_msg[1]) {
	case MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED:
	case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
	case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
	case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
		err_set(e, ERR_DENIED, "the other side does not accept our key for this");
		return err_remedy(e, "pair (hosts) or enrol (operators) with a new code of that host");
	case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
		err_set(e, ERR_DENIED, "the other side says that our certificate has expired");
		return err_remedy(e, "renew it: hvapi cert renew; or set the clock right");
	case MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL:
		return err_set(e, ERR_INCOMPATIBLE, "the other side does not offer %s",
			       t->alpn[0] ? t->alpn[0] : "this");
	default:
		return err_set(e, ERR_NET, "the other side broke off the handshake: alert %d", t->ssl.in_msg[1]);
	}
}

static int explain(struct tls *t, int rc, struct err *e)
{
	switch (rc) {
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
		*e = t->why;
		return -1;
	case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
		return err_set(e, ERR_DENIED, "no certificate was shown");
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return explain_alert(t, e);
	case MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN:
	case MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION:
		return err_set(e, ERR_INCOMPATIBLE, "no TLS 1.2 suite in common (-0x%04x)", (unsigned)-rc);
	case MBEDTLS_ERR_SSL_CONN_EOF:
	case MBEDTLS_ERR_NET_CONN_RESET:
	case MBEDTLS_ERR_NET_RECV_FAILED:
	case MBEDTLS_ERR_NET_SEND_FAILED:
		return err_set(e, ERR_NET, "the connection ended inside the handshake");
	default:
		return err_tls(e, ERR_CORRUPT, rc, "not a TLS handshake of our kind");
	}
}

enum tls_step tls_handshake(struct tls *t, struct err *e)
{
	int rc = mbedtls_ssl_handshake(&t->ssl);

	if (rc == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_WANT_READ;
	if (rc == MBEDTLS_ERR_SSL_WANT_WRITE)
		return TLS_WANT_WRITE;
	if (rc) {
		explain(t, rc, e);
		return TLS_FAILED;
	}
	return TLS_DONE;
}

const struct tls_peer *tls_peer(const struct tls *t)
{
	return &t->peer;
}

const char *tls_alpn(const struct tls *t)
{
	const char *alpn = mbedtls_ssl_get_alpn_protocol(&t->ssl);

	return alpn ? alpn : "";
}

const char *tls_suite(const struct tls *t)
{
	const char *s = mbedtls_ssl_get_ciphersuite(&t->ssl);

	return s ? s : "";
}

const struct tls_keys *tls_keys(const struct tls *t)
{
	return &t->keys;
}

/* bio_recv is asked for exactly one record at a time, so this holds unless data was read on purpose. */
bool tls_is_drained(const struct tls *t)
{
	return mbedtls_ssl_get_bytes_avail(&t->ssl) == 0 && !mbedtls_ssl_check_pending(&t->ssl);
}

static int stream_errno(struct tls *t, int rc)
{
	switch (rc) {
	case MBEDTLS_ERR_SSL_WANT_READ:
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		t->wants_write = rc == MBEDTLS_ERR_SSL_WANT_WRITE;
		return -EAGAIN;
	case MBEDTLS_ERR_SSL_CONN_EOF:
	case MBEDTLS_ERR_NET_CONN_RESET:
	case MBEDTLS_ERR_NET_RECV_FAILED:
	case MBEDTLS_ERR_NET_SEND_FAILED:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
	int rc = mbedtls_ssl_read(&t->ssl, p, n);

	if (rc > 0)
		return rc;
	if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		return 0;
	return stream_errno(t, rc ? rc : MBEDTLS_ERR_SSL_CONN_EOF);
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
	int rc = mbedtls_ssl_write(&t->ssl, p, n);

	return rc >= 0 ? rc : stream_errno(t, rc);
}

int tls_end(struct tls *t)
{
	int rc = mbedtls_ssl_close_notify(&t->ssl);

	return rc ? stream_errno(t, rc) : 0;
}

size_t tls_pending(const struct tls *t)
{
	return mbedtls_ssl_get_bytes_avail(&t->ssl);
}

bool tls_wants_write(const struct tls *t)
{
	return t->wants_write;
}
