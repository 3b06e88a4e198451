// libcaucus: one call, several attempts at several replicas.
#include "caucus.h"

#include <assert.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

enum {
    TIMEOUT_MS = 15000,
    ATTEMPT_MS = 5000,
    CONNECT_MS = 1000,
    RESPONSE_BYTES_MAX = 64 << 20,
    SESSION_BYTES_MAX = 8192,
    URLS_MAX = 64,
    PAUSE_FIRST_MS = 20, // between two rounds over all replicas; doubles
    PAUSE_MS_MAX = 1000,
};

struct text { // grows; always NUL-terminated once something was added
    char *data;
    size_t n, capacity;
};

struct caucus {
    char **urls;
    size_t n_urls;
    size_t now; // the replica that answered last: tried first
    uint32_t timeout_ms, attempt_ms, connect_ms;
    size_t response_bytes_max;
    char *authorization; // header line or NULL
    char *session;
    CURL *curl;
};

// What one attempt says about the request.
enum verdict {
    VERDICT_FINAL,        // this is the answer
    VERDICT_NOT_EXECUTED, // certainly not executed here: another replica may be asked
    VERDICT_UNKNOWN,      // may have been executed: only the same key may be sent again
    VERDICT_RUNNING,      // an earlier attempt with this key is still under way
    VERDICT_TOO_LARGE,    // the answer exceeds response_bytes_max
};

struct attempt { // the answer as it arrives
    const struct caucus *client;
    struct text body, session, content_range;
    long status;
    bool has_retry_after;
    bool is_too_large;
    char error[CURL_ERROR_SIZE];
};

struct call { // one caucus_send
    struct caucus *client;
    const struct caucus_request *request;
    struct caucus_response *response;
    struct curl_slist *headers;
    bool is_write;
    bool may_have_happened; // some attempt has an unknown outcome
    uint64_t deadline_ms;
    struct text troubles; // what went wrong where, for the last message
};

// --- memory and text; a client without memory cannot go on

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static char *copy_text(const char *text)
{
    return must(strdup(text == NULL ? "" : text));
}

static void text_add(struct text *text, const char *data, size_t n)
{
    if (text->n + n + 1 > text->capacity) {
        text->capacity = (text->n + n + 1) * 2;
        text->data = must(realloc(text->data, text->capacity));
    }
    memcpy(text->data + text->n, data, n);
    text->n += n;
    text->data[text->n] = '\0';
}

static void text_set(struct text *text, const char *data, size_t n)
{
    text->n = 0;
    text_add(text, data, n);
}

