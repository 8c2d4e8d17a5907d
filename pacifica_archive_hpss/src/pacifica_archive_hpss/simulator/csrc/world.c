/*
 * Commands that move files between levels, break cartridges and turn the clock.
 */
#include "cos.h"
#include "recall.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECALLS 1000000 /* more than any queue holds: settle gives up then */

/* What a command says instead of its answer. */
static int refuse(sim_text *answer, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(sim_text *answer, int code, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sim_print(answer, "%s", text);
    return code;
}

static bool number_of(const char *text, double *number)
{
    char *end;

    errno = 0;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*number);
}

/* --- over all files below the paths ---------------------------------------------- */

typedef struct {
    enum { MIGRATE, PURGE, STAGE, PARTIAL, LOSE } what;
    bool named; /* the file itself was named: what cannot be done to it is an error */
    int level;  /* of a purge; -1: all disk levels */
    uint64_t limit;
    uint64_t files, bytes;
    tape_placement where;
} walk;

static int stage_now(sim_state *state, uint32_t index, uint64_t *bytes)
{
    sim_file *file = sim_file_at(state, index);
    uint64_t data = sim_data_bytes(file);

    *bytes = 0;
    if (tape_media(state->world, file, 0) != SIM_DISK || file->levels[0].bytes >= data)
        return 0;
    if (tape_disk_bytes(state->world, file) < data &&
        !tape_has_copy(state->world, file, data))
        return -EIO;
    *bytes = data - file->levels[0].bytes;
    tape_put_on_disk(state, index, data);
    return 0;
}

static int keep_part(sim_state *state, uint32_t index, uint64_t limit, uint64_t *bytes)
{
    sim_file *file = sim_file_at(state, index);

    *bytes = sim_data_before(file, limit < file->size ? limit : file->size);
    if (tape_media(state->world, file, 0) != SIM_DISK ||
        !tape_has_copy(state->world, file, sim_data_bytes(file)))
        return -EINVAL;
    for (unsigned l = 1; l < SIM_LEVELS; l++)
        if (tape_media(state->world, file, l) == SIM_DISK) {
            SIM_TOUCH(state, file->levels[l]);
            file->levels[l].bytes = 0;
            file->levels[l].exists = 0;
        }
    tape_put_on_disk(state, index, *bytes);
    return 0;
}

static int visit(sim_state *state, uint32_t index, void *data)
{
    walk *with = data;
    sim_file *file = sim_file_at(state, index);
    uint64_t bytes = 0;
    int rc = 0;

    switch (with->what) {
    case MIGRATE:
        rc = tape_migrate(state, index, false, &with->where, &bytes);
        break;
    case PURGE:
        rc = tape_purge(state, index, with->level, &bytes);
        break;
    case STAGE:
        rc = stage_now(state, index, &bytes);
        break;
    case PARTIAL:
        rc = keep_part(state, index, with->limit, &bytes);
        break;
    case LOSE:
        SIM_TOUCH(state, file->levels);
        memset(file->levels, 0, sizeof file->levels);
        bytes = sim_data_bytes(file);
        break;
    }
    if (rc < 0 && with->named)
        return rc;
    if (rc == 0 && bytes > 0) {
        with->files++;
        with->bytes += bytes;
    }
    sim_checkpoint(state);
    return 0;
}

static int walk_path(sim_state *state, const char *path, walk *with, sim_text *answer)
{
    uint32_t index, entry;

    sim_lock(state);
    tape_advance(state);
    int rc = sim_find(state, path, SIM_FOLLOW, &index, &entry);
    if (rc == 0) {
        with->named = sim_file_at(state, index)->kind == SIM_FILE;
        rc = sim_each_file(state, path, visit, with);
    }
    sim_unlock(state);
    if (rc == -EINVAL && with->named)
        return refuse(answer, rc, "%s: no tape has a whole copy of it", path);
    if (rc == -EBUSY && with->named)
        return refuse(answer, rc, "%s: it is purge locked", path);
    if (rc == -ENOSPC)
        return refuse(answer, rc, "no cartridge left: there are at most %d", SIM_CARTRIDGES);
    return rc < 0 ? refuse(answer, rc, "%s: %s", path, strerror(-rc)) : 0;
}

static int over_paths(sim_state *state, int argc, const char *const *argv, walk *with,
                      sim_text *answer)
{
    if (argc < 1)
        return refuse(answer, -EINVAL, "a path is wanted");
    for (int i = 0; i < argc; i++) {
        int rc = walk_path(state, argv[i], with, answer);
        if (rc < 0)
            return rc;
    }
    sim_print(answer, "{\"files\": %llu, \"bytes\": %llu}", (unsigned long long)with->files,
              (unsigned long long)with->bytes);
    return 0;
}

