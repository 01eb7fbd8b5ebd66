// The health of the links: for a technician, and for Prometheus.
#include "base/file.h"
#include "control/command.h"
#include "gateway.h"

#include <openssl/crypto.h>
#include <string.h>

#define TOKEN_LEAST 16
#define TOKEN_MOST 128

int command_bus(struct command_context *context, const struct principal *who,
                const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *link = NULL;
    int fault = command_unpack(context, arguments, err, "{s:s !}", "link", &link);
    if (fault != 0 || (fault = command_need_gateway(context, err)) != 0)
        return fault;
    return gateway_bus_print(context->gateway, link, result, err) == 0 ? COMMAND_DONE
                                                                       : COMMAND_FAILED;
}

// Prometheus has no session: it brings the token that the configuration names.
static int check_token(const struct command_context *context, const char *token, struct err *err)
{
    char right[TOKEN_MOST + 1] = "";
    struct config *config = gateway_config(context->gateway);
    int result = -1;
    if (config->web_metrics_token_file[0] == '\0')
        (void)err_set(err, "nobody may read the metrics: name web.metrics_token_file");
    else if (file_read_secret(config->web_metrics_token_file, "web.metrics_token_file", right,
                              sizeof right, err) != 0)
        result = -1;
    else if (strlen(right) < TOKEN_LEAST)
        (void)err_set(err, "web.metrics_token_file holds less than %d characters", TOKEN_LEAST);
    else if (token == NULL || strlen(token) != strlen(right) ||
             CRYPTO_memcmp(token, right, strlen(right)) != 0)
        (void)err_set(err, "wrong token");
    else
        result = 0;
    OPENSSL_cleanse(right, sizeof right);
    config_unref(config);
    return result;
}

int command_metrics(struct command_context *context, const struct principal *who,
                    const json_t *arguments, struct writer *result, struct err *err)
{
    const char *token = NULL;
    int fault = command_unpack(context, arguments, err, "{s?s !}", "token", &token);
    if (fault != 0 || (fault = command_need_gateway(context, err)) != 0)
        return fault;
    if (who->role < ROLE_VIEWER && check_token(context, token, err) != 0)
        return COMMAND_DENIED;
    struct buf text;
    buf_init(&text, GATEWAY_METRICS_MAX);
    gateway_metrics_print(context->gateway, &text);
    int status = COMMAND_DONE;
    if (text.failed || text.data == NULL) {
        (void)err_set(err, "the metrics need more than %d bytes", GATEWAY_METRICS_MAX);
        status = COMMAND_FAILED;
    } else {
        writer_object(result);
        writer_key_text(result, "text", text.data);
        writer_end(result);
    }
    buf_release(&text);
    return status;
}
