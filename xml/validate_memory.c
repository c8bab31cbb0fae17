/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "xml/validate_internal.h"

/* Whether every member of cells is one of the guest's cells; a guest without cells is one cell. */
static bool are_cells(const DomainDef *def, const Bitset *cells) {
        unsigned n = def->cpu.cells->len ? def->cpu.cells->len : 1;

        return bitset_next(cells, n) < 0;
}

static int validate_hugepages(const DomainDef *def, GError **reterr) {
        const MemoryBackingDef *backing = &def->backing;
        unsigned without_nodeset = 0;

        if (backing->hugepages && backing->allocation == MEMORY_ALLOCATION_ONDEMAND)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<hugepages> are always allocated at once: remove <allocation mode='ondemand'/>"));
        for (unsigned i = 0; i < backing->pages->len; i++) {
                const HugepageDef *page = g_ptr_array_index(backing->pages, i);

                if (page->size_bytes == 0 || page->size_bytes & (page->size_bytes - 1))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("<page size='%" G_GUINT64_FORMAT "' unit='KiB'> is not a power of two"),
                                         page->size_bytes / KIB);
                if (!page->nodeset && ++without_nodeset > 1)
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("only one <page> can be without a nodeset"));
                if (page->nodeset && !are_cells(def, page->nodeset))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("the nodeset of a <page> names a guest NUMA cell that does not exist"));
                for (unsigned j = 0; j < i; j++)
                        if (bitset_overlaps(page->nodeset,
                                            ((const HugepageDef *) g_ptr_array_index(backing->pages, j))->nodeset))
                                return error_set(reterr, VIR_ERR_XML_ERROR,
                                                 _("two <page> elements name the same guest NUMA cell"));
        }
        return 0;
}

static int validate_numatune(const DomainDef *def, GError **reterr) {
        const NumatuneDef *numatune = &def->numatune;
        g_autoptr(Bitset) seen = bitset_new();

        if (numatune->memory && !numatune->nodeset)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<numatune><memory> needs the attribute 'nodeset'"));
        for (unsigned i = 0; i < numatune->memnodes->len; i++) {
                const MemnodeDef *memnode = g_ptr_array_index(numatune->memnodes, i);

                if (memnode->cellid >= (int) def->cpu.cells->len)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("<memnode cellid='%d'> names a guest NUMA cell that does not exist"),
                                         memnode->cellid);
                if (bitset_has(seen, (unsigned) memnode->cellid))
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("<memnode cellid='%d'> is there more than once"),
                                         memnode->cellid);
                bitset_add(seen, (unsigned) memnode->cellid);
                if ((numatune->mode == NUMA_MODE_RESTRICTIVE) != (memnode->mode == NUMA_MODE_RESTRICTIVE) &&
                    numatune->memory)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("mode 'restrictive' must be said in <numatune><memory> and in each <memnode>, or "
                                  "nowhere"));
        }
        return 0;
}

int validate_memory(const DomainDef *def, GError **reterr) {
        const MemoryDef *memory = &def->memory;
        int r;

        if (memory->max_bytes && memory->max_bytes < memory->total_bytes)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<maxMemory> is less than <memory>"));
        if (!memory->max_bytes != !memory->max_slots)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<maxMemory> needs a size and the attribute 'slots'"));
        if (memory->max_bytes && def->cpu.cells->len == 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<maxMemory> needs guest NUMA cells: add <cpu><numa><cell>"));
        r = validate_hugepages(def, reterr);
        return r < 0 ? r : validate_numatune(def, reterr);
}

static int validate_cell(const DomainDef *def, const NumaCellDef *cell, Bitset *seen, GError **reterr) {
        if (cell->memory_bytes == 0)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("NUMA cell %d has no memory"), cell->id);
        if (bitset_next(cell->cpus, def->vcpu.max) >= 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("NUMA cell %d has vcpu %d, but the domain has only %u"), cell->id,
                                 bitset_next(cell->cpus, def->vcpu.max), def->vcpu.max);
        if (bitset_overlaps(cell->cpus, seen))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("NUMA cell %d has a vcpu that another cell has too"),
                                 cell->id);
        for (int cpu = bitset_next(cell->cpus, 0); cpu >= 0; cpu = bitset_next(cell->cpus, (unsigned) cpu + 1))
                bitset_add(seen, (unsigned) cpu);
        for (unsigned i = 0; i < cell->distances->len; i++) {
                const NumaDistanceDef *distance = g_ptr_array_index(cell->distances, i);

                if (distance->id >= (int) def->cpu.cells->len)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("NUMA cell %d has a distance to cell %d, which does not exist"), cell->id,
                                         distance->id);
                if ((distance->id == cell->id) != (distance->value == 10))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("NUMA cell %d: the distance to itself is 10, to others it is more"),
                                         cell->id);
                for (unsigned j = 0; j < i; j++)
                        if (((const NumaDistanceDef *) g_ptr_array_index(cell->distances, j))->id == distance->id)
                                return error_set(reterr, VIR_ERR_XML_ERROR,
                                                 _("NUMA cell %d has two distances to cell %d"), cell->id,
                                                 distance->id);
        }
        return 0;
}

