#ifndef METERGATE_TESTS_FAULT_POWER_RANDOM_H
#define METERGATE_TESTS_FAULT_POWER_RANDOM_H

#include "chance.h"

void random_seed(struct chance chance);

#endif
