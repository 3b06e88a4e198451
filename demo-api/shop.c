// The demo shop as a small program on libcaucus, the public interface only.
//
//   shop [-u URL]... list                       what is on sale
//   shop [-u URL]... order CUSTOMER ID QUANTITY [ID QUANTITY]...
//   shop [-u URL]... show ORDER                 an order with its lines
//   shop [-u URL]... cancel ORDER               deletes the order, gives the stock back
//   shop [-u URL]... hello NAME [STATUS]        says that NAME is online (weak: works at a replica that is cut off)
//   shop [-u URL]... online                     who is
//
// URL defaults to http://127.0.0.1:7101, :7102 and :7103, where `caucus up` puts its replicas.
#include <caucus.h>

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URLS_MAX = 16, EXIT_USAGE = 64, EXIT_REFUSED = 69 };

static const char *const default_urls[] = {"http://127.0.0.1:7101", "http://127.0.0.1:7102", "http://127.0.0.1:7103"};

static char *format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *pattern, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, pattern);
    int n = vasprintf(&text, pattern, arguments);
    va_end(arguments);
    if (n < 0) {
        abort();
    }
    return text;
}

static int complain(const char *what, enum caucus_status status, const struct caucus_response *response)
{
    fprintf(stderr, "shop: %s: %s: %s", what, caucus_status_text(status), response->message);
    if (response->code[0] != '\0') {
        fprintf(stderr, " [%s]", response->code);
    }
    if (response->details[0] != '\0') {
        fprintf(stderr, " (%s)", response->details);
    }
    if (status == CAUCUS_UNKNOWN) {
        fprintf(stderr, "\nshop: look whether it took effect, or repeat it with key %s", response->idempotency_key);
    }
    fputc('\n', stderr);
    return EXIT_REFUSED;
}

// The rows of the answer, or NULL after a complaint.
static json_t *rows_of(const char *what, enum caucus_status status, struct caucus_response *response)
{
    if (status != CAUCUS_OK) {
        complain(what, status, response);
        return NULL;
    }
    json_t *rows = json_loadb(response->body, response->n_body, JSON_DECODE_ANY, NULL);
    if (rows == NULL) {
        fprintf(stderr, "shop: %s: the answer is not JSON: %s\n", what, response->body);
    }
    return rows;
}

static void print_value(const json_t *row, const char *name, int width)
{
    const json_t *value = json_object_get(row, name);
    char *text =
        json_is_string(value) || value == NULL || json_is_null(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    const char *shown = text != NULL ? text : json_is_string(value) ? json_string_value(value) : "";
    printf("%-*s ", width, shown);
    free(text);
}

struct column {
    const char *name;
    int width;
};

static void print_rows(const json_t *rows, const struct column *columns, size_t n_columns)
{
    for (size_t i = 0; i < n_columns; i++) {
        printf("%-*s ", columns[i].width, columns[i].name);
    }
    putchar('\n');
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (size_t i = 0; i < n_columns; i++) {
            print_value(json_array_get(rows, row), columns[i].name, columns[i].width);
        }
        putchar('\n');
    }
}

static int print_query(struct caucus *client, const char *path, const struct column *columns, size_t n_columns)
{
    struct caucus_response response;
    enum caucus_status status = caucus_get(client, path, &response);
    json_t *rows = rows_of(path, status, &response);
    if (rows != NULL) {
        print_rows(rows, columns, n_columns);
    }
    int result = rows != NULL ? 0 : EXIT_REFUSED;
    json_decref(rows);
    caucus_response_finish(&response);
    return result;
}

static int list(struct caucus *client)
{
    static const struct column columns[] = {{"id", 4}, {"name", 14}, {"price", 8}, {"stock", 6}, {"description", 0}};
    return print_query(client, "/products?select=id,name,price,stock,description&order=id", columns, 5);
}

static int online(struct caucus *client)
{
    static const struct column columns[] = {{"name", 14}, {"status", 20}, {"seen_at", 0}};
    return print_query(client, "/presence?select=name,status,seen_at&order=seen_at.desc&limit=20", columns, 3);
}

static int show(struct caucus *client, const char *order)
{
    static const struct column head[] = {{"customer", 20}, {"status", 10}, {"total", 10}, {"created_at", 0}};
    static const struct column lines[] = {{"line", 5}, {"product_id", 11}, {"quantity", 9}, {"price", 0}};
    char *id = caucus_escape(order);
    char *order_path = format("/orders?id=eq.%s", id);
    char *lines_path = format("/order_lines?order_id=eq.%s&order=line", id);
    int result = print_query(client, order_path, head, 4);
    if (result == 0) {
        result = print_query(client, lines_path, lines, 4);
    }
    free(id);
    free(order_path);
    free(lines_path);
    return result;
}

// The new order's id, or NULL after a complaint. free() it.
static char *insert_order(struct caucus *client, const char *customer)
{
    json_t *row = json_pack("{s:s}", "customer", customer);
    char *body = row != NULL ? json_dumps(row, 0) : NULL;
    json_decref(row);
    if (body == NULL) {
        fprintf(stderr, "shop: the name of the customer is not UTF-8\n");
        return NULL;
    }
    struct caucus_response response;
    enum caucus_status status = caucus_insert(client, "/orders?select=id", body, &response);
    json_t *rows = rows_of("order", status, &response);
    const char *id = json_string_value(json_object_get(json_array_get(rows, 0), "id"));
    char *copy = id != NULL ? strdup(id) : NULL;
    json_decref(rows);
    caucus_response_finish(&response);
    free(body);
    return copy;
}

