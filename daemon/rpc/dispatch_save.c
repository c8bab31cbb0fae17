/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>
#include <string.h>

#include "daemon/rpc/params.h"

/* Save images. Saving and restoring exist in three forms: plain, with flags, with typed parameters. */

/* Newer than the libvirt headers of Debian 12. */
#define PARAM_IMAGE_FORMAT "image_format"

HANDLER(save) {
        const remote_domain_save_args *args = argp;
        return driver_domain_save(call->driver, dispatch_uuid(&args->dom), &(DriverSaveArgs){ .path = args->to },
                                  reterr);
}

HANDLER(save_flags) {
        const remote_domain_save_flags_args *args = argp;
        return driver_domain_save(call->driver, dispatch_uuid(&args->dom),
                                  &(DriverSaveArgs){ .path = args->to,
                                                     .xml = dispatch_optional(args->dxml),
                                                     .flags = args->flags },
                                  reterr);
}

/* Borrows from params. */
static int parse_params(virTypedParameterPtr params, int n, unsigned flags, DriverSaveArgs *ret_args, GError **reterr) {
        *ret_args = (DriverSaveArgs){ .flags = flags };
        for (int i = 0; i < n; i++) {
                const char **place = NULL;
                if (strcmp(params[i].field, VIR_DOMAIN_SAVE_PARAM_FILE) == 0)
                        place = &ret_args->path;
                else if (strcmp(params[i].field, VIR_DOMAIN_SAVE_PARAM_DXML) == 0)
                        place = &ret_args->xml;
                else if (strcmp(params[i].field, PARAM_IMAGE_FORMAT) == 0)
                        place = &ret_args->format;
                if (!place || params[i].type != VIR_TYPED_PARAM_STRING)
                        return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                         _("the parameter '%s' is not supported for save images"), params[i].field);
                *place = params[i].value.s;
        }
        if (!ret_args->path)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the parameter '%s' is missing"),
                                 VIR_DOMAIN_SAVE_PARAM_FILE);
        return 0;
}

HANDLER(save_params) {
        const remote_domain_save_params_args *args = argp;
        virTypedParameterPtr params = NULL;
        DriverSaveArgs save = { 0 };
        int n = 0;

        int r = params_from_wire(args->params.params_val, args->params.params_len, &params, &n, reterr);
        if (r >= 0)
                r = parse_params(params, n, args->flags, &save, reterr);
        if (r >= 0)
                r = driver_domain_save(call->driver, dispatch_uuid(&args->dom), &save, reterr);
        virTypedParamsFree(params, n);
        return r;
}

HANDLER(restore) {
        const remote_domain_restore_args *args = argp;
        return driver_domain_restore(call->driver, &(DriverSaveArgs){ .path = args->from }, reterr);
}

HANDLER(restore_flags) {
        const remote_domain_restore_flags_args *args = argp;
        return driver_domain_restore(call->driver,
                                     &(DriverSaveArgs){ .path = args->from,
                                                        .xml = dispatch_optional(args->dxml),
                                                        .flags = args->flags },
                                     reterr);
}

HANDLER(restore_params) {
        const remote_domain_restore_params_args *args = argp;
        virTypedParameterPtr params = NULL;
        DriverSaveArgs save = { 0 };
        int n = 0;

        int r = params_from_wire(args->params.params_val, args->params.params_len, &params, &n, reterr);
        if (r >= 0)
                r = parse_params(params, n, args->flags, &save, reterr);
        if (r >= 0)
                r = driver_domain_restore(call->driver, &save, reterr);
        virTypedParamsFree(params, n);
        return r;
}

HANDLER(managed_save) {
        const remote_domain_managed_save_args *args = argp;
        return driver_domain_save(call->driver, dispatch_uuid(&args->dom), &(DriverSaveArgs){ .flags = args->flags },
                                  reterr);
}

