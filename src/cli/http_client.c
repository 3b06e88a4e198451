// HTTP requests of the commands, several at a time, on libcurl.
#include "cli/http_client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { BODY_BYTES_MAX = 64 << 20, CONNECT_MS_MAX = 3000, ASK_EVERY_MS = 100 };

struct transfer {
    CURL *handle;
    struct curl_slist *headers;
    struct http_response *response;
    char error[CURL_ERROR_SIZE];
    bool done;
};

static char own_token[8192 + 1]; // set before the first request

void http_use_token(const char *token)
{
    (void)snprintf(own_token, sizeof(own_token), "%s", token);
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct http_response *response = context;
    if (response->body.n + size * n > BODY_BYTES_MAX) {
        return 0;
    }
    cc_buffer_append(&response->body, data, size * n);
    return size * n;
}

// start is all up to the value: "Content-Type: ".
static void add_header(struct transfer *transfer, const char *start, const char *value)
{
    struct cc_buffer line = {0};
    cc_buffer_printf(&line, "%s%s", start, value);
    transfer->headers = curl_slist_append(transfer->headers, cc_buffer_text(&line));
    cc_buffer_finish(&line);
}

static void start(struct transfer *transfer, const struct http_request *request, CURLM *multi)
{
    CURL *handle = curl_easy_init();
    transfer->handle = handle;
    curl_easy_setopt(handle, CURLOPT_URL, request->url);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, ""); // an operator's own machines: never through a proxy of the environment
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS_MAX);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer->response);
    if (request->method != NULL) {
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    }
    if (request->body.data != NULL) {
        add_header(transfer, "Content-Type: ", request->content_type);
        transfer->headers = curl_slist_append(transfer->headers, "Expect:"); // the body follows at once
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body.data);
    }
    const char *given = getenv("CAUCUS_TOKEN"); // see docs/CONFIG.md
    const char *token = given != NULL && given[0] != '\0' ? given : own_token;
    if (token[0] != '\0') {
        add_header(transfer, "Authorization: Bearer ", token);
    }
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, transfer->headers);
    curl_multi_add_handle(multi, handle);
}

static struct transfer *find(struct transfer *transfers, size_t n, const CURL *handle)
{
    for (size_t i = 0; i < n; i++) {
        if (transfers[i].handle == handle) {
            return &transfers[i];
        }
    }
    return NULL;
}

static void take_done(CURLM *multi, struct transfer *transfers, size_t n)
{
    int n_left = 0;
    for (CURLMsg *message = curl_multi_info_read(multi, &n_left); message != NULL;
         message = curl_multi_info_read(multi, &n_left)) {
        struct transfer *transfer = message->msg == CURLMSG_DONE ? find(transfers, n, message->easy_handle) : NULL;
        if (transfer == NULL) {
            continue;
        }
        transfer->done = true;
        if (message->data.result == CURLE_OK) {
            curl_easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &transfer->response->status);
        } else {
            const char *why = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(message->data.result);
            (void)snprintf(transfer->response->error, sizeof(transfer->response->error), "%s", why);
        }
    }
}

void http_fetch(const struct http_request *requests, struct http_response *responses_out, size_t n,
                bool (*keep_going)(void *context), void *context)
{
    CURLM *multi = curl_multi_init();
    struct transfer *transfers = cc_alloc_array(n, sizeof(*transfers));
    for (size_t i = 0; i < n; i++) {
        responses_out[i] = (struct http_response){0};
        transfers[i].response = &responses_out[i];
        start(&transfers[i], &requests[i], multi);
    }
    int n_running = (int)n;
    while (n_running > 0 && (keep_going == NULL || keep_going(context))) {
        if (curl_multi_perform(multi, &n_running) != CURLM_OK ||
            (n_running > 0 && curl_multi_poll(multi, NULL, 0, ASK_EVERY_MS, NULL) != CURLM_OK)) {
            break;
        }
    }
    take_done(multi, transfers, n);
    for (size_t i = 0; i < n; i++) {
        if (!transfers[i].done) {
            (void)snprintf(responses_out[i].error, sizeof(responses_out[i].error), "interrupted");
        }
        curl_multi_remove_handle(multi, transfers[i].handle);
        curl_easy_cleanup(transfers[i].handle);
        curl_slist_free_all(transfers[i].headers);
    }
    free(transfers);
    curl_multi_cleanup(multi);
}

void http_response_finish(struct http_response *response)
{
    cc_buffer_finish(&response->body);
    *response = (struct http_response){0};
}

json_t *http_response_json(const struct http_response *response)
{
    if (response->body.n == 0) {
        return NULL;
    }
    return json_loadb((const char *)response->body.data, response->body.n, 0, NULL);
}

const char *http_response_problem(const struct http_response *response)
{
    static char text[2048];
    if (response->status == 0) {
        (void)snprintf(text, sizeof(text), "%s", response->error);
        return text;
    }
    json_t *json = http_response_json(response);
    const char *message = json_string_value(json_object_get(json, "message"));
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *details = json_string_value(json_object_get(json, "details"));
    const char *hint = json_string_value(json_object_get(json, "hint"));
    if (message == NULL) {
        (void)snprintf(text, sizeof(text), "HTTP status %ld", response->status);
    } else {
        (void)snprintf(text, sizeof(text), "%s (%s)%s%s%s%s", message, code == NULL ? "" : code,
                       details == NULL ? "" : "\n  ", details == NULL ? "" : details, hint == NULL ? "" : "\n  ",
                       hint == NULL ? "" : hint);
    }
    json_decref(json);
    return text;
}

void http_put_encoded(struct cc_buffer *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (isalnum(*at) || strchr("-._~", *at) != NULL) {
            cc_buffer_append(out, at, 1);
        } else {
            cc_buffer_printf(out, "%%%02X", *at);
        }
    }
}

void http_put_base(struct cc_buffer *out, const char *address)
{
    size_t n = strlen(address);
    while (n > 0 && address[n - 1] == '/') {
        n--;
    }
    if (strstr(address, "://") == NULL) {
        cc_buffer_append_text(out, "http://");
    }
    cc_buffer_append(out, address, n);
}
