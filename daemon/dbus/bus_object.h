/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The objects: /org/virtferry, /org/virtferry/domain/_UUID (with underscores for dashes, as in libvirt-dbus) and
 * /org/virtferry/job/NUMBER; and the interfaces that each has.
 */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdint.h>

#include "daemon/dbus/bus_interface.h"

#define BUS_ROOT "/org/virtferry"
#define BUS_DOMAINS BUS_ROOT "/domain"
#define BUS_JOBS BUS_ROOT "/job"

typedef enum BusObjectKind {
        BUS_OBJECT_ROOT,
        BUS_OBJECT_DOMAINS, /* only a folder, as the next one */
        BUS_OBJECT_JOBS,
        BUS_OBJECT_DOMAIN,
        BUS_OBJECT_JOB,
        _BUS_OBJECT_KIND_MAX,
        _BUS_OBJECT_KIND_INVALID = -22,
} BusObjectKind;

typedef struct BusObject {
        BusObjectKind kind;
        unsigned char uuid[VIR_UUID_BUFLEN]; /* of a domain */
        uint64_t number;                     /* of a job */
} BusObject;

#define BUS_PATH_SIZE 80

/* Whether path has the form of one of ours; whether a domain or job exists is another question. -EINVAL. */
int bus_object_parse(const char *path, BusObject *ret_object);
/* Writes the path into buffer (BUS_PATH_SIZE bytes) and returns it. */
const char *bus_object_path(const BusObject *object, char *buffer);
/* The same for a domain, for a job. */
const char *bus_domain_path(const unsigned char *uuid, char *buffer);
const char *bus_job_path(uint64_t number, char *buffer);

/* What objects of a kind have besides the standard interfaces; NULL-terminated. */
const BusInterface *const *bus_object_interfaces(BusObjectKind kind);
/* The interface of that name that the kind has, standard ones included; NULL: none. */
const BusInterface *bus_object_interface(BusObjectKind kind, const char *name);