/* migrate [--cartridge LABEL]... [--aggregate N] PATH... */
static int do_migrate(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    walk with = {.what = MIGRATE};
    double number;

    while (argc > 1 && strncmp(argv[0], "--", 2) == 0) {
        if (strcmp(argv[0], "--cartridge") == 0) {
            size_t length = strlen(argv[1]);
            if (length == 0 || length > 11 || with.where.count == SIM_VVS)
                return refuse(answer, -EINVAL,
                              "a label has 1 to 11 characters, a file at most %d cartridges",
                              SIM_VVS);
            sim_lock(state);
            uint32_t cartridge = tape_cartridge(state, argv[1]);
            sim_unlock(state);
            if (cartridge == SIM_NONE)
                return refuse(answer, -ENOSPC, "there are at most %d cartridges",
                              SIM_CARTRIDGES);
            with.where.cartridges[with.where.count++] = cartridge;
        } else if (strcmp(argv[0], "--aggregate") == 0 && number_of(argv[1], &number) &&
                   number >= 1 && number <= 1000) {
            with.where.aggregate = (uint32_t)number;
        } else {
            return refuse(answer, -EINVAL, "not an option, or not its value: %s %s", argv[0],
                          argv[1]);
        }
        argc -= 2;
        argv += 2;
    }
    return over_paths(state, argc, argv, &with, answer);
}

/* purge [--level N] PATH... */
static int do_purge(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    walk with = {.what = PURGE, .level = -1};
    double number;

    if (argc > 1 && strcmp(argv[0], "--level") == 0) {
        if (!number_of(argv[1], &number) || number < 0 || number >= SIM_LEVELS)
            return refuse(answer, -EINVAL, "a level is 0 to %d", SIM_LEVELS - 1);
        with.level = (int)number;
        argc -= 2;
        argv += 2;
    }
    return over_paths(state, argc, argv, &with, answer);
}

static int do_partial(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    double number;

    if (argc != 2 || !number_of(argv[1], &number) || number < 0 || number > 1e18)
        return refuse(answer, -EINVAL, "a path and a number of bytes are wanted");
    walk with = {.what = PARTIAL, .limit = (uint64_t)number};
    return over_paths(state, 1, argv, &with, answer);
}

static int do_stage(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    walk with = {.what = STAGE};

    return over_paths(state, argc, argv, &with, answer);
}

static int do_lose(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    walk with = {.what = LOSE};

    return over_paths(state, argc, argv, &with, answer);
}

/* --- cartridges -------------------------------------------------------------------- */

/* Its segments are gone, at every file and level. With the lock. */
static uint64_t forget_segments(sim_state *state, uint32_t cartridge)
{
    uint64_t files = 0;

    for (uint32_t i = 0; i < state->world->files_used; i++) {
        sim_file *file = sim_file_at(state, i);
        bool hit = false;
        if (file->kind != SIM_FILE)
            continue;
        for (unsigned l = 0; l < SIM_LEVELS; l++) {
            sim_level *level = &file->levels[l];
            uint32_t kept = 0;
            for (uint32_t v = 0; v < level->vv_count; v++)
                kept += level->vv[v].cartridge != cartridge;
            if (kept == level->vv_count)
                continue;
            hit = true;
            SIM_TOUCH(state, *level);
            uint32_t to = 0;
            level->bytes = 0;
            for (uint32_t v = 0; v < level->vv_count; v++)
                if (level->vv[v].cartridge != cartridge) {
                    level->bytes += level->vv[v].bytes;
                    level->vv[to++] = level->vv[v];
                }
            level->vv_count = kept;
            level->exists = kept > 0;
        }
        files += hit;
        if (hit)
            sim_checkpoint(state);
    }
    return files;
}

static int do_break(sim_state *state, int argc, const char *const *argv, bool dead,
                    sim_text *answer)
{
    uint64_t files = 0;

    if (argc != 1)
        return refuse(answer, -EINVAL, "a cartridge is wanted");
    sim_world *world = sim_lock(state);
    tape_advance(state);
    uint32_t c = 0;
    while (c < world->tape.cartridges_used &&
           strcmp(world->tape.cartridges[c].label, argv[0]) != 0)
        c++;
    bool found = c < world->tape.cartridges_used;
    if (found) {
        SIM_TOUCH(state, world->tape.cartridges[c]);
        if (dead) {
            world->tape.cartridges[c].dead = 1;
            files = forget_segments(state, c);
        } else {
            world->tape.cartridges[c].damaged = 1;
        }
    }
    sim_unlock(state);
    if (!found)
        return refuse(answer, -ENOENT, "no such cartridge: %s", argv[0]);
    sim_print(answer, "{\"cartridge\": ");
    sim_print_quoted(answer, argv[0]);
    sim_print(answer, ", \"files\": %llu}", (unsigned long long)files);
    return 0;
}