static int validate_vcpus(const DomainDef *def, GError **reterr) {
        g_autoptr(Bitset) seen = bitset_new();

        if (def->vcpu.current > def->vcpu.max)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<vcpu current='%u'> is more than the maximum of %u"),
                                 def->vcpu.current, def->vcpu.max);
        for (unsigned i = 0; i < def->cputune.vcpupins->len; i++) {
                const VcpupinDef *pin = g_ptr_array_index(def->cputune.vcpupins, i);

                if (bitset_has(seen, (unsigned) pin->vcpu))
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("<vcpupin vcpu='%d'> is there more than once"),
                                         pin->vcpu);
                if (pin->vcpu >= (int) def->vcpu.max)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("<vcpupin vcpu='%d'> names a vcpu that does not exist"), pin->vcpu);
                bitset_add(seen, (unsigned) pin->vcpu);
        }
        return 0;
}

static int validate_model(const CpuDef *cpu, GError **reterr) {
        if (cpu->mode == CPU_MODE_CUSTOM && !cpu->model)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<cpu mode='custom'> needs <model>"));
        if ((cpu->mode == CPU_MODE_HOST_PASSTHROUGH || cpu->mode == CPU_MODE_MAXIMUM) && cpu->model)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<cpu mode='%s'> does not go with <model>"),
                                 cpu_mode_to_string(cpu->mode));
        if (cpu->migratable && cpu->mode != CPU_MODE_HOST_PASSTHROUGH && cpu->mode != CPU_MODE_MAXIMUM)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<cpu migratable=> needs mode 'host-passthrough' or 'maximum'"));
        if (cpu->cache_mode == CPU_CACHE_MODE_EMULATE ? cpu->cache_level != 3 : cpu->cache_level != -1)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<cache mode='emulate'> needs level 3, other modes take no level"));
        if (cpu->vendor_id && strlen(cpu->vendor_id) != 12)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<model vendor_id='%.64s'> must have 12 characters"),
                                 cpu->vendor_id);
        for (unsigned i = 0; i < cpu->features->len; i++)
                for (unsigned j = 0; j < i; j++) {
                        const char *name = ((const CpuFeatureDef *) g_ptr_array_index(cpu->features, i))->name;

                        if (g_str_equal(name, ((const CpuFeatureDef *) g_ptr_array_index(cpu->features, j))->name))
                                return error_set(reterr, VIR_ERR_XML_ERROR,
                                                 _("CPU feature '%.64s' is there more than once"), name);
                }
        return 0;
}

int validate_cpu(const DomainDef *def, GError **reterr) {
        const CpuDef *cpu = &def->cpu;
        g_autoptr(Bitset) seen = bitset_new();
        int r;

        r = validate_vcpus(def, reterr);
        if (r == 0)
                r = validate_model(cpu, reterr);
        for (unsigned i = 0; i < cpu->cells->len && r == 0; i++)
                r = validate_cell(def, g_ptr_array_index(cpu->cells, i), seen, reterr);
        if (r < 0 || !cpu->topology)
                return r;
        if (!cpu->sockets || !cpu->cores || !cpu->threads)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<cpu><topology> needs sockets, cores and threads"));
        if ((uint64_t) cpu->sockets * cpu->dies * cpu->cores > BITSET_MAX ||
            (uint64_t) cpu->sockets * cpu->dies * cpu->cores * cpu->threads != def->vcpu.max)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<cpu><topology> has not as many vcpus as <vcpu>, which has %u"), def->vcpu.max);
        return 0;
}
