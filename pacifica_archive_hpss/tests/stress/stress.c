/*
 * Threads of mixed work through the shim, on one state that they share.
 *
 *     stress STATE SECONDS THREADS
 *
 * Compiled together with _shim.c, and linked with a simulator that was built with the
 * same sanitizer. Every byte that is read says which file, version and offset it is of,
 * so a wrong one is seen at once. Meanwhile an operator migrates, purges, recalls, sets
 * error rules and knobs. Exit code 1, with a line for each fault on stderr: a wrong byte,
 * an answer nothing explains, a descriptor or PVList not given back, a violation.
 * What the sanitizer finds ends the program by itself. The counters go to stdout.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "_cdef.h"
#include "hpss_sim.h"

#define SLOTS 48        /* names that all threads replace, read and unlink */
#define BLOCK 32768     /* bytes of one transfer */
#define LARGEST 200000  /* bytes of a file */
#define KEY "/hpss/user/cksum/pacifica"
#define KEEP 3          /* faults told of each thread */

/* The first bytes of every file. */
typedef struct {
    uint32_t slot, serial;
    uint64_t size;
} label;

static const char *state;
static atomic_bool over;
static atomic_uint serials;
static atomic_uint faults;
/* What has to have happened, or nothing was proven. */
static atomic_uint wholes, on_tape;
static pah_build build;

static void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void fault(const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (atomic_fetch_add(&faults, 1) < 20)
        fprintf(stderr, "stress: %s\n", text);
}

/* --- chance and bytes ------------------------------------------------------------ */

static uint64_t mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static uint32_t below(uint64_t *chance, uint32_t limit)
{
    *chance = mix(*chance);
    return (uint32_t)(*chance >> 33) % limit;
}

/* The bytes of a version from an offset on. */
static void fill(const label *version, uint64_t offset, uint8_t *buffer, size_t size)
{
    uint64_t seed = (uint64_t)version->slot << 32 | version->serial;
    for (size_t i = 0; i < size; i++) {
        uint64_t at = offset + i;
        buffer[i] = at < sizeof *version
                        ? ((const uint8_t *)version)[at]
                        : (uint8_t)(mix(seed ^ mix(at / 8)) >> at % 8 * 8);
    }
}

static bool matches(const label *version, uint64_t offset, const uint8_t *found,
                    size_t size)
{
    uint8_t expected[BLOCK];
    fill(version, offset, expected, size);
    return memcmp(expected, found, size) == 0;
}

/* --- answers --------------------------------------------------------------------- */

/* What the operator's rules and knobs make of any call, and what the record must say. */
static bool explained(const char *what, int64_t rc, const pah_error *error,
                      const int *codes)
{
    static const int weather[] = {EBUSY, ESTALE, ENOSPC, ECONNRESET, 0};
    if (rc >= 0)
        return true;
    if (error->code != -rc || error->function[0] == 0 || error->rc >= 0 ||
        memchr(error->name, 0, sizeof error->name) == NULL ||
        memchr(error->request_id, 0, sizeof error->request_id) == NULL) {
        fault("%s: %ld, but the record says %d (%d of %.63s)", what, (long)rc,
              error->code, error->rc, error->function);
        return false;
    }
    for (const int *code = weather; *code; code++)
        if (-rc == *code)
            return true;
    for (const int *code = codes; code && *code; code++)
        if (-rc == *code)
            return true;
    fault("%s: %s: rc %d, errno %d, HPSS %d %s", what, strerror((int)-rc), error->rc,
          error->local_errno, error->hpss_errno, error->name);
    return false;
}

static const int missing[] = {ENOENT, 0};
static const int taken[] = {EEXIST, 0};
/* A purge may come between any two calls, and nothing is recalled for them. */
static const int offline[] = {EAGAIN, ENOENT, EINPROGRESS, 0};
static const int per_file[] = {ENOENT, EINPROGRESS, EAGAIN, EINVAL, 0};

static void slot_path(char path[64], uint32_t slot)
{
    snprintf(path, 64, "/stress/%u/slot-%u", slot % 4, slot);
}

