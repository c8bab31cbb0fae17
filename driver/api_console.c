/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Opening a domain's console for a client. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/console.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"

static CharDef *find_in(GPtrArray *list, const char *device) {
        for (guint i = 0; i < list->len; i++) {
                CharDef *chardev = g_ptr_array_index(list, i);

                if (!device || g_strcmp0(chardev->info.alias, device) == 0)
                        return chardev;
        }
        return NULL;
}

static CharDef *find_console(const DomainDef *def, const char *device) {
        CharDef *chardev = find_in(def->consoles, device);

        if (!chardev)
                chardev = find_in(def->serials, device);
        if (!chardev && device)
                chardev = find_in(def->channels, device);
        return chardev;
}

static int open_pty(const char *path, GError **reterr) {
        struct termios mode;
        int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot open console '%s'"), path);
        if (tcgetattr(fd, &mode) >= 0) {
                cfmakeraw(&mode);
                tcsetattr(fd, TCSANOW, &mode);
        }
        return fd;
}

static int open_unix(const char *path, GError **reterr) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_fd_ int fd = -EBADF;

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the path of console socket '%s' is too long"),
                                 path);
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_set_errno(reterr, errno, _("cannot connect to console '%s'"), path);
        return FD_STEAL(fd);
}

static void on_ended(Console *console, void *userdata) {
        Domain *domain = userdata;

        domain->console = console_free(domain->console);
        domain_unref(domain);
}

static void console_end(Domain *domain) {
        if (domain->console)
                on_ended(domain->console, domain);
}

/* One user at a time. */
static int claim(Domain *domain, unsigned flags, GError **reterr) {
        if (domain->console && !(flags & VIR_DOMAIN_CONSOLE_FORCE))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("active console session exists for domain '%s': say --force to take it over"),
                                 domain->name);
        console_end(domain);
        return 0;
}

int driver_domain_open_console(DriverClient *client, const unsigned char *uuid, const char *device, unsigned flags,
                               int *ret_fd, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        CharDef *chardev;
        int fd, r;

        r = driver_check_write(client, "console", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_CONSOLE_FORCE | VIR_DOMAIN_CONSOLE_SAFE, "console", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        chardev = find_console(domain->live, device);
        if (!chardev && device)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot find console device '%s'"), device);
        if (!chardev)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot find default console device"));
        if (!chardev->source_path || (chardev->type != CHAR_TYPE_PTY && chardev->type != CHAR_TYPE_UNIX))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("console of domain '%s' is not a pty or a unix socket"), domain->name);
        r = claim(domain, flags, reterr);
        if (r < 0)
                return r;
        fd = chardev->type == CHAR_TYPE_PTY ? open_pty(chardev->source_path, reterr)
                                            : open_unix(chardev->source_path, reterr);
        if (fd < 0)
                return fd;
        r = console_new(client->driver->event, fd, on_ended, domain, &domain->console, ret_fd, reterr);
        if (r >= 0)
                domain_ref(domain); /* until on_ended() */
        return r;
}

void driver_domain_close_console(DriverClient *client, const unsigned char *uuid, int fd) {
        g_autoptr(Domain) domain = NULL;

        /* Another may have taken it over since. */
        if (driver_find(client, uuid, &domain, NULL) >= 0 && domain->console && console_is_client(domain->console, fd))
                console_end(domain);
}

void driver_console_release(Driver *driver) {
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);

        for (guint i = 0; i < all->len; i++)
                console_end(g_ptr_array_index(all, i));
}
