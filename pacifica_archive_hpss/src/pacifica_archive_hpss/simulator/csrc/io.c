/*
 * Open files: the table of descriptors, bytes, sizes, directories (facts 8.7, 8.9, 8.12).
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cos.h"
#include "hpss_api.h"

/* Descriptors are small integers of a private table, from 3 on (fact 3: OSD). */
#define FIRST 3
#define TABLE 4096

enum { FREE, OPEN_FILE, OPEN_DIRECTORY };

static sim_descriptor *table[TABLE];
static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;

static unsigned this_thread(void)
{
    static atomic_uint threads;
    static _Thread_local unsigned number;

    if (number == 0)
        number = atomic_fetch_add(&threads, 1) + 1;
    return number;
}

/* A free descriptor, in use by this thread; its number, or -EMFILE (fact 8.7). */
static int new_descriptor(sim_call *call, unsigned kind, const char *path)
{
    int limit = (int)sim_knob(call->state->world, SIM_KNOB_fds);
    int number = -EMFILE;

    pthread_mutex_lock(&table_mutex);
    for (int i = 0; i < limit && i < TABLE; i++) {
        if (table[i] != NULL && table[i]->used != FREE)
            continue;
        if (table[i] == NULL)
            table[i] = calloc(1, sizeof *table[i]);
        if (table[i] == NULL) {
            number = -ENOMEM;
            break;
        }
        sim_descriptor *descriptor = table[i];
        descriptor->used = kind;
        descriptor->generation = atomic_load(&call->state->world->generation);
        descriptor->file = descriptor->open = SIM_NONE;
        descriptor->host_fd = -1;
        descriptor->offset = 0;
        snprintf(descriptor->path, sizeof descriptor->path, "%s", path);
        atomic_store(&descriptor->busy, this_thread());
        call->descriptor = descriptor;
        number = i + FIRST;
        break;
    }
    pthread_mutex_unlock(&table_mutex);
    return number;
}

/* The bytes' own descriptor and the record that it is open; then the table's slot. */
static void free_descriptor(sim_state *state, sim_descriptor *descriptor)
{
    if (descriptor->host_fd >= 0)
        close(descriptor->host_fd);
    descriptor->host_fd = -1;
    if (descriptor->open != SIM_NONE) {
        sim_world *world = sim_lock(state);
        if (descriptor->generation == atomic_load(&world->generation))
            sim_open_end(state, descriptor->open);
        sim_unlock(state);
    }
    free(descriptor->names);
    descriptor->names = NULL;
    pthread_mutex_lock(&table_mutex);
    descriptor->used = FREE;
    atomic_store(&descriptor->busy, 0);
    pthread_mutex_unlock(&table_mutex);
}

static void let_go(sim_call *call)
{
    free_descriptor(call->state, call->descriptor);
    call->descriptor = NULL;
}

int sim_take_descriptor(sim_call *call, int fd)
{
    bool directory = call->function == SIM_Readdir || call->function == SIM_Closedir;
    unsigned nobody = 0, other = 0;
    int rc = -EBADF;

    pthread_mutex_lock(&table_mutex);
    sim_descriptor *descriptor =
        fd >= FIRST && fd < FIRST + TABLE ? table[fd - FIRST] : NULL;
    if (descriptor != NULL &&
        descriptor->used == (directory ? OPEN_DIRECTORY : OPEN_FILE)) {
        if (atomic_compare_exchange_strong(&descriptor->busy, &nobody, this_thread()))
            rc = 0;
        else
            other = nobody;
    }
    pthread_mutex_unlock(&table_mutex);
    if (other != 0) {
        /* Fact 3: no caller does it; what HPSS does then is not known. */
        sim_violation(call->state, "descriptor %d in two threads at once", fd);
        return -EBUSY;
    }
    if (rc < 0)
        return rc;
    call->descriptor = descriptor;
    call->path = descriptor->path;
    if (descriptor->generation != atomic_load(&call->state->world->generation) &&
        call->function != SIM_Close && call->function != SIM_Closedir)
        return -ESTALE;
    return 0;
}

