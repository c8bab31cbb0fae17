/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/qmp_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/json.h"

#define SERVER_TIMEOUT_USEC (20 * USEC_PER_SEC)

struct QmpServer {
        int fd;
        char **script;
        unsigned line; /* of the script */
        GString *input;
        int passed_fd;
        json_object *id; /* of the request that waits for its answer */
        char *problem;
        bool done;
        FiberCond cond;
};

static void server_fail(QmpServer *server, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void server_fail(QmpServer *server, const char *format, ...) {
        va_list ap;

        if (server->problem)
                return;
        va_start(ap, format);
        server->problem = g_strdup_vprintf(format, ap);
        va_end(ap);
}

static void server_send(QmpServer *server, const char *text) {
        g_autofree char *line = g_strconcat(text, "\r\n", NULL);

        if (fd_write_all(server->fd, line, strlen(line)) < 0)
                server_fail(server, "script line %u: the client is gone", server->line + 1);
}

/* The next request, as JSON; NULL when the client is gone or sends nonsense. */
static json_object *server_receive(QmpServer *server) {
        char *newline;

        while (!(newline = strchr(server->input->str, '\n'))) {
                char buffer[4096];
                int fds[1];
                size_t n_fds = 0;

                if (fiber_wait_fd(server->fd, EPOLLIN, SERVER_TIMEOUT_USEC, NULL) < 0)
                        return NULL;
                ssize_t n = fd_recv_with_fds(server->fd, buffer, sizeof(buffer), fds, 1, &n_fds);
                if (n <= 0)
                        return NULL;
                if (n_fds > 0) {
                        fd_close(server->passed_fd);
                        server->passed_fd = fds[0];
                }
                g_string_append_len(server->input, buffer, n);
        }
        json_object *request = json_parse(server->input->str, (size_t) (newline - server->input->str), NULL);
        g_string_erase(server->input, 0, newline - server->input->str + 1);
        return request;
}

static void server_expect(QmpServer *server, const char *what) {
        g_auto(GStrv) words = g_strsplit(what, " ", 2);
        g_autoptr(json_object) request = server_receive(server);
        const char *command = json_get_string(request, "execute");

        if (!request || g_strcmp0(command, words[0]) != 0) {
                server_fail(server, "script line %u: expected '%s', got '%s'", server->line + 1, words[0],
                            request ? json_line(request) : "the end");
                return;
        }
        if (words[1]) {
                g_autoptr(json_object) wanted = json_parse(words[1], strlen(words[1]), NULL);
                assert_non_null(wanted);
                if (!json_object_equal(wanted, json_get(request, "arguments")))
                        server_fail(server, "script line %u: got '%s'", server->line + 1, json_line(request));
        }
        json_object_put(server->id);
        server->id = json_object_get(json_get(request, "id"));
}

static void server_answer(QmpServer *server, const char *key, json_object *value) {
        g_autoptr(json_object) reply = json_object_new_object();

        json_add(reply, key, value);
        json_add(reply, "id", g_steal_pointer(&server->id));
        server_send(server, json_line(reply));
}

static void server_step(QmpServer *server, const char *line) {
        switch (line[0]) {
        case '>':
                server_expect(server, line + 2);
                break;
        case 'f':
                if (server->passed_fd < 0)
                        server_fail(server, "script line %u: no descriptor came", server->line + 1);
                server->passed_fd = fd_close(server->passed_fd);
                break;
        case '<': {
                json_object *value = json_parse(line + 2, strlen(line + 2), NULL);
                assert_non_null(value);
                server_answer(server, "return", value);
                break;
        }
        case '!': {
                g_auto(GStrv) words = g_strsplit(line + 2, " ", 2);
                json_object *error = json_object_new_object();
                json_add_string(error, "class", words[0]);
                json_add_string(error, "desc", words[1]);
                server_answer(server, "error", error);
                break;
        }
        case '*':
        case '=':
                server_send(server, line + 2);
                break;
        case 'x':
                server->fd = fd_close(server->fd);
                break;
        default:
                server_fail(server, "script line %u: what is '%s'?", server->line + 1, line);
        }
}

static void server_run(void *userdata) {
        QmpServer *server = userdata;

        server_send(server, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":22},\"package\":\"\"},"
                            "\"capabilities\":[\"oob\"]}}");
        server_expect(server, "qmp_capabilities");
        if (server->id)
                server_answer(server, "return", json_object_new_object());
        for (; server->script[server->line] && !server->problem; server->line++)
                if (server->script[server->line][0])
                        server_step(server, server->script[server->line]);
        server->done = true;
        fiber_cond_broadcast(&server->cond);
}

QmpServer *qmp_server_new(sd_event *event, const char *script, int *ret_fd) {
        QmpServer *server = g_new0(QmpServer, 1);
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        server->fd = pair[0];
        server->passed_fd = -EBADF;
        server->script = g_strsplit(script, "\n", -1);
        server->input = g_string_new(NULL);
        assert_int_equal(fiber_start(event, "qmp-server", server_run, server), 0);
        *ret_fd = pair[1];
        return server;
}

void qmp_server_finish(QmpServer *server) {
        while (!server->done)
                assert_int_equal(fiber_cond_wait(&server->cond, SERVER_TIMEOUT_USEC), 0);
        if (server->problem)
                fail_msg("%s", server->problem);
        fd_close(server->fd);
        fd_close(server->passed_fd);
        g_strfreev(server->script);
        g_string_free(server->input, TRUE);
        json_object_put(server->id);
        g_free(server);
}
