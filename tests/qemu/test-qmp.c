/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/qmp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/json.h"
#include "tests/lib/qmp_server.h"

typedef struct Case {
        const char *script;
        void (*body)(Monitor *monitor);
} Case;

static void run_in_fiber(void *userdata) {
        const Case *test = userdata;
        int fd;

        QmpServer *server = qmp_server_new(fiber_event(), test->script, &fd);
        Monitor *monitor = monitor_new(fiber_event(), fd, "the test's QEMU", NULL, NULL);
        assert_int_equal(monitor_handshake_qmp(monitor, 5 * USEC_PER_SEC, NULL), 0);
        test->body(monitor);
        qmp_server_finish(server);
        monitor_close(monitor);
        monitor_unref(monitor);
}

static void run(void **state) {
        assert_int_equal(fiber_run("test", run_in_fiber, *state), 0);
}

/* ---- machine ---- */

static void simple(Monitor *monitor) {
        QmpStatus status = {};

        assert_int_equal(qmp_stop(monitor, NULL), 0);
        assert_int_equal(qmp_query_status(monitor, &status, NULL), 0);
        assert_true(status.running);
        assert_int_equal(status.state, QMP_RUN_STATE_RUNNING);
        /* A state of a newer QEMU is unknown, not an error. */
        assert_int_equal(qmp_query_status(monitor, &status, NULL), 0);
        assert_int_equal(status.state, _QMP_RUN_STATE_INVALID);
        assert_int_equal(qmp_set_action(monitor, "shutdown", NULL, NULL), 0);
}

static void errors(Monitor *monitor) {
        g_autoptr(GError) generic = NULL, missing = NULL, balloon = NULL;
        uint64_t bytes = 0;

        assert_int_equal(qmp_cont(monitor, &generic), -EREMOTEIO);
        assert_true(error_is(generic, VIR_ERR_OPERATION_FAILED));
        assert_string_equal(generic->message, "Failed to get \"write\" lock");
        assert_int_equal(qmp_set_action(monitor, "reset", NULL, &missing), -EREMOTEIO);
        assert_true(error_is(missing, VIR_ERR_OPERATION_UNSUPPORTED));
        assert_true(qmp_query_balloon(monitor, &bytes, &balloon) < 0);
        assert_true(error_is(balloon, VIR_ERR_OPERATION_INVALID));
        assert_non_null(strstr(balloon->message, "memballoon"));
}

static void ends_early(Monitor *monitor) {
        assert_int_equal(qmp_system_reset(monitor, NULL), -ENOTCONN);
        assert_false(monitor_is_open(monitor));
        g_autoptr(GError) error = NULL;
        assert_int_equal(qmp_stop(monitor, &error), -ENOTCONN);
}

