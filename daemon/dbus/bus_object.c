/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_object.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/driver.h"

static int parse_domain(const char *name, BusObject *ret_object) {
        char text[VIR_UUID_STRING_BUFLEN];

        if (name[0] != '_' || strlen(name) != VIR_UUID_STRING_BUFLEN)
                return -EINVAL;
        for (size_t i = 0; i < VIR_UUID_STRING_BUFLEN; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;
                char c = name[i + 1];

                /* One spelling for each object. */
                if (c && (dash ? c != '_' : !g_ascii_isxdigit(c) || g_ascii_isupper(c)))
                        return -EINVAL;
                text[i] = dash ? '-' : c;
        }
        ret_object->kind = BUS_OBJECT_DOMAIN;
        return driver_uuid_parse(text, ret_object->uuid);
}

static int parse_job(const char *name, BusObject *ret_object) {
        char *end = NULL;

        if (!g_ascii_isdigit(name[0]) || name[0] == '0')
                return -EINVAL;
        errno = 0;
        ret_object->number = strtoull(name, &end, 10);
        if (errno != 0 || *end)
                return -EINVAL;
        ret_object->kind = BUS_OBJECT_JOB;
        return 0;
}

int bus_object_parse(const char *path, BusObject *ret_object) {
        BusObject object = { 0 };
        int r = 0;

        if (strcmp(path, BUS_ROOT) == 0)
                object.kind = BUS_OBJECT_ROOT;
        else if (strcmp(path, BUS_DOMAINS) == 0)
                object.kind = BUS_OBJECT_DOMAINS;
        else if (strcmp(path, BUS_JOBS) == 0)
                object.kind = BUS_OBJECT_JOBS;
        else if (g_str_has_prefix(path, BUS_DOMAINS "/"))
                r = parse_domain(path + strlen(BUS_DOMAINS "/"), &object);
        else if (g_str_has_prefix(path, BUS_JOBS "/"))
                r = parse_job(path + strlen(BUS_JOBS "/"), &object);
        else
                r = -EINVAL;
        if (r >= 0)
                *ret_object = object;
        return r;
}

const char *bus_domain_path(const unsigned char *uuid, char *buffer) {
        char text[VIR_UUID_STRING_BUFLEN];

        snprintf(buffer, BUS_PATH_SIZE, BUS_DOMAINS "/_%s", g_strdelimit(driver_uuid_format(uuid, text), "-", '_'));
        return buffer;
}

const char *bus_job_path(uint64_t number, char *buffer) {
        snprintf(buffer, BUS_PATH_SIZE, BUS_JOBS "/%" PRIu64, number);
        return buffer;
}

const char *bus_object_path(const BusObject *object, char *buffer) {
        static const char *const fixed[] = {
                [BUS_OBJECT_ROOT] = BUS_ROOT,
                [BUS_OBJECT_DOMAINS] = BUS_DOMAINS,
                [BUS_OBJECT_JOBS] = BUS_JOBS,
        };

        if (object->kind == BUS_OBJECT_DOMAIN)
                return bus_domain_path(object->uuid, buffer);
        if (object->kind == BUS_OBJECT_JOB)
                return bus_job_path(object->number, buffer);
        g_strlcpy(buffer, fixed[object->kind], BUS_PATH_SIZE);
        return buffer;
}

const BusInterface *const *bus_object_interfaces(BusObjectKind kind) {
        static const BusInterface *const none[] = { NULL };
        static const BusInterface *const root[] = { &bus_connect_interface, &bus_manager_interface, NULL };
        static const BusInterface *const domain[] = { &bus_domain_interface, &bus_ferry_interface, NULL };
        static const BusInterface *const job[] = { &bus_migration_interface, NULL };

        switch (kind) {
        case BUS_OBJECT_ROOT:
                return root;
        case BUS_OBJECT_DOMAIN:
                return domain;
        case BUS_OBJECT_JOB:
                return job;
        default:
                return none;
        }
}

const BusInterface *bus_object_interface(BusObjectKind kind, const char *name) {
        for (const BusInterface *const *interface = bus_object_interfaces(kind); *interface; interface++)
                if (strcmp((*interface)->name, name) == 0)
                        return *interface;
        if (strcmp(name, bus_properties_interface.name) == 0)
                return &bus_properties_interface;
        if (strcmp(name, bus_introspectable_interface.name) == 0)
                return &bus_introspectable_interface;
        return NULL;
}
