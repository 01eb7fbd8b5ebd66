#include "control/password.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SALT_BYTES 16
#define HASH_BYTES 32
#define SALT_HEX (2 * SALT_BYTES + 1)
#define HASH_HEX (2 * HASH_BYTES + 1)
#define LINE_BYTES_MAX (SALT_HEX + 2 * PASSWORD_BYTES_MAX + 64)
#define HELPER_LIMIT_MS 30000 // a hash takes 0.3 s; a busy small machine is ten times slower

struct cost {
    unsigned n, r, p;
};
// OWASP's equivalent of N=2^17, r=8, p=1 at a third of the memory.
static const struct cost cost_now = {32768, 8, 3};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; // one hash at a time

int password_check(const char *password, struct err *err)
{
    size_t characters = 0;
    for (const char *at = password; *at != '\0'; at++)
        characters += ((unsigned char)*at & 0xC0) != 0x80;
    if (characters < PASSWORD_CHARACTERS_MIN) {
        return err_set(err,
                       "the password has %zu characters, it needs at least %d; a sentence is easy "
                       "to remember",
                       characters, PASSWORD_CHARACTERS_MIN);
    }
    if (characters > PASSWORD_CHARACTERS_MAX || strlen(password) > PASSWORD_BYTES_MAX)
        return err_set(err, "the password is longer than %d characters", PASSWORD_CHARACTERS_MAX);
    return 0;
}

const char *password_nobody(void)
{
    return "scrypt$32768$8$3$00000000000000000000000000000000$"
           "0000000000000000000000000000000000000000000000000000000000000000";
}

static void to_hex(const unsigned char *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = '\0';
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

// Bytes of a hex text; -1 when it is not one or does not fit.
static int from_hex(const char *text, unsigned char *bytes, size_t size, size_t *length)
{
    size_t digits = strlen(text);
    if (digits % 2 != 0 || digits / 2 > size)
        return -1;
    for (size_t i = 0; i < digits / 2; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    *length = digits / 2;
    return 0;
}

static int derive(const struct cost *cost, unsigned char *salt, size_t salt_length,
                  unsigned char *password, size_t password_length, unsigned char *hash)
{
    uint64_t n = cost->n;
    uint32_t r = cost->r;
    uint32_t p = cost->p;
    uint64_t memory_max = 256 * 1024 * 1024;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, password, password_length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, salt_length),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_max),
        OSSL_PARAM_construct_end()};
    bool done = context != NULL && EVP_KDF_derive(context, hash, HASH_BYTES, parameters) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return done ? 0 : -1;
}

int hash_main(int argc, char **argv)
{
    (void)argv;
    char line[LINE_BYTES_MAX];
    struct cost cost;
    char salt_hex[SALT_HEX];
    char password_hex[2 * PASSWORD_BYTES_MAX + 1];
    unsigned char salt[SALT_BYTES];
    unsigned char password[PASSWORD_BYTES_MAX];
    unsigned char hash[HASH_BYTES];
    size_t salt_length = 0;
    size_t password_length = 0;
    if (argc != 1 || fgets(line, sizeof line, stdin) == NULL ||
        sscanf(line, "%6u %2u %2u %32s %1024s", &cost.n, &cost.r, &cost.p, salt_hex,
               password_hex) != 5 ||
        from_hex(salt_hex, salt, sizeof salt, &salt_length) != 0 ||
        from_hex(password_hex, password, sizeof password, &password_length) != 0) {
        fputs("metergate hash: a helper of the gateway, not for use by hand\n", stderr);
        return 2;
    }
    if (derive(&cost, salt, salt_length, password, password_length, hash) != 0)
        return 1;
    char text[HASH_HEX];
    to_hex(hash, sizeof hash, text);
    return puts(text) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Starts the helper with one end of a socket pair as its stdin and stdout.
static int spawn_helper(int fd, pid_t *pid, struct err *err)
{
    char *const arguments[] = {(char[]){"metergate"}, (char[]){"hash"}, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    (void)sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions) != 0 || posix_spawnattr_init(&attributes) != 0)
        return err_set(err, "not enough memory to check a password");
    (void)posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    int why = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (why != 0)
        return err_set(err, "the helper that checks passwords does not start: %s", strerror(why));
    return 0;
}

