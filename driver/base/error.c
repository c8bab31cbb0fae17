/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/error.h"

#include <errno.h>
#include <string.h>

G_DEFINE_QUARK(ferry-error-quark, ferry_error)

/* Callers forward the number and never match on it; it only has to be negative and to read well in a debug log. */
static int errno_from_code(virErrorNumber code) {
        switch (code) {
        case VIR_ERR_NO_MEMORY:
                return -ENOMEM;
        case VIR_ERR_INVALID_ARG:
        case VIR_ERR_XML_ERROR:
        case VIR_ERR_XML_DETAIL:
        case VIR_ERR_XML_INVALID_SCHEMA:
                return -EINVAL;
        case VIR_ERR_NO_DOMAIN:
                return -ENOENT;
        case VIR_ERR_OPERATION_DENIED:
        case VIR_ERR_ACCESS_DENIED:
                return -EACCES;
        case VIR_ERR_OPERATION_TIMEOUT:
                return -ETIMEDOUT;
        case VIR_ERR_OPERATION_ABORTED:
                return -ECANCELED;
        case VIR_ERR_CONFIG_UNSUPPORTED:
        case VIR_ERR_NO_SUPPORT:
        case VIR_ERR_OPERATION_UNSUPPORTED:
        case VIR_ERR_ARGUMENT_UNSUPPORTED:
                return -EOPNOTSUPP;
        case VIR_ERR_OPERATION_INVALID:
                return -EBUSY;
        default:
                return -EIO;
        }
}

int error_set(GError **reterr, virErrorNumber code, const char *format, ...) {
        if (reterr && !*reterr) {
                va_list ap;

                va_start(ap, format);
                *reterr = g_error_new_valist(FERRY_ERROR, code, format, ap);
                va_end(ap);
        }
        return errno_from_code(code);
}

int error_set_errno(GError **reterr, int errnum, const char *format, ...) {
        errnum = errnum == 0 ? EIO : ABS(errnum);
        if (reterr && !*reterr) {
                g_autofree char *text = NULL;
                va_list ap;

                va_start(ap, format);
                text = g_strdup_vprintf(format, ap);
                va_end(ap);
                *reterr = g_error_new(FERRY_ERROR, VIR_ERR_SYSTEM_ERROR, "%s: %s", text, g_strerror(errnum));
        }
        return -errnum;
}

virErrorNumber error_code(const GError *error) {
        return error && error->domain == FERRY_ERROR ? (virErrorNumber) error->code : VIR_ERR_INTERNAL_ERROR;
}

bool error_is(const GError *error, virErrorNumber code) {
        return error && error->domain == FERRY_ERROR && error->code == (int) code;
}
