/*
 * The state: its file, its lock, its journal, and what is shared in it.
 */
#include "sim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the OFD locks of living processes are: far behind the end of the file. */
#define PROCESS_BYTE ((off_t)1 << 40)

static pthread_mutex_t states_mutex = PTHREAD_MUTEX_INITIALIZER;
static sim_state *states;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/*
 * In a forked child: the lock's descriptor is the parent's, so that both would hold it
 * at once, and the mutex may be held by a thread that is not here. Async-signal-safe.
 */
static void after_fork(void)
{
    pthread_mutex_init(&states_mutex, NULL);
    for (sim_state *state = states; state != NULL; state = state->next) {
        if (state->fd >= 0)
            close(state->fd);
        state->fd = -1;
        pthread_mutex_init(&state->mutex, NULL);
    }
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork);
}

static int open_tables(const char *directory, int flags)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof path, "%s/tables", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
    return fd < 0 ? -errno : fd;
}

static int map_state(const char *directory, bool make, sim_state **result)
{
    char path[PATH_MAX + 16];
    struct stat status;

    snprintf(path, sizeof path, "%s/data", directory);
    if (make) {
        if (mkdir(directory, 0777) < 0 && errno != EEXIST)
            return -errno;
        if (mkdir(path, 0777) < 0 && errno != EEXIST)
            return -errno;
    }
    int fd = open_tables(directory, make ? O_CREAT : 0);
    if (fd < 0)
        return fd;
    int rc = 0;
    if (fstat(fd, &status) < 0)
        rc = -errno;
    else if (status.st_size != (off_t)sizeof(sim_world)) {
        if (!make)
            rc = -EIO;
        else if (ftruncate(fd, 0) < 0 || ftruncate(fd, sizeof(sim_world)) < 0)
            rc = -errno;
    }
    void *world = MAP_FAILED;
    if (rc == 0) {
        world = mmap(NULL, sizeof(sim_world), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (world == MAP_FAILED)
            rc = -errno;
    }
    int data_fd = -1;
    if (rc == 0) {
        data_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (data_fd < 0)
            rc = -errno;
    }
    sim_state *state = rc == 0 ? calloc(1, sizeof *state) : NULL;
    if (state == NULL) {
        if (world != MAP_FAILED)
            munmap(world, sizeof(sim_world));
        if (data_fd >= 0)
            close(data_fd);
        close(fd);
        return rc == 0 ? -ENOMEM : rc;
    }
    state->world = world;
    state->fd = fd;
    state->data_fd = data_fd;
    pthread_mutex_init(&state->mutex, NULL);
    snprintf(state->directory, sizeof state->directory, "%s", directory);
    *result = state;
    return 0;
}

/* Still the file that the directory has? (A removed and remade state is another.) */
static bool is_current(const sim_state *state)
{
    char path[PATH_MAX + 16];
    struct stat named, ours;

    snprintf(path, sizeof path, "%s/tables", state->directory);
    return state->fd < 0 ||
           (stat(path, &named) == 0 && fstat(state->fd, &ours) == 0 &&
            named.st_ino == ours.st_ino && named.st_dev == ours.st_dev &&
            named.st_size == (off_t)sizeof(sim_world));
}

int sim_state_open(const char *directory, bool make, sim_state **result)
{
    int rc = 0;

    if (directory == NULL || directory[0] == '\0')
        return -EINVAL;
    if (strlen(directory) >= PATH_MAX)
        return -ENAMETOOLONG;
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&states_mutex);
    sim_state *state = states;
    while (state != NULL &&
           (strcmp(state->directory, directory) != 0 || !is_current(state)))
        state = state->next;
    if (state == NULL) {
        rc = map_state(directory, make, &state);
        if (rc == 0) {
            state->next = states;
            states = state;
        }
    }
    pthread_mutex_unlock(&states_mutex);
    if (rc == 0 && !make &&
        (atomic_load(&state->world->magic) != SIM_MAGIC ||
         state->world->layout != SIM_LAYOUT))
        rc = -EIO;
    if (rc == 0)
        *result = state;
    return rc;
}

static _Atomic(sim_state *) api_state;

/*
 * Not formatted when first asked: asked again by the next call, so that a process may
 * format the state after it has loaded the library.
 */
