// Prefer: one table of names, from which preferences are read and echoed.
#include "rest/prefer.h"

#include <string.h>

enum kind { RESOLUTION, MISSING, RETURN, COUNT, TX, HANDLING, DURABILITY }; // in the order of the echo

struct choice {
    enum kind kind;
    int value;
    const char *text;
};

static const struct choice choices[] = {
    {RESOLUTION, REST_RESOLUTION_MERGE, "resolution=merge-duplicates"},
    {RESOLUTION, REST_RESOLUTION_IGNORE, "resolution=ignore-duplicates"},
    {MISSING, REST_MISSING_DEFAULT, "missing=default"},
    {MISSING, REST_MISSING_NULL, "missing=null"},
    {RETURN, REST_RETURN_REPRESENTATION, "return=representation"},
    {RETURN, REST_RETURN_HEADERS_ONLY, "return=headers-only"},
    {RETURN, REST_RETURN_MINIMAL, "return=minimal"},
    {COUNT, REST_COUNT_EXACT, "count=exact"},
    {COUNT, REST_COUNT_PLANNED, "count=planned"},
    {COUNT, REST_COUNT_ESTIMATED, "count=estimated"},
    {TX, REST_TX_COMMIT, "tx=commit"},
    {TX, REST_TX_ROLLBACK, "tx=rollback"},
    {HANDLING, REST_HANDLING_STRICT, "handling=strict"},
    {HANDLING, REST_HANDLING_LENIENT, "handling=lenient"},
    {DURABILITY, REST_DURABILITY_LOCAL, "durability=local"},
    {DURABILITY, REST_DURABILITY_MAJORITY, "durability=majority"},
    {DURABILITY, REST_DURABILITY_ALL, "durability=all"},
};

static int get(const struct rest_preferences *preferences, enum kind kind)
{
    switch (kind) {
    case RESOLUTION:
        return (int)preferences->resolution;
    case MISSING:
        return (int)preferences->missing;
    case RETURN:
        return (int)preferences->representation;
    case COUNT:
        return (int)preferences->count;
    case TX:
        return (int)preferences->tx;
    case HANDLING:
        return (int)preferences->handling;
    case DURABILITY:
        return (int)preferences->durability;
    }
    return 0;
}

static void set(struct rest_preferences *preferences, enum kind kind, int value)
{
    switch (kind) {
    case RESOLUTION:
        preferences->resolution = (enum rest_resolution)value;
        return;
    case MISSING:
        preferences->missing = (enum rest_missing)value;
        return;
    case RETURN:
        preferences->representation = (enum rest_return)value;
        return;
    case COUNT:
        preferences->count = (enum rest_count)value;
        return;
    case TX:
        preferences->tx = (enum rest_tx)value;
        return;
    case HANDLING:
        preferences->handling = (enum rest_handling)value;
        return;
    case DURABILITY:
        preferences->durability = (enum rest_durability)value;
        return;
    }
}

static bool has_prefix(struct cc_slice text, const char *prefix, struct cc_slice *rest)
{
    size_t n = strlen(prefix);
    if (text.n == n || !cc_slice_starts_with(text, prefix)) {
        return false;
    }
    *rest = cc_slice_of(text.data + n, text.n - n);
    return true;
}

// 500ms, 2s, 1min, 1h; a bare number is milliseconds.
static bool read_duration(struct cc_slice text, uint32_t *ms_out)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
    uint64_t value = 0;
    if (!cc_slice_take_number(&text, UINT32_MAX, &value)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (cc_slice_equal_text(text, units[i].unit) && value <= UINT32_MAX / units[i].ms) {
            *ms_out = (uint32_t)(value * units[i].ms);
            return true;
        }
    }
    return false;
}

static bool read_level(struct cc_slice text, struct rest_preferences *out)
{
    struct cc_slice value;
    struct cc_slice duration;
    if (!has_prefix(text, "consistency=", &value)) {
        return false;
    }
    enum rest_level level = REST_LEVEL_NONE;
    uint32_t ms = 0;
    if (cc_slice_equal_text(value, "linearizable")) {
        level = REST_LEVEL_LINEARIZABLE;
    } else if (cc_slice_equal_text(value, "session")) {
        level = REST_LEVEL_SESSION;
    } else if (cc_slice_equal_text(value, "local")) {
        level = REST_LEVEL_LOCAL;
    } else if (has_prefix(value, "bounded=", &duration) && read_duration(duration, &ms)) {
        level = REST_LEVEL_BOUNDED;
    } else {
        return false;
    }
    if (out->level == REST_LEVEL_NONE) {
        out->level = level;
        out->bounded_ms = ms;
    }
    return true;
}

