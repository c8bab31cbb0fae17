/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* -cpu: model, features, and what <features>, <clock> and <panic> say that are properties of the CPU in QEMU. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/qemu/cmdline_internal.h"

static void cpu_set(GString *text, const char *name, bool on) {
        g_string_append_printf(text, ",%s=%s", name, on ? "on" : "off");
}

static void cpu_set_tri(GString *text, const char *name, TriState value) {
        if (value != TRI_UNSET)
                cpu_set(text, name, value == TRI_YES);
}

/* The model's name and, for host-model, what is added to it. */
static int cpu_add_model(const DomainDef *def, const QemuCaps *caps, GString *text, GError **reterr) {
        const CpuDef *cpu = &def->cpu;
        bool kvm = def->virt_type == VIRT_TYPE_KVM;

        switch (cpu->mode) {
        case CPU_MODE_HOST_PASSTHROUGH:
                if (!kvm)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("CPU mode 'host-passthrough' needs domain type 'kvm': use mode 'maximum' "
                                           "for type 'qemu'"));
                g_string_append(text, "host");
                if (cpu->migratable != TRI_UNSET)
                        cpu_set(text, "migratable", cpu->migratable == TRI_YES);
                else
                        cpu_set(text, "migratable", true);
                return 0;
        case CPU_MODE_MAXIMUM:
                g_string_append(text, "max");
                if (kvm)
                        cpu_set_tri(text, "migratable", cpu->migratable);
                return 0;
        case CPU_MODE_HOST_MODEL: {
                const char *model = qemu_caps_host_model(caps, kvm);
                if (!model)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("'%s' cannot tell which CPU model is closest to the host: name one with "
                                           "mode 'custom'"),
                                         qemu_caps_binary(caps));
                g_string_append(text, model);
                for (const char *const *feature = qemu_caps_host_model_features(caps, kvm); feature && *feature;
                     feature++)
                        cpu_set(text, *feature, true);
                return 0;
        }
        case CPU_MODE_CUSTOM:
        case CPU_MODE_UNSET:
        default:
                break;
        }
        if (!cpu->model)
                return 0;

        const QemuCpuModel *model = qemu_caps_cpu_model(caps, kvm, cpu->model);
        if (!model)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("CPU model '%s' is unknown to '%s'"), cpu->model,
                                 qemu_caps_binary(caps));
        g_string_append(text, cpu->model);
        return 0;
}

static void cpu_add_features(const DomainDef *def, const QemuCaps *caps, GString *text) {
        bool kvm = def->virt_type == VIRT_TYPE_KVM;

        for (unsigned i = 0; i < def->cpu.features->len; i++) {
                const CpuFeatureDef *feature = def->cpu.features->pdata[i];
                g_autofree char *name = qemu_caps_feature_name(feature->name);
                bool off = feature->policy == CPU_POLICY_DISABLE || feature->policy == CPU_POLICY_FORBID;

                if (feature->policy == CPU_POLICY_OPTIONAL && !qemu_caps_host_has_feature(caps, kvm, name))
                        continue;
                cpu_set(text, name, !off);
        }
}

static void cpu_add_hyperv(const HypervDef *hyperv, GString *text) {
        if (hyperv->mode == HYPERV_MODE_PASSTHROUGH)
                cpu_set(text, "hv-passthrough", true);

        const struct {
                const char *name;
                TriState value;
        } switches[] = {
                {"hv-relaxed", hyperv->relaxed},
                {"hv-vapic", hyperv->vapic},
                {"hv-vpindex", hyperv->vpindex},
                {"hv-runtime", hyperv->runtime},
                {"hv-synic", hyperv->synic},
                {"hv-stimer", hyperv->stimer},
                {"hv-stimer-direct", hyperv->stimer_direct},
                {"hv-reset", hyperv->reset},
                {"hv-frequencies", hyperv->frequencies},
                {"hv-reenlightenment", hyperv->reenlightenment},
                {"hv-tlbflush", hyperv->tlbflush},
                {"hv-ipi", hyperv->ipi},
                {"hv-evmcs", hyperv->evmcs},
                {"hv-avic", hyperv->avic},
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(switches); i++)
                if (switches[i].value == TRI_YES)
                        cpu_set(text, switches[i].name, true);
        if (hyperv->spinlocks == TRI_YES)
                g_string_append_printf(text, ",hv-spinlocks=0x%x", hyperv->spinlocks_retries);
        if (hyperv->vendor_id == TRI_YES && hyperv->vendor_id_value) {
                g_autofree char *vendor = cmdline_escape(hyperv->vendor_id_value);
                g_string_append_printf(text, ",hv-vendor-id=%s", vendor);
        }
}

static void cpu_add_timers(const DomainDef *def, GString *text) {
        for (unsigned i = 0; i < def->clock.timers->len; i++) {
                const TimerDef *timer = def->clock.timers->pdata[i];
                if (timer->name == TIMER_NAME_KVMCLOCK)
                        cpu_set_tri(text, "kvmclock", timer->present);
                else if (timer->name == TIMER_NAME_HYPERVCLOCK && timer->present == TRI_YES)
                        cpu_set(text, "hv-time", true);
                else if (timer->name == TIMER_NAME_TSC && timer->frequency_hz > 0)
                        g_string_append_printf(text, ",tsc-frequency=%" G_GUINT64_FORMAT, timer->frequency_hz);
        }
}

