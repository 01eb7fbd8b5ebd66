// The TLS towards the broker: what works, and every way in which it must not, each with its reason.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office_rig.h"

#include "../support/authority.h"
#include "../support/child.h"
#include "base/file.h"
#include "office/tls.h"

#include <signal.h>

#define DAY 86400L

static char files[64]; // folder of certificates and logs
static struct rig rig;

static const char *in_files(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", files, name);
    return path;
}

// A certificate whose writing was interrupted.
static int write_half(void)
{
    static const char text[] = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIB\n";
    int fd = open(in_files("half.pem"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1;
    return fd >= 0 && close(fd) == 0 && good ? 0 : -1;
}

static int make_files(void **state)
{
    (void)state;
    strcpy(files, "/tmp/metergate-tls-XXXXXX");
    if (mkdtemp(files) == NULL)
        return -1;
    struct authority *ours = authority_new(files, "ca");
    struct authority *other = authority_new(files, "other-ca");
    static const char here[] = "DNS:localhost,IP:127.0.0.1";
    authority_sign(ours, files, "broker", here, -DAY, DAY);
    authority_sign(ours, files, "elsewhere", "DNS:mqtt.example.com", -DAY, DAY);
    authority_sign(ours, files, "expired", here, -2 * DAY, -DAY);
    authority_sign(ours, files, "early", here, DAY, 2 * DAY);
    authority_sign(NULL, files, "self", here, -DAY, DAY);
    authority_sign(ours, files, "gateway", "DNS:site-042", -DAY, DAY);
    authority_sign(other, files, "stranger", "DNS:site-042", -DAY, DAY);
    authority_sign(ours, files, "renewed", here, -DAY, 2 * DAY);
    authority_sign(other, files, "moved", here, -DAY, DAY);
    authority_sign(ours, files, "gateway2", "DNS:site-042", -DAY, 2 * DAY);
    authority_sign_rsa(ours, files, "weak", here, 1024);
    authority_sign_rsa(ours, files, "weak-gateway", "DNS:site-042", 1024);
    if (write_half() != 0)
        return -1;
    authority_free(ours);
    authority_free(other);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", files);
    return folder_remove(state);
}

static void set_path(char *field, const char *name)
{
    (void)snprintf(field, CONFIG_PATH_MAX, "%s", name[0] != '\0' ? in_files(name) : "");
}

static void open_with(const char *host, int port, const char *ca, const char *certificate,
                      const char *key)
{
    char url[128];
    (void)snprintf(url, sizeof url, "mqtts://%s:%d", host, port);
    rig_open(&rig, url);
    set_path(rig_config.office.ca, ca);
    set_path(rig_config.office.certificate, certificate);
    set_path(rig_config.office.key, key);
}

static pid_t tls_broker(int port, const char *name, bool wants_certificate)
{
    char lines[1024];
    (void)snprintf(lines, sizeof lines,
                   "cafile %s\ncertfile %s/%s.pem\nkeyfile %s/%s.key\nciphers %s\n%s",
                   in_files("ca.pem"), files, name, files, name,
                   "DEFAULT:@SECLEVEL=0", // it would take no weak key of its own
                   wants_certificate ? "require_certificate true\n" : "");
    return mosquitto_start(files, port, lines);
}

// By name and by address, with a client certificate; 0x10 is seen through TLS.
static void test_works(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    int port = port_free();
    pid_t broker = tls_broker(port, "broker", true);
    for (int i = 0; i < 2; i++) {
        open_with(hosts[i], port, "ca.pem", "gateway.pem", "gateway.key");
        rig_fill(&rig, LANE_LIVE, 300);
        rig_start(&rig);
        rig_wait(rig_state(&rig) == OFFICE_NO_SUBSCRIBER, 20);
        assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
        office_stop(rig.office);
        rig_config.office.accept_unsubscribed = true;
        rig_start(&rig);
        rig_wait(rig_acknowledged(LANE_LIVE) == 300, 20);
        struct office_status status;
        office_status(rig.office, &status);
        assert_true(status.version5);
        rig_close(&rig);
    }
    child_stop(broker, SIGTERM);
}

struct row {
    const char *what;
    const char *broker; // its certificate; "tls1.1", "plain", "nobody": other servers
    const char *ca, *certificate, *key;
    const char *host;
    const char *reason; // must be in the error
};
static const struct row rows[] = {
    {"another CA", "broker", "other-ca.pem", "gateway.pem", "gateway.key", "localhost",
     "unknown CA"},
    {"wrong host name", "elsewhere", "ca.pem", "gateway.pem", "gateway.key", "localhost",
     "is for mqtt.example.com, not for localhost"},
    {"wrong address", "elsewhere", "ca.pem", "gateway.pem", "gateway.key", "127.0.0.1",
     "is for mqtt.example.com, not for 127.0.0.1"},
    {"expired", "expired", "ca.pem", "gateway.pem", "gateway.key", "localhost", "expired on"},
    {"not yet valid", "early", "ca.pem", "gateway.pem", "gateway.key", "localhost",
     "valid only from"},
    {"self-signed", "self", "ca.pem", "gateway.pem", "gateway.key", "localhost", "self-signed"},
    {"no client certificate", "broker", "ca.pem", "", "", "localhost", "client certificate"},
    {"a stranger's certificate", "broker", "ca.pem", "stranger.pem", "stranger.key", "localhost",
     "refuses the client certificate"},
    {"a key of 1024 bits", "weak", "ca.pem", "gateway.pem", "gateway.key", "localhost",
     "is too weak: the broker needs a new one"},
    {"TLS 1.1", "tls1.1", "ca.pem", "gateway.pem", "gateway.key", "localhost", "no TLS 1.2"},
    {"no TLS", "plain", "ca.pem", "gateway.pem", "gateway.key", "localhost",
     "during the TLS handshake"},
    {"nobody there", "nobody", "ca.pem", "gateway.pem", "gateway.key", "localhost",
     "refuses the connection"},
    {"no such name", "nobody", "ca.pem", "gateway.pem", "gateway.key", "no-such-host.invalid",
     "no-such-host.invalid is not known"},
};

static pid_t start_server(const struct row *row, int port)
{
    char text[16];
    if (strcmp(row->broker, "nobody") == 0)
        return 0;
    if (strcmp(row->broker, "plain") == 0)
        return mosquitto_start(files, port, "");
    if (strcmp(row->broker, "tls1.1") != 0)
        return tls_broker(port, row->broker, true);
    (void)snprintf(text, sizeof text, "%d", port);
    char certificate[128];
    char key[128];
    (void)snprintf(certificate, sizeof certificate, "%s", in_files("broker.pem"));
    (void)snprintf(key, sizeof key, "%s", in_files("broker.key"));
    char *argv[] = {"/usr/bin/openssl",
                    "s_server",
                    "-quiet",
                    "-accept",
                    text,
                    "-cert",
                    certificate,
                    "-key",
                    key,
                    "-tls1_1",
                    "-cipher",
                    "ALL:@SECLEVEL=0",
                    NULL};
    pid_t server = child_start(in_files("s_server.log"), argv);
    port_wait(port, 10);
    return server;
}

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        int port = port_free();
        pid_t server = start_server(row, port);
        open_with(row->host, port, row->ca, row->certificate, row->key);
        rig_config.office.accept_unsubscribed = true;
        rig_fill(&rig, LANE_LIVE, 1);
        rig_start(&rig);
        rig_wait(rig_error(&rig)[0] != '\0', 30);
        if (strstr(rig_error(&rig), row->reason) == NULL)
            fail_msg("%s: the reason given is '%s'", row->what, rig_error(&rig));
        rig_wait(rig_state(&rig) != OFFICE_CONNECTING, 30);
        assert_int_equal(rig_state(&rig), OFFICE_OFFLINE);
        assert_int_equal(rig_acknowledged(LANE_LIVE), 0);
        assert_false(rig_live());
        rig_close(&rig);
        child_stop(server, SIGTERM);
    }
}

