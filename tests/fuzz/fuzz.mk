# The fuzz targets: see tests/fuzz/README.md. Included by the Makefile.
#
#   tests/fuzz/fuzz_NAME.c   -> a part of $(O)/tests/test_fuzz, which replays tests/fuzz/corpus
#                            -> $(O)/fuzz/NAME, a fuzzer (clang; built below $(O)/libfuzzer)

FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_OBJ   := $(FUZZ_NAMES:%=$(O)/obj/tests/fuzz/fuzz_%.o)
FUZZERS    := $(FUZZ_NAMES:%=$(O)/fuzz/%)
SECONDS    ?= 60

# The libraries once more behind the targets, which come last.
$(O)/tests/test_fuzz: $(FUZZ_OBJ)
$(O)/tests/test_fuzz: private LDLIBS := $(O)/libtools.a $(O)/libphoenix.a $(LDLIBS)

$(FUZZERS): $(O)/fuzz/%: $(O)/obj/tests/fuzz/fuzz_%.o $(O)/obj/tests/fuzz/libfuzzer.o $(O)/libtools.a $(O)/libphoenix.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@

.PHONY: fuzzers fuzz coverage
fuzzers: $(FUZZERS)

fuzz: ## fuzz every parser: SECONDS=60 each, TARGET=name for one
	@tools/setup.sh build test
	@$(BUILD) O=$(O)/libfuzzer CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzzers
	@tests/fuzz/run --fuzzers $(O)/libfuzzer/fuzz --out $(O)/fuzz --seconds $(SECONDS) $(TARGET)

coverage: ## lines and branches that units and corpora reach in http/, judge/ and include/phoenix
	@tools/setup.sh build test
	@tests/coverage.py --build $(O)/coverage
