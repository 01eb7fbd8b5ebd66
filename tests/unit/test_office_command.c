#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64url.h"
#include "office/command_message.h"

#include "property.h"

#include <string.h>
#include <unistd.h>

#define NOW INT64_C(1795420800000) // 2026-11-23T08:00:00Z
#define MUTATIONS 10000
#define TEXT_MAX (64 * 1024)

static const char good_body[] =
    "{\"gateway\":\"site-042\",\"name\":\"resend\",\"counter\":1795420800001,"
    "\"expires\":\"2026-11-23T08:05:00Z\",\"arguments\":{\"lane\":\"live\",\"first\":1,"
    "\"last\":9}}";

static struct command_key key; // as the gateway has it
static EVP_PKEY *private_key;  // as head office has it
static struct err failure;     // of the calls below
static struct command_message got;

static int make_key(void **state)
{
    (void)state;
    private_key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    key.key = private_key;
    return private_key == NULL ? -1 : 0;
}

static int drop_key(void **state)
{
    (void)state;
    EVP_PKEY_free(private_key);
    return 0;
}

static void sign(const void *body, size_t length, uint8_t signature[static COMMAND_SIGNATURE_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = COMMAND_SIGNATURE_SIZE;
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, private_key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &size, body, length), 1);
    EVP_MD_CTX_free(context);
}

// The whole message; the caller releases it.
static struct buf message_of(const void *body, size_t length)
{
    uint8_t signature[COMMAND_SIGNATURE_SIZE];
    struct buf text;
    buf_init(&text, TEXT_MAX);
    sign(body, length, signature);
    buf_add_text(&text, "{\"schema\":\"command/1\",\"body\":\"");
    base64url_add(&text, body, length);
    buf_add_text(&text, "\",\"signature\":\"");
    base64url_add(&text, signature, sizeof signature);
    buf_add_text(&text, "\"}");
    assert_false(text.failed);
    return text;
}

static enum command_refusal read_text(const char *text, const struct command_key *with)
{
    enum command_refusal refusal =
        command_message_read(text, strlen(text), "resend", with, &got, &failure);
    command_message_release(&got);
    return refusal;
}

// What becomes of a body that is signed as it should be.
static enum command_refusal read_signed(const char *body)
{
    struct buf text = message_of(body, strlen(body));
    enum command_refusal refusal = read_text(text.data, &key);
    assert_true(got.authentic || refusal == REJECT_OVERSIZED);
    buf_release(&text);
    return refusal;
}

static void test_whole_message(void **state)
{
    (void)state;
    struct buf text = message_of(good_body, strlen(good_body));
    assert_int_equal(command_message_read(text.data, text.length, "resend", &key, &got, &failure),
                     REJECT_NONE);
    assert_true(got.authentic);
    assert_string_equal(got.gateway, "site-042");
    assert_string_equal(got.name, "resend");
    assert_int_equal(got.counter, INT64_C(1795420800001));
    assert_int_equal(got.expires_ms, NOW + 300000);
    assert_int_equal(json_integer_value(json_object_get(got.arguments, "last")), 9);
    command_message_release(&got);
    assert_int_equal(command_message_read(text.data, text.length, "status", &key, &got, &failure),
                     REJECT_MALFORMED);
    buf_release(&text);
}

// RFC 8032, section 7.1, test 2: signed by somebody else's program.
static void test_signature_of_the_standard(void **state)
{
    (void)state;
    static const uint8_t public_bytes[] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a,
                                           0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
                                           0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c,
                                           0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
    static const char right[] =
        "{\"schema\":\"command/1\",\"body\":\"cg\",\"signature\":\"kqAJqfDUyrhyDoILX2QlQKKye1QWUD-P"
        "s3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA\"}";
    static const char wrong[] =
        "{\"schema\":\"command/1\",\"body\":\"cw\",\"signature\":\"kqAJqfDUyrhyDoILX2QlQKKye1QWUD-P"
        "s3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA\"}";
    struct command_key of_standard = {
        .key =
            EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_bytes, sizeof public_bytes)};
    assert_int_equal(read_text(right, &of_standard), REJECT_MALFORMED); // "r" is no JSON object
    assert_true(got.authentic);
    assert_int_equal(read_text(wrong, &of_standard), REJECT_UNSIGNED);
    assert_false(got.authentic);
    command_key_release(&of_standard);
}

