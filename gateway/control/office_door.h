// Head office's door to the command table: one thread that takes signed commands from the inbox,
// refuses what is not to be executed, runs the others as the principal `office`, and answers.
//
// Effect, counter, answer and audit record of a command are one transaction of the recorder. The
// same command again gets the stored answer. Only who signed is answered: a refusal of anything
// else is counted, and recorded in the audit chain up to a bound (struct flood).
#ifndef METERGATE_CONTROL_OFFICE_DOOR_H
#define METERGATE_CONTROL_OFFICE_DOOR_H

#include "control/command.h"
#include "office/inbox.h"

#define DOOR_BURST 20                // commands, good or bad, at once; then
#define DOOR_EVERY_MS 200            // one in so many milliseconds: the others wait, or are dropped
#define DOOR_RESULT_MAX (128 * 1024) // bytes of a result

struct office_door;

struct office_door_settings {
    struct command_context context;   // of a running gateway
    struct inbox *inbox;              // outlives the door
    void (*answered)(void *argument); // an answer lies in the inbox
    void *argument;
};
// NULL with a message on failure.
struct office_door *office_door_start(const struct office_door_settings *settings, struct err *err);
// Finishes what runs. NULL is fine.
void office_door_stop(struct office_door *door);

struct office_door_status {
    uint64_t executed; // since start
    uint64_t repeated; // got a stored answer
    uint64_t refused[REJECTS];
    char key[COMMAND_KEY_ID_SIZE]; // "": none
    char error[ERR_TEXT_MAX];      // why there is none, where one is configured
    int64_t last_ms;               // wall clock of the newest one executed, 0 without
};
void office_door_status(struct office_door *door, struct office_door_status *out);

#endif
