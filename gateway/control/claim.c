#include "control/claim.h"

#include "control/password.h"

#include <ctype.h>
#include <openssl/rand.h>
#include <string.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

// Groups of four with a dash between.
static void group(const char symbols[static CLAIM_SYMBOLS], char text[static CLAIM_TEXT_SIZE])
{
    size_t at = 0;
    for (size_t i = 0; i < CLAIM_SYMBOLS; i++) {
        if (i > 0 && i % 4 == 0)
            text[at++] = '-';
        text[at++] = symbols[i];
    }
    text[at] = '\0';
}

void claim_print(const unsigned char random[static CLAIM_SYMBOLS],
                 char text[static CLAIM_TEXT_SIZE])
{
    char symbols[CLAIM_SYMBOLS];
    for (size_t i = 0; i < CLAIM_SYMBOLS; i++)
        symbols[i] = alphabet[random[i] & 31];
    group(symbols, text);
}

int claim_normalize(const char *typed, char text[static CLAIM_TEXT_SIZE])
{
    char symbols[CLAIM_SYMBOLS];
    size_t count = 0;
    if (strlen(typed) > CLAIM_TYPED_MAX)
        return -1;
    for (const char *at = typed; *at != '\0'; at++) {
        if (*at == '-' || *at == ' ' || *at == '\t')
            continue;
        char symbol = (char)toupper((unsigned char)*at);
        symbol = symbol == 'O' ? '0' : symbol;
        symbol = symbol == 'I' || symbol == 'L' ? '1' : symbol;
        if (count == CLAIM_SYMBOLS || strchr(alphabet, symbol) == NULL)
            return -1;
        symbols[count++] = symbol;
    }
    if (count != CLAIM_SYMBOLS)
        return -1;
    group(symbols, text);
    return 0;
}

static bool seen(void *context, const struct account *account)
{
    (void)account;
    *(bool *)context = true;
    return false;
}

static int keep(struct store *store, void *argument, struct err *err)
{
    return store_setting_put(store, CLAIM_SETTING, argument, err);
}

int control_claim_begin(struct recorder *recorder, const char *directory,
                        char text[static CLAIM_TEXT_SIZE], struct err *err)
{
    struct store *store = NULL;
    bool claimed = false;
    if (store_open_reader(directory, &store, err) != 0)
        return -1;
    int result = store_accounts(store, seen, &claimed, err);
    store_close(store);
    if (result != 0)
        return -1;
    if (claimed) {
        text[0] = '\0';
        return 0;
    }
    unsigned char random[CLAIM_SYMBOLS];
    char code[CLAIM_TEXT_SIZE];
    char hash[PASSWORD_HASH_SIZE];
    if (RAND_bytes(random, sizeof random) != 1)
        return err_set(err, "the machine gives no random numbers");
    claim_print(random, code);
    if (password_hash(code, hash, err) != 0 || recorder_run(recorder, keep, hash, err) != 0)
        return -1;
    memcpy(text, code, sizeof code);
    return 0;
}
