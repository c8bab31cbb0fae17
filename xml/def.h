/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The definition of a domain: libvirt's domain XML as plain data.
 *
 * Life of a definition: domain_def_parse() -> domain_def_complete() -> domain_def_validate() -> [starting:
 * domain_def_assign_aliases()] -> domain_def_format(). Readers (driver/qemu, driver/domain, driver/migration) look at
 * the structs directly. Conventions: an enumeration's 0 means "not said"; an unsigned's 0 and an int's -1 mean "not
 * said" where a field's comment says so; GPtrArrays are never NULL and own their elements; strings are owned by the
 * struct. Sizes are bytes (_bytes) or KiB (_kib).
 *
 * What the XML may say at all, and how it is honoured, is in docs/domain-xml.md; anything else was refused by
 * domain_def_parse(). All calls here are pure (no I/O but the schema file) and work on any thread.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "driver/base/error.h"
#include "xml/def_char.h"
#include "xml/def_cpu.h"
#include "xml/def_device.h"
#include "xml/def_disk.h"
#include "xml/def_display.h"
#include "xml/def_memory.h"
#include "xml/def_misc.h"
#include "xml/def_net.h"
#include "xml/def_os.h"
#include "xml/uuid.h"

typedef enum VirtType {
        VIRT_TYPE_UNSET,
        VIRT_TYPE_QEMU, /* TCG */
        VIRT_TYPE_KVM,
        VIRT_TYPE_LAST,
} VirtType;
DEF_ENUM_DECLARE(VirtType, virt_type)

typedef enum SeclabelType {
        SECLABEL_TYPE_UNSET,
        SECLABEL_TYPE_NONE,
        SECLABEL_TYPE_DYNAMIC,
        SECLABEL_TYPE_LAST,
} SeclabelType;
DEF_ENUM_DECLARE(SeclabelType, seclabel_type)

/* <seclabel>: type 'none', or 'dynamic' with what libvirt writes into the XML of a running guest. Kept, never
 * applied. */
typedef struct SeclabelDef {
        SeclabelType type; /* UNSET: dynamic */
        char *model;
        TriState relabel;
        char *label, *imagelabel, *baselabel;
} SeclabelDef;

/* <qemu:arg value=/> */
typedef struct QemuArgDef {
        char *value;
} QemuArgDef;

/* <qemu:env name= value=/> */
typedef struct QemuEnvDef {
        char *name, *value;
} QemuEnvDef;

typedef struct DomainDef {
        VirtType virt_type;
        int id; /* -1: not running */
        char *name;
        unsigned char uuid[UUID_BYTES];
        bool has_uuid; /* true after completion */
        char *genid;   /* uuid text; "" before completion: make one; NULL: none */
        char *title, *description;
        char *metadata; /* what is between <metadata> and </metadata>, verbatim; NULL: none */
        MemoryDef memory;
        MemoryBackingDef backing;
        VcpuDef vcpu;
        CputuneDef cputune;
        NumatuneDef numatune;
        char *partition; /* <resource><partition>: kept, not used */
        SysinfoDef sysinfo; /* type 0: none */
        OsDef os;
        FeaturesDef features;
        CpuDef cpu;
        ClockDef clock;
        LifecycleAction on_poweroff, on_reboot, on_crash;
        TriState pm_suspend_to_mem, pm_suspend_to_disk;
        /* devices */
        char *emulator;
        GPtrArray *disks;       /* DiskDef */
        GPtrArray *controllers; /* ControllerDef */
        GPtrArray *nets;        /* NetDef */
        GPtrArray *serials;     /* CharDef */
        /* CharDef. A first console with target SERIAL is the same device as the serial port of the same number:
         * completion makes one for serials[0], as libvirt does, with a copy of its source; it is no device of its own.
         */
        GPtrArray *consoles;
        GPtrArray *channels; /* CharDef */
        GPtrArray *inputs;   /* InputDef */
        GPtrArray *graphics; /* GraphicsDef, at most one */
        GPtrArray *sounds;   /* SoundDef */
        GPtrArray *audios;   /* AudioDef */
        GPtrArray *videos;   /* VideoDef; the first is the primary one after completion */
        GPtrArray *watchdogs; /* WatchdogDef */
        BalloonDef balloon;
        GPtrArray *rngs;   /* RngDef */
        GPtrArray *panics; /* PanicDef */
        GPtrArray *seclabels; /* SeclabelDef */
        /* <qemu:commandline>, appended to ours */
        GPtrArray *qemu_args; /* QemuArgDef */
        GPtrArray *qemu_envs; /* QemuEnvDef */
} DomainDef;