static void test_envelopes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum command_refusal refusal;
    } cases[] = {
        {"", REJECT_MALFORMED},
        {"{", REJECT_MALFORMED},
        {"[]", REJECT_MALFORMED},
        {"null", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/2\",\"body\":\"e30\",\"signature\":\"AA\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"body\":\"e30\"}", REJECT_UNSIGNED},
        {"{\"schema\":\"command/1\",\"body\":\"e30\",\"signature\":\"\"}", REJECT_UNSIGNED},
        {"{\"schema\":\"command/1\",\"body\":\"e30\",\"signature\":\"AA\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"body\":\"e3+\",\"signature\":\"AA\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"body\":\"\",\"signature\":\"AA\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"body\":7,\"signature\":\"AA\"}", REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"body\":\"e30\",\"signature\":\"AA\",\"x\":1}",
         REJECT_MALFORMED},
        {"{\"schema\":\"command/1\",\"schema\":\"command/"
         "1\",\"body\":\"e30\",\"signature\":\"AA\"}",
         REJECT_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (read_text(cases[i].text, &key) != cases[i].refusal)
            fail_msg("%s: %s", cases[i].text, failure.text);
        assert_false(got.authentic);
    }
    const struct command_key none = {.key = NULL};
    struct buf text = message_of(good_body, strlen(good_body));
    assert_int_equal(read_text(text.data, &none), REJECT_NO_KEY);
    buf_release(&text);
}

static void test_oversized_and_deep(void **state)
{
    (void)state;
    char *text = malloc(COMMAND_PAYLOAD_MAX + 2);
    memset(text, '[', COMMAND_PAYLOAD_MAX + 1);
    text[COMMAND_PAYLOAD_MAX + 1] = '\0';
    assert_int_equal(read_text(text, &key), REJECT_OVERSIZED);
    text[COMMAND_PAYLOAD_MAX] = '\0';
    assert_int_equal(read_text(text, &key), REJECT_MALFORMED);
    assert_non_null(strstr(failure.text, "nested"));
    free(text);
    assert_int_equal(
        read_signed(
            "{\"gateway\":\"a\",\"name\":\"resend\",\"counter\":1,\"expires\":"
            "\"2026-11-23T08:05:00Z\",\"arguments\":{\"a\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}}"),
        REJECT_MALFORMED);
    // Brackets within a text nest nothing.
    assert_int_equal(
        read_signed("{\"gateway\":\"a\",\"name\":\"resend\",\"counter\":1,\"expires\":"
                    "\"2026-11-23T08:05:00Z\",\"arguments\":{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[\"}}"),
        REJECT_NONE);
}

#define BODY(gateway, name, counter, expires, arguments)                                           \
    "{\"gateway\":" gateway ",\"name\":" name ",\"counter\":" counter ",\"expires\":" expires      \
    ",\"arguments\":" arguments "}"
#define GOOD_EXPIRES "\"2026-11-23T08:05:00Z\""

static void test_bodies(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        BODY("\"Site\"", "\"resend\"", "1", GOOD_EXPIRES, "{}"),
        BODY("\"gateway\"", "\"resend\"", "1", GOOD_EXPIRES, "{}"),
        BODY("7", "\"resend\"", "1", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"other\"", "1", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"\"", "1", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "0", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "-1", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "9223372036854775808", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "1e3", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "\"1\"", GOOD_EXPIRES, "{}"),
        BODY("\"a\"", "\"resend\"", "1", "\"10000-01-01T00:00:00Z\"", "{}"),
        BODY("\"a\"", "\"resend\"", "1", "\"2026-11-23\"", "{}"),
        BODY("\"a\"", "\"resend\"", "1", "\"2026-02-30T00:00:00Z\"", "{}"),
        BODY("\"a\"", "\"resend\"", "1", "1795420800000", "{}"),
        BODY("\"a\"", "\"resend\"", "1", GOOD_EXPIRES, "[]"),
        BODY("\"a\"", "\"resend\"", "1", GOOD_EXPIRES, "null"),
        BODY("\"a\"", "\"resend\"", "1", GOOD_EXPIRES, "{\"a\":1,\"a\":2}"),
        BODY("\"a\"", "\"resend\"", "1", GOOD_EXPIRES, "{},\"more\":1"),
        "{\"gateway\":\"a\",\"name\":\"resend\",\"counter\":1,\"expires\":" GOOD_EXPIRES "}",
        "not JSON",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (read_signed(wrong[i]) != REJECT_MALFORMED)
            fail_msg("%s is taken", wrong[i]);
    assert_int_equal(
        read_signed(BODY("\"a\"", "\"resend\"", "9223372036854775807", GOOD_EXPIRES, "{}")),
        REJECT_NONE);
}

