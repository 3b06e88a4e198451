// Whatever bytes stand in a log entry: refused, or read to the end and written back the same.
#include "proxy/node/effect.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void put_part(struct effect_builder *builder, const struct effect_part *part)
{
    uint32_t shape = 0;
    switch (part->kind) {
    case EFFECT_SHAPE:
        effect_put_shape(builder, &part->shape);
        break;
    case EFFECT_ROWS:
        shape = effect_put_shape(builder, &part->shape);
        for (uint32_t i = 0; i < part->n_rows; i++) {
            effect_put_row(builder, shape, part->tag, part->rows[i].values, part->rows[i].old_key);
        }
        break;
    case EFFECT_SEQUENCES:
        for (uint32_t i = 0; i < part->n_sequences; i++) {
            effect_put_sequence(builder, part->sequences[i].name, part->sequences[i].value, part->sequences[i].is_called);
        }
        break;
    case EFFECT_DDL:
        effect_put_ddl(builder, part->sql);
        break;
    case EFFECT_MIGRATION:
        effect_put_migration(builder, part->name, part->sql);
        break;
    }
}

static enum cc_status copy_effects(struct cc_slice effects, struct cc_arena *arena, struct effect_builder *builder)
{
    struct effect_reader reader;
    effect_reader_init(&reader, effects, arena);
    struct effect_part part;
    enum cc_status status = effect_reader_next(&reader, &part);
    while (status == CC_OK) {
        put_part(builder, &part);
        status = effect_reader_next(&reader, &part);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct effect_builder copy = {0};
    struct effect_builder copy_of_copy = {0};
    struct entry entry;
    bool read = entry_read(cc_slice_of(data, n), &arena, &entry) == CC_OK;
    if (read && copy_effects(entry.effects, &arena, &copy) == CC_NOT_FOUND) {
        struct cc_slice bytes = effect_builder_slice(&copy);
        bool whole = copy_effects(bytes, &arena, &copy_of_copy) == CC_NOT_FOUND;
        if (!whole || !cc_slice_equal(bytes, effect_builder_slice(&copy_of_copy))) {
            abort();
        }
    }
    effect_builder_finish(&copy);
    effect_builder_finish(&copy_of_copy);
    cc_arena_finish(&arena);
    return 0;
}