/* --- work ------------------------------------------------------------------------ */

typedef struct {
    uint32_t number;
    uint64_t chance;
    uint64_t done;
    char folder[64]; /* of this thread alone */
    uint32_t kept;   /* files in it */
} worker;

static void close_file(int32_t fd)
{
    pah_error error;
    /* No rule is ever set for Close: it has to give the descriptor back. */
    explained("close", pah_close(fd, &error), &error, NULL);
}

/* Write a whole new file: 1, or 0 if the operator's weather was against it. */
static int upload(worker *self, const char *path, const label *version)
{
    static const uint32_t classes[] = {0, 1, 2, 3, 5};
    pah_error error;
    uint8_t block[BLOCK];
    int64_t hint = below(&self->chance, 4) ? (int64_t)version->size : -1;
    uint32_t class = hint < 0 ? 0 : classes[below(&self->chance, 5)];
    int32_t fd = pah_create(path, 0444, hint, class, &error);
    if (fd < 0) {
        explained("create", fd, &error, NULL);
        return 0;
    }
    bool whole = true;
    for (uint64_t offset = 0; whole && offset < version->size;) {
        uint64_t size = version->size - offset;
        size = size < BLOCK ? size : BLOCK;
        fill(version, offset, block, size);
        int64_t written = pah_write(fd, block, size, &error);
        whole = written > 0;
        if (written == 0 || written > (int64_t)size)
            fault("write of %lu bytes: %ld", (unsigned long)size, (long)written);
        explained("write", written, &error, NULL);
        offset += written > 0 ? (uint64_t)written : 0;
    }
    if (whole && below(&self->chance, 2))
        explained("fsync", pah_fsync(fd, &error), &error, NULL);
    close_file(fd);
    return whole;
}

static void remove_name(const char *path)
{
    pah_error error;
    explained("unlink", pah_unlink(path, &error), &error, missing);
}

/* Put a file where others see it: as a replacement, or only if the name is free. */
static void store(worker *self)
{
    pah_error error;
    char incoming[64], path[64], value[64];
    label version = {.slot = below(&self->chance, SLOTS),
                     .serial = atomic_fetch_add(&serials, 1)};
    version.size = sizeof version + below(&self->chance, below(&self->chance, 8)
                                                             ? 3 * BLOCK
                                                             : LARGEST);
    snprintf(incoming, sizeof incoming, "/stress/incoming/%u", version.serial);
    slot_path(path, version.slot);
    if (!upload(self, incoming, &version)) {
        remove_name(incoming);
        return;
    }
    snprintf(value, sizeof value, "%u %u", version.slot, version.serial);
    const char *keys[] = {KEY}, *values[] = {value};
    explained("utime", pah_utime(incoming, 1700000000 + version.slot, &error), &error,
              NULL);
    explained("set attributes", pah_set_attributes(incoming, 1, keys, values, &error),
              &error, NULL);
    if (below(&self->chance, 4) == 0)
        explained("chmod", pah_chmod(incoming, 0444, &error), &error, NULL);
    if (below(&self->chance, 2)) {
        /* ENOENT: the rename was done, its reply was lost, and this is what is left. */
        explained("rename", pah_rename(incoming, path, &error), &error, NULL);
    } else {
        explained("link", pah_link(incoming, path, &error), &error, taken);
    }
    remove_name(incoming);
}

