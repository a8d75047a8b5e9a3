# SPDX-License-Identifier: Apache-2.0
# The only makefile.  `make help` lists the targets a person calls.
#
# Sources stand one per line per program, so that a look here tells what a
# program is made of.  V=1 shows commands, SAN=1 builds with ASan and UBSan
# (in its own folder), WERROR= turns warnings back into warnings.

comma  := ,
B      := build$(if $(SAN),/san)
CC     ?= gcc
WERROR ?= -Werror
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wconversion \
	  -Wformat=2 -Wvla -Wundef -Wimplicit-fallthrough $(WERROR)
CFLAGS := -std=gnu11 -D_GNU_SOURCE -Idom0-tools -I. -isystem /usr/include/libnl3 -g -O2 -fstack-protector-strong -fPIE $(WARN) \
	  $(if $(SAN),-fsanitize=address$(comma)undefined -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2)
LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=address$(comma)undefined)
Q      := $(if $(V),,@)
PYTEST := /usr/bin/python3 -m pytest -q -p no:cacheprovider

PACKAGES := gcc make libc6-dev pkg-config git ca-certificates \
	libxen-dev libmbedtls-dev libmicrohttpd-dev libjansson-dev libsqlite3-dev libxxhash-dev libkmod-dev libnl-3-dev \
	libnl-route-3-dev libseccomp-dev zlib1g-dev libzstd-dev libcmocka-dev python3-pytest \
	qemu-system-x86 qemu-utils ovmf xorriso mtools grub-pc-bin grub-efi-amd64-bin grub-common cpio kmod zstd xz-utils \
	binutils clang libclang-rt-14-dev debootstrap e2fsprogs liburing-dev

# ---- libraries of our own: layers, lowest first -------------------------------------------------
BASE_SRC := \
	dom0-tools/base/buf.c \
	dom0-tools/base/clock.c \
	dom0-tools/base/ctl_client.c \
	dom0-tools/base/ctl_frame.c \
	dom0-tools/base/ctl_server.c \
	dom0-tools/base/err.c \
	dom0-tools/base/fd.c \
	dom0-tools/base/js.c \
	dom0-tools/base/log.c \
	dom0-tools/base/loop.c \
	dom0-tools/base/opt.c \
	dom0-tools/base/rd.c \
	dom0-tools/base/record.c \
	dom0-tools/base/store.c

LINK_SRC := \
	dom0-tools/link/addr.c \
	dom0-tools/link/client.c \
	dom0-tools/link/identity.c \
	dom0-tools/link/pair.c \
	dom0-tools/link/pair_code.c \
	dom0-tools/link/pair_wire.c \
	dom0-tools/link/role.c \
	dom0-tools/link/stream.c \
	dom0-tools/link/tls.c

DISK_SRC := \
	dom0-tools/disk/blob.c \
	dom0-tools/disk/crc32c.c \
	dom0-tools/disk/disk.c \
	dom0-tools/disk/formats.c \
	dom0-tools/disk/raw.c \
	dom0-tools/disk/vhd.c \
	dom0-tools/disk/vhd_alloc.c \
	dom0-tools/disk/vhd_check.c \
	dom0-tools/disk/vhd_create.c \
	dom0-tools/disk/vhd_find.c \
	dom0-tools/disk/vhd_fmt.c \
	dom0-tools/disk/vhd_load.c \
	dom0-tools/disk/vhd_map.c \
	dom0-tools/disk/vhd_resize.c \
	dom0-tools/disk/vhdx.c \
	dom0-tools/disk/vhdx_alloc.c \
	dom0-tools/disk/vhdx_bat.c \
	dom0-tools/disk/vhdx_check.c \
	dom0-tools/disk/vhdx_create.c \
	dom0-tools/disk/vhdx_fmt.c \
	dom0-tools/disk/vhdx_head.c \
	dom0-tools/disk/vhdx_log.c \
	dom0-tools/disk/vhdx_map.c \
	dom0-tools/disk/vhdx_meta.c \
	dom0-tools/disk/vhdx_resize.c \
	dom0-tools/disk/vhdx_txn.c

XEN_SRC := \
	dom0-tools/xen/blkif_fmt.c \
	dom0-tools/xen/evtchn.c \
	dom0-tools/xen/gnt.c \
	dom0-tools/xen/xdev.c \
	dom0-tools/xen/xhost.c \
	dom0-tools/xen/xl_build.c \
	dom0-tools/xen/xl_cfg.c \
	dom0-tools/xen/xl_cfg_scan.c \
	dom0-tools/xen/xl_dom.c \
	dom0-tools/xen/xs.c \
	dom0-tools/xen/xsave.c

