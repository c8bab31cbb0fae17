/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/process.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/spawn.h"
#include "driver/base/units.h"
#include "driver/qemu/direct_io.h"
#include "driver/qemu/net.h"
#include "driver/qemu/qmp.h"
#include "real.h"

/* What the callbacks saw of one QEMU. */
typedef struct Seen {
        unsigned exits;
        int status;
        GString *events;
} Seen;

static void on_event(Qemu *qemu, const char *name, json_object *data, uint64_t usec, void *userdata) {
        Seen *seen = userdata;

        if (seen->events)
                g_string_append_printf(seen->events, "%s ", name);
}

static void on_exited(Qemu *qemu, int status, void *userdata) {
        Seen *seen = userdata;

        seen->exits++;
        seen->status = status;
        assert_null(qemu_monitor(qemu));
}

static const QemuCallbacks callbacks = {.event = on_event, .exited = on_exited};

static Qemu *start(Real *real, DomainDef *def, bool incoming, Seen *seen) {
        QemuStartArgs args = {
                .event = fiber_event(),
                .settings = &real->settings,
                .def = def,
                .caps = real->caps,
                .incoming = incoming,
                .callbacks = &callbacks,
                .userdata = seen,
        };
        g_autoptr(GError) error = NULL;
        Qemu *qemu = NULL;

        if (qemu_start(&args, &qemu, &error) < 0)
                fail_msg("%s", error->message);
        return qemu;
}

/* Starting this must fail, and the reason must be this. */
static void start_fails(Real *real, DomainDef *def, virErrorNumber code, const char *text) {
        QemuStartArgs args = {
                .event = fiber_event(),
                .settings = &real->settings,
                .def = def,
                .caps = real->caps,
                .callbacks = &callbacks,
                .userdata = &(Seen){},
        };
        g_autoptr(GError) error = NULL;
        Qemu *qemu = NULL;

        assert_true(qemu_start(&args, &qemu, &error) < 0);
        if (!strstr(error->message, text) || error_code(error) != code)
                fail_msg("code %d, wanted %d; '%s' does not hold '%s'", error_code(error), code, error->message, text);
}

static void stop(Qemu *qemu, Seen *seen) {
        g_autoptr(GError) error = NULL;

        if (qemu_kill(qemu, 0, &error) < 0)
                fail_msg("%s", error->message);
        assert_int_equal(seen->exits, 1);
        assert_true(WIFSIGNALED(seen->status));
        qemu_cleanup(qemu, false);
        qemu_unref(qemu);
}

static void life(Real *real, const char *machine) {
        g_autofree char *xml = real_xml("life", machine, 256, NULL, NULL);
        g_autoptr(DomainDef) def = real_def(real, xml);
        g_autoptr(GError) error = NULL;
        Seen seen = {};
        QmpStatus status = {};

        Qemu *qemu = start(real, def, false, &seen);
        assert_int_equal(qmp_query_status(qemu_monitor(qemu), &status, NULL), 0);
        assert_false(status.running);
        assert_int_equal(status.state, QMP_RUN_STATE_PRELAUNCH);

        QemuRam *ram = qemu_ram(qemu);
        assert_int_equal(ram->n_blocks, 1);
        assert_string_equal(ram->blocks[0].id, "ram0");
        assert_int_equal(ram->blocks[0].size_bytes, 256 * MIB);
        assert_true(qemu_ram_allocated(ram) < 16 * MIB);
        assert_true(qemu_uffd(qemu, 0) >= 0 && qemu_uffd(qemu, 1) >= 0);

        /* The environment is as if the shim had never been there. */
        g_autofree char *path = g_strdup_printf("/proc/%d/maps", (int) qemu_pid(qemu)), *maps = NULL;
        assert_int_equal(file_read(path, 16 * MIB, &maps, NULL, NULL), 0);
        assert_non_null(strstr(maps, ram->blocks[0].path));

        if (qmp_cont(qemu_monitor(qemu), &error) < 0)
                fail_msg("%s", error->message);
        assert_int_equal(qmp_query_status(qemu_monitor(qemu), &status, NULL), 0);
        assert_true(status.running);
        g_autofree char *file = g_strdup(ram->blocks[0].path);
        stop(qemu, &seen);
        assert_true(access(file, F_OK) < 0);
}

