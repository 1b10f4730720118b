/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_nic: what the NIC path needs of this machine: kernel features, bpffs, and each interface's driver.
 *
 * Whether a driver has XDP of its own is asked of the kernel (generic netlink "netdev", Linux 6.3): its
 * answer is a set of bits, and needs no list of drivers here.
 */
#include "ctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define KFUNC	    "bpf_sk_assign_tcp_reqsk"
#define VMLINUX_BTF "/sys/kernel/btf/vmlinux"
#define XDP_MTU_MAX 3498 /* of drivers that need a packet in one page (4 KiB) */
/* Of linux/netdev.h, which is younger than the headers that we build with. */
#define FEATURES_MAX	      1024 /* of an interface; there are about 64 */
#define NETDEV_CMD_DEV_GET    1
#define NETDEV_A_IFINDEX      1
#define NETDEV_A_XDP_FEATURES 3
#define NETDEV_XDP_BASIC      1

/* Whether the kernel's own type information has the name. 1, 0, or -errno. */
static int kernel_has(const char *name)
{
	char wanted[64] = "";
	struct stat file;
	int found = -ENOMEM, fd = open(VMLINUX_BTF, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	char *text = fstat(fd, &file) == 0 && file.st_size > 0 ? malloc((size_t)file.st_size) : NULL;
	size_t len = 0;
	for (ssize_t n; text && (n = read(fd, text + len, (size_t)file.st_size - len)) > 0;)
		len += (size_t)n;
	snprintf(wanted + 1, sizeof(wanted) - 1, "%s", name); /* between two NULs */
	if (text)
		found = len ? memmem(text, len, wanted, strlen(name) + 2) != NULL : -ENODATA;
	free(text);
	close(fd);
	return found;
}

void check_bpf(struct doctor *doctor)
{
	struct statfs fs;

	if (!doctor_wants_fast_path(doctor)) {
		finding(doctor, VERDICT_SKIPPED, "BTF", NULL,
			"the fast path is not configured (xdp.interfaces)");
		return;
	}
	int has = kernel_has(KFUNC);
	if (has < 0)
		finding(doctor, VERDICT_FAIL, "BTF", "boot a kernel with CONFIG_DEBUG_INFO_BTF",
			"the kernel has no BTF (%s: %s): the fast path cannot be loaded", VMLINUX_BTF,
			strerror(-has));
	else if (!has)
		finding(doctor, VERDICT_FAIL, "BTF", "boot Linux 6.9 or later with CONFIG_SYN_COOKIES",
			"the kernel has no " KFUNC ": no connection can be handed to the daemon");
	else
		finding(doctor, VERDICT_OK, "BTF", NULL, "the kernel has it, and " KFUNC);
	if (statfs("/sys/fs/bpf", &fs) || (unsigned long)fs.f_type != BPF_FS_MAGIC)
		finding(doctor, VERDICT_WARN, "bpffs", "mount -t bpf bpf /sys/fs/bpf",
			"/sys/fs/bpf is not a bpf file system; the daemon mounts one when it is root");
	else
		finding(doctor, VERDICT_OK, "bpffs", NULL, "mounted at /sys/fs/bpf");
}

/* The first number in a file below /proc/sys; -1 when it cannot be read. */
static int sysctl_number(const char *format, const char *name)
{
	char path[128];
	int value = -1;
	snprintf(path, sizeof(path), format, name);
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%d", &value) != 1)
		value = -1;
	if (file)
		fclose(file);
	return value;
}

/* One attribute of a netlink message; its end is checked against the message's. */
static struct nlattr *attribute(char *at, const char *end, uint16_t type)
{
	while (at + sizeof(struct nlattr) <= end) {
		struct nlattr *attr = (struct nlattr *)(void *)at;
		if (attr->nla_len < sizeof(*attr) || at + attr->nla_len > end)
			return NULL;
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		at += NLA_ALIGN(attr->nla_len);
	}
	return NULL;
}

/* Sends one generic netlink request with one attribute; the answer's attributes are in buf[..*end]. NULL:
 * none. */
static char *ask_kernel(int fd, uint16_t family, uint8_t command, uint16_t type, const void *value,
			size_t len, char *buffer, size_t size, char **end)
{
	struct {
		struct nlmsghdr header;
		struct genlmsghdr generic;
		struct nlattr attr;
		char value[32];
	} request = {.header = {.nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST},
		     .generic = {.cmd = command, .version = 1},
		     .attr = {.nla_type = type, .nla_len = (uint16_t)(sizeof(struct nlattr) + len)}};
	memcpy(request.value, value, len);
	request.header.nlmsg_len = (uint32_t)(offsetof(typeof(request), value) + NLA_ALIGN(len));
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
		return NULL;
	ssize_t n = recv(fd, buffer, size, 0);
	struct nlmsghdr *header = (struct nlmsghdr *)(void *)buffer;
	if (n < (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN) || header->nlmsg_type != family ||
	    header->nlmsg_len > (size_t)n)
		return NULL;
	*end = buffer + header->nlmsg_len;
	return buffer + NLMSG_HDRLEN + GENL_HDRLEN;
}

/* What the driver of an interface can do with XDP; -1: the kernel does not say. */
static int64_t xdp_features(unsigned ifindex)
{
	_Alignas(8) char buffer[8192];
	char *end, *attributes;
	struct nlattr *attr = NULL;
	int64_t features = -1;
	uint32_t index = ifindex;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0)
		return -1;
	attributes = ask_kernel(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, "netdev", 7,
				buffer, sizeof(buffer), &end);
	if (attributes)
		attr = attribute(attributes, end, CTRL_ATTR_FAMILY_ID);
	if (attr) {
		uint16_t family;
		memcpy(&family, (char *)attr + NLA_HDRLEN, sizeof(family));
		attributes = ask_kernel(fd, family, NETDEV_CMD_DEV_GET, NETDEV_A_IFINDEX, &index,
					sizeof(index), buffer, sizeof(buffer), &end);
		attr = attributes ? attribute(attributes, end, NETDEV_A_XDP_FEATURES) : NULL;
		uint64_t bits;
		if (attr && attr->nla_len >= NLA_HDRLEN + sizeof(bits)) {
			memcpy(&bits, (char *)attr + NLA_HDRLEN, sizeof(bits));
			features = (int64_t)bits;
		}
	}
	close(fd);
	return features;
}