sim_state *sim_api(void)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    sim_state *state = atomic_load_explicit(&api_state, memory_order_acquire);

    if (state != NULL)
        return state;
    const char *directory = getenv("PACIFICA_HPSS_SIM");
    int rc = sim_state_open(directory, false, &state);
    if (rc == 0) {
        atomic_store_explicit(&api_state, state, memory_order_release);
        return state;
    }
    if (!atomic_flag_test_and_set(&said))
        fprintf(stderr, "simulator of HPSS: %s (PACIFICA_HPSS_SIM=%s): %s\n",
                directory == NULL ? "no state directory is named"
                                  : "that is not the directory of a formatted state",
                directory == NULL ? "" : directory, strerror(-rc));
    return NULL;
}

bool sim_api_moved(void)
{
    sim_state *state = atomic_load(&api_state), *named = NULL;

    return state != NULL &&
           (sim_state_open(getenv("PACIFICA_HPSS_SIM"), false, &named) < 0 ||
            named != state);
}

void sim_api_forget(void)
{
    atomic_store(&api_state, NULL);
}

/*
 * The journal: records as they were, each followed by its offset and size, so that it
 * is read backwards. Only the death of a process is to be survived, not that of the
 * machine, so the order of our own stores is enough.
 */
typedef struct {
    uint64_t offset, size;
} journal_tail;