static void text_finish(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

// Gives the text away, never NULL.
static char *text_take(struct text *text)
{
    char *data = text->data != NULL ? text->data : copy_text("");
    *text = (struct text){0};
    return data;
}

static bool is_printable(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(uint64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static bool random_bytes(void *out, size_t n)
{
    return getrandom(out, n, 0) == (ssize_t)n;
}

// A random UUID (RFC 9562, version 4). False: the system has no randomness.
static bool make_key(char out[64])
{
    uint8_t b[16];
    if (!random_bytes(b, sizeof(b))) {
        return false;
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 64, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return true;
}

// --- the client

static struct caucus *open_failed(char *message_out, const char *message)
{
    if (message_out != NULL) {
        snprintf(message_out, 256, "%s", message);
    }
    return NULL;
}

static bool is_url(const char *url)
{
    bool has_scheme = url != NULL && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
    return has_scheme && is_printable(url) && strpbrk(url, " ?#") == NULL;
}

static char *url_without_slash(const char *url)
{
    char *copy = copy_text(url);
    for (size_t n = strlen(copy); n > 0 && copy[n - 1] == '/'; n--) {
        copy[n - 1] = '\0';
    }
    return copy;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static char *authorization_line(const char *bearer)
{
    if (bearer == NULL) {
        return NULL;
    }
    struct text line = {0};
    text_add(&line, "Authorization: Bearer ", 22);
    text_add(&line, bearer, strlen(bearer));
    return text_take(&line);
}

struct caucus *caucus_open(const struct caucus_options *options, char *message_out)
{
    if (options->n_urls == 0 || options->n_urls > URLS_MAX) {
        return open_failed(message_out, "give between 1 and 64 addresses of replicas");
    }
    for (size_t i = 0; i < options->n_urls; i++) {
        if (!is_url(options->urls[i])) {
            return open_failed(message_out, "an address must look like http://host:port");
        }
    }
    if (options->bearer != NULL && !is_printable(options->bearer)) {
        return open_failed(message_out, "the bearer token contains a control character");
    }
    CURL *curl = curl_easy_init(); // initialises libcurl, too
    if (curl == NULL) {
        return open_failed(message_out, "libcurl could not be initialised");
    }
    struct caucus *client = must(calloc(1, sizeof(*client)));
    client->curl = curl;
    client->urls = must(calloc(options->n_urls, sizeof(char *)));
    client->n_urls = options->n_urls;
    for (size_t i = 0; i < options->n_urls; i++) {
        client->urls[i] = url_without_slash(options->urls[i]);
    }
    client->timeout_ms = or_default(options->timeout_ms, TIMEOUT_MS);
    client->attempt_ms = or_default(options->attempt_ms, ATTEMPT_MS);
    client->connect_ms = or_default(options->connect_ms, CONNECT_MS);
    client->response_bytes_max = options->response_bytes_max != 0 ? options->response_bytes_max : RESPONSE_BYTES_MAX;
    client->authorization = authorization_line(options->bearer);
    client->session = copy_text("");
    caucus_session_set(client, options->session);
    return client;
}

void caucus_close(struct caucus *client)
{
    if (client == NULL) {
        return;
    }
    for (size_t i = 0; i < client->n_urls; i++) {
        free(client->urls[i]);
    }
    free(client->urls);
    free(client->authorization);
    free(client->session);
    curl_easy_cleanup(client->curl);
    free(client);
}

const char *caucus_session(const struct caucus *client)
{
    return client->session;
}

void caucus_session_set(struct caucus *client, const char *token)
{
    const char *usable = token != NULL && is_printable(token) && strlen(token) <= SESSION_BYTES_MAX ? token : "";
    char *copy = copy_text(usable);
    free(client->session);
    client->session = copy;
}

// --- one attempt

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct attempt *attempt = context;
    size_t n_bytes = size * n;
    if (n_bytes > attempt->client->response_bytes_max - attempt->body.n) {
        attempt->is_too_large = true;
        return 0; // makes libcurl stop
    }
    text_add(&attempt->body, data, n_bytes);
    return n_bytes;
}

// The value of the header line if it has that name; blanks and the line end removed.
static bool header_value(const char *line, size_t n, const char *name, const char **value_out, size_t *n_out)
{
    size_t n_name = strlen(name);
    if (n <= n_name || line[n_name] != ':' || strncasecmp(line, name, n_name) != 0) {
        return false;
    }
    size_t begin = n_name + 1;
    size_t end = n;
    while (begin < end && (line[begin] == ' ' || line[begin] == '\t')) {
        begin++;
    }
    while (end > begin && strchr(" \t\r\n", line[end - 1]) != NULL) {
        end--;
    }
    *value_out = line + begin;
    *n_out = end - begin;
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    struct attempt *attempt = context;
    size_t n_bytes = size * n;
    const char *value;
    size_t n_value;
    if (header_value(line, n_bytes, "Caucus-Session", &value, &n_value) && n_value <= SESSION_BYTES_MAX) {
        text_set(&attempt->session, value, n_value);
    } else if (header_value(line, n_bytes, "Content-Range", &value, &n_value)) {
        text_set(&attempt->content_range, value, n_value);
    } else if (header_value(line, n_bytes, "Retry-After", &value, &n_value)) {
        attempt->has_retry_after = true;
    }
    return n_bytes;
}

static void attempt_finish(struct attempt *attempt)
{
    text_finish(&attempt->body);
    text_finish(&attempt->session);
    text_finish(&attempt->content_range);
}

// Whether the request cannot have reached a server that could execute it.
static bool never_arrived(CURLcode result)
{
    return result == CURLE_COULDNT_RESOLVE_HOST || result == CURLE_COULDNT_RESOLVE_PROXY ||
           result == CURLE_COULDNT_CONNECT || result == CURLE_SSL_CONNECT_ERROR ||
           result == CURLE_PEER_FAILED_VERIFICATION;
}

static enum verdict judge_status(const struct attempt *attempt)
{
    switch (attempt->status) {
    case 408: // it did not arrive as a whole
    case 429:
    case 503:
    case 507: // the disk of that replica is full: others take weak writes, and strong ones as soon as one of them leads
        return VERDICT_NOT_EXECUTED;
    case 502: // some proxy in between
    case 504:
    case 520:
        return VERDICT_UNKNOWN;
    case 409: // a conflict of rows is final and has no Retry-After
        return attempt->has_retry_after ? VERDICT_RUNNING : VERDICT_FINAL;
    default:
        return VERDICT_FINAL;
    }
}

// A timeout before a connection existed is no unknown outcome: nothing was sent.
static bool was_connected(CURL *curl)
{
    curl_off_t pretransfer_us = 0;
    curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &pretransfer_us);
    return pretransfer_us > 0;
}

static void set_method(CURL *curl, const struct caucus_request *request)
{
    bool is_head = strcmp(request->method, "HEAD") == 0;
    if (request->body != NULL) {
        size_t n_body = request->n_body != 0 ? request->n_body : strlen(request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n_body);
    } else if (is_head) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    if (!is_head) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_options(struct call *call, struct attempt *attempt, const char *url, uint64_t ms)
{
    CURL *curl = call->client->curl;
    curl_easy_reset(curl); // keeps the connections
    set_method(curl, call->request);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)call->client->connect_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->error);
}

static enum verdict run_attempt(struct call *call, struct attempt *attempt, uint64_t ms)
{
    struct text url = {0};
    const char *base = call->client->urls[call->client->now];
    text_add(&url, base, strlen(base));
    text_add(&url, call->request->path, strlen(call->request->path));
    set_options(call, attempt, url.data, ms);
    CURLcode result = curl_easy_perform(call->client->curl);
    text_finish(&url);
    if (attempt->is_too_large) {
        return VERDICT_TOO_LARGE;
    }
    if (result == CURLE_OK) {
        curl_easy_getinfo(call->client->curl, CURLINFO_RESPONSE_CODE, &attempt->status);
        return judge_status(attempt);
    }
    if (attempt->error[0] == '\0') {
        snprintf(attempt->error, sizeof(attempt->error), "%s", curl_easy_strerror(result));
    }
    bool is_unknown = !never_arrived(result) && was_connected(call->client->curl);
    return is_unknown ? VERDICT_UNKNOWN : VERDICT_NOT_EXECUTED;
}

// --- one call

static void add_header(struct call *call, const char *line)
{
    call->headers = must(curl_slist_append(call->headers, line));
}

static void add_header_of(struct call *call, const char *name, const char *value)
{
    struct text line = {0};
    text_add(&line, name, strlen(name));
    text_add(&line, ": ", 2);
    text_add(&line, value, strlen(value));
    add_header(call, line.data);
    text_finish(&line);
}

static void make_headers(struct call *call)
{
    const struct caucus_request *request = call->request;
    add_header_of(call, "Accept", request->accept != NULL ? request->accept : "application/json");
    add_header(call, "Expect:"); // a round trip for nothing
    if (request->body != NULL) {
        add_header_of(call, "Content-Type", request->content_type != NULL ? request->content_type : "application/json");
    }
    if (request->prefer != NULL) {
        add_header_of(call, "Prefer", request->prefer);
    }
    if (call->client->authorization != NULL) {
        add_header(call, call->client->authorization);
    }
    if (call->client->session[0] != '\0') {
        add_header_of(call, "Caucus-Session", call->client->session);
    }
    if (call->is_write) {
        add_header_of(call, "Idempotency-Key", call->response->idempotency_key);
    }
    for (size_t i = 0; i < request->n_headers; i++) {
        add_header(call, request->headers[i]);
    }
}

static const char *usage_error(const struct caucus_request *request)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"};
    bool known = false;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && request->method != NULL; i++) {
        known = known || strcmp(request->method, methods[i]) == 0;
    }
    if (!known) {
        return "the method must be GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE";
    }
    if (request->path == NULL || request->path[0] != '/' || !is_printable(request->path) ||
        strpbrk(request->path, " #") != NULL) {
        return "the path must begin with / and have no blanks, # or control characters (see caucus_escape)";
    }
    const char *const values[] = {request->content_type, request->accept, request->prefer, request->idempotency_key};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (values[i] != NULL && !is_printable(values[i])) {
            return "a header value contains a control character";
        }
    }
    for (size_t i = 0; i < request->n_headers; i++) {
        if (!is_printable(request->headers[i]) || strchr(request->headers[i], ':') == NULL) {
            return "a header must look like Name: value";
        }
    }
    if (request->idempotency_key != NULL && strlen(request->idempotency_key) >= 64) {
        return "an idempotency key must be shorter than 64 characters";
    }
    return NULL;
}