void sim_give_back_descriptor(sim_descriptor *descriptor)
{
    atomic_store(&descriptor->busy, 0);
}

void sim_reset_descriptors(sim_state *state)
{
    for (int i = 0; i < TABLE; i++) {
        pthread_mutex_lock(&table_mutex);
        bool used = table[i] != NULL && table[i]->used != FREE;
        pthread_mutex_unlock(&table_mutex);
        if (used)
            free_descriptor(state, table[i]);
    }
}

/* --- where a file has data ------------------------------------------------------ */

uint64_t sim_data_before(const sim_file *file, uint64_t offset)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < file->extent_count; i++) {
        uint64_t begin = file->extents[i].offset, end = begin + file->extents[i].length;

        if (begin < offset)
            bytes += (end < offset ? end : offset) - begin;
    }
    return bytes;
}

uint64_t sim_data_bytes(const sim_file *file)
{
    return sim_data_before(file, UINT64_MAX);
}

void sim_extent_add(sim_file *file, uint64_t offset, uint64_t length)
{
    sim_extent all[SIM_EXTENTS + 1];
    uint32_t count = 0, i = 0;
    uint64_t end = offset + length;

    if (length == 0)
        return;
    while (i < file->extent_count &&
           file->extents[i].offset + file->extents[i].length < offset)
        all[count++] = file->extents[i++];
    for (; i < file->extent_count && file->extents[i].offset <= end; i++) {
        uint64_t other = file->extents[i].offset + file->extents[i].length;

        offset = file->extents[i].offset < offset ? file->extents[i].offset : offset;
        end = other > end ? other : end;
    }
    all[count++] = (sim_extent){offset, end - offset};
    while (i < file->extent_count)
        all[count++] = file->extents[i++];
    if (count > SIM_EXTENTS) {
        /* Too many: the smallest hole is counted as data. */
        uint32_t least = 1;
        uint64_t hole = UINT64_MAX;

        for (i = 1; i < count; i++) {
            uint64_t between = all[i].offset - all[i - 1].offset - all[i - 1].length;
            if (between < hole) {
                hole = between;
                least = i;
            }
        }
        all[least - 1].length = all[least].offset + all[least].length - all[least - 1].offset;
        memmove(&all[least], &all[least + 1], (count - least - 1) * sizeof all[0]);
        count--;
    }
    memcpy(file->extents, all, count * sizeof all[0]);
    file->extent_count = count;
}

void sim_cut(sim_file *file, uint64_t size)
{
    while (file->extent_count > 0) {
        sim_extent *last = &file->extents[file->extent_count - 1];

        if (last->offset >= size)
            file->extent_count--;
        else {
            if (last->offset + last->length > size)
                last->length = size - last->offset;
            break;
        }
    }
    file->size = size;
}

