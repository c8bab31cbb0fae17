/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/engine_image.h"

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/engine/engine_internal.h"

#define FDS_MAX 16
/* As long as it takes to move the largest guest to or from a slow disk; who cannot wait ends the engine. */
#define CALL_USEC (24 * 3600 * USEC_PER_SEC)

/* The list of blocks, their descriptors, and those of image and device state. */
static int add_blocks(json_object *arguments, const EngineRamBlock *blocks, unsigned n, int image_fd, int device_fd, int *fds, GError **reterr) {
        json_object *list = json_object_new_array();

        json_add(arguments, "blocks", list);
        if (n == 0 || n > FDS_MAX - 2)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("a guest with %u RAM blocks cannot be saved; at most %d are supported"), n,
                                 FDS_MAX - 2);
        for (unsigned i = 0; i < n; i++) {
                json_object *entry = json_object_new_object();
                json_add_string(entry, "id", blocks[i].id);
                json_add_uint64(entry, "size", blocks[i].size_bytes);
                json_add_uint64(entry, "page", blocks[i].page_bytes);
                json_add_bool(entry, "populated", blocks[i].policy == ENGINE_RAM_POPULATED);
                json_object_array_add(list, entry);
                fds[i] = blocks[i].fd;
        }
        fds[n] = image_fd;
        fds[n + 1] = device_fd;
        return 0;
}

static int call(Engine *engine, const char *command, json_object *arguments, const int *fds, unsigned n_fds, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = engine_call(engine, command, arguments, fds, n_fds, CALL_USEC, &result, reterr);

        if (r >= 0)
                engine_set_stats(engine, result);
        return r;
}

int engine_save(Engine *engine, const EngineSaveArgs *args, GError **reterr) {
        g_autoptr(json_object) arguments = json_object_new_object();
        int fds[FDS_MAX];
        int r = add_blocks(arguments, args->blocks, args->n_blocks, args->image_fd, args->device_state_fd, fds, reterr);

        if (r < 0)
                return r;
        json_add_uint64(arguments, "compression", args->compression);
        json_add_bool(arguments, "running", args->running);
        json_add_string(arguments, "xml", args->xml);
        return call(engine, "save", g_steal_pointer(&arguments), fds, args->n_blocks + 2, reterr);
}

int engine_load(Engine *engine, const EngineLoadArgs *args, GError **reterr) {
        g_autoptr(json_object) arguments = json_object_new_object();
        int fds[FDS_MAX];
        int r = add_blocks(arguments, args->blocks, args->n_blocks, args->image_fd, args->device_state_fd, fds, reterr);

        if (r < 0)
                return r;
        return call(engine, "load", g_steal_pointer(&arguments), fds, args->n_blocks + 2, reterr);
}
