/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* virt-ferry snapshot: looks into save images, checks them, takes them apart. It needs no daemon. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/image/image_io.h"
#include "driver/image/image_reader.h"
#include "tools/virt-ferry/commands.h"

#define COPY_BYTES (256u * 1024)

static int complain(const char *path, const GError *error) {
        fprintf(stderr, "virt-ferry: '%s': %s\n", path, error->message);
        return VIRT_FERRY_FAILED;
}

static ImageReader *open_image(const char *path, GError **reterr) {
        ImageReader *reader = NULL;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0) {
                error_set_errno(reterr, errno, _("cannot open it"));
                return NULL;
        }
        if (image_reader_new(fd, &reader, reterr) < 0)
                return NULL;
        if (image_reader_load_tables(reader, reterr) < 0)
                return image_reader_free(reader);
        return reader;
}

/* ---- info ---- */

typedef struct Counts {
        uint64_t pages, chunks, stored_bytes;
} Counts;

static int count_block(const ImageReader *reader, unsigned index, Counts *ret_counts, GError **reterr) {
        uint64_t n = image_chunk_count(image_reader_block(reader, index)->size_bytes);
        Counts counts = { 0 };

        for (uint64_t i = 0; i < n; i++) {
                ImageChunk chunk;
                int r = image_reader_chunk(reader, index, i, &chunk);
                if (r < 0)
                        return image_reader_error(reader, index, i, r, reterr);
                counts.pages += image_chunk_pages(&chunk);
                counts.chunks += chunk.pages != 0;
                counts.stored_bytes += chunk.kind == IMAGE_CHUNK_PLACE
                                               ? image_chunk_pages(&chunk) * (uint64_t) IMAGE_PAGE_BYTES
                                               : chunk.stored_bytes;
        }
        *ret_counts = counts;
        return 0;
}

static char *domain_name(const char *xml) {
        const char *begin = strstr(xml, "<name>"), *end = begin ? strstr(begin, "</name>") : NULL;

        return end ? g_strndup(begin + 6, (size_t) (end - begin - 6)) : g_strdup("?");
}

static int run_info(const char *path, char **arguments, GError **reterr) {
        g_autoptr(ImageReader) reader = open_image(path, reterr);
        g_autofree ImageOrder *order = g_new0(ImageOrder, 1);

        if (!reader)
                return -EIO;
        const ImageHeader *header = image_reader_header(reader);
        g_autofree char *name = domain_name(image_reader_xml(reader));
        g_autoptr(GDateTime) created = g_date_time_new_from_unix_utc((gint64) header->created_sec);
        g_autofree char *when = created ? g_date_time_format(created, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("?");

        image_reader_order(reader, order);
        printf("%-14s %s\n", _("Domain:"), name);
        printf("%-14s %s\n", _("Saved:"), when);
        printf("%-14s %u, %s\n", _("Version:"), IMAGE_VERSION, image_compression_to_string(header->compression));
        printf("%-14s %s\n", _("Restored:"), header->running ? _("running") : _("paused"));
        printf("%-14s %" PRIu64 " MiB\n", _("File:"), header->file_bytes / MIB);
        printf("%-14s %" PRIu64 " KiB\n", _("Device state:"), header->device.length / KIB);
        printf(_("%-14s %u chunks of 64 KiB known\n"), _("First used:"), order->n);
        for (unsigned i = 0; i < header->n_blocks; i++) {
                const ImageBlock *block = image_reader_block(reader, i);
                Counts counts = { 0 };
                int r = count_block(reader, i, &counts, reterr);
                if (r < 0)
                        return r;
                printf(_("RAM block '%s': %" PRIu64 " MiB, %" PRIu64 " MiB in the image, which take %" PRIu64
                         " MiB of the file\n"),
                       block->id, block->size_bytes / MIB, counts.pages * IMAGE_PAGE_BYTES / MIB,
                       counts.stored_bytes / MIB);
        }
        return 0;
}

/* ---- verify and extract ---- */

/* Reads every page of a block, and writes it at its place if there is a file to write to. */
static int read_block(const ImageReader *reader, unsigned index, int out_fd, uint64_t *inout_pages, GError **reterr) {
        const ImageBlock *block = image_reader_block(reader, index);
        g_autoptr(ImageScratch) scratch = image_scratch_new();
        _cleanup_image_io_ unsigned char *pages = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);

        for (uint64_t i = 0; i < image_chunk_count(block->size_bytes); i++) {
                ImageChunk chunk;
                int r = image_reader_chunk(reader, index, i, &chunk);
                if (r >= 0)
                        r = image_reader_read(reader, &chunk, pages, scratch);
                if (r < 0)
                        return image_reader_error(reader, index, i, r, reterr);
                *inout_pages += image_chunk_pages(&chunk);
                for (unsigned page = 0; out_fd >= 0 && page < IMAGE_CHUNK_PAGES; page++) {
                        size_t at = (size_t) page * IMAGE_PAGE_BYTES;
                        if (!(chunk.pages >> page & 1))
                                continue;
                        r = image_io_write(out_fd, i * IMAGE_CHUNK_DATA_BYTES + at, pages + at, IMAGE_PAGE_BYTES);
                        if (r < 0)
                                return error_set_errno(reterr, r, _("cannot write memory"));
                }
        }
        return 0;
}