static int host_file(sim_call *call)
{
    sim_descriptor *descriptor = call->descriptor;
    char name[32];

    if (descriptor->host_fd < 0) {
        sim_data_name(name, descriptor->file_id, "");
        descriptor->host_fd = openat(call->state->data_fd, name,
                                     O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    }
    return descriptor->host_fd < 0 ? -EIO : descriptor->host_fd;
}

/* --- opening and closing -------------------------------------------------------- */

/* With the lock: how a new file begins. */
static int create_file(sim_call *call, const sim_place *place, uint32_t mode,
                       const hpss_cos_hints_t *hints,
                       const hpss_cos_priorities_t *priorities, uint32_t *index)
{
    sim_world *world = call->state->world;
    uint32_t cos;

    /* A class cannot give the space that the hints ask for (guess: at the open). */
    if (hints != NULL && sim_knob(world, SIM_KNOB_full) != 0)
        return -ENOSPC;
    int rc = cos_choose(world, hints, priorities, &cos);
    if (rc < 0)
        return rc;
    /* Whether the mode given at creation sticks is a guess, hence a knob. */
    if (sim_knob(world, SIM_KNOB_mode_at_create) == 0)
        mode = 0600;
    else if (sim_knob(world, SIM_KNOB_open_sets_umask) != 0)
        mode &= ~sim_this_thread()->umask;
    rc = sim_make(call->state, place, SIM_FILE, mode & 0777, index);
    if (rc < 0)
        return rc;
    sim_file_at(call->state, *index)->cos = cos;
    tape_on_create(call->state, *index);
    return 0;
}

/* The bytes first: what is cut off must not be seen again when the file grows. */
static int truncate_file(sim_state *state, uint32_t index, uint64_t size)
{
    sim_file *file = sim_file_at(state, index);
    uint64_t before = file->size < size ? file->size : size;
    char name[32];
    int rc = 0;

    sim_data_name(name, file->id, "");
    int fd = openat(state->data_fd, name, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        rc = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
        close(fd);
    }
    if (rc < 0)
        return rc;
    SIM_TOUCH(state, *file);
    sim_cut(file, size);
    file->mtime_s = file->ctime_s = file->written_s = sim_now_s(state->world);
    tape_on_write(state, index, before);
    return 0;
}

/* With the lock: the checks of open(2) and the making of the file. */
static int find_or_create(sim_call *call, const char *path, int oflag, uint32_t mode,
                          const hpss_cos_hints_t *hints,
                          const hpss_cos_priorities_t *priorities, uint32_t *index,
                          bool *made)
{
    int access = oflag & O_ACCMODE;
    bool exclusive = (oflag & O_CREAT) != 0 && (oflag & O_EXCL) != 0;
    sim_place place;
    int rc = sim_locate(call->state, path, exclusive ? 0 : SIM_FOLLOW, &place);

    *made = false;
    if (rc < 0)
        return rc;
    if (place.file == SIM_NONE) {
        *made = true;
        return (oflag & O_CREAT) == 0
                   ? -ENOENT
                   : create_file(call, &place, mode, hints, priorities, index);
    }
    if (exclusive)
        return -EEXIST;
    const sim_file *file = sim_file_at(call->state, place.file);
    if (file->kind != SIM_FILE)
        return file->kind == SIM_DIRECTORY ? -EISDIR : -ELOOP;
    unsigned want = (access != O_WRONLY ? 4 : 0) | (access != O_RDONLY ? 2 : 0);
    if (!sim_permitted(file, want))
        return -EACCES;
    *index = place.file;
    if ((oflag & O_TRUNC) != 0 && access != O_RDONLY && file->size > 0)
        return truncate_file(call->state, place.file, 0);
    return 0;
}

int sim_open(sim_call *call, const char *path, int oflag, uint32_t mode,
             const void *hints, const void *priorities, void *hints_out)
{
    uint32_t index = SIM_NONE;
    bool made = false;

    if (path == NULL)
        return -EFAULT;
    if ((oflag & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    int fd = new_descriptor(call, OPEN_FILE, path);
    if (fd < 0)
        return fd;
    sim_descriptor *descriptor = call->descriptor;
    descriptor->oflag = oflag;
    sim_world *world = sim_lock(call->state);
    int rc = find_or_create(call, path, oflag, mode, hints, priorities, &index, &made);
    if (rc == 0)
        rc = sim_open_begin(call->state, sim_this_process(), index, &descriptor->open);
    if (rc == 0) {
        descriptor->file = index;
        descriptor->file_id = world->files[index].id;
        cos_fill_hints(world, &world->files[index], hints_out);
    }
    sim_unlock(call->state);
    if (rc == 0 && !made)
        rc = tape_on_open(call, descriptor->file, descriptor->file_id, oflag);
    while (rc == -EINPROGRESS && sim_retries_stage()) {
        sim_pause();
        rc = tape_on_open(call, descriptor->file, descriptor->file_id, oflag);
    }
    /* With the reply the descriptor is lost: the library knows it and frees it. */
    if (rc < 0 || call->after != 0)
        let_go(call);
    return rc < 0 ? rc : fd;
}

int hpss_Open(HPSS_SIM_CONST char *path, int oflag, mode_t mode,
              HPSS_SIM_CONST hpss_cos_hints_t *hints,
              HPSS_SIM_CONST hpss_cos_priorities_t *priorities, hpss_cos_hints_t *out)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_Open, path);

    if (rc == 0)
        rc = sim_open(&call, path, oflag, mode, hints, priorities, out);
    return (int)sim_leave(&call, rc);
}

int sim_close(sim_call *call)
{
    tape_on_close(call);
    let_go(call);
    return 0;
}

int hpss_Close(int fd)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Close, fd);

    if (rc == 0)
        rc = sim_close(&call);
    else if (call.descriptor != NULL &&
             sim_knob(call.state->world, SIM_KNOB_close_frees) != 0)
        /* As close(2) on Linux: gone, whatever the answer (guess). */
        let_go(&call);
    return (int)sim_leave(&call, rc);
}