/* Read a version whole, and pieces of it in any order: every byte of one version. */
static void fetch(worker *self)
{
    pah_error error;
    char path[64];
    uint8_t block[BLOCK];
    label version;
    uint32_t slot = below(&self->chance, SLOTS);
    slot_path(path, slot);
    int32_t fd = pah_open(path, below(&self->chance, 4) == 0, &error);
    if (fd < 0) {
        explained("open", fd, &error, offline);
        return;
    }
    uint64_t offset = 0;
    int64_t count = 0;
    while (offset < sizeof version) {
        count = pah_read(fd, block + offset, sizeof version - offset, &error);
        if (count <= 0)
            break;
        offset += (uint64_t)count;
    }
    if (offset == sizeof version) {
        memcpy(&version, block, sizeof version);
        if (version.slot != slot || version.size > LARGEST + sizeof version)
            fault("slot %u holds %u's version %u of %lu bytes", slot, version.slot,
                  version.serial, (unsigned long)version.size);
        while ((count = pah_read(fd, block, 1 + below(&self->chance, BLOCK), &error)) >
               0) {
            if (offset + (uint64_t)count > version.size ||
                !matches(&version, offset, block, (size_t)count)) {
                fault("slot %u, version %u: wrong bytes at %lu", slot, version.serial,
                      (unsigned long)offset);
                break;
            }
            offset += (uint64_t)count;
        }
        if (count == 0 && offset != version.size)
            fault("slot %u, version %u ends at %lu of %lu", slot, version.serial,
                  (unsigned long)offset, (unsigned long)version.size);
        for (int piece = 0; count == 0 && piece < 4; piece++) {
            offset = below(&self->chance, (uint32_t)version.size);
            if (!explained("seek", pah_seek(fd, offset, &error), &error, NULL))
                break;
            int64_t size = pah_read(fd, block, 100, &error);
            if (!explained("read a piece", size, &error, offline) || size < 0)
                break;
            if (size == 0 || offset + (uint64_t)size > version.size ||
                !matches(&version, offset, block, (size_t)size))
                fault("slot %u, version %u: wrong piece of %ld at %lu", slot,
                      version.serial, (long)size, (unsigned long)offset);
        }
    } else if (count == 0) {
        fault("slot %u has no label: %lu bytes", slot, (unsigned long)offset);
    }
    explained("read", count, &error, offline);
    if (count == 0)
        atomic_fetch_add(&wholes, 1);
    close_file(fd);
}

static bool look(const char *path, pah_status *status)
{
    pah_error error;
    int32_t rc = pah_get_status(path, status, &error);
    if (rc < 0) {
        explained("status", rc, &error, missing);
        return false;
    }
    if (status->kind != PAH_FILE || status->bitfile.id[0] == 0 ||
        memchr(status->bitfile.id, 0, sizeof status->bitfile.id) == NULL ||
        status->bitfile.handle_size == 0 ||
        status->bitfile.handle_size > sizeof status->bitfile.handle)
        fault("%s: kind %d, bitfile %.71s", path, status->kind, status->bitfile.id);
    uint64_t on_disk = 0;
    for (int i = 0; i < PAH_LEVELS; i++) {
        const pah_level *level = &status->levels[i];
        on_disk += level->flags & PAH_DISK ? level->bytes : 0;
        if (level->bytes > status->size || (level->bytes > 0 && level->flags == 0) ||
            memchr(level->cartridge, 0, sizeof level->cartridge) == NULL ||
            (level->flags & PAH_TAPE && level->bytes > 0 && level->cartridge[0] == 0))
            fault("%s: level %d: %lu of %lu bytes, flags %u, cartridge %.31s", path, i,
                  (unsigned long)level->bytes, (unsigned long)status->size,
                  level->flags, level->cartridge);
    }
    if (on_disk == 0)
        atomic_fetch_add(&on_tape, 1);
    return true;
}

static void look_at_one(worker *self)
{
    pah_error error;
    pah_status status;
    pah_stat stat;
    char path[64], values[1][128];
    const char *keys[] = {KEY};
    uint32_t slot = below(&self->chance, SLOTS), found, serial;
    slot_path(path, slot);
    look(path, &status);
    int32_t rc = pah_lstat(path, &stat, &error);
    if (explained("lstat", rc, &error, missing) && rc >= 0 &&
        (stat.kind != PAH_FILE || stat.links < 1))
        fault("lstat: kind %d, %u links", stat.kind, stat.links);
    rc = pah_get_attributes(path, 1, keys, values[0], sizeof values[0], &error);
    if (explained("get attributes", rc, &error, missing) && rc >= 0 &&
        (sscanf(values[0], "%u %u", &found, &serial) != 2 || found != slot))
        fault("slot %u has the attribute '%.127s'", slot, values[0]);
}

