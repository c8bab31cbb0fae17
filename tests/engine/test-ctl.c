/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/ctl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/base/json.h"

typedef struct Seen {
        GString *text;
        int kept_fd;
} Seen;

static void handle(CtlCall *call, const char *command, json_object *arguments, int *fds, size_t n_fds, void *userdata) {
        Seen *seen = userdata;
        g_string_append_printf(seen->text, "%s/%zu ", command, n_fds);
        if (strcmp(command, "keep") == 0)
                seen->kept_fd = FD_STEAL(fds[0]);
        if (strcmp(command, "fail") == 0) {
                g_autoptr(GError) error = NULL;
                error_set(&error, VIR_ERR_NO_MEMORY, "no more");
                ctl_reply_error(call, error);
        } else
                ctl_reply(call, NULL);
}

static Ctl *open_ctl(Seen *seen, int *ret_peer) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        *seen = (Seen) { .text = g_string_new(NULL), .kept_fd = -EBADF };
        *ret_peer = pair[0];
        return ctl_new(pair[1], handle, seen);
}

static void say(int peer, const char *text, const int *fds, size_t n_fds) {
        assert_int_equal(fd_send_with_fds(peer, text, strlen(text), fds, n_fds), strlen(text));
}

/* Lines in pieces and together; each takes only the descriptors that it claims. */
static void test_requests(void **state) {
        Seen seen;
        _cleanup_fd_ int peer = -EBADF;
        g_autoptr(Ctl) ctl = open_ctl(&seen, &peer);
        say(peer, "{\"execute\":\"a\",\"id\":1}\n{\"exe", NULL, 0);
        assert_int_equal(ctl_read(ctl), 0);
        assert_string_equal(seen.text->str, "a/0 ");
        say(peer, "cute\":\"b\",\"id\":2}\n", NULL, 0);
        assert_int_equal(ctl_read(ctl), 0);
        int fds[2] = { 0, 1 };
        say(peer,
            "{\"execute\":\"c\",\"id\":3}\n{\"execute\":\"keep\",\"arguments\":{\"fds\":1},\"id\":4}\n{\"execute\":\"d\",\"arguments\":{\"fds\":7}}\n",
            fds, 2);
        assert_int_equal(ctl_read(ctl), 0);
        assert_string_equal(seen.text->str, "a/0 b/0 c/0 keep/1 d/1 ");
        assert_true(seen.kept_fd > 2);
        fd_close(seen.kept_fd);

        say(peer, "{\"execute\":\"fail\",\"id\":9}\n", NULL, 0);
        assert_int_equal(ctl_read(ctl), 0);
        assert_true(ctl_wants_write(ctl));
        assert_int_equal(ctl_flush(ctl), 0);
        assert_false(ctl_wants_write(ctl));
        char text[4096];
        ssize_t n = read(peer, text, sizeof(text) - 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "\"id\":4"));
        assert_non_null(strstr(text, "no more"));
        assert_non_null(strstr(text, "\"virt-code\":2"));
        g_string_free(seen.text, TRUE);
}

static void test_nonsense(void **state) {
        static const char *const lines[] = { "hello\n", "[]\n", "{\"execute\":5}\n", "\n" };
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                Seen seen;
                _cleanup_fd_ int peer = -EBADF;
                g_autoptr(Ctl) ctl = open_ctl(&seen, &peer);
                say(peer, lines[i], NULL, 0);
                assert_true(ctl_read(ctl) < 0);
                g_string_free(seen.text, TRUE);
        }
}

/* A line without end is not collected for ever. */
static void test_endless_line(void **state) {
        Seen seen;
        _cleanup_fd_ int peer = -EBADF;
        g_autoptr(Ctl) ctl = open_ctl(&seen, &peer);
        char chunk[1000];
        memset(chunk, 'x', sizeof(chunk));
        int r = 0;
        for (int i = 0; i < 1000 && r == 0; i++) {
                assert_int_equal(write(peer, chunk, sizeof(chunk)), sizeof(chunk));
                r = ctl_read(ctl);
        }
        assert_int_equal(r, -EMSGSIZE);
        g_string_free(seen.text, TRUE);
}

/* A daemon that does not read costs a bounded amount, and important events still find room when optional ones do
 * not. */
static void test_slow_daemon(void **state) {
        Seen seen;
        _cleanup_fd_ int peer = -EBADF;
        g_autoptr(Ctl) ctl = open_ctl(&seen, &peer);
        for (int i = 0; i < 50000; i++)
                ctl_event(ctl, "stats",
                          json_add_string(json_object_new_object(), "padding",
                                          "0123456789012345678901234567890123456789"),
                          true);
        ctl_event(ctl, "failed", NULL, false);
        size_t total = 0;
        bool found = false;
        char text[65536];
        while (ctl_wants_write(ctl)) {
                assert_int_equal(ctl_flush(ctl), 0);
                for (ssize_t n; (n = recv(peer, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0;) {
                        text[n] = '\0';
                        total += (size_t) n;
                        found = found || strstr(text, "\"failed\"");
                }
        }
        assert_true(found);
        assert_true(total < 2 << 20);
        g_string_free(seen.text, TRUE);
}

static void test_gone(void **state) {
        Seen seen;
        int peer;
        g_autoptr(Ctl) ctl = open_ctl(&seen, &peer);
        assert_false(ctl_peer_gone(ctl));
        close(peer);
        assert_true(ctl_peer_gone(ctl));
        assert_int_equal(ctl_read(ctl), -ENODATA);
        ctl_abandon(ctl);
        ctl_event(ctl, "failed", NULL, false);
        assert_false(ctl_wants_write(ctl));
        g_string_free(seen.text, TRUE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests),     cmocka_unit_test(test_nonsense),
                cmocka_unit_test(test_endless_line), cmocka_unit_test(test_slow_daemon),
                cmocka_unit_test(test_gone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
