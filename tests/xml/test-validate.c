/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/xml/sample.h"

#define UNSUPPORTED VIR_ERR_CONFIG_UNSUPPORTED
#define BAD VIR_ERR_XML_ERROR
#define PC "<os><type machine='pc'>hvm</type></os>"
#define DISK(attributes, inside) "<disk " attributes "><source file='/a'/>" inside "</disk>"
#define NET(inside) "<interface type='user'>" inside "</interface>"

static const SampleRefusal domain[] = {
        { "<name>a/b</name>", NULL, BAD, "cannot be the name of a domain" },
        { "<name>..</name>", NULL, BAD, "cannot be the name of a domain" },
        { "<title>a\nb</title>", NULL, BAD, "more than one line" },
        { "<genid>x</genid>", NULL, BAD, "is not a UUID" },
        { "<os><type machine='s390'>hvm</type></os>", NULL, UNSUPPORTED, "has no machine 's390'" },
        { "<os><type machine='microvm'>hvm</type></os>", NULL, UNSUPPORTED, "use 'q35' or 'pc'" },
        { "<os><type>hvm</type><cmdline>x</cmdline></os>", NULL, BAD, "no <kernel>" },
        { "<os><type>hvm</type><boot dev='hd'/><boot dev='hd'/></os>", NULL, BAD, "more than once" },
        { "<os><type>hvm</type><loader>/x</loader><nvram>/y</nvram></os>", NULL, UNSUPPORTED,
          "needs <loader type='pflash'>" },
        { "<os><type>hvm</type><loader type='pflash' secure='yes'>/x</loader></os>", NULL, UNSUPPORTED,
          "<smm state='on'/>" },
        { "<os><type>hvm</type><firmware><feature name='secure-boot' enabled='no'/></firmware></os>", NULL, UNSUPPORTED,
          "firmware='efi'" },
        { "<os><type>hvm</type><smbios mode='sysinfo'/></os>", NULL, UNSUPPORTED, "needs <sysinfo" },
        { "<sysinfo type='smbios'><bios><entry name='x'>y</entry></bios></sysinfo>", NULL, UNSUPPORTED,
          "has no entry 'x'" },
        { "<sysinfo type='smbios'><system><entry name='uuid'>y</entry></system></sysinfo>", NULL, BAD,
          "must be the domain's" },
        { PC "<features><smm/></features>", NULL, UNSUPPORTED, "needs machine 'q35'" },
        { "<features><hyperv><spinlocks/></hyperv></features>", NULL, BAD, "needs the attribute 'retries'" },
        { "<features><hap state='off'/></features>", NULL, UNSUPPORTED, "<hap state='off'/>" },
        { "<cpu mode='maximum'><cache level='2' mode='emulate'/></cpu>", NULL, UNSUPPORTED, "needs level 3" },
        { "<features><hyperv><stimer/></hyperv></features>", NULL, UNSUPPORTED, "needs <synic> and <vpindex>" },
        { "<features><hyperv><vendor_id value='1234567890123'/></hyperv></features>", NULL, BAD, "more than 12" },
        { "<clock offset='timezone'/>", NULL, BAD, "needs the attribute 'timezone'" },
        { "<clock><timer name='pit'/><timer name='pit'/></clock>", NULL, BAD, "more than once" },
        { "<clock><timer name='rtc' tickpolicy='discard'/></clock>", NULL, UNSUPPORTED, "'discard'" },
        { "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:env name='LD_PRELOAD' "
          "value='x'/></qemu:commandline>",
          NULL, UNSUPPORTED, "Ferry sets it" },
};