// --- certificates that change while the office runs ---

static void copy_file(const char *from, const char *to)
{
    struct buf text;
    struct err err = {.text = ""};
    char path[128];
    buf_init(&text, 1024 * 1024);
    if (file_read(in_files(from), &text, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(path, sizeof path, "%s", in_files(to));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.data, text.length), text.length);
    (void)close(fd);
    buf_release(&text);
}

static const struct rotation {
    const char *what;
    const char *broker;                 // its certificate from now on
    const char *ca, *certificate, *key; // what lies in the configured files from now on
    const char *reason;                 // "": it goes on
} rotations[] = {
    {"renewed", "renewed", "ca.pem", "gateway.pem", "gateway.key", ""},
    {"of another CA", "moved", "ca.pem", "gateway.pem", "gateway.key", "unknown CA"},
    {"the CA file follows", "moved", "other-ca.pem", "gateway.pem", "gateway.key", ""},
    {"expired", "expired", "ca.pem", "gateway.pem", "gateway.key", "expired on"},
    {"our certificate is half written", "broker", "ca.pem", "half.pem", "gateway.key",
     "office.certificate"},
    {"another key than the certificate's", "broker", "ca.pem", "gateway.pem", "stranger.key",
     "does not belong"},
    {"our CA file is gone", "broker", "", "gateway.pem", "gateway.key", "office.ca"},
    {"our own renewed", "broker", "ca.pem", "gateway2.pem", "gateway2.key", ""},
};

static void install(const struct rotation *rotation)
{
    if (rotation->ca[0] != '\0')
        copy_file(rotation->ca, "now-ca.pem");
    else
        assert_int_equal(unlink(in_files("now-ca.pem")), 0);
    copy_file(rotation->certificate, "now.pem");
    copy_file(rotation->key, "now.key");
}