static void set_texts(struct caucus_response *response)
{
    char **const texts[] = {&response->body,    &response->code, &response->message,
                            &response->details, &response->hint, &response->content_range};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (*texts[i] == NULL) {
            *texts[i] = copy_text("");
        }
    }
}

static void replace_text(char **text, const char *value)
{
    char *copy = copy_text(value);
    free(*text);
    *text = copy;
}

// A member of an error body: text as it is, other JSON as its text, null as nothing.
static char *error_member(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return copy_text("");
    }
    if (json_is_string(value)) {
        return copy_text(json_string_value(value));
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    return text != NULL ? text : copy_text("");
}

// PostgREST's four members; another body is the message itself.
static void read_error(struct caucus_response *response)
{
    json_t *body = json_loadb(response->body, response->n_body, 0, NULL);
    if (!json_is_object(body)) {
        json_decref(body);
        char status[32];
        snprintf(status, sizeof(status), "HTTP status %d", response->status);
        replace_text(&response->message, response->n_body > 0 ? response->body : status);
        return;
    }
    char **const places[] = {&response->code, &response->message, &response->details, &response->hint};
    static const char *const names[] = {"code", "message", "details", "hint"};
    for (size_t i = 0; i < 4; i++) {
        free(*places[i]);
        *places[i] = error_member(body, names[i]);
    }
    json_decref(body);
}