static enum command_refusal judge(int64_t counter, int64_t expires_ms, bool clock_known,
                                  int64_t last)
{
    struct command_message message = {
        .gateway = "site-042", .counter = counter, .expires_ms = expires_ms};
    return command_message_judge(&message, "site-042", clock_known, NOW, last, &failure);
}

static void test_judgement(void **state)
{
    (void)state;
    assert_int_equal(judge(NOW, NOW + 1, true, NOW - 1), REJECT_NONE);
    assert_int_equal(judge(NOW, NOW + 1, true, NOW), REJECT_REPLAYED);
    assert_int_equal(judge(NOW - 1, NOW + 1, true, NOW), REJECT_REPLAYED);
    assert_int_equal(judge(NOW, NOW, true, 0), REJECT_EXPIRED);
    assert_int_equal(judge(NOW, NOW + 1, false, 0), REJECT_CLOCK);
    assert_int_equal(judge(NOW + COMMAND_AHEAD_MAX_MS, NOW + 1, true, 0), REJECT_NONE);
    assert_int_equal(judge(NOW + COMMAND_AHEAD_MAX_MS + 1, NOW + 1, true, 0), REJECT_MALFORMED);
    assert_int_equal(judge(INT64_MAX, NOW + 1, true, 0), REJECT_MALFORMED);
    struct command_message message = {.gateway = "site-043", .counter = NOW, .expires_ms = NOW + 1};
    assert_int_equal(command_message_judge(&message, "site-042", true, NOW, 0, &failure),
                     REJECT_WRONG_GATEWAY);
}

// --- mutations ---

static size_t mutate(char *text, size_t length)
{
    size_t at = (size_t)random_between(0, (int64_t)length - 1);
    switch (random_between(0, 4)) {
    case 0: text[at] = (char)random_between(0, 255); break;
    case 1: text[at] = (char)(text[at] ^ 1 << random_between(0, 7)); break;
    case 2: // one character is lost
        memmove(text + at, text + at + 1, length - at - 1);
        return length > 1 ? length - 1 : 1;
    case 3: // one comes twice
        memmove(text + at + 1, text + at, length - at);
        return length + 1;
    default: return (size_t)random_between(1, (int64_t)length); // the end is cut off
    }
    return length;
}

// Whatever becomes of a message on its way, it is taken only for what was signed.
static void test_mutated_messages(void **state)
{
    (void)state;
    struct buf text = message_of(good_body, strlen(good_body));
    uint8_t digest[COMMAND_DIGEST_SIZE];
    char *copy = malloc(text.length + 8);
    int taken = 0;
    assert_int_equal(command_message_read(text.data, text.length, "resend", &key, &got, &failure),
                     REJECT_NONE);
    memcpy(digest, got.digest, sizeof digest);
    command_message_release(&got);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(copy, text.data, text.length);
        size_t length = text.length;
        for (int64_t k = random_between(1, 3); k > 0 && length > 1; k--)
            length = mutate(copy, length);
        // A block of its own length, so that a read beyond it is found.
        char *exact = malloc(length);
        memcpy(exact, copy, length);
        enum command_refusal refusal =
            command_message_read(exact, length, "resend", &key, &got, &failure);
        if (got.authentic)
            assert_memory_equal(got.digest, digest, sizeof digest);
        if (refusal == REJECT_NONE) {
            assert_true(got.authentic);
            taken++;
        }
        command_message_release(&got);
        free(exact);
    }
    print_message("%d of %d damaged messages still carried what was signed\n", taken, MUTATIONS);
    assert_true(taken < MUTATIONS / 10);
    free(copy);
    buf_release(&text);
}

