/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A probe starts the binary with `-machine none` and asks; the answers are kept as one JSON document, {"binary",
 * "version", "machines", "types", ...}, and a QemuCaps is an index over such a document. Where KVM works the binary is
 * asked twice, because CPU models differ: once with KVM, once with TCG.
 */

#include "driver/qemu/caps.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/monitor.h"
#include "driver/base/spawn.h"

#define CAPS_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define CAPS_MONITOR_FD 3
/* Bounds on what is believed of a binary's answers. */
#define CAPS_MAX_ENTRIES 65536

/* Answers that depend on the accelerator. */
typedef struct CapsAccel {
        bool usable;
        QemuCpuModel *models;
        unsigned n_models;
        GHashTable *features; /* of -cpu host or -cpu max: name -> itself */
        char *host_model;
        char **host_model_features;
} CapsAccel;

struct QemuCaps {
        unsigned refs;
        json_object *document;
        char *binary, *arch;
        unsigned version;
        QemuMachine *machines;
        unsigned n_machines;
        GHashTable *types, *commands, *options; /* sets of borrowed strings */
        CapsAccel kvm, tcg;
};

/* ---- access ---- */

static bool caps_set_has(GHashTable *set, const char *name) {
        return name && g_hash_table_contains(set, name);
}

const char *qemu_caps_binary(const QemuCaps *caps) {
        return caps->binary;
}

unsigned qemu_caps_version(const QemuCaps *caps) {
        return caps->version;
}

const char *qemu_caps_arch(const QemuCaps *caps) {
        return caps->arch;
}

const QemuMachine *qemu_caps_machines(const QemuCaps *caps, unsigned *ret_n) {
        *ret_n = caps->n_machines;
        return caps->machines;
}

const QemuMachine *qemu_caps_machine(const QemuCaps *caps, const char *name) {
        for (unsigned i = 0; name && i < caps->n_machines; i++)
                if (g_str_equal(caps->machines[i].name, name) || g_strcmp0(caps->machines[i].alias, name) == 0)
                        return &caps->machines[i];
        return NULL;
}

const QemuMachine *qemu_caps_default_machine(const QemuCaps *caps) {
        const QemuMachine *machine = qemu_caps_machine(caps, "q35");

        for (unsigned i = 0; !machine && i < caps->n_machines; i++)
                if (caps->machines[i].is_default)
                        machine = &caps->machines[i];
        return machine ?: &caps->machines[0];
}

bool qemu_caps_has_type(const QemuCaps *caps, const char *type) {
        return caps_set_has(caps->types, type);
}

bool qemu_caps_has_option(const QemuCaps *caps, const char *option) {
        return caps_set_has(caps->options, option);
}

bool qemu_caps_has_command(const QemuCaps *caps, const char *command) {
        return caps_set_has(caps->commands, command);
}

bool qemu_caps_kvm(const QemuCaps *caps) {
        return caps->kvm.usable;
}

bool qemu_caps_tcg(const QemuCaps *caps) {
        return caps->tcg.usable;
}

static const CapsAccel *caps_accel(const QemuCaps *caps, bool kvm) {
        return (kvm && caps->kvm.usable) || !caps->tcg.usable ? &caps->kvm : &caps->tcg;
}

const QemuCpuModel *qemu_caps_cpu_models(const QemuCaps *caps, bool kvm, unsigned *ret_n) {
        const CapsAccel *accel = caps_accel(caps, kvm);

        *ret_n = accel->n_models;
        return accel->models;
}

const QemuCpuModel *qemu_caps_cpu_model(const QemuCaps *caps, bool kvm, const char *name) {
        const CapsAccel *accel = caps_accel(caps, kvm);

        for (unsigned i = 0; name && i < accel->n_models; i++)
                if (g_str_equal(accel->models[i].name, name))
                        return &accel->models[i];
        return NULL;
}

const char *qemu_caps_host_model(const QemuCaps *caps, bool kvm) {
        return caps_accel(caps, kvm)->host_model;
}

const char *const *qemu_caps_host_model_features(const QemuCaps *caps, bool kvm) {
        return (const char *const *) caps_accel(caps, kvm)->host_model_features;
}

bool qemu_caps_host_has_feature(const QemuCaps *caps, bool kvm, const char *feature) {
        return caps_set_has(caps_accel(caps, kvm)->features, feature);
}

