# Phoenix: one Makefile, out of tree. `make help` lists what there is to do.
#
# A source file is found by where it lies, so a new file needs no line here:
#   userspace/**/*.c (but main.c)  -> $(O)/libphoenix.a
#   userspace/main.c               -> $(O)/phoenixd
#   tools/FOLDER/*.c               -> $(O)/libtools.a (but demo and bench, which hold programs)
#   tools/NAME.c                   -> $(O)/NAME (manual: writes the pages of $(O)/man)
#   tools/demo/NAME.c              -> $(O)/demo/NAME
#   tools/bench/NAME.c             -> $(O)/bench/NAME
#   tests/unit/test_NAME.c         -> $(O)/tests/test_NAME (and tests/fuzz/fuzz.mk: the fuzz targets)
#   tests/bpf/test_NAME.c          -> $(O)/tests/bpf_NAME (with the other files of tests/bpf)
#   tests/lab/NAME.c, tests/bpf/NAME.bpf.c -> $(O)/tests/NAME, $(O)/tests/NAME.bpf.o (the lab of tests/lib/lab.py)
#   userspace/admin/page/*         -> embedded in the library
#   bpf/NAME.bpf.c                 -> $(O)/gen/NAME.skel.h
# Knobs: CC=gcc|clang  O=build  DEBUG=1  SANITIZE=address,undefined

O        ?= build
CC       ?= gcc
PREFIX   ?= /usr/local
DESTDIR  ?=
VERSION  := 0.1.0

WARN     := -Wall -Wextra -Werror -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-align -Wno-unused-parameter
CFLAGS   ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS  += -Wl,-z,relro,-z,now
CPPFLAGS += -Iinclude -Iuserspace -Itools -D_GNU_SOURCE -DPHOENIX_VERSION='"$(VERSION)"' -I$(O)/gen
ALLCFLAGS = -std=gnu11 $(WARN) $(CFLAGS) -fno-omit-frame-pointer -pthread -MMD -MP
LDLIBS   += -luring -ljansson -lyaml -lz -lcurl -lxdp -lbpf -lhiredis -lm -pthread
CHART_JS ?= /usr/share/javascript/chart.js/chart.min.js
CHART_JS_LICENCE ?= /usr/share/doc/libjs-chart.js/copyright
BPFTOOL  ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
BPFFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-pointer-sign \
            -Iinclude -I/usr/include/$(shell uname -m)-linux-gnu
ifdef DEBUG
CFLAGS   := -O0 -g3
endif
ifdef SANITIZE
CFLAGS   := -O1 -g -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
LDFLAGS  += -fsanitize=$(SANITIZE)
endif

