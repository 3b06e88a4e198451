// Parse trees of SQL, as libpg_query writes them (JSON), in memory that is small for large statements.
#include "proxy/postgres/parse_tree.h"

#include <string.h>

enum { DEPTH_MAX = 4000 };

struct scanner {
    const uint8_t *at, *end;
    struct cc_arena *arena;
    unsigned depth;
    enum cc_status status;
};

static struct parse_node *fail(struct scanner *scanner, enum cc_status status)
{
    if (scanner->status == CC_OK) {
        scanner->status = status;
    }
    scanner->at = scanner->end;
    return NULL;
}

static uint8_t peek(const struct scanner *scanner)
{
    return scanner->at < scanner->end ? *scanner->at : 0;
}

static bool take(struct scanner *scanner, uint8_t byte)
{
    if (peek(scanner) != byte || scanner->at == scanner->end) {
        return false;
    }
    scanner->at++;
    return true;
}

static unsigned hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return (unsigned)(byte - '0');
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? (unsigned)(byte - 'a' + 10) : 16;
}

// libpg_query escapes only control characters and a few signs as \u00xx; everything else is UTF-8 as it is.
static size_t unescape(struct scanner *scanner, const uint8_t *from, size_t n, uint8_t *to)
{
    size_t n_to = 0;
    for (size_t i = 0; i < n; i++) {
        if (from[i] != '\\') {
            to[n_to++] = from[i];
            continue;
        }
        i++; // a string never ends in a single backslash: scan_text has seen to it
        switch (from[i]) {
        case 'b':
            to[n_to++] = '\b';
            break;
        case 'f':
            to[n_to++] = '\f';
            break;
        case 'n':
            to[n_to++] = '\n';
            break;
        case 'r':
            to[n_to++] = '\r';
            break;
        case 't':
            to[n_to++] = '\t';
            break;
        case 'u': {
            unsigned value = 0;
            for (size_t k = 1; k <= 4; k++) {
                unsigned digit = i + k < n ? hex_digit(from[i + k]) : 16;
                value = value << 4 | digit;
                if (digit > 15) {
                    (void)fail(scanner, CC_MALFORMED);
                    return 0;
                }
            }
            if (value > 0x7f) {
                (void)fail(scanner, CC_MALFORMED);
                return 0;
            }
            to[n_to++] = (uint8_t)value;
            i += 4;
            break;
        }
        default:
            to[n_to++] = from[i];
            break;
        }
    }
    return n_to;
}

static struct cc_slice scan_text(struct scanner *scanner)
{
    struct cc_slice none = {0};
    if (!take(scanner, '"')) {
        (void)fail(scanner, CC_MALFORMED);
        return none;
    }
    const uint8_t *start = scanner->at;
    bool escaped = false;
    while (scanner->at < scanner->end && *scanner->at != '"') {
        if (*scanner->at == '\\') {
            escaped = true;
            scanner->at++;
        }
        if (scanner->at < scanner->end) {
            scanner->at++;
        }
    }
    size_t n = (size_t)(scanner->at - start);
    if (!take(scanner, '"')) {
        (void)fail(scanner, CC_MALFORMED);
        return none;
    }
    if (!escaped) {
        return cc_slice_of(start, n);
    }
    uint8_t *text = cc_arena_alloc(scanner->arena, n + 1);
    return cc_slice_of(text, unescape(scanner, start, n, text));
}

static struct parse_node *scan_value(struct scanner *scanner);

static struct parse_node *scan_members(struct scanner *scanner, struct parse_node *node, uint8_t close)
{
    struct parse_node **tail = &node->first;
    if (take(scanner, close)) {
        return node;
    }
    do {
        struct cc_slice key = {0};
        if (node->kind == PARSE_OBJECT) {
            key = scan_text(scanner);
            if (!take(scanner, ':')) {
                return fail(scanner, CC_MALFORMED);
            }
        }
        struct parse_node *member = scan_value(scanner);
        if (member == NULL) {
            return NULL;
        }
        member->key = key;
        *tail = member;
        tail = &member->next;
    } while (take(scanner, ','));
    return take(scanner, close) ? node : fail(scanner, CC_MALFORMED);
}