struct interface {
	const char *name;
	char driver[32];
	int mtu;
	bool up, lro, gro_hw;
};

/* Whether the feature with this name ("rx-lro") is on. `request` names the interface. */
static bool feature_is_on(int fd, struct ifreq *request, const char *name)
{
	/* The count comes behind the struct. */
	_Alignas(struct ethtool_sset_info) char set[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)] = "";
	struct ethtool_sset_info *info = (void *)set;
	bool on = false;

	*info = (struct ethtool_sset_info){.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1u << ETH_SS_FEATURES};
	request->ifr_data = set;
	if (ioctl(fd, SIOCETHTOOL, request) < 0 || !info->sset_mask || info->data[0] > FEATURES_MAX)
		return false;
	uint32_t count = info->data[0];
	size_t blocks = (count + 31) / 32;
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	struct ethtool_gfeatures *features =
		calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (names && features) {
		*names = (struct ethtool_gstrings){ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count};
		*features = (struct ethtool_gfeatures){ETHTOOL_GFEATURES, (uint32_t)blocks};
		request->ifr_data = (char *)names;
		bool good = ioctl(fd, SIOCETHTOOL, request) == 0;
		request->ifr_data = (char *)features;
		good = good && ioctl(fd, SIOCETHTOOL, request) == 0;
		for (uint32_t i = 0; good && i < count; i++)
			if (strncmp((char *)names->data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN) == 0)
				on = features->features[i / 32].active >> (i % 32) & 1;
	}
	free(names);
	free(features);
	return on;
}

static bool look_at(const char *name, struct interface *interface)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*interface = (struct interface){.name = name, .driver = "?"};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0)
		return false;
	bool there = ioctl(fd, SIOCGIFMTU, &request) == 0;
	interface->mtu = request.ifr_mtu;
	interface->up = ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP;
	request.ifr_data = (char *)&info;
	if (ioctl(fd, SIOCETHTOOL, &request) == 0)
		snprintf(interface->driver, sizeof(interface->driver), "%s", info.driver);
	interface->lro = feature_is_on(fd, &request, "rx-lro");
	interface->gro_hw = feature_is_on(fd, &request, "rx-gro-hw");
	close(fd);
	return there;
}

/* The mode that it can have against the mode that is wanted. Number of findings. */
static size_t check_mode(struct doctor *doctor, const struct interface *interface)
{
	int64_t features = xdp_features(if_nametoindex(interface->name));
	bool native = doctor->config->xdp.mode == XDP_MODE_NATIVE;

	if (features < 0 || features & NETDEV_XDP_BASIC || doctor->config->xdp.mode == XDP_MODE_GENERIC)
		return 0;
	finding(doctor, native ? VERDICT_FAIL : VERDICT_WARN, "interface",
		native ? "xdp.mode auto or generic, or another card"
		       : "expect less of it; phoenixctl xdp status tells the mode",
		"the driver of %s (%s) has no XDP of its own: %s", interface->name, interface->driver,
		native ? "xdp.mode native fails" : "it will be the generic, slower mode");
	return 1;
}