FEED_SRC := \
	dom0-tools/feed/act_log.c \
	dom0-tools/feed/act_log_file.c \
	dom0-tools/feed/act_log_fmt.c \
	dom0-tools/feed/act_log_io.c \
	dom0-tools/feed/consumer.c \
	dom0-tools/feed/dirty_map.c \
	dom0-tools/feed/feed.c \
	dom0-tools/feed/feed_client.c \
	dom0-tools/feed/feed_proto.c \
	dom0-tools/feed/feed_server.c \
	dom0-tools/feed/ring.c \
	dom0-tools/feed/ring_read.c

NET_SRC := \
	dom0-tools/net/announce.c \
	dom0-tools/net/frames.c \
	dom0-tools/net/hotplug.c \
	dom0-tools/net/netif.c \
	dom0-tools/net/vif.c

# ---- programs (main.c last) ----------------------------------------------------------------------
HVINIT_SRC := \
	dom0-tools/init/backoff.c \
	dom0-tools/init/boot.c \
	dom0-tools/init/boot_steps.c \
	dom0-tools/init/dhcp.c \
	dom0-tools/init/dhcp_proto.c \
	dom0-tools/init/disks.c \
	dom0-tools/init/host_cfg.c \
	dom0-tools/init/label.c \
	dom0-tools/init/manager.c \
	dom0-tools/init/modules.c \
	dom0-tools/init/mounts.c \
	dom0-tools/init/netconf.c \
	dom0-tools/init/pid1.c \
	dom0-tools/init/power.c \
	dom0-tools/init/spawn.c \
	dom0-tools/init/stopping.c \
	dom0-tools/init/uevent.c \
	dom0-tools/init/unit_log.c \
	dom0-tools/init/unit_table.c \
	dom0-tools/init/units.c \
	dom0-tools/init/units_state.c \
	dom0-tools/init/verbs.c \
	dom0-tools/init/volume.c \
	dom0-tools/init/wait_socket.c \
	dom0-tools/init/main.c

HVHOTPLUG_SRC := \
	dom0-tools/net/hotplug_main.c

HVTLS_SRC := \
	dom0-tools/link/apid.c \
	dom0-tools/link/attempt.c \
	dom0-tools/link/codes.c \
	dom0-tools/link/events.c \
	dom0-tools/link/handoff.c \
	dom0-tools/link/hvtls.c \
	dom0-tools/link/incoming.c \
	dom0-tools/link/ktls.c \
	dom0-tools/link/outgoing.c \
	dom0-tools/link/pins.c \
	dom0-tools/link/pump.c \
	dom0-tools/link/sandbox.c \
	dom0-tools/link/selftest.c \
	dom0-tools/link/services.c \
	dom0-tools/link/verbs.c \
	dom0-tools/link/main.c

HVDOMD_SRC := \
	dom0-tools/domd/blk.c \
	dom0-tools/domd/caps.c \
	dom0-tools/domd/domd.c \
	dom0-tools/domd/give.c \
	dom0-tools/domd/life.c \
	dom0-tools/domd/note.c \
	dom0-tools/domd/owner.c \
	dom0-tools/domd/receive.c \
	dom0-tools/domd/saved.c \
	dom0-tools/domd/tend.c \
	dom0-tools/domd/verbs.c \
	dom0-tools/domd/main.c

HVMIGRATE_SRC := \
	migrate/facts.c \
	migrate/mig_link.c \
	migrate/mig_policy.c \
	migrate/mig_wire.c \
	migrate/owner.c \
	migrate/proc.c \
	migrate/recv.c \
	migrate/report.c \
	migrate/sandbox.c \
	migrate/send.c \
	migrate/session.c \
	migrate/session_recv.c \
	migrate/session_send.c \
	migrate/guest/loader.c \
	migrate/guest/saver.c \
	migrate/guest/xen_save.c \
	migrate/stream/decoder.c \
	migrate/stream/delta.c \
	migrate/stream/encoder.c \
	migrate/stream/page_cache.c \
	migrate/stream/press.c \
	migrate/stream/raw_sum.c \
	migrate/stream/records.c \
	migrate/main.c