// Reads the helper's one line until its deadline. -1 when it did not come whole.
static int read_line(int fd, char *line, size_t size)
{
    int64_t until_ms = now_ms() + HELPER_LIMIT_MS;
    size_t have = 0;
    while (have < size) {
        int64_t left_ms = until_ms - now_ms();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (left_ms <= 0)
            return -1;
        if (poll(&wait, 1, (int)left_ms) <= 0)
            continue; // interrupted, or the loop ends above
        ssize_t got = recv(fd, line + have, size - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        have += (size_t)got;
        if (line[have - 1] == '\n') {
            line[have - 1] = '\0';
            return 0;
        }
    }
    return -1;
}

// Sends the order to the helper and takes its answer.
static int ask_helper(const char *order, size_t length, char hash[static HASH_HEX], struct err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set(err, "a password cannot be checked: %s", strerror(errno));
    pid_t pid = 0;
    int result = spawn_helper(ends[1], &pid, err);
    (void)close(ends[1]);
    if (result == 0) {
        char line[HASH_HEX];
        // The order is far shorter than a socket's buffer: one send takes it whole.
        if (send(ends[0], order, length, MSG_NOSIGNAL) != (ssize_t)length ||
            read_line(ends[0], line, sizeof line) != 0 || strlen(line) != HASH_HEX - 1) {
            (void)kill(pid, SIGKILL);
            result = err_set(err, "the helper that checks passwords gave no answer; is there "
                                  "enough memory (it needs 40 MB)?");
        } else {
            memcpy(hash, line, HASH_HEX);
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
    return result;
}

static int compute(const struct cost *cost, const char *salt_hex, const char *password,
                   char hash[static HASH_HEX], struct err *err)
{
    char password_hex[2 * PASSWORD_BYTES_MAX + 1];
    char order[LINE_BYTES_MAX];
    size_t bytes = strlen(password);
    if (bytes == 0 || bytes > PASSWORD_BYTES_MAX)
        return err_set(err, "the password is empty or too long");
    to_hex((const unsigned char *)password, bytes, password_hex);
    int length = snprintf(order, sizeof order, "%u %u %u %s %s\n", cost->n, cost->r, cost->p,
                          salt_hex, password_hex);
    (void)pthread_mutex_lock(&turn);
    int result = ask_helper(order, (size_t)length, hash, err);
    (void)pthread_mutex_unlock(&turn);
    OPENSSL_cleanse(password_hex, sizeof password_hex);
    OPENSSL_cleanse(order, sizeof order);
    return result;
}

int password_hash(const char *password, char hash[static PASSWORD_HASH_SIZE], struct err *err)
{
    unsigned char salt[SALT_BYTES];
    char salt_hex[SALT_HEX];
    char hash_hex[HASH_HEX];
    if (RAND_bytes(salt, sizeof salt) != 1)
        return err_set(err, "the machine gives no random numbers");
    to_hex(salt, sizeof salt, salt_hex);
    if (compute(&cost_now, salt_hex, password, hash_hex, err) != 0)
        return -1;
    (void)snprintf(hash, PASSWORD_HASH_SIZE, "scrypt$%u$%u$%u$%s$%s", cost_now.n, cost_now.r,
                   cost_now.p, salt_hex, hash_hex);
    return 0;
}

int password_verify(const char *hash, const char *password, struct err *err)
{
    struct cost cost;
    char salt_hex[SALT_HEX];
    char wanted[HASH_HEX];
    char got[HASH_HEX];
    int end = 0;
    if (sscanf(hash, "scrypt$%6u$%2u$%2u$%32[0-9a-f]$%64[0-9a-f]%n", &cost.n, &cost.r, &cost.p,
               salt_hex, wanted, &end) != 5 ||
        hash[end] != '\0' || strlen(wanted) != HASH_HEX - 1) {
        return err_set(err, "the stored password is damaged: set a new one with 'metergate user "
                            "passwd'");
    }
    if (compute(&cost, salt_hex, password, got, err) != 0)
        return -1;
    return CRYPTO_memcmp(wanted, got, HASH_HEX) == 0 ? 1 : 0;
}
