// Rules of message faults as JSON.
#include "proxy/faults/faults_json.h"

#include "proxy/config/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[FAULTS_KINDS] = {[FAULTS_DROP] = "drop",
                                                     [FAULTS_DELAY] = "delay",
                                                     [FAULTS_REORDER] = "reorder",
                                                     [FAULTS_ISOLATE] = "isolate",
                                                     [FAULTS_SPLIT] = "split"};

// -- Reading --------------------------------------------------------------------------------------------------------

struct reader {
    struct faults_rule rule;
    bool has_kind, has_seed;
    uint64_t seed;
    const char *why; // NULL: good so far
};

static uint32_t read_number(struct reader *reader, const json_t *value, uint32_t max, const char *why)
{
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > max) {
        reader->why = why;
        return 0;
    }
    return (uint32_t)json_integer_value(value);
}

static void read_kind(struct reader *reader, const json_t *value)
{
    const char *name = json_string_value(value);
    for (unsigned kind = 0; kind < FAULTS_KINDS && name != NULL; kind++) {
        if (strcmp(name, kind_names[kind]) == 0) {
            reader->rule.kind = (enum faults_kind)kind;
            reader->has_kind = true;
            return;
        }
    }
    reader->why = "fault must be drop, delay, reorder, isolate or split";
}

static void read_pick(struct reader *reader, enum faults_pick pick, uint32_t n)
{
    if (reader->rule.pick != FAULTS_ALL) {
        reader->why = "only one of nth, every and percent picks messages";
    }
    reader->rule.pick = pick;
    reader->rule.n = n;
}

static void read_percent(struct reader *reader, const json_t *value)
{
    double percent = json_number_value(value);
    if (!json_is_number(value) || !(percent >= 0.0001 && percent <= 100)) {
        reader->why = "percent must be a number above 0 and up to 100";
        return;
    }
    read_pick(reader, FAULTS_CHANCE, (uint32_t)(percent * (FAULTS_PPM / 100) + 0.5));
}

static void read_segments(struct reader *reader, const json_t *segments)
{
    struct faults_rule *rule = &reader->rule;
    for (size_t s = 0; s < json_array_size(segments); s++) {
        const json_t *segment = json_array_get(segments, s);
        for (size_t i = 0; i < json_array_size(segment) && reader->why == NULL; i++) {
            if (rule->n_listed == FAULTS_LISTED_MAX) {
                reader->why = "segments name too many replicas";
                return;
            }
            uint32_t id = read_number(reader, json_array_get(segment, i), CONFIG_REPLICA_ID_MAX,
                                      "segments must be arrays of replicas' ids");
            rule->listed[rule->n_listed++] = (struct faults_listed){id, (uint32_t)s + 1};
        }
    }
    if (rule->n_listed == 0) {
        reader->why = "segments must be arrays of replicas' ids";
    }
}

static void read_member(struct reader *reader, const char *name, const json_t *value)
{
    struct faults_rule *rule = &reader->rule;
    if (strcmp(name, "fault") == 0) {
        read_kind(reader, value);
    } else if (strcmp(name, "from") == 0) {
        rule->from = read_number(reader, value, CONFIG_REPLICA_ID_MAX, "from must be a replica's id");
    } else if (strcmp(name, "to") == 0) {
        rule->to = read_number(reader, value, CONFIG_REPLICA_ID_MAX, "to must be a replica's id");
    } else if (strcmp(name, "replica") == 0) {
        rule->replica = read_number(reader, value, CONFIG_REPLICA_ID_MAX, "replica must be a replica's id");
    } else if (strcmp(name, "nth") == 0) {
        read_pick(reader, FAULTS_NTH, read_number(reader, value, INT32_MAX, "nth must be 1 or more"));
    } else if (strcmp(name, "every") == 0) {
        read_pick(reader, FAULTS_EVERY, read_number(reader, value, INT32_MAX, "every must be 1 or more"));
    } else if (strcmp(name, "percent") == 0) {
        read_percent(reader, value);
    } else if (strcmp(name, "ms") == 0) {
        rule->delay_ms = read_number(reader, value, FAULTS_DELAY_MS_MAX, "ms must be between 1 and 60000");
    } else if (strcmp(name, "jitter_ms") == 0) {
        rule->jitter_ms = read_number(reader, value, FAULTS_DELAY_MS_MAX, "jitter_ms must be between 1 and 60000");
    } else if (strcmp(name, "segments") == 0) {
        read_segments(reader, value);
    } else if (strcmp(name, "seed") == 0) {
        reader->has_seed = true;
        reader->seed = read_number(reader, value, INT32_MAX, "seed must be a number from 1 on");
    } else {
        reader->why =
            "unknown key: there are fault, from, to, replica, segments, nth, every, percent, ms, jitter_ms and seed";
    }
}

