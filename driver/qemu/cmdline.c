/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * The command line describes the guest completely: no defaults (-nodefaults), no configuration files, every device with
 * its address. Two QEMUs started from one definition on two hosts therefore have the same devices, RAM blocks and
 * migration sections. Options follow what libvirt writes, so that a definition means the same here and there; -device,
 * -object and -blockdev take JSON, which needs no quoting.
 *
 * Always: -S (the driver decides when the guest runs), a guest's power-off and panic leave QEMU paused with an event
 * (-action) so that the driver applies <on_poweroff> and <on_crash>, and reset resets unless <on_reboot> says destroy.
 *
 *      cmdline.c            machine, CPU count, memory, NUMA, clock, boot, the order of it all
 *      cmdline_cpu.c        -cpu
 *      cmdline_disk.c       -blockdev and disk devices
 *      cmdline_device.c     controllers, network, character devices, helpers for addresses
 *      cmdline_display.c    graphics, video, input, sound
 *      cmdline_misc.c       balloon, rng, watchdog, panic, SMBIOS
 */

#include "driver/qemu/cmdline.h"

#include <string.h>
#include <time.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/qemu/cmdline_internal.h"

/* ---- words ---- */

void cmdline_add(Cmdline *cmdline, const char *word) {
        g_ptr_array_add(cmdline->argv, g_strdup(word));
}

void cmdline_add_value(Cmdline *cmdline, const char *option, const char *value) {
        cmdline_add(cmdline, option);
        cmdline_add(cmdline, value);
}

void cmdline_add_printf(Cmdline *cmdline, const char *option, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *value = g_strdup_vprintf(format, ap);
        va_end(ap);
        cmdline_add_value(cmdline, option, value);
}

void cmdline_add_json(Cmdline *cmdline, const char *option, json_object *value) {
        cmdline_add_value(cmdline, option, json_line(value));
        json_object_put(value);
}

char *cmdline_escape(const char *text) {
        GString *escaped = g_string_new(NULL);

        for (const char *p = text; *p; p++) {
                g_string_append_c(escaped, *p);
                if (*p == ',')
                        g_string_append_c(escaped, ',');
        }
        return g_string_free(escaped, FALSE);
}

/* ---- machine ---- */

static const char *on_off(bool on) {
        return on ? "on" : "off";
}

static void machine_add_tri(GString *text, const char *name, TriState value) {
        if (value != TRI_UNSET)
                g_string_append_printf(text, ",%s=%s", name, on_off(value == TRI_YES));
}

static bool timer_absent(const DomainDef *def, TimerName name) {
        for (unsigned i = 0; i < def->clock.timers->len; i++) {
                const TimerDef *timer = def->clock.timers->pdata[i];
                if (timer->name == name)
                        return timer->present == TRI_NO;
        }
        return false;
}

static void add_machine(Cmdline *cmdline) {
        const DomainDef *def = cmdline->def;
        const QemuRam *ram = cmdline->args->ram;
        g_autoptr(GString) text = g_string_new(def->os.machine);

        g_string_append_printf(text, ",usb=off,dump-guest-core=%s", on_off(def->memory.dump_core == TRI_YES));
        if (!ram->merge)
                g_string_append(text, ",mem-merge=off");
        machine_add_tri(text, "vmport", def->features.vmport);
        machine_add_tri(text, "smm", def->features.smm);
        if (!def->features.acpi)
                g_string_append(text, ",acpi=off");
        if (timer_absent(def, TIMER_NAME_HPET))
                g_string_append(text, ",hpet=off");
        if (def->features.ioapic == IOAPIC_DRIVER_QEMU)
                g_string_append(text, ",kernel_irqchip=split");
        else if (def->features.ioapic == IOAPIC_DRIVER_KVM)
                g_string_append(text, ",kernel_irqchip=on");
        if (def->os.bios_useserial == TRI_YES)
                g_string_append(text, ",graphics=off");
        if (def->os.loader && def->os.loader_type == OS_LOADER_TYPE_PFLASH) {
                g_string_append(text, ",pflash0=libvirt-pflash0-format");
                if (def->os.nvram)
                        g_string_append(text, ",pflash1=libvirt-pflash1-format");
        }
        if (ram->blocks[0].cell < 0)
                g_string_append_printf(text, ",memory-backend=%s", ram->blocks[0].id);
        cmdline_add_value(cmdline, "-machine", text->str);
        cmdline_add_value(cmdline, "-accel", cmdline->kvm ? "kvm" : "tcg");
}