// The last answer becomes the response, whatever comes of it.
static void keep_answer(struct call *call, struct attempt *attempt)
{
    struct caucus_response *response = call->response;
    if (attempt->status == 0) {
        return;
    }
    response->status = (int)attempt->status;
    response->url = call->client->urls[call->client->now];
    response->n_body = attempt->body.n;
    free(response->body);
    response->body = text_take(&attempt->body);
    free(response->content_range);
    response->content_range = text_take(&attempt->content_range);
    if (attempt->session.n > 0) {
        caucus_session_set(call->client, attempt->session.data);
    }
}

static void note_trouble(struct call *call, const struct attempt *attempt)
{
    char status[32];
    snprintf(status, sizeof(status), "HTTP status %ld", attempt->status);
    const char *what = attempt->status != 0 ? status : attempt->error;
    const char *url = call->client->urls[call->client->now];
    if (call->troubles.n > 1000) { // enough to understand
        return;
    }
    if (call->troubles.n > 0) {
        text_add(&call->troubles, "; ", 2);
    }
    text_add(&call->troubles, url, strlen(url));
    text_add(&call->troubles, ": ", 2);
    text_add(&call->troubles, what, strlen(what));
}

// Refusals of this attempt alone: they are no outcome of the write, which an earlier attempt may have executed.
static bool is_refused_unseen(int status)
{
    return status == 401 || status == 413 || status == 414 || status == 431;
}

static enum caucus_status finish_answered(struct call *call)
{
    struct caucus_response *response = call->response;
    if (response->status < 300) {
        return CAUCUS_OK;
    }
    read_error(response);
    bool unknown = call->is_write && call->may_have_happened && is_refused_unseen(response->status);
    return unknown ? CAUCUS_UNKNOWN : CAUCUS_REFUSED;
}

static enum caucus_status finish_unanswered(struct call *call)
{
    struct caucus_response *response = call->response;
    bool unknown = call->is_write && call->may_have_happened;
    if (response->status >= 300) {
        read_error(response);
    }
    struct text message = {0};
    const char *first = unknown ? "the outcome of the write is unknown" : "no replica could do it in time";
    text_add(&message, first, strlen(first));
    if (call->troubles.n > 0) {
        text_add(&message, " (", 2);
        text_add(&message, call->troubles.data, call->troubles.n);
        text_add(&message, ")", 1);
    }
    free(response->message);
    response->message = text_take(&message);
    return unknown ? CAUCUS_UNKNOWN : CAUCUS_UNAVAILABLE;
}

// A write that may have been executed is not reported as failed because its answer was too large.
static enum caucus_status finish_too_large(struct call *call)
{
    replace_text(&call->response->message, "the answer is larger than response_bytes_max");
    return call->is_write ? CAUCUS_UNKNOWN : CAUCUS_REFUSED;
}