HANDLER(has_managed_save) {
        const remote_domain_has_managed_save_image_args *args = argp;
        remote_domain_has_managed_save_image_ret *ret = retp;
        bool yes = false;
        int r = driver_domain_has_managed_save(call->driver, dispatch_uuid(&args->dom), args->flags, &yes, reterr);

        ret->result = yes;
        return r;
}

HANDLER(managed_save_remove) {
        const remote_domain_managed_save_remove_args *args = argp;
        return driver_domain_remove_managed_save(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(image_get_xml) {
        const remote_domain_save_image_get_xml_desc_args *args = argp;
        remote_domain_save_image_get_xml_desc_ret *ret = retp;
        return driver_save_image_xml(call->driver, NULL, args->file, args->flags, &ret->xml, reterr);
}

HANDLER(image_define_xml) {
        const remote_domain_save_image_define_xml_args *args = argp;
        return driver_save_image_define(call->driver, NULL, args->file, args->dxml, args->flags, reterr);
}

HANDLER(managed_get_xml) {
        const remote_domain_managed_save_get_xml_desc_args *args = argp;
        remote_domain_managed_save_get_xml_desc_ret *ret = retp;
        return driver_save_image_xml(call->driver, dispatch_uuid(&args->dom), NULL, args->flags, &ret->xml, reterr);
}

HANDLER(managed_define_xml) {
        const remote_domain_managed_save_define_xml_args *args = argp;
        return driver_save_image_define(call->driver, dispatch_uuid(&args->dom), NULL, dispatch_optional(args->dxml),
                                        args->flags, reterr);
}

static const Procedure procedures[] = {
        { PROCEDURE(DOMAIN_RESTORE), ARGS(remote_domain_restore_args), .func = restore },
        { PROCEDURE(DOMAIN_SAVE), ARGS(remote_domain_save_args), .func = save },
        { PROCEDURE(DOMAIN_MANAGED_SAVE), ARGS(remote_domain_managed_save_args), .func = managed_save },
        { PROCEDURE(DOMAIN_HAS_MANAGED_SAVE_IMAGE), ARGS(remote_domain_has_managed_save_image_args),
          RET(remote_domain_has_managed_save_image_ret), .func = has_managed_save },
        { PROCEDURE(DOMAIN_MANAGED_SAVE_REMOVE), ARGS(remote_domain_managed_save_remove_args),
          .func = managed_save_remove },
        { PROCEDURE(DOMAIN_SAVE_FLAGS), ARGS(remote_domain_save_flags_args), .func = save_flags },
        { PROCEDURE(DOMAIN_RESTORE_FLAGS), ARGS(remote_domain_restore_flags_args), .func = restore_flags },
        { PROCEDURE(DOMAIN_SAVE_IMAGE_GET_XML_DESC), ARGS(remote_domain_save_image_get_xml_desc_args),
          RET(remote_domain_save_image_get_xml_desc_ret), .func = image_get_xml },
        { PROCEDURE(DOMAIN_SAVE_IMAGE_DEFINE_XML), ARGS(remote_domain_save_image_define_xml_args),
          .func = image_define_xml },
        { PROCEDURE(DOMAIN_MANAGED_SAVE_GET_XML_DESC), ARGS(remote_domain_managed_save_get_xml_desc_args),
          RET(remote_domain_managed_save_get_xml_desc_ret), .func = managed_get_xml },
        { PROCEDURE(DOMAIN_MANAGED_SAVE_DEFINE_XML), ARGS(remote_domain_managed_save_define_xml_args),
          .func = managed_define_xml },
        { PROCEDURE(DOMAIN_SAVE_PARAMS), ARGS(remote_domain_save_params_args), .func = save_params },
        { PROCEDURE(DOMAIN_RESTORE_PARAMS), ARGS(remote_domain_restore_params_args), .func = restore_params },
};
const ProcedureTable save_procedures = { procedures, G_N_ELEMENTS(procedures) };