/* A request id as ours are: of the file, so that it can be computed again. */
static void request_of(const pah_bitfile *bitfile, uint8_t request[16])
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < bitfile->handle_size; i++)
        hash = mix(hash ^ bitfile->handle[i]);
    memcpy(request, &hash, 8);
    hash = mix(hash);
    memcpy(request + 8, &hash, 8);
}

static void stage_one(worker *self)
{
    pah_error error;
    pah_status status;
    pah_callback callback;
    char path[64];
    uint8_t request[16];
    slot_path(path, below(&self->chance, SLOTS));
    if (!look(path, &status))
        return;
    request_of(&status.bitfile, request);
    int32_t rc = pah_stage_state(&status.bitfile, request, &error);
    if (!explained("stage state", rc, &error, per_file) || rc > PAH_STAGE_ACTIVE)
        return;
    bool with = below(&self->chance, 2);
    if (with)
        explained("resolve", pah_resolve("127.0.0.1", "6666", &callback, &error),
                  &error, NULL);
    explained("stage",
              pah_stage(path, status.size, request, with ? &callback : NULL, &error),
              &error, per_file);
}

static void stage_some(worker *self)
{
    pah_error error;
    pah_status status;
    pah_bitfile bitfiles[16];
    int32_t answers[16];
    uint8_t request[16];
    char path[64];
    uint32_t count = 0, first = below(&self->chance, SLOTS);
    for (uint32_t i = 0; i < 16; i++) {
        slot_path(path, (first + i) % SLOTS);
        if (look(path, &status))
            bitfiles[count++] = status.bitfile;
    }
    if (count == 0)
        return;
    request_of(&bitfiles[0], request);
    int32_t rc = pah_batch_state(count, bitfiles, request, answers, &error);
    if (!build.has_batch) {
        if (rc != -ENOSYS)
            fault("batch state without batches: %d", rc);
        return;
    }
    if (explained("batch state", rc, &error, per_file) && rc >= 0)
        for (uint32_t i = 0; i < count; i++)
            if (answers[i] < PAH_STAGE_UNKNOWN || answers[i] > PAH_STAGE_ACTIVE)
                fault("batch state of %u: %d", i, answers[i]);
    rc = pah_batch_stage(count, bitfiles, request, NULL, answers, &error);
    if (explained("batch", rc, &error, per_file) && rc >= 0)
        for (uint32_t i = 0; i < count; i++)
            if (answers[i] < 0)
                fault("batch: code of %u: %d", i, answers[i]);
}

/* Directories that all make, and one that only this thread fills and lists. */
static void list(worker *self)
{
    pah_error error;
    char path[128], name[256];
    int32_t rc;
    if (self->kept < 40) {
        snprintf(path, sizeof path, "%s/%u", self->folder, self->kept);
        rc = pah_mkdir(path, 0755, &error);
        self->kept += explained("mkdir", rc, &error, NULL) && rc >= 0;
    }
    snprintf(path, sizeof path, "/stress/%u", below(&self->chance, 4));
    rc = pah_mkdir(path, 0755, &error);
    if (explained("mkdir again", rc, &error, taken) && rc >= 0)
        fault("a directory was made again");
    bool own = below(&self->chance, 2);
    int32_t directory = pah_opendir(own ? self->folder : path, &error);
    if (directory < 0) {
        explained("opendir", directory, &error, NULL);
        return;
    }
    uint32_t found = 0;
    while ((rc = pah_readdir(directory, name, sizeof name, &error)) > 0) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        found++;
        if (memchr(name, 0, sizeof name) == NULL ||
            (!own && strncmp(name, "slot-", 5) != 0))
            fault("a directory holds '%.255s'", name);
    }
    if (explained("readdir", rc, &error, NULL) && rc == 0 && own && found != self->kept)
        fault("%u names in a directory of %u", found, self->kept);
    explained("closedir", pah_closedir(directory, &error), &error, NULL);
}

