#include "record/desk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct desk {
    const struct clock *clock;
    int64_t look_boot_ms; // the recorder's thread alone
    pthread_mutex_t mutex;
    int ask_count;
    struct archive_ask asks[DESK_ASKS_MAX];
    int rows_count;
    struct archive_rows *rows[DESK_ROWS_MAX];
};

struct desk *desk_new(const struct clock *clock)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (desk == NULL)
        return NULL;
    desk->clock = clock;
    (void)pthread_mutex_init(&desk->mutex, NULL);
    return desk;
}

void desk_free(struct desk *desk)
{
    if (desk == NULL)
        return;
    for (int i = 0; i < desk->rows_count; i++)
        archive_rows_free(desk->rows[i]);
    (void)pthread_mutex_destroy(&desk->mutex);
    free(desk);
}

// ---- links --------------------------------------------------------------------------------------

static int find_ask(const struct desk *desk, const char *meter)
{
    for (int i = 0; i < desk->ask_count; i++)
        if (strcmp(desk->asks[i].meter, meter) == 0)
            return i;
    return -1;
}

static bool desk_ask(void *context, const char *meter, struct archive_ask *out)
{
    struct desk *desk = context;
    (void)pthread_mutex_lock(&desk->mutex);
    int found = find_ask(desk, meter);
    if (found >= 0)
        *out = desk->asks[found];
    (void)pthread_mutex_unlock(&desk->mutex);
    return found >= 0;
}

static bool desk_deliver(void *context, struct archive_rows *rows)
{
    struct desk *desk = context;
    (void)pthread_mutex_lock(&desk->mutex);
    bool room = desk->rows_count < DESK_ROWS_MAX;
    if (room) {
        desk->rows[desk->rows_count++] = rows;
        int answered = find_ask(desk, rows->ask.meter);
        if (answered >= 0) // what comes next follows from what this one gave
            desk->asks[answered] = desk->asks[--desk->ask_count];
    }
    (void)pthread_mutex_unlock(&desk->mutex);
    return room;
}

struct archive_desk desk_interface(struct desk *desk)
{
    return (struct archive_desk){desk_ask, desk_deliver, desk};
}

// ---- the recorder -------------------------------------------------------------------------------

static struct archive_rows *first_rows(struct desk *desk)
{
    (void)pthread_mutex_lock(&desk->mutex);
    struct archive_rows *rows = desk->rows_count > 0 ? desk->rows[0] : NULL;
    (void)pthread_mutex_unlock(&desk->mutex);
    return rows;
}

static void drop_first_rows(struct desk *desk)
{
    (void)pthread_mutex_lock(&desk->mutex);
    archive_rows_free(desk->rows[0]);
    desk->rows_count--;
    for (int i = 0; i < desk->rows_count; i++)
        desk->rows[i] = desk->rows[i + 1];
    (void)pthread_mutex_unlock(&desk->mutex);
}

// An answer that came meanwhile is judged before its meter is asked again.
static void put_asks(struct desk *desk, const struct archive_ask *asks, int count)
{
    (void)pthread_mutex_lock(&desk->mutex);
    desk->ask_count = 0;
    for (int i = 0; i < count; i++) {
        bool answered = false;
        for (int k = 0; k < desk->rows_count; k++)
            answered = answered || strcmp(desk->rows[k]->ask.meter, asks[i].meter) == 0;
        if (!answered)
            desk->asks[desk->ask_count++] = asks[i];
    }
    (void)pthread_mutex_unlock(&desk->mutex);
}

void desk_work(struct desk *desk, struct round *round)
{
    struct archive_ask asks[DESK_ASKS_MAX];
    struct archive_rows *rows = first_rows(desk);
    bool looked = rows != NULL;
    while (rows != NULL && round_backfill(round, rows)) {
        drop_first_rows(desk);
        rows = first_rows(desk);
    }
    int64_t now_ms = clock_boot_ms(desk->clock);
    if (!looked && now_ms < desk->look_boot_ms)
        return;
    desk->look_boot_ms = now_ms + DESK_LOOK_MS;
    put_asks(desk, asks, round_asks(round, asks, DESK_ASKS_MAX));
}
