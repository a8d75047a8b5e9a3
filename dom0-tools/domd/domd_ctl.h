/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvdomd, one process a VM, RUN/domd/VM.sock; and the record of who
 * owns a VM.  Transport: base/ctl.h.  VM: docs/interfaces.md.
 *
 *   status      {} -> STATUS
 *   create      {"config": VM, "generation"} -> STATUS       refused unless the record says here (or there is none)
 *   shutdown, reboot, destroy, pause, unpause  {} -> STATUS   shutdown and reboot only ask the guest
 *   save        {"path"} -> STATUS                            the domain is gone afterwards
 *   restore     {"path", "config": VM, "generation"} -> STATUS
 *   console     {} -> {} + descriptor of the console's pty
 *   give-begin  {"session", "peer"} + fd -> {"config", "domid", "uuid", "generation"}
 *   throttle    {"session", "cap"} -> {}                      percent of one vCPU, 0 = none
 *   give-commit {"session"} -> {}                             durable
 *   give-done   {"session"} -> {}                             durable; destroys the domain
 *   give-abort  {"session", "not_taken"?: bool} -> {}
 *   receive     {"session", "peer", "config": VM, "generation"} + 2 fds -> {"domid", "times"}
 *               the stream, and one whose hang-up before take means that the mover died: refused by itself
 *   take        {"session"} -> {"times"}                      durable, then unpauses
 *   refuse      {"session"} -> {}                             durable; ERR_STATE if (and only if) it was taken
 *   events      {"event": "state", ...STATUS}, {"event": "receive", "step", "ms"}
 *
 * STATUS: {"vm", "uuid", "state", "domid", "generation", "since_ms", "reason"}; domid is -1 without a domain.
 * Verbs of a session are idempotent when said again with the same session, and refused, by name, with another.
 *
 * The record, DATA/vm/VM/owner.json (base/record.h), written only by hvdomd, always before it acts:
 *
 *   {"vm", "uuid", "generation", "owner", "session", "peer"}
 *
 *              give-begin          give-commit           give-done
 *     here ───────────────► giving ───────────► in-doubt ─────────► away
 *      ▲ ◄──── give-abort ────┘   give-abort {not_taken} │
 *      │ ◄───────────────────────────────────────────────┘
 *      │            take (generation + 1)        refuse
 *      └──────────────────────────── receiving ─────────► refused
 *
 *   Only here and giving may run the guest.  receive is possible from none, away and refused; create from none and
 *   here.  For a VM with another UUID (a new one under an old name) receive also from here without a domain, create
 *   also from away and refused.  The generation never falls for one UUID; a VM that was away comes with a higher one.
 *   After a reboot giving counts as here.
 */
#ifndef DOMD_DOMD_CTL_H
#define DOMD_DOMD_CTL_H

#define DOMD_SOCKET_FMT "%s/domd/%s.sock"		/* run folder, VM */
#define DOMD_DIR_FMT "%s/vm/%s"				/* data folder, VM */
#define DOMD_OWNER_FMT "%s/vm/%s/owner.json"
#define DOMD_CONFIG_FMT "%s/vm/%s/config.json"
#define DOMD_NOTE_FMT "%s/vm/%s/note.json"		/* hvdomd's own (domd/note.h) */
#define DOMD_SAVE_FMT "%s/save/"			/* data folder; the only folder of saved guests */

#define DOMD_STATUS "status"
#define DOMD_CREATE "create"
#define DOMD_SHUTDOWN "shutdown"
#define DOMD_REBOOT "reboot"
#define DOMD_DESTROY "destroy"
#define DOMD_PAUSE "pause"
#define DOMD_UNPAUSE "unpause"
#define DOMD_SAVE "save"
#define DOMD_RESTORE "restore"
#define DOMD_CONSOLE "console"
#define DOMD_GIVE_BEGIN "give-begin"
#define DOMD_THROTTLE "throttle"
#define DOMD_GIVE_COMMIT "give-commit"
#define DOMD_GIVE_DONE "give-done"
#define DOMD_GIVE_ABORT "give-abort"
#define DOMD_RECEIVE "receive"
#define DOMD_TAKE "take"
#define DOMD_REFUSE "refuse"

#endif