/* Answers that are no. */
static void be_refused(worker *self)
{
    pah_error error;
    pah_status status;
    char path[64], other[64];
    snprintf(path, sizeof path, "/stress/missing-%u", self->number);
    snprintf(other, sizeof other, "/stress/incoming/never-%u", self->number);
    int32_t answers[] = {
        pah_get_status(path, &status, &error), pah_open(path, 0, &error),
        pah_unlink(path, &error),              pah_rename(path, other, &error),
        pah_link(path, other, &error),         pah_utime(path, 1, &error),
        pah_opendir(path, &error),
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (answers[i] >= 0)
            fault("no refusal: call %zu answers %d", i, answers[i]);
    int32_t fd = pah_create(self->folder, 0444, 1, 0, &error);
    if (explained("create a directory", fd, &error, taken) && fd >= 0)
        fault("a directory was created as a file");
    int64_t count = pah_read(1 << 20, other, sizeof other, &error);
    if (explained("read nothing", count, &error, (const int[]){EBADF, 0}) && count >= 0)
        fault("bytes were read from no descriptor");
}

static void *work(void *data)
{
    worker *self = data;
    pah_error error;
    char text[64];
    static void (*const acts[])(worker *) = {store,       store,     store, fetch, fetch,
                                             fetch,       fetch,     fetch, stage_one,
                                             look_at_one, stage_some, list, be_refused};
    while (!atomic_load(&over) && atomic_load(&faults) == 0) {
        char path[64];
        uint32_t act = below(&self->chance, 64);
        if (act == 0) {
            slot_path(path, below(&self->chance, SLOTS));
            remove_name(path);
        } else if (act == 1) {
            explained("level", pah_level_text(text, sizeof text, &error), &error, NULL);
            if (build.has_ping)
                explained("ping", pah_ping("", &error), &error, NULL);
        } else {
            acts[act % (sizeof acts / sizeof *acts)](self);
        }
        self->done++;
    }
    return NULL;
}

/* --- the operator ---------------------------------------------------------------- */

/* One command; its answer is the caller's to free, NULL if it was refused. */
static char *command(int count, const char *const *words)
{
    char *answer = NULL;
    int rc = hpss_sim_command(state, count, words, &answer);
    /* What a command names may be gone, on no tape yet, or busy. */
    if (rc < 0) {
        if (rc != -ENOENT && rc != -EBUSY && rc != -EINVAL && rc != -ENOSPC)
            fault("%s %s: %s", words[0], count > 1 ? words[1] : "", answer);
        hpss_sim_free(answer);
        return NULL;
    }
    return answer;
}

#define COMMAND(...)                                                              \
    command(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),         \
            (const char *[]){__VA_ARGS__})

static void tell(const char *word, const char *value)
{
    hpss_sim_free(value ? COMMAND(word, value) : COMMAND(word));
}

static void *operate(void *data)
{
    static const char *const rules[] = {
        "Open@/stress/*/slot-*:3:-EBUSY",
        "Read:2:-HPSS_ESTALE",
        "Read:1-3:short",
        "Write:5:-ENOSPC",
        "Write:1+:short",
        "FileGetXAttributes:2-3:-EBUSY",
        "FileGetXAttributes:1:lost-ECONNRESET",
        "Rename:2:-EBUSY",
        "Rename:1:lost-ECONNRESET",
        "Link:1:lost-ECONNRESET",
        "Utime:1:-HPSS_ESTALE",
        "UserAttrGetAttrs:1:lost-ECONNRESET",
        "StageBatchCallBack:1:lost-ECONNRESET",
        "GetBatchAsynchStatus:1:-EBUSY",
        "Opendir:1:-EBUSY",
        "Readdir:4:-ECONNRESET",
    };
    static const char *const knobs[] = {"short_reads", "short_writes", "full", "tor",
                                        "delay_ms"};
    uint64_t *chance = data;
    char path[64], folder[64];
    while (!atomic_load(&over)) {
        slot_path(path, below(chance, SLOTS));
        snprintf(folder, sizeof folder, "/stress/%u", below(chance, 4));
        switch (below(chance, 8)) {
        case 0:
            tell("migrate", "/stress");
            break;
        case 1:
        case 2:
            tell("migrate", folder);
            tell("purge", folder);
            break;
        case 3:
            tell("stage", path);
            break;
        case 4:
            tell("rule", rules[below(chance, sizeof rules / sizeof *rules)]);
            break;
        case 5:
            tell("rule", "--clear");
            break;
        case 6:
            hpss_sim_free(COMMAND("knob", knobs[below(chance, 5)],
                                  below(chance, 4) ? "0" : "1"));
            break;
        default:
            tell(below(chance, 2) ? "ls" : "counters", NULL);
        }
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    }
    tell("rule", "--clear");
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++)
        hpss_sim_free(COMMAND("knob", knobs[i], "0"));
    return NULL;
}