/* --- bytes ---------------------------------------------------------------------- */

/* Short by chance, but by the same chance each time. */
static size_t shorten(const sim_call *call, enum sim_knob_name knob, uint64_t offset,
                      size_t length)
{
    if (call->halve)
        length = (length + 1) / 2;
    if (sim_knob(call->state->world, knob) != 0 && length > 1) {
        uint64_t mixed = (offset + length) * 0x9e3779b97f4a7c15u;

        mixed ^= mixed >> 29;
        length = 1 + (size_t)(mixed % length);
    }
    return length;
}

static void pay(const sim_call *call, size_t bytes)
{
    const sim_world *world = call->state->world;
    double rate = sim_knob(world, SIM_KNOB_io_rate);

    sim_sleep(sim_knob(world, SIM_KNOB_io_ms) * 1e-3 +
              (rate > 0 ? (double)bytes / rate : 0));
}

/* A hole at the end of the backing file reads as zeros. */
static int64_t read_host(int fd, void *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -EIO;
        if (got == 0) {
            memset((char *)buffer + done, 0, size - done);
            break;
        }
        done += (size_t)got;
    }
    return (int64_t)size;
}

static int64_t write_host(int fd, const void *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t put =
            pwrite(fd, (const char *)buffer + done, size - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == ENOSPC || errno == EFBIG ? -errno : -EIO;
        done += (size_t)put;
    }
    return (int64_t)size;
}