static bool take_word(struct scanner *scanner, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(scanner->end - scanner->at) < n || memcmp(scanner->at, word, n) != 0) {
        return false;
    }
    scanner->at += n;
    return true;
}

static struct parse_node *scan_plain(struct scanner *scanner, struct parse_node *node)
{
    if (take_word(scanner, "true")) {
        node->kind = PARSE_TRUE;
        return node;
    }
    if (take_word(scanner, "false")) {
        node->kind = PARSE_FALSE;
        return node;
    }
    if (take_word(scanner, "null")) {
        node->kind = PARSE_NULL;
        return node;
    }
    const uint8_t *start = scanner->at;
    while (scanner->at < scanner->end && strchr("+-.0123456789eE", *scanner->at) != NULL && *scanner->at != 0) {
        scanner->at++;
    }
    node->kind = PARSE_NUMBER;
    node->text = cc_slice_of(start, (size_t)(scanner->at - start));
    return node->text.n > 0 ? node : fail(scanner, CC_MALFORMED);
}

static struct parse_node *scan_value(struct scanner *scanner)
{
    if (scanner->depth == DEPTH_MAX) {
        return fail(scanner, CC_TOO_LARGE);
    }
    struct parse_node *node = cc_arena_alloc(scanner->arena, sizeof(*node));
    scanner->depth++;
    if (take(scanner, '{')) {
        node->kind = PARSE_OBJECT;
        node = scan_members(scanner, node, '}');
    } else if (take(scanner, '[')) {
        node->kind = PARSE_ARRAY;
        node = scan_members(scanner, node, ']');
    } else if (peek(scanner) == '"') {
        node->kind = PARSE_TEXT;
        node->text = scan_text(scanner);
    } else {
        node = scan_plain(scanner, node);
    }
    scanner->depth--;
    return node;
}

enum cc_status parse_tree_read(struct cc_slice json, struct cc_arena *arena, const struct parse_node **root_out)
{
    struct scanner scanner = {.at = json.data, .end = json.data + json.n, .arena = arena};
    struct parse_node *root = scan_value(&scanner);
    if (scanner.status != CC_OK) {
        return scanner.status;
    }
    if (root == NULL || scanner.at != scanner.end) {
        return CC_MALFORMED;
    }
    *root_out = root;
    return CC_OK;
}

const struct parse_node *parse_node_get(const struct parse_node *node, const char *key)
{
    if (node == NULL || node->kind != PARSE_OBJECT) {
        return NULL;
    }
    for (const struct parse_node *member = node->first; member != NULL; member = member->next) {
        if (cc_slice_equal_text(member->key, key)) {
            return member;
        }
    }
    return NULL;
}

struct cc_slice parse_node_text(const struct parse_node *node, const char *key)
{
    const struct parse_node *member = parse_node_get(node, key);
    struct cc_slice none = {0};
    return member != NULL && (member->kind == PARSE_TEXT || member->kind == PARSE_NUMBER) ? member->text : none;
}

bool parse_node_is(const struct parse_node *node, const char *key, const char *text)
{
    const struct parse_node *member = parse_node_get(node, key);
    return member != NULL && member->kind == PARSE_TEXT && cc_slice_equal_text(member->text, text);
}

bool parse_node_true(const struct parse_node *node, const char *key)
{
    const struct parse_node *member = parse_node_get(node, key);
    return member != NULL && member->kind == PARSE_TRUE;
}

struct cc_slice parse_node_string(const struct parse_node *node)
{
    return parse_node_text(parse_node_get(node, "String"), "sval");
}

struct cc_slice parse_node_last_string(const struct parse_node *array)
{
    struct cc_slice last = {0};
    if (array == NULL || array->kind != PARSE_ARRAY) {
        return last;
    }
    for (const struct parse_node *item = array->first; item != NULL; item = item->next) {
        last = parse_node_string(item);
    }
    return last;
}