/* An empty definition: id -1, arrays there, everything else not said. */
DomainDef *domain_def_new(void);
/* Accepts NULL and returns NULL. */
DomainDef *domain_def_free(DomainDef *def);
/* A deep copy. */
DomainDef *domain_def_copy(const DomainDef *def);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainDef, domain_def_free)

/* ---- parsing (parse.c) ---- */

#define DOMAIN_XML_MAX (4u * 1024 * 1024) /* bytes of a document */

enum {
        DOMAIN_PARSE_VALIDATE = 1 << 0, /* against domain.rng in schema_dir first; VIR_ERR_XML_INVALID_SCHEMA */
        /* our own status files: live data (id, aliases, pty paths, tap names, ports) is kept */
        DOMAIN_PARSE_STATUS = 1 << 1,
        /* For a persistent definition: live data is dropped as libvirt does (aliases that are not "ua-...", pty paths,
         * vnetN, automatic ports, id). This is also what happens with neither flag; with both, STATUS wins. */
        DOMAIN_PARSE_INACTIVE = 1 << 2,
};

/* Parses length bytes of xml. schema_dir may be NULL without VALIDATE. Errors: XML_ERROR (not well-formed, too big,
 * entities, bad values, something needed is missing), CONFIG_UNSUPPORTED (an element, attribute or value that Ferry
 * does not honour, by name), XML_INVALID_SCHEMA. */
int domain_def_parse(const char *xml, size_t length, unsigned flags, const char *schema_dir, DomainDef **ret,
                     GError **reterr);

/* ---- completing (complete.c) ---- */

typedef struct DomainDefaults {
        const char *emulator;  /* used where the XML names none */
        const char *machine;   /* canonical default machine, e.g. "pc-q35-7.2" */
        /* The canonical name of what a user may write ("q35", "pc"): borrowed, or NULL if the emulator has no such
         * machine, which is refused. May be NULL: names are taken as they are. */
        const char *(*machine_resolve)(const char *name, void *userdata);
        void *userdata;
        OsArch arch;         /* UNSET: x86_64 */
        VirtType virt_type;  /* UNSET: qemu */
} DomainDefaults;

/* Fills in what libvirt would: uuid, MACs, controllers, PCI and other addresses, implicit devices, defaults. Completing
 * twice changes nothing. def may be half completed after an error. Errors: CONFIG_UNSUPPORTED, XML_ERROR,
 * INTERNAL_ERROR (no random numbers). */
int domain_def_complete(DomainDef *def, const DomainDefaults *defaults, GError **reterr);

/* Whether the machine has a PCI Express root (q35) or a PCI one (i440fx). */
bool domain_def_is_q35(const DomainDef *def);
bool domain_def_is_i440fx(const DomainDef *def);

/* ---- checking (validate.c) ---- */

/* Whether a completed definition makes sense. Errors: CONFIG_UNSUPPORTED, XML_ERROR. */
int domain_def_validate(const DomainDef *def, GError **reterr);

/* ---- running (alias.c) ---- */

/* Gives each device that has none libvirt's name for it (virtio-disk0, net0, serial0, pci.1, ...). 0, or -EINVAL if two
 * devices have the same alias (domain_def_validate() has refused that before). */
int domain_def_assign_aliases(DomainDef *def);

/* ---- formatting (format.c) ---- */

enum {
        DOMAIN_FORMAT_SECURE = 1 << 0,     /* with the VNC password */
        DOMAIN_FORMAT_INACTIVE = 1 << 1,   /* without live data */
        /* for a destination: as INACTIVE, and without what an older peer may not know */
        DOMAIN_FORMAT_MIGRATABLE = 1 << 2,
        DOMAIN_FORMAT_STATUS = 1 << 3,     /* everything, for DOMAIN_PARSE_STATUS */
};

/* libvirt's text, ending in a newline; owned by the caller. def->id >= 0 gives id='N' unless INACTIVE or MIGRATABLE. */
char *domain_def_format(const DomainDef *def, unsigned flags);

/* ---- comparing (abi.c) ---- */

/* Whether a guest that runs with src can go on with dst without noticing: memory, machine, CPU, devices and addresses
 * must be equal; host paths, listen addresses, ports, names and titles may differ. Both completed. CONFIG_UNSUPPORTED,
 * with both values of the first difference. */
int domain_def_check_abi(const DomainDef *src, const DomainDef *dst, GError **reterr);
