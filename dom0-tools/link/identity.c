/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key and certificate: making, loading, renewing.  The key is written before
 * the certificate, so what a power cut leaves is a key without a certificate,
 * and that is made again.
 */
#include "link/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

enum { PATH_BYTES = 4096, SERIAL_BYTES = 16, DAY_S = 86400, TIME_BYTES = 16 };

int err_tls(struct err *e, enum err_code code, int rc, const char *what)
{
	return err_set(e, code, "%s: mbedTLS error -0x%04x", what, (unsigned)-rc);
}

bool name_is_valid(const char *name)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);

	return n > 0 && n < IDENTITY_NAME_BYTES && strspn(name, ok) == n && !strchr("._-", name[0]);
}

void fingerprint_text(const uint8_t fp[FINGERPRINT_BYTES], char out[FINGERPRINT_TEXT_BYTES])
{
	for (int i = 0; i < FINGERPRINT_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", fp[i]);
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;
	int v = at ? (int)(at - digits) : -1;

	return v > 15 ? v - 6 : v;
}

int fingerprint_parse(const char *text, uint8_t out[FINGERPRINT_BYTES], struct err *e)
{
	uint8_t fp[FINGERPRINT_BYTES];

	if (strlen(text) != FINGERPRINT_TEXT_BYTES - 1)
		return err_set(e, ERR_USAGE, "fingerprint '%.80s' is not %d hex digits", text,
			       FINGERPRINT_TEXT_BYTES - 1);
	for (int i = 0; i < FINGERPRINT_BYTES; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return err_set(e, ERR_USAGE, "fingerprint '%.80s' is not hex", text);
		fp[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(out, fp, sizeof(fp));
	return 0;
}

/* Encoded again from the parsed key, so that one key has one fingerprint however the peer wrote it. */
int fingerprint_of(const mbedtls_pk_context *key, uint8_t out[FINGERPRINT_BYTES], struct err *e)
{
	union { const mbedtls_pk_context *in; mbedtls_pk_context *out; } u = { .in = key };	/* only read */
	uint8_t der[512];
	int n = mbedtls_pk_write_pubkey_der(u.out, der, sizeof(der));

	if (n < 0)
		return err_tls(e, ERR_CORRUPT, n, "encode a public key");
	n = mbedtls_sha256_ret(der + sizeof(der) - n, (size_t)n, out, 0);
	return n ? err_tls(e, ERR_INTERNAL, n, "SHA-256") : 0;
}

uint64_t cert_not_after_ms(const mbedtls_x509_crt *crt)
{
	const mbedtls_x509_time *t = &crt->valid_to;
	struct tm tm = {
		.tm_year = t->year - 1900, .tm_mon = t->mon - 1, .tm_mday = t->day,
		.tm_hour = t->hour, .tm_min = t->min, .tm_sec = t->sec,
	};
	time_t s = timegm(&tm);

	return s < 0 ? 0 : (uint64_t)s * 1000;
}

static void paths(const char *dir, char key[PATH_BYTES], char cert[PATH_BYTES])
{
	snprintf(key, PATH_BYTES, "%s/key.der", dir);
	snprintf(cert, PATH_BYTES, "%s/cert.der", dir);
}

struct identity *identity_get(struct identity *id)
{
	id->refs++;
	return id;
}

void identity_put(struct identity *id)
{
	if (!id || --id->refs)
		return;
	mbedtls_pk_free(&id->key);
	mbedtls_x509_crt_free(&id->cert);
	mbedtls_ctr_drbg_free(&id->rng);
	mbedtls_entropy_free(&id->entropy);
	free(id);
}

/* With a seeded generator and nothing else. */
static int identity_new(struct identity **out, struct err *e)
{
	struct identity *id = mem_alloc(sizeof(*id));
	int rc;

	id->refs = 1;
	mbedtls_pk_init(&id->key);
	mbedtls_x509_crt_init(&id->cert);
	mbedtls_entropy_init(&id->entropy);
	mbedtls_ctr_drbg_init(&id->rng);
	rc = mbedtls_ctr_drbg_seed(&id->rng, mbedtls_entropy_func, &id->entropy, NULL, 0);
	if (rc) {
		identity_put(id);
		return err_tls(e, ERR_INTERNAL, rc, "seed the random generator");
	}
	*out = id;
	return 0;
}

static int load_key(struct identity *id, const char *path, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	int rc;

	if (fd_read_file(path, IDENTITY_DER_BYTES_MAX, &b, e) < 0)
		return -1;
	rc = mbedtls_pk_parse_key(&id->key, b.p, b.len, NULL, 0);
	mbedtls_platform_zeroize(b.p, b.len);
	if (rc) {
		err_tls(e, ERR_CORRUPT, rc, path);
		return err_remedy(e, "restore the file; without it this party must be paired again everywhere");
	}
	if (!mbedtls_pk_can_do(&id->key, MBEDTLS_PK_ECDSA))
		return err_set(e, ERR_CORRUPT, "'%s' is not an elliptic curve key", path);
	if (fingerprint_of(&id->key, id->fingerprint, e) < 0)
		return -1;
	fingerprint_text(id->fingerprint, id->fingerprint_text);
	return 0;
}

/* The name of a certificate is its CN. */
static void take_name(struct identity *id)
{
	for (const mbedtls_x509_name *n = &id->cert.subject; n; n = n->next) {
		if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) != 0 || n->val.len >= sizeof(id->name))
			continue;
		memcpy(id->name, n->val.p, n->val.len);
		id->name[n->val.len] = '\0';
	}
}

static int load_cert(struct identity *id, const char *path, struct err *e)
{
	AUTO_BUF struct buf b = { 0 };
	uint8_t fp[FINGERPRINT_BYTES];
	int rc;

	if (fd_read_file(path, IDENTITY_DER_BYTES_MAX, &b, e) < 0)
		return -1;
	rc = mbedtls_x509_crt_parse_der(&id->cert, b.p, b.len);
	if (rc)
		return err_tls(e, ERR_CORRUPT, rc, path);
	if (fingerprint_of(&id->cert.pk, fp, e) < 0)
		return -1;
	if (memcmp(fp, id->fingerprint, sizeof(fp)) != 0) {
		err_set(e, ERR_CORRUPT, "'%s' is not a certificate of the key beside it", path);
		return err_remedy(e, "remove the certificate: a new one is made from the key");
	}
	id->not_after_ms = cert_not_after_ms(&id->cert);
	take_name(id);
	return 0;
}

int identity_load(const char *dir, struct identity **out, struct err *e)
{
	char key[PATH_BYTES], cert[PATH_BYTES];
	struct identity *id;

	paths(dir, key, cert);
	if (identity_new(&id, e) < 0)
		return -1;
	if (load_key(id, key, e) < 0 || load_cert(id, cert, e) < 0) {
		identity_put(id);
		return -1;
	}
	*out = id;
	return 0;
}

static int write_key(const char *path, struct err *e)
{
	struct identity *id;
	uint8_t der[512];
	int n = -1, rc;

	if (identity_new(&id, e) < 0)
		return -1;
	rc = mbedtls_pk_setup(&id->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
	if (!rc)
		rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(id->key), mbedtls_ctr_drbg_random,
					 &id->rng);
	if (!rc)
		rc = n = mbedtls_pk_write_key_der(&id->key, der, sizeof(der));
	identity_put(id);
	if (rc < 0)
		return err_tls(e, ERR_INTERNAL, rc, "make a P-256 key");
	rc = fd_write_file(path, der + sizeof(der) - n, (size_t)n, 0600, e);
	mbedtls_platform_zeroize(der, sizeof(der));
	return rc;
}

/* subjectAltName with one DNS name; names are shorter than 128 bytes, so each length is one byte. */
static int put_san(mbedtls_x509write_cert *w, const char *name)
{
	uint8_t der[4 + IDENTITY_NAME_BYTES];
	size_t n = strlen(name);

	der[0] = 0x30;			/* SEQUENCE */
	der[1] = (uint8_t)(n + 2);
	der[2] = 0x82;			/* [2] dNSName */
	der[3] = (uint8_t)n;
	memcpy(der + 4, name, n);
	return mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_SUBJECT_ALT_NAME,
						   MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, der, n + 4);
}

