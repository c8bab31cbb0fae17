/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/program.h"

#include "daemon/rpc/proto/qemu_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"

const Program *program_find(uint32_t number, uint32_t version) {
        static const ProcedureTable *const remote_tables[] = {
                &connect_procedures, &host_procedures,    &lookup_procedures, &domain_procedures, &info_procedures,
                &stats_procedures,   &migrate_procedures, &event_procedures,  &empty_procedures,  &volume_procedures,
                &save_procedures,
        };
        static const ProcedureTable *const qemu_tables[] = { &qemu_procedures };
        static const Program programs[] = {
                { REMOTE_PROGRAM, REMOTE_PROTOCOL_VERSION, remote_tables, G_N_ELEMENTS(remote_tables) },
                { QEMU_PROGRAM, QEMU_PROTOCOL_VERSION, qemu_tables, G_N_ELEMENTS(qemu_tables) },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(programs); i++)
                if (programs[i].number == number && programs[i].version == version)
                        return &programs[i];
        return NULL;
}

const Procedure *program_procedure(const Program *program, int32_t number) {
        for (size_t t = 0; t < program->n_tables; t++) {
                const ProcedureTable *table = program->tables[t];
                for (size_t i = 0; i < table->n && table->procedures[i].number <= number; i++)
                        if (table->procedures[i].number == number)
                                return &table->procedures[i];
        }
        return NULL;
}