static void check_interface(struct doctor *doctor, const char *name)
{
	struct interface interface;
	size_t said = 0;

	if (!look_at(name, &interface)) {
		finding(doctor, VERDICT_FAIL, "interface", "correct xdp.interfaces (ip link lists them)",
			"there is no interface %s here", name);
		return;
	}
	said += check_mode(doctor, &interface);
#define SAY(condition, verdict, fix, ...)                                                                    \
	if (condition) {                                                                                     \
		said++;                                                                                      \
		finding(doctor, verdict, "interface", fix, __VA_ARGS__);                                     \
	}
	SAY(!interface.up, VERDICT_FAIL, "ip link set DEVICE up", "%s is down", name);
	SAY(interface.mtu > XDP_MTU_MAX, VERDICT_WARN, "ip link set DEVICE mtu 1500",
	    "%s has an MTU of %d: most drivers take native XDP only up to about %d", name, interface.mtu,
	    XDP_MTU_MAX);
	SAY(interface.lro, VERDICT_FAIL, "ethtool -K DEVICE lro off",
	    "%s joins received segments (LRO): the fast path would see packets that nobody sent", name);
	SAY(interface.gro_hw, VERDICT_WARN, "ethtool -K DEVICE rx-gro-hw off",
	    "%s joins received segments in the card (rx-gro-hw): most drivers refuse native XDP with it",
	    name);
	SAY(sysctl_number("/proc/sys/net/ipv4/conf/%s/forwarding", name) == 0, VERDICT_WARN,
	    "the daemon sets it when it attaches",
	    "net.ipv4.conf.%s.forwarding is 0: no way to upstreams is found "
	    "without it",
	    name);
	int all = sysctl_number("/proc/sys/net/ipv4/conf/%s/rp_filter", "all");
	int own = sysctl_number("/proc/sys/net/ipv4/conf/%s/rp_filter", name);
	SAY(all == 1 || own == 1, VERDICT_WARN, "sysctl -w net.ipv4.conf.all.rp_filter=2 (and of the DEVICE)",
	    "strict reverse path filter on %s: answers that come by another way than requests go are dropped",
	    name);
#undef SAY
	if (!said)
		finding(doctor, VERDICT_OK, "interface", NULL, "%s (%s), MTU %d%s", name, interface.driver,
			interface.mtu,
			strcmp(interface.driver, "veth") == 0
				? ": its other end needs an XDP program of its own and "
				  "\"ethtool -K DEVICE tx off tso off gso off gro off\""
				: "");
}

void check_interfaces(struct doctor *doctor)
{
	struct interface first, other;

	if (!doctor_wants_fast_path(doctor))
		return; /* check_bpf() said so */
	const struct string_list *names = &doctor->config->xdp.interfaces;
	for (size_t i = 0; i < names->count; i++)
		check_interface(doctor, names->items[i]);
	for (size_t i = 1; i < names->count; i++)
		if (look_at(names->items[0], &first) && look_at(names->items[i], &other) &&
		    first.mtu != other.mtu)
			finding(doctor, VERDICT_WARN, "interface", "give both the same MTU",
				"%s has an MTU of %d and %s of %d: the larger packets of one side do not fit "
				"the other",
				first.name, first.mtu, other.name, other.mtu);
	if (sysctl_number("/proc/sys/net/ipv4/%s", "tcp_syncookies") == 0)
		finding(doctor, VERDICT_WARN, "syncookies", "sysctl -w net.ipv4.tcp_syncookies=1",
			"net.ipv4.tcp_syncookies is 0: no connection can be handed to the daemon; it sets it "
			"to 1");
}

void check_fast_path(struct doctor *doctor)
{
	if (!doctor_wants_fast_path(doctor) || !doctor->status)
		finding(doctor, VERDICT_SKIPPED, "fast path", NULL,
			doctor->status ? "not configured (xdp.interfaces)" : "only the daemon can tell");
	else if (strcmp(field_text(doctor->status, "path", ""), "xdp") == 0)
		finding(doctor, VERDICT_OK, "fast path", NULL, "the daemon's requests take it");
	else
		finding(doctor, VERDICT_FAIL, "fast path",
			"GET /admin/datapath says why; phoenixctl xdp status asks the devices",
			"configured, but the daemon serves alone");
}
