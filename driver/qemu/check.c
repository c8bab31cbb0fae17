/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/qemu/net.h"
#include "driver/qemu/ram.h"

static int check_file(const char *path, bool write, const char *what, const char *whose, GError **reterr) {
        if (!path || access(path, write ? R_OK | W_OK : R_OK) >= 0)
                return 0;
        if (errno == ENOENT || errno == ENOTDIR)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the %s '%s'%s%s does not exist"), what, path,
                                 whose ? _(" of ") : "", whose ?: "");
        return error_set_errno(reterr, errno, _("the %s '%s'%s%s cannot be used"), what, path, whose ? _(" of ") : "",
                               whose ?: "");
}

static int check_machine(const DomainDef *def, const QemuCaps *caps, GError **reterr) {
        const QemuMachine *machine = qemu_caps_machine(caps, def->os.machine);

        if (!machine)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' has no machine type '%s'"),
                                 qemu_caps_binary(caps), def->os.machine);
        if (def->vcpu.max > machine->max_cpus)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("machine type '%s' has at most %u vCPUs, the domain has %u"), def->os.machine,
                                 machine->max_cpus, def->vcpu.max);
        if (def->virt_type == VIRT_TYPE_KVM && !qemu_caps_kvm(caps)) {
                if (access("/dev/kvm", R_OK | W_OK) < 0)
                        return error_set_errno(reterr, errno,
                                               _("domain type 'kvm' needs /dev/kvm: load the module kvm_intel or "
                                                 "kvm_amd, or use type 'qemu'"));
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("'%s' cannot use KVM on this host: use domain type 'qemu'"), qemu_caps_binary(caps));
        }
        if (def->virt_type == VIRT_TYPE_QEMU && !qemu_caps_tcg(caps))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("'%s' cannot emulate a CPU: use domain type 'kvm'"), qemu_caps_binary(caps));
        if (!qemu_caps_has_type(caps, "memory-backend-file"))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' cannot have its memory in files"),
                                 qemu_caps_binary(caps));
        return 0;
}

static int check_os(const OsDef *os, GError **reterr) {
        int r = check_file(os->kernel, false, _("kernel"), NULL, reterr);
        if (r >= 0)
                r = check_file(os->initrd, false, _("initrd"), NULL, reterr);
        if (r >= 0)
                r = check_file(os->loader, false, _("firmware"), NULL, reterr);
        if (r >= 0 && os->nvram && access(os->nvram, F_OK) < 0)
                r = check_file(os->nvram_template, false, _("firmware variable template"), NULL, reterr);
        return r;
}

static int check_disk(const DomainDef *def, const DiskDef *disk, GError **reterr) {
        struct stat st;

        if (!disk->source)
                return 0;
        if (disk->startup_policy == DISK_STARTUP_POLICY_OPTIONAL && access(disk->source, F_OK) < 0)
                return 0;
        int r = check_file(disk->source, !disk->readonly && disk->device != DISK_DEVICE_CDROM, _("image"), disk->target,
                           reterr);
        if (r < 0)
                return r;
        if (stat(disk->source, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at the image '%s' of disk '%s'"), disk->source,
                                       disk->target);
        if (disk->type == DISK_TYPE_BLOCK && !S_ISBLK(st.st_mode))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("'%s' of disk '%s' is no block device: use type='file'"), disk->source,
                                 disk->target);
        if (disk->type == DISK_TYPE_FILE && S_ISDIR(st.st_mode))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' of disk '%s' is a folder"), disk->source,
                                 disk->target);
        if (disk->io == DISK_IO_NATIVE && disk->cache != DISK_CACHE_NONE && disk->cache != DISK_CACHE_DIRECTSYNC)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("disk '%s' has io='native', which needs cache='none' or cache='directsync'"),
                                 disk->target);

        /* O_DIRECT is the file system's choice; QEMU would only say "Invalid argument". */
        if (disk->cache == DISK_CACHE_NONE || disk->cache == DISK_CACHE_DIRECTSYNC) {
                _cleanup_fd_ int fd = open(disk->source, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
                if (fd < 0 && errno == EINVAL)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("the file system of '%s' cannot do direct I/O: disk '%s' cannot have cache='%s'"),
                                disk->source, disk->target, disk_cache_to_string(disk->cache));
        }
        return 0;
}

static int check_net(const NetDef *net, GError **reterr) {
        if (net->type != NET_TYPE_USER && access("/dev/net/tun", R_OK | W_OK) < 0)
                return error_set_errno(reterr, errno, _("interface '%s' needs /dev/net/tun"), net->mac);
        if (net->type != NET_TYPE_BRIDGE && net->type != NET_TYPE_NETWORK)
                return 0;
        if (!net->bridge || !qemu_net_exists(net->bridge))
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("there is no bridge '%s' for interface '%s': make it with 'ip link add %s type bridge'"),
                        net->bridge ?: "", net->mac, net->bridge ?: "NAME");
        if (!qemu_net_is_bridge(net->bridge))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' of interface '%s' is no bridge"),
                                 net->bridge, net->mac);
        return 0;
}

static int check_char(const CharDef *character, GError **reterr) {
        if (character->type != CHAR_TYPE_FILE || !character->source_path)
                return 0;
        g_autofree char *folder = g_path_get_dirname(character->source_path);
        return check_file(folder, true, _("folder"), character->info.alias, reterr);
}

static int check_devices(const DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->disks->len && r >= 0; i++)
                r = check_disk(def, def->disks->pdata[i], reterr);
        for (unsigned i = 0; i < def->nets->len && r >= 0; i++)
                r = check_net(def->nets->pdata[i], reterr);
        for (unsigned i = 0; i < def->serials->len && r >= 0; i++)
                r = check_char(def->serials->pdata[i], reterr);
        for (unsigned i = 0; i < def->consoles->len && r >= 0; i++)
                r = check_char(def->consoles->pdata[i], reterr);
        for (unsigned i = 0; i < def->channels->len && r >= 0; i++)
                r = check_char(def->channels->pdata[i], reterr);
        for (unsigned i = 0; i < def->rngs->len && r >= 0; i++) {
                const RngDef *rng = def->rngs->pdata[i];
                if (rng->backend == RNG_BACKEND_RANDOM)
                        r = check_file(rng->path, false, _("random source"), rng->info.alias, reterr);
        }
        return r;
}

int qemu_check_start(const QemuSettings *settings, const DomainDef *def, const QemuCaps *caps, GError **reterr) {
        g_autoptr(QemuRam) plan = NULL;

        if (access(def->emulator, X_OK) < 0)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("the emulator '%s' cannot be run (%s): install it or name another one in <emulator>"),
                        def->emulator, g_strerror(errno));
        int r = check_machine(def, caps, reterr);
        if (r >= 0)
                r = check_os(&def->os, reterr);
        if (r >= 0)
                r = check_devices(def, reterr);
        if (r >= 0)
                r = qemu_ram_plan(settings, def, &plan, reterr);
        if (r >= 0)
                r = qemu_ram_check(plan, reterr);
        return r;
}
