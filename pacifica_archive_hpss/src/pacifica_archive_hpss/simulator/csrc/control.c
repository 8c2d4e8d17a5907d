/*
 * Commands on a state, past the API: what an operator or a test does (fact 8.5).
 * None is a call of the API: not counted, not ruled, and with all permissions.
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hpss_sim.h"

#define PIECE (1u << 20)

typedef int command(sim_state *state, int argc, const char *const *argv, sim_text *answer);

static int say(sim_text *answer, int rc, const char *text)
{
    sim_print(answer, "%s", text);
    return rc;
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0 && *number <= INT64_MAX;
}

/* --- listing -------------------------------------------------------------------- */

static void list_one(sim_state *state, uint32_t index, const char *path, sim_text *answer)
{
    static const char *const kinds[] = {
        [SIM_FILE] = "file", [SIM_DIRECTORY] = "directory", [SIM_SYMLINK] = "symlink"};
    const sim_file *file = sim_file_at(state, index);

    sim_print(answer, "{\"path\": ");
    sim_print_quoted(answer, path);
    sim_print(answer, ", \"type\": \"%s\", \"mode\": %u, \"links\": %u, \"size\": %" PRIu64,
              kinds[file->kind], file->mode, file->links, file->size);
    sim_print(answer, ", \"mtime_s\": %u, \"cos\": %u, \"bitfile\": \"%08" PRIx64 "\"",
              file->mtime_s, file->cos, file->id);
    if (file->kind == SIM_SYMLINK) {
        sim_print(answer, ", \"target\": ");
        sim_print_quoted(answer, state->world->targets[file->target]);
    }
    sim_print(answer, ", \"levels\": ");
    if (file->kind == SIM_FILE)
        tape_levels_json(state, index, answer);
    else
        sim_print(answer, "[]");
    sim_print(answer, ", \"locked\": %s, \"attributes\": ",
              file->purge_locked ? "true" : "false");
    sim_attributes_json(state, file, answer);
    sim_print(answer, "}");
}

/* path has room for SIM_PATH bytes and is given back as it was. */
static void list_below(sim_state *state, uint32_t index, char *path, sim_text *answer)
{
    sim_world *world = state->world;
    size_t length = strlen(path);

    list_one(state, index, length == 0 ? "/" : path, answer);
    if (world->files[index].kind != SIM_DIRECTORY)
        return;
    for (uint32_t i = world->files[index].first_child; i != SIM_NONE;
         i = world->entries[i].next) {
        if (length + 1 + strlen(world->entries[i].name) >= SIM_PATH)
            continue;
        path[length] = '/';
        strcpy(path + length + 1, world->entries[i].name);
        sim_print(answer, ", ");
        list_below(state, world->entries[i].file, path, answer);
        path[length] = '\0';
    }
}

static int do_ls(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    char path[SIM_PATH];
    uint32_t index = SIM_NONE;

    snprintf(path, sizeof path, "%s", argc > 1 ? argv[1] : "/");
    for (size_t length = strlen(path); length > 0 && path[length - 1] == '/'; length--)
        path[length - 1] = '\0';
    sim_lock(state);
    sim_reap(state);
    tape_advance(state);
    int rc = sim_find(state, path[0] == '\0' ? "/" : path, 0, &index, NULL);
    if (rc == 0) {
        sim_print(answer, "[");
        list_below(state, index, path, answer);
        sim_print(answer, "]");
    } else
        say(answer, rc, strerror(-rc));
    sim_unlock(state);
    return rc;
}

/* --- bytes ---------------------------------------------------------------------- */

