// The claim code: what the first visitor of the page must know, in place of a default password. It
// is shown once, at a start without accounts, and only its hash is kept; the first account ends it.
#ifndef METERGATE_CONTROL_CLAIM_H
#define METERGATE_CONTROL_CLAIM_H

#include "record/recorder.h"

#define CLAIM_SETTING "claim" // holds the hash, "" when there is no claim
#define CLAIM_SYMBOLS 28      // of 5 bits: 140 bits
#define CLAIM_TEXT_SIZE 35    // seven groups of four and their dashes, with NUL
#define CLAIM_TYPED_MAX 128   // characters that are looked at

// Makes a new code when there is no account yet; the code of an earlier start is then void. `text`
// is "" when an account exists. `directory` holds the store that the recorder writes.
int control_claim_begin(struct recorder *recorder, const char *directory,
                        char text[static CLAIM_TEXT_SIZE], struct err *err);

// Random bytes as a code, "ABCD-EFGH-…" (base32 without I, L, O, U).
void claim_print(const unsigned char random[static CLAIM_SYMBOLS],
                 char text[static CLAIM_TEXT_SIZE]);
// A typed code in that form: case, spaces and dashes do not matter, O is 0, I and L are 1. -1 when
// it cannot be one.
int claim_normalize(const char *typed, char text[static CLAIM_TEXT_SIZE]);

#endif