static int run_verify(const char *path, char **arguments, GError **reterr) {
        g_autoptr(ImageReader) reader = open_image(path, reterr);
        uint64_t pages = 0;
        int r = reader ? 0 : -EIO;

        for (unsigned i = 0; r >= 0 && i < image_reader_header(reader)->n_blocks; i++)
                r = read_block(reader, i, -1, &pages, reterr);
        if (r >= 0)
                r = image_reader_check_device(reader, reterr);
        if (r >= 0)
                printf(_("'%s' is whole: %" PRIu64 " pages and the device state are as they were written\n"), path,
                       pages);
        return r;
}

static int extract_device(const ImageReader *reader, int fd, GError **reterr) {
        g_autofree char *bytes = g_malloc(COPY_BYTES);
        int r = image_reader_check_device(reader, reterr);
        ssize_t n;

        for (uint64_t at = 0; r >= 0 && (n = image_reader_device(reader, at, bytes, COPY_BYTES)) != 0;
             at += (uint64_t) n) {
                r = n < 0 ? (int) n : fd_write_all(fd, bytes, (size_t) n);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot copy the device state"));
        }
        return r;
}

static int extract_block(const ImageReader *reader, const char *id, int fd, GError **reterr) {
        uint64_t pages = 0;

        for (unsigned i = 0; i < image_reader_header(reader)->n_blocks; i++) {
                const ImageBlock *block = image_reader_block(reader, i);
                if (strcmp(block->id, id) != 0)
                        continue;
                if (ftruncate(fd, (off_t) block->size_bytes) < 0)
                        return error_set_errno(reterr, errno, _("cannot make a file of %" PRIu64 " bytes"),
                                               block->size_bytes);
                return read_block(reader, i, fd, &pages, reterr);
        }
        return error_set(reterr, VIR_ERR_INVALID_ARG,
                         _("the image has no part '%s': 'xml', 'device' and its RAM blocks can be extracted"), id);
}

static int run_extract(const char *path, char **arguments, GError **reterr) {
        const char *part = arguments[0], *output = arguments[1];
        g_autoptr(ImageReader) reader = open_image(path, reterr);
        _cleanup_fd_ int fd = -EBADF;
        int r;

        if (!reader)
                return -EIO;
        /* Memory of a guest may hold secrets. */
        fd = strcmp(output, "-") == 0 ? dup(STDOUT_FILENO) : open(output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot create '%s'"), output);
        if (strcmp(part, "device") == 0)
                return extract_device(reader, fd, reterr);
        if (strcmp(part, "xml") != 0)
                return extract_block(reader, part, fd, reterr);
        r = fd_write_all(fd, image_reader_xml(reader), strlen(image_reader_xml(reader)));
        return r < 0 ? error_set_errno(reterr, r, _("cannot write the definition")) : 0;
}

/* ---- the command ---- */

static const struct {
        const char *name;
        int n_arguments; /* after the image's path */
        int (*run)(const char *path, char **arguments, GError **reterr);
} actions[] = {
        { "info", 0, run_info },
        { "verify", 0, run_verify },
        { "extract", 2, run_extract },
};

int virt_ferry_snapshot(int argc, char **argv) {
        static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
        g_autoptr(GError) error = NULL;

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
                if (c != 'h')
                        return VIRT_FERRY_USAGE;
                printf(_(
                        "Usage: virt-ferry snapshot info IMAGE\n"
                        "       virt-ferry snapshot verify IMAGE\n"
                        "       virt-ferry snapshot extract IMAGE PART OUTPUT\n\n"
                        "Looks at an image that 'virsh save' or 'virsh managedsave' has written, checks all of it "
                        "against its checksums, or\n"
                        "copies a part of it: 'xml' (the definition), 'device' (QEMU's device state), or a RAM block "
                        "by its name. An\n"
                        "OUTPUT of '-' is standard output.\n\n"
                        "  --help  show this help\n"));
                return EXIT_SUCCESS;
        }
        for (size_t i = 0; optind < argc && i < G_N_ELEMENTS(actions); i++)
                if (strcmp(argv[optind], actions[i].name) == 0 && argc - optind - 2 == actions[i].n_arguments)
                        return actions[i].run(argv[optind + 1], argv + optind + 2, &error) < 0
                                       ? complain(argv[optind + 1], error)
                                       : EXIT_SUCCESS;
        fprintf(stderr, "%s\n", _("virt-ferry: snapshot: bad usage; 'virt-ferry snapshot --help' explains"));
        return VIRT_FERRY_USAGE;
}
