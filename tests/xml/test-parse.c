/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/xml/sample.h"

#define UNSUPPORTED VIR_ERR_CONFIG_UNSUPPORTED
#define BAD VIR_ERR_XML_ERROR

/* What Ferry does not honour is refused by name. */
static const SampleRefusal unsupported[] = {
        /* elements */
        { NULL, "<tpm model='tpm-tis'/>", UNSUPPORTED, "<devices><tpm> is not supported by Ferry: remove it" },
        { NULL, "<hostdev mode='subsystem' type='pci'/>", UNSUPPORTED,
          "<devices><hostdev> is not supported by Ferry: remove it; a guest with a host" },
        { NULL, "<filesystem/>", UNSUPPORTED, "<devices><filesystem>" },
        { NULL, "<redirdev bus='usb' type='spicevmc'/>", UNSUPPORTED, "<devices><redirdev>" },
        { NULL, "<memory model='dimm'/>", UNSUPPORTED, "<devices><memory>" },
        { NULL, "<vsock model='virtio'/>", UNSUPPORTED, "<devices><vsock>" },
        { NULL, "<typo/>", UNSUPPORTED, "<devices><typo>" },
        { "<iothreads>2</iothreads>", NULL, UNSUPPORTED, "<iothreads>" },
        { "<memtune><hard_limit>1</hard_limit></memtune>", NULL, UNSUPPORTED, "<memtune>" },
        { "<blkiotune/>", NULL, UNSUPPORTED, "<blkiotune>" },
        { "<launchSecurity type='sev'/>", NULL, UNSUPPORTED, "<launchSecurity>" },
        { "<vcpus><vcpu id='0' enabled='yes'/></vcpus>", NULL, UNSUPPORTED, "<vcpus>" },
        { "<cputune><shares>5</shares></cputune>", NULL, UNSUPPORTED,
          "<cputune><shares> is not supported by Ferry: remove it, and set the CPUWeight" },
        { "<cputune><quota>1</quota></cputune>", NULL, UNSUPPORTED, "<cputune><quota>" },
        { "<cputune><iothreadpin iothread='1' cpuset='1'/></cputune>", NULL, UNSUPPORTED, "<cputune><iothreadpin>" },
        { "<features><xen/></features>", NULL, UNSUPPORTED, "<features><xen>" },
        { "<qemu:capabilities xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'/>", NULL, UNSUPPORTED,
          "<qemu:capabilities>" },
        { "<o:x xmlns:o='http://other'/>", NULL, UNSUPPORTED, "<{http://other}x>" },
        { NULL, "<disk><source file='/a'/><target dev='vda'/><iotune/></disk>", UNSUPPORTED,
          "<devices><disk><iotune>" },
        { NULL, "<disk><source file='/a'><auth/></source><target dev='vda'/></disk>", UNSUPPORTED,
          "<devices><disk><source><auth>" },
        { NULL, "<disk><source file='/a'/><target dev='vda'/><transient/></disk>", UNSUPPORTED,
          "<devices><disk><transient>" },
        { NULL, "<interface type='user'><bandwidth/></interface>", UNSUPPORTED, "<devices><interface><bandwidth>" },
        { NULL, "<interface type='user'><source bridge='br0'/></interface>", UNSUPPORTED,
          "<devices><interface><source> does not go with type 'user' of <interface>: remove it" },
        { NULL, "<interface type='bridge'><source bridge='br0'/><virtualport type='openvswitch'/></interface>",
          UNSUPPORTED, "<virtualport>" },
        /* attributes */
        { NULL, "<disk snapshot='no'><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "attribute 'snapshot' of <devices><disk>" },
        { NULL, "<disk><driver iothread='1'/><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "attribute 'iothread' of <devices><disk><driver>" },
        { NULL, "<disk><source dev='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "attribute 'dev' of <devices><disk><source> does not go with type 'file'" },
        { NULL, "<disk x:a='1' xmlns:x='u'><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "attribute '{u}a'" },
        { NULL, "<disk model='virtio-transitional'><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "attribute 'model'" },
        { "<vcpu units='1'>1</vcpu>", NULL, UNSUPPORTED, "attribute 'units' of <vcpu>" },
        { NULL, "<serial type='null'><source path='/x'/></serial>", UNSUPPORTED,
          "<devices><serial><source> does not go with type 'null' of <serial>" },
        { "<clock offset='utc' timezone='Europe/Berlin'/>", NULL, UNSUPPORTED,
          "attribute 'timezone' of <clock> does not go with offset 'utc'" },
        { NULL, "<controller type='pci' index='0' model='pcie-root' ports='4'/>", UNSUPPORTED,
          "does not go with type 'pci' of <controller>" },
        /* values */
        { NULL, "<disk type='network'><target dev='vda'/></disk>", UNSUPPORTED,
          "<devices><disk> type='network' is not supported by Ferry: attach the storage" },
        { NULL, "<disk device='floppy'><target dev='fda'/></disk>", UNSUPPORTED, "device='floppy'" },
        { NULL, "<disk><driver type='vmdk'/><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "type='vmdk' is not supported by Ferry: use 'raw', 'qcow2'" },
        { NULL, "<disk><source file='/a'/><target dev='sda' bus='usb'/></disk>", UNSUPPORTED,
          "bus='usb' is not supported by Ferry: use bus 'sata'" },
        { NULL, "<disk><driver rerror_policy='enospace'/><source file='/a'/><target dev='vda'/></disk>", UNSUPPORTED,
          "use 'stop', 'report', 'ignore'" },
        { NULL, "<interface type='network'><source network='default' portgroup='a'/></interface>", UNSUPPORTED,
          "attribute 'portgroup'" },
        { NULL, "<interface type='vhostuser'/>", UNSUPPORTED, "cannot be tracked" },
        { NULL, "<interface type='user'><model type='ne2k_pci'/></interface>", UNSUPPORTED, "type='ne2k_pci'" },
        { NULL, "<graphics type='spice'/>", UNSUPPORTED, "there is no SPICE server" },
        { NULL, "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>", UNSUPPORTED,
          "remove the channel; there is no SPICE server" },
        { NULL, "<serial type='tcp'/>", UNSUPPORTED, "use 'pty', 'file', 'unix', 'null'" },
        { NULL, "<channel type='pty'><target type='guestfwd'/></channel>", UNSUPPORTED, "type='guestfwd'" },
        { NULL, "<controller type='scsi' model='lsilogic'/>", UNSUPPORTED, "model='lsilogic'" },
        { NULL, "<video><model type='qxl'/></video>", UNSUPPORTED,
          "type='qxl' is not supported by Ferry: use 'virtio' or 'vga'" },
        { NULL, "<video><model type='vmvga'/></video>", UNSUPPORTED, "type='vmvga'" },
        { NULL, "<rng model='virtio'><backend model='egd'/></rng>", UNSUPPORTED, "model='egd'" },
        { NULL, "<audio id='1' type='spice'/>", UNSUPPORTED, "type='spice'" },
        { NULL, "<panic model='pseries'/>", UNSUPPORTED, "model='pseries'" },
        { NULL, "<interface type='user'><address type='ccw'/></interface>", UNSUPPORTED, "type='ccw'" },
        { "<vcpu placement='auto'>1</vcpu>", NULL, UNSUPPORTED, "numad is not asked" },
        { "<seclabel type='static' model='selinux'/>", NULL, UNSUPPORTED, "type='static'" },
        { "<sysinfo type='fwcfg'/>", NULL, UNSUPPORTED, "type='fwcfg'" },
        { "<on_crash>coredump-destroy</on_crash>", NULL, UNSUPPORTED, "<on_crash> text='coredump-destroy'" },
        { "<cpu match='exact'><topology sockets='1' clusters='2' cores='1' threads='1'/></cpu>", NULL, BAD,
          "clusters='2' is not a number from 1 to 1" },
        { "<os><type arch='aarch64'>hvm</type></os>", NULL, UNSUPPORTED, "arch='aarch64'" },
        { "<os><type>exe</type></os>", NULL, UNSUPPORTED, "text='exe'" },
};

/* What is wrong in itself. */
static const SampleRefusal bad[] = {
        { "<name></name>", NULL, BAD, "<domain> needs <name>" },
        { "<vcpu>0</vcpu>", NULL, BAD, "<vcpu> text='0' is not a number from 1 to 16384" },
        { "<vcpu>99999999999999999999</vcpu>", NULL, BAD, "is not a number" },
        { "<vcpu>-1</vcpu>", NULL, BAD, "is not a number" },
        { "<vcpu>1x</vcpu>", NULL, BAD, "is not a number" },
        { "<vcpu cpuset='3-1'>1</vcpu>", NULL, BAD, "is not a set of numbers" },
        { "<vcpu cpuset='99999'>1</vcpu>", NULL, BAD, "is not a set of numbers" },
        { "<memory>18446744073709551615</memory>", NULL, BAD, "is not a size that fits" },
        { "<memory unit='EiB'>99</memory>", NULL, BAD, "is not a size that fits" },
        { "<memory unit='x'>99</memory>", NULL, BAD, "unit='x' is not a unit" },
        { "<memory>-5</memory>", NULL, BAD, "is not a size" },
        { "<memory></memory>", NULL, BAD, "is not a size" },
        { "<features><acpi>yes</acpi></features>", NULL, BAD, "text 'yes' is not expected in <features><acpi>" },
        { "stray", NULL, BAD, "text 'stray' is not expected in <domain>" },
        { "<title>a</title><title>b</title>", NULL, BAD, "<title> is there more than once" },
        { NULL, "<memballoon model='none'/><memballoon model='none'/>", BAD,
          "<devices><memballoon> is there more than once" },
        { NULL, "<memballoon/>", BAD, "<devices><memballoon> needs the attribute 'model'" },
        { NULL, "<interface/>", BAD, "<devices><interface> needs the attribute 'type'" },
        { NULL, "<interface type='bridge'/>", BAD, "<devices><interface> needs <source> with the attribute 'bridge'" },
        { NULL, "<disk type='file'/>", BAD, "<devices><disk> needs <target> with the attribute 'dev'" },
        { NULL, "<graphics type='vnc' listen='1.2.3.4'><listen type='address' address='4.3.2.1'/></graphics>", BAD,
          "is not '1.2.3.4' as it says elsewhere" },
        { NULL, "<graphics type='vnc' port='70000'/>", BAD, "is not a number from -1 to 65535" },
        { NULL, "<graphics type='vnc' autoport='maybe'/>", BAD, "autoport='maybe' is not 'yes' or 'no'" },
        { NULL, "<interface type='user'><address type='pci' slot='0x20'/></interface>", BAD,
          "slot='0x20' is not a number from 0 to 31" },
        { "<features><hyperv><relaxed state='yes'/></hyperv></features>", NULL, BAD,
          "state='yes' is not 'on' or 'off'" },
};

static void test_unsupported(void **state) {
        for (unsigned i = 0; i < G_N_ELEMENTS(unsupported); i++)
                sample_refuse(&unsupported[i]);
}

static void test_bad(void **state) {
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                sample_refuse(&bad[i]);
}

static void refuse_text(const char *xml, size_t length, const char *text) {
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(GError) error = NULL;

        assert_true(domain_def_parse(xml, length, 0, NULL, &def, &error) < 0);
        assert_null(def);
        if (!error_is(error, VIR_ERR_XML_ERROR) || !strstr(error->message, text))
                fail_msg("%d '%s', wanted '%s'", error_code(error), error->message, text);
}

static char *repeat(const char *text, unsigned times) {
        GString *all = g_string_new(NULL);

        while (times--)
                g_string_append(all, text);
        return g_string_free(all, FALSE);
}

static void test_hostile(void **state) {
        static const struct {
                const char *xml, *text;
        } documents[] = {
                { "", "not well-formed" },
                { " ", "not well-formed" },
                { "x", "not well-formed" },
                { "<domain", "not well-formed" },
                { "<domain/><domain/>", "not well-formed" },
                { "<domain>&amp</domain>", "not well-formed" },
                { "<domain>&e;</domain>", "not well-formed" },
                { "<domain a='1' a='2'/>", "not well-formed" },
                { "<domain>\x01</domain>", "not well-formed" },
                { "<domain>\xff\xfe</domain>", "not well-formed" },
                { "<domain><name>\xc3\x28</name></domain>", "not well-formed" },
                { "<?xml version='1.0' encoding='no-such'?><domain/>", "not well-formed" },
                { "<?xml version='1.0' encoding='UTF-16'?><domain/>", "" },
                { "<network/>", "the XML describes a <network>, not a <domain>" },
                { "<d:domain xmlns:d='u'/>", "the XML describes a <{u}domain>" },
                { "<!DOCTYPE domain><domain/>", "document type declaration" },
                { "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><domain>&b;</domain>",
                  "document type declaration" },
                { "<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domain/>", "document type declaration" },
                { "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name></domain>",
                  "document type declaration" },
                { "<!DOCTYPE d [<!ENTITY % p SYSTEM 'http://192.0.2.1/x'> %p;]><domain/>",
                  "document type declaration" },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(documents); i++)
                refuse_text(documents[i].xml, strlen(documents[i].xml), documents[i].text);
        refuse_text("<domain>\0</domain>", 18, "NUL");
}

static void test_limits(void **state) {
        g_autofree char *big = g_malloc0(DOMAIN_XML_MAX + 1), *open = repeat("<a>", 300), *close = repeat("</a>", 300);
        g_autofree char *deep = g_strconcat("<domain>", open, close, "</domain>", NULL), *deep_metadata = NULL,
                        *many = NULL;
        g_autofree char *elements = repeat("<b/>", 20000), *long_metadata = NULL,
                        *devices = repeat("<rng model='virtio'><backend model='builtin'/></rng>", 513);
        g_autofree char *xml = sample_xml(NULL, devices), *args = repeat("<a/>", 1025), *wide = NULL;
        g_autoptr(DomainDef) def = NULL;

        refuse_text(big, DOMAIN_XML_MAX + 1, "is the limit");
        refuse_text(deep, strlen(deep), "not well-formed");
        {
                g_autofree char *chain_open = repeat("<a>", 80), *chain_close = repeat("</a>", 80);
                g_autofree char *chain = g_strconcat("<domain>", chain_open, chain_close, "</domain>", NULL);

                refuse_text(chain, strlen(chain), "more than 80 deep");
        }
        deep_metadata = g_strconcat("<domain><metadata>", open, close, "</metadata></domain>", NULL);
        refuse_text(deep_metadata, strlen(deep_metadata), "not well-formed");
        many = g_strconcat("<domain>", elements, "</domain>", NULL);
        refuse_text(many, strlen(many), "more than 16384 elements");
        refuse_text(xml, strlen(xml), "has 513 devices");
        wide = g_strdup_printf("<domain type='kvm'><name>a</name><os><type>hvm</type>%s</os></domain>", args);
        {
                g_autoptr(GString) boots = g_string_new(wide);
                g_autofree char *text = NULL;

                g_string_replace(boots, "<a/>", "<boot dev='hd'/>", 0);
                text = g_strdup(boots->str);
                refuse_text(text, strlen(text), "<os><boot> is there more than 1024 times");
        }
        long_metadata = g_strdup_printf("<metadata>%s</metadata>", elements);
        {
                g_autofree char *accepted = sample_xml(long_metadata, NULL);

                def = sample_parse(accepted, 0);
                assert_string_equal(def->metadata, elements);
        }
}

static void test_encodings(void **state) {
        static const char latin1[] =
                "<?xml version='1.0' encoding='ISO-8859-1'?><domain "
                "type='qemu'><name>\xe4</name><os><type>hvm</type></os></domain>";
        g_autoptr(DomainDef) def = sample_parse(latin1, 0);

        assert_string_equal(def->name, "ä");
}

static void test_metadata(void **state) {
        static const char inner[] = "\n  <a:x xmlns:a=\"http://a\" k=\"&lt;&quot;\">1<!-- c --><?pi?><a:y/></a:x>\n";
        g_autofree char *top = g_strdup_printf("<metadata>%s</metadata>", inner), *xml = sample_xml(top, NULL),
                        *text = NULL;
        g_autoptr(DomainDef) def = sample_parse(xml, 0), again = NULL;

        assert_string_equal(def->metadata, inner);
        text = domain_def_format(def, 0);
        assert_non_null(strstr(text, inner));
        again = sample_parse(text, 0);
        assert_string_equal(again->metadata, inner);
}

static void test_names_kept(void **state) {
        g_autofree char *xml = sample_xml("<name> a&lt;b&amp;'\" </name><description>\n two\n lines</description>",
                                          NULL),
                        *text = NULL;
        g_autoptr(DomainDef) def = sample_parse(xml, 0), again = NULL;

        text = domain_def_format(def, 0);
        again = sample_parse(text, 0);
        assert_string_equal(def->name, " a<b&'\" ");
        assert_string_equal(again->name, def->name);
        assert_string_equal(again->description, "\n two\n lines");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_unsupported), cmocka_unit_test(test_bad),       cmocka_unit_test(test_hostile),
                cmocka_unit_test(test_limits),      cmocka_unit_test(test_encodings), cmocka_unit_test(test_metadata),
                cmocka_unit_test(test_names_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