/* Firmware: one blockdev pair per flash. */
static void add_flash(Cmdline *cmdline, unsigned number, const char *path, OsImageFormat format, bool read_only) {
        g_autofree char *storage_node = g_strdup_printf("libvirt-pflash%u-storage", number);
        g_autofree char *format_node = g_strdup_printf("libvirt-pflash%u-format", number);
        json_object *storage = json_object_new_object(), *image = json_object_new_object();

        json_add_string(storage, "driver", "file");
        json_add_string(storage, "filename", path);
        json_add_string(storage, "node-name", storage_node);
        json_add_bool(storage, "auto-read-only", true);
        json_add_string(storage, "discard", "unmap");
        cmdline_add_json(cmdline, "-blockdev", storage);

        json_add_string(image, "node-name", format_node);
        json_add_bool(image, "read-only", read_only);
        json_add_string(image, "driver", format == OS_IMAGE_FORMAT_QCOW2 ? "qcow2" : "raw");
        json_add_string(image, "file", storage_node);
        cmdline_add_json(cmdline, "-blockdev", image);
}

static void add_firmware(Cmdline *cmdline) {
        const OsDef *os = &cmdline->def->os;

        if (!os->loader)
                return;
        if (os->loader_type != OS_LOADER_TYPE_PFLASH) {
                cmdline_add_value(cmdline, "-bios", os->loader);
                return;
        }
        add_flash(cmdline, 0, os->loader, os->loader_format, os->loader_readonly != TRI_NO);
        if (os->nvram)
                add_flash(cmdline, 1, os->nvram, os->nvram_format, false);
        if (os->loader_secure == TRI_YES)
                cmdline_add_value(cmdline, "-global", "driver=cfi.pflash01,property=secure,value=on");
}

/* ---- memory ---- */

/* The file as QEMU has to open it: by name, because only RAM that is shared and a named file stays out of QEMU's
 * migration stream. */
static void add_ram_object(Cmdline *cmdline, const QemuRamBlock *block) {
        static const char *const policies[] = {
                [QEMU_RAM_POLICY_PREFERRED] = "preferred",
                [QEMU_RAM_POLICY_BIND] = "bind",
                [QEMU_RAM_POLICY_INTERLEAVE] = "interleave",
        };
        g_autofree char *memfd_path = g_strdup_printf("/proc/self/fd/%d", block->qemu_fd);
        json_object *object = json_object_new_object();

        json_add_string(object, "qom-type", "memory-backend-file");
        json_add_string(object, "id", block->id);
        json_add_string(object, "mem-path", block->path ?: memfd_path);
        json_add_bool(object, "share", true);
        /* The RAM block is called as the object is, on every QEMU and on both hosts. */
        json_add_bool(object, "x-use-canonical-path-for-ramblock-id", false);
        json_add_uint64(object, "size", block->size_bytes);
        if (block->policy_in_qemu && block->policy != QEMU_RAM_POLICY_DEFAULT) {
                json_object *nodes = json_object_new_array();
                for (int node = bitset_next(block->nodes, 0); node >= 0;
                     node = bitset_next(block->nodes, (unsigned) node + 1))
                        json_object_array_add(nodes, json_object_new_int(node));
                json_add(object, "host-nodes", nodes);
                json_add_string(object, "policy", policies[block->policy]);
        }
        cmdline_add_json(cmdline, "-object", object);
}

static void add_memory(Cmdline *cmdline) {
        const MemoryDef *memory = &cmdline->def->memory;
        const QemuRam *ram = cmdline->args->ram;

        if (memory->max_bytes > 0)
                cmdline_add_printf(cmdline, "-m", "size=%" G_GUINT64_FORMAT "k,slots=%u,maxmem=%" G_GUINT64_FORMAT "k",
                                   memory->total_bytes / KIB, memory->max_slots, memory->max_bytes / KIB);
        else
                cmdline_add_printf(cmdline, "-m", "size=%" G_GUINT64_FORMAT "k", memory->total_bytes / KIB);
        for (unsigned i = 0; i < ram->n_blocks; i++)
                add_ram_object(cmdline, &ram->blocks[i]);
        cmdline_add_printf(cmdline, "-overcommit", "mem-lock=%s", on_off(ram->locked));
}

