/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The documents that describe the host: capabilities and domain capabilities, in libvirt's layout (formatcaps,
 * formatdomaincaps). What stands in them is what the command line can make, so that installers choose nothing that
 * would be refused. */

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/qemu/firmware.h"
#include "driver/qemu/host_internal.h"
#include "xml/uuid.h"

/* ---- writing ---- */

static void put(GString *text, unsigned depth, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* A line, indented; strings are escaped. */
static void put(GString *text, unsigned depth, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *line = g_markup_vprintf_escaped(format, ap);
        va_end(ap);
        g_string_append_printf(text, "%*s%s\n", (int) depth * 2, "", line);
}

static void put_enum(GString *text, unsigned depth, const char *name, const char *const *values) {
        put(text, depth, "<enum name='%s'>", name);
        for (; *values; values++)
                put(text, depth + 1, "<value>%s</value>", *values);
        put(text, depth, "</enum>");
}

#define PUT_ENUM(text, depth, name, ...) put_enum((text), (depth), (name), (const char *const[]){__VA_ARGS__, NULL})

/* ---- capabilities ---- */

static char *cpuinfo_value(const char *cpuinfo, const char *key) {
        const char *line = cpuinfo ? strstr(cpuinfo, key) : NULL;
        const char *colon = line ? strchr(line, ':') : NULL, *end = line ? strchr(line, '\n') : NULL;

        return colon && end && colon < end ? g_strstrip(g_strndup(colon + 1, (gsize) (end - colon - 1))) : NULL;
}

static const char *cpu_vendor(void) {
        g_autofree char *cpuinfo = host_read("/proc/cpuinfo"), *vendor = cpuinfo_value(cpuinfo, "vendor_id");

        if (g_strcmp0(vendor, "AuthenticAMD") == 0)
                return "AMD";
        if (g_strcmp0(vendor, "GenuineIntel") == 0)
                return "Intel";
        return NULL;
}

/* Page sizes of the host in KiB, 4 first. */
static GArray *host_page_sizes(void) {
        GArray *sizes = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        g_autoptr(GDir) dir = g_dir_open("/sys/kernel/mm/hugepages", 0, NULL);
        uint64_t kib = (uint64_t) sysconf(_SC_PAGESIZE) / KIB;
        const char *entry;

        g_array_append_val(sizes, kib);
        while (dir && (entry = g_dir_read_name(dir)))
                if (g_str_has_prefix(entry, "hugepages-")) {
                        kib = g_ascii_strtoull(entry + strlen("hugepages-"), NULL, 10);
                        unsigned at = 1;
                        while (at < sizes->len && g_array_index(sizes, uint64_t, at) < kib)
                                at++;
                        g_array_insert_val(sizes, at, kib);
                }
        return sizes;
}

static void put_host_cpu(GString *text, const QemuCaps *caps, const HostCpu *cpus, unsigned n) {
        HostTopology topology = host_topology(cpus, n);
        g_autoptr(GArray) pages = host_page_sizes();
        bool kvm = caps && qemu_caps_kvm(caps);
        const char *vendor = cpu_vendor();
        struct utsname names;

        put(text, 2, "<cpu>");
        put(text, 3, "<arch>%s</arch>", uname(&names) >= 0 ? names.machine : "x86_64");
        /* Without KVM no named model describes the host's CPU; TCG's best stands in the domain capabilities. */
        if (kvm && qemu_caps_host_model(caps, true))
                put(text, 3, "<model>%s</model>", qemu_caps_host_model(caps, true));
        if (vendor)
                put(text, 3, "<vendor>%s</vendor>", vendor);
        put(text, 3, "<topology sockets='%u' dies='%u' cores='%u' threads='%u'/>", topology.sockets, topology.dies,
            MAX(topology.cores / topology.dies, 1), topology.threads);
        for (const char *const *name = kvm ? qemu_caps_host_model_features(caps, true) : NULL; name && *name; name++)
                put(text, 3, "<feature name='%s'/>", *name);
        for (unsigned i = 0; i < pages->len; i++)
                put(text, 3, "<pages unit='KiB' size='%" G_GUINT64_FORMAT "'/>", g_array_index(pages, uint64_t, i));
        put(text, 2, "</cpu>");
}

static void put_cell(GString *text, unsigned node, const GArray *nodes, const HostCpu *cpus, unsigned n) {
        g_autoptr(GArray) pages = host_page_sizes();
        g_autofree char *path = g_strdup_printf("/sys/devices/system/node/node%u/distance", node),
                        *distance = host_read(path);
        g_auto(GStrv) distances = g_strsplit_set(distance ?: "10", " ", -1);
        virNodeMemoryStats stats[2] = {};
        int n_stats = 2, here = 0;

        if (qemu_host_memory_stats((int) node, stats, &n_stats, NULL) < 0) {
                virNodeInfo info = {};
                (void) qemu_host_node_info(&info, NULL);
                stats[0].value = info.memory;
        }
        uint64_t huge_kib = 0;
        for (unsigned i = 1; i < pages->len; i++) {
                uint64_t kib = g_array_index(pages, uint64_t, i);
                huge_kib += kib * (uint64_t) host_read_number(
                                          0,
                                          "/sys/devices/system/node/node%u/hugepages/hugepages-%" G_GUINT64_FORMAT
                                          "kB/nr_hugepages",
                                          node, kib);
        }
        put(text, 4, "<cell id='%u'>", node);
        put(text, 5, "<memory unit='KiB'>%llu</memory>", stats[0].value);
        for (unsigned i = 0; i < pages->len; i++) {
                uint64_t kib = g_array_index(pages, uint64_t, i);
                uint64_t count =
                        i == 0 ? (stats[0].value - MIN(huge_kib, stats[0].value)) / kib
                               : (uint64_t) host_read_number(
                                         0,
                                         "/sys/devices/system/node/node%u/hugepages/hugepages-%" G_GUINT64_FORMAT
                                         "kB/nr_hugepages",
                                         node, kib);
                put(text, 5, "<pages unit='KiB' size='%" G_GUINT64_FORMAT "'>%" G_GUINT64_FORMAT "</pages>", kib,
                    count);
        }
        put(text, 5, "<distances>");
        for (unsigned i = 0; i < nodes->len && distances[i]; i++)
                put(text, 6, "<sibling id='%u' value='%s'/>", g_array_index(nodes, unsigned, i), distances[i]);
        put(text, 5, "</distances>");
        for (unsigned i = 0; i < n; i++)
                here += cpus[i].node == node;
        put(text, 5, "<cpus num='%d'>", here);
        for (unsigned i = 0; i < n; i++)
                if (cpus[i].node == node)
                        put(text, 6, "<cpu id='%u' socket_id='%d' die_id='%d' core_id='%d' siblings='%s'/>", cpus[i].id,
                            cpus[i].socket, cpus[i].die, cpus[i].core, cpus[i].siblings);
        put(text, 5, "</cpus>");
        put(text, 4, "</cell>");
}

static void put_guest(GString *text, const QemuCaps *caps) {
        unsigned n = 0;
        const QemuMachine *machines = qemu_caps_machines(caps, &n);
        bool wide = g_str_has_suffix(qemu_caps_arch(caps), "64");

        put(text, 1, "<guest>");
        put(text, 2, "<os_type>hvm</os_type>");
        put(text, 2, "<arch name='%s'>", wide ? qemu_caps_arch(caps) : "i686");
        put(text, 3, "<wordsize>%d</wordsize>", wide ? 64 : 32);
        put(text, 3, "<emulator>%s</emulator>", qemu_caps_binary(caps));
        for (unsigned i = 0; i < n; i++) {
                /* Not what a definition can be made for: microvm, x-remote, isapc. */
                if (!g_str_has_prefix(machines[i].name, "pc-"))
                        continue;
                const char *deprecated = machines[i].deprecated ? " deprecated='yes'" : "";
                g_string_append_printf(text, "      <machine maxCpus='%u'%s>%s</machine>\n", machines[i].max_cpus,
                                       deprecated, machines[i].name);
                if (machines[i].alias)
                        g_string_append_printf(text, "      <machine canonical='%s' maxCpus='%u'%s>%s</machine>\n",
                                               machines[i].name, machines[i].max_cpus, deprecated, machines[i].alias);
        }
        if (qemu_caps_tcg(caps))
                put(text, 3, "<domain type='qemu'/>");
        if (qemu_caps_kvm(caps))
                put(text, 3, "<domain type='kvm'/>");
        put(text, 2, "</arch>");
        put(text, 2, "<features>");
        put(text, 3, "<acpi default='on' toggle='yes'/>");
        put(text, 3, "<apic default='on' toggle='no'/>");
        put(text, 3, "<cpuselection/>");
        put(text, 3, "<deviceboot/>");
        put(text, 3, "<disksnapshot default='off' toggle='no'/>");
        put(text, 2, "</features>");
        put(text, 1, "</guest>");
        g_string_append_c(text, '\n');
}

char *qemu_host_capabilities_xml(const QemuHostArgs *args, const QemuCaps *caps) {
        g_autoptr(GArray) nodes = qemu_host_nodes();
        GString *text = g_string_new("<capabilities>\n\n");
        char uuid[UUID_TEXT_SIZE];
        unsigned n = 0;
        HostCpu *cpus = host_cpu_list(&n);

        put(text, 1, "<host>");
        put(text, 2, "<uuid>%s</uuid>", uuid_format(args->uuid, uuid));
        put_host_cpu(text, caps, cpus, n);
        put(text, 2, "<power_management/>");
        put(text, 2, "<iommu support='no'/>");
        put(text, 2, "<migration_features>");
        put(text, 3, "<live/>");
        put(text, 3, "<uri_transports>");
        for (const char *const *transport = args->uri_transports; transport && *transport; transport++)
                put(text, 4, "<uri_transport>%s</uri_transport>", *transport);
        put(text, 3, "</uri_transports>");
        put(text, 2, "</migration_features>");
        put(text, 2, "<topology>");
        put(text, 3, "<cells num='%u'>", nodes->len);
        for (unsigned i = 0; i < nodes->len; i++)
                put_cell(text, g_array_index(nodes, unsigned, i), nodes, cpus, n);
        put(text, 3, "</cells>");
        put(text, 2, "</topology>");
        put(text, 2, "<secmodel>");
        put(text, 3, "<model>none</model>");
        put(text, 3, "<doi>0</doi>");
        put(text, 2, "</secmodel>");
        put(text, 1, "</host>");
        g_string_append_c(text, '\n');
        if (caps)
                put_guest(text, caps);
        g_string_append(text, "</capabilities>\n");
        host_cpu_list_free(cpus, n);
        return g_string_free(text, FALSE);
}

/* ---- domain capabilities ---- */

static void put_os(GString *text, const char *arch) {
        g_autoptr(GPtrArray) list = qemu_firmware_list(arch);
        bool secure = false, efi = false;

        for (unsigned i = 0; i < list->len; i++) {
                const QemuFirmware *firmware = list->pdata[i];
                secure |= firmware->secure_boot && firmware->needs_smm;
                efi |= !firmware->bios;
        }
        put(text, 1, "<os supported='yes'>");
        if (efi)
                PUT_ENUM(text, 2, "firmware", "efi");
        else
                put(text, 2, "<enum name='firmware'/>");
        put(text, 2, "<loader supported='yes'>");
        for (unsigned i = 0; i < list->len; i++) {
                const QemuFirmware *firmware = list->pdata[i];
                put(text, 3, "<value>%s</value>", firmware->loader);
        }
        PUT_ENUM(text, 3, "type", "rom", "pflash");
        PUT_ENUM(text, 3, "readonly", "yes", "no");
        if (secure)
                PUT_ENUM(text, 3, "secure", "yes", "no");
        else
                PUT_ENUM(text, 3, "secure", "no");
        put(text, 2, "</loader>");
        put(text, 1, "</os>");
}

/* Whose CPU a named model is, as libvirt's schema wants it said; QEMU itself does not tell. */
static const char *model_vendor(const char *model) {
        static const char *const intel[] = {
                "Broadwell", "Cascadelake", "Clearwater",  "Conroe",   "Cooperlake", "Denverton",
                "Diamond",   "Granite",     "Haswell",     "Icelake",  "IvyBridge",  "KnightsMill",
                "Nehalem",   "Penryn",      "SandyBridge", "Sapphire", "Sierra",     "Skylake",
                "Snowridge", "Westmere",    "core2duo",    "coreduo",  "n270",
        };
        static const char *const amd[] = {"EPYC", "Opteron", "athlon", "phenom"};

        for (unsigned i = 0; i < G_N_ELEMENTS(intel); i++)
                if (g_str_has_prefix(model, intel[i]))
                        return "Intel";
        for (unsigned i = 0; i < G_N_ELEMENTS(amd); i++)
                if (g_str_has_prefix(model, amd[i]))
                        return "AMD";
        return g_str_has_prefix(model, "Dhyana") ? "Hygon" : "unknown";
}

static void put_cpu_modes(GString *text, const QemuCaps *caps, bool kvm) {
        const char *host_model = qemu_caps_host_model(caps, kvm), *vendor = cpu_vendor();
        unsigned n = 0;
        const QemuCpuModel *models = qemu_caps_cpu_models(caps, kvm, &n);

        put(text, 1, "<cpu>");
        if (kvm) {
                put(text, 2, "<mode name='host-passthrough' supported='yes'>");
                PUT_ENUM(text, 3, "hostPassthroughMigratable", "on", "off");
                put(text, 2, "</mode>");
        } else {
                put(text, 2, "<mode name='host-passthrough' supported='no'/>");
        }
        put(text, 2, "<mode name='maximum' supported='yes'>");
        PUT_ENUM(text, 3, "maximumMigratable", "on", "off");
        put(text, 2, "</mode>");
        if (host_model) {
                put(text, 2, "<mode name='host-model' supported='yes'>");
                put(text, 3, "<model fallback='forbid'>%s</model>", host_model);
                if (vendor && kvm)
                        put(text, 3, "<vendor>%s</vendor>", vendor);
                for (const char *const *name = qemu_caps_host_model_features(caps, kvm); name && *name; name++)
                        put(text, 3, "<feature policy='require' name='%s'/>", *name);
                put(text, 2, "</mode>");
        } else {
                put(text, 2, "<mode name='host-model' supported='no'/>");
        }
        put(text, 2, "<mode name='custom' supported='yes'>");
        for (unsigned i = 0; i < n; i++)
                put(text, 3,
                    models[i].deprecated ? "<model usable='%s' deprecated='yes' vendor='%s'>%s</model>"
                                         : "<model usable='%s' vendor='%s'>%s</model>",
                    models[i].blockers[0] ? "no" : "yes", model_vendor(models[i].name), models[i].name);
        put(text, 2, "</mode>");
        put(text, 1, "</cpu>");
}

static void put_devices(GString *text, const QemuCaps *caps, bool q35) {
        static const struct {
                const char *type, *model;
        } videos[] = {
                {"VGA", "vga"}, {"cirrus-vga", "cirrus"}, {"virtio-gpu-pci", "virtio"}, {"bochs-display", "bochs"}};

        put(text, 1, "<devices>");
        put(text, 2, "<disk supported='yes'>");
        PUT_ENUM(text, 3, "diskDevice", "disk", "cdrom");
        if (q35)
                PUT_ENUM(text, 3, "bus", "scsi", "virtio", "sata");
        else
                PUT_ENUM(text, 3, "bus", "ide", "scsi", "virtio", "sata");
        PUT_ENUM(text, 3, "model", "virtio");
        put(text, 2, "</disk>");
        put(text, 2, "<graphics supported='yes'>");
        PUT_ENUM(text, 3, "type", "vnc");
        put(text, 2, "</graphics>");
        put(text, 2, "<video supported='yes'>");
        put(text, 3, "<enum name='modelType'>");
        for (unsigned i = 0; i < G_N_ELEMENTS(videos); i++)
                if (qemu_caps_has_type(caps, videos[i].type))
                        put(text, 4, "<value>%s</value>", videos[i].model);
        put(text, 4, "<value>none</value>");
        put(text, 3, "</enum>");
        put(text, 2, "</video>");
        put(text, 2, "<hostdev supported='no'/>");
        put(text, 2, "<rng supported='yes'>");
        PUT_ENUM(text, 3, "model", "virtio");
        PUT_ENUM(text, 3, "backendModel", "random", "builtin");
        put(text, 2, "</rng>");
        put(text, 2, "<filesystem supported='no'/>");
        put(text, 2, "<tpm supported='no'/>");
        put(text, 2, "<redirdev supported='no'/>");
        put(text, 2, "<channel supported='yes'>");
        PUT_ENUM(text, 3, "type", "pty", "unix");
        put(text, 2, "</channel>");
        put(text, 1, "</devices>");
}

int qemu_host_domain_capabilities_xml(const QemuCaps *caps, const char *arch, const char *machine_name,
                                      const char *virt_type, char **ret_xml, GError **reterr) {
        const char *own_arch = g_str_has_suffix(qemu_caps_arch(caps), "64") ? qemu_caps_arch(caps) : "i686";
        const QemuMachine *machine =
                machine_name ? qemu_caps_machine(caps, machine_name) : qemu_caps_default_machine(caps);
        bool kvm = virt_type ? g_str_equal(virt_type, "kvm") : qemu_caps_kvm(caps);

        if (arch && !g_str_equal(arch, own_arch))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' emulates %s, not %s"), qemu_caps_binary(caps),
                                 own_arch, arch);
        if (!machine)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' has no machine type '%s'"),
                                 qemu_caps_binary(caps), machine_name);
        if (virt_type && !kvm && !g_str_equal(virt_type, "qemu"))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("domain type '%s' is unknown: it is 'kvm' or 'qemu'"),
                                 virt_type);
        if (kvm && !qemu_caps_kvm(caps))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' cannot use KVM on this host"),
                                 qemu_caps_binary(caps));

        GString *text = g_string_new("<domainCapabilities>\n");
        put(text, 1, "<path>%s</path>", qemu_caps_binary(caps));
        put(text, 1, "<domain>%s</domain>", kvm ? "kvm" : "qemu");
        put(text, 1, "<machine>%s</machine>", machine->name);
        put(text, 1, "<arch>%s</arch>", own_arch);
        put(text, 1, "<vcpu max='%u'/>", machine->max_cpus);
        put(text, 1, "<iothreads supported='no'/>");
        put_os(text, g_str_equal(own_arch, "i686") ? "i386" : own_arch);
        put_cpu_modes(text, caps, kvm);
        put(text, 1, "<memoryBacking supported='yes'>");
        PUT_ENUM(text, 2, "sourceType", "file", "anonymous", "memfd");
        put(text, 1, "</memoryBacking>");
        put_devices(text, caps, strstr(machine->name, "q35") != NULL);
        put(text, 1, "<features>");
        put(text, 2, "<gic supported='no'/>");
        put(text, 2, "<vmcoreinfo supported='yes'/>");
        put(text, 2, "<genid supported='yes'/>");
        put(text, 2, "<backingStoreInput supported='no'/>");
        put(text, 2, "<backup supported='no'/>");
        put(text, 2, "<sev supported='no'/>");
        put(text, 2, "<sgx supported='no'/>");
        put(text, 1, "</features>");
        g_string_append(text, "</domainCapabilities>\n");
        *ret_xml = g_string_free(text, FALSE);
        return 0;
}

char **qemu_host_cpu_models(const QemuCaps *caps) {
        unsigned n = 0;
        const QemuCpuModel *models = qemu_caps_cpu_models(caps, qemu_caps_kvm(caps), &n);
        char **names = g_new0(char *, n + 1);

        for (unsigned i = 0; i < n; i++)
                names[i] = g_strdup(models[i].name);
        return names;
}