static int delete_order(struct caucus *client, const char *order, bool *found_out)
{
    char *id = caucus_escape(order);
    char *path = format("/orders?id=eq.%s&select=id", id);
    struct caucus_response response;
    enum caucus_status status = caucus_delete(client, path, &response);
    json_t *rows = rows_of("cancel", status, &response);
    *found_out = json_array_size(rows) > 0;
    int result = rows != NULL ? 0 : EXIT_REFUSED;
    json_decref(rows);
    caucus_response_finish(&response);
    free(path);
    free(id);
    return result;
}

static bool insert_lines(struct caucus *client, const char *order, int n_words, char **words)
{
    json_t *lines = json_array();
    for (int i = 0; i + 1 < n_words; i += 2) {
        json_t *line = json_pack("{s:s, s:i, s:s, s:s}", "order_id", order, "line", i / 2 + 1, "product_id", words[i],
                                 "quantity", words[i + 1]);
        json_array_append_new(lines, line);
    }
    char *body = json_dumps(lines, 0);
    struct caucus_response response;
    enum caucus_status status = caucus_insert(client, "/order_lines", body, &response);
    if (status != CAUCUS_OK) {
        complain("order", status, &response);
    }
    caucus_response_finish(&response);
    json_decref(lines);
    free(body);
    return status == CAUCUS_OK;
}

// All lines are one request, hence taken together or not at all; without them the empty order goes away again.
static int order(struct caucus *client, const char *customer, int n_words, char **words)
{
    char *id = insert_order(client, customer);
    if (id == NULL) {
        return EXIT_REFUSED;
    }
    int result = EXIT_REFUSED;
    bool found;
    if (insert_lines(client, id, n_words, words)) {
        printf("order %s\n", id);
        result = show(client, id);
    } else {
        (void)delete_order(client, id, &found);
    }
    free(id);
    return result;
}

static int cancel(struct caucus *client, const char *id)
{
    bool found;
    int result = delete_order(client, id, &found);
    if (result == 0) {
        puts(found ? "cancelled" : "no such order");
    }
    return result;
}

// A name-based number, so that the same name is the same row wherever it says hello (RFC 9562, version 8).
static void uuid_of(const char *name, char out[37])
{
    unsigned long long hash[2] = {0xcbf29ce484222325ull, 0x9ae16a3b2f90404full};
    for (const char *at = name; *at != '\0'; at++) {
        for (size_t i = 0; i < 2; i++) {
            hash[i] = (hash[i] ^ (unsigned char)*at) * 0x100000001b3ull;
        }
    }
    snprintf(out, 37, "%08llx-%04llx-8%03llx-8%03llx-%012llx", hash[0] >> 32, hash[0] >> 16 & 0xffff, hash[0] & 0xfff,
             hash[1] >> 52, hash[1] & 0xffffffffffff);
}

static int hello(struct caucus *client, const char *name, const char *status_text)
{
    char id[37];
    uuid_of(name, id);
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s}", "user_id", id, "name", name, "status", status_text, "seen_at", "now");
    char *body = row != NULL ? json_dumps(row, 0) : NULL;
    json_decref(row);
    if (body == NULL) {
        fprintf(stderr, "shop: the name is not UTF-8\n");
        return EXIT_USAGE;
    }
    struct caucus_request request = {
        .method = "POST", .path = "/presence", .body = body, .prefer = "resolution=merge-duplicates,return=minimal"};
    struct caucus_response response;
    enum caucus_status status = caucus_send(client, &request, &response);
    int result = status == CAUCUS_OK ? 0 : complain("hello", status, &response);
    if (result == 0) {
        printf("hello %s, written at %s\n", name, response.url);
    }
    caucus_response_finish(&response);
    free(body);
    return result;
}

static int usage(void)
{
    fputs("usage: shop [-u URL]... list | order CUSTOMER ID QUANTITY [ID QUANTITY]... | show ORDER | cancel ORDER\n"
          "                         | hello NAME [STATUS] | online\n",
          stderr);
    return EXIT_USAGE;
}

static int run(struct caucus *client, int n, char **words)
{
    if (n == 1 && strcmp(words[0], "list") == 0) {
        return list(client);
    }
    if (n == 1 && strcmp(words[0], "online") == 0) {
        return online(client);
    }
    if (n == 2 && strcmp(words[0], "show") == 0) {
        return show(client, words[1]);
    }
    if (n == 2 && strcmp(words[0], "cancel") == 0) {
        return cancel(client, words[1]);
    }
    if ((n == 2 || n == 3) && strcmp(words[0], "hello") == 0) {
        return hello(client, words[1], n == 3 ? words[2] : "online");
    }
    if (n >= 4 && n % 2 == 0 && strcmp(words[0], "order") == 0) {
        return order(client, words[1], n - 2, words + 2);
    }
    return usage();
}

int main(int argc, char **argv)
{
    const char *urls[URLS_MAX];
    size_t n_urls = 0;
    for (int option = getopt(argc, argv, "+u:"); option != -1; option = getopt(argc, argv, "+u:")) {
        if (option != 'u' || n_urls == URLS_MAX) {
            return usage();
        }
        urls[n_urls++] = optarg;
    }
    struct caucus_options options = {.urls = n_urls > 0 ? urls : default_urls, .n_urls = n_urls > 0 ? n_urls : 3};
    char message[256];
    struct caucus *client = caucus_open(&options, message);
    if (client == NULL) {
        fprintf(stderr, "shop: %s\n", message);
        return EXIT_USAGE;
    }
    int result = run(client, argc - optind, argv + optind);
    caucus_close(client);
    return result;
}
