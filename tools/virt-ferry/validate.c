/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * virt-ferry validate: whether this host can run guests and migrate them, each finding with its remedy.
 *
 * A check tries the thing itself where that is possible: a userfaultfd is opened, a tmpfs is made (and attached to
 * nothing), ports are bound, QEMU is asked. What this user may do counts: without root it is about session mode.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <linux/mount.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/kernel.h"
#include "driver/qemu/caps.h"
#include "tools/virt-ferry/commands.h"

#define PORT_MIN 49152 /* as in virtferryd.conf */
#define PORT_MAX 49215
#define FILE_BYTES_MAX (64 * 1024)

typedef enum Level {
        LEVEL_PASS,
        LEVEL_NOTE, /* nothing is wrong, but something cannot be used */
        LEVEL_WARN, /* works, but slower or not everything */
        LEVEL_FAIL,
        _LEVEL_MAX,
} Level;

static const char *const level_names[_LEVEL_MAX] = { "PASS", "NOTE", "WARN", "FAIL" };

typedef struct Validate {
        bool root;
        bool quiet;
        json_object *findings; /* NULL: lines of text */
        unsigned port_min, port_max;
        char **emulators;
        unsigned n[_LEVEL_MAX];
} Validate;

/* @check: a name for programs. @text: a sentence. @remedy may be NULL. */
static void found(Validate *validate, Level level, const char *check, const char *text, const char *remedy) {
        validate->n[level]++;
        if (validate->findings) {
                json_object *finding = json_object_new_object();

                json_add_string(finding, "check", check);
                json_add_string(finding, "level", level_names[level]);
                json_add_string(finding, "text", text);
                json_add_string(finding, "remedy", level == LEVEL_PASS ? NULL : remedy);
                json_object_array_add(validate->findings, finding);
                return;
        }
        if (validate->quiet && level < LEVEL_WARN)
                return;
        printf("%s  %-18s %s\n", level_names[level], check, text);
        if (remedy && level != LEVEL_PASS)
                printf("                         -> %s\n", remedy);
        fflush(stdout);
}

/* The usual form: one thing that works, or does not. */
static void expect(Validate *validate, bool works, Level otherwise, const char *check, const char *text,
                   const char *text_otherwise, const char *remedy) {
        found(validate, works ? LEVEL_PASS : otherwise, check, works ? text : text_otherwise, remedy);
}

static char *read_text(const char *path) {
        char *text = NULL;

        return file_read(path, FILE_BYTES_MAX, &text, NULL, NULL) < 0 ? NULL : text;
}

/* ---- kernel ---- */

static void check_userfaultfd(Validate *validate) {
        _cleanup_fd_ int fd = kernel_userfaultfd(false);

        if (fd >= 0)
                found(validate, LEVEL_PASS, "userfaultfd", _("page faults of guests can be handled"), NULL);
        else if (validate->root)
                found(validate, LEVEL_FAIL, "userfaultfd",
                      _("no userfaultfd can be opened: guests can be neither migrated live nor restored lazily"),
                      _("use a kernel with CONFIG_USERFAULTFD; in a container, allow the system call or pass "
                        "/dev/userfaultfd"));
        else
                found(validate, LEVEL_WARN, "userfaultfd",
                      _("this user may not handle page faults that the kernel takes: guests of this user cannot be "
                        "migrated live"),
                      _("give the user access to /dev/userfaultfd, or set sysctl vm.unprivileged_userfaultfd=1"));
}

static void check_kernel(Validate *validate) {
        bool async = kernel_has(KERNEL_UFFD_WP_ASYNC) && kernel_has(KERNEL_PAGEMAP_SCAN);
        bool sync = kernel_has(KERNEL_UFFD_WP_SHMEM);

        check_userfaultfd(validate);
        expect(validate, async, sync ? LEVEL_WARN : LEVEL_FAIL, "dirty-tracking",
               _("writes of guests are found by PAGEMAP_SCAN"),
               sync ? _("PAGEMAP_SCAN or asynchronous write protection is missing: each first write to a page in a "
                        "round costs the guest a fault")
                    : _("writes to shared memory cannot be tracked: live migration is impossible"),
               _("use Linux 6.7 or later"));
        expect(validate, kernel_has(KERNEL_UFFD_MINOR), LEVEL_WARN, "postcopy",
               _("minor faults on shared memory can be handled"),
               _("minor faults on shared memory cannot be handled: no postcopy, no lazy restore"),
               _("use Linux 5.14 or later"));
        expect(validate, kernel_has(KERNEL_POPULATE), LEVEL_WARN, "populate", _("memory can be populated in advance"),
               _("MADV_POPULATE_WRITE is missing: preallocation is slow"), _("use Linux 5.14 or later"));
        expect(validate, kernel_has(KERNEL_SEEK_HOLE), LEVEL_FAIL, "seek-hole",
               _("holes in guest memory can be found"),
               _("SEEK_DATA does not work on shared memory: guests would grow when they are migrated"),
               _("use a kernel with tmpfs (CONFIG_TMPFS)"));
}