static uint64_t time_left(const struct call *call)
{
    uint64_t now = now_ms();
    return now < call->deadline_ms ? call->deadline_ms - now : 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Half of the time at random, so that many clients do not come back together.
static uint64_t jittered(uint64_t ms)
{
    uint16_t random = 0;
    (void)random_bytes(&random, sizeof(random));
    return ms / 2 + ms * random / (2 * (uint64_t)UINT16_MAX);
}

// After a failed attempt: the next replica at once; after a whole round, or while the write still runs, after a pause
// (shorter than the Retry-After of most answers: an election takes less than that).
static void go_on(struct call *call, enum verdict verdict)
{
    struct caucus *client = call->client;
    uint32_t n_attempts = call->response->n_attempts;
    bool is_round_over = n_attempts % client->n_urls == 0;
    if (verdict != VERDICT_RUNNING) {
        client->now = (client->now + 1) % client->n_urls;
    }
    if (!is_round_over && verdict != VERDICT_RUNNING) {
        return;
    }
    uint32_t round = n_attempts / (uint32_t)client->n_urls;
    uint64_t pause = smaller((uint64_t)PAUSE_FIRST_MS << (round < 10 ? round : 10), PAUSE_MS_MAX);
    pause_ms(smaller(jittered(pause), time_left(call)));
}

static enum caucus_status run_call(struct call *call)
{
    uint64_t left = time_left(call);
    while (left > 0) {
        struct attempt attempt = {.client = call->client};
        call->response->n_attempts++;
        enum verdict verdict = run_attempt(call, &attempt, smaller(left, call->client->attempt_ms));
        keep_answer(call, &attempt);
        if (verdict == VERDICT_FINAL || verdict == VERDICT_TOO_LARGE) {
            attempt_finish(&attempt);
            return verdict == VERDICT_FINAL ? finish_answered(call) : finish_too_large(call);
        }
        call->may_have_happened = call->may_have_happened || verdict != VERDICT_NOT_EXECUTED;
        note_trouble(call, &attempt);
        go_on(call, verdict);
        attempt_finish(&attempt);
        left = time_left(call);
    }
    return finish_unanswered(call);
}

static enum caucus_status usage_failed(struct caucus_response *response, const char *message)
{
    replace_text(&response->message, message);
    return CAUCUS_USAGE;
}

static bool is_write(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

enum caucus_status caucus_send(struct caucus *client, const struct caucus_request *request,
                               struct caucus_response *response_out)
{
    struct caucus_response *response = response_out;
    *response = (struct caucus_response){.url = client->urls[client->now]};
    set_texts(response);
    const char *error = usage_error(request);
    if (error != NULL) {
        return usage_failed(response, error);
    }
    struct call call = {.client = client, .request = request, .response = response};
    call.is_write = is_write(request->method);
    call.deadline_ms = now_ms() + client->timeout_ms;
    if (request->idempotency_key != NULL) {
        snprintf(response->idempotency_key, sizeof(response->idempotency_key), "%s", request->idempotency_key);
    } else if (call.is_write && !make_key(response->idempotency_key)) {
        return usage_failed(response, "the system has no random bytes for an idempotency key");
    }
    make_headers(&call);
    enum caucus_status status = run_call(&call);
    curl_slist_free_all(call.headers);
    text_finish(&call.troubles);
    return status;
}

void caucus_response_finish(struct caucus_response *response)
{
    if (response == NULL) {
        return;
    }
    free(response->body);
    free(response->code);
    free(response->message);
    free(response->details);
    free(response->hint);
    free(response->content_range);
    *response = (struct caucus_response){0};
}

// --- the usual cases

enum caucus_status caucus_get(struct caucus *client, const char *path, struct caucus_response *response_out)
{
    struct caucus_request request = {.method = "GET", .path = path};
    return caucus_send(client, &request, response_out);
}

static enum caucus_status send_rows(struct caucus *client, const char *method, const char *path, const char *json,
                                    struct caucus_response *response_out)
{
    struct caucus_request request = {.method = method, .path = path, .body = json, .prefer = "return=representation"};
    return caucus_send(client, &request, response_out);
}

enum caucus_status caucus_insert(struct caucus *client, const char *path, const char *json,
                                 struct caucus_response *response_out)
{
    return send_rows(client, "POST", path, json, response_out);
}

enum caucus_status caucus_update(struct caucus *client, const char *path, const char *json,
                                 struct caucus_response *response_out)
{
    return send_rows(client, "PATCH", path, json, response_out);
}

enum caucus_status caucus_delete(struct caucus *client, const char *path, struct caucus_response *response_out)
{
    return send_rows(client, "DELETE", path, NULL, response_out);
}

// RFC 3986: everything but unreserved characters.
char *caucus_escape(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    struct text out = {0};
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (letter || strchr("-._~", c) != NULL) {
            text_add(&out, at, 1);
            continue;
        }
        const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        text_add(&out, escaped, sizeof(escaped));
    }
    return text_take(&out);
}

const char *caucus_status_text(enum caucus_status status)
{
    switch (status) {
    case CAUCUS_OK:
        return "done";
    case CAUCUS_REFUSED:
        return "refused";
    case CAUCUS_UNAVAILABLE:
        return "not available";
    case CAUCUS_UNKNOWN:
        return "outcome unknown";
    case CAUCUS_USAGE:
        return "wrong usage";
    }
    return "?";
}
