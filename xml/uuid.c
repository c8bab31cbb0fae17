/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int uuid_parse(const char *text, unsigned char ret_uuid[static UUID_BYTES]) {
        unsigned char uuid[UUID_BYTES];

        while (g_ascii_isspace(*text))
                text++;
        for (unsigned i = 0; i < UUID_BYTES; i++) {
                if (i > 0 && *text == '-')
                        text++;
                if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
                        return -EINVAL;
                uuid[i] = (unsigned char) (g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
                text += 2;
        }
        while (g_ascii_isspace(*text))
                text++;
        if (*text != '\0')
                return -EINVAL;
        memcpy(ret_uuid, uuid, UUID_BYTES);
        return 0;
}

char *uuid_format(const unsigned char uuid[static UUID_BYTES], char buffer[static UUID_TEXT_SIZE]) {
        static const char hex[] = "0123456789abcdef";
        char *out = buffer;

        for (unsigned i = 0; i < UUID_BYTES; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *out++ = '-';
                *out++ = hex[uuid[i] >> 4];
                *out++ = hex[uuid[i] & 15];
        }
        *out = '\0';
        return buffer;
}

int uuid_generate(unsigned char ret_uuid[static UUID_BYTES]) {
        unsigned char uuid[UUID_BYTES];

        /* Short requests are never split once the pool is initialised. */
        if (getrandom(uuid, sizeof(uuid), 0) != (ssize_t) sizeof(uuid))
                return errno > 0 ? -errno : -EIO;
        uuid[6] = (unsigned char) ((uuid[6] & 0x0f) | 0x40);
        uuid[8] = (unsigned char) ((uuid[8] & 0x3f) | 0x80);
        memcpy(ret_uuid, uuid, UUID_BYTES);
        return 0;
}

bool uuid_is_valid(const unsigned char uuid[static UUID_BYTES]) {
        return memcmp(uuid, uuid + 1, UUID_BYTES - 1) != 0;
}