int64_t sim_read(sim_call *call, void *buffer, size_t size)
{
    sim_descriptor *descriptor = call->descriptor;
    uint64_t offset = descriptor->offset;
    size_t length = 0;
    int64_t rc = 0;

    if ((descriptor->oflag & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (buffer == NULL && size > 0)
        return -EFAULT;
    if (size > SSIZE_MAX)
        return -EINVAL;
    sim_world *world = sim_lock(call->state);
    sim_file *file = sim_file_with_id(call->state, descriptor->file, descriptor->file_id);
    if (file == NULL)
        rc = -ESTALE;
    else if (offset < file->size && size > 0) {
        length = file->size - offset < size ? (size_t)(file->size - offset) : size;
        SIM_TOUCH(call->state, *file);
        file->atime_s = file->read_s = sim_now_s(world);
        file->read_count++;
    }
    sim_unlock(call->state);
    if (rc < 0 || length == 0)
        return rc;
    length = shorten(call, SIM_KNOB_short_reads, offset, length);
    rc = sim_apply_byte_rules(call, offset, &length);
    if (rc == 0)
        rc = tape_make_readable(call, offset, length);
    int fd = rc == 0 ? host_file(call) : -1;
    if (rc == 0)
        rc = fd < 0 ? fd : read_host(fd, buffer, length, offset);
    /* Of a lost reply nothing is known: either is a guess. */
    if (rc > 0 &&
        (call->after == 0 || sim_knob(call->state->world, SIM_KNOB_lost_moves) != 0))
        descriptor->offset += (uint64_t)rc;
    pay(call, length);
    return rc;
}

ssize_t hpss_Read(int fd, void *buffer, size_t size)
{
    sim_call call;
    int64_t rc = sim_enter_fd(&call, SIM_Read, fd);

    if (rc == 0)
        rc = sim_read(&call, buffer, size);
    return (ssize_t)sim_leave(&call, rc);
}

/* Written into a file that only tape has: it must come to disk first (guess). */
static int bring_up(sim_call *call)
{
    sim_descriptor *descriptor = call->descriptor;
    sim_world *world = sim_lock(call->state);
    sim_file *file = sim_file_with_id(call->state, descriptor->file, descriptor->file_id);
    const sim_class *class = file == NULL ? NULL : cos_class(world, file->cos);
    uint64_t size = file == NULL ? 0 : file->size;
    bool needed = size > 0 && class != NULL && class->media[0] == SIM_DISK &&
                  tape_needs_recall(call->state, descriptor->file, 0, size);

    sim_unlock(call->state);
    if (file == NULL)
        return -ESTALE;
    return needed ? tape_make_readable(call, 0, size) : 0;
}

static int write_done(sim_call *call, uint64_t offset, uint64_t length)
{
    sim_descriptor *descriptor = call->descriptor;
    sim_world *world = sim_lock(call->state);
    sim_file *file = sim_file_with_id(call->state, descriptor->file, descriptor->file_id);

    if (file != NULL) {
        uint64_t before = file->size < offset ? file->size : offset;

        SIM_TOUCH(call->state, *file);
        sim_extent_add(file, offset, length);
        if (offset + length > file->size)
            file->size = offset + length;
        file->mtime_s = file->ctime_s = file->written_s = sim_now_s(world);
        file->write_count++;
        tape_on_write(call->state, descriptor->file, before);
    }
    sim_unlock(call->state);
    return file == NULL ? -ESTALE : 0;
}

int64_t sim_write(sim_call *call, const void *buffer, size_t size)
{
    sim_descriptor *descriptor = call->descriptor;
    uint64_t offset = descriptor->offset;
    size_t length = size;

    if ((descriptor->oflag & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (buffer == NULL && size > 0)
        return -EFAULT;
    if (size > SSIZE_MAX)
        return -EINVAL;
    if (sim_knob(call->state->world, SIM_KNOB_full) != 0)
        return -ENOSPC;
    int64_t rc = bring_up(call);
    if (rc < 0 || size == 0)
        return rc;
    if ((descriptor->oflag & O_APPEND) != 0) {
        sim_lock(call->state);
        offset = sim_file_at(call->state, descriptor->file)->size;
        sim_unlock(call->state);
    }
    length = shorten(call, SIM_KNOB_short_writes, offset, length);
    rc = sim_apply_byte_rules(call, offset, &length);
    if (rc < 0)
        return rc;
    if (offset > (uint64_t)INT64_MAX - length)
        return -EFBIG;
    int fd = host_file(call);
    rc = fd < 0 ? fd : write_host(fd, buffer, length, offset);
    if (rc > 0) {
        int done = write_done(call, offset, (uint64_t)rc);
        rc = done < 0 ? done : rc;
    }
    if (rc > 0 && call->after == 0)
        descriptor->offset = offset + (uint64_t)rc;
    pay(call, length);
    return rc;
}

ssize_t hpss_Write(int fd, const void *buffer, size_t size)
{
    sim_call call;
    int64_t rc = sim_enter_fd(&call, SIM_Write, fd);

    if (rc == 0)
        rc = sim_write(&call, buffer, size);
    return (ssize_t)sim_leave(&call, rc);
}

/* --- offsets -------------------------------------------------------------------- */

static int size_of(sim_call *call, uint64_t *size)
{
    sim_lock(call->state);
    sim_file *file = sim_file_with_id(call->state, call->descriptor->file,
                                      call->descriptor->file_id);
    if (file != NULL)
        *size = file->size;
    sim_unlock(call->state);
    return file == NULL ? -ESTALE : 0;
}

/* distance from where whence says, back or forth; -EINVAL before the beginning. */
static int move(sim_call *call, int whence, bool backward, uint64_t distance)
{
    uint64_t base = 0;
    int rc = 0;

    if (whence == SEEK_CUR)
        base = call->descriptor->offset;
    else if (whence == SEEK_END)
        rc = size_of(call, &base);
    else if (whence != SEEK_SET)
        return -EINVAL;
    if (rc < 0)
        return rc;
    if (backward ? distance > base : distance > (uint64_t)INT64_MAX - base)
        return -EINVAL;
    call->descriptor->offset = backward ? base - distance : base + distance;
    return 0;
}

hpss_off_t hpss_Lseek(int fd, hpss_off_t offset, int whence)
{
    sim_call call;
    int64_t rc = sim_enter_fd(&call, SIM_Lseek, fd);

    if (rc == 0)
        rc = move(&call, whence, offset < 0,
                  offset < 0 ? -(uint64_t)offset : (uint64_t)offset);
    if (rc == 0)
        rc = (int64_t)call.descriptor->offset;
    return (hpss_off_t)sim_leave(&call, rc);
}

int hpss_SetFileOffset(int fd, u_signed64 offset, int whence, int direction,
                       u_signed64 *out)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_SetFileOffset, fd);

    if (rc == 0 && out == NULL)
        rc = -EFAULT;
    if (rc == 0 && direction != HPSS_SET_OFFSET_FORWARD &&
        direction != HPSS_SET_OFFSET_BACKWARD)
        rc = -EINVAL;
    if (rc == 0)
        rc = move(&call, whence, direction == HPSS_SET_OFFSET_BACKWARD, offset);
    if (rc == 0)
        *out = call.descriptor->offset;
    return (int)sim_leave(&call, rc);
}

/* --- sizes ---------------------------------------------------------------------- */

/* What it does for the bytes is a guess: here they are safe at each Write. */
int hpss_Fsync(int fd)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Fsync, fd);

    if (rc == 0 && (call.descriptor->oflag & O_ACCMODE) == O_RDONLY)
        rc = -EBADF;
    return (int)sim_leave(&call, rc);
}

