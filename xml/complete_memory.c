/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "xml/complete_internal.h"
#include "xml/spec.h"

static int complete_cell_ids(CpuDef *cpu, GError **reterr) {
        unsigned n = cpu->cells->len;

        for (unsigned i = 0; i < n; i++) {
                NumaCellDef *cell = g_ptr_array_index(cpu->cells, i);

                if (cell->id == -1)
                        cell->id = (int) i;
                if (cell->id >= (int) n)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("NUMA cell id %d is too large for %u cells: number them from 0"), cell->id,
                                         n);
        }
        /* in the order of their ids */
        for (unsigned i = 0; i < n; i++)
                for (unsigned j = i; j < n; j++) {
                        NumaCellDef *cell = g_ptr_array_index(cpu->cells, j);

                        if (cell->id == (int) i) {
                                cpu->cells->pdata[j] = cpu->cells->pdata[i];
                                cpu->cells->pdata[i] = cell;
                                break;
                        }
                        if (j + 1 == n)
                                return error_set(reterr, VIR_ERR_XML_ERROR,
                                                 _("no NUMA cell has the id %u, or two have the same"), i);
                }
        return 0;
}

static unsigned distance_between(const NumaCellDef *from, int to) {
        for (unsigned i = 0; i < from->distances->len; i++) {
                const NumaDistanceDef *distance = g_ptr_array_index(from->distances, i);

                if (distance->id == to)
                        return distance->value;
        }
        return 0;
}

static gint compare_distances(gconstpointer a, gconstpointer b) {
        return (*(const NumaDistanceDef *const *) a)->id - (*(const NumaDistanceDef *const *) b)->id;
}

/* One distance given means that the whole matrix is: 10 to itself, the other direction's value, 20. */
static void complete_distances(CpuDef *cpu) {
        unsigned n = cpu->cells->len, given = 0;

        for (unsigned i = 0; i < n; i++)
                given += ((const NumaCellDef *) g_ptr_array_index(cpu->cells, i))->distances->len;
        if (given == 0 || given >= n * n)
                return;
        for (unsigned i = 0; i < n; i++) {
                NumaCellDef *cell = g_ptr_array_index(cpu->cells, i);

                for (unsigned j = 0; j < n; j++) {
                        NumaDistanceDef *distance;
                        unsigned value = i == j ? 10 : distance_between(g_ptr_array_index(cpu->cells, j), (int) i);

                        if (distance_between(cell, (int) j))
                                continue;
                        distance = bind_append(cell->distances, &numa_distance_spec);
                        distance->id = (int) j;
                        distance->value = value ? value : 20;
                }
                g_ptr_array_sort(cell->distances, compare_distances);
        }
}

int complete_memory(DomainDef *def, GError **reterr) {
        uint64_t cells_bytes = 0;
        int r;

        r = complete_cell_ids(&def->cpu, reterr);
        if (r < 0)
                return r;
        complete_distances(&def->cpu);
        for (unsigned i = 0; i < def->cpu.cells->len; i++)
                if (__builtin_add_overflow(cells_bytes,
                                           ((const NumaCellDef *) g_ptr_array_index(def->cpu.cells, i))->memory_bytes,
                                           &cells_bytes))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("the guest's NUMA cells have more memory than fits"));
        /* As in libvirt, the cells decide. */
        if (cells_bytes > 0)
                def->memory.total_bytes = cells_bytes;
        if (def->memory.total_bytes == 0)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<domain> needs <memory>, or NUMA cells with memory"));
        if (def->memory.current_bytes > def->memory.total_bytes)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("<currentMemory> of %" G_GUINT64_FORMAT
                                   " KiB is more than <memory> of %" G_GUINT64_FORMAT " KiB"),
                                 def->memory.current_bytes / KIB, def->memory.total_bytes / KIB);
        if (def->memory.current_bytes == 0)
                def->memory.current_bytes = def->memory.total_bytes;
        if (def->numatune.memory && def->numatune.nodeset && !def->numatune.mode)
                def->numatune.mode = NUMA_MODE_STRICT;
        return 0;
}

void complete_cpu(DomainDef *def) {
        CpuDef *cpu = &def->cpu;

        if (def->vcpu.max == 0)
                def->vcpu.max = 1;
        if (def->vcpu.current == def->vcpu.max)
                def->vcpu.current = 0;
        def->vcpu.placement = VCPU_PLACEMENT_STATIC;
        if (!cpu->mode && cpu->model)
                cpu->mode = CPU_MODE_CUSTOM;
        if (cpu->mode == CPU_MODE_CUSTOM && !cpu->match)
                cpu->match = CPU_MATCH_EXACT;
        if (cpu->mode == CPU_MODE_CUSTOM && cpu->model && !cpu->fallback)
                cpu->fallback = CPU_FALLBACK_ALLOW;
        if (cpu->mode == CPU_MODE_HOST_PASSTHROUGH && !cpu->migratable)
                cpu->migratable = TRI_YES;
        if (cpu->mode && !cpu->check)
                cpu->check = cpu->mode == CPU_MODE_HOST_MODEL ||
                                             (cpu->mode == CPU_MODE_CUSTOM && def->virt_type == VIRT_TYPE_KVM)
                                     ? CPU_CHECK_PARTIAL
                                     : CPU_CHECK_NONE;
        if (cpu->topology && !cpu->dies)
                cpu->dies = 1;
        for (unsigned i = 0; i < cpu->features->len; i++) {
                CpuFeatureDef *feature = g_ptr_array_index(cpu->features, i);

                if (!feature->policy)
                        feature->policy = CPU_POLICY_REQUIRE;
        }
}