/* size bytes from one host descriptor to another; *copied: those that were there. */
static int copy(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size,
                uint64_t *copied)
{
    char *buffer = malloc(PIECE);
    int rc = buffer == NULL ? -ENOMEM : 0;

    *copied = 0;
    while (rc == 0 && *copied < size) {
        size_t piece = size - *copied < PIECE ? (size_t)(size - *copied) : PIECE;
        ssize_t got = pread(from, buffer, piece, (off_t)(from_offset + *copied));

        if (got <= 0) {
            rc = got < 0 ? -errno : 0;
            break;
        }
        for (ssize_t done = 0; done < got && rc == 0;) {
            ssize_t put = pwrite(to, buffer + done, (size_t)(got - done),
                                 (off_t)(to_offset + *copied + (uint64_t)done));
            if (put < 0)
                rc = -errno;
            else
                done += put;
        }
        *copied += (uint64_t)got;
    }
    free(buffer);
    return rc;
}

static int do_read(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    uint64_t id = 0, size = 0, copied;
    uint32_t index = SIM_NONE;
    char name[32];

    if (argc != 3)
        return say(answer, -EINVAL, "read PATH HOSTFILE");
    sim_lock(state);
    int rc = sim_find(state, argv[1], SIM_FOLLOW, &index, NULL);
    if (rc == 0 && sim_file_at(state, index)->kind != SIM_FILE)
        rc = -EISDIR;
    if (rc == 0) {
        id = sim_file_at(state, index)->id;
        size = sim_file_at(state, index)->size;
    }
    sim_unlock(state);
    if (rc < 0)
        return say(answer, rc, strerror(-rc));
    int to = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (to < 0)
        return say(answer, -errno, "the file of the host cannot be made");
    sim_data_name(name, id, "");
    int from = openat(state->data_fd, name, O_RDONLY | O_CLOEXEC);
    if (from >= 0) {
        rc = copy(from, 0, to, 0, size, &copied);
        close(from);
    }
    if (rc == 0 && ftruncate(to, (off_t)size) < 0)
        rc = -errno;
    close(to);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

/* A file without a name, to be filled and then given one: nobody sees half of it. */
static int begin_file(sim_state *state, uint32_t cos, uint32_t *index, uint64_t *id,
                      int *host)
{
    char name[32];
    uint32_t known = 0;

    sim_world *world = sim_lock(state);
    for (uint32_t i = 0; i < SIM_CLASSES; i++)
        known |= world->tape.classes[i].id == cos;
    *index = known ? sim_file_new(state, SIM_FILE, 0644) : SIM_NONE;
    if (*index != SIM_NONE) {
        sim_file *file = sim_file_at(state, *index);

        file->cos = cos;
        file->opens = 1; /* ours, until it has a name */
        *id = file->id;
        tape_on_create(state, *index);
    }
    sim_unlock(state);
    if (*index == SIM_NONE)
        return known ? -ENOSPC : -EINVAL;
    sim_data_name(name, *id, "");
    *host = openat(state->data_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return *host < 0 ? -EIO : 0;
}

static int name_file(sim_state *state, const char *path, uint32_t index)
{
    sim_place place;
    int rc = sim_make_parents(state, path);

    if (rc == 0)
        rc = sim_locate(state, path, SIM_FOLLOW, &place);
    if (rc < 0)
        return rc;
    if (place.file != SIM_NONE && sim_file_at(state, place.file)->kind != SIM_FILE)
        return -EISDIR;
    if (place.file != SIM_NONE && place.entry != SIM_NONE)
        sim_name_remove(state, place.entry);
    return sim_name_add(state, place.parent, place.name, index, false);
}

/* extents tells where there is data. */
static int end_file(sim_state *state, const char *path, uint32_t index, uint64_t size,
                    const sim_file *extents, int rc)
{
    sim_lock(state);
    sim_file *file = sim_file_at(state, index);

    SIM_TOUCH(state, *file);
    if (rc == 0) {
        file->size = size;
        memcpy(file->extents, extents->extents, sizeof file->extents);
        file->extent_count = extents->extent_count;
        tape_on_write(state, index, 0);
        rc = name_file(state, path, index);
    }
    file->opens = 0;
    sim_file_drop(state, index);
    sim_unlock(state);
    return rc;
}

static int add_part(int host, uint64_t offset, uint64_t limit, const char *path,
                    sim_file *extents, uint64_t *end)
{
    uint64_t copied;
    int from = open(path, O_RDONLY | O_CLOEXEC);

    if (from < 0)
        return -errno;
    int rc = copy(from, 0, host, offset, limit - offset, &copied);
    close(from);
    sim_extent_add(extents, offset, copied);
    *end = offset + copied;
    return rc;
}

static int do_write(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    uint64_t cos = (uint64_t)sim_knob(state->world, SIM_KNOB_default_cos), id, end = 0;
    sim_file extents = {.extent_count = 0};
    uint32_t index = SIM_NONE;
    int host = -1;

    if (argc < 3 || argc > 4 || (argc == 4 && !parse_number(argv[3], &cos)))
        return say(answer, -EINVAL, "write PATH HOSTFILE [COS]");
    int rc = begin_file(state, (uint32_t)cos, &index, &id, &host);
    if (rc == 0)
        rc = add_part(host, 0, INT64_MAX, argv[2], &extents, &end);
    if (host >= 0)
        close(host);
    if (index != SIM_NONE)
        rc = end_file(state, argv[1], index, end, &extents, rc);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

static int do_sparse(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    uint64_t size, id, end = 0, offset;
    sim_file extents = {.extent_count = 0};
    uint32_t index = SIM_NONE;
    int host = -1;

    if (argc < 3 || argc % 2 == 0 || !parse_number(argv[2], &size))
        return say(answer, -EINVAL, "sparse PATH SIZE [OFFSET HOSTFILE]...");
    for (int i = 3; i < argc; i += 2)
        if (!parse_number(argv[i], &offset) || offset > size)
            return say(answer, -EINVAL, "an offset is none, or beyond the size");
    int rc = begin_file(state, (uint32_t)sim_knob(state->world, SIM_KNOB_default_cos),
                        &index, &id, &host);
    for (int i = 3; rc == 0 && i < argc; i += 2) {
        parse_number(argv[i], &offset);
        rc = add_part(host, offset, size, argv[i + 1], &extents, &end);
    }
    if (rc == 0 && ftruncate(host, (off_t)size) < 0)
        rc = -errno;
    if (host >= 0)
        close(host);
    if (index != SIM_NONE)
        rc = end_file(state, argv[1], index, size, &extents, rc);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

/* --- names ---------------------------------------------------------------------- */

static int do_mkdir(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    sim_place place;
    uint32_t made = SIM_NONE;

    if (argc != 2)
        return say(answer, -EINVAL, "mkdir PATH");
    sim_lock(state);
    int rc = sim_make_parents(state, argv[1]);
    if (rc == 0)
        rc = sim_locate(state, argv[1], SIM_FOLLOW, &place);
    if (rc == 0 && place.file == SIM_NONE)
        rc = sim_make(state, &place, SIM_DIRECTORY, 0755, &made);
    else if (rc == 0 && sim_file_at(state, place.file)->kind != SIM_DIRECTORY)
        rc = -EEXIST;
    sim_unlock(state);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

static int do_link(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    if (argc != 3)
        return say(answer, -EINVAL, "link OLD NEW");
    sim_lock(state);
    int rc = sim_make_parents(state, argv[2]);
    if (rc == 0)
        rc = sim_link_names(state, argv[1], argv[2]);
    sim_unlock(state);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

static int do_symlink(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    if (argc != 3)
        return say(answer, -EINVAL, "symlink TARGET PATH");
    sim_lock(state);
    int rc = sim_make_parents(state, argv[2]);
    if (rc == 0)
        rc = sim_symlink(state, argv[1], argv[2]);
    sim_unlock(state);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

static int do_remove(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    sim_place place;

    if (argc != 2)
        return say(answer, -EINVAL, "remove PATH");
    sim_lock(state);
    int rc = sim_locate(state, argv[1], 0, &place);
    if (rc == 0 && place.file == SIM_NONE)
        rc = -ENOENT;
    else if (rc == 0 && place.entry == SIM_NONE)
        rc = -EBUSY;
    else if (rc == 0 && sim_file_at(state, place.file)->children > 0)
        rc = -ENOTEMPTY;
    if (rc == 0)
        sim_name_remove(state, place.entry);
    sim_unlock(state);
    return rc < 0 ? say(answer, rc, strerror(-rc)) : 0;
}

/* --- counters, rules, knobs ----------------------------------------------------- */

static int do_counters(sim_state *state, int argc, const char *const *argv,
                       sim_text *answer)
{
    bool reset = argc == 2 && strcmp(argv[1], "--reset") == 0;

    if (argc > 1 && !reset)
        return say(answer, -EINVAL, "counters [--reset]");
    sim_counters_json(state, reset, answer);
    return 0;
}

static int do_rule(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    if (argc == 1)
        sim_rules_json(state, answer);
    else if (argc == 2 && strcmp(argv[1], "--clear") == 0)
        sim_rules_clear(state);
    else if (argc == 2)
        return sim_rule_add(state, argv[1], answer);
    else
        return say(answer, -EINVAL, "rule [TEXT | --clear]");
    return 0;
}

static const char *const knob_names[] = {
#define SIM_X(name, value) #name,
    SIM_KNOBS(SIM_X)
#undef SIM_X
};

static const char *const stage_codes[] = {[SIM_STAGE_BLOCK] = "block",
                                          [SIM_STAGE_ASYNC] = "async",
                                          [SIM_STAGE_BACKGROUND] = "background",
                                          [SIM_STAGE_NONE] = "none"};

static void print_knobs(sim_state *state, sim_text *answer)
{
    sim_world *world = sim_lock(state);

    sim_print(answer, "{");
    for (int i = 0; i < SIM_KNOB_COUNT; i++) {
        double value = sim_knob(world, (enum sim_knob_name)i);

        if (i == SIM_KNOB_prelogin)
            sim_print(answer, "\"prelogin\": \"%s\", ", value != 0 ? "hang" : "error");
        else
            sim_print(answer, "\"%s\": %.17g, ", knob_names[i], value);
    }
    for (int i = 0; i < SIM_CLASSES; i++)
        if (world->tape.classes[i].id != 0)
            sim_print(answer, "\"stage_code:%u\": \"%s\", ", world->tape.classes[i].id,
                      stage_codes[world->tape.classes[i].stage_code % 4]);
    sim_print(answer, "\"user\": ");
    sim_print_quoted(answer, world->user);
    sim_print(answer, ", \"refused_user\": ");
    sim_print_quoted(answer, world->refused_user);
    sim_print(answer, ", \"mechanism\": ");
    sim_print_quoted(answer, world->mechanism);
    sim_print(answer, ", \"speed\": %.17g, \"now\": %.6f}", world->speed, sim_now(world));
    sim_unlock(state);
}

static int set_stage_code(sim_state *state, const char *class, const char *code,
                          sim_text *answer)
{
    uint64_t id;

    if (!parse_number(class, &id))
        return say(answer, -EINVAL, "stage_code:COS block|async|background|none");
    for (uint32_t i = 0; i < 4; i++) {
        if (strcmp(code, stage_codes[i]) != 0)
            continue;
        int rc = -ENOENT;
        sim_world *world = sim_lock(state);
        for (int j = 0; j < SIM_CLASSES; j++)
            if (world->tape.classes[j].id == id && id != 0) {
                SIM_TOUCH(state, world->tape.classes[j]);
                world->tape.classes[j].stage_code = i;
                rc = 0;
            }
        sim_unlock(state);
        return rc < 0 ? say(answer, rc, "there is no such class of service") : 0;
    }
    return say(answer, -EINVAL, "stage_code:COS block|async|background|none");
}

static int set_text(sim_state *state, char *target, size_t size, const char *value,
                    sim_text *answer)
{
    if (strlen(value) >= size)
        return say(answer, -EINVAL, "the value is too long");
    sim_lock(state);
    sim_touch(state, target, size);
    strcpy(target, value);
    sim_unlock(state);
    return 0;
}

static int set_knob(sim_state *state, const char *name, const char *text, sim_text *answer)
{
    sim_world *world = state->world;
    char *end;
    double value = strtod(text, &end);

    if (strncmp(name, "stage_code:", 11) == 0)
        return set_stage_code(state, name + 11, text, answer);
    if (strcmp(name, "user") == 0)
        return set_text(state, world->user, sizeof world->user, text, answer);
    if (strcmp(name, "refused_user") == 0)
        return set_text(state, world->refused_user, sizeof world->refused_user, text,
                        answer);
    if (strcmp(name, "mechanism") == 0)
        return set_text(state, world->mechanism, sizeof world->mechanism, text, answer);
    for (int i = 0; i < SIM_KNOB_COUNT; i++) {
        if (strcmp(name, knob_names[i]) != 0)
            continue;
        if (i == SIM_KNOB_prelogin && strcmp(text, "hang") == 0)
            value = 1;
        else if (i == SIM_KNOB_prelogin && strcmp(text, "error") == 0)
            value = 0;
        else if (end == text || *end != '\0')
            return say(answer, -EINVAL, "the value is no number");
        sim_lock(state);
        tape_advance(state); /* what has happened until now was with the old value */
        atomic_store(&world->knobs[i], value);
        sim_unlock(state);
        return 0;
    }
    return say(answer, -ENOENT, "there is no such knob");
}

static int do_knob(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    if (argc == 3)
        return set_knob(state, argv[1], argv[2], answer);
    if (argc != 1)
        return say(answer, -EINVAL, "knob [NAME VALUE]");
    print_knobs(state, answer);
    return 0;
}

static int do_format(sim_state *state, int argc, const char *const *argv, sim_text *answer)
{
    uint64_t fds = 0;

    if (argc != 1 && (argc != 3 || strcmp(argv[1], "--fds") != 0 ||
                      !parse_number(argv[2], &fds) || fds < 1 || fds > 4096))
        return say(answer, -EINVAL, "format [--fds 1..4096]");
    return sim_format(state, (int)fds);
}

static const struct {
    const char *name;
    command *run;
} commands[] = {{"ls", do_ls},           {"read", do_read},       {"write", do_write},
                {"sparse", do_sparse},   {"mkdir", do_mkdir},     {"link", do_link},
                {"symlink", do_symlink}, {"remove", do_remove},   {"counters", do_counters},
                {"rule", do_rule},       {"knob", do_knob},       {"format", do_format}};

static int run(const char *directory, int argc, const char *const *argv, sim_text *answer)
{
    sim_state *state;

    if (argc < 1)
        return say(answer, -EINVAL, "no command");
    bool formats = strcmp(argv[0], "format") == 0;
    int rc = sim_state_open(directory, formats, &state);
    if (rc < 0)
        return say(answer, rc, rc == -EIO || rc == -ENOENT
                                   ? "that is not the directory of a formatted state"
                                   : strerror(-rc));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(state, argc, argv, answer);
    rc = tape_control(state, argc, argv, answer);
    return rc == -ENOSYS ? say(answer, -EINVAL, "there is no such command") : rc;
}

int hpss_sim_command(const char *state, int argc, const char *const *argv, char **answer)
{
    sim_text text = {NULL, 0, 0};
    sim_thread *who = sim_this_thread();
    sim_thread before = *who;

    who->uid = 0;
    sim_print(&text, "%s", "");
    int rc = run(state, argc, argv, &text);
    *who = before;
    if (answer != NULL)
        *answer = text.bytes;
    else
        free(text.bytes);
    return rc;
}

void hpss_sim_free(char *answer)
{
    free(answer);
}