char *qemu_caps_feature_name(const char *name) {
        if (g_str_equal(name, "pclmuldq"))
                return g_strdup("pclmulqdq");

        char *copy = g_strdup(name);
        for (char *p = copy; *p; p++)
                if (*p == '_')
                        *p = '-';
        return copy;
}

/* ---- from the document ---- */

static size_t caps_array_length(json_object *array) {
        return json_object_is_type(array, json_type_array) ? MIN(json_object_array_length(array), CAPS_MAX_ENTRIES) : 0;
}

static GHashTable *caps_string_set(json_object *array) {
        GHashTable *set = g_hash_table_new(g_str_hash, g_str_equal);

        for (size_t i = 0; i < caps_array_length(array); i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                if (json_object_is_type(entry, json_type_string))
                        g_hash_table_add(set, (gpointer) json_object_get_string(entry));
        }
        return set;
}

static char **caps_strv(json_object *array) {
        g_autoptr(GPtrArray) list = g_ptr_array_new();

        for (size_t i = 0; i < caps_array_length(array); i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                if (json_object_is_type(entry, json_type_string))
                        g_ptr_array_add(list, g_strdup(json_object_get_string(entry)));
        }
        g_ptr_array_add(list, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&list), FALSE);
}

static void caps_load_accel(json_object *document, CapsAccel *accel) {
        json_object *models = json_get(document, "models");
        size_t n = caps_array_length(models);

        accel->usable = document;
        accel->models = g_new0(QemuCpuModel, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(models, i);
                const char *name = json_get_string(entry, "name");
                if (!name)
                        continue;
                accel->models[accel->n_models++] = (QemuCpuModel){
                        .name = g_strdup(name),
                        .deprecated = json_get_bool(entry, "deprecated", false),
                        .blockers = caps_strv(json_get(entry, "unavailable-features")),
                };
        }
        accel->features = caps_string_set(json_get(document, "features"));
        accel->host_model = g_strdup(json_get_string(document, "host-model"));
        accel->host_model_features = caps_strv(json_get(document, "host-model-features"));
}

static void caps_load_machines(QemuCaps *caps, json_object *array) {
        size_t n = caps_array_length(array);

        caps->machines = g_new0(QemuMachine, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                const char *name = json_get_string(entry, "name");
                if (!name || g_str_equal(name, "none"))
                        continue;
                caps->machines[caps->n_machines++] = (QemuMachine){
                        .name = g_strdup(name),
                        .alias = g_strdup(json_get_string(entry, "alias")),
                        .max_cpus = (unsigned) json_get_uint64(entry, "cpu-max", 1),
                        .is_default = json_get_bool(entry, "is-default", false),
                        .deprecated = json_get_bool(entry, "deprecated", false),
                        .hotpluggable_cpus = json_get_bool(entry, "hotpluggable-cpus", false),
                        .numa_mem_supported = json_get_bool(entry, "numa-mem-supported", false),
                        .default_cpu = g_strdup(json_get_string(entry, "default-cpu-type")),
                        .default_ram_id = g_strdup(json_get_string(entry, "default-ram-id")),
                };
        }
}