static int put_serial(mbedtls_x509write_cert *w, struct identity *id)
{
	uint8_t raw[SERIAL_BYTES];
	mbedtls_mpi serial;
	int rc = mbedtls_ctr_drbg_random(&id->rng, raw, sizeof(raw));

	raw[0] = (uint8_t)((raw[0] & 0x7f) | 1);	/* positive, full length */
	mbedtls_mpi_init(&serial);
	if (!rc)
		rc = mbedtls_mpi_read_binary(&serial, raw, sizeof(raw));
	if (!rc)
		rc = mbedtls_x509write_crt_set_serial(w, &serial);
	mbedtls_mpi_free(&serial);
	return rc;
}

static void time_of(int64_t s, char out[TIME_BYTES])
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	if (!strftime(out, TIME_BYTES, "%Y%m%d%H%M%S", &tm))
		out[0] = '\0';
}

/* Fills w; returns mbedTLS's code. */
static int fill_cert(mbedtls_x509write_cert *w, struct identity *id, const char *name, int64_t from_s, int64_t until_s)
{
	char subject[IDENTITY_NAME_BYTES + 4], from[TIME_BYTES], until[TIME_BYTES];
	int rc;

	snprintf(subject, sizeof(subject), "CN=%s", name);
	time_of(from_s, from);
	time_of(until_s, until);
	mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(w, &id->key);
	mbedtls_x509write_crt_set_issuer_key(w, &id->key);
	if ((rc = mbedtls_x509write_crt_set_subject_name(w, subject)) != 0 ||
	    (rc = mbedtls_x509write_crt_set_issuer_name(w, subject)) != 0 ||
	    (rc = mbedtls_x509write_crt_set_validity(w, from, until)) != 0 ||
	    (rc = mbedtls_x509write_crt_set_basic_constraints(w, 0, -1)) != 0 ||
	    (rc = mbedtls_x509write_crt_set_key_usage(w, MBEDTLS_X509_KU_DIGITAL_SIGNATURE)) != 0 ||
	    (rc = put_san(w, name)) != 0)
		return rc;
	return put_serial(w, id);
}