static const SampleRefusal memory[] = {
        { "<memory>0</memory>", NULL, BAD, "needs <memory>" },
        { "<currentMemory unit='GiB'>1</currentMemory>", NULL, BAD, "is more than <memory>" },
        { "<maxMemory unit='GiB' slots='2'>1</maxMemory>", NULL, UNSUPPORTED, "needs guest NUMA cells" },
        { "<maxMemory unit='GiB'>1</maxMemory>", NULL, BAD, "'slots'" },
        { "<maxMemory slots='1'>1</maxMemory>", NULL, BAD, "is less than" },
        { "<memoryBacking><hugepages/><allocation mode='ondemand'/></memoryBacking>", NULL, UNSUPPORTED,
          "allocated at once" },
        { "<memoryBacking><hugepages><page size='3'/></hugepages></memoryBacking>", NULL, BAD, "power of two" },
        { "<memoryBacking><hugepages><page size='4'/><page size='2048'/></hugepages></memoryBacking>", NULL, BAD,
          "without a nodeset" },
        { "<memoryBacking><hugepages><page size='4' nodeset='1'/></hugepages></memoryBacking>", NULL, BAD,
          "does not exist" },
        { "<memoryBacking><hugepages><page size='4' nodeset='0'/><page size='2048' "
          "nodeset='0'/></hugepages></memoryBacking>",
          NULL, BAD, "same guest NUMA cell" },
        { "<memoryBacking><allocation threads='0'/></memoryBacking>", NULL, BAD, "from 1 to 1024" },
        { "<numatune><memory mode='strict'/></numatune>", NULL, BAD, "needs the attribute 'nodeset'" },
        { "<numatune><memnode cellid='0' nodeset='0'/></numatune>", NULL, BAD, "does not exist" },
        { "<vcpu current='3'>2</vcpu>", NULL, BAD, "is more than the maximum" },
        { "<cputune><vcpupin vcpu='1' cpuset='0'/></cputune>", NULL, BAD, "does not exist" },
        { "<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/></cputune>", NULL, BAD,
          "more than once" },
        { "<cpu><topology sockets='2' cores='1' threads='1'/></cpu>", NULL, UNSUPPORTED, "not as many vcpus" },
        { "<cpu><topology sockets='2' cores='1'/></cpu>", NULL, BAD, "needs sockets, cores and threads" },
        { "<cpu mode='custom'/>", NULL, BAD, "needs <model>" },
        { "<cpu mode='maximum'><model>x</model></cpu>", NULL, UNSUPPORTED, "does not go with <model>" },
        { "<cpu><model vendor_id='x'>y</model></cpu>", NULL, BAD, "12 characters" },
        { "<cpu><model>y</model><feature name='a'/><feature name='a'/></cpu>", NULL, BAD, "more than once" },
        { "<cpu><numa><cell id='3' memory='1'/></numa></cpu>", NULL, BAD, "too large" },
        { "<cpu><numa><cell id='0' memory='1'/><cell id='0' memory='1'/></numa></cpu>", NULL, BAD,
          "no NUMA cell has the id 1" },
        { "<cpu><numa><cell memory='1' cpus='0'/><cell memory='1' cpus='0'/></numa></cpu>", NULL, BAD,
          "another cell has too" },
        { "<cpu><numa><cell memory='1' cpus='0-1'/></numa></cpu>", NULL, UNSUPPORTED, "the domain has only 1" },
        { "<cpu><numa><cell/></numa></cpu>", NULL, BAD, "NUMA cell 0 has no memory" },
        { "<cpu><numa><cell memory='0'/><cell memory='1'/></numa></cpu>", NULL, BAD, "NUMA cell 0 has no memory" },
        { "<cpu><numa><cell memory='1'><distances><sibling id='0' value='11'/></distances></cell></numa></cpu>", NULL,
          BAD, "distance to itself is 10" },
        { "<cpu><numa><cell memory='1'><distances><sibling id='5' value='11'/></distances></cell></numa></cpu>", NULL,
          BAD, "which does not exist" },
};

static const SampleRefusal disks[] = {
        { NULL, "<disk><target dev='vda'/></disk>", BAD, "has no <source>" },
        { NULL, "<disk><source file='a'/><target dev='vda'/></disk>", BAD, "is not an absolute path" },
        { NULL, DISK("", "<target dev='vda'/>") DISK("", "<target dev='vda'/>"), BAD, "used by more than one disk" },
        { NULL, DISK("", "<target dev='sda' bus='sata'/>") DISK("", "<target dev='hda' bus='sata'/>"), BAD,
          "have the same place" },
        { NULL, DISK("", "<target dev='hda'/>"), UNSUPPORTED, "machine 'q35' has no IDE bus" },
        { NULL, DISK("device='cdrom'", "<target dev='vda'/>"), UNSUPPORTED, "a cdrom cannot be on bus 'virtio'" },
        { NULL, DISK("", "<target dev='sda' bus='sata'/><readonly/>"), UNSUPPORTED, "cannot be readonly" },
        { NULL, DISK("", "<target dev='sda' bus='sata'/><driver queues='2'/>"), UNSUPPORTED, "needs bus 'virtio'" },
        { NULL, DISK("", "<target dev='vda'/><driver io='native'/>"), UNSUPPORTED,
          "needs cache 'none' or 'directsync'" },
        { NULL, DISK("", "<target dev='vda'/><driver type='qcow2'/><shareable/>"), UNSUPPORTED,
          "needs driver type 'raw'" },
        { NULL, DISK("", "<target dev='vda'/><wwn>5000c50015ea71ad</wwn>"), UNSUPPORTED, "<wwn>" },
        { NULL, DISK("", "<target dev='sda' bus='scsi'/><wwn>5</wwn>"), BAD, "16 hex digits" },
        { NULL, DISK("", "<target dev='sda' bus='scsi'/><vendor>123456789</vendor>"), BAD, "at most 8" },
        { NULL, DISK("", "<target dev='vda'/><vendor>1</vendor>"), UNSUPPORTED, "need bus 'scsi'" },
        { NULL, DISK("", "<target dev='vda'/><blockio logical_block_size='700'/>"), BAD, "powers of two" },
        { NULL, DISK("", "<target dev='xxx' bus='virtio'/>"), UNSUPPORTED, "must be like 'vda'" },
        { NULL, DISK("", "<target dev='sda1' bus='sata'/>"), BAD, "gets its place from its name" },
        { NULL, DISK("", "<target dev='sda' bus='sata'/><address type='pci'/>"), BAD,
          "needs an address of type 'drive'" },
        { NULL, DISK("", "<target dev='sda' bus='sata'/><address type='drive' unit='6'/>"), UNSUPPORTED,
          "has no place" },
        { PC, DISK("", "<target dev='hde' bus='ide'/>"), UNSUPPORTED, "has no place" },
        { NULL, DISK("", "<target dev='vda'/><address type='drive'/>"), BAD, "needs an address of type 'pci'" },
        { NULL, DISK("", "<target dev='vda'/><boot order='1'/>") NET("<boot order='1'/>"), BAD,
          "used for more than one device" },
        { "<os><type>hvm</type><boot dev='hd'/></os>", DISK("", "<target dev='vda'/><boot order='1'/>"), UNSUPPORTED,
          "does not go with <os><boot" },
        { NULL, "<rng model='virtio'><backend model='builtin'/><boot order='1'/></rng>", UNSUPPORTED,
          "cannot have <boot order=>" },
};

