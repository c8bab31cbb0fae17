/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/spawn.h"
#include "xml/uuid.h"

#define REPLY_MAX 65536
#define POLL_USEC (500 * USEC_PER_MSEC)
#define END_USEC (5 * USEC_PER_SEC)

static json_object *param_to_json(const virTypedParameter *param) {
        json_object *object = json_object_new_object();

        json_add_string(object, "name", param->field);
        json_add_int64(object, "type", param->type);
        switch (param->type) {
        case VIR_TYPED_PARAM_INT:
                json_add_int64(object, "value", param->value.i);
                break;
        case VIR_TYPED_PARAM_UINT:
                json_add_uint64(object, "value", param->value.ui);
                break;
        case VIR_TYPED_PARAM_LLONG:
                json_add_int64(object, "value", param->value.l);
                break;
        case VIR_TYPED_PARAM_ULLONG:
                json_add_uint64(object, "value", param->value.ul);
                break;
        case VIR_TYPED_PARAM_BOOLEAN:
                json_add_bool(object, "value", param->value.b);
                break;
        case VIR_TYPED_PARAM_STRING:
                json_add_string(object, "value", param->value.s);
                break;
        default:
                break;
        }
        return object;
}

/* A memory file that holds the request, at its start. */
static int write_request(MigrationContext *context, const PeerArgs *args, GError **reterr) {
        g_autoptr(json_object) request = json_object_new_object();
        json_object *params = json_object_new_array();
        g_autofree char *own = NULL;
        char uuid[UUID_TEXT_SIZE];
        const char *text;
        int fd, r;

        own = g_strdup_printf("ferry:///%s?socket=%s", context->guests->settings.privileged ? "system" : "session",
                              context->socket_path);
        json_add_string(request, "own", own);
        json_add_string(request, "destination", args->dconnuri);
        json_add_string(request, "uuid", uuid_format(args->uuid, uuid));
        json_add_uint64(request, "flags", args->flags);
        for (int i = 0; i < args->n_params; i++)
                json_object_array_add(params, param_to_json(&args->params[i]));
        json_add(request, "params", params);
        text = json_line(request);
        fd = memfd_create("peer-request", MFD_CLOEXEC);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot make a memory file"));
        r = fd_write_all(fd, text, strlen(text));
        if (r < 0 || lseek(fd, 0, SEEK_SET) < 0) {
                fd_close(fd);
                return error_set_errno(reterr, r, _("cannot write to a memory file"));
        }
        return fd;
}

/* Reads until the end of file or until cancelled. */
static int read_reply(int fd, const bool *cancelled, GString *reply) {
        char chunk[4096];

        for (;;) {
                ssize_t n;
                int r = fiber_wait_fd(fd, EPOLLIN, POLL_USEC, NULL);

                if (*cancelled)
                        return -ECANCELED;
                if (r == -ETIMEDOUT)
                        continue;
                if (r < 0)
                        return r;
                n = read(fd, chunk, sizeof(chunk));
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                if (reply->len + (size_t) n > REPLY_MAX)
                        return -EFBIG;
                g_string_append_len(reply, chunk, n);
        }
}

int peer_migrate(MigrationContext *context, const PeerArgs *args, GError **reterr) {
        const char *const argv[] = { context->peer_helper, NULL };
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(json_object) reply = NULL;
        _cleanup_fd_ int request = -EBADF, out = -EBADF, out_child = -EBADF, pidfd = -EBADF;
        int pipes[2], r;
        pid_t pid;

        request = write_request(context, args, reterr);
        if (request < 0)
                return request;
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return error_set_errno(reterr, errno, _("cannot start '%s'"), context->peer_helper);
        out = pipes[0];
        out_child = pipes[1];
        r = spawn(&(SpawnArgs){ .argv = argv, .stdin_fd = request, .stdout_fd = out_child, .stderr_fd = STDERR_FILENO,
                                .die_with_parent = true },
                  &pid, &pidfd, reterr);
        if (r < 0)
                return r;
        out_child = fd_close(out_child);
        r = read_reply(out, args->cancelled, text);
        spawn_end(pidfd, r < 0 ? 0 : END_USEC, NULL);
        if (r == -ECANCELED)
                return error_set(reterr, VIR_ERR_OPERATION_ABORTED,
                                 _("the client that asked for the migration is gone"));
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot read the answer of '%s'"), context->peer_helper);
        reply = json_parse(text->str, text->len, NULL);
        if (!reply)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("'%s' ended without an answer"),
                                 context->peer_helper);
        if (!json_get(reply, "code"))
                return 0;
        return error_set(reterr, (virErrorNumber) json_get_int64(reply, "code", VIR_ERR_OPERATION_FAILED), "%s",
                         json_get_string(reply, "message") ?: _("the migration failed without a reason"));
}