static void cpu_add_platform(const DomainDef *def, GString *text) {
        const FeaturesDef *features = &def->features;

        cpu_set_tri(text, "kvm-pv-eoi", features->apic_eoi);
        cpu_set_tri(text, "kvm-pv-unhalt", features->pvspinlock);
        if (features->hyperv.present)
                cpu_add_hyperv(&features->hyperv, text);
        for (unsigned i = 0; i < def->panics->len; i++) {
                const PanicDef *panic = def->panics->pdata[i];
                if (panic->model == PANIC_MODEL_HYPERV)
                        cpu_set(text, "hv-crash", true);
        }
        if (features->kvm_hidden == TRI_YES)
                cpu_set(text, "kvm", false);
        cpu_set_tri(text, "kvm-hint-dedicated", features->kvm_hint_dedicated);
        cpu_set_tri(text, "kvm-poll-control", features->kvm_poll_control);
        cpu_set_tri(text, "kvm-pv-ipi", features->kvm_pv_ipi);
        cpu_set_tri(text, "pmu", features->pmu);
}

static void cpu_add_cache(const CpuDef *cpu, GString *text) {
        switch (cpu->cache_mode) {
        case CPU_CACHE_MODE_EMULATE:
                g_string_append(text, ",l3-cache=on");
                break;
        case CPU_CACHE_MODE_PASSTHROUGH:
                g_string_append(text, ",host-cache-info=on,l3-cache=off");
                break;
        case CPU_CACHE_MODE_DISABLE:
                g_string_append(text, ",l3-cache=off");
                break;
        case CPU_CACHE_MODE_UNSET:
        default:
                break;
        }
        if (cpu->maxphysaddr_mode == CPU_ADDR_MODE_PASSTHROUGH) {
                g_string_append(text, ",host-phys-bits=on");
                if (cpu->maxphysaddr_limit > 0)
                        g_string_append_printf(text, ",host-phys-bits-limit=%u", cpu->maxphysaddr_limit);
        } else if (cpu->maxphysaddr_mode == CPU_ADDR_MODE_EMULATE && cpu->maxphysaddr_bits > 0) {
                g_string_append_printf(text, ",host-phys-bits=off,phys-bits=%u", cpu->maxphysaddr_bits);
        }
}

/* check='full' and match='strict' want exactly what is written: QEMU then refuses to start a CPU from which it would
 * have to take something away. 'partial' is satisfied if the host can do what the model has. */
static int cpu_check(const DomainDef *def, const QemuCaps *caps, GString *text, GError **reterr) {
        const CpuDef *cpu = &def->cpu;
        bool kvm = def->virt_type == VIRT_TYPE_KVM;

        if (cpu->check == CPU_CHECK_FULL || cpu->match == CPU_MATCH_STRICT) {
                cpu_set(text, "enforce", true);
                return 0;
        }
        if (cpu->check != CPU_CHECK_PARTIAL || !kvm || !cpu->model || cpu->mode == CPU_MODE_HOST_MODEL)
                return 0;

        const QemuCpuModel *model = qemu_caps_cpu_model(caps, kvm, cpu->model);
        for (char **blocker = model ? model->blockers : NULL; blocker && *blocker; blocker++) {
                bool disabled = false;
                for (unsigned i = 0; i < cpu->features->len; i++) {
                        const CpuFeatureDef *feature = cpu->features->pdata[i];
                        g_autofree char *name = qemu_caps_feature_name(feature->name);
                        if (g_str_equal(name, *blocker) &&
                            (feature->policy == CPU_POLICY_DISABLE || feature->policy == CPU_POLICY_FORBID))
                                disabled = true;
                }
                if (!disabled)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("the host's CPU lacks '%s', which CPU model '%s' has: disable the feature, "
                                           "or choose another model"),
                                         *blocker, cpu->model);
        }
        return 0;
}

int qemu_cmdline_cpu(const DomainDef *def, const QemuCaps *caps, char **ret_cpu, GError **reterr) {
        g_autoptr(GString) model = g_string_new(NULL), more = g_string_new(NULL);

        int r = cpu_add_model(def, caps, model, reterr);
        if (r < 0)
                return r;
        if (def->os.arch == OS_ARCH_I686 && def->cpu.mode == CPU_MODE_UNSET &&
            qemu_caps_has_type(caps, "qemu64-x86_64-cpu"))
                cpu_set(more, "lm", false);
        if (def->cpu.vendor_id) {
                g_autofree char *vendor = cmdline_escape(def->cpu.vendor_id);
                g_string_append_printf(more, ",vendor=%s", vendor);
        }
        cpu_add_features(def, caps, more);
        cpu_add_timers(def, more);
        cpu_add_platform(def, more);
        cpu_add_cache(&def->cpu, more);
        r = cpu_check(def, caps, more, reterr);
        if (r < 0)
                return r;

        if (model->len == 0 && more->len == 0) {
                *ret_cpu = NULL;
                return 0;
        }
        /* The machine's default model has to be named to be changed. */
        if (model->len == 0)
                g_string_append(model, g_str_equal(qemu_caps_arch(caps), "i386") ? "qemu32" : "qemu64");
        *ret_cpu = g_strconcat(model->str, more->str, NULL);
        return 0;
}