static const SampleRefusal devices[] = {
        { NULL, NET("<mac address='x'/>"), BAD, "is not a MAC address" },
        { NULL, NET("<mac address='01:00:00:00:00:00'/>"), BAD, "multicast" },
        { NULL, NET("<driver queues='2'/>"), UNSUPPORTED, "need model 'virtio'" },
        { NULL, NET("<model type='virtio'/><driver queues='2'/>"), UNSUPPORTED, "has one queue" },
        { NULL, NET("<model type='virtio'/><driver name='vhost'/>"), UNSUPPORTED, "driver 'vhost' needs" },
        { NULL, NET("<model type='virtio'/><driver rx_queue_size='700'/>"), BAD, "powers of two" },
        { NULL, "<interface type='bridge'><source bridge='a/b'/></interface>", BAD, "is not a name of a bridge" },
        { NULL, NET("<address type='pci' bus='1' slot='1'/>"), BAD, "has slot 1, but bus 1 has slots 0 to 0" },
        { NULL, NET("<address type='pci' domain='1' slot='1'/>"), BAD, "there is only domain 0" },
        { NULL, NET("<address type='pci' slot='0x1f' function='2'/>"), BAD,
          "is in use, but controller 'sata' 0 has no other place" },
        { NULL, NET("<address type='pci' slot='0x1f' function='0'/>"), BAD, "already in use" },
        { NULL, NET("<address type='pci' slot='3'/>") NET("<address type='pci' slot='3'/>"), BAD, "already in use" },
        { NULL, NET("<alias name='ua-a'/>") NET("<alias name='ua-a'/>"), BAD, "used by another device" },
        { NULL, NET("<alias name='ua-a,b'/>"), BAD, "odd characters" },
        { NULL, "<controller type='pci' model='pcie-root-port'/>", BAD, "number 0, and only that, is 'pcie-root'" },
        { NULL, "<controller type='pci' index='1'/>", BAD, "needs a model" },
        { NULL, "<controller type='pci' index='1' model='pci-root'/>", BAD, "number 0, and only that" },
        { NULL, "<controller type='pci' index='1' model='pcie-switch-upstream-port'/>", UNSUPPORTED,
          "give it an <address>" },
        { NULL, "<controller type='pci' index='1' model='pcie-root-port'><model name='x'/></controller>", UNSUPPORTED,
          "<model name='x'/>" },
        { NULL,
          "<controller type='pci' index='1' model='pcie-root-port'><target chassis='5' port='8'/></controller>"
          "<controller type='pci' index='2' model='pcie-root-port'><target chassis='5' port='8'/></controller>",
          BAD, "same chassis and port" },
        { NULL, "<controller type='scsi' index='0'/><controller type='scsi' index='0'/>", BAD,
          "two controllers of type 'scsi'" },
        { NULL, "<controller type='usb' model='ich9-uhci1'/>", BAD, "has no 'ich9-ehci1'" },
        { NULL, "<controller type='usb' model='piix3-uhci'/>", UNSUPPORTED, "use 'qemu-xhci'" },
        { NULL, "<controller type='usb' model='virtio-scsi'/>", UNSUPPORTED, "does not go with model" },
        { NULL, "<controller type='ide' index='0'/>", UNSUPPORTED, "only machine 'pc' has one" },
        { NULL, "<controller type='usb' model='none'/><input type='tablet' bus='usb'/>", UNSUPPORTED,
          "no USB port is free" },
        { NULL, "<input type='tablet' bus='usb'><address type='usb' bus='3' port='1'/></input>", BAD,
          "a controller that does not exist" },
        { NULL,
          "<input type='tablet' bus='usb'><address type='usb' bus='0' port='1'/></input>"
          "<input type='mouse' bus='usb'><address type='usb' bus='0' port='1'/></input>",
          BAD, "have the same address" },
        { NULL, "<input type='tablet' bus='ps2'/>", UNSUPPORTED, "cannot be on bus 'ps2'" },
        { NULL, "<serial type='file'/>", BAD, "needs <source path=>" },
        { NULL, "<serial type='file'><source path='x'/></serial>", BAD, "is not absolute" },
        { NULL, "<serial type='null'><target port='1'/></serial><serial type='null'><target port='1'/></serial>",
          UNSUPPORTED, "four ISA ports" },
        { NULL, "<serial type='null'><target><model name='pci-serial'/></target></serial>", UNSUPPORTED,
          "'pci-serial'" },
        { NULL, "<serial type='null'><address type='isa' iobase='1'/></serial>", UNSUPPORTED,
          "cannot have an address of type 'isa'" },
        { NULL, "<console type='null'/><console type='null'><target type='serial'/></console>", UNSUPPORTED,
          "only the first one can" },
        { NULL,
          "<channel type='null'><target type='virtio' name='a'/></channel><channel type='null'><target type='virtio' "
          "name='a'/></channel>",
          BAD, "two channels" },
        { NULL,
          "<channel type='null'><target type='virtio' name='a'/><address type='virtio-serial' controller='0' "
          "port='40'/></channel>",
          BAD, "a port that does not exist" },
        { NULL,
          "<channel type='null'><target type='virtio'/><address type='virtio-serial' controller='0' "
          "port='4'/></channel>"
          "<channel type='null'><target type='virtio'/><address type='virtio-serial' controller='0' "
          "port='4'/></channel>",
          BAD, "have the same address" },
        { NULL, "<graphics type='vnc'/><graphics type='vnc'/>", UNSUPPORTED, "only one <graphics>" },
        { NULL, "<graphics type='vnc' port='80'/>", BAD, "less than 5900" },
        { NULL, "<graphics type='vnc' passwd='123456789'/>", UNSUPPORTED, "VNC uses only 8" },
        { NULL, "<graphics type='vnc' passwdValidTo='tomorrow'/>", BAD, "passwdValidTo" },
        { NULL, "<graphics type='vnc'><audio id='9'/></graphics>", BAD, "does not exist" },
        { NULL, "<graphics type='vnc' port='5900'><listen type='socket'/></graphics>", BAD, "does not go with a port" },
        { NULL, "<video><model type='vga'/></video><video><model type='vga'/></video>", UNSUPPORTED,
          "can only be the first one" },
        { NULL, "<video><model type='none'/></video><video><model type='virtio'/></video>", UNSUPPORTED,
          "must be the only one" },
        { NULL, "<video><model type='vga' vram='5000'/></video>", BAD, "power of two" },
        { NULL, "<watchdog model='ib700'/><watchdog model='ib700'/>", UNSUPPORTED, "only once" },
        { NULL, "<watchdog model='ib700' action='reset'/><watchdog model='i6300esb' action='pause'/>", UNSUPPORTED,
          "the same action" },
        { PC, "<watchdog model='itco'/>", UNSUPPORTED, "needs machine 'q35'" },
        { NULL, "<panic/><panic/>", UNSUPPORTED, "only once" },
        { NULL, "<rng model='virtio'><backend model='random'>x</backend></rng>", BAD, "is not an absolute path" },
        { NULL, "<rng model='virtio'><rate period='5'/><backend model='builtin'/></rng>", BAD, "'bytes'" },
        { NULL, "<memballoon model='none' autodeflate='on'/>", UNSUPPORTED, "has no autodeflate" },
};

static void refuse_all(const SampleRefusal *refusals, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                sample_refuse(&refusals[i]);
}

static void test_domain(void **state) {
        refuse_all(domain, G_N_ELEMENTS(domain));
}

static void test_memory(void **state) {
        refuse_all(memory, G_N_ELEMENTS(memory));
}

static void test_disks(void **state) {
        refuse_all(disks, G_N_ELEMENTS(disks));
}

static void test_devices(void **state) {
        refuse_all(devices, G_N_ELEMENTS(devices));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_domain),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_disks),
                cmocka_unit_test(test_devices),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
