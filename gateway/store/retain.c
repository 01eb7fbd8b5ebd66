// Retention: what is old and need not be sent any more.
#include "store/store.h"

int store_retain(struct store *store, int64_t before_ms, int max, struct err *err)
{
    return store_reading_retain(store, before_ms, max, err);
}