int qemu_caps_from_json(json_object *document, QemuCaps **ret_caps, GError **reterr) {
        g_autoptr(QemuCaps) caps = g_new0(QemuCaps, 1);

        caps->refs = 1;
        caps->document = json_object_get(document);
        caps->binary = g_strdup(json_get_string(document, "binary"));
        caps->arch = g_strdup(json_get_string(document, "arch"));
        caps->version = (unsigned) json_get_uint64(document, "version", 0);
        caps_load_machines(caps, json_get(document, "machines"));
        caps->types = caps_string_set(json_get(document, "types"));
        caps->commands = caps_string_set(json_get(document, "commands"));
        caps->options = caps_string_set(json_get(document, "options"));
        caps_load_accel(json_get(document, "kvm"), &caps->kvm);
        caps_load_accel(json_get(document, "tcg"), &caps->tcg);
        if (!caps->binary || !caps->arch || caps->n_machines == 0 || caps->version == 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the emulator '%s' gave no usable description of itself"), caps->binary ?: "?");
        *ret_caps = g_steal_pointer(&caps);
        return 0;
}

json_object *qemu_caps_to_json(const QemuCaps *caps) {
        return json_object_get(caps->document);
}

QemuCaps *qemu_caps_ref(QemuCaps *caps) {
        caps->refs++;
        return caps;
}

static void caps_accel_clear(CapsAccel *accel) {
        for (unsigned i = 0; i < accel->n_models; i++) {
                g_free(accel->models[i].name);
                g_strfreev(accel->models[i].blockers);
        }
        g_free(accel->models);
        g_clear_pointer(&accel->features, g_hash_table_unref);
        g_free(accel->host_model);
        g_strfreev(accel->host_model_features);
}

QemuCaps *qemu_caps_unref(QemuCaps *caps) {
        if (!caps || --caps->refs > 0)
                return NULL;
        for (unsigned i = 0; i < caps->n_machines; i++) {
                g_free(caps->machines[i].name);
                g_free(caps->machines[i].alias);
                g_free(caps->machines[i].default_cpu);
                g_free(caps->machines[i].default_ram_id);
        }
        g_free(caps->machines);
        g_clear_pointer(&caps->types, g_hash_table_unref);
        g_clear_pointer(&caps->commands, g_hash_table_unref);
        g_clear_pointer(&caps->options, g_hash_table_unref);
        caps_accel_clear(&caps->kvm);
        caps_accel_clear(&caps->tcg);
        g_free(caps->binary);
        g_free(caps->arch);
        json_object_put(caps->document);
        g_free(caps);
        return NULL;
}

/* ---- asking a binary ---- */

/* One running `-machine none`. */
typedef struct Probe {
        const char *binary;
        int pidfd;
        Monitor *monitor;
        int errors_fd; /* memfd with what it says on stderr */
} Probe;

static void probe_end(Probe *probe) {
        if (probe->monitor)
                monitor_close(probe->monitor);
        probe->monitor = monitor_unref(probe->monitor);
        if (probe->pidfd >= 0)
                (void) spawn_end(probe->pidfd, 0, NULL);
        probe->pidfd = fd_close(probe->pidfd);
        probe->errors_fd = fd_close(probe->errors_fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Probe, probe_end)

static int probe_start(sd_event *event, const char *binary, const char *accel, Probe *probe, GError **reterr) {
        _cleanup_fd_ int ours = -EBADF, theirs = -EBADF;
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket for '%s'"), binary);
        ours = pair[0];
        theirs = pair[1];
        probe->errors_fd = memfd_create("stderr", MFD_CLOEXEC);

        g_autofree char *machine = g_strconcat("none,accel=", accel, NULL);
        g_autofree char *chardev = g_strdup_printf("socket,id=mon,fd=%d", CAPS_MONITOR_FD);
        const char *const argv[] = {binary,        "-S",       "-no-user-config",
                                    "-nodefaults", "-display", "none",
                                    "-machine",    machine,    "-chardev",
                                    chardev,       "-mon",     "chardev=mon,id=monitor,mode=control",
                                    NULL};
        SpawnFd fd = {.fd = theirs, .target = CAPS_MONITOR_FD};
        SpawnArgs args = {
                .argv = argv,
                .fds = &fd,
                .n_fds = 1,
                .stdin_fd = -1,
                .stdout_fd = -1,
                .stderr_fd = probe->errors_fd,
                .die_with_parent = true,
        };
        int r = spawn(&args, &pid, &probe->pidfd, reterr);
        if (r < 0)
                return r;
        theirs = fd_close(theirs);
        probe->binary = binary;
        probe->monitor = monitor_new(event, FD_STEAL(ours), binary, NULL, NULL);
        if (!probe->monitor)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot watch the monitor of '%s'"), binary);

        g_autoptr(GError) error = NULL;
        r = monitor_handshake_qmp(probe->monitor, CAPS_TIMEOUT_USEC, &error);
        if (r >= 0)
                return 0;
        char text[512] = "";
        ssize_t n = pread(probe->errors_fd, text, sizeof(text) - 1, 0);
        text[MAX(n, 0)] = '\0';
        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("the emulator '%s' cannot be used: %s"), binary,
                         text[0] ? g_strstrip(text) : error->message);
}

static int probe_ask(Probe *probe, const char *command, json_object *arguments, json_object **ret, GError **reterr) {
        return monitor_call(probe->monitor, command, arguments, NULL, 0, CAPS_TIMEOUT_USEC, ret, reterr);
}

/* The member "name" (or what key says) of each entry of a command's answer, as a sorted array of strings. */
static int caps_compare_strings(const void *a, const void *b) {
        return strcmp(json_object_get_string(*(json_object *const *) a),
                      json_object_get_string(*(json_object *const *) b));
}

static int probe_names(Probe *probe, const char *command, json_object *arguments, const char *key, json_object **ret,
                       GError **reterr) {
        g_autoptr(json_object) answer = NULL;

        int r = probe_ask(probe, command, arguments, &answer, reterr);
        if (r < 0)
                return r;
        json_object *names = json_object_new_array();
        for (size_t i = 0; i < caps_array_length(answer); i++) {
                const char *name = json_get_string(json_object_array_get_idx(answer, i), key);
                if (name)
                        json_object_array_add(names, json_object_new_string(name));
        }
        json_object_array_sort(names, caps_compare_strings);
        *ret = names;
        return 0;
}

/* The features that a CPU model has on: the boolean properties of its expansion that are true. NULL if QEMU cannot say.
 */
static GHashTable *probe_expand(Probe *probe, const char *model) {
        g_autoptr(json_object) answer = NULL;
        json_object *arguments = json_object_new_object();

        json_add_string(arguments, "type", "full");
        json_add(arguments, "model", json_add_string(json_object_new_object(), "name", model));
        if (probe_ask(probe, "query-cpu-model-expansion", arguments, &answer, NULL) < 0)
                return NULL;

        GHashTable *features = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        json_object *props = json_get(json_get(answer, "model"), "props");
        if (props && json_object_is_type(props, json_type_object)) {
                json_object_object_foreach(props, key, value) {
                        if (json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value))
                                g_hash_table_add(features, g_strdup(key));
                }
        }
        return features;
}

