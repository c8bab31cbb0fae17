/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What one QEMU binary can do, asked from the binary itself over QMP (`-machine none`), never guessed from its version.
 *
 * A QemuCaps is immutable and reference-counted. A QemuCapsCache keeps one per binary and asks again when the file's
 * mtime, size or inode changes. Asking takes 0.1-0.3 s of another process and never blocks the loop.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct QemuMachine {
        char *name;  /* "pc-q35-7.2" */
        char *alias; /* "q35", or NULL */
        unsigned max_cpus;
        bool is_default; /* QEMU's own default (libvirt's is the same) */
        bool deprecated;
        bool hotpluggable_cpus;
        bool numa_mem_supported; /* -numa node,mem=; memdev= always works */
        char *default_cpu;       /* QOM type, e.g. "qemu64-x86_64-cpu" */
        char *default_ram_id;    /* "pc.ram" */
} QemuMachine;

typedef struct QemuCpuModel {
        char *name;
        bool deprecated;
        char **blockers; /* strv: features that are missing on this host; empty: usable */
} QemuCpuModel;

typedef struct QemuCaps QemuCaps;

QemuCaps *qemu_caps_ref(QemuCaps *caps);
QemuCaps *qemu_caps_unref(QemuCaps *caps);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuCaps, qemu_caps_unref)

const char *qemu_caps_binary(const QemuCaps *caps);
/* major * 1000000 + minor * 1000 + micro, as libvirt counts. */
unsigned qemu_caps_version(const QemuCaps *caps);
const char *qemu_caps_arch(const QemuCaps *caps); /* "x86_64" */

/* Machines, QEMU's order. */
const QemuMachine *qemu_caps_machines(const QemuCaps *caps, unsigned *ret_n);
/* By name or alias; NULL if this QEMU has none such. */
const QemuMachine *qemu_caps_machine(const QemuCaps *caps, const char *name);
/* The machine of a definition that names none: q35, unless this binary has none. Never NULL. */
const QemuMachine *qemu_caps_default_machine(const QemuCaps *caps);

/* Whether the binary has the QOM type ("virtio-net-pci", "memory-backend-file", "cirrus-vga", "pvpanic"). */
bool qemu_caps_has_type(const QemuCaps *caps, const char *type);
/* Whether the binary knows a group of command line options ("sandbox", "action"). */
bool qemu_caps_has_option(const QemuCaps *caps, const char *option);
/* Whether the QMP command exists ("blockdev-reopen"). */
bool qemu_caps_has_command(const QemuCaps *caps, const char *command);

/* Whether a VM can be made with -accel kvm: /dev/kvm opens and QEMU's own attempt succeeds. It says nothing about
 * whether a guest of this kind gets far under nested virtualization: domain type 'kvm' or 'qemu' stays the user's
 * choice. */
bool qemu_caps_kvm(const QemuCaps *caps);
/* Whether it can run guests without KVM at all. */
bool qemu_caps_tcg(const QemuCaps *caps);

/* The questions below have one answer for KVM and one for TCG; without KVM, kvm true gets the answer for TCG. */

/* CPU models by query-cpu-definitions, sorted by name, without "host", "max" and "base". */
const QemuCpuModel *qemu_caps_cpu_models(const QemuCaps *caps, bool kvm, unsigned *ret_n);
const QemuCpuModel *qemu_caps_cpu_model(const QemuCaps *caps, bool kvm, const char *name);
/* What host-model becomes: the usable named model that covers most of the host (NULL if there is none) and the features
 * to add to it (QEMU's spelling, sorted, strv). */
const char *qemu_caps_host_model(const QemuCaps *caps, bool kvm);
const char *const *qemu_caps_host_model_features(const QemuCaps *caps, bool kvm);
/* Whether the host (KVM) or TCG can do a CPU feature, QEMU's spelling. */
bool qemu_caps_host_has_feature(const QemuCaps *caps, bool kvm, const char *feature);

/* QEMU's spelling of a CPU feature that may be written as libvirt does ("lahf_lm" is "lahf-lm", "pclmuldq" is
 * "pclmulqdq"). Owned by the caller. */
char *qemu_caps_feature_name(const char *name);

/* Asks the binary. Fiber. Errors: a missing or unusable emulator names its path (VIR_ERR_CONFIG_UNSUPPORTED). */
int qemu_caps_probe(sd_event *event, const char *binary, QemuCaps **ret_caps, GError **reterr);

/* All that was learned as one JSON document, and back: what the golden tests use in place of a binary. */
json_object *qemu_caps_to_json(const QemuCaps *caps);
int qemu_caps_from_json(json_object *document, QemuCaps **ret_caps, GError **reterr);

typedef struct QemuCapsCache QemuCapsCache;

QemuCapsCache *qemu_caps_cache_new(sd_event *event);
QemuCapsCache *qemu_caps_cache_free(QemuCapsCache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuCapsCache, qemu_caps_cache_free)
/* From the cache, or asks. Fiber; concurrent callers for one binary wait for one probe. *ret_caps is a new reference.
 */
int qemu_caps_cache_get(QemuCapsCache *cache, const char *binary, QemuCaps **ret_caps, GError **reterr);

/* The emulator for an architecture: qemu-system-ARCH in PATH, then /usr/bin, /usr/libexec/qemu-kvm; NULL if there is
 * none. Owned by the caller. */
char *qemu_caps_find_emulator(const char *arch);
