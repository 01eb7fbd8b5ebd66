// What the page's process answers: its files, and /api/NAME, which goes to the control socket.
#ifndef METERGATE_WEB_PAGE_H
#define METERGATE_WEB_PAGE_H

#include "base/catalogue.h"
#include "base/err.h"
#include "web/assets.h"
#include "web/relay.h"
#include "web/visitors.h"

#define PAGE_HEAD_MAX 8192
#define PAGE_BODY_MAX 65536

#define PAGE_TEXTS_MAX (1024 * 1024)

struct page {
    struct relay *relay;
    struct visitors *visitors;
    struct buf text_bytes[LANGUAGE_COUNT];
    struct asset texts[LANGUAGE_COUNT];
};

// Makes the texts; relay and visitors are set by the owner.
int page_init(struct page *page, struct err *err);
void page_release(struct page *page);

// Callback of evhttp for every request; `context` is a struct page.
void page_answer(struct evhttp_request *request, void *context);

#endif
