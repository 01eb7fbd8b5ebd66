// What the gateway is made of: for gateway.c and its status report only.
#ifndef METERGATE_GATEWAY_PARTS_H
#define METERGATE_GATEWAY_PARTS_H

#include "base/clock_keeper.h"
#include "control/control.h"
#include "control/office_door.h"
#include "gateway.h"

#include <pthread.h>

struct gateway {
    char config_path[CONFIG_PATH_MAX];
    char directory[CONFIG_PATH_MAX];
    char profiles[CONFIG_PATH_MAX]; // --profiles, or ""
    struct clock_keeper keeper;
    const struct clock *clock;    // the keeper's
    struct gas_calendar calendar; // of the process: set once
    int64_t started_boot_ms;
    int lock_fd;
    struct live *live;
    struct recorder *recorder;
    struct control *control;
    struct inbox *inbox; // head office's commands and their answers
    struct office_door *door;

    pthread_mutex_t lock;  // guards what a reload changes:
    struct config *config; // in force
    struct office *office; // NULL without an office
    struct bus **buses; // one for each link of config, in its order; NULL entries while a reload is
                        // under way
    int bus_count;
    char reload_error[ERR_TEXT_MAX]; // of the last reload, "" when it succeeded

    pthread_mutex_t reload_lock; // one reload at a time; guards:
    bool waits_for_store;        // it was not open at the start: no office yet, no revision kept
};

#endif