static void life_q35(void *userdata) {
        life(userdata, "q35");
}

static void life_i440fx(void *userdata) {
        life(userdata, "pc");
}

/* A daemon goes away and another one finds QEMU again. */
static void reattach(Real *real, const char *source) {
        g_autofree char *more = g_strdup_printf("<memoryBacking><source type='%s'/></memoryBacking>", source);
        g_autofree char *xml = real_xml("again", "q35", 64, NULL, more);
        g_autoptr(DomainDef) def = real_def(real, xml);
        g_autoptr(GError) error = NULL;
        Seen first = {}, second = {};
        QmpStatus status = {};
        struct stat before, after;

        Qemu *qemu = start(real, def, false, &first);
        pid_t pid = qemu_pid(qemu);
        assert_int_equal(fstat(qemu_ram(qemu)->blocks[0].fd, &before), 0);
        json_object *state = qemu_save(qemu);
        g_autofree char *text = g_strdup(json_line(state));
        json_object_put(state);
        qemu_unref(qemu);
        assert_int_equal(first.exits, 0);

        g_autoptr(json_object) saved = json_parse(text, strlen(text), NULL);
        qemu = NULL;
        if (qemu_reattach(fiber_event(), &real->settings, saved, &callbacks, &second, &qemu, &error) < 0)
                fail_msg("%s", error->message);
        assert_int_equal(qemu_pid(qemu), pid);
        assert_int_equal(fstat(qemu_ram(qemu)->blocks[0].fd, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(before.st_dev, after.st_dev);
        assert_true(qemu_uffd(qemu, 0) >= 0 && qemu_uffd(qemu, 1) >= 0);
        assert_int_equal(qmp_query_status(qemu_monitor(qemu), &status, NULL), 0);
        stop(qemu, &second);

        /* That process is gone now, and so is its number's meaning. */
        assert_int_equal(qemu_reattach(fiber_event(), &real->settings, saved, &callbacks, &second, &qemu, &error),
                         -ESRCH);
        qemu_cleanup_saved(&real->settings, saved);
}

static void reattach_file(void *userdata) {
        reattach(userdata, "file");
}

static void reattach_memfd(void *userdata) {
        reattach(userdata, "memfd");
}

/* QEMU dies under us: the owner hears of it once, with the status. */
static void dies(void *userdata) {
        Real *real = userdata;
        g_autofree char *xml = real_xml("dies", "q35", 64, NULL, NULL);
        g_autoptr(DomainDef) def = real_def(real, xml);
        Seen seen = {};

        Qemu *qemu = start(real, def, false, &seen);
        assert_int_equal(spawn_kill(qemu_pidfd(qemu), SIGSEGV), 0);
        assert_int_equal(qemu_kill(qemu, 10 * USEC_PER_SEC, NULL), 0);
        assert_int_equal(seen.exits, 1);
        assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGSEGV);
        qemu_cleanup(qemu, false);
        qemu_unref(qemu);
}

/* QEMU ends because it is told to: that is an exit with status 0. */
static void quits(void *userdata) {
        Real *real = userdata;
        g_autofree char *xml = real_xml("quits", "q35", 64, NULL, NULL);
        g_autoptr(DomainDef) def = real_def(real, xml);
        Seen seen = {.events = g_string_new(NULL)};

        Qemu *qemu = start(real, def, false, &seen);
        /* QEMU may close the connection before it answers. */
        (void) monitor_call(qemu_monitor(qemu), "quit", NULL, NULL, 0, QMP_TIMEOUT_USEC, NULL, NULL);
        assert_int_equal(qemu_kill(qemu, 20 * USEC_PER_SEC, NULL), 0);
        assert_int_equal(seen.exits, 1);
        assert_true(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 0);
        assert_non_null(strstr(seen.events->str, "SHUTDOWN"));
        qemu_cleanup(qemu, false);
        qemu_unref(qemu);
        g_string_free(seen.events, TRUE);
}

static void failures(void *userdata) {
        Real *real = userdata;
        const struct {
                unsigned memory_mib;
                const char *machine, *devices, *more;
                virErrorNumber code;
                const char *text;
        } cases[] = {
                {64, "q35",
                 "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source "
                 "file='/nonexistent/a.img'/><target dev='vda' bus='virtio'/></disk>",
                 NULL, VIR_ERR_OPERATION_FAILED, "/nonexistent/a.img"},
                {64, "q35", "<interface type='bridge'><source bridge='nobridge7'/><model type='virtio'/></interface>",
                 NULL, VIR_ERR_OPERATION_FAILED, "nobridge7"},
                {1 << 24, "q35", NULL,
                 "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>",
                 VIR_ERR_OPERATION_FAILED, "nr_hugepages"},
                {64, "q35", NULL, "<qemu:commandline><qemu:arg value='-no-such-option'/></qemu:commandline>",
                 VIR_ERR_OPERATION_FAILED, "no-such-option"},
                {64, "q35",
                 "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/tmp'/><target "
                 "dev='vda' bus='virtio'/></disk>",
                 NULL, VIR_ERR_CONFIG_UNSUPPORTED, "is a folder"},
                {64, "q35",
                 "<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/null'/><target "
                 "dev='vda' bus='virtio'/></disk>",
                 NULL, VIR_ERR_CONFIG_UNSUPPORTED, "no block device"},
                {64, "q35", "<interface type='bridge'><source bridge='lo'/><model type='virtio'/></interface>", NULL,
                 VIR_ERR_CONFIG_UNSUPPORTED, "is no bridge"},
                {64, "q35",
                 "<interface type='ethernet'><target dev='notap7' managed='no'/><model type='virtio'/></interface>",
                 NULL, VIR_ERR_OPERATION_FAILED, "notap7"},
                {64, "q35", NULL, "<numatune><memory mode='strict' nodeset='77'/></numatune>",
                 VIR_ERR_CONFIG_UNSUPPORTED, "node 77"},
                {64, "q35", "<rng model='virtio'><backend model='random'>/nonexistent/hwrng</backend></rng>", NULL,
                 VIR_ERR_OPERATION_FAILED, "/nonexistent/hwrng"},
                {64, "q35", NULL, "<cpu mode='host-passthrough'/>", VIR_ERR_CONFIG_UNSUPPORTED, "host-passthrough"},
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *xml =
                        real_xml("fails", cases[i].machine, cases[i].memory_mib, cases[i].devices, cases[i].more);
                g_autoptr(DomainDef) def = real_def(real, xml);
                start_fails(real, def, cases[i].code, cases[i].text);
        }

        g_autofree char *xml = real_xml("fails", "q35", 64, "<emulator>/nonexistent/qemu</emulator>", NULL);
        g_autoptr(DomainDef) def = real_def(real, xml);
        start_fails(real, def, VIR_ERR_CONFIG_UNSUPPORTED, "/nonexistent/qemu");

        g_autofree char *plain = real_xml("fails", "q35", 64, NULL, NULL);
        g_autoptr(DomainDef) kernel = real_def(real, plain);
        kernel->os.kernel = g_strdup("/nonexistent/vmlinuz");
        start_fails(real, kernel, VIR_ERR_OPERATION_FAILED, "/nonexistent/vmlinuz");
        g_free(kernel->os.kernel);
        kernel->os.kernel = NULL;
        kernel->vcpu.max = 100000;
        start_fails(real, kernel, VIR_ERR_CONFIG_UNSUPPORTED, "100000");

        /* Without the shim there would be no live migration: better to say so now. */
        real->settings.uffd_shim = "/nonexistent/shim.so";
        g_autofree char *xml2 = real_xml("fails", "q35", 64, NULL, NULL);
        g_autoptr(DomainDef) def2 = real_def(real, xml2);
        start_fails(real, def2, VIR_ERR_SYSTEM_ERROR, "/nonexistent/shim.so");
        real->settings.uffd_shim = FERRY_BUILD_DIR "/driver/qemu/ferry-uffd-shim.so";
}

/* Allocation in advance fills the file, on all kinds of RAM, and nothing else does. */
static void allocation(void *userdata) {
        Real *real = userdata;
        static const char *const more[] = {
                "<memoryBacking><allocation mode='immediate' threads='2'/></memoryBacking>",
                "<memoryBacking><source type='memfd'/><allocation mode='immediate'/></memoryBacking>",
                "<memoryBacking><locked/></memoryBacking>",
                "<numatune><memory mode='strict' nodeset='0'/></numatune><memoryBacking><allocation "
                "mode='immediate'/></memoryBacking>",
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(more); i++) {
                g_autofree char *xml = real_xml("alloc", "q35", 64, NULL, more[i]);
                g_autoptr(DomainDef) def = real_def(real, xml);
                Seen seen = {};

                Qemu *qemu = start(real, def, false, &seen);
                assert_true(qemu_ram(qemu)->blocks[0].populated);
                assert_true(qemu_ram_allocated(qemu_ram(qemu)) >= 64 * MIB);
                stop(qemu, &seen);
        }
}

/* ---- huge pages ---- */

#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"

static int64_t huge_pages(void) {
        g_autofree char *text = NULL;

        return file_read(NR_HUGEPAGES, 64, &text, NULL, NULL) < 0 ? -1 : g_ascii_strtoll(text, NULL, 10);
}

static bool set_huge_pages(int64_t n) {
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, n);
        _cleanup_fd_ int fd = open(NR_HUGEPAGES, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && fd_write_all(fd, text, strlen(text)) >= 0 && huge_pages() == n;
}

static void huge_guest(Real *real, QemuRamKind kind) {
        g_autofree char *xml =
                real_xml("huge", "q35", 64, NULL,
                         "<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>");
        g_autoptr(DomainDef) def = real_def(real, xml);
        Seen seen = {};

        Qemu *qemu = start(real, def, false, &seen);
        const QemuRamBlock *block = &qemu_ram(qemu)->blocks[0];
        assert_int_equal(block->kind, kind);
        assert_int_equal(block->page_bytes, 2 * MIB);
        assert_true(block->populated);
        assert_true(qemu_ram_allocated(qemu_ram(qemu)) >= 64 * MIB);
        stop(qemu, &seen);
}

static void hugepages(void *userdata) {
        Real *real = userdata;
        g_autofree char *mount_dir = g_build_filename(real->root, "huge", NULL);
        int64_t before = huge_pages();

        if (before < 0 || !set_huge_pages(before + 40)) {
                (void) set_huge_pages(MAX(before, 0));
                print_message("no 40 huge pages to be had: huge pages are not tested\n");
                return;
        }
        huge_guest(real, QEMU_RAM_HUGEMEMFD);
        assert_int_equal(dir_make(mount_dir, 0700, NULL), 0);
        assert_int_equal(mount("ferry-test", mount_dir, "hugetlbfs", 0, "pagesize=2M"), 0);
        real->settings.hugetlbfs = mount_dir;
        huge_guest(real, QEMU_RAM_HUGETLBFS);
        assert_int_equal(umount(mount_dir), 0);
        assert_true(set_huge_pages(before));
}

/* ---- direct I/O ---- */

/* Whether QEMU has the file open with O_DIRECT for its own use. */
static bool is_direct(Qemu *qemu, const char *node) {
        QmpBlockNode *nodes = NULL;
        unsigned n = 0;

        assert_int_equal(qmp_query_named_block_nodes(qemu_monitor(qemu), &nodes, &n, NULL), 0);
        const QmpBlockNode *found = qmp_block_nodes_find(nodes, n, node);
        assert_non_null(found);
        bool direct = found->direct;
        qmp_block_nodes_free(nodes, n);
        return direct;
}

static void direct_io(void *userdata) {
        Real *real = userdata;
        g_autofree char *raw = g_build_filename(real->root, "raw.img", NULL),
                        *top = g_build_filename(real->root, "top.qcow2", NULL);
        const char *const make_raw[] = {"/usr/bin/qemu-img", "create", "-q", "-f", "raw", raw, "16M", NULL};
        const char *const make_top[] = {
                "/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", top, NULL};
        g_autoptr(GError) error = NULL;
        Seen seen = {};

        assert_int_equal(spawn_run(make_raw, 30 * USEC_PER_SEC, NULL, NULL), 0);
        assert_int_equal(spawn_run(make_top, 30 * USEC_PER_SEC, NULL, NULL), 0);
        g_autofree char *disk = g_strdup_printf("<disk type='file' device='disk'><driver name='qemu' type='qcow2' "
                                                "cache='none' io='native' discard='unmap'/>"
                                                "<source file='%s'/><target dev='vda' bus='virtio'/></disk>",
                                                top);
        g_autofree char *xml = real_xml("direct", "q35", 64, disk, NULL);
        g_autoptr(DomainDef) def = real_def(real, xml);

        Qemu *qemu = start(real, def, false, &seen);
        assert_int_equal(qmp_cont(qemu_monitor(qemu), NULL), 0);
        assert_true(is_direct(qemu, "libvirt-1-storage"));
        assert_true(is_direct(qemu, "libvirt-2-storage"));
        for (int i = 0; i < 2; i++) {
                if (qemu_direct_io_suspend(qemu, def, &error) < 0)
                        fail_msg("%s", error->message);
                assert_false(is_direct(qemu, "libvirt-1-storage"));
                assert_false(is_direct(qemu, "libvirt-2-storage"));
                if (qemu_direct_io_resume(qemu, def, &error) < 0)
                        fail_msg("%s", error->message);
                assert_true(is_direct(qemu, "libvirt-1-storage"));
                assert_true(is_direct(qemu, "libvirt-2-storage"));
        }
        stop(qemu, &seen);
}

/* ---- device state ---- */

static void copy_ram(const QemuRamBlock *from, const QemuRamBlock *to) {
        char buffer[65536];

        assert_int_equal(from->size_bytes, to->size_bytes);
        assert_string_equal(from->id, to->id);
        for (off_t data = lseek(from->fd, 0, SEEK_DATA); data >= 0;) {
                off_t end = lseek(from->fd, data, SEEK_HOLE);
                while (data < end) {
                        ssize_t n = pread(from->fd, buffer, MIN(sizeof(buffer), (size_t) (end - data)), data);
                        assert_true(n > 0);
                        assert_int_equal(pwrite(to->fd, buffer, (size_t) n, data), n);
                        data += n;
                }
                data = lseek(from->fd, end, SEEK_DATA);
        }
}

static void wait_incoming(Monitor *monitor) {
        g_autoptr(GError) error = NULL;

        if (qmp_migrate_wait(monitor, 20 * USEC_PER_SEC, NULL, &error) < 0)
                fail_msg("destination: %s", error->message);
}

/* Guest RAM by copying files, all else through QEMU's stream without RAM: the blocks have the same names on both sides,
 * or this fails. */
static void device_state(Real *real, const char *machine, const char *devices, const char *more) {
        g_autofree char *xml = real_xml("moves", machine, 128, devices, more);
        g_autofree char *other_state = g_build_filename(real->root, "state2", NULL);
        g_autoptr(DomainDef) src_def = real_def(real, xml), dst_def = domain_def_copy(src_def);
        g_autoptr(GError) error = NULL;
        Seen src_seen = {}, dst_seen = {};
        g_auto(QmpMigrateInfo) info = {};
        QmpStatus status = {};
        Real other = *real;
        int pair[2];

        other.settings.state_dir = other_state;
        assert_int_equal(qemu_ram_mount(&other.settings, NULL), 0);
        Qemu *src = start(real, src_def, false, &src_seen), *dst = start(&other, dst_def, true, &dst_seen);
        assert_int_equal(qmp_cont(qemu_monitor(src), NULL), 0);
        assert_int_equal(qmp_stop(qemu_monitor(src), NULL), 0);

        assert_int_equal(qemu_ram(src)->n_blocks, qemu_ram(dst)->n_blocks);
        for (unsigned i = 0; i < qemu_ram(src)->n_blocks; i++)
                copy_ram(&qemu_ram(src)->blocks[i], &qemu_ram(dst)->blocks[i]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(qmp_migrate_prepare_device_state(qemu_monitor(src), NULL), 0);
        assert_int_equal(qmp_migrate_prepare_device_state(qemu_monitor(dst), NULL), 0);
        if (qmp_migrate_incoming_fd(qemu_monitor(dst), pair[1], &error) < 0 ||
            qmp_migrate_fd(qemu_monitor(src), pair[0], &error) < 0)
                fail_msg("%s", error->message);
        close(pair[0]);
        close(pair[1]);
        if (qmp_migrate_wait(qemu_monitor(src), 20 * USEC_PER_SEC, &info, &error) < 0) {
                g_autofree char *tail = qemu_log_tail(dst);
                fail_msg("source: %s; destination's log: %s", error->message, tail);
        }
        print_message("%s: %llu bytes of device state in %llu ms\n", machine,
                      (unsigned long long) info.transferred_bytes, (unsigned long long) info.total_msec);
        /* the RAM itself was not in it. */
        assert_true(info.transferred_bytes < 32 * MIB);
        wait_incoming(qemu_monitor(dst));
        stop(src, &src_seen);
        if (qmp_cont(qemu_monitor(dst), &error) < 0)
                fail_msg("%s", error->message);
        assert_int_equal(qmp_query_status(qemu_monitor(dst), &status, NULL), 0);
        assert_true(status.running);
        stop(dst, &dst_seen);
        assert_int_equal(qemu_ram_unmount(&other.settings), 0);
}

#define DEVICES                                                                                                        \
        "<controller type='scsi' model='virtio-scsi'/><controller type='usb' model='qemu-xhci'/>"                      \
        "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"                                       \
        "<interface type='user'><model type='virtio'/></interface><interface type='user'><model "                      \
        "type='e1000e'/></interface>"                                                                                  \
        "<serial type='pty'/><console type='pty'><target type='virtio'/></console>"                                    \
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"                         \
        "<input type='tablet' bus='usb'/><graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>"      \
        "<watchdog model='i6300esb' action='reset'/><memballoon model='virtio'/><rng model='virtio'><backend "         \
        "model='random'>/dev/urandom</backend></rng>"                                                                  \
        "<panic model='isa'/>"

static void state_q35(void *userdata) {
        device_state(userdata, "q35", DEVICES, NULL);
}

static void state_i440fx(void *userdata) {
        device_state(userdata, "pc", DEVICES, NULL);
}

static void state_cells(void *userdata) {
        device_state(userdata, "q35", NULL,
                     "<cpu mode='maximum'><numa><cell id='0' cpus='0' memory='64' unit='MiB'/><cell id='1' memory='64' "
                     "unit='MiB'/></numa></cpu>"
                     "<memoryBacking><source type='memfd'/></memoryBacking>");
}

static void state_host_model(void *userdata) {
        device_state(userdata, "q35", "<video><model type='virtio'/></video>", "<cpu mode='host-model'/>");
}

/* ---- pinning ---- */

static int cpus_of(pid_t thread) {
        cpu_set_t set;

        assert_int_equal(sched_getaffinity(thread, sizeof(set), &set), 0);
        return CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set) ? 0 : -1;
}

/* The emulator's pinning is not the vCPUs'. */
static void pinning(void *userdata) {
        Real *real = userdata;
        g_autofree char *pinned_xml =
                real_xml("pin", "q35", 64, NULL, "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>");
        g_autofree char *emulator_xml =
                real_xml("pin", "q35", 64, NULL, "<cputune><emulatorpin cpuset='0'/></cputune>");

        for (int i = 0; i < 2; i++) {
                g_autoptr(DomainDef) def = real_def(real, i == 0 ? pinned_xml : emulator_xml);
                QmpCpu *cpus = NULL;
                unsigned n = 0;
                Seen seen = {};

                Qemu *qemu = start(real, def, false, &seen);
                assert_int_equal(qmp_query_cpus(qemu_monitor(qemu), &cpus, &n, NULL), 0);
                assert_int_equal(n, 1);
                bool several = cpus_of(getpid()) < 0; /* else there is nothing to tell apart */
                assert_int_equal(cpus_of(cpus[0].thread_id), i == 0 || !several ? 0 : -1);
                assert_int_equal(cpus_of(qemu_pid(qemu)), i == 1 || !several ? 0 : -1);
                qmp_cpus_free(cpus, n);
                stop(qemu, &seen);
        }
}

/* ---- network ---- */

/* Taps are made, plugged in, and gone with QEMU. The test has a network namespace of its own. */
static void network(void *userdata) {
        Real *real = userdata;
        g_autofree char *xml = real_xml("net", "q35", 64,
                                        "<interface type='bridge'><source bridge='testbr0'/><model "
                                        "type='virtio'/><driver queues='2'/></interface>"
                                        "<interface type='ethernet'><target dev='testtap0'/><model "
                                        "type='e1000e'/><link state='down'/></interface>"
                                        "<interface type='user'><model type='virtio'/></interface>",
                                        NULL);
        _cleanup_fd_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq request = {};
        Seen seen = {};

        assert_false(qemu_net_is_bridge("lo"));
        assert_int_equal(ioctl(control, SIOCBRADDBR, "testbr0"), 0);
        assert_true(qemu_net_is_bridge("testbr0"));
        g_autoptr(DomainDef) def = real_def(real, xml);
        Qemu *qemu = start(real, def, false, &seen);
        assert_string_equal(qemu_tap(qemu, 1), "testtap0");
        assert_null(qemu_tap(qemu, 2));
        g_autofree char *tap = g_strdup(qemu_tap(qemu, 0));
        assert_string_equal(((const NetDef *) def->nets->pdata[0])->target, tap);
        assert_true(qemu_net_exists(tap) && qemu_net_exists("testtap0"));
        g_strlcpy(request.ifr_name, tap, IFNAMSIZ);
        assert_int_equal(ioctl(control, SIOCGIFFLAGS, &request), 0);
        assert_true((request.ifr_flags & IFF_UP) != 0);
        assert_int_equal(ioctl(control, SIOCGIFHWADDR, &request), 0);
        assert_int_equal((unsigned char) request.ifr_hwaddr.sa_data[0], 0xfe);
        stop(qemu, &seen);
        assert_false(qemu_net_exists(tap) || qemu_net_exists("testtap0"));
        assert_int_equal(ioctl(control, SIOCBRDELBR, "testbr0"), 0);
}

/* ---- what a start writes into the definition ---- */

static void choices(void *userdata) {
        Real *real = userdata;
        g_autofree char *xml = real_xml(
                "choices", "q35", 64,
                "<serial type='pty'/><graphics type='vnc' autoport='yes' passwd='secret'/>"
                "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel><memballoon "
                "model='virtio'><stats period='2'/></memballoon>",
                "<currentMemory unit='MiB'>48</currentMemory>");
        g_autoptr(DomainDef) def = real_def(real, xml);
        QmpBalloonStats stats = {};
        uint64_t bytes = 0;
        Seen seen = {};

        Qemu *qemu = start(real, def, false, &seen);
        const CharDef *serial = def->serials->pdata[0], *console = def->consoles->pdata[0],
                      *channel = def->channels->pdata[0];
        const GraphicsDef *graphics = def->graphics->pdata[0];
        assert_true(g_str_has_prefix(serial->source_path, "/dev/pts/"));
        assert_string_equal(console->source_path, serial->source_path);
        assert_int_equal(access(channel->source_path, F_OK), 0);
        assert_int_equal(channel->state, CHANNEL_STATE_DISCONNECTED);
        assert_true(graphics->port >= 5900);
        assert_int_equal(qmp_query_balloon(qemu_monitor(qemu), &bytes, NULL), 0);
        assert_int_equal(qmp_balloon_stats(qemu_monitor(qemu), def->balloon.info.alias, &stats, NULL), 0);
        assert_int_equal(stats.free, UINT64_MAX);
        stop(qemu, &seen);
}

/* ---- the golden definitions, for real ---- */

/* text with the folders of the golden definitions below root; owned by the caller. */
static char *move_paths(const char *text, const char *root) {
        static const char *const folders[] = {"'/srv/", "'/var/log/", "'/run/"};
        char *moved = g_strdup(text);

        for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_auto(GStrv) parts = g_strsplit(moved, folders[i], -1);
                g_autofree char *to = g_strdup_printf("'%s/", root);
                g_free(moved);
                moved = g_strjoinv(to, parts);
        }
        return moved;
}