/* With the lock. A file of which only tape has what is to stay: EBUSY (guess). */
static int set_size(sim_state *state, uint32_t index, uint64_t size)
{
    const sim_file *file = sim_file_at(state, index);

    if (file->kind != SIM_FILE)
        return -EISDIR;
    if (size > INT64_MAX)
        return -EFBIG;
    if (size > 0 && file->size > 0 &&
        tape_needs_recall(state, index, 0, size < file->size ? size : file->size))
        return -EBUSY;
    return truncate_file(state, index, size);
}

int hpss_Truncate(HPSS_SIM_CONST char *path, u_signed64 size)
{
    sim_call call;
    uint32_t index = SIM_NONE;
    int rc = sim_enter(&call, SIM_Truncate, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_find(call.state, path, SIM_FOLLOW, &index, NULL);
        if (rc == 0 && !sim_permitted(sim_file_at(call.state, index), 2))
            rc = -EACCES;
        if (rc == 0)
            rc = set_size(call.state, index, size);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_Ftruncate(int fd, u_signed64 size)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Ftruncate, fd);

    if (rc == 0 && (call.descriptor->oflag & O_ACCMODE) == O_RDONLY)
        rc = -EINVAL;
    if (rc == 0) {
        sim_lock(call.state);
        if (sim_file_with_id(call.state, call.descriptor->file,
                             call.descriptor->file_id) == NULL)
            rc = -ESTALE;
        else
            rc = set_size(call.state, call.descriptor->file, size);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

/* Takes the space or says that there is none; changes no size (guess). */
int hpss_Fpreallocate(int fd, u_signed64 size)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Fpreallocate, fd);

    (void)size;
    if (rc == 0 && (call.descriptor->oflag & O_ACCMODE) == O_RDONLY)
        rc = -EBADF;
    if (rc == 0 && sim_knob(call.state->world, SIM_KNOB_full) != 0)
        rc = -ENOSPC;
    return (int)sim_leave(&call, rc);
}

/* --- directories ---------------------------------------------------------------- */

/* Each name as its id, its kind and its text; "." and ".." too (guess). */
typedef struct {
    uint64_t id;
    uint32_t kind;
} listed;