/* --- the clock ------------------------------------------------------------------------ */

static int say_time(sim_state *state, sim_text *answer)
{
    sim_world *world = sim_lock(state);
    double now = sim_now(world), speed = world->speed;
    sim_unlock(state);

    sim_print(answer, "{\"now\": %.6f, \"speed\": %g}", now, speed);
    return 0;
}

static int do_clock(sim_state *state, int argc, const char *const *argv, bool speed,
                    sim_text *answer)
{
    double number;

    if (argc != 1 || !number_of(argv[0], &number) || number < 0 || number > 1e9)
        return refuse(answer, -EINVAL, "a number from 0 to 1e9 is wanted");
    sim_lock(state);
    tape_advance(state);
    if (speed)
        sim_set_speed(state, number);
    else
        sim_advance(state, number);
    tape_advance(state);
    sim_unlock(state);
    return say_time(state, answer);
}

/* Jumps from event to event until nothing is queued or active. */
static int do_settle(sim_state *state, int argc, sim_text *answer)
{
    uint64_t events = 0;

    if (argc != 0)
        return refuse(answer, -EINVAL, "settle takes nothing");
    for (;;) {
        sim_world *world = sim_lock(state);
        tape_advance(state);
        tape_dispatch(state);
        bool done = world->tape.requests_live == 0;
        double ahead = world->tape.next_due - sim_now(world);
        bool stuck = !done && ahead > 1e12;
        if (!done && !stuck && ahead > 0)
            sim_advance(state, ahead + 1e-6);
        sim_unlock(state);
        if (done)
            break;
        if (stuck || events++ == RECALLS)
            return refuse(answer, -EBUSY, "requests are queued, and no drive takes them");
    }
    return say_time(state, answer);
}

/* --- what waits, and classes of service ------------------------------------------------ */

static int do_queue(sim_state *state, int argc, sim_text *answer)
{
    if (argc != 0)
        return refuse(answer, -EINVAL, "queue takes nothing");
    sim_world *world = sim_lock(state);
    const sim_tape *tape = &world->tape;
    const char *separator = "";
    tape_advance(state);
    sim_print(answer, "{\"callbacks\": %u, \"requests\": [", tape->callbacks);
    for (uint32_t slot = 0; slot < tape->requests_used; slot++) {
        const sim_request *request = &tape->requests[slot];
        if (request->state == SIM_REQUEST_FREE)
            continue;
        sim_print(answer,
                  "%s{\"order\": %llu, \"state\": \"%s\", \"kind\": \"%s\", \"file\": %llu, "
                  "\"request_id\": \"",
                  separator, (unsigned long long)request->order,
                  request->state == SIM_REQUEST_ACTIVE ? "active" : "queued",
                  request->kind == SIM_REQUEST_STAGE ? "stage" : "read",
                  (unsigned long long)request->file_id);
        for (unsigned i = 0; i < 16; i++)
            sim_print(answer, "%02x", request->request_id[i]);
        sim_print(answer, "\"}");
        separator = ", ";
    }
    sim_print(answer, "]}");
    sim_unlock(state);
    return 0;
}

static const char *const stage_codes[] = {"block", "async", "background", "none"};
static const char *const media_words[] = {"none", "disk", "tape"};

static void class_json(const sim_class *class, sim_text *answer)
{
    sim_print(answer, "{\"id\": %u, \"name\": ", class->id);
    sim_print_quoted(answer, class->name);
    sim_print(answer, ", \"levels\": [");
    for (unsigned l = 0; l < class->levels; l++)
        sim_print(answer, "%s\"%s\"", l > 0 ? ", " : "", media_words[class->media[l]]);
    sim_print(answer, "], \"stage\": \"%s\", \"min\": %llu, \"max\": %llu}",
              stage_codes[class->stage_code], (unsigned long long)class->minimum_size,
              (unsigned long long)class->maximum_size);
}

static int parse_levels(const char *text, sim_class *class)
{
    char copy[64], *rest = copy, *word;

    snprintf(copy, sizeof copy, "%s", text);
    class->levels = 0;
    memset(class->media, 0, sizeof class->media);
    if (strcmp(text, "none") == 0)
        return 0; /* no level is described: where its files are is not known */
    while ((word = strsep(&rest, ",")) != NULL) {
        if (class->levels == SIM_LEVELS)
            return -EINVAL;
        if (strcmp(word, "disk") == 0)
            class->media[class->levels++] = SIM_DISK;
        else if (strcmp(word, "tape") == 0)
            class->media[class->levels++] = SIM_TAPE;
        else
            return -EINVAL;
    }
    return 0;
}