/* ---- memory ---- */

/* Makes a tmpfs as the daemon would, and attaches it nowhere. */
static int try_tmpfs(const char *huge) {
        _cleanup_fd_ int fs = (int) syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

        if (fs < 0)
                return -errno;
        if (huge && syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "huge", huge, 0) < 0)
                return -errno;
        return syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

static void check_tmpfs(Validate *validate) {
        if (!validate->root) {
                found(validate, LEVEL_NOTE, "tmpfs", _("without root, memory of guests is in memfds"), NULL);
                return;
        }
        bool plain = try_tmpfs(NULL) >= 0;
        expect(validate, plain, LEVEL_FAIL, "tmpfs", _("a tmpfs for memory of guests can be mounted"),
               _("no tmpfs can be mounted for memory of guests"),
               _("in a container, allow mounts (CAP_SYS_ADMIN), or mount a tmpfs at /run/libvirt/ferry/ram "
                 "beforehand"));
        g_autofree char *shmem = read_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
        bool denied = shmem && strstr(shmem, "[deny]");
        if (plain)
                expect(validate, try_tmpfs("advise") >= 0 && !denied, LEVEL_WARN, "tmpfs-huge",
                       _("it can have large pages"),
                       denied ? _("large pages are switched off for all shared memory")
                              : _("this kernel has no large pages for tmpfs"),
                       denied ? _("echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled")
                              : _("use a kernel with CONFIG_TRANSPARENT_HUGEPAGE"));
}

static void check_hugepages(Validate *validate) {
        g_autofree char *mounts = read_text("/proc/self/mounts");
        g_autoptr(GDir) dir = g_dir_open("/sys/kernel/mm/hugepages", 0, NULL);
        unsigned long long all = 0;
        const char *name;

        while (dir && (name = g_dir_read_name(dir))) {
                g_autofree char *path = g_build_filename("/sys/kernel/mm/hugepages", name, "nr_hugepages", NULL);
                g_autofree char *text = read_text(path);
                all += text ? g_ascii_strtoull(text, NULL, 10) : 0;
        }
        expect(validate, all > 0, LEVEL_NOTE, "hugepages", _("huge pages are reserved"),
               _("no huge pages are reserved: definitions with <hugepages/> do not start"),
               _("sysctl vm.nr_hugepages=N, as many as such guests need"));
        if (all > 0)
                expect(validate, mounts && strstr(mounts, " hugetlbfs "), LEVEL_NOTE, "hugetlbfs",
                       _("hugetlbfs is mounted"), _("hugetlbfs is not mounted: huge pages are taken from memfds"),
                       _("mount -t hugetlbfs hugetlbfs /dev/hugepages"));
}

static void check_memlock(Validate *validate) {
        struct rlimit limit = { 0 };
        bool unlimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max == RLIM_INFINITY;

        /* The service has its own; what counts for a session is this one. */
        expect(validate, unlimited || validate->root, LEVEL_NOTE, "memlock", _("memory can be locked"),
               _("this user may lock only little memory: definitions with <locked/> do not start"),
               _("raise memlock in /etc/security/limits.d"));
}

static void check_overcommit(Validate *validate) {
        g_autofree char *text = read_text("/proc/sys/vm/overcommit_memory");

        expect(validate, !text || *text != '2', LEVEL_WARN, "overcommit", _("memory is not accounted strictly"),
               _("vm.overcommit_memory is 2: a guest's memory counts as used from its start"),
               _("sysctl vm.overcommit_memory=0, or reckon with it"));
}

/* ---- devices and QEMU ---- */

static void check_devices(Validate *validate) {
        expect(validate, access("/dev/kvm", R_OK | W_OK) == 0, LEVEL_WARN, "kvm", _("/dev/kvm can be used"),
               access("/dev/kvm", F_OK) == 0 ? _("this user may not use /dev/kvm")
                                             : _("/dev/kvm does not exist: guests are emulated, and slow"),
               access("/dev/kvm", F_OK) == 0
                       ? _("add the user to the group of /dev/kvm")
                       : _("switch virtualization on in the firmware, load kvm_intel or kvm_amd"));
        if (validate->root)
                expect(validate, access("/dev/net/tun", R_OK | W_OK) == 0, LEVEL_WARN, "tun",
                       _("/dev/net/tun can be used"),
                       _("/dev/net/tun cannot be used: guests with <interface type='bridge'> do not start"),
                       _("modprobe tun"));
}