int identity_write_cert(const char *dir, const char *name, int64_t from_s, int64_t until_s, struct err *e)
{
	char key[PATH_BYTES], cert[PATH_BYTES];
	uint8_t der[IDENTITY_DER_BYTES_MAX];
	mbedtls_x509write_cert w;
	struct identity *id;
	int n;

	if (!name_is_valid(name))
		return err_set(e, ERR_USAGE, "'%.80s' is no name: 1 to %d letters, digits, '.', '_', '-'", name,
			       IDENTITY_NAME_BYTES - 1);
	paths(dir, key, cert);
	if (identity_new(&id, e) < 0)
		return -1;
	if (load_key(id, key, e) < 0) {
		identity_put(id);
		return -1;
	}
	mbedtls_x509write_crt_init(&w);
	n = fill_cert(&w, id, name, from_s, until_s);
	if (!n)
		n = mbedtls_x509write_crt_der(&w, der, sizeof(der), mbedtls_ctr_drbg_random, &id->rng);
	mbedtls_x509write_crt_free(&w);
	identity_put(id);
	if (n < 0)
		return err_tls(e, ERR_INTERNAL, n, "make a certificate");
	return fd_write_file(cert, der + sizeof(der) - n, (size_t)n, 0600, e);
}

int identity_renew(const char *dir, const char *name, struct identity **out, struct err *e)
{
	int64_t now = (int64_t)(clock_real_ms() / 1000);

	if (identity_write_cert(dir, name, now - IDENTITY_SKEW_S, now + (int64_t)IDENTITY_DAYS * DAY_S, e) < 0)
		return -1;
	return identity_load(dir, out, e);
}

int identity_open(const char *dir, const char *name, struct identity **out, struct err *e)
{
	char key[PATH_BYTES], cert[PATH_BYTES];
	struct stat st;

	paths(dir, key, cert);
	if (fd_make_dirs(dir, 0700, e) < 0)
		return -1;
	if (stat(key, &st) < 0) {
		if (errno != ENOENT)
			return err_sys(e, errno, "look at '%s'", key);
		if (write_key(key, e) < 0)
			return -1;
	}
	if (stat(cert, &st) == 0)
		return identity_load(dir, out, e);
	if (errno != ENOENT)
		return err_sys(e, errno, "look at '%s'", cert);
	return identity_renew(dir, name, out, e);
}