static void machine(Monitor *monitor) {
        QmpBalloonStats stats = {};
        QmpChardev *chardevs = NULL;
        QmpCpu *cpus = NULL;
        static const char *const ours[] = { "ram0", "ram1", NULL };
        uint64_t sizes[4];
        unsigned n = 0, port = 1;
        g_autofree char *text = NULL;

        assert_int_equal(qmp_query_cpus(monitor, &cpus, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_int_equal(cpus[1].thread_id, 4712);
        assert_int_equal(cpus[1].index, 1);
        qmp_cpus_free(cpus, n);

        assert_int_equal(qmp_balloon_stats(monitor, "balloon0", &stats, NULL), 0);
        assert_int_equal(stats.free, 1024);
        assert_int_equal(stats.swap_in, UINT64_MAX);
        assert_int_equal(stats.last_update_sec, 1700000000);

        assert_int_equal(qmp_query_chardevs(monitor, &chardevs, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_string_equal(chardevs[0].pty, "/dev/pts/3");
        assert_null(chardevs[1].pty);
        assert_true(chardevs[1].frontend_open);
        qmp_chardevs_free(chardevs, n);

        assert_int_equal(qmp_query_vnc_port(monitor, &port, NULL), 0);
        assert_int_equal(port, 5901);
        assert_int_equal(qmp_query_vnc_port(monitor, &port, NULL), 0);
        assert_int_equal(port, 0);
        assert_int_equal(qmp_human_monitor_command(monitor, "info status", &text, NULL), 0);
        assert_string_equal(text, "VM status: running\r\n");
        assert_int_equal(qmp_private_ram_sizes(monitor, ours, G_N_ELEMENTS(sizes), sizes, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_int_equal(sizes[0], 0x1000000);
        assert_int_equal(sizes[1], 0x200000);
}

/* Answers of the wrong shape are errors or nothing, never a crash. */
static void nonsense(Monitor *monitor) {
        QmpChardev *chardevs = NULL;
        QmpBlockStats *stats = NULL;
        QmpCpu *cpus = NULL;
        unsigned n = 0;

        assert_true(qmp_query_cpus(monitor, &cpus, &n, NULL) < 0);
        assert_int_equal(qmp_query_cpus(monitor, &cpus, &n, NULL), 0);
        assert_int_equal(n, 3);
        qmp_cpus_free(cpus, n);
        assert_true(qmp_query_chardevs(monitor, &chardevs, &n, NULL) < 0);
        assert_int_equal(qmp_query_block_stats(monitor, &stats, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(stats[0].rd_bytes, 0);
        qmp_block_stats_free(stats, n);
}

static void names_of_states(void **state) {
        for (int i = 0; i < _QMP_RUN_STATE_MAX; i++)
                assert_int_equal(qmp_run_state_from_string(qmp_run_state_to_string(i)), i);
        for (int i = 0; i < _QMP_MIGRATE_MAX; i++)
                assert_int_equal(qmp_migrate_state_from_string(qmp_migrate_state_to_string(i)), i);
        assert_int_equal(_QMP_MIGRATE_MAX, 17);
        assert_int_equal(qmp_migrate_state_from_string("newer"), _QMP_MIGRATE_INVALID);
        assert_int_equal(qmp_migrate_state_from_string(NULL), _QMP_MIGRATE_INVALID);
}

/* ---- disks ---- */

static void blocks(Monitor *monitor) {
        QmpBlockStats *stats = NULL;
        QmpBlockNode *nodes = NULL;
        unsigned n = 0;

        assert_int_equal(qmp_query_block_stats(monitor, &stats, &n, NULL), 0);
        const QmpBlockStats *disk = qmp_block_stats_find(stats, n, "virtio-disk0");
        assert_non_null(disk);
        assert_int_equal(disk->wr_bytes, 8192);
        assert_int_equal(disk->wr_highest_offset, 99);
        assert_non_null(qmp_block_stats_find(stats, n, "sata0-0-1"));
        /* "virtio-disk" is no name of "virtio-disk0". */
        assert_null(qmp_block_stats_find(stats, n, "virtio-disk"));
        qmp_block_stats_free(stats, n);

        assert_int_equal(qmp_query_named_block_nodes(monitor, &nodes, &n, NULL), 0);
        const QmpBlockNode *node = qmp_block_nodes_find(nodes, n, "libvirt-1-storage");
        assert_non_null(node);
        assert_true(node->direct && !node->no_flush);
        assert_int_equal(node->virtual_bytes, 1048576);
        qmp_block_nodes_free(nodes, n);

        json_object *options = json_object_new_array();
        json_object_array_add(options, json_add_string(json_object_new_object(), "node-name", "a"));
        assert_int_equal(qmp_blockdev_reopen(monitor, options, NULL), 0);
}

/* ---- migration ---- */

static void migrates(Monitor *monitor) {
        g_auto(QmpMigrateInfo) info = {};
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(qmp_migrate_prepare_device_state(monitor, NULL), 0);
        assert_int_equal(qmp_migrate_fd(monitor, pair[0], NULL), 0);
        assert_int_equal(qmp_migrate_wait(monitor, 5 * USEC_PER_SEC, &info, NULL), 0);
        assert_int_equal(info.state, QMP_MIGRATE_COMPLETED);
        assert_int_equal(info.transferred_bytes, 210280);
        assert_int_equal(info.downtime_msec, 8);
        close(pair[0]);
        close(pair[1]);
}

static void migration_fails(Monitor *monitor) {
        g_autoptr(GError) failed = NULL, refused = NULL;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        /* The descriptor is taken back when the command is refused. */
        assert_int_equal(qmp_migrate_incoming_fd(monitor, pair[0], &refused), -EREMOTEIO);
        assert_string_equal(refused->message, "no");
        assert_true(qmp_migrate_wait(monitor, 5 * USEC_PER_SEC, NULL, &failed) < 0);
        assert_non_null(strstr(failed->message, "Broken pipe"));
        close(pair[0]);
        close(pair[1]);
}

static void hangs(Monitor *monitor) {
        g_autoptr(GError) error = NULL;

        assert_int_equal(monitor_call(monitor, "query-status", NULL, NULL, 0, 20 * USEC_PER_MSEC, NULL, &error),
                         -ETIMEDOUT);
        assert_true(error_is(error, VIR_ERR_OPERATION_TIMEOUT));
        /* The late answer does not disturb the next call. */
        QmpStatus status = {};
        assert_int_equal(qmp_query_status(monitor, &status, NULL), 0);
        assert_int_equal(status.state, QMP_RUN_STATE_PAUSED);
}

static const Case simple_case = {
        "> stop\n"
        "* {\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\n"
        "< {}\n"
        "> query-status\n"
        "< {\"running\":true,\"singlestep\":false,\"status\":\"running\"}\n"
        "> query-status\n"
        "< {\"running\":false,\"status\":\"dreaming\"}\n"
        "> set-action {\"reboot\":\"shutdown\"}\n"
        "< {}\n",
        simple,
};
static const Case errors_case = {
        "> cont\n"
        "! GenericError Failed to get \"write\" lock\n"
        "> set-action\n"
        "! CommandNotFound The command set-action has not been found\n"
        "> query-balloon\n"
        "! DeviceNotActive No balloon device has been activated\n",
        errors,
};
static const Case ends_early_case = {"> system_reset\nx\n", ends_early};
static const Case machine_case = {
        "> query-cpus-fast\n"
        "< "
        "[{\"cpu-index\":0,\"thread-id\":4711,\"qom-path\":\"/a\"},{\"cpu-index\":1,\"thread-id\":4712,\"qom-path\":\"/"
        "b\"}]\n"
        "> qom-get {\"path\":\"/machine/peripheral/balloon0\",\"property\":\"guest-stats\"}\n"
        "< {\"stats\":{\"stat-free-memory\":1024,\"stat-swap-in\":18446744073709551615},\"last-update\":1700000000}\n"
        "> query-chardev\n"
        "< [{\"label\":\"charserial0\",\"filename\":\"pty:/dev/pts/3\",\"frontend-open\":true},"
        "{\"label\":\"charchannel0\",\"filename\":\"disconnected:unix:/a.sock,server=on\",\"frontend-open\":true}]\n"
        "> query-vnc\n"
        "< {\"enabled\":true,\"service\":\"5901\",\"host\":\"127.0.0.1\"}\n"
        "> query-vnc\n"
        "< {\"enabled\":false}\n"
        "> human-monitor-command {\"command-line\":\"info status\"}\n"
        "< \"VM status: running\\r\\n\"\n"
        "> human-monitor-command {\"command-line\":\"info ramblock\"}\n"
        "< \"   Block Name    PSize   Offset   Used   Total\\r\\n   ram0    4 KiB  0x0 0x4000000 0x4000000\\r\\n"
        " 0000:00:01.0/vga.vram    4 KiB  0x4080000 0x1000000 0x1000000\\r\\n /objects/ram1  2 MiB 0x0 0x1 0x1\\n"
        " /rom@etc/acpi/tables    4 KiB  0x5100000 0x20000 0x200000  0x7f00 rw\\n\"\n",
        machine,
};
static const Case nonsense_case = {
        "> query-cpus-fast\n"
        "< {\"cpus\":1}\n"
        "> query-cpus-fast\n"
        "< [1,null,{\"thread-id\":\"many\"}]\n"
        "> query-chardev\n"
        "< \"none\"\n"
        "> query-blockstats\n"
        "< [{\"stats\":[1,2],\"qdev\":7,\"parent\":\"x\"}]\n",
        nonsense,
};
static const Case blocks_case = {
        "> query-blockstats\n"
        "< "
        "[{\"qdev\":\"/machine/peripheral/virtio-disk0/"
        "virtio-backend\",\"node-name\":\"libvirt-1-format\",\"stats\":{\"rd_bytes\":4096,\"wr_bytes\":8192},"
        "\"parent\":{\"stats\":{\"wr_highest_offset\":99}}},{\"qdev\":\"sata0-0-1\",\"stats\":{}}]\n"
        "> query-named-block-nodes {\"flat\":true}\n"
        "< "
        "[{\"node-name\":\"libvirt-1-storage\",\"drv\":\"file\",\"file\":\"/"
        "a.img\",\"ro\":false,\"cache\":{\"no-flush\":false,\"direct\":true,\"writeback\":true},"
        "\"image\":{\"virtual-size\":1048576,\"actual-size\":4096}}]\n"
        "> blockdev-reopen {\"options\":[{\"node-name\":\"a\"}]}\n"
        "< {}\n",
        blocks,
};
static const Case migrates_case = {
        "> migrate-set-capabilities "
        "{\"capabilities\":[{\"capability\":\"events\",\"state\":true},{\"capability\":\"x-ignore-shared\",\"state\":"
        "true}]}\n"
        "< {}\n"
        "> migrate-set-parameters {\"max-bandwidth\":9223372036853727232}\n"
        "< {}\n"
        "> getfd {\"fdname\":\"ferry-out\"}\n"
        "fd\n"
        "< {}\n"
        "> migrate {\"uri\":\"fd:ferry-out\"}\n"
        "* {\"event\":\"MIGRATION\",\"data\":{\"status\":\"setup\"}}\n"
        "< {}\n"
        "> query-migrate\n"
        "< {}\n"
        "> query-migrate\n"
        "< {\"status\":\"active\",\"ram\":{\"transferred\":1}}\n"
        "> query-migrate\n"
        "< "
        "{\"status\":\"completed\",\"downtime\":8,\"total-time\":9,\"ram\":{\"transferred\":210280,\"remaining\":0}}\n",
        migrates,
};
static const Case migration_fails_case = {
        "> getfd {\"fdname\":\"ferry-in\"}\n"
        "fd\n"
        "< {}\n"
        "> migrate-incoming {\"uri\":\"fd:ferry-in\"}\n"
        "! GenericError no\n"
        "> closefd {\"fdname\":\"ferry-in\"}\n"
        "< {}\n"
        "> query-migrate\n"
        "< {\"status\":\"failed\",\"error-desc\":\"Unable to write: Broken pipe\"}\n",
        migration_fails,
};
static const Case hangs_case = {
        "> query-status\n"
        "> query-status\n"
        "= {\"return\":{\"status\":\"running\"},\"id\":2}\n"
        "< {\"running\":false,\"status\":\"paused\"}\n",
        hangs,
};

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_of_states),
                {"simple", run, NULL, NULL, (void *) &simple_case},
                {"errors", run, NULL, NULL, (void *) &errors_case},
                {"ends_early", run, NULL, NULL, (void *) &ends_early_case},
                {"machine", run, NULL, NULL, (void *) &machine_case},
                {"nonsense", run, NULL, NULL, (void *) &nonsense_case},
                {"blocks", run, NULL, NULL, (void *) &blocks_case},
                {"migrates", run, NULL, NULL, (void *) &migrates_case},
                {"migration_fails", run, NULL, NULL, (void *) &migration_fails_case},
                {"hangs", run, NULL, NULL, (void *) &hangs_case},
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