void sim_touch(sim_state *state, void *record, size_t size)
{
    sim_world *world = state->world;
    uint32_t used = atomic_load_explicit(&world->journal_used, memory_order_relaxed);
    journal_tail tail = {(uint64_t)((uint8_t *)record - (uint8_t *)world), size};

    if (world->journal_overflow || used + size + sizeof tail > SIM_JOURNAL) {
        /* Too much for one step: what came before is kept, as at a checkpoint. */
        world->journal_overflow = 1;
        sim_checkpoint(state);
        return;
    }
    memcpy(world->journal + used, record, size);
    memcpy(world->journal + used + size, &tail, sizeof tail);
    atomic_store_explicit(&world->journal_used, used + (uint32_t)(size + sizeof tail),
                          memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

void sim_checkpoint(sim_state *state)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&state->world->journal_used, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

static void undo(sim_world *world)
{
    uint32_t used = atomic_load(&world->journal_used);
    journal_tail tail;

    while (used > sizeof tail) {
        memcpy(&tail, world->journal + used - sizeof tail, sizeof tail);
        used -= (uint32_t)(tail.size + sizeof tail);
        memcpy((uint8_t *)world + tail.offset, world->journal + used, tail.size);
        atomic_store(&world->journal_used, used);
    }
    atomic_store(&world->journal_used, 0);
}

static void take_lock(sim_state *state)
{
    pthread_mutex_lock(&state->mutex);
    if (state->fd < 0)
        state->fd = open_tables(state->directory, 0);
    while (flock(state->fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            /* Without it the state would be spoilt for everyone. */
            fprintf(stderr, "simulator of HPSS: %s cannot be locked: %s\n",
                    state->directory, strerror(errno));
            abort();
        }
}

sim_world *sim_lock(sim_state *state)
{
    take_lock(state);
    if (atomic_load_explicit(&state->world->journal_used, memory_order_acquire) != 0)
        undo(state->world);
    state->world->journal_overflow = 0;
    return state->world;
}

/*
 * The bytes of a file go after its record, and only when that is sure: a process that
 * dies between leaves bytes without a record, which the next format removes.
 */
static void doom(sim_state *state, uint64_t id)
{
    if (state->doomed_count == state->doomed_size) {
        size_t size = state->doomed_size * 2 + 16;
        uint64_t *doomed = realloc(state->doomed, size * sizeof *doomed);

        if (doomed == NULL)
            return;
        state->doomed = doomed;
        state->doomed_size = size;
    }
    state->doomed[state->doomed_count++] = id;
}

static void remove_doomed(sim_state *state)
{
    char name[32];

    for (size_t i = 0; i < state->doomed_count; i++) {
        sim_data_name(name, state->doomed[i], "");
        unlinkat(state->data_fd, name, 0);
        sim_data_name(name, state->doomed[i], ".uda");
        unlinkat(state->data_fd, name, 0);
    }
    state->doomed_count = 0;
}

void sim_unlock(sim_state *state)
{
    sim_checkpoint(state);
    remove_doomed(state);
    flock(state->fd, LOCK_UN);
    pthread_mutex_unlock(&state->mutex);
}

/* The kernel lets go of this lock when the process dies, however it does. */
static int process_lock(sim_state *state, int command, short type, uint32_t process)
{
    struct flock lock = {.l_type = type,
                         .l_whence = SEEK_SET,
                         .l_start = PROCESS_BYTE + process,
                         .l_len = 1};

    if (fcntl(state->fd, command, &lock) < 0)
        return -errno;
    return command == F_OFD_GETLK ? lock.l_type != F_UNLCK : 0;
}

static void bury(sim_state *state, uint32_t process)
{
    sim_world *world = state->world;

    for (uint32_t i = 0; i < world->opens_used; i++)
        if (world->opens[i].used && world->opens[i].process == process)
            sim_open_end(state, i);
    SIM_TOUCH(state, world->processes[process]);
    world->processes[process].used = 0;
    sim_checkpoint(state);
}

/* The slot that this copy holds itself: its own lock does not conflict with it. */
static const sim_state *own_state;
static uint32_t own_process;
static int own_pid;

static bool is_own(const sim_state *state, uint32_t process)
{
    return state == own_state && process == own_process && own_pid == getpid();
}

void sim_reap(sim_state *state)
{
    for (uint32_t i = 0; i < SIM_PROCESSES; i++)
        if (state->world->processes[i].used && !is_own(state, i) &&
            process_lock(state, F_OFD_GETLK, F_WRLCK, i) == 0)
            bury(state, i);
}

int sim_process_begin(sim_state *state, uint32_t *process)
{
    sim_world *world = state->world;

    sim_reap(state);
    for (uint32_t i = 0; i < SIM_PROCESSES; i++) {
        if (world->processes[i].used)
            continue;
        int rc = process_lock(state, F_OFD_SETLK, F_WRLCK, i);
        if (rc < 0)
            continue;
        SIM_TOUCH(state, world->processes[i]);
        world->processes[i].used = 1;
        world->processes[i].pid = getpid();
        own_state = state;
        own_process = i;
        own_pid = getpid();
        *process = i;
        return 0;
    }
    return -EAGAIN;
}

void sim_process_end(sim_state *state, uint32_t process)
{
    bury(state, process);
    process_lock(state, F_OFD_SETLK, F_UNLCK, process);
    own_state = NULL;
}

int sim_open_begin(sim_state *state, uint32_t process, uint32_t file, uint32_t *open)
{
    sim_world *world = state->world;
    uint32_t i = world->free_open;

    if (i == SIM_NONE) {
        sim_reap(state);
        i = world->free_open;
    }
    if (i == SIM_NONE) {
        if (world->opens_used == SIM_OPENS)
            return -ENFILE;
        SIM_TOUCH(state, world->opens_used);
        i = world->opens_used++;
        SIM_TOUCH(state, world->opens[i]);
    } else {
        SIM_TOUCH(state, world->free_open);
        SIM_TOUCH(state, world->opens[i]);
        world->free_open = world->opens[i].next_free;
    }
    world->opens[i] = (sim_open_record){1, process, file, SIM_NONE};
    SIM_TOUCH(state, world->open_files);
    world->open_files++;
    SIM_TOUCH(state, world->files[file].opens);
    world->files[file].opens++;
    *open = i;
    return 0;
}

void sim_open_end(sim_state *state, uint32_t open)
{
    sim_world *world = state->world;
    uint32_t file = world->opens[open].file;

    SIM_TOUCH(state, world->opens[open]);
    SIM_TOUCH(state, world->free_open);
    SIM_TOUCH(state, world->open_files);
    SIM_TOUCH(state, world->files[file].opens);
    world->opens[open].used = 0;
    world->opens[open].next_free = world->free_open;
    world->free_open = open;
    world->open_files--;
    world->files[file].opens--;
    sim_file_drop(state, file);
}

void sim_data_name(char name[static 32], uint64_t id, const char *suffix)
{
    snprintf(name, 32, "%08" PRIx64 "%s", id, suffix);
}

uint32_t sim_file_new(sim_state *state, uint32_t kind, uint32_t mode)
{
    sim_world *world = state->world;
    uint32_t i = world->free_file;

    if (i == SIM_NONE) {
        if (world->files_used == SIM_FILES)
            return SIM_NONE;
        SIM_TOUCH(state, world->files_used);
        i = world->files_used++;
    } else {
        SIM_TOUCH(state, world->free_file);
        world->free_file = world->files[i].next_free;
    }
    sim_file *file = &world->files[i];
    SIM_TOUCH(state, *file);
    SIM_TOUCH(state, world->next_file_id);
    memset(file, 0, sizeof *file);
    file->kind = kind;
    file->mode = mode;
    file->uid = file->gid = SIM_UID;
    file->id = world->next_file_id++;
    file->target = file->first_child = file->last_child = SIM_NONE;
    file->next_free = SIM_NONE;
    file->atime_s = file->mtime_s = file->ctime_s = file->created_s = sim_now_s(world);
    return i;
}

void sim_file_drop(sim_state *state, uint32_t index)
{
    sim_world *world = state->world;
    sim_file *file = &world->files[index];

    if (file->kind == SIM_FREE || file->links > 0 || file->opens > 0)
        return;
    if (file->kind == SIM_FILE)
        tape_on_delete(state, index);
    if (file->kind == SIM_FILE || file->attributes > 0)
        doom(state, file->id);
    if (file->target != SIM_NONE) {
        SIM_TOUCH(state, world->targets[file->target]);
        world->targets[file->target][0] = '\0';
    }
    SIM_TOUCH(state, *file);
    SIM_TOUCH(state, world->free_file);
    file->kind = SIM_FREE;
    file->next_free = world->free_file;
    world->free_file = index;
}

sim_file *sim_file_with_id(sim_state *state, uint32_t index, uint64_t id)
{
    sim_world *world = state->world;

    if (index >= world->files_used || world->files[index].kind == SIM_FREE ||
        world->files[index].id != id)
        return NULL;
    return &world->files[index];
}

/* Bytes and attributes of files made before the state was formatted. */
static void remove_data(sim_state *state, uint64_t before)
{
    int fd = openat(state->data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (directory == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && strtoull(entry->d_name, NULL, 16) < before)
            unlinkat(state->data_fd, entry->d_name, 0);
    closedir(directory);
}

int sim_format(sim_state *state, int fds)
{
    static const double defaults[] = {
#define SIM_X(name, value) [SIM_KNOB_##name] = (value),
        SIM_KNOBS(SIM_X)
#undef SIM_X
    };
    struct timespec now;

    take_lock(state);
    sim_world *world = state->world;
    bool known = world->layout == SIM_LAYOUT && world->size == sizeof *world;
    uint64_t next_id = known && world->next_file_id > 0 ? world->next_file_id : 1;
    uint32_t entries = known ? world->entries_used : 0;

    atomic_store(&world->magic, 0);
    atomic_signal_fence(memory_order_seq_cst);
    sim_checkpoint(state);
    if (known)
        for (uint32_t i = 0; i < entries && i < SIM_ENTRIES; i++)
            world->buckets[world->entries[i].hash % SIM_BUCKETS] = 0;
    else
        memset(world->buckets, 0, sizeof world->buckets);
    if (known)
        memset(&world->counters, 0, sizeof world->counters);
    memset(world->rules, 0, sizeof world->rules);
    atomic_store(&world->rule_count, 0);
    atomic_fetch_add(&world->rule_generation, 1);
    atomic_fetch_add(&world->generation, 1);
    for (uint32_t i = 0; i < SIM_TARGETS; i++)
        if (world->targets[i][0] != '\0')
            world->targets[i][0] = '\0';
    world->layout = SIM_LAYOUT;
    world->size = sizeof *world;
    clock_gettime(CLOCK_REALTIME, &now);
    world->real_base = world->simulated_base =
        (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    world->speed = 1;
    world->next_file_id = next_id;
    world->files_used = world->entries_used = world->opens_used = 0;
    world->free_file = world->free_entry = world->free_open = SIM_NONE;
    world->open_files = 0;
    snprintf(world->user, sizeof world->user, "%s", "");
    snprintf(world->refused_user, sizeof world->refused_user, "%s", "nobody-such");
    snprintf(world->mechanism, sizeof world->mechanism, "%s", "unix");
    for (int i = 0; i < SIM_KNOB_COUNT; i++)
        atomic_store(&world->knobs[i], defaults[i]);
    if (fds > 0)
        atomic_store(&world->knobs[SIM_KNOB_fds], (double)fds);
    tape_format(state);
    world->root = sim_file_new(state, SIM_DIRECTORY, 0755);
    world->files[world->root].links = 2;
    sim_checkpoint(state);
    remove_data(state, next_id);
    atomic_store(&world->magic, SIM_MAGIC);
    flock(state->fd, LOCK_UN);
    pthread_mutex_unlock(&state->mutex);
    return 0;
}