HVAPID_SRC := \
	hvapi/api/boot_files.c \
	hvapi/api/certs.c \
	hvapi/api/events.c \
	hvapi/api/host.c \
	hvapi/api/jobs.c \
	hvapi/api/metrics.c \
	hvapi/api/migrate.c \
	hvapi/api/openapi.c \
	hvapi/api/peers.c \
	hvapi/api/routes.c \
	hvapi/api/schemas.c \
	hvapi/api/vm_verbs.c \
	hvapi/api/vms.c \
	hvapi/ctl_link.c \
	hvapi/event/events.c \
	hvapi/http/problem.c \
	hvapi/http/request.c \
	hvapi/http/route.c \
	hvapi/http/server.c \
	hvapi/http/sse.c \
	hvapi/http/upgrade.c \
	hvapi/hvapid.c \
	hvapi/job/follow.c \
	hvapi/job/jobs.c \
	hvapi/job/keeper.c \
	hvapi/job/offer.c \
	hvapi/job/receive.c \
	hvapi/job/save.c \
	hvapi/job/send.c \
	hvapi/job/start.c \
	hvapi/sandbox.c \
	hvapi/schema.c \
	hvapi/vm/domds.c \
	hvapi/vm/registry.c \
	hvapi/vm/vm_check.c \
	hvapi/main.c

HVAPI_SRC := \
	hvapi/cli/api.c \
	hvapi/cli/cmd.c \
	hvapi/cli/cmd_host.c \
	hvapi/cli/cmd_migrate.c \
	hvapi/cli/cmd_misc.c \
	hvapi/cli/cmd_vm.c \
	hvapi/cli/completion.c \
	hvapi/cli/console.c \
	hvapi/cli/help.c \
	hvapi/cli/http.c \
	hvapi/cli/job.c \
	hvapi/cli/man.c \
	hvapi/cli/out.c \
	hvapi/cli/profile.c \
	hvapi/cli/sse.c \
	hvapi/cli/table.c \
	hvapi/cli/main.c

HVBLKD_SRC := \
	dom0-tools/blkd/blkif.c \
	dom0-tools/blkd/blkif_ring.c \
	dom0-tools/blkd/blkif_xen.c \
	dom0-tools/blkd/blkif_xs.c \
	dom0-tools/blkd/bufpool.c \
	dom0-tools/blkd/ctl.c \
	dom0-tools/blkd/front_nbd.c \
	dom0-tools/blkd/front_xen.c \
	dom0-tools/blkd/image.c \
	dom0-tools/blkd/meta.c \
	dom0-tools/blkd/mirror.c \
	dom0-tools/blkd/mirror_copy.c \
	dom0-tools/blkd/mirror_round.c \
	dom0-tools/blkd/mirror_switch.c \
	dom0-tools/blkd/nbd.c \
	dom0-tools/blkd/nbd_msg.c \
	dom0-tools/blkd/nbd_opt.c \
	dom0-tools/blkd/nbd_recv.c \
	dom0-tools/blkd/nbd_send.c \
	dom0-tools/blkd/nbd_status.c \
	dom0-tools/blkd/overlap.c \
	dom0-tools/blkd/queue.c \
	dom0-tools/blkd/queue_flush.c \
	dom0-tools/blkd/queue_io.c \
	dom0-tools/blkd/run.c \
	dom0-tools/blkd/sandbox.c \
	dom0-tools/blkd/serve.c \
	dom0-tools/blkd/tap.c \
	dom0-tools/blkd/throttle.c \
	dom0-tools/blkd/vm.c \
	dom0-tools/blkd/vm_cut.c \
	dom0-tools/blkd/vm_still.c \
	dom0-tools/blkd/main.c

SIM_MIGRATE_SRC := \
	migrate/mig_policy.c \
	migrate/mig_wire.c \
	migrate/session.c \
	migrate/session_recv.c \
	migrate/session_send.c \
	tests/sim/check.c \
	tests/sim/faults.c \
	tests/sim/host.c \
	tests/sim/net.c \
	tests/sim/proc.c \
	tests/sim/saver.c \
	tests/sim/world.c \
	tests/sim/main.c

# Power cuts under disk images.
CUTS_SRC := \
	tests/cuts/cut_blob.c \
	tests/cuts/cut_model.c \
	tests/cuts/cuts.c