/* Boolean CPU properties that are switches of QEMU, not features of a CPU. */
static bool caps_is_switch(const char *name) {
        static const char *const switches[] = {
                "check",
                "enforce",
                "fill-mtrr-mask",
                "migratable",
                "host-cache-info",
                "host-phys-bits",
                "kvm",
                "l3-cache",
                "legacy-cache",
                "cpuid-0xb",
                "full-cpuid-auto-level",
                "kvm-no-smi-migration",
                "lmce",
                "pmu",
                "realized",
                "hotplugged",
                "hotpluggable",
                "tcg-cpuid",
                "vmware-cpuid-freq",
                "start-powered-off",
                "x-intel-pt-auto-level",
                "x-migrate-smi-count",
                "xen-vapic",
                "legacy-multi-node",
                "legacy-intel-cache-level",
                "x-amd-topoext-features-only",
                "x-vendor-cpuid-only",
                "x-l1-cache-per-thread",
                "x-consistent-cache",
                "x-force-features",
                "unavailable-features",
                "memory-encryption",
                "hypervisor",
                "x-arch-cap-always-on",
                "x-pdcm-on-even-without-pmu",
                "fw-cfg-dummy",
                "x-vendor-cpuid-only-v2",
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(switches); i++)
                if (g_str_equal(switches[i], name))
                        return true;
        /* Second names of features that are there under their first. */
        static const char *const aliases[] = {"sse3", "pclmuldq", "sse4-1", "sse4-2", "xd", "ffxsr", "i64"};
        for (unsigned i = 0; i < G_N_ELEMENTS(aliases); i++)
                if (g_str_equal(aliases[i], name))
                        return true;
        /* hv-* and kvm-* are the hypervisor's own offers: <features> decides about them. */
        return g_str_has_prefix(name, "hv-") || g_str_has_prefix(name, "kvm-") || g_str_has_prefix(name, "kvm_") ||
               g_str_has_prefix(name, "xen-");
}

/* How much of the host a model covers; -1 if it has something that the host lacks. */
static int caps_cover(GHashTable *model, GHashTable *host) {
        GHashTableIter iter;
        gpointer name;
        int n = 0;

        g_hash_table_iter_init(&iter, model);
        while (g_hash_table_iter_next(&iter, &name, NULL)) {
                if (caps_is_switch(name) || strchr(name, '_'))
                        continue;
                if (!g_hash_table_contains(host, name))
                        return -1;
                n++;
        }
        return n;
}

static json_object *caps_difference(GHashTable *host, GHashTable *model) {
        json_object *array = json_object_new_array();
        GHashTableIter iter;
        gpointer name;

        g_hash_table_iter_init(&iter, host);
        while (g_hash_table_iter_next(&iter, &name, NULL))
                /* Names with underscores are QEMU's old spellings of others that are there too. */
                if (!caps_is_switch(name) && !strchr(name, '_') && !(model && g_hash_table_contains(model, name)))
                        json_object_array_add(array, json_object_new_string(name));
        json_object_array_sort(array, caps_compare_strings);
        return array;
}

