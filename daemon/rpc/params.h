/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* libvirt's typed parameters, between memory (<libvirt/libvirt-common.h>) and wire (remote_typed_param). */

#include <glib.h>
#include <libvirt/libvirt.h>

#include "daemon/rpc/proto/remote_protocol.h"

/* Copies n parameters to wire form. The array and its strings are freed by the XDR filter of what holds them.
 * Parameters of an unknown type and those beyond max are left out. *ret_n is their number. */
remote_typed_param *params_to_wire(const virTypedParameter *params, int n, unsigned max, unsigned *ret_n);

/* Copies n parameters from the wire. 0, or -EINVAL for an unknown type or a name that is too long. Free with
 * virTypedParamsFree(). */
int params_from_wire(const remote_typed_param *wire, unsigned n, virTypedParameterPtr *ret_params, int *ret_n,
                     GError **reterr);

/* Frees what params_to_wire() returned, where no filter does. */
void params_wire_free(remote_typed_param *wire, unsigned n);