LAB_HUB_SRC := \
	tests/lab/ask.c \
	tests/lab/frames.c \
	tests/lab/ports.c \
	tests/lab/probe.c \
	tests/lab/hub.c

PROGRAMS := $(strip \
	$(if $(HVINIT_SRC),hvinit) \
	$(if $(HVHOTPLUG_SRC),hvhotplug) \
	$(if $(HVTLS_SRC),hvtls) \
	$(if $(HVDOMD_SRC),hvdomd) \
	$(if $(HVBLKD_SRC),hvblkd) \
	$(if $(HVMIGRATE_SRC),hvmigrate) \
	$(if $(HVAPID_SRC),hvapid) \
	$(if $(HVAPI_SRC),hvapi) \
	$(if $(SIM_MIGRATE_SRC),sim-migrate) \
	cuts \
	lab-hub)

# ---- tests: tests/unit/NAME_test.c each -----------------------------------------------------------
UNIT := $(sort $(patsubst tests/unit/%_test.c,%,$(wildcard tests/unit/*_test.c)))

# ---- how things are built ---------------------------------------------------------------------------
# --as-needed keeps out of each program the libraries it does not call.
LIBS := -lxenlight -lxlutil -lxenguest -lxenctrl -lxenstore -lxentoollog -lxencall -lxengnttab -lxenevtchn \
	-lmbedtls -lmbedx509 -lmbedcrypto -lmicrohttpd -lsqlite3 -ljansson -lkmod -lnl-route-3 -lnl-3 \
	-lseccomp -luring -lzstd -lz -lpthread

obj = $(patsubst %.c,$B/obj/%.o,$(1))
LAYERS := $B/lib/libfeed.a $B/lib/libnet.a $B/lib/libxen.a $B/lib/libdisk.a $B/lib/liblink.a $B/lib/libbase.a
$B/lib/libbase.a: $(call obj,$(BASE_SRC))
$B/lib/liblink.a: $(call obj,$(LINK_SRC))
$B/lib/libdisk.a: $(call obj,$(DISK_SRC))
$B/lib/libxen.a: $(call obj,$(XEN_SRC))
$B/lib/libfeed.a: $(call obj,$(FEED_SRC))
$B/lib/libnet.a: $(call obj,$(NET_SRC))

# program NAME SOURCES: build/bin/NAME, and an archive of all but its main.c for unit tests.
define program
$B/bin/$(1): $(call obj,$(2)) $(LAYERS)
	@mkdir -p $$(@D)
	@echo "LINK  $$@"
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $(call obj,$(2)) -Wl,--start-group $(LAYERS) -Wl,--end-group $$(LIBS)
$B/lib/lib$(1)-parts.a: $(call obj,$(filter-out %main.c,$(2)))
PARTS += $(if $(filter-out %main.c,$(2)),$B/lib/lib$(1)-parts.a)
endef
$(eval $(call program,hvinit,$(HVINIT_SRC)))
$(eval $(call program,hvhotplug,$(HVHOTPLUG_SRC)))
$(eval $(call program,hvtls,$(HVTLS_SRC)))
$(eval $(call program,hvdomd,$(HVDOMD_SRC)))
$(eval $(call program,hvblkd,$(HVBLKD_SRC)))
$(eval $(call program,hvmigrate,$(HVMIGRATE_SRC)))
$(eval $(call program,hvapid,$(HVAPID_SRC)))
$(eval $(call program,hvapi,$(HVAPI_SRC)))
$(eval $(call program,sim-migrate,$(SIM_MIGRATE_SRC)))
$(eval $(call program,lab-hub,$(LAB_HUB_SRC)))
$(eval $(call program,cuts,$(CUTS_SRC)))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help deps iso check test tests-built sim cuts fuzz tidy demo lab clean bench-migrate bench-boot bench-codec bench-blk

all: $(PROGRAMS:%=$B/bin/%)

$B/obj/%.o: %.c | $B/.deps
	@mkdir -p $(@D)
	@echo "CC    $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $(filter %.o,$^)

$B/tests/%_test: $B/obj/tests/unit/%_test.o $(LAYERS) $(PARTS)
	@mkdir -p $(@D)
	@echo "LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcmocka $(LIBS)

-include $(shell find $B/obj -name '*.d' 2>/dev/null)

# ---- what a person calls ------------------------------------------------------------------------------
help:
	@sed -n 's/^## //p' Makefile

# Installs what is missing, once; a machine that has it all is not touched.
$B/.deps: Makefile
	@mkdir -p $(@D)
	$(Q)dpkg-query -W -f='$${db:Status-Status}\n' $(PACKAGES) 2>/dev/null | grep -cx installed | grep -qx $(words $(PACKAGES)) || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >$B/apt.log 2>&1 || \
	{ tail -5 $B/apt.log; exit 1; }; }
	@touch $@
## make deps                the Debian packages that the build and the tests need
deps: $B/.deps

tests-built: all $(UNIT:%=$B/tests/%_test)

## make check               the fast tests: unit, tidy, simulation in short, API; no Xen, under a minute
check: tests-built
	$(Q)tests/run.py --build $B --fast

## make test [T=name]       everything, or one test: T=link_tls, T=link_tls/bad_pin, T=tidy, T=sim, T=lab
test: tests-built $(if $(T),$(if $(filter lab lab/%,$(T)),iso),iso)
	$(Q)tests/run.py --build $B $(T)

## make sim [SEED=n]        the migration simulator: many schedules, or the one of a seed
sim: $B/bin/sim-migrate
	$(Q)$< $(if $(SEED),--seed $(SEED),--schedules 100000)

## make cuts [SEED=n]       power cuts under disk images, 3000 of each format, from a seed on
cuts: $B/bin/cuts
	$(Q)$< --cuts 3000 $(if $(SEED),--seed $(SEED))

## make tidy                the rules of style that a program can check
tidy:
	$(Q)tests/tidy.py

## make iso [DEBUG=1|BENCH=1]  build/hvapi.iso (or hvapi-debug.iso: a serial shell; hvapi-bench.iso: that, xl, socat)
iso: all
	$(Q)/usr/bin/python3 image/build.py $(if $(DEBUG),--debug) $(if $(BENCH),--bench)

## make demo                two emulated hosts, one guest that moves there and back, and the figures
demo: iso
	$(Q)tests/lab/demo

## make lab                 the hosts of the demo, left running
lab: iso
	$(Q)tests/lab/lab up

## make bench-migrate       our moves against xl migrate in the lab: downtime, total time, bytes
bench-migrate: all
	$(Q)/usr/bin/python3 image/build.py --bench
	$(Q)/usr/bin/python3 tests/bench/migrate.py

## make bench-boot          dom0's start until the API answers, against Debian's way to its login prompt; size of the ISO
bench-boot: iso
	$(Q)/usr/bin/python3 tests/bench/boot.py

$B/bin/codec-bench: $B/obj/tests/bench/codec_bench.o $B/lib/libhvmigrate-parts.a $(LAYERS)
	@mkdir -p $(@D)
	@echo "LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

$B/bin/nbd-load: $B/obj/tests/bench/nbd_load.o $(LAYERS)
	@mkdir -p $(@D)
	@echo "LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LAYERS) -Wl,--end-group $(LIBS)

$B/bin/feed-reader: $B/obj/tests/bench/feed_reader.o $(LAYERS)
	@mkdir -p $(@D)
	@echo "LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LAYERS) -Wl,--end-group $(LIBS)

## make bench-blk           hvblkd over NBD against nbdkit and qemu-nbd, on tmpfs: operations, bytes, CPU
bench-blk: $B/bin/hvblkd $B/bin/nbd-load $B/bin/feed-reader
	$(Q)/usr/bin/python3 tests/bench/blk.py --build $B

## make bench-codec         our page codec against zlib level 1
bench-codec: $B/bin/codec-bench
	$(Q)$<

## make fuzz F=name [N=runs]   one fuzz target: tests/fuzz/NAME_fuzz.c
FUZZ_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Idom0-tools -I. -g -O1 -fsanitize=fuzzer,address,undefined
fuzz: $B/.deps
	@mkdir -p $B/fuzz/$(F).corpus
	$(Q)clang $(FUZZ_CFLAGS) -o $B/fuzz/$(F) tests/fuzz/$(F)_fuzz.c $$(sed -n 's/^ \* sources: //p' tests/fuzz/$(F)_fuzz.c) $(LIBS)
	$(Q)$B/fuzz/$(F) -runs=$(or $(N),1000000) -print_final_stats=1 $B/fuzz/$(F).corpus $(wildcard tests/golden/$(F))

## make clean               removes build/ except downloaded packages
clean:
	rm -rf $B/obj $B/lib $B/bin $B/tests $B/fuzz