static void check_emulator_quirks(Validate *validate, const QemuCaps *caps) {
        const char *binary = qemu_caps_binary(caps);
        g_autofree char *file = g_strdup_printf(_("'%s' takes memory from files"), binary);
        g_autofree char *no_file = g_strdup_printf(_("'%s' has no memory-backend-file"), binary);
        g_autofree char *reopen = g_strdup_printf(_("'%s' can change how disks are opened"), binary);
        g_autofree char *no_reopen =
                g_strdup_printf(_("'%s' cannot change how disks are opened: guests with cache='none' are not migrated "
                                  "live"), binary);
        g_autofree char *kvm = g_strdup_printf(_("'%s' can use KVM"), binary);
        g_autofree char *no_kvm = g_strdup_printf(_("'%s' cannot use KVM here"), binary);

        expect(validate, qemu_caps_has_type(caps, "memory-backend-file"), LEVEL_FAIL, "qemu-memory", file, no_file,
               _("use a QEMU for Linux, 7.2 or later"));
        expect(validate, qemu_caps_has_command(caps, "blockdev-reopen"), LEVEL_WARN, "qemu-reopen", reopen, no_reopen,
               _("use QEMU 6.1 or later"));
        if (access("/dev/kvm", R_OK | W_OK) == 0)
                expect(validate, qemu_caps_kvm(caps), LEVEL_WARN, "qemu-kvm", kvm, no_kvm,
                       _("see dmesg; within a virtual machine, switch nested virtualization on"));
}

static void check_emulator(Validate *validate, const char *binary) {
        g_autoptr(GError) error = NULL;
        g_autoptr(QemuCaps) caps = NULL;

        if (qemu_caps_probe(fiber_event(), binary, &caps, &error) < 0) {
                found(validate, LEVEL_FAIL, "qemu", error->message, _("install QEMU 7.2 or later"));
                return;
        }
        unsigned version = qemu_caps_version(caps);
        g_autofree char *text = g_strdup_printf(_("'%s' is QEMU %u.%u.%u for %s"), binary, version / 1000000,
                                                version / 1000 % 1000, version % 1000, qemu_caps_arch(caps));
        g_autofree char *old =
                g_strdup_printf(_("'%s' is QEMU %u.%u.%u, older than what is tested"), binary, version / 1000000,
                                version / 1000 % 1000, version % 1000);
        expect(validate, version >= 7002000, LEVEL_WARN, "qemu", text, old, _("use QEMU 7.2 or later"));
        check_emulator_quirks(validate, caps);
}

static void check_emulators(Validate *validate) {
        g_autofree char *binary = *validate->emulators ? NULL : qemu_caps_find_emulator("x86_64");

        for (char **p = validate->emulators; *p; p++)
                check_emulator(validate, *p);
        if (*validate->emulators)
                return;
        if (binary)
                check_emulator(validate, binary);
        else
                found(validate, LEVEL_FAIL, "qemu", _("there is no qemu-system-x86_64"),
                      _("install QEMU 7.2 or later"));
}

/* ---- network and daemon ---- */

static bool port_is_free(unsigned port) {
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
        int on = 1;

        return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
               bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0;
}

static void check_ports(Validate *validate) {
        unsigned n = 0, all = validate->port_max - validate->port_min + 1;

        for (unsigned port = validate->port_min; port <= validate->port_max; port++)
                n += port_is_free(port);
        g_autofree char *text = g_strdup_printf(_("%u of %u ports from %u to %u are free for incoming migrations"), n,
                                                all, validate->port_min, validate->port_max);
        found(validate, n == 0 ? LEVEL_FAIL : n < all ? LEVEL_NOTE : LEVEL_PASS, "ports", text,
              _("see 'ss -ltnp'; migration_port_min and migration_port_max in virtferryd.conf set others"));
}

static bool is_loopback(const struct sockaddr *address) {
        if (address->sa_family == AF_INET)
                return ntohl(((const struct sockaddr_in *) (const void *) address)->sin_addr.s_addr) >> 24 == 127;
        return address->sa_family == AF_INET6 &&
               IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) (const void *) address)->sin6_addr);
}

/* The name goes into migration URIs. */
static void check_hostname(Validate *validate) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
        char name[256] = "";
        bool reachable = false;

        (void) gethostname(name, sizeof(name) - 1);
        int r = getaddrinfo(name, NULL, &hints, &list);
        for (const struct addrinfo *p = list; r == 0 && p; p = p->ai_next)
                reachable = reachable || !is_loopback(p->ai_addr);
        if (r == 0)
                freeaddrinfo(list);
        g_autofree char *text = g_strdup_printf(_("other hosts may reach this one as '%s'"), name);
        g_autofree char *other =
                r == 0 ? g_strdup_printf(_("the host name '%s' leads to this host's loopback address only"), name)
                       : g_strdup_printf(_("the host name '%s' leads to no address: %s"), name, gai_strerror(r));
        expect(validate, reachable, LEVEL_WARN, "hostname", text, other,
               _("set migration_host in virtferryd.conf to a name or address that other hosts can use"));
}