// Each connection reads the files anew: a rotation needs no restart of the gateway. A broker of
// either CA takes our certificate here, so that each row has one reason alone.
static void test_rotation(void **state)
{
    (void)state;
    int port = port_free();
    install(&rotations[0]);
    pid_t broker = tls_broker(port, "broker", false);
    open_with("localhost", port, "now-ca.pem", "now.pem", "now.key");
    rig_config.office.accept_unsubscribed = true;
    rig_fill(&rig, LANE_LIVE, 20);
    rig_start(&rig);
    rig_wait(rig_acknowledged(LANE_LIVE) == 20, 20);
    int64_t taken = 20;
    for (size_t i = 0; i < sizeof rotations / sizeof rotations[0]; i++) {
        const struct rotation *rotation = &rotations[i];
        child_stop(broker, SIGTERM);
        rig_wait(rig_state(&rig) == OFFICE_OFFLINE, 20);
        install(rotation);
        broker = tls_broker(port, rotation->broker, false);
        rig_fill(&rig, LANE_LIVE, 20);
        (void)atomic_fetch_add(&rig_ahead_ms, 600000); // whatever the back-off
        office_wake(rig.office);
        if (rotation->reason[0] == '\0') {
            taken = rig.periods;
            rig_wait(rig_acknowledged(LANE_LIVE) == taken, 30);
            continue;
        }
        rig_wait(strstr(rig_error(&rig), rotation->reason) != NULL, 30);
        assert_int_equal(rig_acknowledged(LANE_LIVE), taken);
    }
    assert_int_equal(rig_acknowledged(LANE_LIVE), rig.periods);
    rig_close(&rig);
    child_stop(broker, SIGTERM);
}

static void write_text(const char *name, const char *text, mode_t mode)
{
    int fd = open(in_files(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void check_refused(const struct config_office *office, const char *reason)
{
    char password[PASSWORD_MAX];
    struct err err = {.text = ""};
    assert_int_equal(tls_check_files(office, password, &err), -1);
    if (strstr(err.text, reason) == NULL)
        fail_msg("'%s' does not name '%s'", err.text, reason);
}

// What can be seen without the network is seen at start.
static void test_files(void **state)
{
    (void)state;
    char password[PASSWORD_MAX];
    struct err err = {.text = ""};
    struct config_office good = {.url = "mqtts://localhost:8883"};
    set_path(good.ca, "ca.pem");
    set_path(good.certificate, "gateway.pem");
    set_path(good.key, "gateway.key");
    assert_int_equal(tls_check_files(&good, password, &err), 0);
    assert_string_equal(password, "");
    write_text("password", "secret\r\n", 0600);
    set_path(good.password_file, "password");
    assert_int_equal(tls_check_files(&good, password, &err), 0);
    assert_string_equal(password, "secret");

    struct config_office bad = good;
    write_text("shared", "secret\n", 0640);
    set_path(bad.password_file, "shared");
    check_refused(&bad, "chmod 600");
    bad = good;
    set_path(bad.password_file, "none");
    check_refused(&bad, "password_file");
    bad = good;
    set_path(bad.key, "stranger.key");
    check_refused(&bad, "does not belong to the certificate");
    bad = good;
    set_path(bad.certificate, "weak-gateway.pem");
    set_path(bad.key, "weak-gateway.key");
    check_refused(&bad, "weak-gateway.pem is too weak");
    bad = good;
    set_path(bad.key, "none");
    check_refused(&bad, "office.key");
    bad = good;
    set_path(bad.certificate, "");
    check_refused(&bad, "office.certificate is not");
    bad = good;
    write_text("garbage", "-----BEGIN CERTIFICATE-----\nnonsense\n", 0600);
    set_path(bad.certificate, "garbage");
    check_refused(&bad, "office.certificate");
    bad = good;
    set_path(bad.ca, "garbage");
    check_refused(&bad, "office.ca");
    bad = good;
    set_path(bad.ca, "");
    check_refused(&bad, "office.ca is not set");
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
        bool tls;
    } good[] = {
        {"mqtts://mqtt.example.com:8883", "mqtt.example.com", 8883, true},
        {"mqtts://mqtt.example.com", "mqtt.example.com", 8883, true},
        {"mqtts://[2001:db8::1]:1", "2001:db8::1", 1, true},
        {"mqtt://localhost", "localhost", 1883, false},
        {"mqtt://127.0.0.2:65535", "127.0.0.2", 65535, false},
        {"mqtt://[::1]", "::1", 1883, false},
    };
    static const char *const bad[] = {"",
                                      "mqtts://",
                                      "mqtts://:8883",
                                      "http://localhost",
                                      "mqtts://host:0",
                                      "mqtts://host:65536",
                                      "mqtts://host:x",
                                      "mqtts://host:",
                                      "mqtts://user@host",
                                      "mqtts://host/path",
                                      "mqtts://[::1",
                                      "mqtt://mqtt.example.com",
                                      "mqtt://localhost.example.com",
                                      "mqtt://128.0.0.1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct broker_url url;
        struct err err = {.text = ""};
        assert_int_equal(broker_url_parse(good[i].text, &url, &err), 0);
        assert_string_equal(url.host, good[i].host);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.tls, good[i].tls);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct broker_url url;
        struct err err = {.text = ""};
        if (broker_url_parse(bad[i], &url, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(err.text, "office.url"));
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    random_start("test_office_tls");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),     cmocka_unit_test(test_files),
        cmocka_unit_test(test_works),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rotation),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
