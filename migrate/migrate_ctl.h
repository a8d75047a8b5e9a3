/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvmigrate: one process a move and side, RUN/migrate/SESSION.sock.
 * Transport: base/ctl.h.
 *
 *   status  {} -> {"session", "role", "vm", "state", "in_doubt": bool, "progress": PROGRESS}
 *   cancel  {} -> {}        ERR_STATE when it is too late: COMMIT may have been sent
 *   ask     {} -> {}        in doubt: ask the peer now, without waiting for the back-off
 *   claim   {"outcome": "taken" | "refused"} -> {}   in doubt: the operator saw the target himself
 *   events  {"event": "state", "state", "why", "in_doubt"}, {"event": "progress", ...PROGRESS},
 *           {"event": "done", ...REPORT}
 *
 * PROGRESS: {"state", "percent", "round", "left_pages", "left_bytes", "rate_bytes_s", "dirty_bytes_s",
 *            "predicted_downtime_ms", "throttle_percent", "pages", "raw_bytes", "wire_bytes"}; members that are not
 *            known yet are absent.
 * REPORT:   {"session", "role": "send" | "receive", "vm", "peer",
 *            "outcome": "moved" | "aborted" | "checked" | "answered" | "unknown",
 *            "error": {"code", "detail", "remedy"} | null, "problems": [PROBLEM],
 *            "total_ms", "downtime_ms" (source: guest stands still to TAKEN), "rounds", "pages", "raw_bytes",
 *            "wire_bytes", "throttle_percent" (lowest cap used, 0: none), "codec",
 *            "round_log": [{"round", "pages", "wire_bytes", "ms", "left_pages"}],
 *            "phases": {"suspend_ms", "rest_ms", "ready_ms", "commit_ms", "take_ms"}, "target": {step: ms}}
 *            Also written to DATA/migrate/SESSION.json (base/record.h) before the process ends; whoever has read it
 *            removes it.
 */
#ifndef MIGRATE_MIGRATE_CTL_H
#define MIGRATE_MIGRATE_CTL_H

#define MIGRATE_SOCKET_FMT "%s/migrate/%s.sock"		/* run folder, session */
#define MIGRATE_REPORT_FMT "%s/migrate/%s.json"		/* data folder, session */

#define MIGRATE_STATUS "status"
#define MIGRATE_CANCEL "cancel"
#define MIGRATE_ASK "ask"
#define MIGRATE_CLAIM "claim"

#endif
