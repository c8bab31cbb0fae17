/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The commands of virt-ferry, each in a file of its name. argv[0] is the command's name, the rest its options and
 * arguments; each reads them with getopt_long() (optind is 0 when it is called) and answers --help. They return the
 * process's exit status: 0 done, 1 failed (with a sentence on stderr), 2 bad usage.
 */

#define VIRT_FERRY_FAILED 1
#define VIRT_FERRY_USAGE 2

typedef struct VirtFerryCommand {
        const char *name;
        const char *summary; /* one line, to be translated */
        int (*run)(int argc, char **argv);
} VirtFerryCommand;

/* Prints what virt-ferry can do: to users who ask, and to those who asked for something else. */
int virt_ferry_help(int argc, char **argv);
/* Runs migration policies over a guest and a link that are only numbers, or over recorded rounds. */
int virt_ferry_simulate(int argc, char **argv);
/* Checks whether this host can run guests and migrate them. */
int virt_ferry_validate(int argc, char **argv);
/* Save images: info, verify, extract. */
int virt_ferry_snapshot(int argc, char **argv);
/* A live view of all migration jobs, over D-Bus. */
int virt_ferry_watch(int argc, char **argv);
