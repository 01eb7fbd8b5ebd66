// The C library's heap, and stacks, in a program of many threads that runs for years.
#ifndef METERGATE_BASE_HEAP_H
#define METERGATE_BASE_HEAP_H

// One arena for all threads, and large blocks by themselves: a link's thread takes a block a
// second, so that eight arenas for each core are memory for nothing. Before threads start.
void heap_prepare(void);

// Gives back what is free, also between blocks in use: after a configuration was loaded, which
// takes many times what it keeps.
void heap_trim(void);

// Gives back the stack below the caller, which a failure has used: a link's thread touches two
// pages by polling, and its messages of what failed a third, in each of hundreds of threads. At the
// top of the stack only: STACK_GIVEN_BACK bytes below must be the thread's.
#define STACK_GIVEN_BACK (32 * 1024)
void stack_release(void);

#endif
