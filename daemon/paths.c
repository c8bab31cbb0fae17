/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

/* Set when this program runs from its build tree: BUILD/daemon/virtferryd, with BUILD/libexec beside it. */
static char *build_dir(void) {
        g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *dir = exe ? g_path_get_dirname(exe) : NULL;
        g_autofree char *base = dir ? g_path_get_basename(dir) : NULL;

        if (g_strcmp0(base, "daemon") != 0)
                return NULL;
        g_autofree char *build = g_path_get_dirname(dir);
        g_autofree char *mark = g_build_filename(build, "libexec", "virt-ferry-engine", NULL);
        struct stat st = { 0 };
        return lstat(mark, &st) == 0 ? g_steal_pointer(&build) : NULL;
}

static void paths_init_helpers(DaemonPaths *paths) {
        const char *helpers = g_getenv("FERRY_HELPER_DIR"), *schemas = g_getenv("FERRY_SCHEMA_DIR");
        g_autofree char *build = build_dir();

        if (helpers)
                paths->helper_dir = g_strdup(helpers);
        else
                paths->helper_dir = build ? g_build_filename(build, "libexec", NULL) : g_strdup(FERRY_LIBEXEC_DIR);
        if (schemas)
                paths->schema_dir = g_strdup(schemas);
        else
                paths->schema_dir = build
                        ? g_build_filename(FERRY_SOURCE_DIR, "xml", "schema", NULL) : g_strdup(FERRY_SCHEMA_DIR);
}

void paths_init(DaemonPaths *paths, const char *root, bool session) {
        *paths = (DaemonPaths) { 0 };
        paths_init_helpers(paths);

        if (session && (!root || !*root)) {
                paths->config_file = g_build_filename(g_get_user_config_dir(), "libvirt/virtferryd.conf", NULL);
                paths->config_dir = g_build_filename(g_get_user_config_dir(), "libvirt/ferry", NULL);
                paths->run_dir = g_build_filename(g_get_user_runtime_dir(), "libvirt", NULL);
                paths->log_dir = g_build_filename(g_get_user_cache_dir(), "libvirt/ferry/log", NULL);
                paths->lib_dir = g_build_filename(g_get_user_data_dir(), "libvirt/ferry", NULL);
        } else {
                if (!root)
                        root = "";
                paths->config_file = g_strconcat(root, "/etc/libvirt/virtferryd.conf", NULL);
                paths->config_dir = g_strconcat(root, "/etc/libvirt/ferry", NULL);
                paths->run_dir = g_strconcat(root, "/run/libvirt", NULL);
                paths->log_dir = g_strconcat(root, "/var/log/libvirt/ferry", NULL);
                paths->lib_dir = g_strconcat(root, "/var/lib/libvirt/ferry", NULL);
                paths->socket_ro = g_strconcat(paths->run_dir, "/virtferryd-sock-ro", NULL);
        }
        paths->state_dir = g_build_filename(paths->run_dir, "ferry", NULL);
        paths->socket = g_build_filename(paths->run_dir, "virtferryd-sock", NULL);
        paths->pid_file = g_build_filename(paths->run_dir, "virtferryd.pid", NULL);
}

void paths_clear(DaemonPaths *paths) {
        g_free(paths->config_file);
        g_free(paths->config_dir);
        g_free(paths->run_dir);
        g_free(paths->state_dir);
        g_free(paths->log_dir);
        g_free(paths->lib_dir);
        g_free(paths->socket);
        g_free(paths->socket_ro);
        g_free(paths->pid_file);
        g_free(paths->helper_dir);
        g_free(paths->schema_dir);
        *paths = (DaemonPaths) { 0 };
}

int paths_make(const DaemonPaths *paths, bool session, GError **reterr) {
        /* Other users pass through run_dir to the read-only socket; what is in the others concerns nobody else. */
        const struct {
                const char *path;
                mode_t mode;
        } dirs[] = {
                { paths->run_dir, session ? 0700 : 0755 },
                { paths->state_dir, 0711 },
                { paths->config_dir, 0700 },
                { paths->log_dir, 0700 },
                { paths->lib_dir, 0711 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
                /* Above them is what others use too. */
                g_autofree char *parent = g_path_get_dirname(dirs[i].path);
                int r = dir_make(parent, session ? 0700 : 0755, reterr);
                if (r >= 0)
                        r = dir_make(dirs[i].path, dirs[i].mode, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