/* QEMU takes each of those command lines, and has nothing to say about it. */
static void goldens(void *userdata) {
        Real *real = userdata;
        static const char *const names[] = {"minimal-q35", "minimal-i440fx", "memfd",      "host-model",
                                            "characters",  "display",        "usb-i440fx", "passthrough"};
        static const char *const images[] = {"a.img", "a,b.img"};

        for (unsigned i = 0; i < G_N_ELEMENTS(images); i++) {
                g_autofree char *path = g_build_filename(real->root, images[i], NULL);
                const char *const make[] = {"/usr/bin/qemu-img", "create", "-q", "-f", "raw", path, "1M", NULL};
                assert_int_equal(spawn_run(make, 30 * USEC_PER_SEC, NULL, NULL), 0);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_strdup_printf(FERRY_SOURCE_DIR "/tests/qemu/data/%s.xml", names[i]),
                                *text = NULL;
                assert_int_equal(file_read(path, 1 * MIB, &text, NULL, NULL), 0);
                g_autofree char *xml = move_paths(text, real->root);
                g_autoptr(DomainDef) def = real_def(real, xml);
                Seen seen = {};

                Qemu *qemu = start(real, def, false, &seen);
                g_autofree char *tail = qemu_log_tail(qemu);
                if (*tail)
                        print_message("%s: %s\n", names[i], tail);
                assert_null(strstr(tail, "deprecated"));
                stop(qemu, &seen);
        }
}

