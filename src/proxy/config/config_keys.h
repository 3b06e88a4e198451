// The descriptor table of the configuration file. Internal to config*.c.
#ifndef PROXY_CONFIG_KEYS_H
#define PROXY_CONFIG_KEYS_H

#include "proxy/config/config.h"

enum config_kind {
    CONFIG_NUMBER,     // uint32_t; min..max are values
    CONFIG_TEXT,       // const char *; min..max are lengths
    CONFIG_FLAG,       // bool
    CONFIG_NAME,       // as text; letters, digits, '-', '_' and '.'
    CONFIG_LOG_LEVEL,  // enum cc_log_level
    CONFIG_ADDRESS,    // struct config_address
    CONFIG_PUBLIC_KEY, // 32 bytes, 64 hex digits in the file
    CONFIG_SCHEMAS,    // list of texts into struct config_postgres
    CONFIG_SETTINGS,   // object of name: text into struct config_settings
    CONFIG_REPLICAS,   // list of objects with the keys "replicas[].…"
};

struct config_key {
    const char *path; // "timeouts.election_ms"; "replicas[].id" for each replica
    enum config_kind kind;
    size_t offset; // in struct config, or in struct config_replica for "replicas[].…"
    bool required;
    uint32_t min;
    uint32_t max;
    uint32_t number;  // default of a number
    const char *text; // default of everything else, as it is written in JSON
    const char *unit;
    const char *help;
};

#define CONFIG_REPLICA_PREFIX "replicas[]."

extern const struct config_key config_keys[];
extern const size_t config_n_keys;

// NULL when there is no such key.
const struct config_key *config_key_find(const char *path);
// Whether keys start with `path` and a dot.
bool config_key_is_section(const char *path);
bool config_key_is_of_replica(const struct config_key *key);
// What the unknown key `name` inside `prefix` ("", "timeouts.", ...) was probably meant to be: a path, or NULL.
const char *config_key_nearest(const char *prefix, const char *name);

// A quoted name without its quotes is compared: "warn". False when there is no such level.
bool config_log_level_parse(const char *name, enum cc_log_level *level_out);

#endif
