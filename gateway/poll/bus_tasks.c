// Tasks of low priority: they get the time that polls leave, and a turn a minute where polls leave
// none.
#include "poll/bus_inside.h"

#include "config/config.h"

#include <assert.h>

int bus_add_task(struct bus *bus, const struct bus_task *task, struct err *err)
{
    assert(task->step_ms > 0);
    int result = -1;
    (void)pthread_mutex_lock(&bus->mutex);
    if (bus->stop) {
        (void)err_set(err, "link %s is being stopped", bus->link->id);
    } else if (bus->task_count == TASKS_MAX) {
        (void)err_set(err, "link %s has %d tasks already: try again when one is done",
                      bus->link->id, TASKS_MAX);
    } else {
        bus->tasks[bus->task_count++] =
            (struct task_turn){*task, clock_boot_ms(bus->settings.clock)};
        (void)sem_post(&bus->wake);
        result = 0;
    }
    (void)pthread_mutex_unlock(&bus->mutex);
    return result;
}

struct task_turn *bus_next_task(struct bus *bus, int64_t now_ms, int64_t free_ms, int64_t *wait_ms)
{
    struct task_turn *next = NULL;
    for (int i = 0; i < bus->task_count; i++) {
        struct task_turn *turn = &bus->tasks[i];
        int64_t waited_ms = now_ms - turn->at_ms;
        if (waited_ms >= TASK_STARVED_MS || (waited_ms >= 0 && turn->task.step_ms <= free_ms)) {
            // Who has waited longest goes first.
            if (next == NULL || turn->at_ms < next->at_ms)
                next = turn;
            continue;
        }
        int64_t change_ms = waited_ms < 0 ? -waited_ms : TASK_STARVED_MS - waited_ms;
        *wait_ms = change_ms < *wait_ms ? change_ms : *wait_ms;
    }
    return next;
}

static void drop_task(struct bus *bus, struct task_turn *turn)
{
    struct bus_task done = turn->task;
    struct task_turn *last = &bus->tasks[--bus->task_count];
    for (; turn < last; turn++)
        *turn = turn[1];
    (void)pthread_mutex_unlock(&bus->mutex);
    done.release(done.context);
    (void)pthread_mutex_lock(&bus->mutex);
}

// Others only add behind the last one, so `turn` stays where it is while the mutex is free.
void bus_run_task(struct bus *bus, struct task_turn *turn, int64_t now_ms)
{
    const struct bus_task *task = &turn->task;
    (void)pthread_mutex_unlock(&bus->mutex);
    struct wire *wire = bus_open_link(bus, false) ? bus->wire : NULL;
    int64_t at_ms = task->step(task->context, wire, now_ms);
    live_link(bus->settings.live, bus->settings.config, bus->settings.link, &bus->counters);
    (void)pthread_mutex_lock(&bus->mutex);
    if (at_ms < 0)
        drop_task(bus, turn);
    else
        turn->at_ms = at_ms > now_ms ? at_ms : clock_boot_ms(bus->settings.clock);
}

void bus_release_tasks(struct bus *bus)
{
    while (bus->task_count > 0)
        drop_task(bus, &bus->tasks[0]);
}