LIB_SRC  := $(filter-out userspace/main.c,$(sort $(wildcard userspace/*.c userspace/*/*.c)))
PAGE     := $(sort $(wildcard userspace/admin/page/*))
LIB_OBJ  := $(LIB_SRC:%.c=$(O)/obj/%.o)
TOOL_OBJ := $(patsubst %.c,$(O)/obj/%.o,$(filter-out tools/demo/% tools/bench/%,$(sort $(wildcard tools/*/*.c))))
TOOLS    := $(patsubst tools/%.c,$(O)/%,$(wildcard tools/*.c))
DEMO     := $(patsubst tools/demo/%.c,$(O)/demo/%,$(wildcard tools/demo/*.c))
BENCH    := $(patsubst tools/bench/%.c,$(O)/bench/%,$(wildcard tools/bench/*.c))
LAB      := $(patsubst tests/lab/%.c,$(O)/tests/%,$(wildcard tests/lab/*.c)) \
            $(patsubst tests/bpf/%.bpf.c,$(O)/tests/%.bpf.o,$(wildcard tests/bpf/*.bpf.c))
BPF_OBJ  := $(patsubst %.c,$(O)/obj/%.o,$(filter-out tests/bpf/test_% %.bpf.c,$(wildcard tests/bpf/*.c)))
BPF_TEST := $(patsubst tests/bpf/test_%.c,$(O)/tests/bpf_%,$(wildcard tests/bpf/test_*.c))
MAN      := $(addprefix $(O)/man/,phoenixctl.1 phoenix-traffic.1 phoenixd.8 phoenix.json.5 phoenix-migration.json.5)
UNIT     := $(patsubst tests/unit/%.c,$(O)/tests/%,$(wildcard tests/unit/test_*.c))

# A whole build below make check, make demo: as many jobs as cores, quiet unless something is wrong.
BUILD    := $(MAKE) -s --no-print-directory -j$(shell nproc)

.PHONY: all help setup demo check unit lab bench man completion install uninstall deb clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(O)/phoenixd $(TOOLS) $(DEMO) $(BENCH) $(O)/obj/bpf/pass.bpf.o ## build everything; needs no root (the default)

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALLCFLAGS) -c $< -o $@

# The programs of the NIC path; the skeleton that holds the object is what dataplane/ includes.
$(O)/obj/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	clang $(BPFFLAGS) -MMD -MP -c $< -o $@

$(O)/gen/%.skel.h: $(O)/obj/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@

$(patsubst %.c,$(O)/obj/%.o,$(wildcard userspace/dataplane/*.c tests/bpf/*.c)): | $(O)/gen/phoenix.skel.h

# The page's files are pulled in by .incbin, which no compiler lists in its dependency file.
$(O)/obj/userspace/admin/page.o: $(PAGE) $(CHART_JS) $(CHART_JS_LICENCE)
$(O)/obj/userspace/admin/page.o: CPPFLAGS += -DCHART_JS='"$(CHART_JS)"' -DCHART_JS_LICENCE='"$(CHART_JS_LICENCE)"'

$(O)/libphoenix.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/libtools.a: $(TOOL_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/phoenixd: $(O)/obj/userspace/main.o $(O)/libphoenix.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(TOOLS): $(O)/%: $(O)/obj/tools/%.o $(O)/libtools.a $(O)/libphoenix.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(DEMO) $(BENCH): $(O)/%: $(O)/obj/tools/%.o $(O)/libphoenix.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(UNIT): $(O)/tests/%: $(O)/obj/tests/unit/%.o $(O)/libtools.a $(O)/libphoenix.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BPF_TEST): $(O)/tests/bpf_%: $(O)/obj/tests/bpf/test_%.o $(BPF_OBJ) $(O)/libphoenix.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(filter-out %.o,$(LAB)): $(O)/tests/%: $(O)/obj/tests/lab/%.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -o $@

$(filter %.o,$(LAB)): $(O)/tests/%.bpf.o: tests/bpf/%.bpf.c
	@mkdir -p $(@D)
	clang -target bpf -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/$(shell uname -m)-linux-gnu \
		-Iinclude -c $< -o $@

setup: ## install the Debian packages that are missing, for building, demo and tests (root)
	tools/setup.sh build demo test

# Root and a network are needed once, when packages are missing; afterwards neither.
demo: ## a whole migration on built-in services: FAULT=wrong-value|wrong-status|slow|crash, KEEP=1, XDP=1
	@tools/setup.sh build demo
	@$(BUILD) all
	@O=$(O) tools/demo.sh

check: ## all tests, with everything they need
	@tools/setup.sh build test
	@echo "building with $(CC)"
	@$(BUILD) all lab man completion
	@echo "building with sanitizers"
	@$(BUILD) O=$(O)/asan SANITIZE=address,undefined all unit
	@echo "building with clang"
	@$(BUILD) O=$(O)/clang CC=clang all unit
	@tests/run --build $(O)

# From the tables that the programs work with, so that a page cannot tell another story than --help.
man: $(MAN) ## write the manual pages to $(O)/man

$(O)/man/%: $(O)/manual
	@mkdir -p $(@D)
	$(O)/manual $* > $@

lab: $(LAB) $(BPF_TEST) ## build what the test lab is made of (run by `make check`)

bench: ## measure side by side with haproxy and nginx; writes $(O)/bench.json
	@tools/setup.sh build test
	@$(BUILD) all
	@tools/bench/run --build $(O)

unit: $(UNIT) ## build the unit tests (run by `make check`)

completion: $(addprefix $(O)/completion/,bash zsh fish)

$(O)/completion/%: $(O)/phoenixctl
	@mkdir -p $(@D)
	$(O)/phoenixctl completion $* > $@

PLACES = O='$(O)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' MAN='$(MAN)'

install: all man completion ## install below DESTDIR and PREFIX (/usr/local)
	$(PLACES) tools/install.sh install

uninstall: ## remove what `make install` brought; a changed configuration stays
	$(PLACES) tools/install.sh uninstall

deb: all man completion ## make a Debian package, $(O)/phoenix-gateway_VERSION_ARCH.deb
	O='$(O)' VERSION='$(VERSION)' MAN='$(MAN)' tools/debian/build.sh

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 24

clean: ## remove what was built
	rm -rf $(O)

include tests/fuzz/fuzz.mk

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
