/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Opening a domain's console for a client. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
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
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the path of console socket '%s' is too long"), path);
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_set_errno(reterr, errno, _("cannot connect to console '%s'"), path);
        return FD_STEAL(fd);
}

/* One user at a time: FORCE ends the other's descriptor. */
static int claim(Domain *domain, unsigned flags, GError **reterr) {
        if (domain->console_fd < 0)
                return 0;
        if (!(flags & VIR_DOMAIN_CONSOLE_FORCE))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("active console session exists for domain '%s': say --force to take it over"), domain->name);
        shutdown(domain->console_fd, SHUT_RDWR);
        domain->console_fd = fd_close(domain->console_fd);
        return 0;
}

int driver_domain_open_console(DriverClient *client, const unsigned char *uuid, const char *device, unsigned flags, int *ret_fd, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        _cleanup_fd_ int fd = -EBADF;
        CharDef *chardev;
        int r;

        r = driver_check_write(client, "console", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_CONSOLE_FORCE | VIR_DOMAIN_CONSOLE_SAFE, "console", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        chardev = find_console(domain->live, device);
        if (!chardev)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, device ? _("cannot find console device '%s'") : _("cannot find default console device%s"), device ? device : "");
        if (!chardev->source_path || (chardev->type != CHAR_TYPE_PTY && chardev->type != CHAR_TYPE_UNIX))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("console of domain '%s' is not a pty or a unix socket"), domain->name);
        r = claim(domain, flags, reterr);
        if (r < 0)
                return r;
        fd = chardev->type == CHAR_TYPE_PTY ? open_pty(chardev->source_path, reterr) : open_unix(chardev->source_path, reterr);
        if (fd < 0)
                return fd;
        domain->console_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        *ret_fd = FD_STEAL(fd);
        return 0;
}

void driver_domain_close_console(DriverClient *client, const unsigned char *uuid, int fd) {
        g_autoptr(Domain) domain = NULL;
        struct stat ours, theirs;

        if (driver_find(client, uuid, &domain, NULL) < 0 || domain->console_fd < 0)
                return;
        /* Another may have taken it over since. */
        if (fstat(domain->console_fd, &ours) >= 0 && fstat(fd, &theirs) >= 0 && ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
                domain->console_fd = fd_close(domain->console_fd);
}
