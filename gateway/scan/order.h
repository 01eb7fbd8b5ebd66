// In which order an unknown serial line is searched: which settings, which units. Pure.
//
// A meter answers only at its own baud rate, parity and stop bits, so every unit must be asked at
// every setting until one answers; the bus then has that setting. 8 baud rates x 3 parities x 2
// stop bits are 48 settings, and 247 units at each would take (request of 8 characters, 3.5
// characters of silence, SCAN_LISTEN_MS for the reply to begin; 11 bits a character):
//
//     baud       1200   2400   4800   9600  19200  38400  57600  115200
//     ms a unit   126     74     47     34     28     25     24      23
//
// Together 94 s for a setting of each, 9 minutes for all six of each. So what is likely comes
// first, in rounds; before a setting is left, slow meters are listened to (scan.h, 0.5 s or 0.15
// s):
//   1. units 1 to 16 at the makers' defaults of the profiles and at all settings of 9600 baud,
//   2. units 1 to 16 at all other settings: 50 s with round 1,
//   3. as round 1, with function 4 for meters that are silent to 3, or asleep at the first: 10 s,
//   4. all other units at the six settings of 9600 baud: 50 s,
//   5. all other units at the other makers' defaults, 6. at the rest.
// A receiver need not tell 8N1 and 8N2 apart; both are asked, and a meter that hears both is found
// at the first.
//
// The worst honest case at 9600 baud is a bus with no unit below 17 at the sixth setting: 110 s of
// search, both passes over all units (scan.h) 39 s, 2 s for each meter's profile: 8 meters are done
// in 165 s, as far as they answer within 20 ms. (On virtual time 133 s: tests/unit/test_scan.c.)
#ifndef METERGATE_SCAN_ORDER_H
#define METERGATE_SCAN_ORDER_H

#include "drivers/profile.h"

#define SCAN_LISTEN_MS 20    // for the reply to begin; a later one still names its unit
#define SCAN_LOW_UNITS 16    // units that are asked at every setting before the others
#define SCAN_SETTINGS_MAX 64 // 48 of the table and makers' defaults outside it; more are left out

// What a serial line is set to; all zeros over TCP.
struct scan_setting {
    int baud;
    char parity; // 'N', 'E', 'O'
    int stop;    // 1 or 2
};

// The first `usual` are the makers' defaults (the most common first) and all of 9600 baud.
struct scan_settings {
    int count, usual;
    struct scan_setting list[SCAN_SETTINGS_MAX];
};

bool scan_setting_equal(const struct scan_setting *a, const struct scan_setting *b);
// All settings in the order of the search.
void scan_settings_all(const struct profile *const *profiles, int profile_count,
                       struct scan_settings *out);
// Keeps those with this baud rate, parity and stop bits; 0 stands for any. Where the list has none
// of them, the one asked for is added.
void scan_settings_keep(struct scan_settings *settings, const struct scan_setting *wanted);

// Where the search stands: the next pair of a setting and a unit.
struct scan_order {
    int first_unit, last_unit;
    int round, setting, unit;
};

void scan_order_start(struct scan_order *order, int first_unit, int last_unit);
// The next call: the setting (index in settings->list), the unit and the function. False when all
// have been given.
struct scan_call {
    int setting, unit;
    uint8_t function; // 3 or 4
};
bool scan_order_next(struct scan_order *order, const struct scan_settings *settings,
                     struct scan_call *call);
// How many calls there are in all, for the progress.
int scan_order_total(const struct scan_settings *settings, int first_unit, int last_unit);

#endif
