/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvapid: sockets and words.  Transport: base/ctl.h.
 *
 *   accept   {alpn, peer: PEER, from, transport} + fd -> {}          from hvtls
 *            alpn "http/1.1": the descriptor becomes an API connection with the peer's role (a host, role "peer",
 *            may use none of it).  alpn "hv-migrate/1": peers of role "peer" only; hvinit is asked to start
 *            `migrate/ID` with args ["receive", "--session", ID, "--spec", RECEIVE_SPEC] and the descriptor as fd 3.
 *            An error means that the descriptor was closed.
 *   offer    {session, peer, check_only, vm: VM, generation, unit} -> {problems: [PROBLEM], domd?: path}
 *            from `hvmigrate receive`; unit is the ID it was started with.  Unless check_only or a problem of
 *            severity "error": the name is reserved, hvdomd of that VM runs and `domd` is its socket.  The
 *            reservation ends by itself when the unit ends without having taken the VM.
 *
 * What hvapid passes to hvmigrate by --spec (JSON objects, every member always there):
 *
 *   send:    {"vm", "uuid", "domd": path, "peer": name, "address": "host:port", "check_only": bool,
 *             "max_downtime_ms", "max_rounds", "on_stall": "throttle" | "stop" | "abort", "streams": n,
 *             "compress": "auto" | "none" | "zlib" | "zstd", "rate_bytes_s": n (0: no limit),
 *             "resume": bool}   resume: no descriptor; the session is in doubt: dial, ask, and end it
 *   receive: {"peer": name, "from": "address"}
 */
#ifndef HVAPI_HVAPID_CTL_H
#define HVAPI_HVAPID_CTL_H

#define HVAPID_SOCKET "hvapid.sock"		/* in the run folder */
#define HVAPID_API_SOCKET "api.sock"		/* HTTP for root on the host, in the run folder */
#define HVAPID_API_PATH "/run/hvapi/api.sock"	/* the same on the appliance */

#define HVAPID_ACCEPT "accept"
#define HVAPID_OFFER "offer"

#endif