static int parse_class(int argc, const char *const *argv, sim_class *class)
{
    bool described = class->levels > 0;

    for (int i = 0; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        double number;
        if (strcmp(argv[i], "--levels") == 0) {
            if (parse_levels(value, class) < 0)
                return -EINVAL;
            described = true;
        } else if (strcmp(argv[i], "--stage") == 0) {
            unsigned code = 0;
            while (code < 4 && strcmp(stage_codes[code], value) != 0)
                code++;
            if (code == 4)
                return -EINVAL;
            class->stage_code = code;
        } else if (strcmp(argv[i], "--name") == 0 && strlen(value) < sizeof class->name) {
            snprintf(class->name, sizeof class->name, "%s", value);
        } else if (strcmp(argv[i], "--min") == 0 && number_of(value, &number) &&
                   number >= 0 && number < 1e19) {
            class->minimum_size = (uint64_t)number;
        } else if (strcmp(argv[i], "--max") == 0 && number_of(value, &number) &&
                   number >= 0 && number < 1e19) {
            class->maximum_size = (uint64_t)number;
        } else {
            return -EINVAL;
        }
    }
    return argc % 2 == 0 && described ? 0 : -EINVAL;
}

/*
 * cos | cos ID [--levels disk,tape | none] [--stage CODE] [--name N] [--min B] [--max B]
 * Hierarchies as of fact 8.4, in place of a configuration file.
 */
static int do_cos(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    double number = 0;
    sim_class class;
    uint32_t slot = SIM_CLASSES;

    if (argc > 0 && (!number_of(argv[0], &number) || number < 1 || number > 1e6))
        return refuse(answer, -EINVAL, "a class of service has a number");
    sim_world *world = sim_lock(state);
    for (uint32_t i = 0; i < SIM_CLASSES; i++)
        if (world->tape.classes[i].id == (uint32_t)number &&
            (slot == SIM_CLASSES || number > 0))
            slot = i;
    if (number > 0 && slot == SIM_CLASSES)
        for (uint32_t i = 0; i < SIM_CLASSES && slot == SIM_CLASSES; i++)
            if (world->tape.classes[i].id == 0)
                slot = i;
    int rc = 0;
    if (number > 0 && slot == SIM_CLASSES)
        rc = -ENOSPC;
    if (rc == 0 && number > 0) {
        class = world->tape.classes[slot];
        if (class.id == 0) {
            memset(&class, 0, sizeof class);
            class.id = (uint32_t)number;
            class.maximum_size = 1ULL << 40;
        }
        rc = parse_class(argc - 1, argv + 1, &class);
        if (rc == 0) {
            SIM_TOUCH(state, world->tape.classes[slot]);
            world->tape.classes[slot] = class;
        }
    }
    if (rc == 0) {
        const char *separator = "";
        sim_print(answer, "[");
        for (uint32_t i = 0; i < SIM_CLASSES; i++)
            if (world->tape.classes[i].id != 0) {
                sim_print(answer, "%s", separator);
                class_json(&world->tape.classes[i], answer);
                separator = ", ";
            }
        sim_print(answer, "]");
    }
    sim_unlock(state);
    if (rc == -ENOSPC)
        return refuse(answer, rc, "there are at most %d classes of service", SIM_CLASSES);
    if (rc < 0)
        return refuse(answer, rc,
                      "wanted: ID [--levels disk,tape] [--stage block|async|background|none] "
                      "[--name TEXT] [--min BYTES] [--max BYTES]");
    return 0;
}

int tape_control(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    const char *name = argc > 0 ? argv[0] : "";

    argc--;
    argv++;
    if (strcmp(name, "migrate") == 0)
        return do_migrate(state, argc, argv, answer);
    if (strcmp(name, "purge") == 0)
        return do_purge(state, argc, argv, answer);
    if (strcmp(name, "stage") == 0)
        return do_stage(state, argc, argv, answer);
    if (strcmp(name, "partial") == 0)
        return do_partial(state, argc, argv, answer);
    if (strcmp(name, "lose") == 0)
        return do_lose(state, argc, argv, answer);
    if (strcmp(name, "damage") == 0 || strcmp(name, "dead") == 0)
        return do_break(state, argc, argv, strcmp(name, "dead") == 0, answer);
    if (strcmp(name, "speed") == 0 || strcmp(name, "advance") == 0)
        return do_clock(state, argc, argv, strcmp(name, "speed") == 0, answer);
    if (strcmp(name, "settle") == 0)
        return do_settle(state, argc, answer);
    if (strcmp(name, "queue") == 0)
        return do_queue(state, argc, answer);
    if (strcmp(name, "cos") == 0)
        return do_cos(state, argc, argv, answer);
    return -ENOSYS;
}
