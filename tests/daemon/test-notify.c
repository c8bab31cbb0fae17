/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/systemd/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"

static void assert_text(const char *expected, unsigned guests, unsigned migrating, unsigned percent) {
        g_autofree char *text =
                notify_status_text(&(DriverSummary){ .guests = guests, .migrating = migrating, .percent = percent });

        assert_string_equal(text, expected);
}

static void test_text(void **state) {
        assert_text("no guests", 0, 0, 100);
        assert_text("1 guest", 1, 0, 100);
        assert_text("12 guests", 12, 0, 100);
        assert_text("1 guest, migrating 7 %", 1, 1, 7);
        assert_text("3 guests, 1 migrating 62 %", 3, 1, 62);
}

/* A service manager's end of the socket. */
static int manager_socket(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_autofree char *name = g_strdup_printf("@ferry-test-notify-%d", (int) getpid());
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path + 1, name + 1);
        assert_int_equal(bind(fd, (struct sockaddr *) &address,
                              (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
        setenv("NOTIFY_SOCKET", name, 1);
        return fd;
}

static void assert_told(int fd, const char *beginning) {
        char text[512] = "";

        assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
        if (!g_str_has_prefix(text, beginning))
                fail_msg("'%s' instead of '%s'", text, beginning);
}

static void assert_silent(int fd) {
        char text[16];

        assert_int_equal(recv(fd, text, sizeof(text), 0), -1);
}

static void emit_lifecycle(void) {
        double_event(&(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_LIFECYCLE });
}

static void test_conversation(void **state) {
        _cleanup_fd_ int fd = manager_socket();
        sd_event *event = NULL;

        assert_true(sd_event_new(&event) >= 0);
        Notify *notify = notify_new(event, NULL);
        notify_ready(notify);
        assert_told(fd, "READY=1");
        assert_told(fd, "STATUS=no guests");

        /* What happens changes the line, on the next turn of the loop, and only a change is told. */
        driver_double.summary = (DriverSummary){ .guests = 2, .percent = 100 };
        emit_lifecycle();
        emit_lifecycle();
        assert_silent(fd);
        assert_true(sd_event_run(event, 1000000) > 0);
        assert_told(fd, "STATUS=2 guests");
        assert_silent(fd);

        /* A migration moves on without events. */
        driver_double.summary = (DriverSummary){ .guests = 2, .migrating = 1, .percent = 10 };
        emit_lifecycle();
        assert_true(sd_event_run(event, 1000000) > 0);
        assert_told(fd, "STATUS=2 guests, 1 migrating 10 %");
        driver_double.summary = (DriverSummary){ .guests = 2, .migrating = 1, .percent = 11 };
        assert_true(sd_event_run(event, 5000000) > 0);
        assert_told(fd, "STATUS=2 guests, 1 migrating 11 %");

        notify_reloading();
        assert_told(fd, "RELOADING=1\nMONOTONIC_USEC=");
        notify_ready(notify);
        assert_told(fd, "READY=1");
        assert_told(fd, "STATUS=2 guests, 1 migrating 11 %");
        notify_stopping(notify, "Terminated");
        assert_told(fd, "STOPPING=1\nSTATUS=Terminated");
        emit_lifecycle();
        assert_true(sd_event_run(event, 1000000) > 0);
        assert_silent(fd);
        notify_free(notify);
        sd_event_unref(event);
        unsetenv("NOTIFY_SOCKET");
}

/* Nobody listens: nothing happens. */
static void test_alone(void **state) {
        sd_event *event = NULL;

        assert_true(sd_event_new(&event) >= 0);
        Notify *notify = notify_new(event, NULL);
        notify_ready(notify);
        emit_lifecycle();
        assert_int_equal(sd_event_run(event, 0), 0);
        notify_stopping(notify, "Terminated");
        notify_free(notify);
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_conversation),
                cmocka_unit_test(test_alone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