// Echoed in a header: only what zone names and offsets are made of.
static bool is_zone(struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        bool ok =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("_+-/:", c) != NULL;
        if (c == 0 || !ok) {
            return false;
        }
    }
    return text.n > 0 && text.n <= 64;
}

static bool read_value(struct cc_slice text, struct rest_preferences *out)
{
    struct cc_slice value;
    uint64_t number = 0;
    if (has_prefix(text, "max-affected=", &value) && cc_slice_take_number(&value, INT64_MAX, &number) && value.n == 0) {
        if (!out->has_max_affected) {
            out->has_max_affected = true;
            out->max_affected = number;
        }
        return true;
    }
    if (has_prefix(text, "timezone=", &value) && is_zone(value)) {
        if (out->timezone.data == NULL) {
            out->timezone = value;
        }
        return true;
    }
    return read_level(text, out);
}

static bool read_choice(struct cc_slice text, struct rest_preferences *out)
{
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (cc_slice_equal_text(text, choices[i].text)) {
            if (get(out, choices[i].kind) == 0) {
                set(out, choices[i].kind, choices[i].value);
            }
            return true;
        }
    }
    return false;
}

static void read_one(struct cc_slice text, struct cc_arena *arena, struct rest_preferences *out)
{
    text = rest_text_trim(text);
    if (text.n == 0 || read_choice(text, out) || read_value(text, out)) {
        return;
    }
    const char *before = out->unknown == NULL ? "" : out->unknown;
    out->unknown =
        cc_arena_printf(arena, "%s%s%.*s", before, *before == '\0' ? "" : ", ", (int)text.n, (const char *)text.data);
}

static void read_header(struct cc_slice text, struct cc_arena *arena, struct rest_preferences *out)
{
    size_t from = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i == text.n || text.data[i] == ',') {
            read_one(cc_slice_of(text.data + from, i - from), arena, out);
            from = i + 1;
        }
    }
}

void rest_prefer_read(const struct rest_request *request, struct cc_arena *arena, struct rest_preferences *out)
{
    *out = (struct rest_preferences){0};
    for (uint32_t i = 0; i < request->n_headers; i++) {
        const struct rest_header *header = &request->headers[i];
        if (cc_slice_equal_fold(header->name, "Prefer") && header->value.n > 0) {
            read_header(header->value, arena, out);
        }
    }
    out->timezone = cc_arena_slice(arena, out->timezone);
}

static void add(struct cc_buffer *out, const char *text)
{
    cc_buffer_append_text(out, out->n == 0 ? "" : ", ");
    cc_buffer_append_text(out, text);
}

static void add_level(struct cc_buffer *out, const struct rest_preferences *applied)
{
    switch (applied->level) {
    case REST_LEVEL_NONE:
        return;
    case REST_LEVEL_LOCAL:
        add(out, "consistency=local");
        return;
    case REST_LEVEL_BOUNDED:
        add(out, "consistency=bounded=");
        cc_buffer_printf(out, "%ums", applied->bounded_ms);
        return;
    case REST_LEVEL_SESSION:
        add(out, "consistency=session");
        return;
    case REST_LEVEL_LINEARIZABLE:
        add(out, "consistency=linearizable");
        return;
    }
}

const char *rest_prefer_applied(const struct rest_preferences *applied, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (get(applied, choices[i].kind) == choices[i].value) {
            add(&out, choices[i].text);
        }
    }
    if (applied->timezone.data != NULL) {
        add(&out, "timezone=");
        cc_buffer_append_slice(&out, applied->timezone);
    }
    if (applied->has_max_affected) {
        add(&out, "max-affected=");
        cc_buffer_printf(&out, "%llu", (unsigned long long)applied->max_affected);
    }
    add_level(&out, applied);
    const char *text = cc_arena_text_n(arena, out.data, out.n);
    cc_buffer_finish(&out);
    return text;
}