static void add_smp(Cmdline *cmdline) {
        const VcpuDef *vcpu = &cmdline->def->vcpu;
        const CpuDef *cpu = &cmdline->def->cpu;
        g_autoptr(GString) text = g_string_new(NULL);

        g_string_append_printf(text, "%u", vcpu->current > 0 ? vcpu->current : vcpu->max);
        if (vcpu->current > 0 && vcpu->current != vcpu->max)
                g_string_append_printf(text, ",maxcpus=%u", vcpu->max);
        if (cpu->topology) {
                g_string_append_printf(text, ",sockets=%u", cpu->sockets);
                if (cpu->dies > 1)
                        g_string_append_printf(text, ",dies=%u", cpu->dies);
                if (cpu->clusters > 1)
                        g_string_append_printf(text, ",clusters=%u", cpu->clusters);
                g_string_append_printf(text, ",cores=%u,threads=%u", cpu->cores, cpu->threads);
        } else {
                g_string_append_printf(text, ",sockets=%u,cores=1,threads=1", vcpu->max);
        }
        cmdline_add_value(cmdline, "-smp", text->str);
}

static void add_numa(Cmdline *cmdline) {
        const GPtrArray *cells = cmdline->def->cpu.cells;

        for (unsigned i = 0; i < cells->len; i++) {
                const NumaCellDef *cell = cells->pdata[i];
                g_autofree char *cpus = bitset_format(cell->cpus);
                g_auto(GStrv) ranges = g_strsplit(cpus, ",", -1);
                g_autoptr(GString) text = g_string_new(NULL);

                g_string_append_printf(text, "node,nodeid=%d", cell->id);
                for (char **range = ranges; *range; range++)
                        if (**range)
                                g_string_append_printf(text, ",cpus=%s", *range);
                g_string_append_printf(text, ",memdev=ram-node%d", cell->id);
                cmdline_add_value(cmdline, "-numa", text->str);
        }
        for (unsigned i = 0; i < cells->len; i++) {
                const NumaCellDef *cell = cells->pdata[i];
                for (unsigned j = 0; cell->distances && j < cell->distances->len; j++) {
                        const NumaDistanceDef *distance = cell->distances->pdata[j];
                        cmdline_add_printf(cmdline, "-numa", "dist,src=%d,dst=%d,val=%u", cell->id, distance->id,
                                           distance->value);
                }
        }
}

/* ---- clock ---- */

static void add_rtc_base(Cmdline *cmdline, GString *text) {
        const ClockDef *clock = &cmdline->def->clock;
        int64_t start = 0;

        switch (clock->offset) {
        case CLOCK_OFFSET_LOCALTIME:
                g_string_append(text, "base=localtime");
                return;
        case CLOCK_OFFSET_TIMEZONE:
                /* QEMU keeps local time; its time zone is the guest's. */
                g_string_append(text, "base=localtime");
                g_ptr_array_add(cmdline->env, g_strconcat("TZ=", clock->timezone, NULL));
                return;
        case CLOCK_OFFSET_VARIABLE:
                start = cmdline->args->now_sec + clock->adjustment_sec;
                break;
        case CLOCK_OFFSET_ABSOLUTE:
                start = clock->start_sec;
                break;
        default:
                g_string_append(text, "base=utc");
                return;
        }

        g_autoptr(GDateTime) when = g_date_time_new_from_unix_utc(start);
        if (when && clock->offset == CLOCK_OFFSET_VARIABLE && clock->basis == CLOCK_BASIS_LOCALTIME) {
                g_autoptr(GDateTime) local = g_date_time_new_from_unix_local(start);
                g_clear_pointer(&when, g_date_time_unref);
                when = g_date_time_ref(local);
        }
        g_autofree char *date = when ? g_date_time_format(when, "%Y-%m-%dT%H:%M:%S") : NULL;
        g_string_append_printf(text, "base=%s", date ?: "utc");
}

static void add_clock(Cmdline *cmdline) {
        g_autoptr(GString) rtc = g_string_new(NULL);

        add_rtc_base(cmdline, rtc);
        for (unsigned i = 0; i < cmdline->def->clock.timers->len; i++) {
                const TimerDef *timer = cmdline->def->clock.timers->pdata[i];
                if (timer->name != TIMER_NAME_RTC)
                        continue;
                if (timer->track == TIMER_TRACK_GUEST)
                        g_string_append(rtc, ",clock=vm");
                else if (timer->track == TIMER_TRACK_WALL)
                        g_string_append(rtc, ",clock=host");
                else if (timer->track == TIMER_TRACK_REALTIME)
                        g_string_append(rtc, ",clock=rt");
                if (timer->tickpolicy == TIMER_TICKPOLICY_CATCHUP)
                        g_string_append(rtc, ",driftfix=slew");
        }
        cmdline_add_value(cmdline, "-rtc", rtc->str);

        for (unsigned i = 0; i < cmdline->def->clock.timers->len; i++) {
                const TimerDef *timer = cmdline->def->clock.timers->pdata[i];
                /* QEMU's own emulation (TCG) has no such knob: it always delays. */
                if (timer->name != TIMER_NAME_PIT || !cmdline->kvm)
                        continue;
                if (timer->tickpolicy == TIMER_TICKPOLICY_DELAY || timer->tickpolicy == TIMER_TICKPOLICY_UNSET)
                        cmdline_add_value(cmdline, "-global", "kvm-pit.lost_tick_policy=delay");
                else if (timer->tickpolicy == TIMER_TICKPOLICY_DISCARD)
                        cmdline_add_value(cmdline, "-global", "kvm-pit.lost_tick_policy=discard");
        }
}

