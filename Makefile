# metergate: `make help` lists the targets.

BUILD ?= build
CC ?= gcc
PYTHON := /usr/bin/python3
SAN ?=

# Debian 12's packages: what the program links with, and what its tests and demo run with.
PACKAGES_BUILD := gcc make pkg-config libc6-dev libmodbus-dev libpaho-mqtt-dev libsqlite3-dev libssl-dev \
	libevent-dev libjansson-dev libyaml-dev tzdata
PACKAGES_RUN := mosquitto mosquitto-clients openssl python3
PACKAGES_TEST := $(PACKAGES_RUN) libcmocka-dev python3-pytest python3-pymodbus python3-serial \
	python3-serial-asyncio python3-paho-mqtt python3-selenium python3-jsonschema python3-yaml \
	python3-prometheus-client python3-cryptography \
	chromium chromium-driver strace util-linux
PACKAGES_LINT := clang-format clang-tidy cppcheck universal-ctags

LIBS := libmodbus sqlite3 libevent libevent_openssl libevent_pthreads openssl jansson yaml-0.1
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),1735689600)
RELEASE := 0.1.0
VERSION := $(RELEASE)$(addprefix -g,$(shell git rev-parse --short HEAD 2>/dev/null))

# What an initialiser leaves out is 0, and 0 is the usual case of a member that was added.
WARNINGS := -Wall -Wextra -Wno-missing-field-initializers -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wvla -Wstrict-prototypes \
	-Wmissing-prototypes $(if $(CI),-Werror)
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE \
	$(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
INCLUDES := -Igateway -I. -I$(BUILD)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -pthread $(INCLUDES) $(WARNINGS) $(HARDENING) $(CFLAGS) \
	$(SAN_FLAGS) $(shell pkg-config --cflags $(LIBS))
ALL_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now $(SAN_FLAGS) $(LDFLAGS)
ALL_LDLIBS = $(shell pkg-config --libs $(LIBS)) -lpaho-mqtt3as -lm

ifeq ($(SAN),1)
# ASan and UBSan: a build of its own beside the other.
override BUILD := $(BUILD)/san
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS := -O1 -g
else ifeq ($(SAN),thread)
override BUILD := $(BUILD)/tsan
SAN_FLAGS := -fsanitize=thread -fno-omit-frame-pointer
CFLAGS := -O1 -g
else
HARDENING += -D_FORTIFY_SOURCE=2
endif

SOURCES := $(sort $(wildcard gateway/*.c gateway/*/*.c drivers/*.c drivers/*/*.c config/*.c web/*.c))
HEADERS := $(sort $(wildcard gateway/*.h gateway/*/*.h drivers/*.h drivers/*/*.h config/*.h web/*.h \
	tests/*/*.h tests/fault/*/*.h))
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
SUPPORT_SOURCES := $(sort $(wildcard tests/support/*.c))
TOOL_SOURCES := $(sort $(wildcard tests/bench/*.c tests/fault/*.c))
POWER_SOURCES := $(sort $(wildcard tests/fault/power/*.c))

LIBRARY := $(BUILD)/libmetergate.a
LIBRARY_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out gateway/main.c,$(SOURCES))) \
	$(BUILD)/web_assets.o
WEB_FILES := $(sort $(wildcard web/files/*))
SUPPORT_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(SUPPORT_SOURCES))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SOURCES))
POWER_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(POWER_SOURCES))
TOOLS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TOOL_SOURCES))

.DEFAULT_GOAL := all
.PHONY: all help deps-build deps-run deps-test deps-lint run test check unit seeds integration bench fault screenshots \
	tools lint format format-check clean
.SUFFIXES:
.SECONDARY:

## Build build/metergate
all: deps-build
	@$(MAKE) --no-print-directory $(BUILD)/metergate

## List the targets
help:
	@awk '/^## / { text = substr($$0, 4); getline; sub(/:.*/, ""); printf "  make %-14s %s\n", $$1, text }' Makefile

## Install what is missing, build, and run the main job on a demo site
run: deps-run all
	@$(PYTHON) tests/sites/demo.py --metergate $(BUILD)/metergate

## Install what is missing and run every test (as CI does)
test: deps-test
	@$(MAKE) --no-print-directory check

## Run every test without looking for packages
check:
	@$(MAKE) --no-print-directory $(BUILD)/metergate tools
	@$(MAKE) --no-print-directory SAN=1 $(BUILD)/san/metergate unit-programs
	@$(PYTHON) tests/run.py --build $(BUILD)/san --release $(BUILD)

## Run the unit tests alone, under ASan and UBSan
unit:
	@$(MAKE) --no-print-directory SAN=1 $(BUILD)/san/metergate unit-programs
	@$(PYTHON) tests/run.py --build $(BUILD)/san --release $(BUILD) --unit

## Run each unit test that draws its input with other seeds, SEEDS=N of them
seeds:
	@$(MAKE) --no-print-directory SAN=1 $(BUILD)/san/metergate unit-programs
	@$(PYTHON) tests/run.py --build $(BUILD)/san --release $(BUILD) --seeds $(or $(SEEDS),20)

## Run the integration tests alone, under ASan and UBSan
integration:
	@$(MAKE) --no-print-directory $(BUILD)/metergate tools
	@$(MAKE) --no-print-directory SAN=1 $(BUILD)/san/metergate
	@$(PYTHON) tests/run.py --build $(BUILD)/san --release $(BUILD) --integration

## Measure speed and size beside their limits, in one run
bench: deps-test all tools
	@$(PYTHON) tests/bench/bench.py --build $(BUILD)

## Run the long fault tests (power cuts, failing disks, kill -9, outages, late replies, damaged frames), each printing its figure and seed
fault: deps-test all tools $(BUILD)/unit/test_record_sums
	@$(PYTHON) tests/fault/fault.py --build $(BUILD)

## Take the README's pictures of the page from the demo site
screenshots: deps-test all
	$(call install_missing,fonts-wqy-microhei)
	@$(PYTHON) tests/browser/screenshots.py --metergate $(BUILD)/metergate

## Check layout, clang-tidy, cppcheck and the direction of includes
lint: deps-lint format-check
	@$(PYTHON) tests/lint/includes.py
	@cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --std=c11 -D_GNU_SOURCE -Igateway -I. gateway drivers config web
	@printf '%s\n' $(SOURCES) | xargs -P 2 -I FILE clang-tidy --quiet --warnings-as-errors='*' FILE -- \
		-std=c17 -D_GNU_SOURCE $(INCLUDES) $(shell pkg-config --cflags $(LIBS))

## Bring all C files into the layout of .clang-format
format:
	@clang-format -i $(SOURCES) $(HEADERS) $(UNIT_SOURCES) $(SUPPORT_SOURCES) $(TOOL_SOURCES) $(POWER_SOURCES)

format-check:
	@clang-format --dry-run -Werror $(SOURCES) $(HEADERS) $(UNIT_SOURCES) $(SUPPORT_SOURCES) $(TOOL_SOURCES) $(POWER_SOURCES)

## Remove everything that was built
clean:
	rm -rf build

.PHONY: unit-programs
unit-programs: $(UNIT_TESTS)

tools: $(TOOLS)

# Packages: each list is looked up first, and only what is missing is installed (as root, or through sudo).
define install_missing
	@missing=""; for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		if [ "$$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi; \
		$$as_root apt-get update -qq && \
		$$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null || exit 1; \
	fi
endef

deps-build:
	$(call install_missing,$(PACKAGES_BUILD))
deps-run: deps-build
	$(call install_missing,$(PACKAGES_RUN))
deps-test: deps-build
	$(call install_missing,$(PACKAGES_TEST))
deps-lint: deps-build
	$(call install_missing,$(PACKAGES_LINT))

$(BUILD)/metergate: $(BUILD)/obj/gateway/main.o $(LIBRARY)
	@echo "LD  $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(LIBRARY): $(LIBRARY_OBJECTS)
	@rm -f $@
	@$(AR) rcs $@ $^

# The command line is kept beside the objects: another one builds them anew.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@
.PHONY: FORCE

$(BUILD)/obj/gateway/base/clock.o: EXTRA = -DBUILD_EPOCH=$(EPOCH)
$(BUILD)/obj/gateway/base/version.o: EXTRA = -DVERSION='"$(VERSION)"'

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "CC  $<"
	@$(CC) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# The page's files, compiled in.
$(BUILD)/web_assets.c: web/embed.sh $(WEB_FILES) web/files
	@mkdir -p $(@D)
	@echo "GEN $@"
	@web/embed.sh $(WEB_FILES) > $@.tmp && mv $@.tmp $@

$(BUILD)/web_assets.o: $(BUILD)/web_assets.c $(BUILD)/flags
	@echo "CC  $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(SUPPORT_OBJECTS) $(LIBRARY) $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "LD  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< $(SUPPORT_OBJECTS) $(LIBRARY) -lcmocka $(ALL_LDLIBS)

# The yardstick holds nothing of ours: libmodbus alone, as somebody else would use it.
$(BUILD)/tests/bench/bare_modbus: tests/bench/bare_modbus.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "LD  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< $(shell pkg-config --libs libmodbus)

# Takes libc's calls that change files: linked into nothing else.
$(BUILD)/tests/fault/power_cut $(BUILD)/tests/fault/io_fault: $(BUILD)/tests/fault/%: tests/fault/%.c $(POWER_OBJECTS) \
		$(LIBRARY) $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "LD  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< $(POWER_OBJECTS) $(LIBRARY) $(ALL_LDLIBS)

$(BUILD)/tests/%: tests/%.c $(SUPPORT_OBJECTS) $(LIBRARY) $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "LD  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -o $@ $< $(SUPPORT_OBJECTS) $(LIBRARY) $(ALL_LDLIBS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