static void check_identity(Validate *validate) {
        g_autofree char *id = read_text("/etc/machine-id");

        expect(validate, id && strspn(id, "0123456789abcdef") == 32, LEVEL_FAIL, "machine-id",
               _("this host has an identity"), _("/etc/machine-id is missing or empty: hosts cannot be told apart"),
               _("systemd-machine-id-setup, or set host_uuid in virtferryd.conf"));
}

static void check_daemon(Validate *validate) {
        g_autofree char *path = validate->root ? g_strdup("/run/libvirt/virtferryd-sock")
                                               : g_build_filename(g_get_user_runtime_dir(), "libvirt",
                                                                  "virtferryd-sock", NULL);
        g_autofree char *text = g_strdup_printf(_("'%s' exists"), path);
        g_autofree char *other = g_strdup_printf(_("'%s' does not exist: clients do not find the daemon"), path);

        expect(validate, access(path, F_OK) == 0, LEVEL_NOTE, "daemon", text, other,
               validate->root ? _("systemctl enable --now virtferryd.socket virtferryd-ro.socket")
                              : _("systemctl --user enable --now virtferryd.socket"));
}

/* ---- the command ---- */

static void validate_run(void *userdata) {
        Validate *validate = userdata;

        check_kernel(validate);
        check_tmpfs(validate);
        check_hugepages(validate);
        check_memlock(validate);
        check_overcommit(validate);
        check_devices(validate);
        check_emulators(validate);
        check_ports(validate);
        check_hostname(validate);
        check_identity(validate);
        check_daemon(validate);
}

static void validate_help(void) {
        printf(_("Usage: virt-ferry validate [OPTION...] [EMULATOR...]\n\n"
                 "Checks whether this host can run guests and migrate them, and says what to do where it cannot.\n"
                 "Emulators are paths of QEMU binaries; without one, the default is checked.\n\n"
                 "  -j, --json           print a list of findings for programs\n"
                 "  -p, --ports MIN-MAX  ports for incoming migrations (49152-49215)\n"
                 "  -q, --quiet          print only what is not as it should be\n"
                 "  -h, --help           show this help\n\n"
                 "The exit status is 1 if something failed, 0 otherwise, warnings included.\n"));
}

static bool parse_ports(const char *text, Validate *validate) {
        char end = 0;

        return sscanf(text, "%u-%u%c", &validate->port_min, &validate->port_max, &end) == 2 && validate->port_min > 0 &&
               validate->port_min <= validate->port_max && validate->port_max <= 65535;
}

int virt_ferry_validate(int argc, char **argv) {
        static const struct option options[] = {
                { "json", no_argument, NULL, 'j' },
                { "ports", required_argument, NULL, 'p' },
                { "quiet", no_argument, NULL, 'q' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        Validate validate = { .root = geteuid() == 0, .port_min = PORT_MIN, .port_max = PORT_MAX };
        g_autoptr(json_object) findings = json_object_new_array();
        int option;

        while ((option = getopt_long(argc, argv, "jp:qh", options, NULL)) >= 0) {
                if (option == 'j') {
                        validate.findings = findings;
                } else if (option == 'q') {
                        validate.quiet = true;
                } else if (option == 'h') {
                        validate_help();
                        return EXIT_SUCCESS;
                } else if (option != 'p') {
                        return VIRT_FERRY_USAGE;
                } else if (!parse_ports(optarg, &validate)) {
                        fprintf(stderr, _("virt-ferry: '%s' is not a range of ports, such as 49152-49215\n"), optarg);
                        return VIRT_FERRY_USAGE;
                }
        }
        validate.emulators = argv + optind;
        int r = fiber_run("validate", validate_run, &validate);
        if (r < 0) {
                fprintf(stderr, _("virt-ferry: cannot make an event loop: %s\n"), g_strerror(-r));
                return VIRT_FERRY_FAILED;
        }
        if (validate.findings)
                printf("%s\n", json_object_to_json_string_ext(findings, JSON_C_TO_STRING_PRETTY));
        else if (!validate.quiet)
                printf(_("\n%u passed, %u notes, %u warnings, %u failed\n"), validate.n[LEVEL_PASS],
                       validate.n[LEVEL_NOTE], validate.n[LEVEL_WARN], validate.n[LEVEL_FAIL]);
        return validate.n[LEVEL_FAIL] > 0 ? VIRT_FERRY_FAILED : EXIT_SUCCESS;
}