/* ---- power, boot ---- */

static void add_power(Cmdline *cmdline) {
        const DomainDef *def = cmdline->def;
        const char *bridge = domain_def_is_q35(def) ? "ICH9-LPC" : "PIIX4_PM";
        const char *watchdog = NULL;

        if (def->watchdogs->len > 0) {
                const WatchdogDef *first = def->watchdogs->pdata[0];
                watchdog = first->action == WATCHDOG_ACTION_UNSET ? "reset" : watchdog_action_to_string(first->action);
        }
        cmdline_add_printf(cmdline, "-action", "reboot=%s,shutdown=%s,panic=pause%s%s",
                           def->on_reboot == LIFECYCLE_ACTION_DESTROY ? "shutdown" : "reset",
                           /* QEMU ends by itself where it can: that needs no daemon. */
                           def->on_poweroff == LIFECYCLE_ACTION_RESTART || def->on_poweroff == LIFECYCLE_ACTION_PRESERVE
                                   ? "pause"
                                   : "poweroff",
                           watchdog ? ",watchdog=" : "", watchdog ?: "");
        if (def->pm_suspend_to_mem != TRI_UNSET)
                cmdline_add_printf(cmdline, "-global", "%s.disable_s3=%d", bridge, def->pm_suspend_to_mem == TRI_NO);
        if (def->pm_suspend_to_disk != TRI_UNSET)
                cmdline_add_printf(cmdline, "-global", "%s.disable_s4=%d", bridge, def->pm_suspend_to_disk == TRI_NO);
        if (def->features.smm_tseg_bytes > 0)
                cmdline_add_printf(cmdline, "-global", "mch.extended-tseg-mbytes=%" G_GUINT64_FORMAT,
                                   def->features.smm_tseg_bytes / MIB);
}

static void add_boot(Cmdline *cmdline) {
        const OsDef *os = &cmdline->def->os;
        g_autoptr(GString) text = g_string_new(NULL);

        if (os->bootmenu != TRI_UNSET)
                g_string_append_printf(text, "menu=%s,", on_off(os->bootmenu == TRI_YES));
        if (os->bootmenu == TRI_YES && os->bootmenu_timeout_msec >= 0)
                g_string_append_printf(text, "splash-time=%d,", os->bootmenu_timeout_msec);
        if (os->bios_reboot_timeout_msec >= -1)
                g_string_append_printf(text, "reboot-timeout=%d,", os->bios_reboot_timeout_msec);
        g_string_append(text, "strict=on");
        cmdline_add_value(cmdline, "-boot", text->str);

        if (os->kernel)
                cmdline_add_value(cmdline, "-kernel", os->kernel);
        if (os->initrd)
                cmdline_add_value(cmdline, "-initrd", os->initrd);
        if (os->cmdline)
                cmdline_add_value(cmdline, "-append", os->cmdline);
}

/* <boot dev=/>: the first device of each kind, in the order given. */
static void plan_boot_order(Cmdline *cmdline) {
        const GPtrArray *boots = cmdline->def->os.boots;

        for (unsigned i = 0; i < boots->len; i++) {
                const OsBootDef *boot = boots->pdata[i];
                unsigned *slot = boot->device == OS_BOOT_DEVICE_HD        ? &cmdline->boot_disk
                                 : boot->device == OS_BOOT_DEVICE_CDROM   ? &cmdline->boot_cdrom
                                 : boot->device == OS_BOOT_DEVICE_NETWORK ? &cmdline->boot_net
                                                                          : NULL;
                if (slot && *slot == 0)
                        *slot = i + 1;
        }
}

/* ---- all of it ---- */

