/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of hvblkd, one process a VM, RUN/blkd/VM.sock.  Transport:
 * base/ctl.h.  hvblkd opens no image: whoever attaches one passes it.
 *
 *   attach      {"disk", "parts": PARTS, "key"?, "read_only"?, "direct"?, "on_io_error"?, "limits"?: LIMITS}
 *               + one descriptor a part -> DISK.  Reads and repairs (log replay) before it answers.
 *   detach      {"disk"} -> {}        its exports end, what is in flight too, then a flush; closed, even if that fails
 *   export-nbd  {"disk", "read_only"?, "dirty"?} + listening unix socket -> {}   dirty: consumer for hvapi:dirty
 *   feed        {} -> {"feed", "disks": [disk ...]}   the change feed over all disks that are attached now, served at
 *               RUN/feed/VM.sock; said once all are attached and before the guest can write.  Said again it is the
 *               same, or with other disks a new one (ERR_BUSY while a consumer is attached): all of them begin anew.
 *   barrier     {} -> {"position", "stall_us"}        one point at which no request is at work on any disk
 *   flush       {"disk"?} -> {}       all that was complete before is on stable storage; of all disks without one
 *   resize      {"disk", "bytes"} -> {"bytes"}        grows; durable
 *   set-limits  {"disk", "limits": LIMITS} -> {}
 *   resume      {"disk", "on_io_error"?} -> {}        tries what failed once more; {} too if it was not paused
 *   stats       {} -> {"vm", "disks": [DISK + counters], "feed"?, "mirror"?: MIRROR}
 *   mirror      {"disk", "parts": PARTS, "direct"?, "bytes_s"?} + one descriptor a part, and last NOTE -> {}
 *               copies the disk to another image of the same size while the guest writes, then goes over to it.  One
 *               at a time.  The answer comes when it has begun, its end as an event.
 *   mirror-cancel {"disk"} -> {}      over, the source goes on; ERR_STATE when it has switched or is about to
 *
 *   connect     {"disk", "domid"} -> {}   offers the disk to the domain, under the disk's name (xvda to xvdp), as a
 *               vbd with our back-end; answers when the front-end may connect.  One domain a disk.
 *   quiesce     {} -> {}              nothing more is taken from any guest's ring; what was taken is done and on stable
 *               storage.  For a guest that stands still.
 *   go-on       {} -> {}              undoes quiesce: the rings are served on; {} too without one
 *
 *   events      {"event": "io-error", "disk", "op", "off", "len", "error", "action", "suppressed"}   at most one a
 *               second and disk; {"event": "paused", "disk"};
 *               {"event": "broke", "disk", "domid"}: a hostile guest; {"event": "resized", "disk", "bytes"};
 *               {"event": "mirror", ...MIRROR}   each second and on each change of state
 *
 * PARTS: [{"format": "raw" | "vhd" | "vhdx", "path"?}], leaf first; the path is for messages only.
 * LIMITS: {"iops"?, "bytes_s"?, "burst_ms"?}, 0: none.
 * key: names the image for the feed (at most 31 characters; the disk's name without one): an image that was written by
 *   anyone else since it was last attached comes back with another key.
 * direct: past the page cache, where format and file system can; default true.
 * on_io_error: what EIO and ENOSPC of the image do: "report" (default) or "pause": the disk stands still until resume.
 * DISK: {"disk", "format", "kind", "bytes", "sector_bytes", "read_only", "state": "running" | "paused", ...}
 *
 * MIRROR: {"disk", "state", "round", "total_bytes", "copied_bytes", "left_bytes", "error"?: {code, detail, remedy}}
 *
 *     copying ──► following ──► switching ──► switched
 *        │  ▲         │   ▲         │
 *        │  └─────────┘   └─────────┘ not in MIRROR_SWITCH_MS_MAX
 *        └─► cancelled, failed: the source is and was the disk
 *
 * NOTE: a small file of the caller, open for writing, empty.  Before the first write of the guest goes to the target
 * alone hvblkd writes MIRROR_NOTE to it, durably.  After a crash of anything at any time: if the file begins with that
 * the target is the disk, else the source is.  So: make it durable with both names in a place where it will be looked
 * for, say mirror, on "switched" record the target as the disk, then remove the source, then the note.
 */
#ifndef BLKD_HVBLKD_CTL_H
#define BLKD_HVBLKD_CTL_H

#define BLKD_UNIT_FMT "blkd/%s"		/* hvinit's unit of a VM */
#define BLKD_SOCKET_FMT "%s/blkd/%s.sock"	/* run folder, VM */
#define BLKD_FEED_FMT "%s/feed/%s.sock"		/* feed/feed_proto.h */
#define BLKD_LOG_FMT "%s/vm/%s/feed.log"	/* data folder, VM: the feed's activity log */

#define BLKD_ATTACH "attach"
#define BLKD_DETACH "detach"
#define BLKD_EXPORT_NBD "export-nbd"
#define BLKD_FEED "feed"
#define BLKD_BARRIER "barrier"
#define BLKD_FLUSH "flush"
#define BLKD_RESIZE "resize"
#define BLKD_SET_LIMITS "set-limits"
#define BLKD_CONNECT "connect"
#define BLKD_QUIESCE "quiesce"
#define BLKD_GO_ON "go-on"
#define BLKD_RESUME "resume"
#define BLKD_STATS "stats"
#define BLKD_MIRROR "mirror"
#define BLKD_MIRROR_CANCEL "mirror-cancel"

#define BLKD_EVENT_IO_ERROR "io-error"
#define BLKD_EVENT_BROKE "broke"
#define BLKD_EVENT_PAUSED "paused"
#define BLKD_EVENT_RESIZED "resized"
#define BLKD_EVENT_MIRROR "mirror"

#define MIRROR_NOTE "switched\n"
enum {
	BLKD_DISKS_MAX = 32,
	BLKD_NAME_BYTES = 32,
	BLKD_PARTS_MAX = 7,
	BLKD_CUT_MS_MAX = 1000,		/* a barrier that takes longer is given up (ERR_TIMEOUT) */
	MIRROR_SWITCH_MS_MAX = 2000,	/* of the guest's writes standing still */
};

#endif