static int append_name(sim_descriptor *descriptor, const char *name, uint64_t id,
                       uint32_t kind)
{
    size_t length = strlen(name) + 1;
    size_t needed = descriptor->names_size + sizeof(listed) + length;
    listed head = {id, kind};

    if (needed > descriptor->names_room) {
        char *names = realloc(descriptor->names, 2 * needed);

        if (names == NULL)
            return -ENOMEM;
        descriptor->names = names;
        descriptor->names_room = 2 * needed;
    }
    memcpy(descriptor->names + descriptor->names_size, &head, sizeof head);
    memcpy(descriptor->names + descriptor->names_size + sizeof head, name, length);
    descriptor->names_size = needed;
    return 0;
}

/* With the lock: names made or removed later are not seen (POSIX leaves it open). */
static int list_directory(sim_state *state, sim_descriptor *descriptor, uint32_t index)
{
    sim_world *world = state->world;
    const sim_file *directory = &world->files[index];
    int rc = append_name(descriptor, ".", directory->id, SIM_DIRECTORY);

    if (rc == 0)
        rc = append_name(descriptor, "..", directory->id, SIM_DIRECTORY);
    for (uint32_t i = directory->first_child; i != SIM_NONE && rc == 0;
         i = world->entries[i].next) {
        const sim_file *file = &world->files[world->entries[i].file];
        rc = append_name(descriptor, world->entries[i].name, file->id, file->kind);
    }
    return rc;
}

int hpss_Opendir(HPSS_SIM_CONST char *path)
{
    sim_call call;
    uint32_t index = SIM_NONE;
    int rc = sim_enter(&call, SIM_Opendir, path);

    if (rc == 0 && path == NULL)
        rc = -EFAULT;
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    int fd = new_descriptor(&call, OPEN_DIRECTORY, path);
    if (fd < 0)
        return (int)sim_leave(&call, fd);
    sim_descriptor *descriptor = call.descriptor;
    descriptor->names_size = descriptor->names_room = descriptor->names_next = 0;
    sim_world *world = sim_lock(call.state);
    rc = sim_find(call.state, path, SIM_FOLLOW, &index, NULL);
    if (rc == 0 && world->files[index].kind != SIM_DIRECTORY)
        rc = -ENOTDIR;
    if (rc == 0 && !sim_permitted(&world->files[index], 4))
        rc = -EACCES;
    if (rc == 0)
        rc = sim_open_begin(call.state, sim_this_process(), index, &descriptor->open);
    if (rc == 0)
        rc = list_directory(call.state, descriptor, index);
    sim_unlock(call.state);
    if (rc < 0 || call.after != 0)
        let_go(&call);
    return (int)sim_leave(&call, rc < 0 ? rc : fd);
}

/* The end is 0 with an empty name (fact 1.1: OSD, IR, IBMPY). */
int hpss_Readdir(int fd, hpss_dirent_t *out)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Readdir, fd);

    if (rc == 0 && out == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        sim_descriptor *descriptor = call.descriptor;

        memset(out, 0, sizeof *out);
        if (descriptor->names_next < descriptor->names_size) {
            const char *at = descriptor->names + descriptor->names_next;
            const char *name = at + sizeof(listed);
            size_t length = strlen(name);
            listed head;

            memcpy(&head, at, sizeof head);
            descriptor->names_next += sizeof head + length + 1;
            /* No NUL where the name fills the field (guess): d_namelen is the length. */
            memcpy(out->d_name, name, length);
            out->d_namelen = (unsigned16)length;
            out->d_reclen = (unsigned16)sizeof *out;
            out->d_offset = descriptor->names_next;
            out->d_handle.ObjId = head.id;
            out->d_handle.FileId = head.id;
        }
    }
    return (int)sim_leave(&call, rc);
}

int hpss_Closedir(int fd)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Closedir, fd);

    if (call.descriptor != NULL &&
        (rc == 0 || sim_knob(call.state->world, SIM_KNOB_close_frees) != 0))
        let_go(&call);
    return (int)sim_leave(&call, rc);
}