/* ---- running them ---- */

typedef struct Case {
        void (*body)(void *real);
} Case;

static void run_in_fiber(void *userdata) {
        const Case *test = userdata;
        Real real = {};

        real_setup(&real);
        test->body(&real);
        real_teardown(&real);
}

static void run(void **state) {
        assert_int_equal(fiber_run("test", run_in_fiber, *state), 0);
}

#define CASE(name)                                                                                                     \
        {                                                                                                              \
#name, run, NULL, NULL, &(Case) {                                                                      \
                        name                                                                                           \
                }                                                                                                      \
        }

/* A network namespace with nothing but a loopback device in it. */
static int enter_network(void) {
        struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

        if (unshare(CLONE_NEWNET) < 0)
                return -errno;
        _cleanup_fd_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return ioctl(control, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(life_q35),         CASE(life_i440fx),  CASE(reattach_file),
                CASE(reattach_memfd),   CASE(dies),         CASE(failures),
                CASE(allocation),       CASE(direct_io),    CASE(hugepages),
                CASE(state_q35),        CASE(state_i440fx), CASE(state_cells),
                CASE(state_host_model), CASE(choices),      CASE(goldens),
                CASE(network),          CASE(pinning),      CASE(quits),
        };
        const char *missing = real_missing();

        if (missing) {
                printf("skipped: %s\n", missing);
                return REAL_SKIP;
        }
        int r = enter_network();
        if (r < 0) {
                printf("skipped: no network namespace to be had (%s)\n", strerror(-r));
                return REAL_SKIP;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