/* Which named model comes closest to the host. */
static void probe_host_model(Probe *probe, json_object *models, bool kvm, json_object *document) {
        g_autoptr(GHashTable) host = probe_expand(probe, kvm ? "host" : "max");
        g_autoptr(GHashTable) best = NULL;
        const char *best_name = NULL;
        int best_cover = 0;

        if (!host)
                return;
        for (size_t i = 0; i < caps_array_length(models); i++) {
                json_object *entry = json_object_array_get_idx(models, i);
                const char *name = json_get_string(entry, "name");
                if (json_get_bool(entry, "deprecated", false) ||
                    caps_array_length(json_get(entry, "unavailable-features")) > 0)
                        continue;
                g_autoptr(GHashTable) features = probe_expand(probe, name);
                int cover = features ? caps_cover(features, host) : -1;
                if (cover > best_cover) {
                        best_cover = cover;
                        best_name = name;
                        g_clear_pointer(&best, g_hash_table_unref);
                        best = g_steal_pointer(&features);
                }
        }
        json_add(document, "features", caps_difference(host, NULL));
        if (best_name) {
                json_add_string(document, "host-model", best_name);
                json_add(document, "host-model-features", caps_difference(host, best));
        }
}

static int caps_compare_models(const void *a, const void *b) {
        return strcmp(json_get_string(*(json_object *const *) a, "name"),
                      json_get_string(*(json_object *const *) b, "name"));
}

static int probe_cpus(Probe *probe, bool kvm, json_object **ret, GError **reterr) {
        g_autoptr(json_object) answer = NULL;

        int r = probe_ask(probe, "query-cpu-definitions", NULL, &answer, reterr);
        if (r < 0)
                return r;
        json_object *document = json_object_new_object(), *models = json_object_new_array();
        for (size_t i = 0; i < caps_array_length(answer); i++) {
                json_object *entry = json_object_array_get_idx(answer, i);
                const char *name = json_get_string(entry, "name");
                if (!name || g_str_equal(name, "host") || g_str_equal(name, "max") || g_str_equal(name, "base"))
                        continue;
                json_object *model = json_add_string(json_object_new_object(), "name", name);
                json_add_bool(model, "deprecated", json_get_bool(entry, "deprecated", false));
                json_add(model, "unavailable-features", json_object_get(json_get(entry, "unavailable-features")));
                json_object_array_add(models, model);
        }
        json_object_array_sort(models, caps_compare_models);
        json_add(document, "models", models);
        probe_host_model(probe, models, kvm, document);
        *ret = document;
        return 0;
}

static int probe_general(Probe *probe, json_object *document, GError **reterr) {
        g_autoptr(json_object) version = NULL, target = NULL, machines = NULL;
        json_object *names = NULL, *arguments;

        int r = probe_ask(probe, "query-version", NULL, &version, reterr);
        if (r >= 0)
                r = probe_ask(probe, "query-target", NULL, &target, reterr);
        if (r >= 0)
                r = probe_ask(probe, "query-machines", NULL, &machines, reterr);
        if (r < 0)
                return r;
        json_object *number = json_get(version, "qemu");
        json_add_uint64(document, "version",
                        json_get_uint64(number, "major", 0) * 1000000 + json_get_uint64(number, "minor", 0) * 1000 +
                                json_get_uint64(number, "micro", 0));
        json_add_string(document, "arch", json_get_string(target, "arch"));
        json_add(document, "machines", g_steal_pointer(&machines));

        arguments = json_add_bool(json_object_new_object(), "abstract", false);
        r = probe_names(probe, "qom-list-types", arguments, "name", &names, reterr);
        if (r < 0)
                return r;
        json_add(document, "types", names);
        r = probe_names(probe, "query-commands", NULL, "name", &names, reterr);
        if (r < 0)
                return r;
        json_add(document, "commands", names);
        r = probe_names(probe, "query-command-line-options", NULL, "option", &names, reterr);
        if (r < 0)
                return r;
        json_add(document, "options", names);
        return 0;
}

