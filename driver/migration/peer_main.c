/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* virt-ferry-peer: one peer-to-peer migration with libvirt's public client library; see peer.h. It is a process of its
 * own because that library blocks. */

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/i18n.h"
#include "driver/base/json.h"

#define REQUEST_MAX (16u * 1024 * 1024)
#define KEEPALIVE_INTERVAL_SEC 5
#define KEEPALIVE_COUNT 5

static void answer(int code, const char *message) {
        g_autoptr(json_object) reply = json_object_new_object();

        if (message) {
                json_add_int64(reply, "code", code);
                json_add_string(reply, "message", message);
        }
        puts(json_line(reply));
        fflush(stdout);
}

/* The daemon's front end puts libvirt's words for the code in front again, so only the detail travels. */
static void answer_last_error(void) {
        virErrorPtr error = virGetLastError();

        if (!error)
                answer(VIR_ERR_OPERATION_FAILED, _("the migration failed without a reason"));
        else
                answer(error->code,
                       error->str1 && strcmp(error->str1, "%s") != 0 && error->str2 ? error->str2 : error->message);
}

/* Keepalive needs an event loop that runs while virDomainMigrate3() blocks. */
static void *event_loop(void *unused) {
        while (virEventRunDefaultImpl() >= 0)
                ;
        return NULL;
}

static void ignore_error(void *userdata, virErrorPtr error) {
}

static int add_param(json_object *item, virTypedParameterPtr *params, int *n, int *max) {
        const char *name = json_get_string(item, "name");

        if (!name)
                return -1;
        switch (json_get_int64(item, "type", 0)) {
        case VIR_TYPED_PARAM_INT:
                return virTypedParamsAddInt(params, n, max, name, (int) json_get_int64(item, "value", 0));
        case VIR_TYPED_PARAM_UINT:
                return virTypedParamsAddUInt(params, n, max, name, (unsigned) json_get_uint64(item, "value", 0));
        case VIR_TYPED_PARAM_LLONG:
                return virTypedParamsAddLLong(params, n, max, name, json_get_int64(item, "value", 0));
        case VIR_TYPED_PARAM_ULLONG:
                return virTypedParamsAddULLong(params, n, max, name, json_get_uint64(item, "value", 0));
        case VIR_TYPED_PARAM_BOOLEAN:
                return virTypedParamsAddBoolean(params, n, max, name, json_get_bool(item, "value", false));
        case VIR_TYPED_PARAM_STRING:
                return virTypedParamsAddString(params, n, max, name, json_get_string(item, "value"));
        default:
                return -1;
        }
}

static int migrate(json_object *request) {
        virConnectPtr own = NULL, destination = NULL;
        virDomainPtr domain = NULL, moved = NULL;
        virTypedParameterPtr params = NULL;
        json_object *list = json_get(request, "params");
        int n = 0, max = 0, r = -1;

        for (size_t i = 0; list && i < json_object_array_length(list); i++)
                if (add_param(json_object_array_get_idx(list, i), &params, &n, &max) < 0)
                        goto out;
        own = virConnectOpen(json_get_string(request, "own"));
        if (!own)
                goto out;
        destination = virConnectOpen(json_get_string(request, "destination"));
        if (!destination)
                goto out;
        virConnectSetKeepAlive(destination, KEEPALIVE_INTERVAL_SEC, KEEPALIVE_COUNT);
        domain = virDomainLookupByUUIDString(own, json_get_string(request, "uuid"));
        if (!domain)
                goto out;
        moved = virDomainMigrate3(domain, destination, params, (unsigned) n,
                                  (unsigned) json_get_uint64(request, "flags", 0));
        r = moved ? 0 : -1;
out:
        if (r < 0)
                answer_last_error();
        else
                answer(0, NULL);
        if (moved)
                virDomainFree(moved);
        if (domain)
                virDomainFree(domain);
        if (destination)
                virConnectClose(destination);
        if (own)
                virConnectClose(own);
        virTypedParamsFree(params, n);
        return r;
}

int main(void) {
        g_autofree char *text = g_malloc(REQUEST_MAX);
        g_autoptr(json_object) request = NULL;
        size_t length = 0;
        pthread_t thread;
        ssize_t n;

        setlocale(LC_ALL, "");
        bindtextdomain(FERRY_GETTEXT_DOMAIN, FERRY_LOCALE_DIR);
        while ((n = read(STDIN_FILENO, text + length, REQUEST_MAX - length)) > 0)
                length += (size_t) n;
        request = json_parse(text, length, NULL);
        if (!request || virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
            pthread_create(&thread, NULL, event_loop, NULL) != 0) {
                answer(VIR_ERR_INTERNAL_ERROR, _("the peer-to-peer helper cannot start"));
                return EXIT_FAILURE;
        }
        virSetErrorFunc(NULL, ignore_error);
        return migrate(request) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
