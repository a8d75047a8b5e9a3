/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvinit: socket and words.  Transport: base/ctl.h.
 *
 *   spawn     {unit, args?: [text], restart?: "always" | "on-failure" | "never"} + descriptors (become 3, 4, ...)
 *             -> {pid}.  Units: hvtls, domd/VM, migrate/SESSION.  The program gets `--run DIR --data DIR`
 *             and then args.  A unit with descriptors is never restarted.  ERR_EXISTS if it runs.
 *   stop      {unit, timeout_ms?}  SIGTERM, after the time SIGKILL -> {status} once it is gone;
 *             status: exit status, or 128 + signal
 *   kill      {unit}  SIGKILL, as a crash would end it -> {}; its restart policy decides what follows
 *   list      -> {units: [{unit, pid, state, restarts, last_exit}]}; pid 0: no process; last_exit -1: never ended;
 *             state: running, waiting (for its restart), stopping, exited, failed
 *   info      -> {hostname, cmdline, boot_id, uptime_ms,
 *                 network: [{role: "uplink" | "management", interface, bridge?, mac, address, gateway,
 *                            source: "static" | "dhcp" | "none"}],
 *                 data: {device, label, source: "found" | "made" | "tmpfs"},
 *                 phases: [{name, start_ms, ms}]}       start_ms: since the kernel started
 *   shutdown  {mode: "poweroff" | "reboot", guests?: "shutdown" | "destroy"} -> {}; the rest happens after the answer.
 *             guests "shutdown" (default): each VM's hvdomd is asked to shut its guest down, then destroyed.
 *
 *   event     {"event": "unit", unit, state: "started" | "exited" | "failed", status}
 */
#ifndef INIT_HVINIT_CTL_H
#define INIT_HVINIT_CTL_H

#define HVINIT_SOCKET "hvinit.sock"	/* in the run folder, /run/hvapi */

#define HVINIT_SPAWN "spawn"
#define HVINIT_STOP "stop"
#define HVINIT_KILL "kill"
#define HVINIT_LIST "list"
#define HVINIT_INFO "info"
#define HVINIT_SHUTDOWN "shutdown"
#define HVINIT_EVENT_UNIT "unit"

#endif