/* --- begin and end --------------------------------------------------------------- */

static void make(const char *path)
{
    pah_error error;
    if (pah_mkdir(path, 0755, &error) < 0)
        fault("mkdir %s: %s", path, strerror(error.code));
}

/* The number behind a key of the counters. */
static void expect_zero(const char *counters, const char *key)
{
    const char *at = strstr(counters, key);
    at = at ? strchr(at, ':') : NULL;
    if (at == NULL || strtol(at + 1, NULL, 10) != 0)
        fault("%s is%.20s", key, at ? at : " not told");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    state = argv[1];
    double seconds = strtod(argv[2], NULL);
    uint32_t count = (uint32_t)strtoul(argv[3], NULL, 10);
    worker *workers = calloc(count, sizeof *workers);
    pthread_t *threads = calloc(count + 1, sizeof *threads);
    pah_error error;
    /* Whatever hangs is a fault too: SIGALRM ends the program. */
    alarm((unsigned)seconds + 120);
    setenv("PACIFICA_HPSS_SIM", state, 1);
    hpss_sim_free(COMMAND("format", "--fds", "256"));
    hpss_sim_free(COMMAND("speed", "100"));
    pah_describe(&build);
    if (pah_login("hpss.unix", "unix", argv[0], &error) < 0) {
        fprintf(stderr, "stress: login: %s (%s)\n", strerror(error.code), error.name);
        return 1;
    }
    make("/stress");
    make("/stress/incoming");
    for (char path[64], *end = path + sprintf(path, "/stress/"), i = 0; i < 4; i++) {
        sprintf(end, "%d", i);
        make(path);
    }
    for (uint32_t i = 0; i < count; i++) {
        workers[i] = (worker){.number = i, .chance = mix(i + 1)};
        snprintf(workers[i].folder, sizeof workers[i].folder, "/stress/own-%u", i);
        make(workers[i].folder);
    }
    uint64_t chance = mix(0);
    pthread_create(&threads[count], NULL, operate, &chance);
    for (uint32_t i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work, &workers[i]);
    struct timespec left = {(time_t)seconds,
                            (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&left, NULL);
    atomic_store(&over, true);
    uint64_t done = 0;
    for (uint32_t i = 0; i <= count; i++) {
        pthread_join(threads[i], NULL);
        done += i < count ? workers[i].done : 0;
    }
    tell("settle", NULL);
    char *counters = COMMAND("counters");
    if (counters != NULL) {
        expect_zero(counters, "\"open_files\"");
        expect_zero(counters, "\"pvlists\"");
        const char *at = strstr(counters, "\"violations\"");
        at = at ? strchr(at, '[') : NULL;
        if (at == NULL || at[1 + strspn(at + 1, " \n")] != ']')
            fault("violations: %.200s", at ? at : "not told");
        puts(counters);
    }
    hpss_sim_free(counters);
    pah_logout();
    fprintf(stderr,
            "stress: %lu things done by %u threads, %u versions stored, %u read whole,"
            " %u seen on tape\n",
            (unsigned long)done, count, atomic_load(&serials), atomic_load(&wholes),
            atomic_load(&on_tape));
    if (atomic_load(&wholes) < count || atomic_load(&on_tape) == 0)
        fault("too little was done to prove anything");
    free(workers);
    free(threads);
    return atomic_load(&faults) != 0;
}
