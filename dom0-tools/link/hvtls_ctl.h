/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvtls: socket and words.  Transport: base/ctl.h.
 * PEER is {name, fingerprint, role: "peer" | "admin" | "operator" | "viewer", address, not_after_ms}; fingerprint is
 * SHA-256 of the public key (SubjectPublicKeyInfo, DER) in hex, so it stays when a certificate is renewed.
 *
 *   identity     -> {name, fingerprint, not_after_ms, ktls: bool, listen: [text]}
 *   dial         {peer, alpn, address?} -> {peer: PEER, transport: "ktls" | "pump"} + fd (blocking).
 *                address: default is the peer's.  ERR_REFUSED: another key answered; ERR_DENIED: it does not know us;
 *                ERR_TIMEOUT, ERR_NET.
 *   pair-code    {role, name?, ttl_s?} -> {code, expires_ms, role}.  name: what its user is called here
 *   pair         {address, code, name?} -> {peer: PEER}.  name: what the other host is called here
 *   pins         -> {pins: [PEER]}
 *   unpin        {name} -> {}.  Connections that hvtls pumps for it are cut
 *   set-address  {name, address} -> {peer: PEER}
 *   renew        -> as identity: a new certificate for the same key; nobody needs to pair again
 *
 *   event  {"event": "refused", from, reason, code, suppressed}   suppressed: how many were not told since the last
 *   event  {"event": "paired", peer: PEER, by: "us" | "them"}
 *   event  {"event": "expiring", name, not_after_ms, self: bool}  a certificate ends within EXPIRING_DAYS; daily
 *
 * Whom hvtls calls: hvapid's `accept` (hvapi/hvapid_ctl.h) for each connection that comes in.
 *
 * The descriptor of dial and accept carries plain bytes.  "pump": one end of a unix socket pair; end of file is the
 * peer's close_notify, and after a cut writing fails too (link/pump.h).  "ktls": the TCP socket itself; there
 * shutdown(SHUT_WR) ends the stream without close_notify, and a close_notify of the peer makes read() fail with EIO.
 * link/stream.h hides the difference.
 */
#ifndef LINK_HVTLS_CTL_H
#define LINK_HVTLS_CTL_H

#define HVTLS_SOCKET "hvtls.sock"	/* in the run folder */

#define HVTLS_IDENTITY "identity"
#define HVTLS_DIAL "dial"
#define HVTLS_PAIR_CODE "pair-code"
#define HVTLS_PAIR "pair"
#define HVTLS_PINS "pins"
#define HVTLS_UNPIN "unpin"
#define HVTLS_SET_ADDRESS "set-address"
#define HVTLS_RENEW "renew"

#define HVTLS_EVENT_REFUSED "refused"
#define HVTLS_EVENT_PAIRED "paired"
#define HVTLS_EVENT_EXPIRING "expiring"

#define HVTLS_TRANSPORT_KTLS "ktls"
#define HVTLS_TRANSPORT_PUMP "pump"

#endif