// Signed as it should be, whatever it says: what is taken has the form.
static void test_mutated_bodies(void **state)
{
    (void)state;
    char body[sizeof good_body + 8];
    int taken = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        size_t length = strlen(good_body);
        memcpy(body, good_body, length);
        for (int64_t k = random_between(1, 3); k > 0 && length > 1; k--)
            length = mutate(body, length);
        struct buf text = message_of(body, length);
        enum command_refusal refusal =
            command_message_read(text.data, text.length, "resend", &key, &got, &failure);
        assert_true(got.authentic);
        if (refusal == REJECT_NONE) {
            taken++;
            assert_string_equal(got.name, "resend");
            assert_true(id_is_valid(got.gateway));
            assert_true(got.counter > 0);
            assert_true(json_is_object(got.arguments));
        } else {
            assert_int_equal(refusal, REJECT_MALFORMED);
            assert_null(got.arguments);
        }
        command_message_release(&got);
        buf_release(&text);
    }
    print_message("%d of %d damaged bodies are still commands\n", taken, MUTATIONS);
    assert_true(taken > 0 && taken < MUTATIONS / 2);
}

// --- base64url ---

static void test_base64url(void **state)
{
    (void)state;
    static const char *const wrong[] = {"A", "AB",   "AA=",      "AAA",  "AAB=", "A===",  "AA===",
                                        "=", "====", "AA==AA==", "AAA+", "AA A", "AAAA\n"};
    uint8_t bytes[64];
    // "AB" and "AAB=" have bits beyond their last byte; "AAA" has none.
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        bool right = strcmp(wrong[i], "AAA") == 0;
        if ((base64url_read(wrong[i], strlen(wrong[i]), bytes, sizeof bytes) >= 0) != right)
            fail_msg("'%s'", wrong[i]);
    }
    assert_int_equal(base64url_read("", 0, bytes, sizeof bytes), 0);
    assert_int_equal(base64url_read("AAAA", 4, bytes, 2), -1);
    assert_int_equal(base64url_read("-_8=", 4, bytes, 2), 2);
    assert_int_equal(bytes[0], 0xFB);
    assert_int_equal(bytes[1], 0xFF);
    for (int i = 0; i < 2000; i++) {
        uint8_t in[64];
        size_t length = (size_t)random_between(0, sizeof in);
        struct buf text;
        buf_init(&text, 128);
        for (size_t k = 0; k < length; k++)
            in[k] = (uint8_t)random_u64();
        base64url_add(&text, in, length);
        assert_int_equal(text.length, (length * 4 + 2) / 3);
        assert_int_equal(
            base64url_read(text.data != NULL ? text.data : "", text.length, bytes, sizeof bytes),
            length);
        assert_memory_equal(in, bytes, length);
        buf_release(&text);
    }
}

// --- the key's file ---

static void test_key_files(void **state)
{
    (void)state;
    struct command_key loaded = {0};
    char path[] = "/tmp/metergate-key-XXXXXX";
    int file = mkstemp(path);
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n"
                              "-----END PUBLIC KEY-----\n";
    assert_int_equal(write(file, pem, sizeof pem - 1), sizeof pem - 1);
    assert_int_equal(command_key_load(path, &loaded, &failure), 0);
    assert_int_equal(strlen(loaded.id), COMMAND_KEY_ID_SIZE - 1);
    command_key_release(&loaded);
    assert_int_equal(ftruncate(file, 40), 0);
    assert_int_equal(command_key_load(path, &loaded, &failure), -1);
    assert_non_null(strstr(failure.text, "Ed25519"));
    (void)close(file);
    (void)unlink(path);
    assert_int_equal(command_key_load(path, &loaded, &failure), -1);
    assert_non_null(strstr(failure.text, "office.command_key"));
}

int main(void)
{
    random_start("test_office_command");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url),        cmocka_unit_test(test_key_files),
        cmocka_unit_test(test_whole_message),    cmocka_unit_test(test_signature_of_the_standard),
        cmocka_unit_test(test_envelopes),        cmocka_unit_test(test_oversized_and_deep),
        cmocka_unit_test(test_bodies),           cmocka_unit_test(test_judgement),
        cmocka_unit_test(test_mutated_messages), cmocka_unit_test(test_mutated_bodies),
    };
    return cmocka_run_group_tests_name("office_command", tests, make_key, drop_key);
}