int qemu_caps_probe(sd_event *event, const char *binary, QemuCaps **ret_caps, GError **reterr) {
        g_autoptr(json_object) document = json_object_new_object(), kvm_state = NULL;
        g_auto(Probe) first = {.pidfd = -EBADF, .errors_fd = -EBADF}, second = {.pidfd = -EBADF, .errors_fd = -EBADF};
        json_object *cpus = NULL;

        if (access(binary, X_OK) < 0)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("the emulator '%s' cannot be run (%s): install it or name another one in <emulator>"), binary,
                        g_strerror(errno));

        /* kvm:tcg lets QEMU itself find out whether KVM works. */
        int r = probe_start(event, binary, "kvm:tcg", &first, reterr);
        if (r < 0)
                return r;
        json_add_string(document, "binary", binary);
        r = probe_general(&first, document, reterr);
        if (r >= 0)
                r = probe_ask(&first, "query-kvm", NULL, &kvm_state, reterr);
        if (r < 0)
                return r;
        bool kvm = json_get_bool(kvm_state, "enabled", false);
        r = probe_cpus(&first, kvm, &cpus, reterr);
        if (r < 0)
                return r;
        json_add(document, kvm ? "kvm" : "tcg", cpus);
        probe_end(&first);

        /* A QEMU without TCG ends here; that is no error. */
        if (kvm && probe_start(event, binary, "tcg", &second, NULL) >= 0 &&
            probe_cpus(&second, false, &cpus, NULL) >= 0)
                json_add(document, "tcg", cpus);
        return qemu_caps_from_json(document, ret_caps, reterr);
}

/* ---- the cache ---- */

typedef struct CacheEntry {
        struct stat st;
        QemuCaps *caps;
        bool probing;
        FiberCond done;
} CacheEntry;

struct QemuCapsCache {
        sd_event *event;
        GHashTable *entries; /* binary -> CacheEntry */
};

static void caps_cache_entry_free(gpointer data) {
        CacheEntry *entry = data;

        qemu_caps_unref(entry->caps);
        g_free(entry);
}

QemuCapsCache *qemu_caps_cache_new(sd_event *event) {
        QemuCapsCache *cache = g_new0(QemuCapsCache, 1);

        cache->event = sd_event_ref(event);
        cache->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, caps_cache_entry_free);
        return cache;
}

QemuCapsCache *qemu_caps_cache_free(QemuCapsCache *cache) {
        if (!cache)
                return NULL;
        g_hash_table_unref(cache->entries);
        sd_event_unref(cache->event);
        g_free(cache);
        return NULL;
}

static bool caps_same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int qemu_caps_cache_get(QemuCapsCache *cache, const char *binary, QemuCaps **ret_caps, GError **reterr) {
        struct stat st;

        if (stat(binary, &st) < 0)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("the emulator '%s' cannot be run (%s): install it or name another one in <emulator>"), binary,
                        g_strerror(errno));

        CacheEntry *entry = g_hash_table_lookup(cache->entries, binary);
        if (!entry) {
                entry = g_new0(CacheEntry, 1);
                g_hash_table_insert(cache->entries, g_strdup(binary), entry);
        }
        while (entry->probing) {
                int r = fiber_cond_wait(&entry->done, 2 * CAPS_TIMEOUT_USEC);
                if (r < 0)
                        return error_set_errno(reterr, r, _("asking '%s' about itself takes too long"), binary);
        }
        if (!entry->caps || !caps_same_file(&entry->st, &st)) {
                QemuCaps *caps = NULL;
                entry->probing = true;
                int r = qemu_caps_probe(cache->event, binary, &caps, reterr);
                entry->probing = false;
                fiber_cond_broadcast(&entry->done);
                if (r < 0)
                        return r;
                qemu_caps_unref(entry->caps);
                entry->caps = caps;
                entry->st = st;
        }
        *ret_caps = qemu_caps_ref(entry->caps);
        return 0;
}

char *qemu_caps_find_emulator(const char *arch) {
        g_autofree char *name = g_strconcat("qemu-system-", g_str_equal(arch, "i686") ? "i386" : arch, NULL);
        g_autofree char *usual = g_strconcat("/usr/bin/", name, NULL);

        char *path = g_find_program_in_path(name);
        if (path)
                return path;
        if (access(usual, X_OK) >= 0)
                return g_steal_pointer(&usual);
        if (access("/usr/libexec/qemu-kvm", X_OK) >= 0)
                return g_strdup("/usr/libexec/qemu-kvm");
        return NULL;
}