// A key of another kind of fault would be ignored, which is hardly what was meant.
static const char *check_kind(const struct reader *reader)
{
    const struct faults_rule *rule = &reader->rule;
    bool waits = rule->delay_ms > 0 || rule->jitter_ms > 0;
    bool of_channel = rule->from != 0 || rule->to != 0 || rule->pick != FAULTS_ALL || waits;
    bool of_others = rule->replica != 0 || rule->n_listed > 0;
    if (!reader->has_kind) {
        return "fault is missing: drop, delay, reorder, isolate or split";
    }
    switch (rule->kind) {
    case FAULTS_DROP:
        return of_others || waits ? "drop takes from, to, and one of nth, every and percent" : NULL;
    case FAULTS_DELAY:
    case FAULTS_REORDER:
        return of_others || !waits
                   ? "delay and reorder need ms or jitter_ms, and take from, to, and one of nth, every and percent"
                   : NULL;
    case FAULTS_ISOLATE:
        return of_channel || rule->n_listed > 0 || rule->replica == 0 ? "isolate takes replica, and nothing else"
                                                                      : NULL;
    case FAULTS_SPLIT:
        return of_channel || rule->replica != 0 || rule->n_listed == 0 ? "split takes segments, and nothing else"
                                                                       : NULL;
    }
    return NULL;
}

static enum cc_status add_one(struct faults *faults, json_t *json, const char **why_out)
{
    struct reader reader = {0};
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
    {
        if (reader.why == NULL) {
            read_member(&reader, name, value);
        }
    }
    reader.why = reader.why != NULL ? reader.why : check_kind(&reader);
    if (reader.why != NULL) {
        *why_out = reader.why;
        return CC_INVALID;
    }
    if (reader.has_seed) {
        faults_seed(faults, reader.seed);
    }
    uint32_t id;
    enum cc_status status = faults_add(faults, &reader.rule, &id);
    *why_out = status == CC_TOO_LARGE ? "there are too many rules" : cc_status_text(status);
    return status;
}

static enum cc_status add_all(struct faults *faults, json_t *json, const char **why_out)
{
    size_t n = json_is_array(json) ? json_array_size(json) : 1;
    enum cc_status status = CC_OK;
    if (n == 0) {
        *why_out = "there is no rule in it";
        return CC_INVALID;
    }
    for (size_t i = 0; i < n && status == CC_OK; i++) {
        json_t *rule = json_is_array(json) ? json_array_get(json, i) : json;
        *why_out = "a rule must be a JSON object";
        status = json_is_object(rule) ? add_one(faults, rule, why_out) : CC_INVALID;
    }
    return status;
}

enum cc_status faults_add_json(struct faults *faults, struct cc_slice text, const char **why_out)
{
    json_t *json = text.n == 0 ? NULL : json_loadb((const char *)text.data, text.n, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL) {
        *why_out = "the body must be a rule as a JSON object, or an array of them";
        return CC_MALFORMED;
    }
    struct faults with = *faults;
    enum cc_status status = add_all(&with, json, why_out);
    json_decref(json);
    if (status == CC_OK) {
        *faults = with;
    }
    return status;
}

// -- Writing --------------------------------------------------------------------------------------------------------

static void put_number(json_t *json, const char *name, uint64_t value)
{
    if (value > 0) {
        json_object_set_new(json, name, json_integer((json_int_t)value));
    }
}

static json_t *segments_json(const struct faults_rule *rule)
{
    json_t *segments = json_array();
    for (uint32_t i = 0; i < rule->n_listed; i++) { // those of a segment stand together
        bool is_new = i == 0 || rule->listed[i].segment != rule->listed[i - 1].segment;
        if (is_new) {
            json_array_append_new(segments, json_array());
        }
        json_array_append_new(json_array_get(segments, json_array_size(segments) - 1),
                              json_integer(rule->listed[i].replica));
    }
    return segments;
}

static json_t *rule_json(const struct faults_rule *rule)
{
    json_t *json = json_pack("{s:I, s:s}", "id", (json_int_t)rule->id, "fault", kind_names[rule->kind]);
    put_number(json, "from", rule->from);
    put_number(json, "to", rule->to);
    put_number(json, "replica", rule->replica);
    if (rule->kind == FAULTS_SPLIT) {
        json_object_set_new(json, "segments", segments_json(rule));
    }
    put_number(json, "nth", rule->pick == FAULTS_NTH ? rule->n : 0);
    put_number(json, "every", rule->pick == FAULTS_EVERY ? rule->n : 0);
    if (rule->pick == FAULTS_CHANCE) {
        json_object_set_new(json, "percent", json_real(rule->n / (FAULTS_PPM / 100.0)));
    }
    put_number(json, "ms", rule->delay_ms);
    put_number(json, "jitter_ms", rule->jitter_ms);
    json_object_set_new(json, "seen", json_integer((json_int_t)rule->n_seen));
    json_object_set_new(json, "hit", json_integer((json_int_t)rule->n_hit));
    return json;
}

void faults_put_json(struct cc_buffer *out, const struct faults *faults)
{
    json_t *rules = json_array();
    for (size_t i = 0; i < faults->n_rules; i++) {
        json_array_append_new(rules, rule_json(&faults->rules[i]));
    }
    json_t *json = json_pack("{s:o, s:I, s:I}", "rules", rules, "dropped", (json_int_t)faults->n_dropped, "delayed",
                             (json_int_t)faults->n_delayed);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    cc_buffer_append_text(out, text);
    free(text);
    json_decref(json);
}