static int add_start(Cmdline *cmdline, GError **reterr) {
        const DomainDef *def = cmdline->def;
        g_autofree char *name = cmdline_escape(def->name), *cpu = NULL;
        char uuid[UUID_TEXT_SIZE];

        cmdline_add(cmdline, def->emulator);
        cmdline_add_printf(cmdline, "-name", "guest=%s,debug-threads=on", name);
        cmdline_add(cmdline, "-S");
        add_firmware(cmdline);
        add_machine(cmdline);
        int r = qemu_cmdline_cpu(def, cmdline->caps, &cpu, reterr);
        if (r < 0)
                return r;
        if (cpu)
                cmdline_add_value(cmdline, "-cpu", cpu);
        add_memory(cmdline);
        add_smp(cmdline);
        add_numa(cmdline);
        cmdline_add_value(cmdline, "-uuid", uuid_format(def->uuid, uuid));
        cmdline_add_smbios(cmdline);
        cmdline_add(cmdline, "-no-user-config");
        cmdline_add(cmdline, "-nodefaults");
        cmdline_add_value(cmdline, "-display", "none");
        cmdline_add_printf(cmdline, "-chardev", "socket,id=charmonitor,fd=%d,server=on,wait=off",
                           cmdline->args->monitor_fd);
        /* -mon is on its way out (QEMU 11.1). */
        if (qemu_caps_has_type(cmdline->caps, "monitor-qmp"))
                cmdline_add_value(cmdline, "-object",
                                  "{\"qom-type\":\"monitor-qmp\",\"id\":\"monitor\",\"chardev\":\"charmonitor\"}");
        else
                cmdline_add_value(cmdline, "-mon", "chardev=charmonitor,id=monitor,mode=control");
        add_clock(cmdline);
        add_power(cmdline);
        add_boot(cmdline);
        return 0;
}

static int add_everything(Cmdline *cmdline, GError **reterr) {
        int r = add_start(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_controllers(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_disks(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_nets(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_chars(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_displays(cmdline, reterr);
        if (r >= 0)
                r = cmdline_add_others(cmdline, reterr);
        if (r < 0)
                return r;

        if (qemu_caps_has_option(cmdline->caps, "sandbox"))
                cmdline_add_value(cmdline, "-sandbox",
                                  "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        if (cmdline->args->incoming)
                cmdline_add_value(cmdline, "-incoming", "defer");
        for (unsigned i = 0; i < cmdline->def->qemu_args->len; i++) {
                const QemuArgDef *arg = cmdline->def->qemu_args->pdata[i];
                cmdline_add(cmdline, arg->value ?: "");
        }
        for (unsigned i = 0; i < cmdline->def->qemu_envs->len; i++) {
                const QemuEnvDef *env = cmdline->def->qemu_envs->pdata[i];
                g_ptr_array_add(cmdline->env, g_strconcat(env->name, "=", env->value ?: "", NULL));
        }
        cmdline_add_value(cmdline, "-msg", "timestamp=on");
        return 0;
}

int qemu_cmdline_build(const QemuCmdlineArgs *args, char ***ret_argv, char ***ret_env, GError **reterr) {
        g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free),
                             env = g_ptr_array_new_with_free_func(g_free);
        Cmdline cmdline = {
                .args = args,
                .def = args->def,
                .caps = args->caps,
                .kvm = args->def->virt_type == VIRT_TYPE_KVM,
                .argv = argv,
                .env = env,
        };

        plan_boot_order(&cmdline);
        int r = add_everything(&cmdline, reterr);
        if (r < 0)
                return r;
        g_ptr_array_add(argv, NULL);
        g_ptr_array_add(env, NULL);
        g_ptr_array_set_free_func(argv, NULL);
        g_ptr_array_set_free_func(env, NULL);
        *ret_argv = (char **) g_ptr_array_free(g_steal_pointer(&argv), FALSE);
        *ret_env = (char **) g_ptr_array_free(g_steal_pointer(&env), FALSE);
        return 0;
}

char *qemu_cmdline_format(const char *const *argv, const char *const *env) {
        GString *text = g_string_new(NULL);

        for (; env && *env; env++)
                g_string_append_printf(text, "%s \\\n", *env);
        for (unsigned i = 0; argv[i]; i++) {
                bool plain =
                        argv[i][0] &&
                        strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%") ==
                                strlen(argv[i]);
                g_autofree char *word = plain ? g_strdup(argv[i]) : g_shell_quote(argv[i]);
                g_string_append_printf(text, "%s%s", i == 0 ? "" : argv[i][0] == '-' ? " \\\n" : " ", word);
        }
        g_string_append_c(text, '\n');
        return g_string_free(text, FALSE);
}
